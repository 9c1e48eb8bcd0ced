/*
 * timer.c - see timer.h. Called for all limits of time that are set for messages.
 */
#include "conf/timer.h"

#include <stdbool.h>
#include <time.h>

/* The clock of the last tick is read without asking the hardware. */
static bool has_ticked(const struct ev_loop *loop)
{
	static const struct ev_loop *last_loop;
	static struct timespec last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (loop == last_loop && now.tv_nsec == last.tv_nsec && now.tv_sec == last.tv_sec)
		return false;
	last_loop = loop;
	last = now;
	return true;
}

void timer_refresh(struct ev_loop *loop)
{
	if (has_ticked(loop))
		ev_now_update(loop);
}

void timer_start(struct ev_loop *loop, ev_timer *timer, double seconds)
{
	ev_timer_stop(loop, timer);
	timer_refresh(loop);
	ev_timer_set(timer, seconds, 0.);
	ev_timer_start(loop, timer);
}
