/*
 * test_duplicates.c - what is remembered of acceptances, with a spool that is a list.
 */
#include "proxy/duplicates.h"

#include "conf/clock.h"
#include "proxy/shared/journal.h"
#include "proxy/spool/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ev.h>

enum { DAY = 86400 };

/* ---- the clock and the spool ---- */

static struct ev_loop *loop;
static time_t now = 1900000000;
time_t clock_wall(void) { return now; }
double clock_steady(void) { return (double)now; }

struct spool {
	size_t count;
	struct {
		unsigned char digest[SPOOL_DIGEST_SIZE];
		time_t until;
	} kept[8];
};

void spool_remember(
    struct spool *spool, const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until)
{
	assert_in_range(spool->count, 0, 7);
	memcpy(spool->kept[spool->count].digest, digest, SPOOL_DIGEST_SIZE);
	spool->kept[spool->count++].until = until;
}

void spool_recall(struct spool *spool, spool_memory_fn *each, void *arg)
{
	for (size_t i = 0; i < spool->count; i++)
		each(spool->kept[i].digest, spool->kept[i].until, arg);
}

/* ---- tests ---- */

static const struct duplicate_key key = {"10.0.0.1", "a@x.example", "b@y.example", NULL};
static const unsigned char secret[FINGERPRINT_SECRET] = {7};
static const unsigned char body[FINGERPRINT_SIZE] = {1}, other_body[FINGERPRINT_SIZE] = {2};

/* Computed once and kept, or each time: the same, also where only what was kept is left. */
static void kept_key(void **state)
{
	struct duplicates *d = duplicates_new(loop, NULL, NULL, secret);
	struct duplicate_who who = {.is_known = false};
	struct duplicate_key keeps = {key.client, key.sender, key.recipient, &who};
	struct unheard unheard = {0};

	(void)state;
	duplicates_remember(d, &keeps, body);
	assert_true(who.is_known);
	assert_int_equal(duplicates_find(d, &key, body), now);
	assert_int_equal(duplicates_find(d, &keeps, body), now);
	unheard_add(&unheard, &keeps, body);
	who = (struct duplicate_who){.is_known = false};
	duplicates_settle(d, &unheard, true);
	assert_int_equal(duplicates_count(d), 0);
	unheard_add(&unheard, &keeps, body); /* not known yet: what it is made of is copied */
	duplicates_settle(d, &unheard, false);
	assert_int_equal(duplicates_find(d, &key, body), now);
	duplicates_free(&d);
}

static void only_the_same(void **state)
{
	static const struct duplicate_key others[] = {
	    {"10.0.0.2", "a@x.example", "b@y.example", NULL},
	    {"10.0.0.1", "c@x.example", "b@y.example", NULL},
	    {"10.0.0.1", "a@x.example", "B@y.example", NULL},
	    {"10.0.0.1", "a@x.exampleb", "@y.example", NULL},
	    {"10.0.0.1a", "@x.example", "b@y.example", NULL},
	};
	struct duplicates *d = duplicates_new(loop, NULL, NULL, secret);

	(void)state;
	assert_false(duplicates_may_know(d, &key));
	assert_int_equal(duplicates_find(d, &key, body), 0);
	duplicates_remember(d, &key, body);
	assert_true(duplicates_may_know(d, &key));
	assert_int_equal(duplicates_find(d, &key, body), now);
	assert_int_equal(duplicates_find(d, &key, other_body), 0);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		assert_false(duplicates_may_know(d, &others[i]));
		assert_int_equal(duplicates_find(d, &others[i], body), 0);
	}
	duplicates_free(&d);
	assert_null(d);
	duplicates_free(&d);
}

static void for_a_day(void **state)
{
	struct duplicates *d = duplicates_new(loop, NULL, NULL, secret);
	time_t accepted = now;

	(void)state;
	duplicates_remember(d, &key, body);
	now += DAY - 1;
	assert_int_equal(duplicates_find(d, &key, body), accepted);
	now += 1;
	assert_int_equal(duplicates_find(d, &key, body), 0);
	duplicates_remember(d, &key, body);
	now -= 3600; /* a clock that is set back makes nothing live longer */
	assert_int_equal(duplicates_find(d, &key, body), 0);
	now += 3600;
	assert_int_equal(duplicates_find(d, &key, body), now);
	duplicates_free(&d);
}

static void over_restarts(void **state)
{
	struct spool spool = {0};
	struct duplicates *d = duplicates_new(loop, &spool, NULL, secret);
	time_t accepted = now;

	(void)state;
	duplicates_remember(d, &key, body);
	duplicates_free(&d);
	now += 60;
	d = duplicates_new(loop, &spool, NULL, secret);
	assert_true(duplicates_may_know(d, &key));
	assert_int_equal(duplicates_find(d, &key, body), accepted);
	duplicates_free(&d);
}

static void under_way(void **state)
{
	struct journal *journal = calloc(1, journal_size());
	struct spool spool = {0};
	struct duplicates *d, *fellow;

	(void)state;
	journal_init(journal);
	d = duplicates_new(loop, &spool, journal, secret);
	fellow = duplicates_new(loop, NULL, journal, secret);
	assert_false(duplicates_is_under_way(fellow, &key, body));
	duplicates_set_under_way(d, &key, body, true);
	assert_true(duplicates_is_under_way(d, &key, body));
	assert_true(duplicates_is_under_way(fellow, &key, body));
	assert_true(duplicates_may_know(fellow, &key));
	assert_false(duplicates_is_under_way(fellow, &key, other_body));
	assert_int_equal(duplicates_find(fellow, &key, body), 0); /* nobody has it */
	duplicates_remember(d, &key, body);
	duplicates_set_under_way(d, &key, body, false);
	assert_false(duplicates_is_under_way(fellow, &key, body));
	assert_int_equal(duplicates_find(fellow, &key, body), now);

	duplicates_set_under_way(d, &key, other_body, true); /* and its worker dies */
	now += 599;
	assert_true(duplicates_is_under_way(fellow, &key, other_body));
	now += 1;
	assert_false(duplicates_is_under_way(fellow, &key, other_body));
	duplicates_free(&fellow);
	duplicates_free(&d);
	assert_int_equal(spool.count, 1); /* the acceptance alone */
	free(journal);
}

