/*
 * spool_task.c - see spool_task.h. What became of recipients is told and stored by spool_round.c.
 */
#include "proxy/spool/spool_task_internal.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "proxy/spool/notice.h"
#include "proxy/proxy.h"
#include "proxy/spool/schedule.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- results ---- */

/* What it was tried for: nothing more is to be done with it but telling the sender. */
static void give_up(struct spool_task *t, struct spool_recipient *r, time_t now)
{
	r->is_failed = true;
	r->next_try = now;
	if (r->last.code / 100 == 4)
		spool_task_log(t, "expired", r, "older than [spool] lifetime");
}

static void judge(struct spool_task *t, struct spool_recipient *r, time_t now)
{
	if (outcome_is_good(&r->last))
		r->is_done = true;
	else if (r->last.code / 100 == 5 || schedule_is_over(t->proxy->conf, t->message, r, now))
		give_up(t, r, now);
	else if (r->last.reason == REASON_BUSY)
		r->next_try = schedule_when_busy(t->message, now);
	else
		r->next_try = schedule_next_try(t->proxy->conf, t->message, r->tries, now);
}

static void take_outcome(struct spool_task *t, size_t n, const struct outcome *outcome, time_t now)
{
	struct spool_recipient *r = &t->message->recipients[n];

	r->last = *outcome;
	r->last_try = now;
	r->last_hop[0] = '\0';
	r->tries += outcome->reason != REASON_BUSY;
	judge(t, r, now);
	t->progress[n].stage = STAGE_CHANGED;
}

/* next_try and tries for the log: of the first that stays. */
static void take_outcomes(
    struct spool_task *t, const struct spool_job *job, unsigned *tries, time_t *next_try)
{
	bool knows_dsn = delivery_hop_knows_dsn(spool_job_delivery(job));
	time_t now = clock_wall();

	for (size_t i = 0; i < spool_job_count(job); i++) {
		size_t n = spool_job_recipient(job, i);
		struct spool_recipient *r = &t->message->recipients[n];

		take_outcome(t, n, spool_job_outcome(job, i), now);
		delivery_hop_text(spool_job_delivery(job), r->last_hop, sizeof r->last_hop);
		t->progress[n].owes_relayed =
		    r->is_done && !knows_dsn && notice_is_owed(t->message, r, DSN_RELAYED);
		*tries = r->tries > *tries ? r->tries : *tries;
		if (!*next_try && !r->is_done && !r->is_failed)
			*next_try = r->next_try;
	}
}

static void close_body(struct spool_task *t)
{
	if (t->body.file >= 0)
		close(t->body.file);
	t->body.file = -1;
}

static void set_stage(struct spool_task *t, enum spool_stage from, enum spool_stage to)
{
	for (size_t i = 0; i < t->message->count; i++) {
		if (t->progress[i].stage == from)
			t->progress[i].stage = to;
	}
}

static void end_job(struct spool_task *t, struct spool_job **job)
{
	spool_job_free(job);
	if (--t->jobs == 0)
		close_body(t);
}

void spool_task_take_result(struct spool_task *t, struct spool_job **job)
{
	unsigned tries = 0;
	time_t next_try = 0;

	if (spool_job_damage(*job)[0]) {
		snprintf(t->damage, sizeof t->damage, "%s", spool_job_damage(*job));
		set_stage(t, STAGE_WAITS, STAGE_RESTS);
		spool_task_drop_job(t, job);
		return;
	}
	take_outcomes(t, *job, &tries, &next_try);
	spool_job_log(*job, tries, next_try);
	end_job(t, job);
	spool_round_begin(t);
}

void spool_task_drop_job(struct spool_task *t, struct spool_job **job)
{
	for (size_t i = 0; i < spool_job_count(*job); i++)
		t->progress[spool_job_recipient(*job, i)].stage = STAGE_RESTS;
	end_job(t, job);
}

/* ---- beginning ---- */

/* No client gets one accepted; but what lies on a disk for days may be anything. */
static void refuse_homeless(struct spool_recipient *r, time_t now)
{
	outcome_refuse_text(&r->last, REASON_BAD_ADDRESS, "<%s> has no domain", r->address);
	r->is_failed = true;
	r->next_try = now;
}

/* A little ahead: recipients of one domain shall go together. */
static enum spool_stage first_stage(struct spool_recipient *r, time_t now)
{
	enum { AHEAD = 5 };

	if (r->must_bounce)
		r->is_failed = true;
	else if (!r->is_failed && !r->domain[0])
		refuse_homeless(r, now);
	if (r->is_failed)
		return r->must_bounce || r->next_try <= now ? STAGE_CHANGED : STAGE_RESTS;
	return r->next_try <= now + AHEAD ? STAGE_WAITS : STAGE_RESTS;
}

/* Whether the task has anything to do. */
static bool sort(struct spool_task *t, time_t now)
{
	bool any = false;

	for (size_t i = 0; i < t->message->count; i++) {
		t->progress[i].stage = first_stage(&t->message->recipients[i], now);
		any |= t->progress[i].stage != STAGE_RESTS;
	}
	return any;
}

