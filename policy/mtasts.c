/*
 * mtasts.c - one lookup: the TXT record, what the cache says to it, and who waits for a fetch
 * (RFC 8461 sections 3 and 5.1).
 *
 *     _mta-sts TXT -> is a fetch needed, and allowed now? -> wait for it, with patience -> answer
 *
 * The record only says whether to fetch; a cached policy that has not expired applies whatever
 * became of record and fetch (R-STS-17, S-08). A lookup without callback is one that nobody waits
 * for: a refresh, or a second look after a host failed. Called by route.c through policy.c.
 */
#include "policy/mtasts.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/timer.h"
#include "dnsval/resolver.h"
#include "policy/answers.h"
#include "policy/mtasts_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char owner_prefix[] = "_mta-sts.";
static const double background_timeout = 60;

struct sts_lookup {
	LIST_ENTRY(sts_lookup) entry;
	struct mtasts *mtasts;
	char domain[DOMAIN_SIZE];
	bool is_refresh;
	sts_lookup_fn *callback; /* NULL: nobody waits */
	void *arg;

	struct dns_query *query;
	enum sts_record record;
	char id[STS_ID_SIZE];       /* of the record; "" unless it is valid */
	struct refusal txt_failure; /* REASON_NONE unless the TXT lookup failed */
	double record_until;        /* of the steady clock: its answer may be used */

	struct sts_seat *seat;
	ev_timer timer; /* patience with the fetch; or the turn, where nothing can be asked */
	struct refusal notice;
};

/* ---- the end of a lookup ---- */

static void discard(struct sts_lookup *lookup)
{
	struct mtasts *mtasts = lookup->mtasts;

	LIST_REMOVE(lookup, entry);
	dns_query_cancel(&lookup->query);
	sts_flight_leave(&lookup->seat);
	ev_timer_stop(mtasts->loop, &lookup->timer);
	if (lookup->is_refresh)
		mtasts->refreshing--;
	free(lookup);
}

static bool is_in_force(const struct sts_cached *cached)
{
	return cached && clock_wall() < cached->entry.expires;
}

/* To the day: a busy domain is not worth a write for each mail. */
static void note_use(struct mtasts *mtasts, struct sts_cached *cached)
{
	time_t now = clock_wall(), today = now - now % 86400;

	sts_cache_touch(mtasts->cache, cached);
	if (cached->entry.used == today)
		return;
	cached->entry.used = today;
	store_put(mtasts->store, &cached->entry);
}

static void apply(struct sts_answer *answer, const struct sts_policy *policy)
{
	if (policy->mode == STS_MODE_NONE)
		return;
	answer->state = STS_POLICY;
	sts_policy_copy(&answer->policy, policy);
}

static void give_notice(
    struct sts_answer *answer, const struct refusal *notice, const char *consequence)
{
	if (notice->reason != REASON_NONE)
		refusal_set(
		    &answer->notice, notice->reason, "%.360s; %s", notice->text, consequence);
}

/* Announced, never fetched: the hole that RFC 8461 leaves (sections 3.3, 10.2). */
static void answer_first_contact(const struct sts_lookup *lookup, struct sts_answer *answer)
{
	if (!lookup->mtasts->conf->mta_sts.first_contact_defer) {
		give_notice(answer, &lookup->notice, "mail goes on without it");
		return;
	}
	answer->state = STS_DEFER;
	refusal_set(
	    &answer->refusal, REASON_STS_FETCH, "%.360s; try again later", lookup->notice.text);
}

static void answer_from_cache(struct sts_lookup *lookup, struct sts_answer *answer)
{
	struct mtasts *mtasts = lookup->mtasts;
	struct sts_cached *cached = sts_cache_find(mtasts->cache, lookup->domain);

	if (is_in_force(cached)) {
		note_use(mtasts, cached);
		apply(answer, &cached->entry.policy);
		answer->is_cached = true;
		memcpy(answer->id, cached->entry.id, sizeof answer->id);
		give_notice(answer, &lookup->notice, "the cached policy applies");
	} else if (lookup->txt_failure.reason != REASON_NONE) {
		answer->state = STS_DEFER;
		answer->refusal = lookup->txt_failure;
	} else if (lookup->record == STS_RECORD_VALID) {
		answer_first_contact(lookup, answer);
	} else {
		give_notice(answer, &lookup->notice, "mail goes on without a policy");
		if (!cached && lookup->record == STS_RECORD_ABSENT)
			answer->absent_until = lookup->record_until;
	}
}

