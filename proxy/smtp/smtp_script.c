/*
 * smtp_script.c - what is said to a next hop, and what is made of its replies (RFC 5321, 3207,
 * 2920).
 *
 * Read the table from top to bottom and you have the conversation; the functions follow in the same
 * order. The states above READY are the approach; client_enter() refuses every state from READY on
 * to a connection that has not proven what its rule asks (R-TLSSEC-05).
 */
#include "proxy/smtp/smtp_client_internal.h"

#include "conf/clock.h"
#include "conf/join.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/envelope.h"
#include "proxy/metrics.h"
#include "proxy/middlebox.h"
#include "proxy/smtp/smtp_dsn.h"
#include "tls/resumption.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ask_fn start_tls, ask_ehlo, ask_starttls, ask_helo, ask_rset, ask_lone_dot;
static hear_fn hear_greeting, hear_ehlo, hear_helo, hear_starttls, hear_ehlo_tls, hear_rset,
    hear_envelope, hear_data, hear_nobody, hear_lone_dot, hear_body, hear_final, hear_late;

/* clang-format off */
const struct script_row smtp_script[] = {
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
	[DATA]      = { "DATA",            NULL,         hear_data,     T_DATA_START },
	[NOBODY]    = { "DATA to nobody",  NULL,         hear_nobody,   T_DATA_START },
	[LONE_DOT]  = { "lone dot",        ask_lone_dot, hear_lone_dot, T_COMMAND },
	[BODY]      = { "message",         NULL,         hear_body,     T_DATA_BLOCK },
	[FINAL]     = { "final dot",       NULL,         hear_final,    T_DATA_END },
	[LATE]      = { "late reply",      NULL,         hear_late,     T_DATA_END },
	[CLOSED]    = { "closed",          NULL,         NULL,          T_NONE },
};
/* clang-format on */

/* ---- the approach ---- */

static bool is_our_greeting(const struct smtp_client *c, const struct smtp_reply *reply)
{
	const char *ours = c->proxy->conf->server.greeting_name;
	size_t len = strcspn(reply->text, " \n");

	return len == strlen(ours) && !strncasecmp(reply->text, ours, len);
}

static void hear_greeting(struct smtp_client *c, const struct smtp_reply *reply)
{
	c->met_ourselves = is_our_greeting(c, reply);
	if (reply->code == 220)
		client_enter(c, EHLO);
	else
		client_fail_reply(c, reply);
}

static const char *our_name(struct smtp_client *c, char literal[ADDR_TEXT])
{
	struct addr local;

	if (c->ehlo)
		return c->ehlo;
	if (c->proxy->conf->server.hostname[0])
		return c->proxy->conf->server.hostname;
	return stream_local(c->stream, &local) ? addr_literal(&local, literal) : "[127.0.0.1]";
}

static void greet(struct smtp_client *c, const char *verb)
{
	char line[DOMAIN_SIZE + ADDR_TEXT + 16], literal[ADDR_TEXT];

	snprintf(line, sizeof line, "%s %s\r\n", verb, our_name(c, literal));
	client_say(c, line);
}

static void ask_ehlo(struct smtp_client *c) { greet(c, "EHLO"); }
static void ask_helo(struct smtp_client *c) { greet(c, "HELO"); }
static void ask_starttls(struct smtp_client *c) { client_say(c, "STARTTLS\r\n"); }

static void become_ready(struct smtp_client *c)
{
	client_enter(c, READY);
	client_release_rule(c);
	if (c->state == READY)
		client_tell(c, CLIENT_READY, NULL);
}

static bool wants_tls(const struct smtp_client *c) { return c->need != TLS_NONE && !c->in_clear; }
static bool needs_tls(const struct smtp_client *c) { return c->need > TLS_MAY; }

/* A refusal of EHLO itself counts: something that speaks for the host knows no extensions. */
static void note_starttls(struct smtp_client *c, const struct smtp_reply *reply)
{
	char host[DOMAIN_SIZE + ADDR_TEXT];
	int len = (int)strcspn(c->name, "[");

	if (!c->proxy->middlebox || (reply->code != 250 && reply->code / 100 != 5))
		return;
	snprintf(host, sizeof host, "%.*s", len ? len : (int)strlen(c->name), c->name);
	middlebox_hear(c->proxy->middlebox, host, c->offer.starttls, clock_steady());
}

