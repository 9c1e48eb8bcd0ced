/*
 * journal.h - what one worker has learned for the duplicate guard, told to all others
 * (duplicates.h).
 *
 * A ring in shared memory of the last changes. Each reader keeps its own place in it; one that is
 * new, or has not read for very long, begins with the oldest that is left.
 */
#ifndef PROXY_SHARED_JOURNAL_H
#define PROXY_SHARED_JOURNAL_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { JOURNAL_DIGEST_SIZE = 32, JOURNAL_MAX = 32768 };

struct journal;

size_t journal_size(void);
void journal_init(struct journal *journal); /* zeroed memory of journal_size() octets */

/* until: when it is to be forgotten; one that has passed means at once. */
void journal_add(
    struct journal *journal, const unsigned char digest[JOURNAL_DIGEST_SIZE], time_t until);

typedef void journal_fn(const unsigned char digest[JOURNAL_DIGEST_SIZE], time_t until, void *arg);

/* Every change from *place on, oldest first; moves *place to the end. 0: from the beginning. each
 * must not add. */
void journal_read(struct journal *journal, uint64_t *place, journal_fn *each, void *arg);

#endif
