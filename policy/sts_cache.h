/*
 * sts_cache.h - the MTA-STS policies in memory: found by domain, ordered by when they are due for a
 * refresh, bounded (R-STS-20, -23, -24). No I/O, no clock: the caller says what time it is.
 */
#ifndef POLICY_STS_CACHE_H
#define POLICY_STS_CACHE_H

#include "policy/store.h"

#include <stddef.h>

struct sts_cache;

struct sts_cached {
	struct sts_entry entry; /* read only, but for `used` */
	double next_change;     /* steady clock: before this a changed id is not followed */
	unsigned failures;      /* refreshes in a row that failed */
};

/* What had to make room; the entry is gone after the call. */
typedef void sts_evicted_fn(const char *domain, void *arg);

struct sts_cache *sts_cache_new(sts_evicted_fn *evicted, void *arg);
void sts_cache_free(struct sts_cache **cache);

/* NULL: none. What it points to stays until the next put or delete. */
struct sts_cached *sts_cache_find(struct sts_cache *cache, const char *domain);
void sts_cache_touch(struct sts_cache *cache, struct sts_cached *cached); /* used just now */

/*
 * Copies the entry, in the place of an older one; `due` as below. Then evicts what is too much:
 * expired ones first, then modes none and testing, then enforce; of each the least recently used
 * first. That may be the new one, so the caller looks for it again.
 */
void sts_cache_put(struct sts_cache *cache, const struct sts_entry *entry, time_t due, time_t now);
void sts_cache_delete(struct sts_cache *cache, const char *domain);

/* The one due first; NULL: none at all. */
struct sts_cached *sts_cache_next_due(struct sts_cache *cache, time_t *due);
void sts_cache_set_due(struct sts_cache *cache, struct sts_cached *cached, time_t due);

size_t sts_cache_count(const struct sts_cache *cache);

enum { STS_CACHE_MAX = 100000, STS_CACHE_OCTETS_MAX = 256 * 1024 * 1024 };

#endif
