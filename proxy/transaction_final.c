/*
 * transaction_final.c - from the client's final dot to what it is told.
 *
 * 250 is said only if every recipient's next hop said 250, or what remains is on the disk
 * (R-SMTP-57, -65, -68). Our final dots leave only once the whole message is there, is sound, and,
 * with several next hops, is on the disk (R-SMTP-75). Called by transaction.c.
 */
#include "proxy/transaction_internal.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/upshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

/* ---- what it came to ---- */

/* Of all recipients that the client was told 250 for; malloc'd. */
static const struct outcome **collect(const struct transaction *t, size_t *count)
{
	const struct outcome **outcomes = mem_alloc((t->recipient_count + 1) * sizeof *outcomes);

	*count = 0;
	for (size_t i = 0; i < t->recipient_count; i++) {
		const struct recipient *r = t->recipients[i];

		if (r->is_promised)
			outcomes[(*count)++] = delivery_outcome(r->delivery);
	}
	return outcomes;
}

/* What was known stays known, so nobody is asked twice. */
static bool is_all_known(struct transaction *t)
{
	for (; t->known < t->recipient_count; t->known++) {
		const struct recipient *r = t->recipients[t->known];

		if (r->is_promised && !outcome_is_known(delivery_outcome(r->delivery)))
			return false;
	}
	return true;
}

static enum upshot upshot(const struct transaction *t, const struct outcome **worst)
{
	size_t count;
	const struct outcome **outcomes = collect(t, &count);
	enum upshot upshot = upshot_of(outcomes, count);

	*worst = upshot_worst(outcomes, count);
	free(outcomes);
	return upshot;
}

void final_end(struct transaction *t, const struct outcome *outcome)
{
	t->outcome = *outcome;
	t->state = ENDED;
}

/* Several next hops have several words; one has its own. */
static void end_accepted(struct transaction *t, const struct outcome *one)
{
	struct outcome all = {.code = 250};

	if (!t->draft) {
		final_end(t, one);
		return;
	}
	snprintf(all.text, sizeof all.text, "2.0.0 delivered to all recipients' own hosts");
	final_end(t, &all);
}

static void end_orphan(const struct transaction *t);

void final_decide(struct transaction *t)
{
	const struct outcome *worst;
	enum upshot came_to = upshot(t, &worst);

	if (!t->callback)
		end_orphan(t);
	if (came_to == UPSHOT_ACCEPTED)
		end_accepted(t, worst);
	else if (came_to == UPSHOT_MIXED && t->draft && t->callback)
		keep_commit(t);
	else
		final_end(t, worst);
}

/* ---- the duplicate guard (RFC 1047) ---- */

/* Without a Message-ID two messages may be alike and yet two: the daily "disk is full". */
static bool can_be_known_again(const struct transaction *t)
{
	return t->relay.body.has_message_id && t->state > BODY;
}

/* Whom danelaw has taken over is not to be taken over twice, either. */
static void note_accepted(const struct transaction *t, bool and_kept, struct unheard *unheard)
{
	for (size_t i = 0; i < t->recipient_count && can_be_known_again(t); i++) {
		struct recipient *r = t->recipients[i];
		struct duplicate_key key = transaction_duplicate_key(t, r);

		if (r->is_promised &&
		    (and_kept || (r->delivery && outcome_is_good(delivery_outcome(r->delivery)))))
			unheard_add(unheard, &key, t->body_print);
	}
}

void final_remember_accepted(const struct transaction *t)
{
	struct unheard unheard = {0};

	note_accepted(t, false, &unheard);
	duplicates_settle(t->proxy->duplicates, &unheard, false);
}

static bool is_all_accepted(const struct transaction *t)
{
	return !t->is_told_each && outcome_is_good(&t->outcome);
}

void final_remember_untold(const struct transaction *t)
{
	struct unheard unheard = {0};

	note_accepted(t, is_all_accepted(t), &unheard);
	duplicates_settle(t->proxy->duplicates, &unheard, false);
}

void transaction_note_told(const struct transaction *t, struct unheard *unheard)
{
	if (t->is_told_each || is_all_accepted(t))
		note_accepted(t, is_all_accepted(t), unheard);
}

