/*
 * smtp_client.c - towards the next hop: a script with one row for each state (RFC 5321, RFC 3207,
 * RFC 2920).
 *
 * Read the script from top to bottom and you have the conversation. enter() is the only writer of
 * the state: it logs the step, sets the timer and refuses every state behind READY to a connection
 * that has not proven what the rule asks (R-TLSSEC-05). on_stream() is the only entry from the
 * loop, but for on_timeout().
 */
#include "proxy/smtp_client.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "tls/ctx.h"
#include "tls/stream.h"

#include <ev.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum state {
	CONNECT,
	GREETING,
	EHLO,
	HELO,
	STARTTLS,
	HANDSHAKE,
	EHLO_TLS,
	/* behind the gate */
	READY,
	RESET,
	ENVELOPE,
	DATA,
	BODY,
	FINAL,
	LATE,
	CLOSED,
};

/* How long a QUIT may take to leave and be answered; nobody waits for it. */
#define QUIT_LINGER 2.0

/* A RCPT that waits to be sent because the next hop does not pipeline. */
struct waiting {
	struct waiting *next;
	char line[];
};

struct smtp_client {
	struct proxy *proxy;
	smtp_client_fn *callback;
	void *arg;

	enum state state;
	ev_timer timer;
	struct stream *stream;
	struct tls_rule rule;
	bool in_clear;
	struct addr address;
	char name[DOMAIN_SIZE + ADDR_TEXT];
	ev_tstamp tls_started;
	double tls_seconds;

	struct smtp_offer offer;
	struct smtp_reply reply; /* the one just heard */
	struct smtp_client_failure failure;

	bool mail_outstanding;
	bool mail_refused;
	unsigned rcpt_outstanding;
	struct waiting *waiting, **waiting_end;
	unsigned messages;
	uint64_t written, sent_at_check; /* BODY: is it moving? */
	bool timed_out;
	enum state ended_in; /* what we waited for when it failed */
	char session[48];    /* LATE: whose message it was */
};

typedef void ask_fn(struct smtp_client *c);
typedef void hear_fn(struct smtp_client *c, const struct smtp_reply *reply);

static ask_fn start_tls, ask_ehlo, ask_starttls, ask_helo, ask_rset, ask_data;
static hear_fn hear_greeting, hear_ehlo, hear_helo, hear_starttls, hear_ehlo_tls, hear_rset,
    hear_envelope, hear_data, hear_body, hear_final, hear_late;

enum timer {
	T_NONE,
	T_CONNECT,
	T_GREETING,
	T_HANDSHAKE,
	T_COMMAND,
	T_DATA_START,
	T_DATA_BLOCK,
	T_DATA_END
};

/* clang-format off */
static const struct {
	const char *name;
	ask_fn *ask;                    /* on entering; NULL: the owner asks, or nobody */
	hear_fn *hear;                  /* a reply; NULL: none may come */
	enum timer timer;
} script[] = {
	[CONNECT]   = { "connect",         NULL,         NULL,          T_CONNECT },
	[GREETING]  = { "greeting",        NULL,         hear_greeting, T_GREETING },
	[EHLO]      = { "EHLO",            ask_ehlo,     hear_ehlo,     T_COMMAND },
	[HELO]      = { "HELO",            ask_helo,     hear_helo,     T_COMMAND },
	[STARTTLS]  = { "STARTTLS",        ask_starttls, hear_starttls, T_COMMAND },
	[HANDSHAKE] = { "handshake",       start_tls,    NULL,          T_HANDSHAKE },
	[EHLO_TLS]  = { "EHLO after TLS",  ask_ehlo,     hear_ehlo_tls, T_COMMAND },
	[READY]     = { "ready",           NULL,         NULL,          T_NONE },
	[RESET]     = { "RSET",            ask_rset,     hear_rset,     T_COMMAND },
	[ENVELOPE]  = { "MAIL and RCPT",   NULL,         hear_envelope, T_COMMAND },
	[DATA]      = { "DATA",            ask_data,     hear_data,     T_DATA_START },
	[BODY]      = { "message",         NULL,         hear_body,     T_DATA_BLOCK },
	[FINAL]     = { "final dot",       NULL,         hear_final,    T_DATA_END },
	[LATE]      = { "late reply",      NULL,         hear_late,     T_DATA_END },
	[CLOSED]    = { "closed",          NULL,         NULL,          T_NONE },
};
/* clang-format on */