static void hear_ehlo(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code == 250)
		smtp_offer_parse(reply, &c->offer);
	note_starttls(c, reply);
	if (reply->code != 250 && needs_tls(c)) {
		client_fail_tls(c, "refused EHLO (%d), and with it STARTTLS", reply->code);
		return;
	}
	if (reply->code / 100 == 5) {
		client_enter(c, HELO); /* RFC 5321 3.2: a server from before extensions */
		return;
	}
	if (reply->code != 250) {
		client_fail_reply(c, reply);
		return;
	}
	if (wants_tls(c) && c->offer.starttls)
		client_enter(c, STARTTLS);
	else if (needs_tls(c))
		client_fail_tls(c, "does not offer STARTTLS");
	else
		become_ready(c);
}

static void hear_helo(struct smtp_client *c, const struct smtp_reply *reply)
{
	memset(&c->offer, 0, sizeof c->offer);
	if (reply->code == 250)
		become_ready(c);
	else
		client_fail_reply(c, reply);
}

static void hear_starttls(struct smtp_client *c, const struct smtp_reply *reply)
{
	char words[200];

	if (reply->code == 220)
		client_enter(c, HANDSHAKE);
	else
		client_fail_tls(c, "answered STARTTLS with %d %s (only 220 begins TLS)",
		    reply->code, smtp_reply_first_line(reply, words, sizeof words));
}

static void start_tls(struct smtp_client *c)
{
	struct tls_peer peer = {&c->address, c->has_source ? &c->source : NULL};

	if (stream_unsent(c->stream)) {
		client_fail_tls(c, "answered STARTTLS before it was asked (STARTTLS injection)");
		return;
	}
	c->tls_started = clock_steady();
	stream_start_tls(c->stream, c->proxy->tls, c->rule, c->keeps_session ? &peer : NULL);
}

void script_on_secured(struct smtp_client *c)
{
	c->tls_seconds = clock_steady() - c->tls_started;
	metrics_count_handshake(stream_proof(c->stream)->is_resumed);
	memset(&c->offer, 0,
	    sizeof c->offer); /* R-TLSSEC-03: what was said in clear counts for nothing */
	client_enter(c, EHLO_TLS);
}

static void hear_ehlo_tls(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code != 250) {
		client_fail_reply(c, reply);
		return;
	}
	smtp_offer_parse(reply, &c->offer);
	become_ready(c);
}

/* ---- one envelope ---- */

static const char *body_text(enum smtp_body_type body)
{
	return body == SMTP_BODY_8BITMIME ? " BODY=8BITMIME"
	       : body == SMTP_BODY_7BIT   ? " BODY=7BIT"
					  : "";
}

void smtp_client_mail(struct smtp_client *c, const struct envelope *envelope, uint64_t size)
{
	char size_text[40] = "", dsn_text[SMTP_DSN_MAIL_SIZE], line[SMTP_COMMAND_MAX];

	if (c->state != READY)
		return; /* it failed a moment ago, and the event is on its way */
	if (client_has_input(c)) {
		client_doom(c);
		return;
	}
	if (size && c->offer.size)
		snprintf(size_text, sizeof size_text, " SIZE=%llu", (unsigned long long)size);
	c->messages++;
	c->mail_refused = c->rcpt_accepted = c->foresees_data = c->data_asked = false;
	c->mail_outstanding = true;
	client_enter(c, ENVELOPE);
	text_join(line, sizeof line, "MAIL FROM:<", envelope->sender.address, ">", size_text,
	    c->offer.eightbitmime ? body_text(envelope->body) : "",
	    envelope->smtputf8 ? " SMTPUTF8" : "",
	    c->offer.dsn ? smtp_dsn_mail_text(dsn_text, &envelope->dsn) : "", "\r\n");
	client_say(c, line);
}

static bool may_send_rcpt(const struct smtp_client *c)
{
	if (stream_room(c->stream) <= SMTP_COMMAND_MAX)
		return false;
	return c->offer.pipelining || (!c->mail_outstanding && !c->rcpt_outstanding);
}

static void ask_data(struct smtp_client *c)
{
	c->data_asked = true;
	client_say(c, "DATA\r\n");
}

