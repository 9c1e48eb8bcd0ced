/*
 * pool.c - idle next-hop connections under the key of R-TLSSEC-06.
 *
 * They are given up where another worker waits for room. Who waits here is pool_queue.c's, how many
 * connections there may be pool_room.c's.
 */
#include "proxy/pool_internal.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/mem.h"
#include "conf/timer.h"
#include "proxy/privileges.h"
#include "proxy/shared/shared.h"
#include "proxy/smtp/smtp_client.h"
#include "tls/ctx.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <uthash.h>
#include <utlist.h>

enum {
	IDLE_LEAST = 8,
	IDLE_MOST = 4000,
	FAIR_SHARE = 10 /* messages over one connection while another worker waits */
};

static const double listen_pause = 0.1;

struct idle {
	struct pool *pool;
	struct shelf *shelf;
	struct smtp_client *client;
	unsigned char rule[TLS_KEY_SIZE];     /* of what it has proven */
	double since;                         /* of the rough clock */
	struct idle *prev, *next;             /* of all: the one used last first ... */
	struct idle *shelf_prev, *shelf_next; /* ... and of its shelf */
	char next_hop[];
};

/* Those of one address; never empty. */
struct shelf {
	struct count_key address;
	struct idle *idle;
	UT_hash_handle hh;
};

/* A share of the descriptors: what waits must never keep what works from a socket. */
static size_t most_idle(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return IDLE_LEAST;
	return limit.rlim_cur / 8 < IDLE_LEAST  ? IDLE_LEAST
	       : limit.rlim_cur / 8 > IDLE_MOST ? IDLE_MOST
						: limit.rlim_cur / 8;
}

static void on_listen(struct ev_loop *loop, ev_timer *w, int revents);
static void on_sweep(struct ev_loop *loop, ev_timer *w, int revents);

struct pool *pool_new(struct proxy *proxy)
{
	struct pool *pool = mem_zero(1, sizeof *pool);

	pool->proxy = proxy;
	pool->idle_max = most_idle();
	pool->further_max = privileges_further_next_hops();
	pool_queue_init(pool);
	ev_timer_init(&pool->listen, on_listen, listen_pause, listen_pause);
	ev_init(&pool->sweep, on_sweep);
	pool->listen.data = pool->sweep.data = pool;
	return pool;
}

static struct shelf *find_shelf(const struct pool *pool, const struct count_key *address)
{
	struct shelf *shelf;

	HASH_FIND(hh, pool->shelves, address, sizeof *address, shelf);
	return shelf;
}

static void put_on_shelf(struct pool *pool, struct idle *entry)
{
	const struct count_key *address = &smtp_client_hop(entry->client)->address;
	struct shelf *shelf = find_shelf(pool, address);

	if (!shelf) {
		shelf = mem_zero(1, sizeof *shelf);
		shelf->address = *address;
		HASH_ADD(hh, pool->shelves, address, sizeof shelf->address, shelf);
	}
	entry->shelf = shelf;
	DL_PREPEND2(shelf->idle, entry, shelf_prev, shelf_next);
	pool_count_idle(pool, smtp_client_hop(entry->client));
}

static void take_off_shelf(struct pool *pool, struct idle *entry)
{
	struct shelf *shelf = entry->shelf;

	pool_uncount_idle(entry->pool, smtp_client_hop(entry->client));
	DL_DELETE2(shelf->idle, entry, shelf_prev, shelf_next);
	if (shelf->idle)
		return;
	HASH_DEL(pool->shelves, shelf);
	free(shelf);
}

static bool is_from(const struct smtp_client *client, const struct addr *source)
{
	const struct addr *own = smtp_client_source(client);

	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): conf/addr.c zeroes the rest */
	return own && source ? !memcmp(own, source, sizeof *own) : own == source;
}

