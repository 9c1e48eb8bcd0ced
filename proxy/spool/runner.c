/*
 * runner.c - see runner.h.
 *
 * The spool gives what is due, longest due first. At most so many deliveries run at once, and only
 * a few for one domain or one message: destinations that hang must not hold up all others. The last
 * ones are for mail that was never tried and for notices, one for each message; so is the last room
 * for messages, which the spool fills with the latest once those that are due longest fill the
 * rest.
 */
#include "proxy/spool/runner.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/timer.h"
#include "proxy/proxy.h"
#include "proxy/spool/spool.h"
#include "proxy/spool/spool_task.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
	JOBS_MAX = 60,
	JOBS_RESERVE = 20, /* of these */
	TASK_JOBS_MAX = 10,
	DOMAIN_JOBS_MAX = 4,
	ASK_MAX = 50,
	TASKS_MAX = 500,        /* messages in work */
	RECIPIENTS_MAX = 10000, /* of these messages: a bound for memory */
	LATEST_TASKS = 100,     /* beyond these, and ... */
	LATEST_RECIPIENTS = 2000,
};

/* Between questions: the spool of another process may become ours, clocks may be set. */
static const double pause_long = 5, pause_short = 1, pause_least = 0.05;

struct job {
	struct runner *runner;
	struct spool_task *task;
	struct spool_job *job;
	char domain[DOMAIN_SIZE];
	struct job *prev, *next;
};

struct task {
	struct spool_task *task;
	bool is_latest; /* it came beyond TASKS_MAX */
	struct task *prev, *next;
};

struct runner {
	struct proxy *proxy;
	struct task *tasks;
	size_t task_count, recipient_count, latest_count;
	bool has_sent_back; /* a message there was no room for, since a task ended */
	struct job *jobs;
	size_t job_count;
	ev_timer ask; /* the next question */
	bool is_asking, is_stopping;
	bool asks_latest;
	bool is_changed;    /* something may be due since we asked */
	size_t given_count; /* new ones, of this answer */
};

static void work(struct runner *r);

/* ---- asking ---- */

static void on_due(struct spool_message *message, void *arg);

static bool is_full(const struct runner *r)
{
	return r->task_count >= TASKS_MAX || r->recipient_count >= RECIPIENTS_MAX ||
	       r->has_sent_back;
}

/* A notice, or something that was never tried. */
static bool is_new(const struct spool_message *message)
{
	for (size_t i = 0; i < message->count; i++) {
		if (!message->recipients[i].tries)
			return true;
	}
	return message->is_notice;
}

static bool has_latest_room(const struct runner *r, const struct spool_message *message)
{
	return is_new(message) && r->latest_count < LATEST_TASKS &&
	       r->recipient_count + message->count <= RECIPIENTS_MAX + LATEST_RECIPIENTS;
}

/*
 * An answer may bring more than there was room for. One message alone always has room; and whoever
 * was sent back is not overtaken, but by the latest.
 */
static bool has_room(const struct runner *r, const struct spool_message *message)
{
	if (r->asks_latest)
		return has_latest_room(r, message);
	return !r->task_count ||
	       (!r->has_sent_back && r->recipient_count + message->count <= RECIPIENTS_MAX);
}

static void ask_in(struct runner *r, double seconds)
{
	if (!r->is_stopping && !r->is_asking)
		timer_start(r->proxy->loop, &r->ask, seconds);
}

static void on_time_to_ask(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct runner *r = w->data;

	(void)loop, (void)revents;
	r->asks_latest = is_full(r);
	if (r->asks_latest && r->latest_count >= LATEST_TASKS) /* the end of a task asks again */
		return;
	r->is_asking = true;
	r->is_changed = false;
	r->given_count = 0;
	spool_ask_due(
	    r->proxy->spool, r->asks_latest ? SPOOL_LATEST : SPOOL_LONGEST_DUE, ASK_MAX, on_due, r);
}

static double until_next_due(const struct runner *r)
{
	time_t due = spool_next_due(r->proxy->spool);
	double wait = due ? (double)(due - clock_wall()) : pause_long;
	double least = r->given_count ? pause_least : pause_short;

	return wait < least ? least : wait > pause_long ? pause_long : wait;
}

static void ask_again(struct runner *r) { ask_in(r, r->is_changed ? 0 : until_next_due(r)); }

static void on_answered(struct runner *r)
{
	r->is_asking = false;
	if (r->given_count == ASK_MAX)
		r->is_changed = true; /* there is more */
	ask_again(r);
	work(r);
}

static void on_change(void *arg)
{
	struct runner *r = arg;

	r->is_changed = true;
	ask_in(r, 0);
}

/* ---- messages ---- */

static struct task *find_task(struct runner *r, const char *id)
{
	struct task *t;

	DL_FOREACH(r->tasks, t)
	{
		if (!strcmp(spool_task_message(t->task)->id, id))
			return t;
	}
	return NULL;
}

static void end_if_over(struct runner *r, struct task *t)
{
	if (!spool_task_is_over(t->task))
		return;
	r->task_count--;
	r->latest_count -= t->is_latest;
	r->recipient_count -= spool_task_message(t->task)->count;
	r->has_sent_back = false;
	DL_DELETE(r->tasks, t);
	spool_task_free(&t->task);
	free(t);
	ask_again(r);
}

static void on_task(struct spool_task *task, void *arg)
{
	(void)task;
	work(arg);
}

