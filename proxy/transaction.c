/*
 * transaction.c - the way of a transaction from MAIL over DATA and the body to its end, and its
 * log.
 *
 * Recipients and their answers are transaction_rcpt.c, what the message came to is
 * transaction_final.c. Called by session.c.
 */
#include "proxy/transaction.h"

#include "conf/join.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/timer.h"
#include "proxy/intercept/intercept.h"
#include "proxy/received.h"
#include "proxy/transaction_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void on_patience_over(struct ev_loop *loop, ev_timer *w, int revents);

struct transaction *transaction_new(struct proxy *proxy, const struct transaction_origin *origin,
    const struct smtp_command *mail, transaction_fn *callback, void *arg)
{
	struct transaction *t = mem_zero(1, sizeof *t);

	t->proxy = proxy;
	text_join(t->session, sizeof t->session, origin->session);
	t->message = origin->message;
	t->client = *origin->client;
	t->local = *origin->local;
	addr_ip(&t->client, t->client_text);
	t->helo = mem_strdup(origin->helo);
	t->is_esmtp = origin->is_esmtp;
	t->is_tls = origin->is_tls;
	t->listener = origin->listener;
	t->callback = callback;
	t->arg = arg;
	t->envelope.sender = mail->path;
	t->envelope.size = mail->size;
	t->envelope.body = mail->body;
	t->envelope.smtputf8 = mail->smtputf8;
	t->interception = *origin->interception;
	t->envelope.interception = &t->interception;
	t->envelope.dsn = mail->dsn_mail;
	ev_init(&t->patience, on_patience_over);
	t->patience.data = t;
	return t;
}

bool transaction_is_utf8(const struct transaction *t) { return t->envelope.smtputf8; }

void transaction_set_patience(struct transaction *t, double seconds)
{
	timer_start(t->proxy->loop, &t->patience, seconds);
}

static void on_patience_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct transaction *t = w->data;

	(void)loop, (void)revents;
	if (t->state == COMMIT)
		keep_on_patience_over(t);
	else if (t->state == BODY)
		relay_drop_holder(&t->relay);
	t->callback(t->arg);
}

/* ---- DATA ---- */

static bool is_data_decided(const struct transaction *t)
{
	for (const struct outlet *o = t->outlets; o; o = o->next) {
		if (delivery_is_asking(o->delivery))
			return false;
	}
	return true;
}

static const char *our_name(const struct transaction *t, char literal[ADDR_TEXT])
{
	if (t->proxy->conf->server.hostname[0])
		return t->proxy->conf->server.hostname;
	return addr_literal(&t->local, literal);
}

static const char *only_recipient(const struct transaction *t)
{
	const char *only = NULL;

	for (size_t i = 0; i < t->recipient_count; i++) {
		if (!t->recipients[i]->is_promised)
			continue;
		if (only)
			return NULL;
		only = t->recipients[i]->path.address;
	}
	return only;
}

static void begin_body(struct transaction *t)
{
	char literal[ADDR_TEXT], id[48];
	struct received received = {
	    .helo = t->helo,
	    .client = &t->client,
	    .by = our_name(t, literal),
	    .session = id,
	    .esmtp = t->is_esmtp,
	    .tls = t->is_tls,
	    .lmtp = is_lmtp(t),
	    .utf8 = t->envelope.smtputf8,
	    .recipient = only_recipient(t),
	    .when = time(NULL),
	};

	snprintf(id, sizeof id, "%s.%u", t->session, t->message);
	t->state = BODY;
	t->is_told_each = is_lmtp(t);
	t->relay.outlets = t->outlets;
	t->relay.draft = t->draft;
	relay_begin(&t->relay, t->proxy, t->listener, &received);
}

/* Whether somebody was promised that follows from the spool. */
static bool any_follows(const struct transaction *t)
{
	for (size_t i = 0; i < t->recipient_count; i++) {
		if (t->recipients[i]->is_promised && !outcome_is_good(&t->recipients[i]->outcome))
			return true;
	}
	return false;
}