struct spool_task *spool_task_new(struct proxy *proxy, struct spool_message **message, time_t now,
    spool_task_fn *callback, void *arg)
{
	struct spool_task *t = mem_zero(1, sizeof *t);

	t->proxy = proxy;
	t->callback = callback;
	t->arg = arg;
	t->message = *message;
	*message = NULL;
	t->is_ours = true;
	t->body.file = -1;
	t->progress = mem_zero(t->message->count, sizeof *t->progress);
	t->about = mem_zero(t->message->count, sizeof *t->about);
	/* The spool knows best: its clock may have been set back, and all lies in the future. */
	if (!sort(t, now))
		sort(t, INT64_MAX / 2);
	spool_round_begin(t);
	return t;
}

const struct spool_message *spool_task_message(const struct spool_task *t) { return t->message; }

const char *spool_task_next_domain(const struct spool_task *t, size_t *from)
{
	while (*from < t->message->count) {
		size_t n = (*from)++;

		if (t->progress[n].stage == STAGE_WAITS)
			return t->message->recipients[n].domain;
	}
	return NULL;
}

/* A disk that does not answer now: a try like any other that fails for now. */
static void defer_unread(struct spool_task *t, const char *why)
{
	struct outcome outcome;
	time_t now = clock_wall();

	log_error("session=%s spool=%s the message's file cannot be read now, it is tried again "
		  "later: %s",
	    spool_task_session(t), t->message->id, why);
	outcome_refuse_text(&outcome, REASON_SPOOL_FAILED,
	    "the message's file in the spool cannot be read: %s", why);
	for (size_t i = 0; i < t->message->count; i++) {
		if (t->progress[i].stage == STAGE_WAITS)
			take_outcome(t, i, &outcome, now);
	}
	spool_round_begin(t);
}

/* Only what will never be readable again is damage; to be out of descriptors is not even a try. */
static void take_unopened(struct spool_task *t, bool is_damaged, int error, const char *why)
{
	if (is_damaged) {
		snprintf(t->damage, sizeof t->damage, "%.*s", (int)sizeof t->damage - 1, why);
		set_stage(t, STAGE_WAITS, STAGE_RESTS);
	} else if (error == EMFILE || error == ENFILE || error == ENOMEM) {
		spool_task_put_off(t);
	} else {
		defer_unread(t, why);
	}
}

static bool open_body(struct spool_task *t)
{
	char why[SPOOL_WHY];
	bool is_damaged = false;

	if (t->body.file >= 0)
		return true;
	t->body.file = spool_open_body(t->proxy->spool, t->message, &is_damaged, why);
	if (t->body.file < 0) {
		take_unopened(t, is_damaged, errno, why);
		return false;
	}
	t->body.start = lseek(t->body.file, 0, SEEK_CUR);
	/* So that reading does not wait for the disk when the next hop wants it. */
	posix_fadvise(t->body.file, t->body.start, (off_t)t->message->size, POSIX_FADV_WILLNEED);
	return true;
}

struct spool_job *spool_task_try(
    struct spool_task *t, const char *domain, spool_job_fn *callback, void *arg)
{
	struct spool_job *job;
	size_t *numbers, count = 0;

	if (!open_body(t))
		return NULL;
	numbers = mem_zero(t->message->count, sizeof *numbers);
	for (size_t i = 0; i < t->message->count; i++) {
		if (t->progress[i].stage == STAGE_WAITS &&
		    !strcmp(t->message->recipients[i].domain, domain)) {
			t->progress[i].stage = STAGE_TRIED;
			numbers[count++] = i;
		}
	}
	job =
	    spool_job_start(t->proxy, t->message, &t->body, domain, numbers, count, callback, arg);
	t->jobs++;
	free(numbers);
	return job;
}

void spool_task_put_off(struct spool_task *t)
{
	for (size_t i = 0; i < t->message->count; i++) {
		if (t->progress[i].stage != STAGE_WAITS)
			continue;
		t->progress[i].stage = STAGE_CHANGED;
		t->message->recipients[i].next_try = schedule_when_busy(t->message, clock_wall());
	}
	spool_round_begin(t);
}

void spool_task_stop(struct spool_task *t) { set_stage(t, STAGE_WAITS, STAGE_RESTS); }

void spool_task_take_again(struct spool_task *t, struct spool_message **message)
{
	spool_message_free(&t->again);
	t->again = *message;
	*message = NULL;
}

size_t spool_task_jobs(const struct spool_task *t) { return t->jobs; }

bool spool_task_is_over(const struct spool_task *t)
{
	size_t from = 0;

	return !t->jobs && !t->in_round && !spool_task_next_domain(t, &from);
}

/* ---- the end ---- */

static void release(void *object)
{
	struct spool_task *t = object;

	spool_message_free(&t->message);
	spool_message_free(&t->again);
	free(t->progress);
	free(t->about);
	free(t);
}

void spool_task_free(struct spool_task **task)
{
	struct spool_task *t = *task;

	*task = NULL;
	if (!t)
		return;
	close_body(t);
	spool_forget(t->proxy->spool, t);
	if (t->damage[0])
		spool_set_aside(t->proxy->spool, t->again ? &t->again : &t->message, t->damage);
	else if (t->again)
		spool_give_back(t->proxy->spool, &t->again);
	else if (t->is_ours)
		spool_give_back(t->proxy->spool, &t->message);
	reap_later(t->proxy->loop, t, release);
}
