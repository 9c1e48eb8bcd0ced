/*
 * tally.c - how many of something each address has. Called by listener and pool.
 */
#include "proxy/tally.h"

#include "conf/addr.h"
#include "conf/mem.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct tally_entry {
	char address[ADDR_TEXT];
	unsigned count;
	UT_hash_handle hh;
};

static struct tally_entry *find(
    const struct tally *tally, const struct addr *address, char text[ADDR_TEXT])
{
	struct tally_entry *entry;

	addr_bracketed(address, text);
	HASH_FIND_STR(tally->table, text, entry);
	return entry;
}

void tally_add(struct tally *tally, const struct addr *address)
{
	char text[ADDR_TEXT];
	struct tally_entry *entry = find(tally, address, text);

	if (!entry) {
		entry = mem_zero(1, sizeof *entry);
		memcpy(entry->address, text, sizeof entry->address);
		HASH_ADD_STR(tally->table, address, entry);
	}
	entry->count++;
}

void tally_remove(struct tally *tally, const struct addr *address)
{
	char text[ADDR_TEXT];
	struct tally_entry *entry = find(tally, address, text);

	if (entry && --entry->count == 0) {
		HASH_DEL(tally->table, entry);
		free(entry);
	}
}

unsigned tally_get(const struct tally *tally, const struct addr *address)
{
	char text[ADDR_TEXT];
	const struct tally_entry *entry = find(tally, address, text);

	return entry ? entry->count : 0;
}

void tally_release(struct tally *tally)
{
	struct tally_entry *entry, *next;

	HASH_ITER(hh, tally->table, entry, next)
	{
		HASH_DEL(tally->table, entry);
		free(entry);
	}
}
