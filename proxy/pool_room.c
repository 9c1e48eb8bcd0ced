/*
 * pool_room.c - how many connections an address has, and whether it may have one more.
 *
 * Counted over all workers. Idle connections are given up where another worker waits.
 */
#include "proxy/pool_internal.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "proxy/metrics.h"
#include "proxy/shared/shared.h"

#include <limits.h>

static bool claim(struct pool *pool, const struct addr *address, unsigned most)
{
	struct count_key key = count_key(COUNT_NEXT_HOP, address, NULL);

	return counts_claim(shared_counts(pool->proxy->shared), pool->proxy->seat, &key, most);
}

static void give_back(struct pool *pool, const struct addr *address)
{
	struct count_key key = count_key(COUNT_NEXT_HOP, address, NULL);

	counts_return(shared_counts(pool->proxy->shared), pool->proxy->seat, &key);
}

unsigned pool_count_open(const struct pool *pool, const struct addr *address)
{
	struct count_key key = count_key(COUNT_NEXT_HOP, address, NULL);

	return counts_get(shared_counts(pool->proxy->shared), &key);
}

void pool_unclaim(struct pool *pool)
{
	if (pool->has_claimed)
		give_back(pool, &pool->claimed);
	pool->has_claimed = false;
}

/* A connection that replaces one that just ended asks for no room. */
static void take_claim(struct pool *pool, const struct addr *address)
{
	if (pool->has_claimed && addr_equal(&pool->claimed, address))
		pool->has_claimed = false;
	else
		claim(pool, address, UINT_MAX);
}

void pool_opened(struct pool *pool, const struct addr *address, const struct addr *near)
{
	struct count_key flow = count_key(COUNT_FLOW, near, address);

	take_claim(pool, address);
	if (near)
		counts_claim(
		    shared_counts(pool->proxy->shared), pool->proxy->seat, &flow, UINT_MAX);
	metrics_next_hop_opened();
}

void pool_closed(struct pool *pool, const struct addr *address, const struct addr *near)
{
	struct count_key flow = count_key(COUNT_FLOW, near, address);

	metrics_next_hop_closed();
	give_back(pool, address);
	if (near)
		counts_return(shared_counts(pool->proxy->shared), pool->proxy->seat, &flow);
	if (!pool_is_called(pool, address)) /* else chance decides who is next, there or here */
		pool_call_next(pool, address);
}

bool pool_is_own(const struct pool *pool, const struct addr *near, const struct addr *address)
{
	struct count_key flow = count_key(COUNT_FLOW, near, address);

	return counts_get(shared_counts(pool->proxy->shared), &flow) > 0;
}

bool pool_claim_further(struct pool *pool)
{
	if (pool->further >= pool->further_max)
		return false;
	pool->further++;
	return true;
}

void pool_return_further(struct pool *pool) { pool->further--; }

/* ---- room for one more ---- */

static unsigned most_open(const struct pool *pool, enum pool_want want)
{
	unsigned most = pool->proxy->conf->limits.next_hop_connections;

	return want == POOL_MODEST && most > 1 ? most / 2 : most;
}

static bool take_room(struct pool *pool, const struct addr *address, enum pool_want want)
{
	pool_unclaim(pool);
	pool->has_claimed = claim(pool, address, most_open(pool, want));
	pool->claimed = *address;
	return pool->has_claimed;
}

bool pool_has_room(struct pool *pool, const struct addr *address, enum pool_want want)
{
	if (take_room(pool, address, want))
		return true;
	return pool_drop_idle(pool, address) && take_room(pool, address, want);
}

/* ---- calls between workers ---- */

void pool_answer_call(struct pool *pool, const struct addr *address)
{
	struct count_key key = count_key(COUNT_NEXT_HOP, address, NULL);

	counts_answer(shared_counts(pool->proxy->shared), &key);
}

bool pool_is_called(const struct pool *pool, const struct addr *address)
{
	struct counts *counts = shared_counts(pool->proxy->shared);
	struct count_key key = count_key(COUNT_NEXT_HOP, address, NULL);

	return counts_calls(counts) > 0 &&
	       counts_is_called(counts, pool->proxy->seat, &key, clock_steady());
}