static void until_heard(void **state)
{
	struct spool spool = {0};
	struct duplicates *d = duplicates_new(loop, &spool, NULL, secret);
	struct unheard unheard = {0};
	time_t accepted = now;

	(void)state;
	unheard_add(&unheard, &key, body);
	unheard_add(&unheard, &key, other_body);
	duplicates_settle(d, &unheard, false);
	assert_int_equal(unheard.count, 0);
	assert_int_equal(duplicates_find(d, &key, other_body), accepted);
	assert_int_equal(spool.count, 0);
	ev_run(loop, 0);
	assert_int_equal(spool.count, 2);
	now += 60;
	duplicates_remember(d, &key, other_body); /* a second time makes it no younger */
	assert_int_equal(duplicates_find(d, &key, other_body), accepted);
	unheard_add(&unheard, &key, body);
	duplicates_settle(d, &unheard, true);
	assert_int_equal(duplicates_find(d, &key, body), 0);
	assert_int_equal(duplicates_count(d), 1);
	assert_int_equal(spool.count, 3);
	assert_int_equal(spool.kept[2].until, now);
	duplicates_free(&d);
}

/* Nearly all clients hear within moments: the spool need not know, but at the end. */
static void the_spool_hears_of_few(void **state)
{
	struct spool spool = {0};
	struct duplicates *d = duplicates_new(loop, &spool, NULL, secret);
	struct unheard unheard = {0};

	(void)state;
	duplicates_remember(d, &key, body);
	unheard_add(&unheard, &key, body);
	duplicates_settle(d, &unheard, true);
	ev_run(loop, 0);
	assert_int_equal(spool.count, 0);
	duplicates_remember(d, &key, body);
	duplicates_remember(d, &key, other_body);
	now -= 60; /* the clock is set back, and the same message is met again */
	duplicates_remember(d, &key, body);
	assert_int_equal(duplicates_count(d), 2);
	duplicates_free(&d);
	assert_int_equal(spool.count, 2);
	assert_int_equal(spool.kept[0].until, now + DAY);
}

static void bounded(void **state)
{
	struct duplicates *d = duplicates_new(loop, NULL, NULL, secret);
	unsigned char many[FINGERPRINT_SIZE] = {0};

	(void)state;
	duplicates_remember(d, &key, body);
	for (unsigned i = 0; i < DUPLICATES_MAX; i++) {
		char recipient[16];

		snprintf(recipient, sizeof recipient, "%u@y.example", i);
		duplicates_remember(
		    d, &(struct duplicate_key){"10.0.0.1", "a@x.example", recipient, NULL}, many);
	}
	assert_int_equal(duplicates_count(d), DUPLICATES_MAX);
	assert_false(duplicates_may_know(d, &key));
	assert_true(duplicates_may_know(
	    d, &(struct duplicate_key){"10.0.0.1", "a@x.example", "0@y.example", NULL}));
	now += DAY;
	duplicates_remember(d, &key, body);
	assert_int_equal(duplicates_count(d), 1);
	duplicates_free(&d);
}

/* Two workers of one service; whichever the client meets knows. */
static void over_workers(void **state)
{
	struct journal *journal = calloc(1, journal_size());
	struct unheard unheard = {0};
	time_t accepted = now;

	(void)state;
	journal_init(journal);
	struct duplicates *one = duplicates_new(loop, NULL, journal, secret),
			  *two = duplicates_new(loop, NULL, journal, secret);
	duplicates_remember(one, &key, body);
	assert_true(duplicates_may_know(two, &key));
	assert_int_equal(duplicates_find(two, &key, body), accepted);
	now += 60;
	duplicates_remember(two, &key, body);
	assert_int_equal(duplicates_find(one, &key, body), accepted);
	unheard_add(&unheard, &key, body);
	duplicates_settle(two, &unheard, true); /* it met the other one, and heard */
	assert_int_equal(duplicates_count(one), 0);
	duplicates_remember(one, &key, other_body);
	struct duplicates *three = duplicates_new(loop, NULL, journal, secret); /* after a death */
	assert_int_equal(duplicates_find(three, &key, body), 0);
	assert_int_equal(duplicates_find(three, &key, other_body), now);
	assert_int_equal(duplicates_count(three), 1);
	duplicates_free(&one);
	duplicates_free(&two);
	duplicates_free(&three);
	free(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-SMTP-64: the same message alone is known again", only_the_same, NULL, NULL, NULL},
	    {"a key that is computed once", kept_key, NULL, NULL, NULL},
	    {"R-SMTP-64: for a day", for_a_day, NULL, NULL, NULL},
	    {"R-SMTP-64: over restarts", over_restarts, NULL, NULL, NULL},
	    {"R-SMTP-64: over workers", over_workers, NULL, NULL, NULL},
	    {"R-SMTP-64: not while the first is under way", under_way, NULL, NULL, NULL},
	    {"R-SMTP-64: until the client has heard", until_heard, NULL, NULL, NULL},
	    {"the spool hears of few", the_spool_hears_of_few, NULL, NULL, NULL},
	    {"the oldest goes", bounded, NULL, NULL, NULL},
	};

	loop = ev_loop_new(0);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	ev_loop_destroy(loop);
	return failed;
}
