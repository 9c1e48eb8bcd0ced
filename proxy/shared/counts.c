/*
 * counts.c - see counts.h.
 *
 * A table of rows: a row holds the keys that hash to it, each with a share for every seat. A key
 * whose shares are all 0 is free for another. Every change is one store of one word, so that a
 * worker may die between any two; what it leaves is its own share. A worker that somebody has taken
 * over may write anything: the supervisor believes no number here, and waits for no lock.
 */
#include "proxy/shared/counts.h"

#include "proxy/shared/lock.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { ROWS = 2048, ENTRIES = 64 }; /* an idle connection is counted under five keys */

static const double call_lasts = 1;

static_assert(sizeof(struct count_key) == 52, "a key is compared octet by octet");
static_assert(COUNT_DIGEST <= sizeof((struct count_key){0}).ends, "a digest is within the key");

struct entry {
	struct count_key key;
	double called;                      /* last */
	uint64_t callers[COUNT_SEATS / 64]; /* a bit for each seat that waits */
	uint16_t shares[COUNT_SEATS];
};

struct counts {
	pthread_mutex_t lock;
	uint32_t seed;
	unsigned calls;
	uint32_t used[ROWS]; /* entries of each row that ever had a key */
	/* The first of each row, then the second, and so on: few rows are full, and a page that
	 * nobody touches costs nothing. */
	struct entry entries[ENTRIES][ROWS];
};

size_t counts_size(void) { return sizeof(struct counts); }

void counts_init(struct counts *counts)
{
	lock_init(&counts->lock);
	if (getrandom(&counts->seed, sizeof counts->seed, 0) != sizeof counts->seed)
		abort();
}

static void take_end(struct count_end *end, const struct addr *address)
{
	end->family = address->sa.sa_family;
	if (end->family == AF_INET6) {
		end->port = address->in6.sin6_port;
		end->scope = address->in6.sin6_scope_id;
		memcpy(end->ip, &address->in6.sin6_addr, sizeof address->in6.sin6_addr);
	} else {
		end->port = address->in.sin_port;
		memcpy(end->ip, &address->in.sin_addr, sizeof address->in.sin_addr);
	}
}

struct count_key count_key(uint32_t kind, const struct addr *address, const struct addr *other)
{
	struct count_key key = {.kind = kind};

	if (address)
		take_end(&key.ends[0], address);
	if (other)
		take_end(&key.ends[1], other);
	return key;
}

struct count_key count_key_of_name(uint32_t kind, const unsigned char digest[COUNT_DIGEST])
{
	struct count_key key = {.kind = kind};

	memcpy(key.ends, digest, COUNT_DIGEST);
	return key;
}

bool count_key_equal(const struct count_key *a, const struct count_key *b)
{
	return !memcmp(a, b, sizeof *a);
}

/* ---- the table ---- */

/* From a secret start: who chooses his address must not choose whose row he fills. */
static size_t row_of(const struct counts *counts, const struct count_key *key)
{
	uint32_t words[sizeof *key / sizeof(uint32_t)];
	uint64_t hash = counts->seed;

	memcpy(words, key, sizeof words);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15; /* 2^64 over the golden ratio */
		hash ^= hash >> 32;
	}
	return hash % ROWS;
}

static uint32_t used(const struct counts *counts, size_t row)
{
	uint32_t count = __atomic_load_n(&counts->used[row], __ATOMIC_RELAXED);

	return count < ENTRIES ? count : ENTRIES;
}

static struct entry *find(struct counts *counts, size_t row, const struct count_key *key)
{
	for (uint32_t i = 0; i < used(counts, row); i++) {
		if (count_key_equal(&counts->entries[i][row].key, key))
			return &counts->entries[i][row];
	}
	return NULL;
}

static unsigned sum(const struct entry *entry)
{
	unsigned total = 0;

	for (size_t i = 0; i < COUNT_SEATS; i++)
		total += entry->shares[i];
	return total;
}

static struct entry *find_free(struct counts *counts, size_t row)
{
	for (uint32_t i = 0; i < used(counts, row); i++) {
		if (sum(&counts->entries[i][row]) == 0)
			return &counts->entries[i][row];
	}
	return used(counts, row) < ENTRIES ? &counts->entries[used(counts, row)][row] : NULL;
}

/* The key is whole before the entry counts as used; one that is half written has no shares yet. */
static struct entry *find_or_make(struct counts *counts, size_t row, const struct count_key *key)
{
	struct entry *entry = find(counts, row, key);
	uint32_t count = used(counts, row);

