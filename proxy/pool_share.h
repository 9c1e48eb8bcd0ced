/*
 * pool_share.h - how many connections of a next hop a worker holds while others wait for room
 * there.
 *
 * Who waits is compared with, not counted: the poorest of them says what is too many. Shares that
 * differ by one stay as they are, since whoever gave that one up would want it back; where there is
 * not one for each, they take turns. Pure. Called by pool_room.c.
 */
#ifndef PROXY_POOL_SHARE_H
#define PROXY_POOL_SHARE_H

#include <stdbool.h>

/* The other workers that wait. */
struct pool_rivals {
	unsigned count;
	unsigned least; /* the fewest connections that one of them has */
};

/* One is to be given up, provided that there is no room already. */
static inline bool pool_share_is_too_large(unsigned own, struct pool_rivals rivals)
{
	return rivals.count && own > (rivals.least ? rivals.least + 1 : 0);
}

/* Room that there is is for a poorer one, who has not looked yet; and for one that is as poor, if
 * nobody here has waited. */
static inline bool pool_share_is_enough(unsigned own, struct pool_rivals rivals, bool has_waited)
{
	return rivals.count && (has_waited ? own > rivals.least : own >= rivals.least);
}

#endif
