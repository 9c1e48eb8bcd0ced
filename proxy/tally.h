/*
 * tally.h - how many of something each address has: sessions of a client, connections to a next
 * hop.
 *
 * Memory only for addresses that have any.
 */
#ifndef PROXY_TALLY_H
#define PROXY_TALLY_H

struct addr;
struct tally_entry;

/* Zeroed is empty. */
struct tally {
	struct tally_entry *table;
};

/* By address and port; for addresses alone, set the port to 0 first. */
void tally_add(struct tally *tally, const struct addr *address);
void tally_remove(struct tally *tally, const struct addr *address); /* one that was added */
unsigned tally_get(const struct tally *tally, const struct addr *address);
void tally_release(struct tally *tally);

#endif