static double seconds(const struct smtp_client *c, enum timer timer)
{
	const struct conf *conf = c->proxy->conf;

	switch (timer) {
	case T_NONE:
		return 0;
	case T_CONNECT:
		return conf->timeouts.connect;
	case T_GREETING:
		return conf->timeouts.greeting;
	case T_HANDSHAKE:
		return conf->timeouts.handshake;
	case T_COMMAND:
		return conf->timeouts.command;
	case T_DATA_START:
		return conf->timeouts.data_start;
	case T_DATA_BLOCK:
		return conf->timeouts.data_block;
	case T_DATA_END:
		return conf->timeouts.data_end;
	}
	return 0;
}

static void set_timer(struct smtp_client *c, double after)
{
	ev_timer_stop(c->proxy->loop, &c->timer);
	if (after <= 0)
		return;
	/* libev counts from the start of this turn; after a long callback that lies in the past. */
	ev_now_update(c->proxy->loop);
	ev_timer_set(&c->timer, after, 0.);
	ev_timer_start(c->proxy->loop, &c->timer);
}

static void tell(struct smtp_client *c, enum smtp_client_event event,
		 const struct smtp_reply *reply)
{
	c->callback(c, event, reply, c->arg);
}

/* ---- the end of it ---- */

static bool is_behind_gate(enum state state)
{
	return state >= READY && state < CLOSED;
}

static enum smtp_client_stage stage_of(enum state state)
{
	switch (state) {
	case CONNECT:
	case GREETING:
		return STAGE_CONNECT;
	case STARTTLS:
	case HANDSHAKE:
		return STAGE_TLS;
	default:
		return STAGE_SESSION;
	}
}

/* While a part of our dot has not reached the kernel the message cannot have been taken (R-SMTP-72,
 * -73). */
static enum reason reason_of(const struct smtp_client *c)
{
	if (c->state == FINAL && !stream_unsent(c->stream))
		return REASON_OUTCOME_UNKNOWN;
	return c->state < READY ? REASON_CONNECT_FAILED : REASON_CONNECTION_LOST;
}

/* The proof is kept by the failure's reader through smtp_client_proof(), so the stream stays until
 * close. */
static void __attribute__((format(printf, 3, 0)))
fail_at(struct smtp_client *c, enum smtp_client_stage stage, const char *format, va_list ap)
{
	struct smtp_client_failure *f = &c->failure;

	if (c->state == LATE) {
		log_info("%s: no late reply for %s either", c->name, c->session);
		smtp_client_close(&c);
		return;
	}
	f->stage = stage;
	f->reason = stage == STAGE_TLS ? REASON_NONE : reason_of(c);
	f->starttls_offered = c->offer.starttls;
	vsnprintf(f->text, sizeof f->text, format, ap);
	log_debug("%s: failed while %s: %s", c->name, script[c->state].name, f->text);
	ev_timer_stop(c->proxy->loop, &c->timer);
	c->ended_in = c->state;
	c->state = CLOSED;
	tell(c, CLIENT_FAILED, NULL);
}

static void __attribute__((format(printf, 2, 3)))
fail(struct smtp_client *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fail_at(c, stage_of(c->state), format, ap);
	va_end(ap);
}

static void __attribute__((format(printf, 2, 3)))
fail_tls(struct smtp_client *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fail_at(c, STAGE_TLS, format, ap);
	va_end(ap);
}

static void fail_reply(struct smtp_client *c, const struct smtp_reply *reply)
{
	char words[200];

	fail(c, "answered %s with %d %s", script[c->state].name, reply->code,
	     smtp_reply_first_line(reply, words, sizeof words));
}

/* ---- the only writer of the state ---- */