/* The lookup is gone before the callback runs. fresh: just fetched, or NULL. */
static void finish(struct sts_lookup *lookup, const struct sts_policy *fresh)
{
	sts_lookup_fn *callback = lookup->callback;
	void *arg = lookup->arg;
	struct sts_answer *answer = callback ? mem_zero(1, sizeof *answer) : NULL;
	struct mtasts *mtasts = lookup->mtasts;

	if (answer && fresh)
		apply(answer, fresh);
	else if (answer)
		answer_from_cache(lookup, answer);
	discard(lookup);
	if (answer)
		callback(answer, arg);
	else
		sts_refresh_schedule(mtasts);
}

/* ---- waiting for a fetch ---- */

static void on_landing(const struct sts_landing *landing, void *arg)
{
	struct sts_lookup *lookup = arg;

	lookup->seat = NULL;
	lookup->notice = landing->why;
	finish(lookup, landing->policy);
}

/* The fetch goes on without us: a background one may take longer than a client waits. */
static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct sts_lookup *lookup = timer->data;

	(void)loop, (void)events;
	refusal_set(&lookup->notice, REASON_STS_FETCH,
	    "the MTA-STS policy of %s, id %s, could not be fetched within %g s", lookup->domain,
	    lookup->id, lookup->mtasts->conf->mta_sts.fetch_timeout);
	finish(lookup, NULL);
}

static void wait_for_fetch(struct sts_lookup *lookup, const char *id)
{
	struct mtasts *mtasts = lookup->mtasts;
	double patience = mtasts->conf->mta_sts.fetch_timeout;

	lookup->seat = sts_flight_board(mtasts, lookup->domain, id,
	    lookup->callback ? patience : background_timeout, on_landing, lookup);
	if (!lookup->callback)
		return;
	ev_init(&lookup->timer, on_patience_over);
	timer_start(mtasts->loop, &lookup->timer, patience);
}

/* ---- is a fetch needed, and allowed? ---- */

/*
 * An expired policy is fetched once more, whatever the record says, before it is given up: it may
 * have expired because the clock was set (R-STS-23).
 */
static bool is_fetch_needed(const struct sts_lookup *lookup, const struct sts_cached *cached)
{
	if (lookup->is_refresh)
		return cached || lookup->record == STS_RECORD_VALID;
	if (cached && !is_in_force(cached))
		return true;
	if (lookup->record != STS_RECORD_VALID)
		return false;
	return !cached || strcmp(lookup->id, cached->entry.id) != 0;
}

/* A zone whose servers disagree on the id must not make each mail wait. */
static bool is_fetch_allowed(
    struct sts_lookup *lookup, const struct sts_cached *cached, const char *id)
{
	double now = clock_steady();
	const struct refusal *why;

	if (lookup->is_refresh)
		return true;
	why = sts_setbacks_find(lookup->mtasts->setbacks, lookup->domain, id, now);
	if (why)
		lookup->notice = *why;
	return !why && (!is_in_force(cached) || now >= cached->next_change);
}

static void proceed(struct sts_lookup *lookup)
{
	const struct sts_cached *cached = sts_cache_find(lookup->mtasts->cache, lookup->domain);
	const char *id = lookup->id[0] || !cached ? lookup->id : cached->entry.id;

	if (is_fetch_needed(lookup, cached) && is_fetch_allowed(lookup, cached, id))
		wait_for_fetch(lookup, id);
	else
		finish(lookup, NULL);
}

/* ---- the record ---- */

static void hear_record(struct sts_lookup *lookup, const struct dns_answer *answer)
{
	const char *why = "";

	if (answer->state == DNS_FAILED) {
		answer_refusal(answer, &lookup->txt_failure);
		return;
	}
	lookup->record_until = clock_steady() + answer->ttl;
	lookup->record = sts_record_parse(answer, lookup->id, &why);
	if (lookup->record != STS_RECORD_VALID)
		lookup->id[0] = '\0';
	if (lookup->record == STS_RECORD_INVALID)
		refusal_set(&lookup->notice, REASON_STS_POLICY_INVALID,
		    "the MTA-STS record of %s is invalid: %s", lookup->domain, why);
}

static void on_txt(const struct dns_answer *answer, void *arg)
{
	struct sts_lookup *lookup = arg;

	lookup->query = NULL;
	hear_record(lookup, answer);
	proceed(lookup);
}

/* No name so long can exist below the domain. */
static void on_nothing_to_ask(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)events;
	proceed(timer->data);
}