/* Several next hops may come to several ends, and a client of SMTP hears of one. */
static bool needs_draft(const struct transaction *t)
{
	size_t accepted = any_follows(t);

	if (is_lmtp(t))
		return false;
	for (const struct outlet *o = t->outlets; o; o = o->next)
		accepted += delivery_is_live(o->delivery);
	return accepted > 1;
}

static void abort_deliveries(struct transaction *t, const struct outcome *outcome)
{
	for (struct outlet *o = t->outlets; o; o = o->next)
		delivery_abort(o->delivery, outcome);
}

static void on_data_decided(struct transaction *t)
{
	struct outcome refusal;

	if (!outlets_are_writing(t->outlets)) {
		final_decide(t);
	} else if (needs_draft(t) && !keep_begin(t, &refusal)) {
		abort_deliveries(t, &refusal);
		final_end(t, &refusal);
	} else {
		begin_body(t);
	}
}

static void ask_for_data(struct transaction *t)
{
	t->state = DATA;
	for (struct outlet *o = t->outlets; o; o = o->next) {
		if (delivery_wants_message(o->delivery))
			delivery_data(o->delivery);
	}
	if (is_data_decided(t)) /* the next hop was lost between RCPT and DATA: nobody was asked */
		on_data_decided(t);
}

/* ---- delivery = queue: the next hops have said what they had to say ---- */

static void let_go(struct transaction *t)
{
	struct delivery_log log = {.client = t->client_text};
	struct outlet *o;

	for (size_t i = 0; i < t->recipient_count; i++) {
		t->recipients[i]->is_logged = t->recipients[i]->delivery != NULL;
		t->recipients[i]->delivery = NULL;
	}
	while ((o = t->outlets)) {
		t->outlets = o->next;
		delivery_log(o->delivery, &log);
		outlet_let_go(t, o);
		free(o);
	}
}

static void begin_queueing(struct transaction *t)
{
	struct outcome refusal;

	ev_timer_stop(t->proxy->loop, &t->patience);
	if (!keep_begin(t, &refusal)) {
		final_end(t, &refusal);
		return;
	}
	let_go(t);
	begin_body(t);
}

/* What is queued is asked for by nobody but us. */
void transaction_foresee_data(struct transaction *t)
{
	if (t->foresees_data || t->state != ENVELOPE || is_queueing(t))
		return;
	t->foresees_data = true;
	for (struct outlet *o = t->outlets; o; o = o->next)
		delivery_foresee_data(o->delivery);
}

bool transaction_data(struct transaction *t)
{
	if (!transaction_has_accepted(t))
		return false;
	if (is_queueing(t))
		begin_queueing(t);
	else
		ask_for_data(t);
	return true;
}

enum transaction_data transaction_data_reply(const struct transaction *t)
{
	if (t->state == DATA)
		return TRANSACTION_DATA_WAITING;
	return t->state == ENDED ? TRANSACTION_DATA_REFUSED : TRANSACTION_DATA_GO;
}

/* ---- the body ---- */

void transaction_pump(struct transaction *t, const struct body_source *source)
{
	double left;

	if (t->state != BODY)
		return;
	ev_timer_stop(t->proxy->loop, &t->patience);
	if (relay_pump(&t->relay, source) != RELAY_MOVING) {
		final_begin(t);
		return;
	}
	left = relay_patience_left(&t->relay, t->proxy->conf->timeouts.data_block);
	if (left > 0)
		transaction_set_patience(t, left);
}

bool transaction_has_ended_body(const struct transaction *t) { return t->state > BODY; }

void transaction_on_delivery(struct delivery *delivery, enum delivery_event event, void *arg)
{
	struct transaction *t = arg;

	if (t->state == DATA && is_data_decided(t))
		on_data_decided(t);
	else if (t->state == FINAL && event == DELIVERY_ENDED)
		final_on_delivery(t, delivery);
	if (t->callback)
		t->callback(t->arg);
}

/* ---- what the client is told ---- */