static void enter(struct smtp_client *c, enum state next)
{
	/*
	 * The gate: behind it MAIL can be sent. Nothing above leads here unproven; should that ever
	 * be wrong, the connection ends instead.
	 */
	if (is_behind_gate(next) && !tls_rule_is_met(&c->rule, stream_proof(c->stream))) {
		fail_tls(c, "the connection has not proven what is asked of it");
		return;
	}
	log_debug("%s: %s -> %s", c->name, script[c->state].name, script[next].name);
	c->state = next;
	set_timer(c, seconds(c, script[next].timer));
	if (script[next].ask)
		script[next].ask(c);
}

static void say(struct smtp_client *c, const char *line)
{
	log_debug("%s: > %.*s", c->name, (int)strcspn(line, "\r"), line);
	if (!stream_write(c->stream, line, strlen(line)))
		log_debug("%s: no room for a command",
			  c->name); /* the timer of the state ends it */
}

/* ---- the approach ---- */

static void hear_greeting(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code == 220)
		enter(c, EHLO);
	else
		fail_reply(c, reply);
}

static const char *our_name(struct smtp_client *c, char literal[ADDR_TEXT])
{
	struct addr local;

	if (c->proxy->conf->server.hostname[0])
		return c->proxy->conf->server.hostname;
	return stream_local(c->stream, &local) ? addr_literal(&local, literal) : "[127.0.0.1]";
}

static void greet(struct smtp_client *c, const char *verb)
{
	char line[DOMAIN_SIZE + ADDR_TEXT + 16], literal[ADDR_TEXT];

	snprintf(line, sizeof line, "%s %s\r\n", verb, our_name(c, literal));
	say(c, line);
}

static void ask_ehlo(struct smtp_client *c)
{
	greet(c, "EHLO");
}
static void ask_helo(struct smtp_client *c)
{
	greet(c, "HELO");
}
static void ask_starttls(struct smtp_client *c)
{
	say(c, "STARTTLS\r\n");
}

static void become_ready(struct smtp_client *c)
{
	enter(c, READY);
	if (c->state == READY)
		tell(c, CLIENT_READY, NULL);
}

static bool wants_tls(const struct smtp_client *c)
{
	return c->rule.need != TLS_NONE && !c->in_clear;
}
static bool needs_tls(const struct smtp_client *c)
{
	return c->rule.need > TLS_MAY;
}

static void hear_ehlo(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code != 250 && needs_tls(c)) {
		fail_tls(c, "refused EHLO (%d), and with it STARTTLS", reply->code);
		return;
	}
	if (reply->code / 100 == 5) {
		enter(c, HELO); /* RFC 5321 3.2: a server from before extensions */
		return;
	}
	if (reply->code != 250) {
		fail_reply(c, reply);
		return;
	}
	smtp_offer_parse(reply, &c->offer);
	if (wants_tls(c) && c->offer.starttls)
		enter(c, STARTTLS);
	else if (needs_tls(c))
		fail_tls(c, "does not offer STARTTLS");
	else
		become_ready(c);
}

static void hear_helo(struct smtp_client *c, const struct smtp_reply *reply)
{
	memset(&c->offer, 0, sizeof c->offer);
	if (reply->code == 250)
		become_ready(c);
	else
		fail_reply(c, reply);
}

static void hear_starttls(struct smtp_client *c, const struct smtp_reply *reply)
{
	char words[200];

	if (reply->code == 220)
		enter(c, HANDSHAKE);
	else
		fail_tls(c, "answered STARTTLS with %d %s", reply->code,
			 smtp_reply_first_line(reply, words, sizeof words));
}

static void start_tls(struct smtp_client *c)
{
	c->tls_started = ev_now(c->proxy->loop);
	/* Octets behind the 220 would be an injection: the stream refuses to start then
	 * (R-TLSSEC-01). */
	stream_start_tls(c->stream, c->proxy->tls, &c->rule);
}

static void on_secured(struct smtp_client *c)
{
	c->tls_seconds = ev_now(c->proxy->loop) - c->tls_started;
	memset(&c->offer, 0,
	       sizeof c->offer); /* R-TLSSEC-03: what was said in clear counts for nothing */
	enter(c, EHLO_TLS);
}

static void hear_ehlo_tls(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code != 250) {
		fail_reply(c, reply);
		return;
	}
	smtp_offer_parse(reply, &c->offer);
	become_ready(c);
}

/* ---- one envelope ---- */

