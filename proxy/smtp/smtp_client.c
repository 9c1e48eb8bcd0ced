/*
 * smtp_client.c - the engine of the conversation with a next hop: state, timer, stream, failure.
 *
 * What is said stands in smtp_script.c. Here are the only writer of the state, client_enter(); the
 * only entries from the loop, on_stream() and on_timeout(); and birth and end of a connection.
 */
#include "proxy/smtp/smtp_client.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/timer.h"
#include "proxy/smtp/smtp_client_internal.h"
#include "proxy/smtp/smtp_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* How long a QUIT may take to leave and be answered; nobody waits for it. */
#define QUIT_LINGER 2.0

enum { REPLY_SIZE_MAX = STREAM_INPUT_MAX };

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

void client_set_timer(struct smtp_client *c, double after)
{
	double left = 0;

	c->is_timed = after > 0;
	if (!c->is_timed)
		return;
	timer_refresh(c->proxy->loop);
	if (ev_is_active(&c->timer))
		left = ev_timer_remaining(c->proxy->loop, &c->timer);
	if (left > 0 && left <= after) {
		c->timer_more = after - left;
		return;
	}
	c->timer_more = 0;
	timer_start(c->proxy->loop, &c->timer, after);
}

/* Whether the time is over that was set last. */
static bool is_over(struct smtp_client *c)
{
	double more = c->timer_more;

	c->timer_more = 0;
	if (c->is_timed && more > 0)
		timer_start(c->proxy->loop, &c->timer, more);
	return c->is_timed && more <= 0;
}

void client_tell(
    struct smtp_client *c, enum smtp_client_event event, const struct smtp_reply *reply)
{
	c->callback(c, event, reply, c->arg);
}

/* ---- the end of it ---- */

static bool is_behind_gate(enum state state) { return state >= READY && state < CLOSED; }

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
	if (stream_is_starved(c->stream))
		return REASON_BUSY;
	if (c->state == FINAL && !stream_unsent(c->stream))
		return REASON_OUTCOME_UNKNOWN;
	return c->state < READY ? REASON_CONNECT_FAILED : REASON_CONNECTION_LOST;
}

/* The proof is kept by the failure's reader through smtp_client_proof(), so the stream stays until
 * close. */
static void __attribute__((format(printf, 3, 0)))
fail_at(struct smtp_client *c, enum smtp_client_stage stage, const char *format, va_list ap)
{
	struct smtp_client_failure *f;

	if (c->state == LATE) {
		log_info("%s: no late reply for %s either", c->name, c->session);
		smtp_client_close(&c);
		return;
	}
	free(c->failure);
	f = c->failure = mem_zero(1, sizeof *f);
	f->stage = stage;
	f->reason = stage == STAGE_TLS ? REASON_NONE : reason_of(c);
	vsnprintf(f->text, sizeof f->text, format, ap);
	log_debug("%s: failed while %s: %s", c->name, smtp_script[c->state].name, f->text);
	ev_timer_stop(c->proxy->loop, &c->timer);
	c->ended_in = c->state;
	c->state = CLOSED;
	client_tell(c, CLIENT_FAILED, NULL);
}

void client_fail(struct smtp_client *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fail_at(c, stage_of(c->state), format, ap);
	va_end(ap);
}

void client_fail_tls(struct smtp_client *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fail_at(c, STAGE_TLS, format, ap);
	va_end(ap);
}

void client_fail_reply(struct smtp_client *c, const struct smtp_reply *reply)
{
	char words[200];

	client_fail(c, "answered %s with %d %s", smtp_script[c->state].name, reply->code,
	    smtp_reply_first_line(reply, words, sizeof words));
}

bool client_has_input(const struct smtp_client *c)
{
	size_t len;

	stream_input(c->stream, &len);
	return len > 0;
}

/*
 * Whoever answers before being asked tries to have a reply counted for another question: the core
 * of response injection around STARTTLS (R-TLSSEC-01). Told on a turn of its own, since the
 * question may come from an owner's call, inside of which no event may arrive.
 */
void client_doom(struct smtp_client *c)
{
	c->doomed = true;
	ev_feed_event(c->proxy->loop, &c->timer, EV_TIMER);
}

