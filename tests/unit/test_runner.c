/*
 * test_runner.c - who gets a slot: with a spool and messages in work that do what a test says.
 */
#include "conf/clock.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "proxy/proxy.h"
#include "proxy/spool/runner.h"
#include "proxy/spool/spool_task.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* ---- the modules below ---- */

/* Its recipients have a domain each; the first ones were begun. */
struct spool_task {
	struct spool_message *message;
	size_t begun, jobs;
	struct spool_task *next;
};

struct spool_job {
	struct spool_task *task;
	spool_job_fn *callback;
	void *arg;
	struct spool_job *next;
};

static struct {
	struct ev_loop *loop;
	struct proxy proxy;
	struct runner *runner;
	struct spool_task *tasks; /* the last one first */
	struct spool_job *jobs;
	size_t given_back, put_off, questions;
	enum spool_order order; /* of the last question */
	spool_due_fn *due;
	void *due_arg;
} stage;

time_t clock_wall(void) { return 1900000000; }
double clock_steady(void) { return 0; }

void spool_ask_due(
    struct spool *spool, enum spool_order order, size_t max, spool_due_fn *callback, void *arg)
{
	(void)spool, (void)max;
	stage.order = order;
	stage.questions++;
	stage.due = callback;
	stage.due_arg = arg;
}

time_t spool_next_due(const struct spool *spool) { return (void)spool, 0; }
void spool_forget(struct spool *spool, const void *arg) { (void)spool, (void)arg; }

void spool_watch(struct spool *spool, void (*on_change)(void *arg), void *arg)
{
	(void)spool, (void)on_change, (void)arg;
}

void spool_give_back(struct spool *spool, struct spool_message **message)
{
	(void)spool;
	stage.given_back++;
	spool_message_free(message);
}

struct spool_task *spool_task_new(struct proxy *proxy, struct spool_message **message, time_t now,
    spool_task_fn *callback, void *arg)
{
	struct spool_task *t = mem_zero(1, sizeof *t);

	(void)proxy, (void)now, (void)callback, (void)arg;
	t->message = *message;
	*message = NULL;
	t->next = stage.tasks;
	stage.tasks = t;
	return t;
}

const struct spool_message *spool_task_message(const struct spool_task *t) { return t->message; }

const char *spool_task_next_domain(const struct spool_task *t, size_t *from)
{
	if (*from < t->begun)
		*from = t->begun;
	return *from < t->message->count ? t->message->recipients[(*from)++].domain : NULL;
}

struct spool_job *spool_task_try(
    struct spool_task *t, const char *domain, spool_job_fn *callback, void *arg)
{
	struct spool_job *job = mem_zero(1, sizeof *job);

	assert_string_equal(domain, t->message->recipients[t->begun].domain);
	t->begun++;
	t->jobs++;
	*job = (struct spool_job){t, callback, arg, stage.jobs};
	stage.jobs = job;
	return job;
}

void spool_task_drop_job(struct spool_task *t, struct spool_job **job)
{
	struct spool_job **place = &stage.jobs;

	while (*place != *job)
		place = &(*place)->next;
	*place = (*job)->next;
	t->jobs--;
	free(*job);
	*job = NULL;
}

void spool_task_take_result(struct spool_task *t, struct spool_job **job)
{
	spool_task_drop_job(t, job);
}

void spool_task_put_off(struct spool_task *t)
{
	stage.put_off++;
	t->begun = t->message->count;
}

void spool_task_stop(struct spool_task *t) { t->begun = t->message->count; }
size_t spool_task_jobs(const struct spool_task *t) { return t->jobs; }

void spool_task_take_again(struct spool_task *t, struct spool_message **message)
{
	(void)t;
	spool_message_free(message);
}

bool spool_task_is_over(const struct spool_task *t)
{
	return !t->jobs && t->begun == t->message->count;
}

void spool_task_free(struct spool_task **task)
{
	struct spool_task **place = &stage.tasks;

	while (*place != *task)
		place = &(*place)->next;
	*place = (*task)->next;
	spool_message_free(&(*task)->message);
	free(*task);
	*task = NULL;
}

bool spool_job_is_past_dot(const struct spool_job *job) { return (void)job, false; }
void spool_job_cut(struct spool_job *job, const struct outcome *outcome)
{
	(void)job, (void)outcome;
}
void spool_job_log(const struct spool_job *job, unsigned tries, time_t next_try)
{
	(void)job, (void)tries, (void)next_try;
}

/* ---- scenes ---- */

static void await_question(void)
{
	stage.due = NULL;
	for (int i = 0; i < 100 && !stage.due; i++)
		ev_run(stage.loop, EVRUN_ONCE);
	assert_non_null(stage.due);
}

static int set_up(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof stage);
	stage.loop = ev_loop_new(0);
	stage.proxy = (struct proxy){.loop = stage.loop};
	stage.runner = runner_new(&stage.proxy);
	await_question();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	runner_free(&stage.runner);
	assert_null(stage.tasks);
	assert_null(stage.jobs);
	reap_now();
	ev_loop_destroy(stage.loop);
	return 0;
}

/* Its recipients have domains of their own, or share one. */
static struct spool_message *message_to(
    const char *id, size_t count, unsigned tries, const char *domain)
{
	struct spool_message *m = mem_zero(1, sizeof *m);

	snprintf(m->id, sizeof m->id, "%s", id);
	m->count = count;
	m->recipients = mem_zero(count, sizeof *m->recipients);
	for (size_t i = 0; i < count; i++) {
		m->recipients[i].tries = tries;
		if (domain)
			snprintf(m->recipients[i].domain, DOMAIN_SIZE, "%s", domain);
		else
			snprintf(m->recipients[i].domain, DOMAIN_SIZE, "d%zu.%s", i, id);
	}
	return m;
}

