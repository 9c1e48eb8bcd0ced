/*
 * delivery.c - approach, envelope, message, result; once for each recipient domain of a
 * transaction.
 */
#include "proxy/delivery.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/join.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/timer.h"
#include "proxy/approach.h"
#include "proxy/delivery_record.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "proxy/received.h"
#include "proxy/spool/relayed.h"
#include "proxy/smtp/smtp_client.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum state {
	APPROACHING, /* no connection yet; recipients wait */
	ENVELOPE,    /* MAIL and RCPT */
	DATA,        /* DATA was sent */
	BODY,
	FINAL, /* our dot was sent */
	ENDED, /* outcome is known */
};

struct delivery {
	struct proxy *proxy;
	const char *session;
	const struct envelope *envelope;
	char domain[DOMAIN_SIZE];
	enum pool_want want;
	delivery_fn *callback;
	void *arg;

	enum state state;
	ev_timer
	    first_reply; /* what the approach left of [timeouts] rcpt, until the first RCPT reply */
	struct approach *approach;
	struct approach_result hop; /* client, route, destination, ... */
	struct outcome outcome;

	struct recipient *recipients, **recipients_end;
	struct recipient *unasked; /* the first that has no reply yet; replies come in order */
	double started;            /* of the steady clock */
	double total_seconds;
	bool foresees_data;
	bool is_cleared; /* ENVELOPE: 354 came before it was asked for */
	bool was_ready;  /* a next hop was proven and ready */
	bool knows_dsn;  /* that next hop */
	bool is_encrypted;
	struct tls_proof proof; /* copies for the log: the connection may be gone by then */
	double tls_seconds;
};

static void tell(struct delivery *d, enum delivery_event event) { d->callback(d, event, d->arg); }

static const char *hop_name(const struct delivery *d) { return smtp_client_name(d->hop.client); }

/* ---- recipients ---- */

static void decide(struct recipient *r, const struct outcome *outcome) { r->outcome = *outcome; }

/* Everybody who has no answer yet gets this one; the message's outcome is the same. */
static void end(struct delivery *d, const struct outcome *outcome)
{
	ev_timer_stop(d->proxy->loop, &d->first_reply);
	d->state = ENDED;
	d->outcome = *outcome;
	d->total_seconds = clock_steady() - d->started;
	for (struct recipient *r = d->recipients; r; r = r->next) {
		if (!outcome_is_known(&r->outcome))
			decide(r, outcome);
	}
	d->unasked = NULL;
}

static void refuse(struct delivery *d, const struct refusal *refusal)
{
	struct outcome outcome;

	outcome_refuse(&outcome, refusal);
	end(d, &outcome);
}

static bool any_accepted(const struct delivery *d)
{
	for (const struct recipient *r = d->recipients; r; r = r->next) {
		if (outcome_is_good(&r->outcome))
			return true;
	}
	return false;
}

/* ---- the envelope, once the next hop is ready ---- */

/* What the message needs and the next hop cannot do (R-SMTP-17, -41, -42). */
static bool check_offer(struct delivery *d)
{
	const struct smtp_offer *offer = smtp_client_offer(d->hop.client);
	const struct envelope *e = d->envelope;
	struct outcome outcome = {0};

	if (e->body == SMTP_BODY_8BITMIME && !offer->eightbitmime)
		outcome_refuse_text(&outcome, REASON_NO_8BITMIME,
		    "%s does not take 8-bit mail; send it in 7-bit form", hop_name(d));
	else if (e->smtputf8 && !offer->smtputf8)
		outcome_refuse_text(&outcome, REASON_NO_SMTPUTF8,
		    "%s does not take internationalised mail", hop_name(d));
	else if (offer->size_limit && e->size > offer->size_limit)
		outcome_refuse_text(&outcome, REASON_TOO_LARGE,
		    "%s takes at most %llu octets, the message has %llu", hop_name(d),
		    (unsigned long long)offer->size_limit, (unsigned long long)e->size);
	if (!outcome_is_known(&outcome))
		return true;
	end(d, &outcome);
	return false;
}

/*
 * The declared size plus what our Received field may add (R-SMTP-17); but a message that fits is
 * not to be refused for an estimate.
 */
