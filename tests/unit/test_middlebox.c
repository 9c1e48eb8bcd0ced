/*
 * test_middlebox.c - proxy/middlebox.h: what is remembered of hosts, and when their silence about
 * STARTTLS is one too many.
 */
#include "proxy/middlebox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

/* Hosts first to first + count - 1 are greeted, at a time of their own each. */
static double greet(struct middlebox *m, int first, int count, bool offers, double at)
{
	char name[32];

	for (int i = first; i < first + count; i++) {
		snprintf(name, sizeof name, "mx%d.example.org", i);
		middlebox_hear(m, name, offers, at += 0.001);
	}
	return at;
}

static bool is_suspected(struct middlebox *m, double now)
{
	struct middlebox_verdict verdict;

	middlebox_judge(m, now, &verdict);
	return verdict.is_suspected;
}

/* First so many are known; then some of them offer it again, and some lack it. */
static void when_it_is_suspected(void **state)
{
	static const struct {
		int known, offering, lacking;
		bool is_suspected;
	} rows[] = {
	    {5, 0, 4, false},                   /* too few */
	    {5, 0, 5, true}, {20, 5, 5, false}, /* half */
	    {20, 5, 6, true}, {20, 4, 5, true}, {100, 60, 40, false}, {100, 40, 60, true},
	    {0, 0, 50, false},                    /* they never offered it */
	    {4, 0, 50, false}, {5, 45, 5, false}, /* others do, who were not known before */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct middlebox *m = middlebox_new();
		double now = DAY;

		greet(m, 0, rows[i].known, true, 0);
		now = greet(m, 0, rows[i].lacking, false, now);
		now = greet(m, rows[i].lacking, rows[i].offering, true, now);
		if (is_suspected(m, now) != rows[i].is_suspected)
			fail_msg("row %zu", i);
		middlebox_free(&m);
	}
}

/* A host that is asked again and again is one host. */
static void distinct_hosts_count(void **state)
{
	struct middlebox *m = middlebox_new();

	(void)state;
	greet(m, 0, 10, true, 0);
	for (int i = 0; i < 50; i++)
		greet(m, 0, 3, false, HOUR + i);
	assert_false(is_suspected(m, HOUR + MINUTE));
	greet(m, 0, 5, false, HOUR + MINUTE);
	assert_true(is_suspected(m, HOUR + 2 * MINUTE));
	middlebox_free(&m);
}

static void ten_minutes_count(void **state)
{
	struct middlebox *m = middlebox_new();

	(void)state;
	greet(m, 0, 10, true, 0);
	greet(m, 0, 3, false, HOUR);
	greet(m, 3, 2, false, HOUR + 9 * MINUTE);
	assert_true(is_suspected(m, HOUR + 9 * MINUTE + 1));
	middlebox_free(&m);
	m = middlebox_new();
	greet(m, 0, 10, true, 0);
	greet(m, 0, 3, false, HOUR);
	greet(m, 3, 2, false, HOUR + 11 * MINUTE);
	assert_false(is_suspected(m, HOUR + 11 * MINUTE + 1));
	middlebox_free(&m);
}

static void it_ends(void **state)
{
	struct middlebox *m = middlebox_new();

	(void)state;
	greet(m, 0, 20, true, 0);
	greet(m, 0, 6, false, HOUR);
	assert_true(is_suspected(m, HOUR + 1));
	/* nothing new: it stays, but not for ever */
	assert_true(is_suspected(m, HOUR + 50 * MINUTE));
	assert_false(is_suspected(m, 2 * HOUR + MINUTE));
	/* and comes back, until half of them offer it */
	greet(m, 0, 6, false, 3 * HOUR);
	assert_true(is_suspected(m, 3 * HOUR + 1));
	greet(m, 6, 5, true, 3 * HOUR + 1);
	assert_true(is_suspected(m, 3 * HOUR + 2));
	greet(m, 11, 1, true, 3 * HOUR + 2);
	assert_false(is_suspected(m, 3 * HOUR + 3));
	middlebox_free(&m);
}

static void a_week_is_remembered(void **state)
{
	struct middlebox *m = middlebox_new();

	(void)state;
	greet(m, 0, 5, true, 0);
	greet(m, 0, 5, false, 6 * DAY);
	assert_true(is_suspected(m, 6 * DAY + 1));
	greet(m, 0, 5, false, 7 * DAY + HOUR); /* since a week they are hosts without STARTTLS */
	assert_false(is_suspected(m, 7 * DAY + HOUR + 1));
	middlebox_free(&m);
}

/* Of 12,000 the first 2,000 are forgotten; those greeted last are not. */
static void bounded(void **state)
{
	struct middlebox *m = middlebox_new();

	(void)state;
	greet(m, 0, 10000, true, 0);
	greet(m, 0, 5, true, 100); /* moves to the end */
	greet(m, 10000, 2000, true, 200);
	greet(m, 1000, 900, false, HOUR);
	assert_false(is_suspected(m, HOUR + 1));
	greet(m, 0, 5, false, HOUR + 1);
	assert_true(is_suspected(m, HOUR + 2));
	middlebox_free(&m);
}

static void hosts_are_named(void **state)
{
	struct middlebox *m = middlebox_new();
	struct middlebox_verdict verdict;
	char longest[300];

	(void)state;
	greet(m, 0, 12, true, 0);
	greet(m, 0, 12, false, HOUR);
	middlebox_judge(m, HOUR + 1, &verdict);
	assert_int_equal(verdict.greeted, 12);
	assert_int_equal(verdict.lacking, 12);
	assert_string_equal(verdict.hosts,
	    "mx11.example.org, mx10.example.org, mx9.example.org, mx8.example.org, "
	    "mx7.example.org and 7 more");
	memset(longest, 'x', sizeof longest);
	for (int i = 0; i < 5; i++) {
		snprintf(longest + 250, 20, "%d.org", i);
		middlebox_hear(m, longest, true, 2 * HOUR);
		middlebox_hear(m, longest, false, 2 * HOUR);
	}
	middlebox_judge(m, 2 * HOUR, &verdict);
	assert_int_equal(verdict.lacking, 5);
	middlebox_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(when_it_is_suspected),
	    cmocka_unit_test(distinct_hosts_count),
	    cmocka_unit_test(ten_minutes_count),
	    cmocka_unit_test(it_ends),
	    cmocka_unit_test(a_week_is_remembered),
	    cmocka_unit_test(bounded),
	    cmocka_unit_test(hosts_are_named),
	};

	return cmocka_run_group_tests_name("middlebox", tests, NULL, NULL);
}