static void set_under_way(const struct transaction *t, bool is_under_way)
{
	for (size_t i = 0; i < t->recipient_count && can_be_known_again(t); i++) {
		struct duplicate_key key = transaction_duplicate_key(t, t->recipients[i]);

		if (t->recipients[i]->is_promised)
			duplicates_set_under_way(
			    t->proxy->duplicates, &key, t->body_print, is_under_way);
	}
}

void final_orphan(const struct transaction *t) { set_under_way(t, true); }

/* There is no moment in which neither is known. */
static void end_orphan(const struct transaction *t)
{
	final_remember_accepted(t);
	set_under_way(t, false);
}

/* Whether all recipients of a delivery have this message; then tells when the first got it. */
static bool is_known(const struct transaction *t, const struct delivery *d)
{
	bool any = false;

	for (struct recipient *r = delivery_recipients(d); r; r = r->next) {
		struct duplicate_key key = transaction_duplicate_key(t, r);

		if (!r->is_promised)
			continue;
		if (!duplicates_find(t->proxy->duplicates, &key, t->body_print))
			return false;
		any = true;
	}
	return any;
}

static void log_duplicate(const struct transaction *t, struct recipient *r)
{
	struct duplicate_key key = transaction_duplicate_key(t, r);
	time_t when = duplicates_find(t->proxy->duplicates, &key, t->body_print);
	char to[SMTP_PATH_MAX + 3], accepted[sizeof "2027-01-31T12:00:00Z"] = "";
	struct log_line line;
	struct tm tm;

	snprintf(to, sizeof to, "<%s>", r->path.address);
	if (gmtime_r(&when, &tm))
		strftime(accepted, sizeof accepted, "%Y-%m-%dT%H:%M:%SZ", &tm);
	log_begin(&line, LOG_LEVEL_INFO, "duplicate");
	log_value(&line, "session", t->session);
	log_value(&line, "client", t->client_text);
	log_value(&line, "to", to);
	log_value(&line, "accepted", accepted);
	log_end(&line);
}

static bool is_any_known(const struct transaction *t)
{
	return t->relay.body.has_message_id && duplicates_count(t->proxy->duplicates);
}

static void set_duplicate(struct outcome *outcome)
{
	outcome_refuse_text(
	    outcome, REASON_DUPLICATE, "it came before, and was delivered or queued then");
}

static void log_duplicates(const struct transaction *t, const struct delivery *d)
{
	for (struct recipient *r = delivery_recipients(d); r; r = r->next) {
		if (r->is_promised)
			log_duplicate(t, r);
	}
}

/* Those who have the message already get no final dot, and their client gets its 250. */
static void end_duplicates(struct transaction *t)
{
	struct outcome outcome;

	if (!is_any_known(t))
		return;
	set_duplicate(&outcome);
	for (struct outlet *o = t->outlets; o; o = o->next) {
		if (!delivery_is_writing(o->delivery) || !is_known(t, o->delivery))
			continue;
		log_duplicates(t, o->delivery);
		delivery_abort(o->delivery, &outcome);
	}
}

/* delivery = queue: nobody is queued for who has it. false: nobody is left. */
static bool skip_known(struct transaction *t)
{
	size_t left = 0;

	for (size_t i = 0; i < t->recipient_count; i++) {
		struct recipient *r = t->recipients[i];
		struct duplicate_key key = transaction_duplicate_key(t, r);

		if (!r->is_promised)
			continue;
		r->is_known =
		    is_any_known(t) && duplicates_find(t->proxy->duplicates, &key, t->body_print);
		if (r->is_known)
			log_duplicate(t, r);
		left += !r->is_known;
	}
	return left > 0;
}

static void queue(struct transaction *t)
{
	struct outcome outcome;

	if (skip_known(t)) {
		keep_commit(t);
		return;
	}
	set_duplicate(&outcome);
	final_end(t, &outcome);
}

/* ---- from the client's final dot on ---- */

