/*
 * pool_backoff.c - which addresses said 421 lately, and how each is spared (backoff.h).
 *
 * Of this worker and its own connections alone: the others hear it from the same address. Bounded.
 */
#include "proxy/pool_internal.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/smtp/smtp_client.h"

#include <stdlib.h>
#include <uthash.h>

enum { MEMORY_MAX = 10000 };

/* An idle connection that is closed later than this (s) has met its server's patience, and nothing
 * is too much for that. */
static const double impatience = 5;

struct spared {
	struct count_key key;
	struct backoff backoff;
	UT_hash_handle hh;
};

struct count_key pool_backoff_key(const struct pool_hop *hop, const struct addr *source)
{
	struct count_key key = hop->address;

	if (source)
		key.ends[1] = count_key(COUNT_NEXT_HOP, source, NULL).ends[0];
	return key;
}

static void forget(struct pool *pool, struct spared *spared)
{
	HASH_DEL(pool->spared, spared);
	free(spared);
}

static struct spared *find(struct pool *pool, const struct count_key *key)
{
	struct spared *spared;

	HASH_FIND(hh, pool->spared, key, sizeof *key, spared);
	if (spared && backoff_is_over(&spared->backoff, clock_steady())) {
		forget(pool, spared);
		return NULL;
	}
	return spared;
}

const struct backoff *pool_find_backoff(struct pool *pool, const struct count_key *key)
{
	struct spared *spared = pool->spared ? find(pool, key) : NULL;

	return spared ? &spared->backoff : NULL;
}

static struct backoff *find_of(struct pool *pool, const struct smtp_client *client)
{
	struct count_key key =
	    pool_backoff_key(smtp_client_hop(client), smtp_client_source(client));
	struct spared *spared = find(pool, &key);

	return spared ? &spared->backoff : NULL;
}

static struct backoff *find_or_make(struct pool *pool, const struct smtp_client *client)
{
	struct backoff *backoff = find_of(pool, client);
	struct spared *spared;

	if (backoff)
		return backoff;
	if (HASH_COUNT(pool->spared) >= MEMORY_MAX)
		forget(pool, pool->spared); /* uthash keeps the order of insertion: the oldest */
	spared = mem_zero(1, sizeof *spared);
	spared->key = pool_backoff_key(smtp_client_hop(client), smtp_client_source(client));
	HASH_ADD(hh, pool->spared, key, sizeof spared->key, spared);
	return &spared->backoff;
}

/* Those that leave with a client's address are not counted apart from others. */
static unsigned count_open(const struct pool *pool, const struct smtp_client *client)
{
	return smtp_client_source(client) ? 0
					  : pool_count_own(pool, &smtp_client_hop(client)->address);
}

static void tell(const struct pool *pool, const struct smtp_client *client, const struct backoff *b)
{
	double now = clock_steady();
	struct log_line line;

	log_begin(&line, LOG_LEVEL_INFO, "next-hop-421");
	log_value(&line, "mx", smtp_client_name(client));
	log_number(
	    &line, "connections", backoff_most(b, pool->proxy->conf->limits.next_hop_connections));
	log_number(
	    &line, "pause_ms", backoff_is_pausing(b, now) ? (int64_t)((b->until - now) * 1000) : 0);
	log_end(&line);
}

void pool_refused(struct pool *pool, const struct smtp_client *client)
{
	struct backoff *backoff = find_or_make(pool, client);

	if (backoff_refused(backoff, count_open(pool, client), clock_steady()))
		tell(pool, client, backoff);
}

void pool_shed(struct pool *pool, const struct smtp_client *client, double since)
{
	struct backoff *backoff;

	if (clock_rough() - since > impatience)
		return;
	backoff = find_or_make(pool, client);
	if (backoff_shed(backoff, count_open(pool, client), clock_steady()))
		tell(pool, client, backoff);
}

void pool_served(struct pool *pool, const struct smtp_client *client)
{
	struct backoff *backoff = pool->spared ? find_of(pool, client) : NULL;

	if (backoff)
		backoff_served(backoff);
}

void pool_forget_backoffs(struct pool *pool)
{
	struct spared *spared, *next;

	HASH_ITER(hh, pool->spared, spared, next)
	forget(pool, spared);
}