	if (entry)
		return entry;
	entry = find_free(counts, row);
	if (!entry)
		return NULL;
	entry->key = *key;
	entry->called = 0;
	if (count < ENTRIES && entry == &counts->entries[count][row])
		counts->used[row] = count + 1;
	return entry;
}

/* ---- the interface ---- */

bool counts_claim(struct counts *counts, unsigned seat, const struct count_key *key, unsigned most)
{
	struct entry *entry;
	bool has_room;

	lock_take(&counts->lock);
	entry = find_or_make(counts, row_of(counts, key), key);
	has_room =
	    entry && (most == UINT_MAX || sum(entry) < most) && entry->shares[seat] < UINT16_MAX;
	if (has_room)
		entry->shares[seat]++;
	lock_release(&counts->lock);
	return has_room;
}

void counts_return(struct counts *counts, unsigned seat, const struct count_key *key)
{
	struct entry *entry;

	lock_take(&counts->lock);
	entry = find(counts, row_of(counts, key), key);
	if (entry && entry->shares[seat])
		entry->shares[seat]--;
	lock_release(&counts->lock);
}

unsigned counts_get(struct counts *counts, const struct count_key *key)
{
	const struct entry *entry;
	unsigned total;

	lock_take(&counts->lock);
	entry = find(counts, row_of(counts, key), key);
	total = entry ? sum(entry) : 0;
	lock_release(&counts->lock);
	return total;
}

unsigned counts_get_share(struct counts *counts, unsigned seat, const struct count_key *key)
{
	const struct entry *entry;
	unsigned share;

	lock_take(&counts->lock);
	entry = find(counts, row_of(counts, key), key);
	share = entry ? entry->shares[seat] : 0;
	lock_release(&counts->lock);
	return share;
}

static uint64_t bit_of(unsigned seat) { return 1ULL << seat % 64; }

static void clear_seat(struct entry *entry, unsigned seat)
{
	__atomic_store_n(&entry->shares[seat], 0, __ATOMIC_RELAXED);
	__atomic_and_fetch(&entry->callers[seat / 64], ~bit_of(seat), __ATOMIC_RELAXED);
}

/* Nobody but its owner, who is gone, writes a share: that needs no lock. Nor does a single bit. */
void counts_clear_seat(struct counts *counts, unsigned seat)
{
	for (size_t row = 0; row < ROWS; row++) {
		for (uint32_t i = 0; i < used(counts, row); i++)
			clear_seat(&counts->entries[i][row], seat);
	}
}

/* ---- calls ---- */

static bool is_recent(const struct entry *entry, double now)
{
	return entry->called > 0 && now - entry->called < call_lasts;
}

void counts_call(struct counts *counts, unsigned seat, const struct count_key *key, double now)
{
	struct entry *entry;

	lock_take(&counts->lock);
	entry = find(counts, row_of(counts, key), key);
	if (entry) {
		if (!is_recent(entry, now))
			memset(entry->callers, 0, sizeof entry->callers);
		__atomic_or_fetch(&entry->callers[seat / 64], bit_of(seat), __ATOMIC_RELAXED);
		entry->called = now;
		counts->calls++;
	}
	lock_release(&counts->lock);
}

void counts_withdraw(struct counts *counts, unsigned seat, const struct count_key *key)
{
	struct entry *entry;

	lock_take(&counts->lock);
	entry = find(counts, row_of(counts, key), key);
	if (entry)
		__atomic_and_fetch(&entry->callers[seat / 64], ~bit_of(seat), __ATOMIC_RELAXED);
	lock_release(&counts->lock);
}

static unsigned look_at_callers(const struct entry *entry, unsigned seat, unsigned *least)
{
	unsigned count = 0;

	for (unsigned i = 0; i < COUNT_SEATS; i++) {
		if (i == seat || !(entry->callers[i / 64] & bit_of(i)))
			continue;
		if (!count++ || entry->shares[i] < *least)
			*least = entry->shares[i];
	}
	return count;
}

unsigned counts_callers(
    struct counts *counts, unsigned seat, const struct count_key *key, double now, unsigned *least)
{
	const struct entry *entry;
	unsigned count = 0;

	*least = 0;
	lock_take(&counts->lock);
	entry = find(counts, row_of(counts, key), key);
	if (entry && is_recent(entry, now))
		count = look_at_callers(entry, seat, least);
	lock_release(&counts->lock);
	return count;
}

unsigned counts_calls(const struct counts *counts)
{
	return __atomic_load_n(&counts->calls, __ATOMIC_RELAXED);
}