static void on_due(struct spool_message *message, void *arg)
{
	struct runner *r = arg;
	struct task *t;

	if (!message) {
		on_answered(r);
		return;
	}
	if (r->is_stopping) {
		spool_give_back(r->proxy->spool, &message);
		return;
	}
	t = find_task(r, message->id);
	if (t) {
		spool_task_take_again(t->task, &message);
		return;
	}
	if (!has_room(r, message)) {
		r->has_sent_back |= !r->asks_latest;
		spool_give_back(r->proxy->spool, &message);
		return;
	}
	r->given_count++;
	r->task_count++;
	r->recipient_count += message->count;
	t = mem_zero(1, sizeof *t);
	t->is_latest = r->asks_latest;
	r->latest_count += t->is_latest;
	t->task = spool_task_new(r->proxy, &message, clock_wall(), on_task, r);
	DL_APPEND(r->tasks, t);
}

/* ---- jobs ---- */

static size_t jobs_for(const struct runner *r, const char *domain)
{
	size_t count = 0;
	struct job *j;

	DL_FOREACH(r->jobs, j) { count += !strcmp(j->domain, domain); }
	return count;
}

static void remove_job(struct job *j)
{
	struct runner *r = j->runner;

	DL_DELETE(r->jobs, j);
	r->job_count--;
	free(j);
}

static void on_job(struct spool_job *job, void *arg)
{
	struct job *j = arg;
	struct runner *r = j->runner;

	(void)job;
	spool_task_take_result(j->task, &j->job);
	remove_job(j);
	work(r);
}

static void start_job(struct runner *r, struct spool_task *task, const char *domain)
{
	struct job *j = mem_zero(1, sizeof *j);

	j->runner = r;
	j->task = task;
	snprintf(j->domain, sizeof j->domain, "%s", domain);
	DL_APPEND(r->jobs, j);
	r->job_count++;
	j->job = spool_task_try(task, j->domain, on_job, j);
	if (!j->job)
		remove_job(j);
}

static bool has_slot(const struct runner *r, const struct spool_task *task)
{
	size_t jobs = spool_task_jobs(task);

	if (r->job_count >= JOBS_MAX || jobs >= TASK_JOBS_MAX)
		return false;
	return r->job_count < JOBS_MAX - JOBS_RESERVE ||
	       (!jobs && is_new(spool_task_message(task)));
}

static void start_jobs(struct runner *r, struct spool_task *task)
{
	const char *domain;
	size_t from = 0;

	while (has_slot(r, task) && (domain = spool_task_next_domain(task, &from))) {
		if (jobs_for(r, domain) < DOMAIN_JOBS_MAX)
			start_job(r, task, domain);
	}
}

/* Slots are free, yet nothing may begin: the crowd before one domain makes room for others. */
static void put_off_crowd(struct runner *r)
{
	struct task *t;

	if (!is_full(r) || r->job_count >= JOBS_MAX - JOBS_RESERVE)
		return;
	DL_FOREACH(r->tasks, t)
	{
		if (!spool_task_jobs(t->task))
			spool_task_put_off(t->task);
	}
}

/* Begins what can begin, ends what is over. */
static void work(struct runner *r)
{
	struct task *t, *next;

	DL_FOREACH(r->tasks, t) { start_jobs(r, t->task); }
	put_off_crowd(r);
	DL_FOREACH_SAFE(r->tasks, t, next) { end_if_over(r, t); }
}

/* ---- beginning and end ---- */

struct runner *runner_new(struct proxy *proxy)
{
	struct runner *r = mem_zero(1, sizeof *r);

	r->proxy = proxy;
	ev_timer_init(&r->ask, on_time_to_ask, 0., 0.);
	r->ask.data = r;
	spool_watch(proxy->spool, on_change, r);
	ask_in(r, 0);
	return r;
}

static void drop_jobs(struct runner *r, bool also_past_dot)
{
	struct outcome stopped, unknown;
	struct job *j, *next;

	outcome_refuse_text(&stopped, REASON_SHUTDOWN, "danelaw was stopped");
	outcome_refuse_text(&unknown, REASON_OUTCOME_UNKNOWN,
	    "danelaw was stopped before the next hop answered; it may have been delivered, and "
	    "the next try may make a duplicate");
	DL_FOREACH_SAFE(r->jobs, j, next)
	{
		bool is_past_dot = spool_job_is_past_dot(j->job);

		if (is_past_dot && !also_past_dot)
			continue;
		spool_job_cut(j->job, is_past_dot ? &unknown : &stopped);
		if (is_past_dot)
			spool_job_log(j->job, 1, clock_wall());
		spool_task_drop_job(j->task, &j->job);
		remove_job(j);
	}
}

void runner_stop(struct runner *r)
{
	struct task *t;

	r->is_stopping = true;
	ev_timer_stop(r->proxy->loop, &r->ask);
	spool_watch(r->proxy->spool, NULL, NULL);
	drop_jobs(r, false);
	DL_FOREACH(r->tasks, t) { spool_task_stop(t->task); }
	work(r);
}

bool runner_is_idle(const struct runner *r) { return !r || !r->tasks; }

void runner_free(struct runner **runner)
{
	struct runner *r = *runner;
	struct task *t, *next;

	*runner = NULL;
	if (!r)
		return;
	r->is_stopping = true;
	ev_timer_stop(r->proxy->loop, &r->ask);
	spool_watch(r->proxy->spool, NULL, NULL);
	spool_forget(r->proxy->spool, r);
	drop_jobs(r, true);
	DL_FOREACH_SAFE(r->tasks, t, next)
	{
		DL_DELETE(r->tasks, t);
		spool_task_free(&t->task);
		free(t);
	}
	reap_later(r->proxy->loop, r, free);
}