static void give(struct spool_message *m) { stage.due(m, stage.due_arg); }
static void end_answer(void) { stage.due(NULL, stage.due_arg); }

static size_t jobs_of(const char *id)
{
	for (const struct spool_task *t = stage.tasks; t; t = t->next) {
		if (!strcmp(t->message->id, id))
			return t->jobs;
	}
	return 0;
}

static void finish(const char *id)
{
	struct spool_job *job = stage.jobs;

	while (strcmp(job->task->message->id, id) != 0)
		job = job->next;
	job->callback(job, job->arg);
}

/* ---- cases ---- */

static void one_message(void **state)
{
	(void)state;
	give(message_to("many", 60, 0, NULL));
	give(message_to("other", 1, 3, NULL));
	end_answer();
	assert_int_equal(jobs_of("many"), 10);
	assert_int_equal(jobs_of("other"), 1);
	finish("many");
	assert_int_equal(jobs_of("many"), 10);
}

static void reserve(void **state)
{
	static const char *const dead[] = {"a", "b", "c", "d", "e", "f"};
	struct spool_message *notice = message_to("notice", 1, 2, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof dead / sizeof *dead; i++)
		give(message_to(dead[i], 60, 1, NULL));
	give(message_to("new", 5, 0, NULL));
	notice->is_notice = true;
	give(notice);
	end_answer();
	assert_int_equal(jobs_of("d"), 10);
	assert_int_equal(jobs_of("e") + jobs_of("f"), 0);
	assert_int_equal(jobs_of("new"), 1);
	assert_int_equal(jobs_of("notice"), 1);
	finish("a"); /* 41 are still too many */
	assert_int_equal(jobs_of("a") + jobs_of("e"), 9);
	assert_int_equal(stage.put_off, 0);
}

static void one_domain(void **state)
{
	static const char *const ids[] = {"a", "b", "c", "d", "e"};
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		give(message_to(ids[i], 1, 0, "crowd"));
	end_answer();
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		count += jobs_of(ids[i]);
	assert_int_equal(count, 4);
}

static void memory(void **state)
{
	(void)state;
	give(message_to("huge", 12000, 0, "one")); /* alone it has room */
	give(message_to("next", 1, 0, NULL));
	end_answer();
	assert_int_equal(stage.given_back, 1);
	assert_int_equal(jobs_of("next"), 0);
	await_question(); /* meanwhile the latest alone */
	assert_int_equal(stage.order, SPOOL_LATEST);
	end_answer();
	spool_task_stop(stage.tasks);
	while (jobs_of("huge"))
		finish("huge");
	assert_null(stage.tasks);
	await_question(); /* it is asked for again */
	assert_int_equal(stage.order, SPOOL_LONGEST_DUE);
	give(message_to("next", 1, 0, NULL));
	end_answer();
	assert_int_equal(jobs_of("next"), 1);
}

static void not_overtaken(void **state)
{
	(void)state;
	give(message_to("large", 9000, 0, "one"));
	give(message_to("larger", 2000, 0, "two"));
	give(message_to("small", 1, 0, NULL));
	end_answer();
	assert_int_equal(stage.given_back, 2);
}

static void give_dead(int first, int count)
{
	char id[20];

	for (int i = first; i < first + count; i++) {
		snprintf(id, sizeof id, "dead%d", i);
		give(message_to(id, 1, 3, NULL));
	}
}

static void backlog(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(stage.order, SPOOL_LONGEST_DUE);
		give_dead(50 * i, 50);
		end_answer();
		await_question();
	}
	assert_int_equal(stage.order, SPOOL_LATEST);
	give(message_to("new", 1, 0, NULL));
	give_dead(500, 1); /* it came lately, too, but was tried */
	end_answer();
	assert_int_equal(jobs_of("new"), 1);
	assert_int_equal(jobs_of("dead0"), 1);
	assert_int_equal(jobs_of("dead499"), 0);
	assert_int_equal(stage.given_back, 1);
	finish("new");
	finish("dead0"); /* there is room again */
	await_question();
	assert_int_equal(stage.order, SPOOL_LONGEST_DUE);
	end_answer();
}

static void latest_are_bounded(void **state)
{
	char id[20];

	(void)state;
	give(message_to("huge", 10000, 3, "one"));
	end_answer();
	await_question();
	for (int i = 0; i < 110; i++) {
		snprintf(id, sizeof id, "new%d", i);
		give(message_to(id, 1, 0, NULL));
	}
	end_answer();
	assert_int_equal(stage.given_back, 10);
	finish("new0");
	await_question();
	give(message_to("wide", 3000, 0, "two"));
	end_answer();
	assert_int_equal(stage.given_back, 11);
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, set_up, tear_down, NULL                                            \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST("R-SMTP-65: one message with many domains leaves slots to others", one_message),
	    TEST("R-SMTP-65: a reserve for what is new and for notices", reserve),
	    TEST("R-SMTP-65: four deliveries to one domain", one_domain),
	    TEST("a bound for memory holds within an answer", memory),
	    TEST("R-SMTP-65: a backlog does not hold up what is new", backlog),
	    TEST("the latest are bounded, too", latest_are_bounded),
	    TEST("who was sent back is not overtaken", not_overtaken),
	};

	return cmocka_run_group_tests_name("runner", tests, NULL, NULL);
}