static void ask_record(struct sts_lookup *lookup)
{
	char owner[sizeof owner_prefix + DOMAIN_SIZE];
	struct mtasts *mtasts = lookup->mtasts;

	if (snprintf(owner, sizeof owner, "%s%s", owner_prefix, lookup->domain) <= DOMAIN_MAX) {
		lookup->query = dns_query_start(mtasts->resolver, owner, DNS_TXT, on_txt, lookup);
		return;
	}
	ev_timer_init(&lookup->timer, on_nothing_to_ask, 0., 0.);
	ev_timer_start(mtasts->loop, &lookup->timer);
}

static struct sts_lookup *start(struct mtasts *mtasts, const char *domain)
{
	struct sts_lookup *lookup = mem_zero(1, sizeof *lookup);

	lookup->mtasts = mtasts;
	snprintf(lookup->domain, sizeof lookup->domain, "%s", domain);
	lookup->record = STS_RECORD_ABSENT;
	ev_init(&lookup->timer, on_nothing_to_ask);
	lookup->timer.data = lookup;
	LIST_INSERT_HEAD(&mtasts->lookups, lookup, entry);
	ask_record(lookup);
	return lookup;
}

/* ---- the interface ---- */

struct sts_lookup *sts_lookup_start(
    struct mtasts *mtasts, const char *domain, sts_lookup_fn *callback, void *arg)
{
	struct sts_lookup *lookup = start(mtasts, domain);

	lookup->callback = callback;
	lookup->arg = arg;
	return lookup;
}

void sts_lookup_cancel(struct sts_lookup **lookup)
{
	if (!*lookup)
		return;
	discard(*lookup);
	*lookup = NULL;
}

void sts_answer_free(struct sts_answer **answer)
{
	if (!*answer)
		return;
	sts_policy_release(&(*answer)->policy);
	free(*answer);
	*answer = NULL;
}

void mtasts_observe(struct mtasts *mtasts, sts_fetched_fn *observer)
{
	mtasts->observer = observer;
}

void mtasts_recheck(struct mtasts *mtasts, const char *domain) { start(mtasts, domain); }

void mtasts_refresh(struct mtasts *mtasts, const char *domain)
{
	mtasts->refreshing++;
	start(mtasts, domain)->is_refresh = true;
}

void mtasts_forget(struct mtasts *mtasts, const char *domain)
{
	store_delete(mtasts->store, domain);
	sts_cache_delete(mtasts->cache, domain);
}

/* ---- from start to end ---- */

static void on_evicted(const char *domain, void *arg)
{
	struct mtasts *mtasts = arg;

	log_debug("MTA-STS cache: the policy of %s had to make room", domain);
	store_delete(mtasts->store, domain);
}

/*
 * Expired ones too: each is fetched once more before it is given up (R-STS-23). One fetched in the
 * future, by a clock that was wrong, is due at once.
 */
static void on_stored(const struct sts_entry *entry, void *arg)
{
	struct mtasts *mtasts = arg;
	time_t now = clock_wall();
	time_t fetched = entry->fetched < now ? entry->fetched : 0;

	sts_cache_put(mtasts->cache, entry, sts_refresh_due(fetched, entry->policy.max_age), now);
}

struct mtasts *mtasts_new(struct ev_loop *loop, const struct conf *conf, struct resolver *resolver,
    struct fetcher *fetcher, struct store *store)
{
	struct mtasts *mtasts = mem_zero(1, sizeof *mtasts);

	mtasts->loop = loop;
	mtasts->conf = conf;
	mtasts->resolver = resolver;
	mtasts->fetcher = fetcher;
	mtasts->store = store;
	mtasts->cache = sts_cache_new(on_evicted, mtasts);
	mtasts->setbacks = sts_setbacks_new();
	LIST_INIT(&mtasts->lookups);
	store_load(store, on_stored, mtasts);
	if (sts_cache_count(mtasts->cache) > 0)
		log_info("MTA-STS cache: %zu policies", sts_cache_count(mtasts->cache));
	sts_refresh_start(mtasts);
	return mtasts;
}

void mtasts_stop_refreshing(struct mtasts *mtasts)
{
	mtasts->never_refreshes = true;
	sts_refresh_stop(mtasts);
}

void mtasts_free(struct mtasts **mtasts)
{
	struct mtasts *m = *mtasts;
	struct sts_lookup *lookup;

	if (!m)
		return;
	while ((lookup = LIST_FIRST(&m->lookups)))
		discard(lookup);
	sts_flights_cancel(m);
	sts_refresh_stop(m);
	sts_setbacks_free(&m->setbacks);
	sts_cache_free(&m->cache);
	free(m);
	*mtasts = NULL;
}
