/*
 * sts_flight.c - one fetch of a policy, shared by all who want it, and what comes of it.
 *
 * A flight ends when its fetch does, never because its askers left: the next mail finds its result
 * in the cache (R-STS-35). A valid policy takes the place of a cached one whatever its mode, an
 * invalid one never does (R-STS-16, S-10). Called by mtasts.c.
 */
#include "policy/mtasts_internal.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "policy/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The default function falls through between cases, which clang does not let pass. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

struct sts_seat {
	TAILQ_ENTRY(sts_seat) entry;
	struct sts_flight *flight;
	sts_landing_fn *callback;
	void *arg;
};

struct sts_flight {
	UT_hash_handle hh;
	struct mtasts *mtasts;
	char domain[DOMAIN_SIZE];
	char id[STS_ID_SIZE];
	struct fetch *fetch;
	TAILQ_HEAD(, sts_seat) seats;
};

/* ---- a policy came ---- */

static void log_policy(const struct sts_flight *flight, const struct sts_policy *policy)
{
	struct log_line line;

	log_begin(&line, LOG_LEVEL_INFO, "sts-policy");
	log_value(&line, "domain", flight->domain);
	log_value(&line, "id", flight->id);
	log_value(&line, "mode", sts_mode_name(policy->mode));
	log_number(&line, "mx_patterns", (int64_t)policy->mx_count);
	log_number(&line, "max_age", policy->max_age);
	log_value(&line, "clamped", policy->was_clamped ? "yes" : "no");
	log_end(&line);
}

static time_t day_of(time_t now) { return now - now % 86400; }

static void keep(struct sts_flight *flight, const struct sts_policy *policy)
{
	struct mtasts *mtasts = flight->mtasts;
	struct sts_cached *cached = sts_cache_find(mtasts->cache, flight->domain);
	time_t now = clock_wall();
	struct sts_entry entry = {
	    .policy = *policy,
	    .fetched = now,
	    .expires = now + policy->max_age,
	    .used = cached ? cached->entry.used : day_of(now),
	};

	memcpy(entry.domain, flight->domain, sizeof entry.domain);
	memcpy(entry.id, flight->id, sizeof entry.id);
	if (!cached || strcmp(cached->entry.id, flight->id) != 0)
		log_policy(flight, policy);
	/* Before it, because it may be the one that has to make room. */
	store_put(mtasts->store, &entry);
	sts_cache_put(mtasts->cache, &entry, sts_refresh_due(now, policy->max_age), now);
	cached = sts_cache_find(mtasts->cache, flight->domain);
	if (cached)
		cached->next_change = clock_steady() + STS_PAUSE_LEAST;
}

static void welcome(struct sts_flight *flight, const struct sts_policy *policy)
{
	sts_setbacks_forget(flight->mtasts->setbacks, flight->domain);
	if (policy->max_age > 0)
		keep(flight, policy);
	else
		mtasts_forget(flight->mtasts, flight->domain);
	sts_refresh_schedule(flight->mtasts);
}

/* ---- none came ---- */

static void fail(struct sts_flight *flight, const struct refusal *why)
{
	struct mtasts *mtasts = flight->mtasts;
	struct sts_cached *cached = sts_cache_find(mtasts->cache, flight->domain);

	sts_setbacks_add(mtasts->setbacks, flight->domain, flight->id, why, clock_steady());
	if (cached)
		sts_refresh_failed(mtasts, cached, why);
	sts_refresh_schedule(mtasts);
}

static void postpone(struct sts_flight *flight)
{
	struct mtasts *mtasts = flight->mtasts;
	struct sts_cached *cached = sts_cache_find(mtasts->cache, flight->domain);

	if (cached)
		sts_refresh_postpone(mtasts, cached);
	sts_refresh_schedule(mtasts);
}

/* ---- landing ---- */

static void tell_seats(struct sts_flight *flight, const struct sts_landing *landing)
{
	struct sts_seat *seat;

	while ((seat = TAILQ_FIRST(&flight->seats))) {
		sts_landing_fn *callback = seat->callback;
		void *arg = seat->arg;

		TAILQ_REMOVE(&flight->seats, seat, entry);
		free(seat);
		callback(landing, arg);
	}
}

