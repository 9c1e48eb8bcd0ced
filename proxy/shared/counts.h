/*
 * counts.h - how many of something each address has, over all workers: sessions of a client,
 * connections to a next hop and to its provider, and which connections are our own.
 *
 * In shared memory, so that a limit is one for the whole service. Each worker has a share of each
 * count, under its seat (shared.h); the share of one that died ends with its seat. Called by
 * listener and pool.
 */
#ifndef PROXY_SHARED_COUNTS_H
#define PROXY_SHARED_COUNTS_H

#include "conf/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COUNT_SEATS = 128 };

/* What is counted under a key. Sessions have a kind of their own for each listener. */
enum {
	COUNT_NEXT_HOP,
	COUNT_NEXT_HOP_IDLE,
	COUNT_PROVIDER,
	COUNT_PROVIDER_IDLE,
	COUNT_FLOW,
	COUNT_LISTENER_FIRST
};

enum { COUNT_DIGEST = 32 };

/* Plain octets without gaps, all of them set by count_key(). */
struct count_end {
	uint16_t family, port;
	uint32_t scope;
	unsigned char ip[16];
};

struct count_key {
	uint32_t kind;
	struct count_end ends[2];
};

struct counts;

size_t counts_size(void);
void counts_init(struct counts *counts); /* zeroed memory of counts_size() octets */

/* other: the second address of a pair; NULL: none. address NULL: one count for all. */
struct count_key count_key(uint32_t kind, const struct addr *address, const struct addr *other);
/* Of a name, by its SHA-256. */
struct count_key count_key_of_name(uint32_t kind, const unsigned char digest[COUNT_DIGEST]);
bool count_key_equal(const struct count_key *a, const struct count_key *b);

/* One more, if there are fewer than most (UINT_MAX: any number). false: there are not, or the table
 * is full. */
bool counts_claim(struct counts *counts, unsigned seat, const struct count_key *key, unsigned most);
/* One less of this seat's. */
void counts_return(struct counts *counts, unsigned seat, const struct count_key *key);
unsigned counts_get(struct counts *counts, const struct count_key *key);
unsigned counts_get_share(struct counts *counts, unsigned seat, const struct count_key *key);

/* For the supervisor: whoever had the seat is gone. Takes no lock, and copes with damaged memory.
 */
void counts_clear_seat(struct counts *counts, unsigned seat);

/*
 * A worker waits for room at an address that others hold, perhaps with idle connections. The call
 * is remembered until it is withdrawn, and for about a second after the last one of anybody's;
 * counts_calls() changes with each, so that nobody has to look for what was not called. now:
 * clock_steady().
 */
void counts_call(struct counts *counts, unsigned seat, const struct count_key *key, double now);
void counts_withdraw(struct counts *counts, unsigned seat, const struct count_key *key);
/* How many other seats than this one wait; *least: the least share among them. */
unsigned counts_callers(
    struct counts *counts, unsigned seat, const struct count_key *key, double now, unsigned *least);
unsigned counts_calls(const struct counts *counts);

#endif