static void fail_doomed(struct smtp_client *c)
{
	if (c->state == EHLO)
		client_fail_tls(c, "sent more than the reply before TLS (STARTTLS injection)");
	else
		client_fail(c, "sent a reply that nothing had asked for");
}

/* ---- the only writer of the state ---- */

void client_enter(struct smtp_client *c, enum state next)
{
	/*
	 * The gate: behind it MAIL can be sent. Nothing above leads here unproven; should that ever
	 * be wrong, the connection ends instead.
	 */
	if (is_behind_gate(next) && !tls_need_is_met(c->need, stream_proof(c->stream))) {
		client_fail_tls(c, "the connection has not proven what is asked of it");
		return;
	}
	/* (TLS itself refuses to start on octets that came before it.) */
	if (smtp_script[next].ask && next != HANDSHAKE && client_has_input(c)) {
		client_doom(c);
		return;
	}
	log_debug("%s: %s -> %s", c->name, smtp_script[c->state].name, smtp_script[next].name);
	c->state = next;
	client_set_timer(c, seconds(c, smtp_script[next].timer));
	if (smtp_script[next].ask)
		smtp_script[next].ask(c);
}

void client_say(struct smtp_client *c, const char *line)
{
	log_debug("%s: > %.*s", c->name, (int)strcspn(line, "\r"), line);
	if (!stream_write(c->stream, line, strlen(line)))
		log_debug(
		    "%s: no room for a command", c->name); /* the timer of the state ends it */
}

/* ---- from the loop ---- */

/* The beginning of what it said shows a person whom he reached. */
static void fail_broken(struct smtp_client *c, const char *why, const char *in, size_t len)
{
	enum { SHOWN = 60 };
	char words[SHOWN + 1] = "";
	size_t shown = 0;

	while (shown < len && shown < SHOWN && in[shown] != '\r' && in[shown] != '\n')
		shown++;
	smtp_text_filter(words, in, shown, false);
	words[shown] = '\0';
	client_fail(c, "broke the protocol: %s: %s", why, words);
}

/*
 * Some count the messages of a connection, or the time that it is quiet: what is said between two
 * messages ends this connection alone, and only a new one shows whether there is more to it.
 */
static bool is_between_messages(const struct smtp_client *c)
{
	return c->state == READY || c->state == RESET || c->state == LATE ||
	       (c->state == ENVELOPE && c->mail_outstanding && c->messages > 1);
}

static void hear_421(struct smtp_client *c)
{
	c->said_421 = true;
	if (!is_between_messages(c))
		pool_refused(c->proxy->pool, c);
}

static void hear_replies(struct smtp_client *c)
{
	enum smtp_reply_status status = SMTP_REPLY_DONE;
	struct smtp_reply reply;
	const char *in = NULL, *why = "";
	size_t len = 0, consumed;

	while (c->state != CLOSED && c->state != HANDSHAKE && !c->doomed &&
	       (in = stream_input(c->stream, &len), len)) {
		if (len > REPLY_SIZE_MAX)
			len = REPLY_SIZE_MAX; /* however much of it came at once */
		status = smtp_reply_parse(in, len, &reply, &consumed, &why);
		if (status == SMTP_REPLY_MORE && len >= REPLY_SIZE_MAX) {
			status = SMTP_REPLY_BROKEN; /* nothing more would be read */
			why = "reply too long";
		}
		if (status != SMTP_REPLY_DONE)
			break;
		stream_consume(c->stream, consumed);
		log_debug("%s: < %d %.*s", c->name, reply.code, (int)strcspn(reply.text, "\n"),
		    reply.text);
		c->is_leaving |= reply.code == 421 || reply.code == 221;
		if (reply.code == 421)
			hear_421(c);
		if (smtp_script[c->state].hear)
			smtp_script[c->state].hear(c, &reply);
		else
			client_fail(c, "sent a reply that nothing had asked for");
	}
	if (c->doomed || c->state == CLOSED)
		return;
	if (status == SMTP_REPLY_BROKEN)
		fail_broken(c, why, in, len);
	else if (c->state != HANDSHAKE && stream_at_eof(c->stream))
		client_fail(c, "closed the connection");
}