static bool read_policy(const struct sts_flight *flight, const struct fetch_result *result,
    struct sts_policy *policy, struct refusal *why)
{
	const char *wrong;

	if (result->outcome != FETCH_OK)
		refusal_set(why, REASON_STS_FETCH,
		    "the MTA-STS policy of %s, id %s, cannot be fetched: %s", flight->domain,
		    flight->id, result->why);
	else if (!sts_policy_parse(result->body, result->len, policy, &wrong))
		refusal_set(why, REASON_STS_POLICY_INVALID,
		    "the MTA-STS policy of %s, id %s, is invalid: %s", flight->domain, flight->id,
		    wrong);
	else
		return true;
	log_debug("%s", why->text);
	return false;
}

static void observe(const struct mtasts *mtasts, const struct fetch_result *result, bool is_valid)
{
	static const enum sts_fetched names[] = {
	    [FETCH_OK] = STS_FETCH_INVALID,
	    [FETCH_FAILED] = STS_FETCH_FAILED,
	    [FETCH_CERTIFICATE] = STS_FETCH_CERTIFICATE,
	    [FETCH_BUSY] = STS_FETCH_BUSY,
	};

	if (mtasts->observer)
		mtasts->observer(is_valid ? STS_FETCHED : names[result->outcome]);
}

/* A callback may start lookups, and cancel others that have a seat here. */
static void on_fetched(const struct fetch_result *result, void *arg)
{
	struct sts_flight *flight = arg;
	struct sts_policy policy;
	struct sts_landing landing = {0};

	flight->fetch = NULL;
	HASH_DEL(flight->mtasts->flights, flight);
	if (read_policy(flight, result, &policy, &landing.why)) {
		landing.policy = &policy;
		welcome(flight, &policy);
	} else if (result->outcome == FETCH_BUSY) {
		postpone(flight);
	} else {
		fail(flight, &landing.why);
	}
	observe(flight->mtasts, result, landing.policy != NULL);
	tell_seats(flight, &landing);
	if (landing.policy)
		sts_policy_release(&policy);
	free(flight);
}

/* ---- boarding ---- */

static struct sts_flight *start(
    struct mtasts *mtasts, const char *domain, const char *id, double timeout)
{
	struct sts_flight *flight = mem_zero(1, sizeof *flight);

	flight->mtasts = mtasts;
	snprintf(flight->domain, sizeof flight->domain, "%s", domain);
	snprintf(flight->id, sizeof flight->id, "%s", id);
	TAILQ_INIT(&flight->seats);
	HASH_ADD_STR(mtasts->flights, domain, flight);
	flight->fetch = fetch_start(mtasts->fetcher, domain, timeout, on_fetched, flight);
	return flight;
}

struct sts_seat *sts_flight_board(struct mtasts *mtasts, const char *domain, const char *id,
    double timeout, sts_landing_fn *callback, void *arg)
{
	struct sts_seat *seat = mem_zero(1, sizeof *seat);
	struct sts_flight *flight;

	HASH_FIND_STR(mtasts->flights, domain, flight);
	if (!flight)
		flight = start(mtasts, domain, id, timeout);
	seat->flight = flight;
	seat->callback = callback;
	seat->arg = arg;
	TAILQ_INSERT_TAIL(&flight->seats, seat, entry);
	return seat;
}

void sts_flight_leave(struct sts_seat **seat)
{
	if (!*seat)
		return;
	TAILQ_REMOVE(&(*seat)->flight->seats, *seat, entry);
	free(*seat);
	*seat = NULL;
}

void sts_flights_cancel(struct mtasts *mtasts)
{
	struct sts_flight *flight, *next;
	struct sts_seat *seat;

	HASH_ITER(hh, mtasts->flights, flight, next)
	{
		HASH_DEL(mtasts->flights, flight);
		fetch_cancel(&flight->fetch);
		while ((seat = TAILQ_FIRST(&flight->seats))) {
			TAILQ_REMOVE(&flight->seats, seat, entry);
			free(seat);
		}
		free(flight);
	}
}
