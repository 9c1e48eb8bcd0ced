/*
 * test_shared.c - what supervisor and workers have in common, with processes that are killed.
 */
#include "proxy/shared/shared.h"

#include "proxy/shared/journal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct shared *shared;

static int set_up(void **state)
{
	(void)state;
	shared = shared_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	shared_free(&shared);
	return 0;
}

static struct count_key key_of(const char *ip)
{
	struct addr address;

	assert_true(addr_parse_ip(&address, ip, 25));
	return count_key(COUNT_NEXT_HOP, &address, NULL);
}

/* ---- counts ---- */

static void limits(void **state)
{
	struct counts *counts = shared_counts(shared);
	struct count_key a = key_of("192.0.2.1"), b = key_of("2001:db8::1");

	(void)state;
	assert_true(counts_claim(counts, 0, &a, 2));
	assert_true(counts_claim(counts, 1, &a, 2));
	assert_false(counts_claim(counts, 0, &a, 2));
	assert_false(counts_claim(counts, 2, &a, 2));
	assert_true(counts_claim(counts, 2, &b, 2));
	assert_int_equal(counts_get(counts, &a), 2);
	counts_return(counts, 2, &a); /* it has none */
	assert_int_equal(counts_get(counts, &a), 2);
	counts_return(counts, 1, &a);
	assert_true(counts_claim(counts, 2, &a, 2));
	counts_clear_seat(counts, 2);
	assert_int_equal(counts_get(counts, &a), 1);
	assert_int_equal(counts_get(counts, &b), 0);
}

static void keys(void **state)
{
	struct counts *counts = shared_counts(shared);
	struct addr near, far;

	(void)state;
	assert_true(addr_parse_ip(&near, "192.0.2.1", 1000));
	assert_true(addr_parse_ip(&far, "192.0.2.2", 25));
	struct count_key all[] = {
	    count_key(COUNT_FLOW, &near, &far),
	    count_key(COUNT_FLOW, &far, &near),
	    count_key(COUNT_FLOW, &near, NULL),
	    count_key(COUNT_NEXT_HOP, &near, NULL),
	    count_key(COUNT_NEXT_HOP_IDLE, &near, NULL),
	    count_key(COUNT_LISTENER_FIRST, NULL, NULL),
	    count_key(COUNT_LISTENER_FIRST + 1, NULL, NULL),
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		assert_int_equal(counts_get(counts, &all[i]), 0);
		assert_true(counts_claim(counts, 0, &all[i], 1));
	}
}

/* More keys than there is room for: no claim then, and room again when others have left. */
static void bounded(void **state)
{
	struct counts *counts = shared_counts(shared);
	unsigned claimed = 0, refused = 0, again = 0;

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 200000; i++) {
			struct count_key key = count_key(COUNT_LISTENER_FIRST + i, NULL, NULL);
			bool done = counts_claim(counts, 3, &key, 1);

			claimed += !round && done;
			refused += !round && !done;
			again += round && done;
		}
		counts_clear_seat(counts, 3);
	}
	assert_int_equal(claimed, again);
	assert_int_equal(claimed + refused, 200000);
	assert_in_range(claimed, 120000, 131072);
}

static void calls(void **state)
{
	struct counts *counts = shared_counts(shared);
	struct count_key key = key_of("192.0.2.1"), other = key_of("192.0.2.2");
	struct count_key nobodys = key_of("192.0.2.3");
	unsigned before = counts_calls(counts), least;

	(void)state;
	counts_call(counts, 0, &key, 100); /* nobody has a connection there */
	assert_int_equal(counts_calls(counts), before);
	assert_true(counts_claim(counts, 0, &key, 1));
	assert_true(counts_claim(counts, 0, &other, 1));
	counts_call(counts, 0, &key, 100);
	assert_int_not_equal(counts_calls(counts), before);
	assert_int_equal(counts_callers(counts, 1, &key, 100.5, &least), 1);
	assert_int_equal(least, 1);
	assert_int_equal(counts_callers(counts, 0, &key, 100.5, &least), 0);
	assert_int_equal(counts_callers(counts, 1, &key, 101.5, &least), 0);
	assert_int_equal(counts_callers(counts, 1, &other, 100.5, &least), 0);
	counts_call(counts, 100, &key, 100.5);
	assert_int_equal(counts_callers(counts, 0, &key, 101, &least), 1);
	assert_int_equal(least, 0);
	assert_int_equal(counts_callers(counts, 1, &key, 101, &least), 2);
	assert_int_equal(counts_callers(counts, 100, &key, 101, &least), 1);
	assert_int_equal(least, 1);
	counts_withdraw(counts, 0, &key);
	assert_int_equal(counts_callers(counts, 100, &key, 101, &least), 0);
	assert_int_equal(counts_callers(counts, 1, &key, 101, &least), 1);
	counts_clear_seat(counts, 100); /* dead workers wait for nothing */
	assert_int_equal(counts_callers(counts, 1, &key, 101, &least), 0);
	counts_call(counts, 0, &key, 102);
	assert_int_equal(counts_callers(counts, 0, &key, 102.5, &least), 0);
	counts_withdraw(counts, 0, &other);
	counts_withdraw(counts, 0, &nobodys);
}

