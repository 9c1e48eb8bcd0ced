/*
 * spool_task.c - see spool_task.h.
 */
#include "proxy/spool/spool_task.h"

#include "conf/clock.h"
#include "conf/conf.h"
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

/* How long a notice waits that could not be written. */
enum { NOTICE_RETRY = 120 };

struct progress {
	enum spool_stage stage;
	bool owes_relayed;
	bool is_told_of; /* the notice on its way speaks of it */
};

struct spool_task {
	struct proxy *proxy;
	spool_task_fn *callback;
	void *arg;

	struct spool_message *message;
	struct spool_message *again;
	bool is_ours; /* the spool will not give it out until it hears of it */
	struct progress *progress;
	struct spool_body body;
	size_t jobs;
	char damage[160];

	bool in_round;
	size_t step; /* of the round: what comes next */
	const struct spool_recipient **about;
};

static const char *session(const struct spool_task *t)
{
	return t->message->session ? t->message->session : t->message->id;
}

/* ---- the log ---- */

static void log_event(
    const struct spool_task *t, const char *event, const struct spool_recipient *r, const char *why)
{
	char from[SMTP_PATH_MAX + 3], to[SMTP_PATH_MAX + 3], reply[sizeof r->last.text + 8] = "";
	struct log_line line;

	snprintf(from, sizeof from, "<%s>", t->message->envelope.sender.address);
	snprintf(to, sizeof to, "<%s>", r->address);
	if (outcome_is_known(&r->last))
		snprintf(reply, sizeof reply, "%d %.*s", r->last.code,
		    (int)strcspn(r->last.text, "\n"), r->last.text);
	log_begin(&line, LOG_LEVEL_WARNING, event);
	log_value(&line, "session", session(t));
	log_value(&line, "from", from);
	log_value(&line, "to", to);
	log_value(&line, "reason", reason_code(r->last.reason));
	log_value(&line, "why", why);
	log_value(&line, "reply", reply);
	log_end(&line);
}

/* Nobody will hear of it by mail: at least the log knows everything. */
static void log_untold(const struct spool_task *t, const struct spool_recipient *r)
{
	const struct spool_message *m = t->message;
	const char *why = "NOTIFY does not ask for one";

	if (m->is_notice)
		why = "this was a notice itself";
	else if (m->envelope.sender.is_null)
		why = "the null sender gets none";
	else if (!m->envelope.sender.domain[0])
		why = "the sender has no domain";
	log_event(t, "dropped", r, why);
}

/* ---- a round: what became of recipients is told, then stored ---- */

typedef bool select_fn(const struct spool_task *task, size_t n);

static bool is_failure(const struct spool_task *t, size_t n)
{
	return t->message->recipients[n].is_failed && !t->message->recipients[n].is_done;
}

static bool is_delay(const struct spool_task *t, size_t n)
{
	const struct spool_recipient *r = &t->message->recipients[n];

	return !r->is_failed && !r->is_done && outcome_is_known(&r->last) &&
	       schedule_is_late(t->message, r, clock_wall()) &&
	       notice_is_owed(t->message, r, DSN_DELAYED);
}

static bool is_relay(const struct spool_task *t, size_t n) { return t->progress[n].owes_relayed; }

/* Whether a notice is on its way: on_told() goes on. */
static bool tell(
    struct spool_task *t, enum dsn_kind kind, select_fn *select, spool_draft_fn *on_told)
{
	size_t count = 0;

	for (size_t i = 0; i < t->message->count; i++) {
		struct progress *p = &t->progress[i];

		p->is_told_of = p->stage == STAGE_STORING && select(t, i);
		if (p->is_told_of)
			t->about[count++] = &t->message->recipients[i];
	}
	if (count)
		notice_send(t->proxy, kind, t->message, t->about, count, on_told, t);
	return count > 0;
}

static void go_on(struct spool_task *t);

static void on_failures_told(bool ok, const char *why, void *arg)
{
	struct spool_task *t = arg;

	(void)why;
	for (size_t i = 0; i < t->message->count; i++) {
		struct spool_recipient *r = &t->message->recipients[i];

		if (!t->progress[i].is_told_of)
			continue;
		r->is_done = ok;
		if (!ok)
			r->next_try = clock_wall() + NOTICE_RETRY;
	}
	go_on(t);
}

