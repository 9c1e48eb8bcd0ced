/*
 * timer.h - timers of libev that count from now.
 *
 * libev counts from the start of a turn of the loop, which after a long callback lies in the past:
 * a limit would be over before its time. Asking the clock for each timer of each message costs
 * more than the timers; so it is asked again when the kernel's clock has ticked, and a limit may
 * be short by one tick (1 to 10 ms).
 */
#ifndef CONF_TIMER_H
#define CONF_TIMER_H

#include <ev.h>

/* From now on ev_now() and ev_timer_remaining() of this turn tell the time to the tick. */
void timer_refresh(struct ev_loop *loop);

/* Runs once, after so many seconds from now; one that is running already begins anew. */
void timer_start(struct ev_loop *loop, ev_timer *timer, double seconds);

#endif
