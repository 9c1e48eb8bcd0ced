/*
 * transaction.c - recipients to deliveries, the body to all of them, their outcomes to one.
 */
#include "proxy/transaction.h"

#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "proxy/delivery.h"
#include "proxy/intercept.h"
#include "proxy/proxy.h"
#include "proxy/received.h"
#include "proxy/smtp_body.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

enum {
	CHUNK = 16384,        /* of the body, scanned and written at a time */
	ROOM = CHUNK + 3,     /* the final dot must find its place, too */
	DRAIN_MAX = 64 << 20, /* octets of a refused message, read for the sake of a clean reply */
};

enum state { ENVELOPE, DATA, BODY, FINAL, ENDED };

struct link {
	struct delivery *delivery;
	struct link *next;
};

struct transaction {
	struct proxy *proxy;
	char session[32];
	unsigned message;
	struct addr client, local;
	char client_text[ADDR_TEXT];
	char *helo;
	bool is_esmtp, is_tls;
	const struct conf_listener *listener;
	struct interception interception;
	transaction_fn *callback; /* NULL: the client is gone, and we own ourselves */
	void *arg;

	enum state state;
	struct envelope envelope;
	size_t recipient_count;
	struct recipient **recipients;
	size_t answered;
	size_t surplus; /* further RCPTs that wait for their refusal: they come last and cost no
			   memory */
	size_t refused_surplus;
	struct link *deliveries; /* the one list; delivery = defer: one of them is live */

	struct smtp_body body;
	uint64_t drained;
	struct outcome outcome;
	bool must_close;

	struct transaction *prev, *next; /* FINAL: among proxy->finals */
};

static void on_delivery(struct delivery *delivery, enum delivery_event event, void *arg);

struct transaction *transaction_new(struct proxy *proxy, const struct transaction_origin *origin,
    const struct smtp_command *mail, transaction_fn *callback, void *arg)
{
	struct transaction *t = mem_zero(1, sizeof *t);

	t->proxy = proxy;
	snprintf(t->session, sizeof t->session, "%s", origin->session);
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
	return t;
}

bool transaction_is_utf8(const struct transaction *t) { return t->envelope.smtputf8; }

/* ---- recipients ---- */

static struct delivery *find_delivery(struct transaction *t, const char *domain)
{
	for (struct link *l = t->deliveries; l; l = l->next) {
		if (!strcmp(delivery_domain(l->delivery), domain))
			return l->delivery;
	}
	return NULL;
}

static const struct delivery *live_delivery(const struct transaction *t)
{
	for (const struct link *l = t->deliveries; l; l = l->next) {
		if (delivery_is_live(l->delivery))
			return l->delivery;
	}
	return NULL;
}

static struct delivery *add_delivery(struct transaction *t, const char *domain)
{
	struct link *l = mem_zero(1, sizeof *l);

	l->delivery = delivery_new(t->proxy, t->session, &t->envelope, domain, on_delivery, t);
	l->next = t->deliveries;
	t->deliveries = l;
	return l->delivery;
}

static struct recipient *append_recipient(struct transaction *t, const struct smtp_command *rcpt)
{
	struct recipient *r = mem_zero(1, sizeof *r);

	r->path = rcpt->path;
	r->dsn = rcpt->dsn_rcpt;
	if (r->dsn.orcpt)
		r->dsn.orcpt = mem_strdup(r->dsn.orcpt);
	t->recipients = mem_resize(t->recipients, t->recipient_count + 1, sizeof *t->recipients);
	t->recipients[t->recipient_count++] = r;
	return r;
}

/* What needs no next hop to be refused. */
static bool refuse_here(struct recipient *r)
{
	const struct smtp_path *path = &r->path;

	if (path->is_literal)
		outcome_refuse_text(&r->outcome, REASON_ADDRESS_LITERAL,
		    "<%s> names an address instead of a domain; such mail is not delivered",
		    path->address);
	else if (!path->has_domain) {
		r->outcome.code = 550;
		r->outcome.reason = REASON_BAD_ADDRESS;
		snprintf(r->outcome.text, sizeof r->outcome.text,
		    "5.1.1 no mailboxes here: write <%s> with a domain", path->address);
	}
	return outcome_is_known(&r->outcome);
}

static void free_recipient(struct recipient *r)
{
	free(r->dsn.orcpt);
	free(r);
}