static uint64_t size_upstream(const struct delivery *d)
{
	uint64_t limit = smtp_client_offer(d->hop.client)->size_limit;
	uint64_t size = d->envelope->size ? d->envelope->size + RECEIVED_SIZE : 0;

	return limit && size > limit ? limit : size;
}

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg);

static void begin_envelope(struct delivery *d)
{
	d->state = ENVELOPE;
	smtp_client_set_owner(d->hop.client, on_client, d);
	if (!check_offer(d))
		return;
	smtp_client_mail(d->hop.client, d->envelope, size_upstream(d));
	for (struct recipient *r = d->recipients; r; r = r->next)
		smtp_client_rcpt(d->hop.client, r);
	if (d->foresees_data)
		smtp_client_foresee_data(d->hop.client);
}

static void keep_proof(struct delivery *d)
{
	const struct tls_proof *proof = smtp_client_proof(d->hop.client);

	d->was_ready = true;
	d->knows_dsn = smtp_client_offer(d->hop.client)->dsn;
	d->is_encrypted = proof != NULL;
	if (proof)
		d->proof = *proof;
	d->tls_seconds = d->hop.is_reused ? 0 : smtp_client_tls_seconds(d->hop.client);
}

static void on_approach(struct approach_result *result, void *arg)
{
	struct delivery *d = arg;

	d->approach = NULL;
	d->hop = *result;
	if (d->hop.client) {
		keep_proof(d);
		begin_envelope(d);
	} else {
		ev_timer_stop(d->proxy->loop, &d->first_reply);
		refuse(d, &d->hop.refusal);
	}
	if (d->state == ENDED)
		tell(d, DELIVERY_RCPT);
}

static void approach(struct delivery *d, enum approach_how how)
{
	struct approach_task task = {
	    .domain = d->domain,
	    .how = how,
	    .want = d->want,
	    .session = d->session,
	    .interception = d->envelope->interception,
	};

	d->approach = approach_start(d->proxy, &task, on_approach, d);
}

static void on_rcpt_reply(struct delivery *d, const struct smtp_reply *reply)
{
	struct recipient *r = d->unasked;

	if (!r)
		return;
	ev_timer_stop(d->proxy->loop, &d->first_reply);
	d->unasked = r->next;
	outcome_of_rcpt(&r->outcome, reply, hop_name(d));
	tell(d, DELIVERY_RCPT);
}

/* ---- the message ---- */

static void on_data_reply(struct delivery *d, const struct smtp_reply *reply)
{
	struct outcome outcome;

	if (reply->code == 354 && d->state == ENVELOPE) {
		d->is_cleared = true;
		return;
	}
	if (reply->code == 354) {
		d->state = BODY;
	} else {
		outcome_of_final(&outcome, reply, hop_name(d));
		end(d, &outcome);
	}
	tell(d, DELIVERY_DATA);
}

/* To the pool where it may: others need it while this message waits for its other next hops. */
static void give_back(struct delivery *d)
{
	if (d->hop.client && d->hop.may_be_kept)
		pool_give(d->proxy->pool, d->hop.destination->next_hop, &d->hop.route->rule,
		    &d->hop.client);
	smtp_client_close(&d->hop.client);
}

static void end_with_reply(
    struct delivery *d, enum smtp_client_event event, const struct smtp_reply *reply)
{
	struct outcome outcome;

	outcome_of_final(&outcome, reply, hop_name(d));
	end(d, &outcome);
	if (event == CLIENT_EARLY) /* the client may take long to come to its end */
		smtp_client_close(&d->hop.client);
	else
		give_back(d);
	tell(d, DELIVERY_ENDED);
}

/*
 * A kept connection that ends before it answered a recipient, be it with a 421 to MAIL (some count
 * the messages of a connection), is replaced in silence (R-SMTP-81): nothing was told to anybody.
 */
static bool replace(struct delivery *d)
{
	if (d->state != ENVELOPE || !d->hop.is_reused || d->unasked != d->recipients)
		return false;
	approach_result_release(&d->hop);
	d->hop = (struct approach_result){0};
	d->state = APPROACHING;
	approach(d, APPROACH_ANEW);
	return true;
}