/* DATA ends a group of commands that may leave together (RFC 2920 3.1). */
static bool may_join_data(const struct smtp_client *c)
{
	return c->foresees_data && !c->data_asked && c->offer.pipelining && !c->waiting &&
	       c->rcpt_outstanding && stream_room(c->stream) > SMTP_COMMAND_MAX;
}

void script_send_waiting(struct smtp_client *c)
{
	struct waiting *w;

	while ((w = c->waiting) && may_send_rcpt(c)) {
		c->waiting = w->next;
		if (!c->waiting)
			c->waiting_end = &c->waiting;
		c->rcpt_outstanding++;
		client_say(c, w->line);
		free(w);
	}
	if (may_join_data(c))
		ask_data(c);
}

void smtp_client_rcpt(struct smtp_client *c, const struct recipient *recipient)
{
	char dsn[SMTP_DSN_RCPT_SIZE] = "";
	struct waiting *w;
	size_t size;

	if (c->state != ENVELOPE || c->mail_refused)
		return;
	if (c->offer.dsn)
		smtp_dsn_rcpt_text(dsn, &recipient->dsn);
	size = strlen(recipient->path.address) + strlen(dsn) + sizeof "RCPT TO:<>\r\n";
	w = mem_alloc(sizeof *w + size);
	text_join(w->line, size, "RCPT TO:<", recipient->path.address, ">", dsn, "\r\n");
	w->next = NULL;
	*c->waiting_end = w;
	c->waiting_end = &w->next;
	client_set_timer(c, c->proxy->conf->timeouts.command);
	script_send_waiting(c);
}

static void forget_waiting(struct smtp_client *c)
{
	struct waiting *w;

	while ((w = c->waiting)) {
		c->waiting = w->next;
		free(w);
	}
	c->waiting_end = &c->waiting;
}

static void hear_mail(struct smtp_client *c, const struct smtp_reply *reply)
{
	c->mail_outstanding = false;
	if (reply->code / 100 == 2 && !c->is_leaving)
		return;
	c->mail_refused = true;
	forget_waiting(c);
	client_tell(c, CLIENT_MAIL_REFUSED, reply);
}

static void hear_rcpt(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (!c->rcpt_outstanding) {
		client_fail(c, "sent a reply that nothing had asked for");
		return;
	}
	if (c->mail_refused && reply->code / 100 == 2) {
		client_fail(c, "refused MAIL, but accepted a recipient");
		return;
	}
	c->rcpt_outstanding--;
	c->rcpt_accepted |= reply->code / 100 == 2;
	client_tell(c, CLIENT_RCPT, reply);
}

/* The reply to a DATA that left with the RCPTs comes next. */
static void await_data(struct smtp_client *c)
{
	if (c->state == ENVELOPE && c->data_asked && script_is_envelope_answered(c))
		client_enter(c, c->rcpt_accepted ? DATA : NOBODY);
}

static void hear_envelope(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (c->mail_outstanding)
		hear_mail(c, reply);
	else
		hear_rcpt(c, reply);
	await_data(c);
	if (c->state != ENVELOPE)
		return;
	script_send_waiting(c);
	/* Between two recipients of a slow client nothing is outstanding, and the next hop's own
	 * patience counts. */
	client_set_timer(
	    c, c->rcpt_outstanding || c->mail_outstanding ? c->proxy->conf->timeouts.command : 0);
}

void smtp_client_foresee_data(struct smtp_client *c)
{
	if (c->state != ENVELOPE || c->mail_refused)
		return;
	c->foresees_data = true;
	script_send_waiting(c);
}

void smtp_client_data(struct smtp_client *c)
{
	if (c->state != ENVELOPE)
		return; /* it left with the RCPTs, or the connection is lost */
	if (!c->data_asked && client_has_input(c)) {
		client_doom(c);
		return;
	}
	if (!c->data_asked)
		ask_data(c);
	client_enter(c, DATA);
}

/* An envelope without a message is not over for the next hop. */
static void drop_envelope(struct smtp_client *c) { client_enter(c, c->is_leaving ? READY : RESET); }

static void hear_data(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code == 354)
		client_enter(c, BODY);
	else if (reply->code / 100 >= 4)
		drop_envelope(c);
	else
		client_fail_reply(c, reply);
	if (c->state != CLOSED)
		client_tell(c, CLIENT_DATA, reply);
}