static void on_stream(struct stream *stream, enum stream_event event, void *arg)
{
	struct smtp_client *c = arg;

	switch (event) {
	case STREAM_CONNECTED:
		client_enter(c, GREETING);
		break;
	case STREAM_SECURED:
		script_on_secured(c);
		break;
	case STREAM_READABLE:
		hear_replies(c);
		break;
	case STREAM_DRAINED:
		if (c->state == ENVELOPE)
			script_send_waiting(c);
		else if (c->state == BODY)
			client_tell(c, CLIENT_DRAINED, NULL);
		else if (c->state == FINAL)
			client_watch_message(c);
		break;
	case STREAM_FAILED:
		/* With TLS 1.3 what the server has against our handshake comes when that is over.
		 */
		if (c->state == EHLO_TLS)
			client_fail_tls(c, "%s", stream_error(stream));
		else
			client_fail(c, "%s", stream_error(stream));
		break;
	}
}

/* Looked at so often within data_block, so that a stall is noticed before the client gives up. */
#define STALL_CHECKS 20

/* Of [timeouts] data_end, which counts from the moment our dot was written (R-SMTP-36). */
static double final_time_left(const struct smtp_client *c)
{
	return c->final_deadline - clock_rough();
}

/* While nothing waits to be sent it is the client's turn, or that of the final reply. */
static void set_check(struct smtp_client *c)
{
	double next = stream_unsent(c->stream) ? seconds(c, T_DATA_BLOCK) / STALL_CHECKS : 0;
	double left = final_time_left(c);

	if (c->state == FINAL && (next <= 0 || left < next))
		next = left > 0 ? left : 0.001; /* overdue is told by the timer, too */
	client_set_timer(c, next);
}

static void note_progress(struct smtp_client *c)
{
	c->sent_at_check = c->written - stream_unsent(c->stream);
	c->moved = clock_rough();
}

void client_watch_message(struct smtp_client *c)
{
	note_progress(c);
	set_check(c);
}

/* A next hop that takes the message slowly is not one that has stalled (R-SMTP-37). */
static bool has_stalled(struct smtp_client *c)
{
	if (!stream_unsent(c->stream) || c->written - stream_unsent(c->stream) != c->sent_at_check)
		note_progress(c);
	return clock_rough() - c->moved >= seconds(c, T_DATA_BLOCK);
}

static void on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct smtp_client *c = w->data;
	enum timer timer = smtp_script[c->state].timer;

	(void)loop, (void)revents;
	if (c->doomed) {
		fail_doomed(c);
		return;
	}
	if (!is_over(c))
		return;
	if (c->state == BODY || (c->state == FINAL && final_time_left(c) > 0)) {
		if (!has_stalled(c)) {
			set_check(c);
			return;
		}
		c->timed_out = true;
		client_fail(c, "took no data for %g s", seconds(c, T_DATA_BLOCK));
		return;
	}
	c->timed_out = true;
	if (c->state == CONNECT)
		client_fail(c, "did not answer within %g s", seconds(c, timer));
	else
		client_fail(
		    c, "no reply to %s within %g s", smtp_script[c->state].name, seconds(c, timer));
}

/* Where the connection leaves from, and as whom. */
static void take_origin(struct smtp_client *c, const struct smtp_client_target *target)
{
	struct socket_origin origin = {.source = target->source, .mark = c->proxy->mark};

	c->has_source = target->source != NULL;
	if (target->source)
		c->source = *target->source;
	c->ehlo = target->ehlo && target->ehlo[0] ? mem_strdup(target->ehlo) : NULL;
	c->stream = stream_connect(c->proxy->loop, target->address, &origin, on_stream, c);
	c->is_bound = stream_local(c->stream, &c->near);
	pool_opened(c->proxy->pool, &c->hop, &c->address, c->is_bound ? &c->near : NULL);
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
	c->hop = pool_hop_of(target->address, target->host);
	c->in_clear = target->in_clear;
	c->keeps_session = target->keeps_session;
	c->waiting_end = &c->waiting;
	c->need = target->rule->need;
	c->rule = mem_alloc(sizeof *c->rule);
	tls_rule_copy(c->rule, target->rule);
	c->name = mem_printf("%s%s", target->host, addr_bracketed(target->address, text));
	ev_init(&c->timer, on_timeout);
	c->timer.data = c;
	take_origin(c, target);
	client_enter(c, CONNECT);
	return c;
}