/* The next recipient that a reply is owed for (RFC 2033 4.2). */
static const struct recipient *next_told(const struct transaction *t)
{
	for (size_t i = t->told; i < t->recipient_count; i++) {
		if (t->recipients[i]->is_promised)
			return t->recipients[i];
	}
	return NULL;
}

const struct outcome *transaction_next_final(struct transaction *t)
{
	if (t->state != ENDED)
		return NULL;
	if (!t->is_told_each)
		return t->told++ ? NULL : &t->outcome;
	while (t->told < t->recipient_count) {
		const struct recipient *r = t->recipients[t->told++];

		if (r->is_promised)
			return delivery_outcome(r->delivery);
	}
	return NULL;
}

bool transaction_is_told(const struct transaction *t)
{
	return t->is_told_each ? !next_told(t) : t->told > 0;
}

bool transaction_must_close(const struct transaction *t) { return t->relay.must_close; }

/* ---- the end ---- */

static void free_recipient(struct recipient *r)
{
	free(r->dsn.orcpt);
	free(r);
}

static void release(void *object)
{
	struct transaction *t = object;
	struct outlet *o;

	while ((o = t->outlets)) {
		t->outlets = o->next;
		free(o);
	}
	for (size_t i = 0; i < t->recipient_count; i++)
		free_recipient(t->recipients[i]);
	relay_release(&t->relay);
	free(t->recipients);
	free(t->helo);
	free(t);
}

/* Recipients that never had a next hop: those refused alike for one domain share a line. */
static void log_refused_here(struct transaction *t, size_t first, const struct delivery_log *log)
{
	struct recipient *r = t->recipients[first], **end = &r->next;

	for (size_t i = first + 1; i < t->recipient_count; i++) {
		struct recipient *other = t->recipients[i];

		if (other->delivery || other->is_logged ||
		    other->outcome.reason != r->outcome.reason ||
		    strcmp(other->path.domain, r->path.domain) != 0)
			continue;
		other->is_logged = true;
		*end = other;
		end = &other->next;
	}
	delivery_log_refused(t->proxy, t->session, &t->envelope, r, log);
}

static void log_all(struct transaction *t, const struct delivery_log *log)
{
	for (struct outlet *o = t->outlets; o; o = o->next)
		delivery_log(o->delivery, log);
	for (size_t i = 0; i < t->recipient_count; i++) {
		if (!t->recipients[i]->delivery && !t->recipients[i]->is_logged)
			log_refused_here(t, i, log);
	}
	if (t->refused_surplus)
		log_warning("session=%s %zu further recipients were told to "
			    "come in another transaction",
		    t->session, t->refused_surplus);
}

void transaction_close(struct transaction *t)
{
	struct delivery_log log = {
	    .client = t->client_text,
	    .size = t->relay.body.size,
	    .is_client_gone = t->callback == NULL,
	};

	log_all(t, &log);
	ev_timer_stop(t->proxy->loop, &t->patience);
	spool_draft_free(&t->draft);
	for (struct outlet *o = t->outlets; o; o = o->next)
		outlet_let_go(t, o);
	reap_later(t->proxy->loop, t, release);
}

/* Before our final dots nobody has the message, and the client will bring it again. */
static void abandon(struct transaction *t, const char *why)
{
	struct outcome outcome;

	outcome_refuse_text(&outcome, REASON_CONNECTION_LOST, "%s; nothing was delivered", why);
	abort_deliveries(t, &outcome);
}

void transaction_leave(struct transaction **transaction, const char *why)
{
	struct transaction *t = *transaction;

	*transaction = NULL;
	if (!t)
		return;
	switch (t->state) {
	case FINAL: /* responsibility may have passed already: the reply is waited for */
		t->callback = NULL;
		final_orphan(t);
		return;
	case DATA:
	case BODY:
	case SYNC:
		abandon(t, why);
		break;
	case COMMIT: /* no promise was heard, so none is made */
		final_remember_accepted(t);
		t->callback = NULL;
		break;
	case ENDED:
		if (!transaction_is_told(t))
			final_remember_untold(t);
		break;
	case ENVELOPE:
		break;
	}
	transaction_close(t);
}
