/*
 * sts_refresh.c - cached policies are fetched again about daily, before they expire, even without
 * mail and whatever the TXT record says (R-STS-20): who can block one fetch would otherwise only
 * have to wait.
 *
 * One timer, over the entry that is due first. It looks at least once a minute, because the wall
 * clock, which says what is due, may be set (R-STS-23). Called by mtasts.c and sts_flight.c.
 */
#include "policy/mtasts_internal.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/timer.h"

#include <string.h>
#include <sys/random.h>

enum { DAY = 86400, FORESIGHT = 2 * DAY, REFRESHING_MAX = 20, POSTPONED = 60 };

/* A policy that lives for less is not worth a fetch every few minutes when nobody sends mail. */
enum { LIFE_LEAST = 2 * STS_PAUSE_LEAST };

/* Failures in a row after which a person should know; then about daily. */
enum { ALARM_FIRST = 3, ALARM_EACH = 24 };

/* Between two fetches, so that a cache full of overdue entries is no burst. */
static const double spacing = 0.1;
static const double longest_wait = 60;

/* least to least + 0.5: instances that fetched together drift apart. */
static double spread(double least)
{
	uint16_t number = 0;

	if (getrandom(&number, sizeof number, 0) != sizeof number)
		return least;
	return least + number / 65535.0 / 2;
}

time_t sts_refresh_due(time_t fetched, uint32_t max_age)
{
	double interval = max_age / 2 < DAY ? max_age / 2 : DAY;

	if (max_age < LIFE_LEAST)
		return fetched + max_age;
	return fetched + (time_t)(interval * spread(0.75));
}

/* Nothing is ever due so far ahead: the clock was set back. */
static double wait_for(time_t due, time_t now)
{
	if (due <= now || due - now > FORESIGHT)
		return 0;
	return (double)(due - now);
}

/* The due time is set anew when the fetch ends; until then another entry is first. */
static void refresh(struct mtasts *mtasts, struct sts_cached *cached, time_t now)
{
	char domain[DOMAIN_SIZE];

	memcpy(domain, cached->entry.domain, sizeof domain);
	if (cached->entry.policy.max_age < LIFE_LEAST && cached->entry.expires <= now) {
		mtasts_forget(mtasts, domain);
		return;
	}
	sts_cache_set_due(mtasts->cache, cached, now + STS_PAUSE_MOST);
	mtasts_refresh(mtasts, domain);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct mtasts *mtasts = timer->data;
	time_t due = 0, now = clock_wall();
	struct sts_cached *cached = sts_cache_next_due(mtasts->cache, &due);

	(void)loop, (void)events;
	if (cached && wait_for(due, now) <= 0 && mtasts->refreshing < REFRESHING_MAX)
		refresh(mtasts, cached, now);
	sts_refresh_schedule(mtasts);
}

void sts_refresh_schedule(struct mtasts *mtasts)
{
	time_t due;
	double wait;

	ev_timer_stop(mtasts->loop, &mtasts->refresh_timer);
	if (mtasts->never_refreshes || !sts_cache_next_due(mtasts->cache, &due) ||
	    mtasts->refreshing >= REFRESHING_MAX)
		return;
	wait = wait_for(due, clock_wall());
	if (wait < spacing)
		wait = spacing;
	if (wait > longest_wait)
		wait = longest_wait;
	timer_start(mtasts->loop, &mtasts->refresh_timer, wait);
}

void sts_refresh_start(struct mtasts *mtasts)
{
	ev_init(&mtasts->refresh_timer, on_timer);
	mtasts->refresh_timer.data = mtasts;
	sts_refresh_schedule(mtasts);
}

void sts_refresh_stop(struct mtasts *mtasts)
{
	ev_timer_stop(mtasts->loop, &mtasts->refresh_timer);
}

/* Mode none asks for nothing, and so nothing is missed (R-STS-29). */
static void alarm_if_repeated(const struct sts_cached *cached, const struct refusal *why)
{
	unsigned failures = cached->failures;
	time_t left = cached->entry.expires - clock_wall();

	if (cached->entry.policy.mode == STS_MODE_NONE)
		return;
	if (failures == ALARM_FIRST || failures % ALARM_EACH == 0)
		log_error("%s: %u times in a row; the cached policy (%s) holds for %lld more hours",
		    why->text, failures, sts_mode_name(cached->entry.policy.mode),
		    (long long)(left > 0 ? left / 3600 : 0));
}

void sts_refresh_failed(struct mtasts *mtasts, struct sts_cached *cached, const struct refusal *why)
{
	time_t now = clock_wall();

	cached->failures++;
	cached->next_change = clock_steady() + STS_PAUSE_LEAST;
	alarm_if_repeated(cached, why);
	if (cached->entry.expires <= now) {
		log_warning("%s: the cached policy has expired and is given up", why->text);
		mtasts_forget(mtasts, cached->entry.domain);
		return;
	}
	sts_cache_set_due(
	    mtasts->cache, cached, now + (time_t)(sts_pause(cached->failures) * spread(1)));
}

void sts_refresh_postpone(struct mtasts *mtasts, struct sts_cached *cached)
{
	sts_cache_set_due(mtasts->cache, cached, clock_wall() + POSTPONED);
}
