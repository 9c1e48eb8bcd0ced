/*
 * pool_internal.h - shared by pool.c (idle connections), pool_queue.c (who waits for room),
 * pool_room.c (how many connections there are and may be, over all workers) and pool_backoff.c (who
 * said 421).
 */
#ifndef PROXY_POOL_INTERNAL_H
#define PROXY_POOL_INTERNAL_H

#include "proxy/backoff.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"

#include <ev.h>

struct idle;
struct shelf;
struct spared;

struct pool {
	struct proxy *proxy;
	struct idle *idle;     /* the one used last stands first */
	struct shelf *shelves; /* the same by address */
	size_t idle_count, idle_max;
	struct spared *spared;       /* addresses that said 421 lately */
	size_t further, further_max; /* next hops that are not the first of their message */
	struct pool_place *queue;    /* for all room */
	struct pool_hop claimed;     /* the room that was found last, until it is used */
	bool has_claimed;
	ev_timer look;   /* while somebody waits: another worker may have made room */
	ev_timer listen; /* while there are idle ones: another worker may wait for room */
	ev_timer sweep;  /* fires before any of them is idle for too long */
	unsigned calls_heard;
};

/* ---- pool.c ---- */

/* Closes the idle connection that was not used for longest, to an address or to a provider. false:
 * there is none. */
bool pool_drop_idle(struct pool *pool, const struct count_key *key);

/* ---- pool_queue.c ---- */

void pool_queue_init(struct pool *pool);
bool pool_is_awaited(const struct pool *pool, const struct count_key *key);
void pool_call_next(struct pool *pool, const struct count_key *key);

/* ---- pool_room.c ---- */

unsigned pool_count_open(const struct pool *pool, const struct count_key *key);
unsigned pool_count_own(const struct pool *pool, const struct count_key *key); /* this worker's */
unsigned pool_most_open(struct pool *pool, const struct count_key *key);
/* For it said 421: there is no new one, or this worker has as many as are left of its limit. */
bool pool_is_pausing(struct pool *pool, const struct count_key *key);
bool pool_is_backed_off(struct pool *pool, const struct count_key *key);
/* One of ours becomes idle, or is no longer. */
void pool_count_idle(struct pool *pool, const struct pool_hop *hop);
void pool_uncount_idle(struct pool *pool, const struct pool_hop *hop);
void pool_unclaim(struct pool *pool); /* room that was found and then not used */
/* By a worker that waits for room there; and there is none. */
bool pool_is_called(struct pool *pool, const struct count_key *key);
/* And of what there is this worker has more than one that waits (pool_share.h). */
bool pool_has_too_many(struct pool *pool, const struct count_key *key);

/* ---- pool_backoff.c ---- */

struct count_key pool_backoff_key(const struct pool_hop *hop, const struct addr *source);
/* NULL: it did not say 421 lately. key: of the above, or of an address. */
const struct backoff *pool_find_backoff(struct pool *pool, const struct count_key *key);
/* An idle connection said 421. since: when it became idle, by the rough clock. */
void pool_shed(struct pool *pool, const struct smtp_client *client, double since);
void pool_forget_backoffs(struct pool *pool);

#endif