/* The reply for each recipient, also for those that are still to come (R-SMTP-58). */
static void on_mail_refused(struct delivery *d, const struct smtp_reply *reply)
{
	struct outcome outcome;

	/* It is leaving; or that was no answer to MAIL but a late word about something else. */
	if ((reply->code == 421 || reply->code / 100 < 4) && replace(d))
		return;
	outcome_of_mail(&outcome, reply, hop_name(d));
	end(d, &outcome);
	tell(d, DELIVERY_RCPT);
}

static void on_failed(struct delivery *d)
{
	const struct smtp_client_failure *failure = smtp_client_failure(d->hop.client);
	bool was_asked = d->state == DATA, was_recipient = d->state == ENVELOPE;
	struct refusal refusal;

	if (d->state == ENDED) { /* it had ended already; only the connection goes now */
		smtp_client_close(&d->hop.client);
		return;
	}
	if (replace(d))
		return;
	if (failure->reason == REASON_OUTCOME_UNKNOWN)
		refusal_set(&refusal, failure->reason,
		    "%s: %s after the whole message was sent; it may have been delivered, "
		    "trying again may make a duplicate",
		    hop_name(d), failure->text);
	else
		refusal_set(&refusal, failure->reason, "%s: %s", hop_name(d), failure->text);
	refuse(d, &refusal);
	if (failure->reason == REASON_OUTCOME_UNKNOWN)
		smtp_client_await_late_reply(&d->hop.client, d->session);
	else
		smtp_client_close(&d->hop.client);
	tell(d, was_recipient ? DELIVERY_RCPT : was_asked ? DELIVERY_DATA : DELIVERY_ENDED);
}

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg)
{
	struct delivery *d = arg;

	(void)client;
	switch (event) {
	case CLIENT_MAIL_REFUSED:
		on_mail_refused(d, reply);
		break;
	case CLIENT_RCPT:
		on_rcpt_reply(d, reply);
		break;
	case CLIENT_DATA:
		on_data_reply(d, reply);
		break;
	case CLIENT_DRAINED:
		tell(d, DELIVERY_DRAINED);
		break;
	case CLIENT_EARLY:
	case CLIENT_FINAL:
		end_with_reply(d, event, reply);
		break;
	case CLIENT_FAILED:
		on_failed(d);
		break;
	case CLIENT_READY:
		break;
	}
}

/* ---- from the transaction ---- */

static void on_first_reply_overdue(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct delivery *d = w->data;
	struct refusal refusal;

	(void)loop, (void)revents;
	refusal_set(&refusal, REASON_CONNECT_FAILED,
	    "%s took too long (%s); the mail stays with you and may be tried again",
	    d->hop.client ? hop_name(d) : d->domain,
	    d->hop.client ? smtp_client_state(d->hop.client) : "approach");
	approach_cancel(&d->approach);
	smtp_client_close(&d->hop.client);
	refuse(d, &refusal);
	tell(d, DELIVERY_RCPT);
}

struct delivery *delivery_new(struct proxy *proxy, const char *session,
    const struct envelope *envelope, const char *domain, enum pool_want want, delivery_fn *callback,
    void *arg)
{
	struct delivery *d = mem_zero(1, sizeof *d);

	d->proxy = proxy;
	d->session = session;
	d->envelope = envelope;
	text_join(d->domain, sizeof d->domain, domain);
	d->want = want;
	d->callback = callback;
	d->arg = arg;
	d->recipients_end = &d->recipients;
	d->started = clock_steady();
	ev_init(&d->first_reply, on_first_reply_overdue);
	d->first_reply.data = d;
	/* A little later than the approach's own limit, which gives the better words. */
	timer_start(proxy->loop, &d->first_reply, proxy->conf->timeouts.rcpt + 0.05);
	approach(d, APPROACH_ANY);
	return d;
}

void delivery_add_recipient(struct delivery *d, struct recipient *r)
{
	r->delivery = d;
	*d->recipients_end = r;
	d->recipients_end = &r->next;
	if (d->state == ENDED) {
		decide(r, &d->outcome);
		return;
	}
	if (!d->unasked)
		d->unasked = r;
	if (d->state == ENVELOPE)
		smtp_client_rcpt(d->hop.client, r);
}

struct recipient *delivery_recipients(const struct delivery *d) { return d->recipients; }
const char *delivery_domain(const struct delivery *d) { return d->domain; }

/* A lost one whose recipients were told 250 counts: its failure must be the message's (R-SMTP-68).
 */