/* Claims and returns until it is killed. */
static _Noreturn void work(unsigned seat)
{
	struct count_key key = key_of("192.0.2.1");
	struct addr address;

	alarm(60); /* where the test has failed */
	for (uint16_t port = 1;; port++) {
		addr_parse_ip(&address, "192.0.2.9", port);
		struct count_key rare = count_key(COUNT_NEXT_HOP, &address, NULL);

		if (counts_claim(shared_counts(shared), seat, &key, 5)) {
			counts_claim(shared_counts(shared), seat, &rare, 5);
			counts_return(shared_counts(shared), seat, &rare);
			counts_return(shared_counts(shared), seat, &key);
		}
	}
}

/* F-04: whatever a worker was doing, its fellows count on, and its share is gone. */
static void killed(void **state)
{
	struct count_key key = key_of("192.0.2.1");

	(void)state;
	for (int i = 0; i < 200; i++) {
		pid_t pids[2];

		for (unsigned seat = 0; seat < 2; seat++) {
			pids[seat] = fork();
			assert_true(pids[seat] >= 0);
			if (pids[seat] == 0)
				work(seat);
		}
		usleep((useconds_t)(random() % 2000));
		kill(pids[i % 2], SIGKILL);
		assert_int_equal(waitpid(pids[i % 2], NULL, 0), pids[i % 2]);
		counts_clear_seat(shared_counts(shared), (unsigned)i % 2);
		assert_in_range(counts_get(shared_counts(shared), &key), 0, 1);
		kill(pids[1 - i % 2], SIGKILL);
		assert_int_equal(waitpid(pids[1 - i % 2], NULL, 0), pids[1 - i % 2]);
		counts_clear_seat(shared_counts(shared), 1 - (unsigned)i % 2);
		assert_int_equal(counts_get(shared_counts(shared), &key), 0);
	}
}

/* A worker that somebody has taken over may write anything: the supervisor stays inside, and does
 * not wait for the lock. */
static void damaged(void **state)
{
	struct counts *counts = shared_counts(shared);
	struct count_key key = key_of("192.0.2.1");

	(void)state;
	memset(counts, 0xff, counts_size());
	counts_clear_seat(counts, 3);
	counts_init(counts); /* a lock that works: the rows stay full */
	assert_false(counts_claim(counts, 3, &key, 5));
	assert_int_equal(counts_get(counts, &key), 0);
}

/* ---- seats ---- */

static void seats(void **state)
{
	unsigned seat, first;

	(void)state;
	assert_true(shared_take_seat(shared, &first));
	for (unsigned i = 1; i < SHARED_SEATS; i++)
		assert_true(shared_take_seat(shared, &seat));
	assert_false(shared_take_seat(shared, &seat));
	shared_free_seat(shared, first);
	assert_true(shared_take_seat(shared, &seat));
	assert_int_equal(seat, first);
}

static void handed_over(void **state)
{
	struct count_key key = key_of("192.0.2.1");
	struct shared *again;
	int fd = dup(shared_file(shared)), ends[2];

	(void)state;
	assert_true(counts_claim(shared_counts(shared), 4, &key, 5));
	again = shared_adopt(fd);
	assert_non_null(again);
	assert_int_equal(counts_get(shared_counts(again), &key), 1);
	shared_free(&again);
	assert_int_equal(pipe(ends), 0);
	assert_null(shared_adopt(ends[0]));
	close(ends[1]);
}

/* ---- the journal ---- */

static unsigned heard;
static time_t last_until;

static void hear(const unsigned char *digest, time_t until, void *arg)
{
	(void)arg;
	assert_int_equal(digest[0], (unsigned char)until);
	assert_true(until > last_until);
	last_until = until;
	heard++;
}

static void tell(time_t first, time_t last)
{
	for (time_t i = first; i <= last; i++) {
		unsigned char digest[JOURNAL_DIGEST_SIZE] = {(unsigned char)i};

		journal_add(shared_journal(shared), digest, i);
	}
}

static void journal(void **state)
{
	uint64_t place = 0;

	(void)state;
	tell(1, 10);
	journal_read(shared_journal(shared), &place, hear, NULL);
	assert_int_equal(heard, 10);
	journal_read(shared_journal(shared), &place, hear, NULL);
	assert_int_equal(heard, 10);
	tell(11, 12);
	journal_read(shared_journal(shared), &place, hear, NULL);
	assert_int_equal(heard, 12);
	tell(13, 2 * JOURNAL_MAX); /* too much for one that sleeps: the oldest are gone */
	journal_read(shared_journal(shared), &place, hear, NULL);
	assert_int_equal(heard, 12 + JOURNAL_MAX);
	assert_int_equal(last_until, 2 * JOURNAL_MAX);
}

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		{ "R-NET-13: a limit over all workers",              limits,      set_up, tear_down, NULL },
		{ "what is counted apart",                           keys,        set_up, tear_down, NULL },
		{ "a table that is full refuses, and recovers",      bounded,     set_up, tear_down, NULL },
		{ "whoever waits calls",                             calls,       set_up, tear_down, NULL },
		{ "F-04: killed while counting",                     killed,      set_up, tear_down, NULL },
		{ "damaged memory leads nobody out of it",           damaged,     set_up, tear_down, NULL },
		{ "seats are taken and free again",                  seats,       set_up, tear_down, NULL },
		{ "another image finds what there was, or nothing",  handed_over, set_up, tear_down, NULL },
		{ "R-SMTP-64: what one worker tells all others",     journal,     set_up, tear_down, NULL },
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