void transaction_add_recipient(struct transaction *t, const struct smtp_command *rcpt)
{
	const struct smtp_path *path = &rcpt->path;
	char text[ADDR_TEXT];
	const char *domain = intercept_domain(&t->interception, path->domain, text);
	const struct delivery *live;
	struct delivery *d;
	struct recipient *r;

	if (t->recipient_count == t->proxy->conf->limits.recipients) {
		t->surplus++;
		return;
	}
	r = append_recipient(t, rcpt);
	/* A passed-through host knows what it takes. */
	if (!t->interception.passthrough && refuse_here(r))
		return;
	d = find_delivery(t, domain);
	live = live_delivery(t);
	/* Also for a domain that was all refused before another one was taken on. */
	if (live && live != d)
		outcome_refuse_text(&r->outcome, REASON_ONE_DOMAIN,
		    "one recipient domain in one transaction, this one goes to %s; "
		    "send %s in another at once",
		    delivery_domain(live), domain);
	else
		delivery_add_recipient(d ? d : add_delivery(t, domain), r);
}

static const struct outcome *refuse_surplus(struct transaction *t)
{
	static struct outcome refusal;

	if (!t->surplus)
		return NULL;
	t->surplus--;
	t->refused_surplus++;
	outcome_refuse_text(&refusal, REASON_TOO_MANY_RECIPIENTS,
	    "at most %u recipients in one transaction; send the rest in another",
	    t->proxy->conf->limits.recipients);
	return &refusal;
}

const struct outcome *transaction_next_answer(struct transaction *t)
{
	struct recipient *r;

	if (t->answered >= t->recipient_count)
		return refuse_surplus(t);
	r = t->recipients[t->answered];
	if (!outcome_is_known(&r->outcome))
		return NULL;
	t->answered++;
	return &r->outcome;
}

bool transaction_owes_answers(const struct transaction *t)
{
	return t->answered < t->recipient_count || t->surplus;
}

/* ---- DATA ---- */

static void on_data_decided(struct transaction *t);
static bool is_data_decided(const struct transaction *t);

bool transaction_data(struct transaction *t)
{
	bool any = false;

	for (struct recipient **r = t->recipients; r < t->recipients + t->recipient_count; r++)
		any |= outcome_is_good(&(*r)->outcome);
	if (!any)
		return false;
	t->state = DATA;
	for (struct link *l = t->deliveries; l; l = l->next) {
		if (delivery_wants_message(l->delivery))
			delivery_data(l->delivery);
	}
	if (is_data_decided(t)) /* the next hop was lost between RCPT and DATA: nobody was asked */
		on_data_decided(t);
	return true;
}

/* Of two failures the temporary one is told: the client keeps the message then. */
static int severity(const struct outcome *outcome)
{
	return outcome_is_good(outcome) ? 0 : outcome->code / 100 == 5 ? 1 : 2;
}

/*
 * What the message came to for all recipients that the client was told 250 for: good only if every
 * delivery says so (R-SMTP-68). NULL: some are not known yet.
 */
static const struct outcome *message_outcome(const struct transaction *t)
{
	const struct outcome *worst = NULL;

	for (size_t i = 0; i < t->recipient_count; i++) {
		const struct recipient *r = t->recipients[i];
		const struct outcome *outcome;

		if (!outcome_is_good(&r->outcome))
			continue;
		outcome = delivery_outcome(r->delivery);
		if (!outcome_is_known(outcome))
			return NULL;
		if (!worst || severity(outcome) > severity(worst))
			worst = outcome;
	}
	return worst;
}

static bool any_writing(const struct transaction *t)
{
	for (const struct link *l = t->deliveries; l; l = l->next) {
		if (delivery_is_writing(l->delivery))
			return true;
	}
	return false;
}

enum transaction_data transaction_data_reply(const struct transaction *t)
{
	if (t->state != DATA)
		return t->state == ENDED ? TRANSACTION_DATA_REFUSED : TRANSACTION_DATA_GO;
	return TRANSACTION_DATA_WAITING;
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
		if (!outcome_is_good(&t->recipients[i]->outcome))
			continue;
		if (only)
			return NULL;
		only = t->recipients[i]->path.address;
	}
	return only;
}

static void write_all(struct transaction *t, const char *data, size_t len)
{
	for (struct link *l = t->deliveries; l; l = l->next) {
		if (delivery_is_writing(l->delivery))
			delivery_write(l->delivery, data, len);
	}
}

