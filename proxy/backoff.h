/*
 * backoff.h - how many connections an address is given after it said 421 (RFC 5321 3.8), and from
 * when on.
 *
 * Half as many as there were, at least one; and one more whenever it has taken so many messages as
 * it may have connections. Until a pause is over there is no new one; the next pause is twice as
 * long where nothing was taken between them. Some minutes after the last 421 all of it is
 * forgotten. Pure: events and times of the steady clock in, answers out. Called by pool_backoff.c.
 */
#ifndef PROXY_BACKOFF_H
#define PROXY_BACKOFF_H

#include <stdbool.h>

/* Seconds. No pause is longer than an address that failed is left alone (setbacks.h). */
#define BACKOFF_PAUSE_LEAST 1.0
#define BACKOFF_PAUSE_MOST  30.0
#define BACKOFF_FORGET      300.0

/* Zeroed: it never said 421. */
struct backoff {
	unsigned most;   /* connections; 0: as many as the limit allows */
	unsigned served; /* messages, since that was changed */
	bool is_serving; /* it took one since the last 421 */
	double pause, until;
	double last; /* 421 that counted */
};

/* In place of service. open: connections that there are, with this one; 0: unknown, and their
 * number stays as it is. false: it changes nothing, since it comes within a pause, and had been on
 * its way before that. */
bool backoff_refused(struct backoff *backoff, unsigned open, double now);

/* To a connection that waited for its next message: fewer of them, but no pause. false: it changes
 * nothing, since it is one of several at once. */
bool backoff_shed(struct backoff *backoff, unsigned open, double now);

/* A message was taken. */
void backoff_served(struct backoff *backoff);

unsigned backoff_most(const struct backoff *backoff, unsigned limit);
bool backoff_is_pausing(const struct backoff *backoff, double now);
/* Nothing was taken since it said 421: only a later try can show that it serves again. */
bool backoff_is_silent(const struct backoff *backoff);
bool backoff_is_over(const struct backoff *backoff, double now);

#endif
