/*
 * spool_round.c - a round of a message in work: the sender is told of failures, of delays, of what
 * was relayed, and only then the spool hears of it all (spool_task.h).
 *
 * Each step that has something to do ends in a callback, which goes on with the next one. What
 * changes meanwhile is the next round's. Called by spool_task.c.
 */
#include "proxy/spool/spool_task_internal.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/proxy.h"
#include "proxy/spool/notice.h"
#include "proxy/spool/schedule.h"

#include <stdio.h>
#include <string.h>

/* How long a notice waits that could not be written. */
enum { NOTICE_RETRY = 120 };

const char *spool_task_session(const struct spool_task *t)
{
	return t->message->session ? t->message->session : t->message->id;
}

/* ---- the log ---- */

void spool_task_log(
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
	log_value(&line, "session", spool_task_session(t));
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
	spool_task_log(t, "dropped", r, why);
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

	copy->session = mem_strdup(spool_task_session(t));
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

void spool_round_begin(struct spool_task *t)
{
	if (t->in_round || !gather(t))
		return;
	t->in_round = true;
	t->step = 0;
	go_on(t);
}
