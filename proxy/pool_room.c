/*
 * pool_room.c - how many connections an address and its provider have, and whether there may be one
 * more (R-NET-13).
 *
 * Counted over all workers. Idle connections are given up where another worker waits.
 */
#include "proxy/pool_internal.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "proxy/metrics.h"
#include "proxy/pool_share.h"
#include "proxy/shared/shared.h"

#include <limits.h>

static struct counts *counts_of(const struct pool *pool)
{
	return shared_counts(pool->proxy->shared);
}

static bool claim(struct pool *pool, const struct count_key *key, unsigned most)
{
	return counts_claim(counts_of(pool), pool->proxy->seat, key, most);
}

static void give_back(struct pool *pool, const struct count_key *key)
{
	counts_return(counts_of(pool), pool->proxy->seat, key);
}

unsigned pool_count_open(const struct pool *pool, const struct count_key *key)
{
	return counts_get(counts_of(pool), key);
}

unsigned pool_count_own(const struct pool *pool, const struct count_key *key)
{
	return counts_get_share(counts_of(pool), pool->proxy->seat, key);
}

/* ---- calls between workers ---- */

static struct pool_rivals rivals(const struct pool *pool, const struct count_key *key)
{
	struct counts *counts = counts_of(pool);
	struct pool_rivals found = {0};

	if (counts_calls(counts) > 0)
		found.count =
		    counts_callers(counts, pool->proxy->seat, key, clock_steady(), &found.least);
	return found;
}

static bool is_full(struct pool *pool, const struct count_key *key)
{
	return pool_count_open(pool, key) >= pool_most_open(pool, key);
}

bool pool_is_called(struct pool *pool, const struct count_key *key)
{
	return rivals(pool, key).count > 0 && is_full(pool, key);
}

bool pool_has_too_many(struct pool *pool, const struct count_key *key)
{
	struct pool_rivals others = rivals(pool, key);

	return others.count && is_full(pool, key) &&
	       pool_share_is_too_large(pool_count_own(pool, key), others);
}

static bool has_enough(const struct pool *pool, const struct count_key *key, bool has_waited)
{
	struct pool_rivals others = rivals(pool, key);

	return others.count && pool_share_is_enough(pool_count_own(pool, key), others, has_waited);
}

/* ---- those that there are ---- */

static struct count_key idle_key(const struct count_key *key)
{
	struct count_key idle = *key;

	idle.kind = key->kind == COUNT_PROVIDER ? COUNT_PROVIDER_IDLE : COUNT_NEXT_HOP_IDLE;
	return idle;
}

void pool_count_idle(struct pool *pool, const struct pool_hop *hop)
{
	struct count_key address = idle_key(&hop->address), provider = idle_key(&hop->provider);

	claim(pool, &address, UINT_MAX);
	claim(pool, &provider, UINT_MAX);
}

void pool_uncount_idle(struct pool *pool, const struct pool_hop *hop)
{
	struct count_key address = idle_key(&hop->address), provider = idle_key(&hop->provider);

	give_back(pool, &address);
	give_back(pool, &provider);
}

void pool_unclaim(struct pool *pool)
{
	if (!pool->has_claimed)
		return;
	give_back(pool, &pool->claimed.address);
	give_back(pool, &pool->claimed.provider);
	pool->has_claimed = false;
}

static bool is_claimed(const struct pool *pool, const struct pool_hop *hop)
{
	return pool->has_claimed && count_key_equal(&pool->claimed.address, &hop->address) &&
	       count_key_equal(&pool->claimed.provider, &hop->provider);
}

/* A connection that replaces one that just ended asks for no room. */
static void take_claim(struct pool *pool, const struct pool_hop *hop)
{
	if (is_claimed(pool, hop)) {
		pool->has_claimed = false;
		return;
	}
	claim(pool, &hop->address, UINT_MAX);
	claim(pool, &hop->provider, UINT_MAX);
}

void pool_opened(struct pool *pool, const struct pool_hop *hop, const struct addr *address,
    const struct addr *near)
{
	struct count_key flow = count_key(COUNT_FLOW, near, address);

	take_claim(pool, hop);
	if (near)
		claim(pool, &flow, UINT_MAX);
	metrics_next_hop_opened();
}

/* Where another worker that waits is as poor, chance decides who is next, there or here. */
static void call_next_here(struct pool *pool, const struct count_key *key)
{
	if (!has_enough(pool, key, false))
		pool_call_next(pool, key);
}

