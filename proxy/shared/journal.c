/*
 * journal.c - see journal.h.
 *
 * The end moves after the entry is whole: a writer that dies before has written nothing.
 */
#include "proxy/shared/journal.h"

#include "proxy/shared/lock.h"

#include <string.h>

struct entry {
	unsigned char digest[JOURNAL_DIGEST_SIZE];
	time_t until;
};

struct journal {
	pthread_mutex_t lock;
	uint64_t end; /* how many were ever added */
	struct entry entries[JOURNAL_MAX];
};

size_t journal_size(void) { return sizeof(struct journal); }

void journal_init(struct journal *journal) { lock_init(&journal->lock); }

void journal_add(
    struct journal *journal, const unsigned char digest[JOURNAL_DIGEST_SIZE], time_t until)
{
	struct entry *entry;

	lock_take(&journal->lock);
	entry = &journal->entries[journal->end % JOURNAL_MAX];
	memcpy(entry->digest, digest, JOURNAL_DIGEST_SIZE);
	entry->until = until;
	__atomic_store_n(&journal->end, journal->end + 1, __ATOMIC_RELEASE);
	lock_release(&journal->lock);
}

/* Most of the time there is nothing new, and that costs no lock. */
void journal_read(struct journal *journal, uint64_t *place, journal_fn *each, void *arg)
{
	if (*place == __atomic_load_n(&journal->end, __ATOMIC_ACQUIRE))
		return;
	lock_take(&journal->lock);
	if (*place > journal->end || journal->end - *place > JOURNAL_MAX)
		*place = journal->end > JOURNAL_MAX ? journal->end - JOURNAL_MAX : 0;
	for (; *place < journal->end; ++*place) {
		const struct entry *entry = &journal->entries[*place % JOURNAL_MAX];

		each(entry->digest, entry->until, arg);
	}
	lock_release(&journal->lock);
}