/* A DATA that left with RCPTs which were all refused: 354 must be ended, to no effect. */
static void hear_nobody(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code == 354)
		client_enter(c, LONE_DOT);
	else if (reply->code / 100 >= 4)
		drop_envelope(c);
	else
		client_fail_reply(c, reply);
}

/* R-SMTP-31. Whatever it is answered, no message was sent and nobody has one. */
static void ask_lone_dot(struct smtp_client *c) { client_say(c, ".\r\n"); }
static void hear_lone_dot(struct smtp_client *c, const struct smtp_reply *reply)
{
	(void)reply;
	drop_envelope(c);
}

/* ---- the message ---- */

static void send_message(struct smtp_client *c, const void *data, size_t len,
    bool send(struct stream *stream, const void *data, size_t len))
{
	bool was_idle = !stream_unsent(c->stream);

	if (c->state != BODY || !send(c->stream, data, len))
		return;
	c->written += len;
	if (was_idle)
		client_watch_message(c);
}

void smtp_client_write(struct smtp_client *c, const void *data, size_t len)
{
	send_message(c, data, len, stream_write);
}

void smtp_client_push(struct smtp_client *c, const void *data, size_t len)
{
	send_message(c, data, len, stream_push);
}

void smtp_client_end(struct smtp_client *c, double patience)
{
	static const char dot[] = ".\r\n";

	if (c->state != BODY)
		return;
	if (!stream_write(c->stream, dot, sizeof dot - 1)) {
		client_doom(c); /* a dot that was never sent must not be answered */
		return;
	}
	c->written += sizeof dot - 1;
	client_enter(c, FINAL);
	c->final_deadline = clock_rough() + patience;
	client_watch_message(c);
}

static void hear_body(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code / 100 < 4) {
		client_fail_reply(
		    c, reply); /* an acknowledgement before our dot acknowledges nothing */
		return;
	}
	client_enter(c, CLOSED);
	client_tell(c, CLIENT_EARLY, reply);
}

static void hear_final(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (stream_unsent(c->stream)) { /* our dot has not left: nobody can have answered it */
		hear_body(c, reply);
		return;
	}
	if (reply->code / 100 == 3) {
		client_fail_reply(c, reply);
		return;
	}
	client_enter(c, READY);
	if (reply->code / 100 == 2)
		pool_served(c->proxy->pool, c);
	client_tell(c, CLIENT_FINAL, reply);
}

static void hear_late(struct smtp_client *c, const struct smtp_reply *reply)
{
	char words[200], said[220];
	struct log_line line;

	snprintf(said, sizeof said, "%d %s", reply->code,
	    smtp_reply_first_line(reply, words, sizeof words));
	log_begin(&line, LOG_LEVEL_WARNING, "late-reply");
	log_value(&line, "session", c->session);
	log_value(&line, "mx", c->name);
	log_value(&line, "reply", said);
	log_value(&line, "note",
	    reply->code / 100 == 2 ? "possible duplicate when the client tries again" : "");
	log_end(&line);
	smtp_client_close(&c);
}

/* ---- between envelopes ---- */

static void ask_rset(struct smtp_client *c) { client_say(c, "RSET\r\n"); }

bool script_is_envelope_answered(const struct smtp_client *c)
{
	return !c->mail_outstanding && !c->rcpt_outstanding && !c->waiting;
}

/* A DATA that is on its way to accepted recipients cannot be taken back: its reply may be 354. */
static void give_up_envelope(struct smtp_client *c)
{
	if (!c->data_asked)
		client_enter(c, RESET);
	else if (!c->rcpt_accepted)
		client_enter(c, NOBODY);
}

bool smtp_client_park(struct smtp_client *c)
{
	if (c->is_leaving || client_has_input(c) || stream_at_eof(c->stream))
		return false;
	if (c->state == ENVELOPE && script_is_envelope_answered(c))
		give_up_envelope(c);
	return c->state == READY || c->state == RESET || c->state == NOBODY || c->state == LONE_DOT;
}

bool smtp_client_is_ready(const struct smtp_client *c)
{
	return c->state == READY && !c->doomed && !client_has_input(c) && !stream_at_eof(c->stream);
}

static void hear_rset(struct smtp_client *c, const struct smtp_reply *reply)
{
	if (reply->code / 100 == 2)
		become_ready(c);
	else
		client_fail_reply(c, reply);
}
