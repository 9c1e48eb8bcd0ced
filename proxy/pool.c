/*
 * pool.c - idle next-hop connections under the key of R-TLSSEC-06, and a count for each address.
 */
#include "proxy/pool.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/metrics.h"
#include "proxy/privileges.h"
#include "proxy/proxy.h"
#include "proxy/smtp/smtp_client.h"
#include "proxy/tally.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uthash.h>
#include <utlist.h>

enum { IDLE_LEAST = 8, IDLE_MOST = 1000, QUEUE_MAX = 1000 };

/* Plain octets, cleared first: it is compared as such. */
struct key {
	struct addr address, source;
	char ehlo[DOMAIN_SIZE];
	unsigned char rule[TLS_KEY_SIZE];
	char next_hop[DOMAIN_SIZE];
};

struct idle {
	struct pool *pool;
	struct smtp_client *client;
	struct key key;
	ev_timer timer;
	struct idle *prev, *next;
};

/* Plain octets, too. */
struct flow {
	struct addr ends[2]; /* ours and theirs */
	UT_hash_handle hh;
};

struct pool {
	struct proxy *proxy;
	struct idle *idle; /* the one used last stands first */
	size_t idle_count, idle_max;
	size_t further, further_max; /* next hops that are not the first of their message */
	struct pool_place *queue;    /* for all addresses */
	struct tally open;           /* connections to each address, idle or not */
	struct flow *flows;          /* the same connections by both ends */
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

struct pool *pool_new(struct proxy *proxy)
{
	struct pool *pool = mem_zero(1, sizeof *pool);

	pool->proxy = proxy;
	pool->idle_max = most_idle();
	pool->further_max = privileges_further_next_hops();
	return pool;
}

/* ---- how many connections an address has ---- */

static struct flow *find_flow(
    const struct pool *pool, const struct addr *near, const struct addr *far)
{
	struct addr ends[2] = {*near, *far};
	struct flow *flow;

	HASH_FIND(hh, pool->flows, ends, sizeof ends, flow);
	return flow;
}

static void add_flow(struct pool *pool, const struct addr *near, const struct addr *far)
{
	struct flow *flow;

	if (find_flow(pool, near, far))
		return;
	flow = mem_zero(1, sizeof *flow);
	flow->ends[0] = *near;
	flow->ends[1] = *far;
	HASH_ADD(hh, pool->flows, ends, sizeof flow->ends, flow);
}

static void remove_flow(struct pool *pool, const struct addr *near, const struct addr *far)
{
	struct flow *flow = find_flow(pool, near, far);

	if (!flow)
		return;
	HASH_DEL(pool->flows, flow);
	free(flow);
}

static void release_flows(struct pool *pool)
{
	struct flow *flow, *next;

	HASH_ITER(hh, pool->flows, flow, next)
	{
		HASH_DEL(pool->flows, flow);
		free(flow);
	}
}

/* ---- who waits for an address ---- */

static struct pool_place *first_in_queue(const struct pool *pool, const struct addr *address)
{
	struct pool_place *place;

	DL_FOREACH(pool->queue, place)
	{
		if (addr_equal(place->address, address))
			return place;
	}
	return NULL;
}

static void call_next(struct pool *pool, const struct addr *address)
{
	struct pool_place *place = first_in_queue(pool, address);

	if (!place)
		return;
	DL_DELETE(pool->queue, place);
	place->is_queued = false;
	place->is_called = true;
	place->call(place->arg);
}

bool pool_is_awaited(const struct pool *pool, const struct addr *address)
{
	return first_in_queue(pool, address) != NULL;
}

static size_t queue_length(const struct pool *pool)
{
	const struct pool_place *place;
	size_t length;

	DL_COUNT(pool->queue, place, length);
	return length;
}

bool pool_queue_up(struct pool *pool, struct pool_place *place)
{
	if (queue_length(pool) >= QUEUE_MAX)
		return false;
	if (place->is_called)
		DL_PREPEND(pool->queue, place);
	else
		DL_APPEND(pool->queue, place);
	place->is_called = false;
	place->is_queued = true;
	return true;
}

void pool_leave(struct pool *pool, struct pool_place *place)
{
	bool was_called = place->is_called;

	if (place->is_queued)
		DL_DELETE(pool->queue, place);
	place->is_queued = place->is_called = false;
	if (was_called)
		call_next(pool, place->address);
}

/* ---- counts ---- */

void pool_opened(struct pool *pool, const struct addr *address, const struct addr *near)
{
	tally_add(&pool->open, address);
	if (near)
		add_flow(pool, near, address);
	metrics_next_hop_opened();
}

void pool_closed(struct pool *pool, const struct addr *address, const struct addr *near)
{
	metrics_next_hop_closed();
	tally_remove(&pool->open, address);
	if (near)
		remove_flow(pool, near, address);
	call_next(pool, address);
}

bool pool_is_own(const struct pool *pool, const struct addr *near, const struct addr *address)
{
	return find_flow(pool, near, address) != NULL;
}

bool pool_claim_further(struct pool *pool)
{
	if (pool->further >= pool->further_max)
		return false;
	pool->further++;
	return true;
}

void pool_return_further(struct pool *pool) { pool->further--; }

/* ---- idle connections ---- */

static void make_key(struct key *key, const char *next_hop, const struct smtp_client_target *target)
{
	memset(key, 0, sizeof *key);
	key->address = *target->address;
	if (target->source)
		key->source = *target->source;
	snprintf(key->ehlo, sizeof key->ehlo, "%s", target->ehlo ? target->ehlo : "");
	tls_rule_key(target->rule, key->rule);
	snprintf(key->next_hop, sizeof key->next_hop, "%s", next_hop);
}

static bool is_same(const struct key *a, const struct key *b)
{
	return addr_equal(&a->address, &b->address) && !memcmp(a->rule, b->rule, sizeof a->rule) &&
	       !strcmp(a->next_hop, b->next_hop) &&
	       !memcmp(&a->source, &b->source, sizeof a->source) && !strcmp(a->ehlo, b->ehlo);
}

/* Unlinks it; the connection is the caller's again. */
static struct smtp_client *pick(struct idle *entry)
{
	struct smtp_client *client = entry->client;