static void say_printf(struct smtp_client *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say_printf(struct smtp_client *c, const char *format, ...)
{
	char line[SMTP_COMMAND_MAX + 256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	say(c, line);
}

void smtp_client_mail(struct smtp_client *c, const char *sender, uint64_t size,
		      enum smtp_body_type body, bool smtputf8)
{
	const char *body_text = body == SMTP_BODY_8BITMIME ? " BODY=8BITMIME"
				: body == SMTP_BODY_7BIT   ? " BODY=7BIT"
							   : "";
	char size_text[40] = "";

	if (c->state != READY)
		return; /* it failed a moment ago, and the event is on its way */
	if (size && c->offer.size)
		snprintf(size_text, sizeof size_text, " SIZE=%llu", (unsigned long long)size);
	c->messages++;
	c->mail_refused = false;
	c->mail_outstanding = true;
	enter(c, ENVELOPE);
	say_printf(c, "MAIL FROM:<%s>%s%s%s\r\n", sender, size_text,
		   c->offer.eightbitmime ? body_text : "", smtputf8 ? " SMTPUTF8" : "");
}

static bool may_send_rcpt(const struct smtp_client *c)
{
	if (stream_room(c->stream) <= SMTP_COMMAND_MAX)
		return false;
	return c->offer.pipelining || (!c->mail_outstanding && !c->rcpt_outstanding);
}

static void send_waiting(struct smtp_client *c)
{
	struct waiting *w;

	while ((w = c->waiting) && may_send_rcpt(c)) {
		c->waiting = w->next;
		if (!c->waiting)
			c->waiting_end = &c->waiting;
		c->rcpt_outstanding++;
		say(c, w->line);
		free(w);
	}
}

void smtp_client_rcpt(struct smtp_client *c, const char *recipient)
{
	size_t size = strlen(recipient) + sizeof "RCPT TO:<>\r\n";
	struct waiting *w;

	if (c->state != ENVELOPE)
		return;
	w = mem_alloc(sizeof *w + size);
	snprintf(w->line, size, "RCPT TO:<%s>\r\n", recipient);
	w->next = NULL;
	*c->waiting_end = w;
	c->waiting_end = &w->next;
	set_timer(c, c->proxy->conf->timeouts.command);
	send_waiting(c);
}

static void hear_mail(struct smtp_client *c, const struct smtp_reply *reply)
{
	c->mail_outstanding = false;
	if (reply->code / 100 == 2)
		return;
	c->mail_refused = true;
	tell(c, CLIENT_MAIL_REFUSED, reply);
}

static void hear_rcpt(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (!c->rcpt_outstanding) {
		fail(c, "sent a reply that nothing had asked for");
		return;
	}
	if (c->mail_refused && reply->code / 100 == 2) {
		fail(c, "refused MAIL, but accepted a recipient");
		return;
	}
	c->rcpt_outstanding--;
	tell(c, CLIENT_RCPT, reply);
}

static void hear_envelope(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (c->mail_outstanding)
		hear_mail(c, reply);
	else
		hear_rcpt(c, reply);
	if (c->state != ENVELOPE)
		return;
	send_waiting(c);
	/* Between two recipients of a slow client nothing is outstanding, and the next hop's own
	 * patience counts. */
	set_timer(c, c->rcpt_outstanding || c->mail_outstanding ? c->proxy->conf->timeouts.command
								: 0);
}

static void ask_data(struct smtp_client *c)
{
	say(c, "DATA\r\n");
}

void smtp_client_data(struct smtp_client *c)
{
	if (c->state == ENVELOPE)
		enter(c, DATA);
}

static void hear_data(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code == 354)
		enter(c, BODY);
	else if (reply->code / 100 >= 4)
		enter(c, READY);
	else
		fail_reply(c, reply);
	if (c->state == BODY || c->state == READY)
		tell(c, CLIENT_DATA, reply);
}

/* ---- the message ---- */

void smtp_client_write(struct smtp_client *c, const void *data, size_t len)
{
	if (c->state != BODY)
		return;
	if (!stream_unsent(c->stream))
		set_timer(c, c->proxy->conf->timeouts.data_block);
	if (stream_write(c->stream, data, len))
		c->written += len;
}

void smtp_client_end(struct smtp_client *c)
{
	if (c->state != BODY)
		return;
	stream_write(c->stream, ".\r\n", 3);
	enter(c, FINAL);
}

static void hear_body(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code / 100 < 4) {
		fail_reply(c, reply); /* an acknowledgement before our dot acknowledges nothing */
		return;
	}
	ev_timer_stop(c->proxy->loop, &c->timer);
	c->state = CLOSED;
	tell(c, CLIENT_EARLY, reply);
}

