/*
 * mtasts_internal.h - what mtasts.c, sts_flight.c and sts_refresh.c share; nobody else includes it.
 */
#ifndef POLICY_MTASTS_INTERNAL_H
#define POLICY_MTASTS_INTERNAL_H

#include "policy/mtasts.h"
#include "policy/sts_cache.h"
#include "policy/sts_setbacks.h"

#include <ev.h>
#include <sys/queue.h>

struct sts_flight;
struct sts_seat;

LIST_HEAD(sts_lookup_list, sts_lookup);

struct mtasts {
	struct ev_loop *loop;
	const struct conf *conf;
	struct resolver *resolver;
	struct fetcher *fetcher;
	struct store *store;
	struct sts_cache *cache;
	struct sts_setbacks *setbacks;
	struct sts_flight *flights;     /* by domain */
	struct sts_lookup_list lookups; /* all, for the end */
	ev_timer refresh_timer;
	size_t refreshing; /* lookups that the timer started */
	bool never_refreshes;
	sts_fetched_fn *observer;
};

/* ---- lookups that nobody waits for (mtasts.c) ---- */

/* Asks for the record, and fetches whatever it says (R-STS-20). */
void mtasts_refresh(struct mtasts *mtasts, const char *domain);

/* ---- one fetch, shared by all who want the policy of a domain (sts_flight.c) ---- */

struct sts_landing {
	const struct sts_policy *policy; /* new and valid, in the cache already; NULL: none */
	struct refusal why;              /* without a policy: sts-fetch or sts-policy-invalid */
};

typedef void sts_landing_fn(const struct sts_landing *landing, void *arg);

/*
 * Boards the fetch under way, or starts one of at most `timeout` seconds. Exactly one callback,
 * never from inside this call. The fetch goes on when its last seat was left.
 */
struct sts_seat *sts_flight_board(struct mtasts *mtasts, const char *domain, const char *id,
    double timeout, sts_landing_fn *callback, void *arg);
void sts_flight_leave(struct sts_seat **seat); /* NULL inside is welcome */
void sts_flights_cancel(struct mtasts *mtasts);

/* ---- when to refresh what (sts_refresh.c) ---- */

/* When a policy is fetched again. */
time_t sts_refresh_due(time_t fetched, uint32_t max_age);
void sts_refresh_start(struct mtasts *mtasts);    /* after loading */
void sts_refresh_schedule(struct mtasts *mtasts); /* whenever the cache or `refreshing` changed */
void sts_refresh_stop(struct mtasts *mtasts);

/* A refresh failed: tries later, alarms (R-STS-20, S-11), gives up what has expired. */
void sts_refresh_failed(
    struct mtasts *mtasts, struct sts_cached *cached, const struct refusal *why);

/* Too many fetches were under way: not a failure. */
void sts_refresh_postpone(struct mtasts *mtasts, struct sts_cached *cached);

void mtasts_forget(struct mtasts *mtasts, const char *domain); /* from cache and store */

#endif
