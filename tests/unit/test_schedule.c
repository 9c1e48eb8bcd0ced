/*
 * test_schedule.c - when the spool tries again, gives up, and says that it is late.
 */
#include "conf/conf.h"
#include "proxy/spool/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { NOW = 1900000000, HOUR = 3600, DAY = 86400 };

static const struct conf conf = {
    .spool = {.retry = {5, {60, 300, 900, HOUR, 4 * HOUR}}, .lifetime = 5 * DAY},
};

static void waits(void **state)
{
	static const struct {
		unsigned tries;
		int wait;
	} cases[] = {{0, 60}, {1, 60}, {2, 300}, {3, 900}, {4, HOUR}, {5, 4 * HOUR}, {6, 4 * HOUR},
	    {4000000000u, 4 * HOUR}};
	struct spool_message message = {.id = "one", .arrived = NOW};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		time_t wait = schedule_next_try(&conf, &message, cases[i].tries, NOW) - NOW;

		assert_in_range(wait, cases[i].wait, cases[i].wait + cases[i].wait / 10 + 1);
	}
}

static void messages_spread(void **state)
{
	struct spool_message message = {.arrived = NOW};
	time_t least = INT64_MAX, most = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		snprintf(message.id, sizeof message.id, "%d", i);
		time_t next = schedule_next_try(&conf, &message, 9, NOW);

		assert_int_equal(next, schedule_next_try(&conf, &message, 9, NOW));
		least = next < least ? next : least;
		most = next > most ? next : most;
	}
	assert_true(most - least > HOUR / 6);
}

static void short_waits_end_later(void **state)
{
	static const struct conf quick = {.spool = {.retry = {1, {0.1}}, .lifetime = 0.1}};
	struct spool_message message = {.id = "one", .arrived = NOW};

	(void)state;
	assert_int_equal(schedule_next_try(&quick, &message, 1, NOW), NOW + 1);
	assert_int_equal(schedule_end(&quick, &message), NOW + 1);
}

static void ends(void **state)
{
	static const struct {
		int64_t age;
		unsigned tries;
		bool was_busy, want;
	} cases[] = {
	    {0, 1, false, false},
	    {5 * DAY - 1, 40, false, false},
	    {5 * DAY, 40, false, true},
	    {5 * DAY, 40, true, false},
	    {6 * DAY, 40, true, true},
	    /* a clock that was set forward */
	    {50 * 365 * DAY, 1, false, false},
	    {50 * 365 * DAY, 5, false, false},
	    {50 * 365 * DAY, 25, false, false},
	    {50 * 365 * DAY, 31, false, true},
	    {50 * 365 * DAY, 0, true, false},
	    /* a clock that was set back */
	    {-7 * DAY, 2, false, false},
	    {-7 * DAY, 40, false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct spool_message message = {.arrived = NOW - cases[i].age};
		struct spool_recipient recipient = {.tries = cases[i].tries};

		recipient.last.reason = cases[i].was_busy ? REASON_BUSY : REASON_CONNECT_FAILED;

		assert_int_equal(schedule_is_over(&conf, &message, &recipient, NOW), cases[i].want);
	}
}

/* Tried by the schedule, by a clock that goes right, it ends with the first try after its time. */
static void ends_in_time(void **state)
{
	static const struct conf confs[] = {
	    {.spool = {.retry = {5, {60, 300, 900, HOUR, 4 * HOUR}}, .lifetime = 5 * DAY}},
	    {.spool = {.retry = {5, {60, 300, 900, HOUR, 4 * HOUR}}, .lifetime = HOUR}},
	    {.spool = {.retry = {1, {60}}, .lifetime = 5 * DAY}},
	    {.spool = {.retry = {2, {HOUR, DAY}}, .lifetime = 30 * DAY}},
	    {.spool = {.retry = {1, {0.1}}, .lifetime = 2}},
	    {.spool = {.retry = {1, {DAY}}, .lifetime = HOUR}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof confs / sizeof *confs; i++) {
		struct spool_message message = {.id = "x", .arrived = NOW};
		struct spool_recipient r = {.last = {.code = 451}};
		time_t now = NOW, before = NOW;

		while (!schedule_is_over(&confs[i], &message, &r, now)) {
			before = now;
			r.tries++;
			if (r.tries > 1)
				now = schedule_next_try(&confs[i], &message, r.tries - 1, now) + 30;
		}
		assert_true(before < schedule_end(&confs[i], &message));
	}
}

static void busy(void **state)
{
	struct spool_message message = {.id = "one"};

	(void)state;
	assert_in_range(schedule_when_busy(&message, NOW), NOW + 20, NOW + 40);
}

static void late(void **state)
{
	struct spool_message message = {.arrived = NOW};
	struct spool_recipient recipient = {0};

	(void)state;
	assert_false(schedule_is_late(&message, &recipient, NOW + 4 * HOUR - 1));
	assert_true(schedule_is_late(&message, &recipient, NOW + 4 * HOUR));
	recipient.is_delay_told = true;
	assert_false(schedule_is_late(&message, &recipient, NOW + 4 * HOUR));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-SMTP-65: each failure waits longer, the last wait repeats", waits, NULL, NULL,
		NULL},
	    {"R-SMTP-65: messages do not come back together", messages_spread, NULL, NULL, NULL},
	    {"the clock knows whole seconds", short_waits_end_later, NULL, NULL, NULL},
	    {"R-SMTP-65: given up after [spool] lifetime", ends, NULL, NULL, NULL},
	    {"R-SMTP-65: given up in time, by a clock that goes right", ends_in_time, NULL, NULL,
		NULL},
	    {"a limit of ours is no try", busy, NULL, NULL, NULL},
	    {"the sender hears of it after 4 hours, once", late, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