/* The key of R-TLSSEC-06 and R-SMTP-81; the address is the shelf's. */
static bool fits(const struct idle *entry, const char *next_hop,
    const unsigned char rule[TLS_KEY_SIZE], const struct smtp_client_target *target)
{
	return !strcmp(entry->next_hop, next_hop) && !memcmp(entry->rule, rule, TLS_KEY_SIZE) &&
	       is_from(entry->client, target->source) &&
	       !strcmp(smtp_client_ehlo(entry->client), target->ehlo ? target->ehlo : "");
}

/* Unlinks it; the connection is the caller's again. */
static struct smtp_client *pick(struct idle *entry)
{
	struct smtp_client *client = entry->client;

	take_off_shelf(entry->pool, entry);
	DL_DELETE(entry->pool->idle, entry);
	entry->pool->idle_count--;
	free(entry);
	return client;
}

static void drop(struct idle *entry)
{
	struct smtp_client *client = pick(entry);

	smtp_client_close(&client);
}

static struct idle *oldest_at_provider(const struct pool *pool, const struct count_key *key)
{
	struct idle *entry = pool->idle ? pool->idle->prev : NULL;

	while (entry && !count_key_equal(&smtp_client_hop(entry->client)->provider, key))
		entry = entry == pool->idle ? NULL : entry->prev;
	return entry;
}

static struct idle *oldest_at_address(const struct pool *pool, const struct count_key *key)
{
	struct shelf *shelf = find_shelf(pool, key);

	return shelf ? shelf->idle->shelf_prev : NULL;
}

bool pool_drop_idle(struct pool *pool, const struct count_key *key)
{
	struct idle *oldest = key->kind == COUNT_PROVIDER ? oldest_at_provider(pool, key)
							  : oldest_at_address(pool, key);

	if (oldest)
		drop(oldest);
	return oldest != NULL;
}

/* CLIENT_READY ends what parking began. Whatever else an idle connection says, it may not be idle
 * at all. */
static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg)
{
	struct idle *entry = arg;

	(void)reply;
	if (event == CLIENT_READY)
		return;
	if (smtp_client_said_421(client))
		pool_shed(entry->pool, client, entry->since);
	drop(entry);
}

/* To another worker; whoever waits here may have the connection for some messages more. */
static bool must_yield(
    struct pool *pool, const struct smtp_client *client, const struct count_key *key)
{
	return pool_has_too_many(pool, key) &&
	       (!pool_is_awaited(pool, key) || smtp_client_messages(client) >= FAIR_SHARE);
}

static bool yield_room(struct pool *pool, struct smtp_client **client)
{
	struct pool_hop hop = *smtp_client_hop(*client);
	const struct count_key *key = must_yield(pool, *client, &hop.address)    ? &hop.address
				      : must_yield(pool, *client, &hop.provider) ? &hop.provider
										 : NULL;

	if (key)
		smtp_client_close(client);
	return key != NULL;
}

/* One timer for all, which is not touched while connections come and go: it looks whose time is
 * over, and waits for the next. */
static void watch_idle(struct pool *pool)
{
	double left;

	if (ev_is_active(&pool->sweep) || !pool->idle)
		return;
	left = pool->idle->prev->since + pool->proxy->conf->limits.connection_idle - clock_rough();
	timer_start(pool->proxy->loop, &pool->sweep, left > 0 ? left : 0.);
}

static void on_sweep(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct pool *pool = w->data;
	double over = clock_rough() - pool->proxy->conf->limits.connection_idle;

	(void)loop, (void)revents;
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): drop() takes it out of this list */
	while (pool->idle && pool->idle->prev->since <= over)
		drop(pool->idle->prev);
	watch_idle(pool);
}

/* What was used a moment ago, and is not too many, this worker will need again. */
static bool can_be_spared(struct pool *pool, const struct idle *entry, const struct count_key *key)
{
	return pool_is_called(pool, key) &&
	       (clock_rough() - entry->since >= listen_pause || pool_has_too_many(pool, key));
}