static void hear_final(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code / 100 == 3) {
		fail_reply(c, reply);
		return;
	}
	enter(c, READY);
	tell(c, CLIENT_FINAL, reply);
}

static void hear_late(struct smtp_client *c, const struct smtp_reply *reply)
{
	char words[200];

	log_warning(
	    "%s: late reply to the message of %s, which was called unknown: %d %s%s", c->name,
	    c->session, reply->code, smtp_reply_first_line(reply, words, sizeof words),
	    reply->code / 100 == 2 ? " (possible duplicate when the client tries again)" : "");
	smtp_client_close(&c);
}

/* ---- between envelopes ---- */

static void ask_rset(struct smtp_client *c)
{
	say(c, "RSET\r\n");
}

static bool is_answered(const struct smtp_client *c)
{
	return !c->mail_outstanding && !c->rcpt_outstanding && !c->waiting;
}

void smtp_client_reset(struct smtp_client *c)
{
	if (c->state == READY || (c->state == ENVELOPE && is_answered(c)))
		enter(c, RESET);
}

bool smtp_client_park(struct smtp_client *c)
{
	size_t len;

	stream_input(c->stream, &len);
	if (len || stream_at_eof(c->stream))
		return false;
	if (c->state == ENVELOPE)
		smtp_client_reset(c);
	return c->state == READY || c->state == RESET;
}

static void hear_rset(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code / 100 == 2)
		become_ready(c);
	else
		fail_reply(c, reply);
}

/* ---- from the loop ---- */

static void hear_replies(struct smtp_client *c)
{
	enum smtp_reply_status status = SMTP_REPLY_DONE;
	const char *in, *why = "";
	size_t len, consumed;

	while (c->state != CLOSED && c->state != HANDSHAKE &&
	       (in = stream_input(c->stream, &len), len)) {
		status = smtp_reply_parse(in, len, &c->reply, &consumed, &why);
		if (status != SMTP_REPLY_DONE)
			break;
		stream_consume(c->stream, consumed);
		log_debug("%s: < %d %.*s", c->name, c->reply.code,
			  (int)strcspn(c->reply.text, "\n"), c->reply.text);
		if (script[c->state].hear)
			script[c->state].hear(c, &c->reply);
		else
			fail(c, "sent a reply that nothing had asked for");
	}
	if (status == SMTP_REPLY_BROKEN && c->state != CLOSED)
		fail(c, "broke the protocol: %s", why);
	else if (c->state != CLOSED && c->state != HANDSHAKE && stream_at_eof(c->stream))
		fail(c, "closed the connection");
}

static void on_stream(struct stream *stream, enum stream_event event, void *arg)
{
	struct smtp_client *c = arg;

	switch (event) {
	case STREAM_CONNECTED:
		enter(c, GREETING);
		break;
	case STREAM_SECURED:
		on_secured(c);
		break;
	case STREAM_READABLE:
		hear_replies(c);
		break;
	case STREAM_DRAINED:
		if (c->state == ENVELOPE)
			send_waiting(c);
		else if (c->state == BODY)
			tell(c, CLIENT_DRAINED, NULL);
		break;
	case STREAM_FAILED:
		fail(c, "%s", stream_error(stream));
		break;
	}
}

/* A next hop that takes the message slowly is not one that has stalled (R-SMTP-37). */
static bool is_moving(struct smtp_client *c)
{
	uint64_t sent = c->written - stream_unsent(c->stream);
	bool moving = !stream_unsent(c->stream) || sent != c->sent_at_check;

	c->sent_at_check = sent;
	return moving;
}