void pool_closed(struct pool *pool, const struct pool_hop *hop, const struct addr *address,
    const struct addr *near)
{
	struct count_key flow = count_key(COUNT_FLOW, near, address);

	metrics_next_hop_closed();
	give_back(pool, &hop->address);
	give_back(pool, &hop->provider);
	if (near)
		give_back(pool, &flow);
	call_next_here(pool, &hop->address);
	call_next_here(pool, &hop->provider);
}

bool pool_is_own(const struct pool *pool, const struct addr *near, const struct addr *address)
{
	struct count_key flow = count_key(COUNT_FLOW, near, address);

	return pool_count_open(pool, &flow) > 0;
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

unsigned pool_most_open(struct pool *pool, const struct count_key *key)
{
	unsigned most = pool->proxy->conf->limits.next_hop_connections;

	return key->kind == COUNT_PROVIDER ? PROVIDER_SHARE * most : most;
}

/* What said 421 to this worker is given fewer of this worker's own. */
bool pool_is_backed_off(struct pool *pool, const struct count_key *key)
{
	const struct backoff *backoff = pool_find_backoff(pool, key);

	return backoff &&
	       pool_count_own(pool, key) >= backoff_most(backoff, pool_most_open(pool, key));
}

bool pool_is_pausing(struct pool *pool, const struct count_key *key)
{
	const struct backoff *backoff = pool_find_backoff(pool, key);

	return backoff && backoff_is_pausing(backoff, clock_steady());
}

bool pool_serves(struct pool *pool, const struct pool_hop *hop, const struct addr *source)
{
	struct count_key key = pool_backoff_key(hop, source);
	const struct backoff *backoff = pool_find_backoff(pool, &key);

	return !backoff || !backoff_is_silent(backoff) || pool_count_open(pool, &hop->address) > 0;
}

static enum pool_room why_full(struct pool *pool, const struct count_key *address)
{
	return pool_is_backed_off(pool, address) ? POOL_BACKED_OFF : POOL_ADDRESS_FULL;
}

/* What is idle takes nothing from others: it is given up when somebody waits for room. Two workers
 * may look at the same moment, and both find the last of that half. */
static bool is_half_at_work(struct pool *pool, const struct count_key *key)
{
	struct count_key idle = idle_key(key);
	unsigned most = pool_most_open(pool, key);

	return pool_count_open(pool, key) >=
	       pool_count_open(pool, &idle) + (most > 1 ? most / 2 : most);
}

static enum pool_room find_modest_room(struct pool *pool, const struct pool_hop *hop)
{
	if (is_half_at_work(pool, &hop->address))
		return why_full(pool, &hop->address);
	return is_half_at_work(pool, &hop->provider) ? POOL_PROVIDER_FULL : POOL_ROOM;
}

static bool claim_one(struct pool *pool, const struct count_key *key, bool has_waited)
{
	return !pool_is_backed_off(pool, key) && !has_enough(pool, key, has_waited) &&
	       claim(pool, key, pool_most_open(pool, key));
}

static enum pool_room claim_both(struct pool *pool, const struct pool_hop *hop, bool has_waited)
{
	if (!claim_one(pool, &hop->address, has_waited))
		return why_full(pool, &hop->address);
	if (!claim_one(pool, &hop->provider, has_waited)) {
		give_back(pool, &hop->address);
		return POOL_PROVIDER_FULL;
	}
	pool->claimed = *hop;
	pool->has_claimed = true;
	return POOL_ROOM;
}

/* Of the address first, which makes room at its provider, too. */
static enum pool_room make_room(struct pool *pool, const struct pool_hop *hop, bool has_waited)
{
	enum pool_room room = claim_both(pool, hop, has_waited);

	if ((room == POOL_ADDRESS_FULL || room == POOL_BACKED_OFF) &&
	    pool_drop_idle(pool, &hop->address))
		room = claim_both(pool, hop, has_waited);
	if (room == POOL_PROVIDER_FULL && pool_drop_idle(pool, &hop->provider))
		room = claim_both(pool, hop, has_waited);
	return room;
}

enum pool_room pool_find_room(struct pool *pool, const struct pool_hop *hop,
    const struct addr *source, enum pool_want want, bool has_waited)
{
	struct count_key key = pool_backoff_key(hop, source);
	enum pool_room room = POOL_ROOM;

	pool_unclaim(pool);
	if (pool_is_pausing(pool, &key))
		return pool_serves(pool, hop, source) ? POOL_BACKED_OFF : POOL_TURNED_AWAY;
	if (want == POOL_MODEST)
		room = find_modest_room(pool, hop);
	return room == POOL_ROOM ? make_room(pool, hop, has_waited) : room;
}
