/*
 * duplicates.h - what a next hop has accepted without its client hearing of it (RFC 1047).
 *
 * The client vanished after its final dot, or what remained of its message could not be kept: it
 * will send the same message again, and the recipients who have it must not get it twice. An
 * acceptance is remembered for a day, by all workers, over restarts too; until its client has heard
 * of it. Owner: machine.
 */
#ifndef PROXY_DUPLICATES_H
#define PROXY_DUPLICATES_H

#include "tls/fingerprint.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum {
	DUPLICATES_MAX = 100000, /* beyond it the oldest goes */
	DUPLICATE_WHO_SIZE = 16,
};

struct duplicates;
struct ev_loop;
struct journal;
struct spool;

/* What a key is known by. Zeroed: not computed yet. */
struct duplicate_who {
	unsigned char digest[DUPLICATE_WHO_SIZE];
	bool is_known;
};

/* Whose message for whom; all borrowed. */
struct duplicate_key {
	const char *client; /* address text */
	const char *sender;
	const char *recipient;
	struct duplicate_who *who; /* computed once, and kept here; NULL: nowhere */
};

/*
 * spool NULL: in memory alone. Blocks while the spool tells what it knows. journal NULL: there are
 * no other workers. secret: theirs, and over restarts. The other workers know at once; the spool
 * is told what is still remembered a tenth of a second later, since nearly all clients hear sooner.
 */
struct duplicates *duplicates_new(struct ev_loop *loop, struct spool *spool,
    struct journal *journal, const unsigned char secret[FINGERPRINT_SECRET]);
/* Before its spool, which is told the rest. NULL inside is welcome. */
void duplicates_free(struct duplicates **duplicates);

/* To be given a message as its client sends it, its Message-ID included. */
struct fingerprint *duplicates_fingerprint(struct duplicates *duplicates);

/* Whether anything of this sender for this recipient is remembered: before the body is known. */
bool duplicates_may_know(struct duplicates *duplicates, const struct duplicate_key *key);

/*
 * body: what became of duplicates_fingerprint(). When a next hop accepted it; 0: never, as far as
 * is known.
 */
time_t duplicates_find(struct duplicates *duplicates, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE]);
/* What is remembered already is not remembered for longer. */
void duplicates_remember(struct duplicates *duplicates, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE]);

/*
 * The client has left, and its message's final reply is still waited for: until that is known the
 * same message must not set out a second time. Known to all workers, for ten minutes at most, since
 * a worker that dies ends nothing.
 */
void duplicates_set_under_way(struct duplicates *duplicates, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE], bool is_under_way);
bool duplicates_is_under_way(struct duplicates *duplicates, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE]);

/* Acceptances whose reply is on its way to the client. Zeroed is empty. */
struct unheard {
	size_t count;
	struct acceptance *acceptances;
};
void unheard_add(struct unheard *unheard, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE]);
/* The client has heard: it may send the like again, and means it. Or it has not: all is
 * remembered. Empties it. */
void duplicates_settle(struct duplicates *duplicates, struct unheard *unheard, bool is_heard);

size_t duplicates_count(struct duplicates *duplicates);

#endif