	ev_timer_stop(entry->pool->proxy->loop, &entry->timer);
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

/* CLIENT_READY ends the RSET of parking. Whatever else an idle connection says, it may not be idle
 * at all. */
static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg)
{
	(void)client, (void)reply;
	if (event != CLIENT_READY)
		drop(arg);
}

static void on_idle(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	drop(w->data);
}

static unsigned most_open(const struct pool *pool, enum pool_want want)
{
	unsigned most = pool->proxy->conf->limits.next_hop_connections;

	return want == POOL_MODEST && most > 1 ? most / 2 : most;
}

bool pool_has_room(struct pool *pool, const struct addr *address, enum pool_want want)
{
	struct idle *entry, *next;

	if (tally_get(&pool->open, address) < most_open(pool, want))
		return true;
	DL_FOREACH_SAFE(pool->idle, entry, next)
	{
		if (addr_equal(&entry->key.address, address)) {
			drop(entry);
			return true;
		}
	}
	return false;
}

/* Usage 2 and PKIX prove something only as long as the chain is valid. */
static bool is_proof_current(const struct smtp_client *client)
{
	const struct tls_proof *proof = smtp_client_proof(client);

	return !proof || !proof->not_after || time(NULL) < proof->not_after;
}

struct smtp_client *pool_take(
    struct pool *pool, const char *next_hop, const struct smtp_client_target *target)
{
	struct idle *entry, *next;
	struct key key;

	make_key(&key, next_hop, target);
	DL_FOREACH_SAFE(pool->idle, entry, next)
	{
		if (!is_same(&entry->key, &key))
			continue;
		if (is_proof_current(entry->client))
			return pick(entry);
		drop(entry);
	}
	return NULL;
}

void pool_give(struct pool *pool, const char *next_hop, const struct tls_rule *rule,
    struct smtp_client **client)
{
	const struct conf *conf = pool->proxy->conf;
	struct smtp_client_target target = {.rule = rule};
	struct idle *entry;

	if (smtp_client_messages(*client) >= conf->limits.connection_messages ||
	    !is_proof_current(*client) || pool->proxy->shutting_down ||
	    conf->limits.connection_idle <= 0 || !smtp_client_park(*client)) {
		smtp_client_close(client);
		return;
	}
	entry = mem_zero(1, sizeof *entry);
	entry->pool = pool;
	entry->client = *client;
	*client = NULL;
	target.address = smtp_client_address(entry->client);
	target.source = smtp_client_source(entry->client);
	target.ehlo = smtp_client_ehlo(entry->client);
	make_key(&entry->key, next_hop, &target);
	smtp_client_set_owner(entry->client, on_client, entry);
	ev_timer_init(&entry->timer, on_idle, conf->limits.connection_idle, 0.);
	entry->timer.data = entry;
	ev_now_update(pool->proxy->loop);
	ev_timer_start(pool->proxy->loop, &entry->timer);
	DL_PREPEND(pool->idle, entry);
	call_next(pool, target.address);
	if (++pool->idle_count > pool->idle_max)
		drop(pool->idle->prev); /* the list's last: the longest unused */
}

void pool_drain(struct pool *pool)
{
	struct idle *entry, *next;

	DL_FOREACH_SAFE(pool->idle, entry, next)
	drop(entry);
}

void pool_free(struct pool **pool)
{
	if (!*pool)
		return;
	pool_drain(*pool);
	tally_release(&(*pool)->open);
	release_flows(*pool);
	free(*pool);
	*pool = NULL;
}
