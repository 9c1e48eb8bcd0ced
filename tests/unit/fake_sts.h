/*
 * fake_sts.h - one scripted MTA-STS answer in place of policy/mtasts.h, for one test program.
 *
 * What a test puts into fake_sts is given to every lookup, some turns later; journals count what
 * was asked.
 */
#ifndef TESTS_FAKE_STS_H
#define TESTS_FAKE_STS_H

#include "conf/mem.h"
#include "policy/mtasts.h"

#include <assert.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	struct ev_loop *loop;
	struct sts_answer answer;
	double delay; /* seconds; negative: never */
	size_t asked, in_flight, cancelled, rechecked;
	char domain[DOMAIN_SIZE]; /* of the last lookup or recheck */
	struct sts_lookup *last;
} fake_sts;

struct sts_lookup {
	ev_timer timer;
	sts_lookup_fn *callback;
	void *arg;
};

static inline void fake_sts_reset(struct ev_loop *loop)
{
	memset(&fake_sts, 0, sizeof fake_sts);
	fake_sts.loop = loop;
}

static void fake_sts_end(struct sts_lookup *lookup)
{
	ev_timer_stop(fake_sts.loop, &lookup->timer);
	free(lookup);
	fake_sts.in_flight--;
}

static void on_fake_sts(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct sts_lookup *lookup = timer->data;
	struct sts_answer *answer = mem_copy(&fake_sts.answer, sizeof fake_sts.answer);
	sts_lookup_fn *callback = lookup->callback;
	void *arg = lookup->arg;

	(void)loop, (void)events;
	fake_sts_end(lookup);
	callback(answer, arg);
}

struct sts_lookup *sts_lookup_start(
    struct mtasts *mtasts, const char *domain, sts_lookup_fn *callback, void *arg)
{
	struct sts_lookup *lookup = mem_zero(1, sizeof *lookup);

	(void)mtasts;
	lookup->callback = callback;
	lookup->arg = arg;
	lookup->timer.data = lookup;
	ev_timer_init(&lookup->timer, on_fake_sts, fake_sts.delay, 0.);
	if (fake_sts.delay >= 0)
		ev_timer_start(fake_sts.loop, &lookup->timer);
	fake_sts.last = lookup;
	fake_sts.asked++;
	fake_sts.in_flight++;
	snprintf(fake_sts.domain, sizeof fake_sts.domain, "%s", domain);
	return lookup;
}

/* Where the delay is negative: the last one is answered after all. */
static inline void fake_sts_answer_last(void)
{
	ev_feed_event(fake_sts.loop, &fake_sts.last->timer, EV_TIMER);
}

void sts_lookup_cancel(struct sts_lookup **lookup)
{
	if (!*lookup)
		return;
	fake_sts_end(*lookup);
	fake_sts.cancelled++;
	*lookup = NULL;
}

void sts_answer_free(struct sts_answer **answer)
{
	free(*answer);
	*answer = NULL;
}

void mtasts_recheck(struct mtasts *mtasts, const char *domain)
{
	(void)mtasts;
	fake_sts.rechecked++;
	snprintf(fake_sts.domain, sizeof fake_sts.domain, "%s", domain);
}

#endif