static bool tell_failures(struct spool_task *t)
{
	for (size_t i = 0; i < t->message->count; i++) {
		struct spool_recipient *r = &t->message->recipients[i];

		if (t->progress[i].stage != STAGE_STORING || !is_failure(t, i) ||
		    notice_is_owed(t->message, r, DSN_FAILED))
			continue;
		log_untold(t, r);
		r->is_done = true;
	}
	return tell(t, DSN_FAILED, is_failure, on_failures_told);
}

static void on_delays_told(bool ok, const char *why, void *arg)
{
	struct spool_task *t = arg;

	(void)why;
	for (size_t i = 0; i < t->message->count; i++) {
		if (t->progress[i].is_told_of)
			t->message->recipients[i].is_delay_told = ok;
	}
	go_on(t);
}

static bool tell_delays(struct spool_task *t)
{
	return tell(t, DSN_DELAYED, is_delay, on_delays_told);
}

static void on_relays_told(bool ok, const char *why, void *arg)
{
	(void)ok, (void)why;
	go_on(arg);
}

static bool tell_relays(struct spool_task *t)
{
	return tell(t, DSN_RELAYED, is_relay, on_relays_told);
}

/* Of the round's recipients alone: others are in work, and the message goes on. */
static struct spool_message *copy_for_settling(const struct spool_task *t)
{
	struct spool_message *copy = mem_copy(t->message, sizeof *copy);

	copy->session = mem_strdup(session(t));
	copy->recipients = mem_zero(t->message->count, sizeof *copy->recipients);
	copy->count = 0;
	for (size_t i = 0; i < t->message->count; i++) {
		const struct spool_recipient *from = &t->message->recipients[i];
		struct spool_recipient *to = &copy->recipients[copy->count];

		if (t->progress[i].stage != STAGE_STORING)
			continue;
		*to = *from;
		to->address = mem_strdup(from->address);
		to->dsn.orcpt = from->dsn.orcpt ? mem_strdup(from->dsn.orcpt) : NULL;
		copy->count++;
	}
	return copy;
}

static void on_settled(bool ok, const char *why, void *arg)
{
	(void)ok, (void)why; /* the spool itself tries again, and tells of it */
	go_on(arg);
}

static bool settle(struct spool_task *t)
{
	struct spool_message *copy = copy_for_settling(t);

	t->is_ours = false;
	spool_settle(t->proxy->spool, &copy, on_settled, t);
	return true;
}

/* Whether anything takes part in the next round. */
static bool gather(struct spool_task *t)
{
	bool any = false;

	for (size_t i = 0; i < t->message->count; i++) {
		struct progress *p = &t->progress[i];

		if (p->stage == STAGE_STORING) {
			p->stage = STAGE_RESTS;
			p->owes_relayed = false;
		}
		if (p->stage == STAGE_CHANGED) {
			p->stage = STAGE_STORING;
			any = true;
		}
	}
	return any;
}

static void go_on(struct spool_task *t)
{
	static bool (*const steps[])(struct spool_task *) = {
	    tell_failures, tell_delays, tell_relays, settle};

	do {
		while (t->step < sizeof steps / sizeof *steps) {
			if (steps[t->step++](t))
				return;
		}
		t->step = 0;
		t->in_round = gather(t);
	} while (t->in_round);
	t->callback(t, t->arg);
}

static void begin_round(struct spool_task *t)
{
	if (t->in_round || !gather(t))
		return;
	t->in_round = true;
	t->step = 0;
	go_on(t);
}

/* ---- results ---- */

/* What it was tried for: nothing more is to be done with it but telling the sender. */
static void give_up(struct spool_task *t, struct spool_recipient *r, time_t now)
{
	r->is_failed = true;
	r->next_try = now;
	if (r->last.code / 100 == 4)
		log_event(t, "expired", r, "older than [spool] lifetime");
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
	begin_round(t);
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
	begin_round(t);
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
	    session(t), t->message->id, why);
	outcome_refuse_text(&outcome, REASON_SPOOL_FAILED,
	    "the message's file in the spool cannot be read: %s", why);
	for (size_t i = 0; i < t->message->count; i++) {
		if (t->progress[i].stage == STAGE_WAITS)
			take_outcome(t, i, &outcome, now);
	}
	begin_round(t);
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
	begin_round(t);
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