static void send_dots(struct transaction *t)
{
	double left = t->dot_seen + t->proxy->conf->timeouts.data_end - clock_rough();

	t->state = FINAL;
	DL_APPEND(t->proxy->finals, t);
	relay_write_tail(&t->relay);
	for (struct outlet *o = t->outlets; o; o = o->next) {
		if (delivery_is_writing(o->delivery))
			delivery_end(o->delivery, left);
	}
}

static void refuse_all(struct transaction *t, enum reason reason, const char *why)
{
	struct outcome outcome;

	outcome_refuse_text(&outcome, reason, "%s; nothing was delivered, try again later", why);
	for (struct outlet *o = t->outlets; o; o = o->next)
		delivery_abort(o->delivery, &outcome);
	final_end(t, &outcome);
}

/* The message is on the disk: from here on a mixed outcome can be kept. */
static void on_synced(bool ok, const char *why, void *arg)
{
	struct transaction *t = arg;

	if (!ok)
		refuse_all(t, REASON_SPOOL_FAILED, why);
	else if (outlets_are_writing(t->outlets))
		send_dots(t);
	else
		final_decide(t);
	t->callback(t->arg);
}

static void finish(struct transaction *t)
{
	end_duplicates(t);
	if (!outlets_are_writing(t->outlets)) {
		final_decide(t);
	} else if (t->draft) {
		t->state = SYNC;
		spool_draft_sync(t->draft, on_synced, t);
	} else {
		send_dots(t);
	}
}

/* Its client has left that other session, and has come again sooner than its next hop answered. */
static bool is_under_way(const struct transaction *t)
{
	for (size_t i = 0; i < t->recipient_count && is_any_known(t); i++) {
		struct duplicate_key key = transaction_duplicate_key(t, t->recipients[i]);

		if (t->recipients[i]->is_promised &&
		    duplicates_is_under_way(t->proxy->duplicates, &key, t->body_print))
			return true;
	}
	return false;
}

void final_begin(struct transaction *t)
{
	t->dot_seen = clock_rough();
	fingerprint_end(&t->relay.fingerprint, t->body_print);
	if (outcome_is_known(&t->relay.refusal))
		final_end(t, &t->relay.refusal);
	else if (is_under_way(t))
		refuse_all(
		    t, REASON_BUSY, "the same message is on its way from an earlier session");
	else if (is_queueing(t))
		queue(t);
	else
		finish(t);
}

/*
 * While the others are waited for, this process may be killed, and the client brings the message
 * to all of them again. Once the client has heard its 250 this is forgotten.
 */
static void remember_first_ones(const struct transaction *t, const struct delivery *d)
{
	if (!t->draft || !can_be_known_again(t) || !outcome_is_good(delivery_outcome(d)))
		return;
	for (struct recipient *r = delivery_recipients(d); r; r = r->next) {
		struct duplicate_key key = transaction_duplicate_key(t, r);

		if (r->is_promised)
			duplicates_remember(t->proxy->duplicates, &key, t->body_print);
	}
}

void final_on_delivery(struct transaction *t, const struct delivery *d)
{
	remember_first_ones(t, d);
	if (!is_all_known(t))
		return;
	DL_DELETE(t->proxy->finals, t);
	final_decide(t);
	if (!t->callback)
		transaction_close(t);
}

/* What has answered by now counts; nothing is kept any more: the client will bring it again. */
static void cut(struct transaction *t, const struct outcome *unknown)
{
	const struct outcome *worst;

	for (struct outlet *o = t->outlets; o; o = o->next)
		delivery_abort(o->delivery, unknown);
	DL_DELETE(t->proxy->finals, t);
	if (upshot(t, &worst) != UPSHOT_ACCEPTED)
		final_remember_accepted(t);
	final_end(t, worst);
	if (t->callback)
		return;
	end_orphan(t);
	transaction_close(t);
}

void transaction_cut_finals(struct proxy *proxy)
{
	struct transaction *t, *next;
	struct outcome outcome;

	outcome_refuse_text(&outcome, REASON_OUTCOME_UNKNOWN,
	    "danelaw was stopped before the next hop answered; it may have been delivered");
	DL_FOREACH_SAFE(proxy->finals, t, next)
	cut(t, &outcome);
}