bool delivery_is_live(const struct delivery *d) { return d->unasked || any_accepted(d); }

bool delivery_wants_message(const struct delivery *d)
{
	return d->state == ENVELOPE && any_accepted(d);
}
bool delivery_takes_8bit(const struct delivery *d)
{
	return smtp_client_offer(d->hop.client)->eightbitmime;
}

bool delivery_hop_knows_dsn(const struct delivery *d) { return d->knows_dsn; }

void delivery_foresee_data(struct delivery *d)
{
	d->foresees_data = true;
	if (d->state == ENVELOPE)
		smtp_client_foresee_data(d->hop.client);
}

void delivery_data(struct delivery *d)
{
	d->state = d->is_cleared ? BODY : DATA;
	smtp_client_data(d->hop.client);
}

bool delivery_is_asking(const struct delivery *d) { return d->state == DATA; }
bool delivery_is_writing(const struct delivery *d) { return d->state == BODY; }
size_t delivery_room(const struct delivery *d) { return smtp_client_room(d->hop.client); }
void delivery_write(struct delivery *d, const void *data, size_t len)
{
	smtp_client_write(d->hop.client, data, len);
}
void delivery_push(struct delivery *d, const void *data, size_t len)
{
	smtp_client_push(d->hop.client, data, len);
}

void delivery_end(struct delivery *d, double patience)
{
	d->state = FINAL;
	smtp_client_end(d->hop.client, patience);
}

void delivery_abort(struct delivery *d, const struct outcome *outcome)
{
	if (d->state == ENDED)
		return;
	approach_cancel(&d->approach);
	smtp_client_close(&d->hop.client);
	end(d, outcome);
}

void delivery_hop_text(const struct delivery *d, char *out, size_t size)
{
	char address[ADDR_TEXT] = "";

	if (d->hop.has_address)
		addr_bracketed(&d->hop.address, address);
	snprintf(out, size, "%s%s", d->hop.route ? d->hop.route->host : "", address);
}

const struct outcome *delivery_outcome(const struct delivery *d) { return &d->outcome; }

/* ---- the log line ---- */

void delivery_log(const struct delivery *d, const struct delivery_log *log)
{
	struct delivery_record record = {
	    .session = d->session,
	    .client = log->client,
	    .domain = d->domain,
	    .envelope = d->envelope,
	    .recipients = d->recipients,
	    .hop = &d->hop,
	    .defaults = &d->proxy->conf->policy,
	    .was_ready = d->was_ready,
	    .is_encrypted = d->is_encrypted,
	    .proof = &d->proof,
	    .outcome = &d->outcome,
	    .size = log->size,
	    .tls_seconds = d->tls_seconds,
	    .total_seconds = d->state == ENDED ? d->total_seconds : clock_steady() - d->started,
	    .is_client_gone = log->is_client_gone,
	    .tries = log->tries,
	    .next_try = log->next_try,
	};

	delivery_record_write(&record);
	/* A message of the spool keeps its headers until its sender was told: spool_task.c. */
	if (!d->knows_dsn && !log->tries)
		relayed_tell(d->proxy, &record);
}

void delivery_log_refused(const struct proxy *proxy, const char *session,
    const struct envelope *envelope, const struct recipient *recipients,
    const struct delivery_log *log)
{
	static const struct approach_result no_hop;
	static const struct tls_proof no_proof;
	static const struct outcome no_message;
	struct delivery_record record = {
	    .session = session,
	    .client = log->client,
	    .domain = recipients->path.domain,
	    .envelope = envelope,
	    .recipients = recipients,
	    .hop = &no_hop,
	    .defaults = &proxy->conf->policy,
	    .proof = &no_proof,
	    .outcome = &no_message,
	};

	delivery_record_write(&record);
}

/* ---- the end ---- */

static void release(void *object)
{
	struct delivery *d = object;

	approach_result_release(&d->hop);
	free(d);
}

void delivery_free(struct delivery **delivery)
{
	struct delivery *d = *delivery;

	*delivery = NULL;
	if (!d)
		return;
	ev_timer_stop(d->proxy->loop, &d->first_reply);
	approach_cancel(&d->approach);
	give_back(d);
	reap_later(d->proxy->loop, d, release);
}
