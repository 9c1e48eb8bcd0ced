/*
 * test_pool_share.c - workers that wait for the same next hop: each comes to a connection, and none
 * is taken to and fro.
 *
 * A model of a few workers, each with more mail than it has connections, or with exactly as much,
 * so that it never waits. Whose turn it is, chance says.
 */
#include "proxy/pool_share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WORKERS_MAX = 8, TURNS = 20000 };

struct worker {
	unsigned own, clients;
	unsigned closed;    /* connections that were given up for others */
	unsigned last_turn; /* at which it had one */
};

struct crew {
	unsigned workers, most;
	struct worker all[WORKERS_MAX];
};

static unsigned count_open(const struct crew *crew)
{
	unsigned open = 0;

	for (unsigned i = 0; i < crew->workers; i++)
		open += crew->all[i].own;
	return open;
}

static bool waits(const struct worker *worker) { return worker->clients > worker->own; }

static struct pool_rivals rivals(const struct crew *crew, unsigned self)
{
	struct pool_rivals found = {0};

	for (unsigned i = 0; i < crew->workers; i++) {
		if (i == self || !waits(&crew->all[i]))
			continue;
		if (!found.count++ || crew->all[i].own < found.least)
			found.least = crew->all[i].own;
	}
	return found;
}

/* A message that has waited for nothing, sooner than anybody can look. */
static void arrive(struct crew *crew, unsigned self)
{
	struct worker *worker = &crew->all[self];

	if (waits(worker) && count_open(crew) < crew->most &&
	    !pool_share_is_enough(worker->own, rivals(crew, self), false))
		worker->own++;
}

/* A message is over: its connection is given up, or goes on. */
static void give(struct crew *crew, unsigned self)
{
	struct worker *worker = &crew->all[self];

	if (!worker->own || count_open(crew) < crew->most)
		return;
	if (!pool_share_is_too_large(worker->own, rivals(crew, self)))
		return;
	worker->own--;
	worker->closed++;
	arrive(crew, self);
}

static void look(struct crew *crew, unsigned self)
{
	struct worker *worker = &crew->all[self];

	if (waits(worker) && count_open(crew) < crew->most &&
	    !pool_share_is_enough(worker->own, rivals(crew, self), true))
		worker->own++;
}

static void run(struct crew *crew, unsigned turns)
{
	for (unsigned turn = 1; turn <= turns; turn++) {
		unsigned self = (unsigned)rand() % crew->workers;

		if (rand() % 2)
			give(crew, self);
		else
			look(crew, self);
		for (unsigned i = 0; i < crew->workers; i++) {
			if (crew->all[i].own)
				crew->all[i].last_turn = turn;
			else if (turn - crew->all[i].last_turn > 2000)
				fail_msg(
				    "worker %u of %u has none of %u", i, crew->workers, crew->most);
		}
	}
}

static unsigned closed(const struct crew *crew)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < crew->workers; i++)
		sum += crew->all[i].closed;
	return sum;
}

/* The first ones come first, and take what there is. */
static struct crew begin(unsigned workers, unsigned most, unsigned clients)
{
	struct crew crew = {.workers = workers, .most = most};

	for (unsigned i = 0; i < workers; i++) {
		struct worker *worker = &crew.all[i];
		unsigned left = most - count_open(&crew);

		worker->clients = clients;
		worker->own = clients < left ? clients : left;
	}
	return crew;
}

static void nobody_starves(void **state)
{
	(void)state;
	srand(1);
	for (unsigned workers = 2; workers <= WORKERS_MAX; workers++) {
		for (unsigned most = 1; most <= 21; most++) {
			for (unsigned clients = 1; clients <= 22; clients++) {
				struct crew crew = begin(workers, most, clients);

				run(&crew, TURNS / 4);
			}
		}
	}
}

static void shares_come_to_rest(void **state)
{
	(void)state;
	srand(2);
	for (unsigned workers = 2; workers <= WORKERS_MAX; workers++) {
		for (unsigned most = workers; most <= 21; most++) {
			struct crew crew = begin(workers, most, 100);
			unsigned before;

			run(&crew, TURNS);
			before = closed(&crew);
			run(&crew, TURNS);
			assert_int_equal(closed(&crew), before);
			assert_int_equal(count_open(&crew), most);
		}
	}
}

/* Who has enough for its clients does not wait, and gives way to a poorer one all the same. */
static void the_content_give_way(void **state)
{
	struct crew crew = {
	    .workers = 3, .most = 20, .all = {{10, 10, 0, 0}, {10, 10, 0, 0}, {0, 10, 0, 0}}};

	(void)state;
	srand(3);
	run(&crew, TURNS);
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(crew.all[i].own, 6, 7);
}

static void nobody_waits(void **state)
{
	struct pool_rivals none = {0};

	(void)state;
	assert_false(pool_share_is_too_large(20, none));
	assert_false(pool_share_is_enough(20, none, true));
	assert_false(pool_share_is_enough(0, none, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-SMTP-81: whoever waits comes to a connection", nobody_starves, NULL, NULL, NULL},
	    {"R-SMTP-81: equal shares stay", shares_come_to_rest, NULL, NULL, NULL},
	    {"R-SMTP-81: who does not wait gives way", the_content_give_way, NULL, NULL, NULL},
	    {"where nobody waits nothing changes", nobody_waits, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("pool_share", tests, NULL, NULL);
}
