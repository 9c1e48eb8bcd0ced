/*
 * pool.h - idle next-hop connections, ready for the next message; and how many there may be.
 *
 * A connection serves a later message only under the same next-hop domain, address, rule, source
 * and name (R-SMTP-81): what was proven is then exactly what would have to be proven anew. The
 * decision is looked up again for each message, so a changed TLSA set is another key and gets
 * another connection. Owner: main.
 */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include "conf/addr.h"
#include "proxy/pool_hop.h"
#include "tls/rule.h"

#include <stdbool.h>

struct pool;
struct proxy;
struct smtp_client;
struct smtp_client_target;

struct pool *pool_new(struct proxy *proxy);
void pool_free(struct pool **pool); /* closes what is idle */

/* Kept by smtp_client itself, so that no path can forget one. near: our end of it, NULL: unknown.
 */
void pool_opened(struct pool *pool, const struct pool_hop *hop, const struct addr *address,
    const struct addr *near);
void pool_closed(struct pool *pool, const struct pool_hop *hop, const struct addr *address,
    const struct addr *near);

/* Whether a connection between these two is one of ours to a next hop, of any worker (R-NET-06). */
bool pool_is_own(const struct pool *pool, const struct addr *near, const struct addr *address);

/* What is done where an address has as many connections as it may. */
enum pool_want {
	POOL_WAITS,  /* a client waits for its turn */
	POOL_SPOOL,  /* the same while few of the spool wait; else its mail comes again by itself */
	POOL_MODEST, /* nothing, and from the moment half of them are at work: the other half is not
			for a message that has a next hop already */
};

/* Whether there may be one more connection. */
enum pool_room {
	POOL_ROOM,
	POOL_ADDRESS_FULL,  /* [limits] next_hop_connections */
	POOL_PROVIDER_FULL, /* PROVIDER_SHARE times as many */
	POOL_BACKED_OFF,    /* it said 421, and gets fewer for a while, ... */
	POOL_TURNED_AWAY,   /* ... and does not serve any: there is nothing to wait for */
};
enum { PROVIDER_SHARE = 5 };

/*
 * Over all workers. source: the client's address with which it would leave (preserve_source); NULL:
 * our own. has_waited: it was called out of the queue; what comes in between gives way to workers
 * as poor. Closes idle ones of other keys to make room. Room that is found is kept for the next
 * pool_opened() of that next hop, which must come before the next question.
 */
enum pool_room pool_find_room(struct pool *pool, const struct pool_hop *hop,
    const struct addr *source, enum pool_want want, bool has_waited);

/* What smtp_client hears from its next hop: 421 in place of service (backoff.h), or that a message
 * was taken. */
void pool_refused(struct pool *pool, const struct smtp_client *client);
void pool_served(struct pool *pool, const struct smtp_client *client);
/* It has a connection, or took a message after it said 421: there is something to wait for. */
bool pool_serves(struct pool *pool, const struct pool_hop *hop, const struct addr *source);

/*
 * A place in the queue for room: first come, first served, the spool's places being few. Whoever is
 * called asks again for room, and may find none; then it queues up as called, and is the first
 * again.
 */
struct pool_place {
	void (*call)(void *arg); /* inside of other calls: only to come back on another turn */
	void *arg;
	bool is_of_spool;
	bool is_queued, is_called;
	struct count_key full; /* what has no room: an address or a provider */
	struct pool_place *prev, *next;
};
/* room: what was found. false: the queue is too long. */
bool pool_queue_up(
    struct pool *pool, struct pool_place *place, const struct pool_hop *hop, enum pool_room room);
/* Somebody waits for room there, who goes first; POOL_ROOM: nobody. host: as for pool_hop_of(). */
enum pool_room pool_awaited_room(
    const struct pool *pool, const struct addr *address, const char *host);
/* What a place was called for has been found. */
void pool_got_room(struct pool *pool, struct pool_place *place);
/* From the queue; a call that was not used is the next one's. */
void pool_leave(struct pool *pool, struct pool_place *place);

/*
 * A message with more than one next hop: each further one is claimed, over all messages together,
 * since a single client could have a hundred for each of its sessions. false: all are taken.
 */
bool pool_claim_further(struct pool *pool);
void pool_return_further(struct pool *pool);

/*
 * An idle connection, now the caller's; NULL: none. Ready for an envelope (smtp_client_is_ready()),
 * or a CLIENT_READY follows. Whether it still lives only the next envelope shows.
 */
struct smtp_client *pool_take(
    struct pool *pool, const char *next_hop, const struct smtp_client_target *target);

/*
 * Takes a connection back if it may serve again (nothing under way, messages and proof within
 * limits), else closes it. The pointer is cleared. Connections that were made with weaker TLS than
 * the destination's policy asks (enforce = no) must not come here.
 */
void pool_give(struct pool *pool, const char *next_hop, const struct tls_rule *rule,
    struct smtp_client **client);

/* Closes everything idle (shutdown). */
void pool_drain(struct pool *pool);

#endif
