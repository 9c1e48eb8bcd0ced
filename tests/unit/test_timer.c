/*
 * test_timer.c - timers that count from now, however long the turn of the loop has lasted:
 * conf/timer.c.
 */
#include "conf/timer.h"

#include "conf/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT 0.1 /* seconds */
#define TURN  0.25
#define TICK  0.011 /* the longest that kernels have */

static double set_at, over_at;

static void on_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)w, (void)revents;
	over_at = clock_steady();
}

/* One callback takes long, and sets a limit at its end. */
static void on_long_turn(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)revents;
	usleep((useconds_t)(TURN * 1e6));
	set_at = clock_steady();
	timer_start(loop, w->data, LIMIT);
}

static void run(struct ev_loop *loop)
{
	ev_timer turn, limit;

	ev_timer_init(&turn, on_long_turn, 0., 0.);
	ev_init(&limit, on_over);
	turn.data = &limit;
	ev_timer_start(loop, &turn);
	ev_run(loop, 0);
	assert_true(over_at - set_at >= LIMIT - TICK);
}

static void long_turn(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);

	(void)state;
	run(loop);
	ev_loop_destroy(loop);
}

/* What is known of the time of one loop says nothing about another. */
static void two_loops(void **state)
{
	struct ev_loop *one = ev_loop_new(0), *other = ev_loop_new(0);
	double before;

	(void)state;
	usleep((useconds_t)(TURN * 1e6));
	timer_refresh(one);
	before = ev_time();
	timer_refresh(other);
	assert_true(ev_now(other) > before - TICK);
	ev_loop_destroy(one);
	ev_loop_destroy(other);
}

static void anew(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	ev_timer limit;

	(void)state;
	ev_init(&limit, on_over);
	timer_start(loop, &limit, 60);
	set_at = clock_steady();
	timer_start(loop, &limit, LIMIT);
	ev_run(loop, 0);
	assert_true(over_at - set_at >= LIMIT - TICK && over_at - set_at < 30);
	ev_loop_destroy(loop);
}

/* The rough clock is never ahead of the other, and hardly behind. */
static void rough_clock(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		double before = clock_steady(), rough = clock_rough();

		assert_true(rough <= clock_steady() && rough >= before - TICK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(long_turn),
	    cmocka_unit_test(two_loops),
	    cmocka_unit_test(anew),
	    cmocka_unit_test(rough_clock),
	};

	return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