/* One at a time: whoever still waits calls again. */
static void on_listen(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct pool *pool = w->data;
	unsigned calls = counts_calls(shared_counts(pool->proxy->shared));
	struct idle *entry, *next;

	(void)revents;
	if (!pool->idle)
		ev_timer_stop(loop, w);
	if (calls == pool->calls_heard)
		return;
	pool->calls_heard = calls;
	DL_FOREACH_SAFE(pool->idle, entry, next)
	{
		struct pool_hop hop = *smtp_client_hop(entry->client);

		if (can_be_spared(pool, entry, &hop.address) ||
		    can_be_spared(pool, entry, &hop.provider)) {
			drop(entry);
			return;
		}
	}
}

/* Usage 2 and PKIX prove something only as long as the chain is valid; PKIX, for as long as the CA
 * file is the same. */
static bool is_proof_current(const struct pool *pool, const struct smtp_client *client)
{
	const struct tls_proof *proof = smtp_client_proof(client);

	if (proof && proof->ca_store && proof->ca_store != tls_contexts_ca_store(pool->proxy->tls))
		return false;
	return !proof || !proof->not_after || time(NULL) < proof->not_after;
}

struct smtp_client *pool_take(
    struct pool *pool, const char *next_hop, const struct smtp_client_target *target)
{
	struct count_key address = count_key(COUNT_NEXT_HOP, target->address, NULL);
	struct shelf *shelf = find_shelf(pool, &address);
	struct idle *entry = shelf ? shelf->idle : NULL, *next;
	unsigned char rule[TLS_KEY_SIZE];

	if (entry)
		tls_rule_key(target->rule, rule);
	for (; entry; entry = next) { /* the shelf goes with its last one */
		next = entry->shelf_next;
		if (!fits(entry, next_hop, rule, target))
			continue;
		if (is_proof_current(pool, entry->client))
			return pick(entry);
		drop(entry);
	}
	return NULL;
}

void pool_give(struct pool *pool, const char *next_hop, const struct tls_rule *rule,
    struct smtp_client **client)
{
	const struct conf *conf = pool->proxy->conf;
	struct pool_hop hop = *smtp_client_hop(*client);
	struct idle *entry;

	if (yield_room(pool, client))
		return;
	if (smtp_client_messages(*client) >= conf->limits.connection_messages ||
	    !is_proof_current(pool, *client) || pool->proxy->shutting_down ||
	    conf->limits.connection_idle <= 0 || !smtp_client_park(*client)) {
		smtp_client_close(client);
		return;
	}
	entry = mem_alloc(sizeof *entry + strlen(next_hop) + 1);
	entry->pool = pool;
	entry->client = *client;
	*client = NULL;
	strcpy(entry->next_hop, next_hop);
	tls_rule_key(rule, entry->rule);
	entry->since = clock_rough();
	smtp_client_set_owner(entry->client, on_client, entry);
	DL_PREPEND(pool->idle, entry);
	put_on_shelf(pool, entry);
	watch_idle(pool);
	if (!ev_is_active(&pool->listen))
		ev_timer_again(pool->proxy->loop, &pool->listen);
	pool_call_next(pool, &hop.address);
	pool_call_next(pool, &hop.provider);
	if (++pool->idle_count > pool->idle_max)
		drop(pool->idle->prev); /* the list's last: the longest unused */
}

void pool_drain(struct pool *pool)
{
	struct idle *entry, *next;

	DL_FOREACH_SAFE(pool->idle, entry, next)
	drop(entry);
	ev_timer_stop(pool->proxy->loop, &pool->sweep);
}

void pool_free(struct pool **pool)
{
	if (!*pool)
		return;
	pool_drain(*pool);
	pool_unclaim(*pool);
	pool_forget_backoffs(*pool);
	ev_timer_stop((*pool)->proxy->loop, &(*pool)->look);
	ev_timer_stop((*pool)->proxy->loop, &(*pool)->listen);
	free(*pool);
	*pool = NULL;
}