void smtp_client_set_owner(struct smtp_client *c, smtp_client_fn *callback, void *arg)
{
	c->callback = callback;
	c->arg = arg;
}

void client_release_rule(struct smtp_client *c)
{
	if (c->rule)
		tls_rule_release(c->rule);
	free(c->rule);
	c->rule = NULL;
}

static void release(void *object)
{
	struct smtp_client *c = object;
	struct waiting *w;

	while ((w = c->waiting)) {
		c->waiting = w->next;
		free(w);
	}
	client_release_rule(c);
	free(c->ehlo);
	free(c->name);
	free(c->failure);
	free(c->session);
	free(c);
}

/* QUIT is a command only where the next hop reads commands, and has answered the last one. */
static bool may_quit(const struct smtp_client *c)
{
	enum state state = c->state == CLOSED ? c->ended_in : c->state;

	if (c->timed_out || stream_error(c->stream)[0] || stream_at_eof(c->stream))
		return false;
	return state == EHLO || state == HELO || state == EHLO_TLS || state == READY ||
	       (state == ENVELOPE && !c->data_asked && script_is_envelope_answered(c));
}

void smtp_client_close(struct smtp_client **client)
{
	struct smtp_client *c = *client;

	*client = NULL;
	if (!c)
		return;
	ev_timer_stop(c->proxy->loop, &c->timer);
	if (c->state == LATE)
		DL_DELETE(c->proxy->late, c);
	if (may_quit(c)) {
		client_say(c, "QUIT\r\n");
		stream_finish(&c->stream, QUIT_LINGER, NULL, NULL);
	} else {
		stream_close(&c->stream);
	}
	pool_closed(c->proxy->pool, &c->hop, &c->address, c->is_bound ? &c->near : NULL);
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
	c->session = mem_strdup(session);
	c->timed_out = false;
	client_enter(c, LATE);
	DL_APPEND(c->proxy->late, c);
}

void smtp_client_close_late(struct proxy *proxy)
{
	struct smtp_client *c, *next;

	DL_FOREACH_SAFE(proxy->late, c, next)
	smtp_client_close(&c);
}

/* ---- what owners want to know ---- */

const struct smtp_client_failure *smtp_client_failure(const struct smtp_client *c)
{
	static const struct smtp_client_failure none;

	return c->failure ? c->failure : &none;
}
bool smtp_client_said_421(const struct smtp_client *c) { return c->said_421; }
bool smtp_client_met_ourselves(const struct smtp_client *c) { return c->met_ourselves; }

const struct smtp_offer *smtp_client_offer(const struct smtp_client *c) { return &c->offer; }
const struct tls_proof *smtp_client_proof(const struct smtp_client *c)
{
	return stream_proof(c->stream);
}
bool smtp_client_offered_session(const struct smtp_client *c)
{
	return stream_offered_session(c->stream);
}
void smtp_client_chain(const struct smtp_client *c, struct tls_chain *chain)
{
	stream_chain(c->stream, chain);
}
const struct addr *smtp_client_address(const struct smtp_client *c) { return &c->address; }
const struct pool_hop *smtp_client_hop(const struct smtp_client *c) { return &c->hop; }
const char *smtp_client_ehlo(const struct smtp_client *c) { return c->ehlo ? c->ehlo : ""; }
const struct addr *smtp_client_source(const struct smtp_client *c)
{
	return c->has_source ? &c->source : NULL;
}
const char *smtp_client_name(const struct smtp_client *c) { return c->name; }
const char *smtp_client_state(const struct smtp_client *c) { return smtp_script[c->state].name; }
unsigned smtp_client_messages(const struct smtp_client *c) { return c->messages; }
double smtp_client_tls_seconds(const struct smtp_client *c) { return c->tls_seconds; }
size_t smtp_client_room(const struct smtp_client *c) { return stream_room(c->stream); }
