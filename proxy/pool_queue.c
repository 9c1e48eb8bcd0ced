/*
 * pool_queue.c - who waits for room at an address or a provider: first come, first served.
 *
 * Room that another worker makes is looked for while somebody waits here.
 */
#include "proxy/pool_internal.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "proxy/shared/shared.h"

#include <utlist.h>

enum { QUEUE_MAX = 1000, SPOOL_QUEUE_MAX = 8 };

static const double look_pause = 0.05;

static struct pool_place *first_in_queue(const struct pool *pool, const struct count_key *key)
{
	struct pool_place *place;

	DL_FOREACH(pool->queue, place)
	{
		if (count_key_equal(&place->full, key))
			return place;
	}
	return NULL;
}

void pool_call_next(struct pool *pool, const struct count_key *key)
{
	struct pool_place *place = first_in_queue(pool, key);

	if (!place)
		return;
	DL_DELETE(pool->queue, place);
	place->is_queued = false;
	place->is_called = true;
	place->call(place->arg);
}

bool pool_is_awaited(const struct pool *pool, const struct count_key *key)
{
	return first_in_queue(pool, key) != NULL;
}

/* Asked for every message: where nobody waits for anything it costs nothing. */
enum pool_room pool_awaited_room(
    const struct pool *pool, const struct addr *address, const char *host)
{
	struct pool_hop hop;

	if (!pool->queue)
		return POOL_ROOM;
	hop = pool_hop_of(address, host);
	if (pool_is_awaited(pool, &hop.address))
		return POOL_ADDRESS_FULL;
	return pool_is_awaited(pool, &hop.provider) ? POOL_PROVIDER_FULL : POOL_ROOM;
}

static size_t queue_length(const struct pool *pool)
{
	const struct pool_place *place;
	size_t length;

	DL_COUNT(pool->queue, place, length);
	return length;
}

/* Clients wait behind no more than these; and deliveries of the spool to other next hops, of which
 * only so many run at once, are not all waiting here. */
static bool has_spool_room(const struct pool *pool)
{
	const struct pool_place *place;
	size_t count = 0;

	DL_FOREACH(pool->queue, place) { count += place->is_of_spool; }
	return count < SPOOL_QUEUE_MAX;
}

bool pool_queue_up(
    struct pool *pool, struct pool_place *place, const struct pool_hop *hop, enum pool_room room)
{
	if (queue_length(pool) >= QUEUE_MAX)
		return false;
	if (place->is_of_spool && !place->is_called && !has_spool_room(pool))
		return false;
	if (place->is_called)
		DL_PREPEND(pool->queue, place);
	else
		DL_APPEND(pool->queue, place);
	place->full = room == POOL_PROVIDER_FULL ? hop->provider : hop->address;
	place->is_called = false;
	place->is_queued = true;
	if (!ev_is_active(&pool->look)) /* whoever comes does not put off when others are called */
		ev_timer_again(pool->proxy->loop, &pool->look);
	return true;
}

static void withdraw(struct pool *pool, const struct count_key *key)
{
	counts_withdraw(shared_counts(pool->proxy->shared), pool->proxy->seat, key);
}

/* Others need make no room for a worker where nobody waits. */
static void withdraw_if_over(struct pool *pool, const struct count_key *key)
{
	if (!pool_is_awaited(pool, key))
		withdraw(pool, key);
}

void pool_got_room(struct pool *pool, struct pool_place *place)
{
	if (place->is_called)
		withdraw_if_over(pool, &place->full);
	place->is_called = false;
}

void pool_leave(struct pool *pool, struct pool_place *place)
{
	bool was_called = place->is_called, was_waiting = was_called || place->is_queued;

	if (place->is_queued)
		DL_DELETE(pool->queue, place);
	place->is_queued = place->is_called = false;
	if (was_called)
		pool_call_next(pool, &place->full);
	if (was_waiting)
		withdraw_if_over(pool, &place->full);
}

/* Who holds connections there without need, or too many, hears that one is wanted. */
static void call_others(struct pool *pool, const struct count_key *key)
{
	counts_call(shared_counts(pool->proxy->shared), pool->proxy->seat, key, clock_steady());
}

/* What said 421 takes nothing for now, whoever makes room. */
static bool must_wait(struct pool *pool, const struct count_key *key)
{
	return pool_is_pausing(pool, key) || pool_is_backed_off(pool, key);
}

static void look(struct pool *pool, const struct count_key *key)
{
	if (must_wait(pool, key))
		withdraw(pool, key);
	else if (pool_count_open(pool, key) < pool_most_open(pool, key))
		pool_call_next(pool, key);
	else
		call_others(pool, key);
}

static void on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct pool *pool = w->data;
	struct pool_place *place, *next;

	(void)revents;
	if (!pool->queue)
		ev_timer_stop(loop, w);
	DL_FOREACH_SAFE(pool->queue, place, next)
	{
		struct count_key key = place->full;

		if (first_in_queue(pool, &key) == place)
			look(pool, &key);
	}
}

void pool_queue_init(struct pool *pool)
{
	ev_timer_init(&pool->look, on_look, look_pause, look_pause);
	pool->look.data = pool;
}
