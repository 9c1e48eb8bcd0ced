/*
 * test_backoff.c - proxy/backoff.h: how an address that says 421 is spared, step by step.
 */
#include "proxy/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { LIMIT = 20 };

enum event { REFUSED, SHED, SERVED, NOTHING };

/* What happens at a time, and what holds then. */
struct step {
	double at;
	enum event event;
	unsigned open;
	unsigned most; /* connections after it */
	double pause;  /* that is left after it */
};

/* false: it was told of something that it took for no news. */
static bool happen(struct backoff *b, const struct step *step)
{
	switch (step->event) {
	case REFUSED:
		return backoff_refused(b, step->open, step->at);
	case SHED:
		return backoff_shed(b, step->open, step->at);
	case SERVED:
		backoff_served(b);
		return true;
	case NOTHING:
		return true;
	}
	return false;
}

static void go(const struct step *steps, size_t count)
{
	struct backoff b = {0};

	for (size_t i = 0; i < count; i++) {
		const struct step *s = &steps[i];
		struct backoff before = b;

		print_message("step %zu at %g s\n", i, s->at);
		if (!happen(&b, s))
			assert_memory_equal(&b, &before, sizeof b);
		assert_int_equal(backoff_most(&b, LIMIT), s->most);
		assert_int_equal(backoff_is_pausing(&b, s->at), s->pause > 0);
		if (s->pause > 0) {
			assert_true(backoff_is_pausing(&b, s->at + s->pause - 0.01));
			assert_false(backoff_is_pausing(&b, s->at + s->pause));
		}
	}
}

static void refused(void **unused)
{
	static const struct step steps[] = {
	    {1000, NOTHING, 0, LIMIT, 0},
	    {1000, REFUSED, 20, 10, 1},
	    {1000.5, REFUSED, 19, 10, 0.5}, /* on its way before the pause: no news */
	    {1002, REFUSED, 12, 5, 2},      /* of the 10 that it may have had */
	    {1010, REFUSED, 3, 1, 4},
	    {1020, REFUSED, 1, 1, 8}, /* never none */
	    {1040, REFUSED, 1, 1, 16},
	    {1060, REFUSED, 1, 1, 30}, /* never longer */
	    {1100, REFUSED, 1, 1, 30},
	};

	(void)unused;
	go(steps, COUNT(steps));
}

static void served(void **unused)
{
	static const struct step steps[] = {
	    {1, SERVED, 0, LIMIT, 0}, /* nothing to recover from */
	    {1, REFUSED, 3, 1, 1}, {2, SERVED, 0, 2, 0}, {2, SERVED, 0, 2, 0}, {2, SERVED, 0, 3, 0},
	    {3, REFUSED, 3, 1, 1}, /* it serves: the pause does not grow */
	    {4, REFUSED, 1, 1, 2},
	    {5, SERVED, 0, 2, 1}, /* those that are open go on, but the pause stays */
	};

	(void)unused;
	go(steps, COUNT(steps));
}

static void silent(void **unused)
{
	struct backoff b = {0};

	(void)unused;
	backoff_refused(&b, 2, 1);
	assert_true(backoff_is_silent(&b));
	backoff_served(&b);
	assert_false(backoff_is_silent(&b));
	backoff_refused(&b, 2, 5);
	assert_true(backoff_is_silent(&b));
}

static void grows_to_the_limit(void **unused)
{
	struct backoff b = {0};

	(void)unused;
	backoff_refused(&b, LIMIT, 1);
	for (unsigned i = 0; i < LIMIT * LIMIT; i++)
		backoff_served(&b);
	assert_int_equal(backoff_most(&b, LIMIT), LIMIT);
}

static void shed(void **unused)
{
	static const struct step steps[] = {
	    {1, SHED, 20, 10, 0},
	    {1.2, SHED, 19, 10, 0}, /* all at once are one event */
	    {3, SHED, 10, 5, 0},
	    {3, REFUSED, 6, 2, 1},
	    {3.1, SHED, 5, 2, 0.9},
	};

	(void)unused;
	go(steps, COUNT(steps));
}

static void open_unknown(void **unused)
{
	static const struct step steps[] = {
	    {1, REFUSED, 0, LIMIT, 1},
	    {2, SERVED, 0, LIMIT, 0},
	    {2, REFUSED, 0, LIMIT, 1},
	};

	(void)unused;
	go(steps, COUNT(steps));
}

static void over(void **unused)
{
	struct backoff b = {0};

	(void)unused;
	backoff_refused(&b, 8, 1000);
	assert_false(backoff_is_over(&b, 1000 + BACKOFF_FORGET));
	assert_true(backoff_is_over(&b, 1000 + BACKOFF_FORGET + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"U-03: half as many, and none for a while", refused, NULL, NULL, NULL},
	    {"U-03: one more with each round of messages", served, NULL, NULL, NULL},
	    {"U-03: whether it serves", silent, NULL, NULL, NULL},
	    {"U-03: never more than the limit", grows_to_the_limit, NULL, NULL, NULL},
	    {"U-03: idle connections that are closed", shed, NULL, NULL, NULL},
	    {"U-03: clients' own addresses only wait", open_unknown, NULL, NULL, NULL},
	    {"U-03: forgotten at last", over, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