/* The one field that we add, before everything the client sends (R-SMTP-44). */
static void write_received(struct transaction *t)
{
	char text[RECEIVED_SIZE], literal[ADDR_TEXT], id[48];
	struct received received = {
	    .helo = t->helo,
	    .client = &t->client,
	    .by = our_name(t, literal),
	    .session = id,
	    .esmtp = t->is_esmtp,
	    .tls = t->is_tls,
	    .utf8 = t->envelope.smtputf8,
	    .recipient = only_recipient(t),
	    .when = time(NULL),
	};

	snprintf(id, sizeof id, "%s.%u", t->session, t->message);
	write_all(t, text, received_format(text, &received));
}

static void begin_body(struct transaction *t)
{
	char mark[DOMAIN_SIZE + 32], literal[ADDR_TEXT];

	t->state = BODY;
	received_mark(mark, sizeof mark, our_name(t, literal));
	smtp_body_init(&t->body, t->listener, t->proxy->conf->limits.message_size,
	    t->proxy->conf->limits.received_headers, mark);
	write_received(t);
}

/* ---- the body ---- */

static void abort_deliveries(struct transaction *t)
{
	for (struct link *l = t->deliveries; l; l = l->next) {
		if (delivery_is_writing(l->delivery))
			delivery_abort(l->delivery, &t->outcome);
	}
}

static void refuse_message(struct transaction *t, enum reason reason, const char *text)
{
	outcome_refuse_text(&t->outcome, reason, "%s", text);
	abort_deliveries(t);
}

static void refuse_flaw(struct transaction *t)
{
	switch (t->body.flaw) {
	case BODY_FINE:
		break;
	case BODY_BARE_NEWLINE:
		t->must_close =
		    true; /* what follows may have been meant as commands (SMTP smuggling) */
		refuse_message(t, REASON_BARE_NEWLINE,
		    "the message holds a bare CR or LF; lines end in CR LF");
		break;
	case BODY_NUL:
		refuse_message(t, REASON_BAD_CONTENT, "the message holds a NUL octet");
		break;
	case BODY_LONG_LINE:
		refuse_message(
		    t, REASON_BAD_CONTENT, "the message holds a line of over 1000 octets");
		break;
	case BODY_TOO_LARGE:
		refuse_message(
		    t, REASON_TOO_LARGE, "the message is larger than [limits] message_size");
		break;
	case BODY_TOO_MANY_HOPS:
		refuse_message(
		    t, REASON_MAIL_LOOP, "too many Received fields: the message goes in circles");
		break;
	case BODY_OWN_LOOP:
		refuse_message(
		    t, REASON_MAIL_LOOP, "the message came through here more than 3 times already");
		break;
	}
}

/* 8-bit octets that were not declared, for a next hop that takes none (R-SMTP-41). */
static void refuse_8bit(struct transaction *t)
{
	for (struct link *l = t->deliveries; l; l = l->next) {
		if (delivery_is_writing(l->delivery) && !delivery_takes_8bit(l->delivery)) {
			refuse_message(t, REASON_NO_8BITMIME,
			    "the message has 8-bit octets, the next hop takes none");
			return;
		}
	}
}

/* The slowest sets the pace; a message that is only drained has room without end. */
static size_t room(const struct transaction *t)
{
	size_t least = ROOM;

	for (const struct link *l = t->deliveries; l; l = l->next) {
		if (delivery_is_writing(l->delivery) && delivery_room(l->delivery) < least)
			least = delivery_room(l->delivery);
	}
	return least;
}

static void end_body(struct transaction *t)
{
	bool any = false;

	t->state = ENDED;
	if (outcome_is_known(&t->outcome))
		return;
	for (struct link *l = t->deliveries; l; l = l->next) {
		if (!delivery_is_writing(l->delivery))
			continue;
		any = true;
		delivery_end(l->delivery);
	}
	if (any) {
		t->state = FINAL;
		DL_APPEND(t->proxy->finals, t);
	} else {
		t->outcome = *message_outcome(t);
	}
}

/* A refused message is read to its end so that the reply arrives, but not for ever. */
static bool is_drained_enough(struct transaction *t, size_t taken)
{
	if (any_writing(t))
		return false;
	t->drained += taken;
	return t->drained > DRAIN_MAX;
}

