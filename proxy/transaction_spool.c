/*
 * transaction_spool.c - what danelaw keeps of a message that a client waits with.
 *
 * A draft is begun before the client may send its message, and is complete and on the disk before
 * any final dot; it is committed only if recipients remain, and the client hears of it only after
 * that (R-SMTP-65). A commit that fails leaves the message with the client. Called by
 * transaction.c and transaction_final.c.
 */
#include "proxy/transaction_internal.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/spool/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Just below what a client waits for its final reply (RFC 5321 4.5.3.2.6). */
#define CLIENT_PATIENCE 598.0

/* ---- the message, as the spool has it ---- */

static bool has_got_it(const struct recipient *r)
{
	return r->is_known || (r->delivery && outcome_is_good(delivery_outcome(r->delivery)));
}

/* A next hop that was asked at RCPT alone has said what is known of it, too. */
static const struct outcome *last_outcome(const struct recipient *r)
{
	if (r->delivery)
		return delivery_outcome(r->delivery);
	return &r->outcome;
}

/* Borrows all text. */
static void describe_recipient(
    struct spool_recipient *out, const struct transaction *t, const struct recipient *r)
{
	const struct outcome *last = last_outcome(r);

	out->address = (char *)r->path.address;
	snprintf(out->domain, sizeof out->domain, "%s", r->path.domain);
	out->dsn = r->dsn;
	out->next_try = time(NULL);
	if (!outcome_is_known(last) || outcome_is_good(last))
		return;
	if (r->delivery)
		delivery_hop_text(r->delivery, out->last_hop, sizeof out->last_hop);
	out->last = *last;
	out->last_try = out->next_try;
	out->tries = !is_queueing(t) && last->reason != REASON_BUSY;
	out->is_failed = !is_queueing(t) && last->code / 100 == 5;
}

/* All that were promised and have not got it; message->recipients is malloc'd, the rest borrowed.
 */
static void describe(struct spool_message *message, const struct transaction *t)
{
	*message = (struct spool_message){
	    .arrived = t->arrived,
	    .session = (char *)t->session,
	    .envelope = t->envelope,
	    .has_8bit = t->relay.body.has_8bit,
	    .size = t->relay.written,
	    .recipients = mem_zero(t->recipient_count, sizeof *message->recipients),
	};
	message->envelope.interception = NULL; /* later tries are our own */
	snprintf(message->id, sizeof message->id, "%s", t->id);
	snprintf(message->client, sizeof message->client, "%s", t->client_text);
	for (size_t i = 0; i < t->recipient_count; i++) {
		const struct recipient *r = t->recipients[i];

		if (r->is_promised && !has_got_it(r))
			describe_recipient(&message->recipients[message->count++], t, r);
	}
}

/* What just failed is left alone for a while; what was only queued, or was not tried, goes out
 * now. */
static void set_next_tries(struct spool_message *message, const struct transaction *t)
{
	time_t now = time(NULL);

	for (size_t i = 0; i < message->count; i++) {
		const struct spool_recipient *r = &message->recipients[i];

		if (!is_queueing(t) && !r->is_failed && r->last.reason != REASON_BUSY)
			message->recipients[i].next_try =
			    schedule_next_try(t->proxy->conf, message, r->tries, now);
	}
}

/* ---- before the message ---- */

bool keep_begin(struct transaction *t, struct outcome *refusal)
{
	struct spool_message message;
	char why[SPOOL_WHY];

	spool_make_id(t->proxy->spool, t->id);
	t->arrived = time(NULL);
	describe(&message, t);
	t->draft = spool_draft_new(t->proxy->spool, &message, why);
	free(message.recipients);
	if (!t->draft)
		outcome_refuse_text(
		    refusal, REASON_SPOOL_FAILED, "%s; nothing was taken, try again later", why);
	return t->draft != NULL;
}

/* ---- after it ---- */

static void log_kept(const struct transaction *t, const struct spool_recipient *r)
{
	char from[SMTP_PATH_MAX + 3], to[SMTP_PATH_MAX + 3];
	struct log_line line;

	snprintf(from, sizeof from, "<%s>", t->envelope.sender.address);
	snprintf(to, sizeof to, "<%s>", r->address);
	log_begin(&line, LOG_LEVEL_INFO, "spooled");
	log_value(&line, "session", t->session);
	log_value(&line, "client", t->client_text);
	log_value(&line, "spool", t->id);
	log_value(&line, "from", from);
	log_value(&line, "to", to);
	log_value(&line, "next", r->is_failed ? "bounce" : "retry");
	log_value(&line, "reason", reason_code(r->last.reason));
	log_end(&line);
}

static void log_all_kept(const struct transaction *t)
{
	struct spool_message message;

	describe(&message, t);
	for (size_t i = 0; i < message.count; i++)
		log_kept(t, &message.recipients[i]);
	free(message.recipients);
}

static void end_kept(struct transaction *t)
{
	struct outcome outcome = {.code = 250};

	log_all_kept(t);
	snprintf(outcome.text, sizeof outcome.text,
	    is_queueing(t) ? "2.0.0 queued as %s"
			   : "2.0.0 not all recipients could be reached; for the rest queued as %s",
	    t->id);
	final_end(t, &outcome);
}

/* The client sends it all again; who has it must not get it twice. */
static void end_unkept(struct transaction *t, const char *why)
{
	struct outcome outcome;

	final_remember_accepted(t);
	outcome_refuse_text(
	    &outcome, REASON_SPOOL_FAILED, "%s; send it again, nothing was queued", why);
	final_end(t, &outcome);
}

static void on_committed(bool ok, const char *why, void *arg)
{
	struct transaction *t = arg;

	ev_timer_stop(t->proxy->loop, &t->patience);
	if (ok)
		end_kept(t);
	else
		end_unkept(t, why);
	t->callback(t->arg);
}

void keep_commit(struct transaction *t)
{
	double left = t->dot_seen + CLIENT_PATIENCE - clock_rough();
	struct spool_message message;

	t->state = COMMIT;
	transaction_set_patience(t, left > 1 ? left : 1);
	describe(&message, t);
	set_next_tries(&message, t);
	spool_draft_commit(t->draft, &message, on_committed, t);
	free(message.recipients);
}

void keep_on_patience_over(struct transaction *t)
{
	spool_draft_free(&t->draft);
	end_unkept(t, "the disk took too long");
}