static void on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct smtp_client *c = w->data;
	enum timer timer = script[c->state].timer;

	(void)loop, (void)revents;
	if (c->state == BODY && is_moving(c)) {
		set_timer(c, seconds(c, timer));
		return;
	}
	c->timed_out = true;
	if (c->state == CONNECT)
		fail(c, "did not answer within %g s", seconds(c, timer));
	else if (c->state == BODY)
		fail(c, "took no data for %g s", seconds(c, timer));
	else
		fail(c, "no reply to %s within %g s", script[c->state].name, seconds(c, timer));
}

struct smtp_client *smtp_client_start(struct proxy *proxy, const struct smtp_client_target *target,
				      smtp_client_fn *callback, void *arg)
{
	struct smtp_client *c = mem_zero(1, sizeof *c);
	char text[ADDR_TEXT];

	c->proxy = proxy;
	c->callback = callback;
	c->arg = arg;
	c->address = *target->address;
	c->in_clear = target->in_clear;
	c->waiting_end = &c->waiting;
	tls_rule_copy(&c->rule, target->rule);
	snprintf(c->name, sizeof c->name, "%s%s", target->host,
		 addr_bracketed(target->address, text));
	ev_init(&c->timer, on_timeout);
	c->timer.data = c;
	pool_opened(proxy->pool, &c->address);
	c->stream = stream_connect(proxy->loop, target->address, NULL, on_stream, c);
	enter(c, CONNECT);
	return c;
}

void smtp_client_set_owner(struct smtp_client *c, smtp_client_fn *callback, void *arg)
{
	c->callback = callback;
	c->arg = arg;
}

static void release(void *object)
{
	struct smtp_client *c = object;
	struct waiting *w;

	while ((w = c->waiting)) {
		c->waiting = w->next;
		free(w);
	}
	tls_rule_release(&c->rule);
	free(c);
}

/* QUIT is a command only where the next hop reads commands, and has answered the last one. */
static bool may_quit(const struct smtp_client *c)
{
	enum state state = c->state == CLOSED ? c->ended_in : c->state;

	if (c->timed_out || stream_error(c->stream)[0] || stream_at_eof(c->stream))
		return false;
	return state == EHLO || state == HELO || state == EHLO_TLS || state == READY ||
	       (state == ENVELOPE && is_answered(c));
}

void smtp_client_close(struct smtp_client **client)
{
	struct smtp_client *c = *client;

	*client = NULL;
	if (!c)
		return;
	ev_timer_stop(c->proxy->loop, &c->timer);
	if (may_quit(c)) {
		say(c, "QUIT\r\n");
		stream_finish(&c->stream, QUIT_LINGER);
	} else {
		stream_close(&c->stream);
	}
	pool_closed(c->proxy->pool, &c->address);
	c->state = CLOSED;
	reap_later(c->proxy->loop, c, release);
}

void smtp_client_await_late_reply(struct smtp_client **client, const char *session)
{
	struct smtp_client *c = *client;

	*client = NULL;
	if (!c->timed_out) {
		smtp_client_close(&c); /* the connection is gone: nothing will come */
		return;
	}
	snprintf(c->session, sizeof c->session, "%s", session);
	c->timed_out = false;
	enter(c, LATE);
}

/* ---- what owners want to know ---- */

const struct smtp_client_failure *smtp_client_failure(const struct smtp_client *c)
{
	return &c->failure;
}
const struct smtp_offer *smtp_client_offer(const struct smtp_client *c)
{
	return &c->offer;
}
const struct tls_proof *smtp_client_proof(const struct smtp_client *c)
{
	return stream_proof(c->stream);
}
const struct addr *smtp_client_address(const struct smtp_client *c)
{
	return &c->address;
}
const char *smtp_client_name(const struct smtp_client *c)
{
	return c->name;
}
const char *smtp_client_state(const struct smtp_client *c)
{
	return script[c->state].name;
}
unsigned smtp_client_messages(const struct smtp_client *c)
{
	return c->messages;
}
double smtp_client_tls_seconds(const struct smtp_client *c)
{
	return c->tls_seconds;
}
size_t smtp_client_room(const struct smtp_client *c)
{
	return stream_room(c->stream);
}
size_t smtp_client_unsent(const struct smtp_client *c)
{
	return stream_unsent(c->stream);
}