void transaction_pump(struct transaction *t, const struct body_source *source)
{
	char out[CHUNK];
	const char *in;
	size_t len, taken, written;

	while (t->state == BODY && room(t) >= ROOM && (in = source->peek(source->arg, &len), len)) {
		written = smtp_body_scan(&t->body, in, len, &taken, out, sizeof out);
		source->consume(source->arg, taken);
		if (t->body.flaw != BODY_FINE && !outcome_is_known(&t->outcome))
			refuse_flaw(t);
		if (t->body.has_8bit && !outcome_is_known(&t->outcome))
			refuse_8bit(t);
		write_all(t, out, written);
		if (t->body.ended && source->is_broken(source->arg))
			return; /* nobody would hear of it, and send it again (R-SMTP-75) */
		if (t->body.ended) {
			end_body(t);
		} else if (is_drained_enough(t, taken)) {
			t->must_close = true;
			if (!outcome_is_known(&t->outcome))
				t->outcome = *message_outcome(t);
			t->state = ENDED;
		}
	}
}

bool transaction_has_ended_body(const struct transaction *t)
{
	return t->state == FINAL || t->state == ENDED;
}

const struct outcome *transaction_outcome(const struct transaction *t, bool *must_close)
{
	static const struct outcome unknown;

	*must_close = t->must_close;
	return t->state == ENDED ? &t->outcome : &unknown;
}

/* ---- from the deliveries ---- */

static bool is_data_decided(const struct transaction *t)
{
	for (const struct link *l = t->deliveries; l; l = l->next) {
		if (delivery_is_asking(l->delivery))
			return false;
	}
	return true;
}

static void on_data_decided(struct transaction *t)
{
	if (any_writing(t)) {
		begin_body(t);
	} else {
		t->outcome = *message_outcome(t);
		t->state = ENDED;
	}
}

static void release(void *object)
{
	struct transaction *t = object;
	struct link *l;

	while ((l = t->deliveries)) {
		t->deliveries = l->next;
		free(l);
	}
	for (size_t i = 0; i < t->recipient_count; i++)
		free_recipient(t->recipients[i]);
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
	for (struct link *l = t->deliveries; l; l = l->next)
		delivery_log(l->delivery, log);
	for (size_t i = 0; i < t->recipient_count; i++) {
		if (!t->recipients[i]->delivery && !t->recipients[i]->is_logged)
			log_refused_here(t, i, log);
	}
	if (t->refused_surplus)
		log_warning("session=%s %zu recipients beyond [limits] recipients were told to "
			    "come in another transaction",
		    t->session, t->refused_surplus);
}

static void close_transaction(struct transaction *t)
{
	struct delivery_log log = {
	    .client = t->client_text,
	    .size = t->body.size,
	    .is_client_gone = t->callback == NULL,
	};

	log_all(t, &log);
	for (struct link *l = t->deliveries; l; l = l->next)
		delivery_free(&l->delivery);
	reap_later(t->proxy->loop, t, release);
}

static void on_final(struct transaction *t)
{
	DL_DELETE(t->proxy->finals, t);
	t->outcome = *message_outcome(t);
	t->state = ENDED;
	if (!t->callback)
		close_transaction(t);
}

static void on_delivery(struct delivery *delivery, enum delivery_event event, void *arg)
{
	struct transaction *t = arg;

	(void)delivery;
	if (t->state == DATA && is_data_decided(t))
		on_data_decided(t);
	else if (t->state == FINAL && event == DELIVERY_ENDED && message_outcome(t))
		on_final(t);
	if (t->callback)
		t->callback(t->arg);
}

void transaction_leave(struct transaction **transaction, const char *why)
{
	struct transaction *t = *transaction;

	*transaction = NULL;
	if (!t)
		return;
	if (t->state ==
	    FINAL) { /* responsibility may have passed already: the reply is waited for */
		t->callback = NULL;
		return;
	}
	if (t->state == DATA || t->state == BODY) {
		outcome_refuse_text(
		    &t->outcome, REASON_CONNECTION_LOST, "%s; nothing was delivered", why);
		for (struct link *l = t->deliveries; l; l = l->next)
			delivery_abort(l->delivery, &t->outcome);
	}
	close_transaction(t);
}

void transaction_cut_finals(struct proxy *proxy)
{
	struct transaction *t, *next;
	struct outcome outcome;

	outcome_refuse_text(&outcome, REASON_OUTCOME_UNKNOWN,
	    "danelaw was stopped before the next hop answered; it may have been delivered");
	DL_FOREACH_SAFE(proxy->finals, t, next)
	{
		for (struct link *l = t->deliveries; l; l = l->next)
			delivery_abort(l->delivery, &outcome);
		on_final(t);
	}
}
