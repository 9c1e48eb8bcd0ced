/*
 * session.c - the client's connection: lines in, replies out, the body through.
 *
 * A pipelined group is worked off in order. Only a further RCPT may overtake an unanswered one (its
 * reply still comes in order); every other command waits until all answers are given (RFC 2920).
 */
#include "proxy/session_internal.h"

#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/listener.h"
#include "proxy/proxy.h"
#include "proxy/shared/shared.h"
#include "proxy/smtp/smtp_server.h"
#include "proxy/transaction.h"
#include "tls/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HELO_MAX = DOMAIN_SIZE + 63 };

static void advance(struct session *s);

/* ---- who the client is ---- */

const struct interception *session_interception(const struct session *s)
{
	static const struct interception none;

	return s->interception ? s->interception : &none;
}

void session_take_helo(struct session *s, const char *helo)
{
	free(s->helo);
	s->helo = helo ? mem_strndup(helo, strnlen(helo, HELO_MAX)) : NULL;
}

/* ---- the transaction ---- */

static void on_transaction(void *arg) { advance(arg); }

void session_begin_transaction(struct session *s, const struct smtp_command *mail)
{
	struct addr local = s->client;
	struct transaction_origin origin = {
	    .session = s->id,
	    .message = ++s->messages,
	    .client = &s->client,
	    .local = &local,
	    .helo = s->helo,
	    .is_esmtp = s->is_esmtp,
	    .is_tls = s->is_tls,
	    .listener = s->conf,
	    .interception = session_interception(s),
	};

	if (!s->proxy->conf->server.hostname[0]) /* else nobody asks for our address */
		stream_local(s->stream, &local);
	if (s->interception)
		intercept_take_name(s->interception, s->helo);
	s->transaction = transaction_new(s->proxy, &origin, mail, on_transaction, s);
}

void session_end_transaction(struct session *s, const char *why)
{
	transaction_leave(&s->transaction, why);
}

bool session_has_input(const struct session *s)
{
	size_t len;

	stream_input(s->stream, &len);
	return len > 0;
}

/* ---- commands ---- */

/* Each step says whether another may follow at once. */

static bool skip_line(struct session *s)
{
	size_t len, consumed;
	const char *in = stream_input(s->stream, &len);
	bool found = smtp_skip_line(in, len, &consumed);

	stream_consume(s->stream, consumed);
	if (found)
		s->mode = SESSION_COMMANDS;
	return found;
}

static bool is_last(const struct session *s, size_t consumed)
{
	size_t len;

	stream_input(s->stream, &len);
	return len == consumed;
}

static bool run_line(struct session *s, const char *line, size_t len, size_t consumed)
{
	struct smtp_command command;
	struct smtp_error error;
	struct smtp_agreed agreed = {
	    .smtputf8 = s->transaction && transaction_is_utf8(s->transaction),
	    .dsn = s->offers_dsn,
	};
	bool may_run;

	error = smtp_parse_command(line, len, agreed, &command);
	may_run = !session_owes_answers(s) || (command.verb == SMTP_RCPT && !error.code);
	if (!may_run && command.verb == SMTP_DATA && !error.code && is_last(s, consumed))
		transaction_foresee_data(s->transaction);
	if (may_run) {
		log_debug("session=%s < %.*s", s->id, (int)len, line);
		stream_consume(s->stream, consumed);
		session_restart_idle(s);
		smtp_server_command(s, &command, &error);
	}
	smtp_command_release(&command);
	return may_run;
}

static bool refuse_line(struct session *s, const char *text)
{
	if (session_owes_answers(s))
		return false;
	session_reply(s, 500, "5.5.2", text);
	return true;
}

static bool next_command(struct session *s)
{
	size_t len, line_len, consumed;
	const char *in = stream_input(s->stream, &len);

	if (!len)
		return false;
	if (!s->helo && smtp_looks_foreign(in, len)) {
		smtp_server_command(s, &(struct smtp_command){.verb = SMTP_OTHER_PROTOCOL},
		    &(struct smtp_error){0});
		return false;
	}
	switch (smtp_next_line(in, len, SMTP_COMMAND_MAX, &line_len, &consumed)) {
	case SMTP_LINE_DONE:
		return run_line(s, in, line_len, consumed);
	case SMTP_LINE_LONG:
		if (!refuse_line(s, "line too long"))
			return false;
		s->mode = SESSION_SKIP_LINE;
		return true;
	case SMTP_LINE_BARE:
		if (refuse_line(s, "bare CR or LF; lines end in CR LF"))
			session_close_after_reply(s);
		return false;
	case SMTP_LINE_MORE:
		break;
	}
	return false;
}

/* ---- the message ---- */

static bool await_data(struct session *s)
{
	if (session_has_input(s)) { /* R-SMTP-28, again: while the next hop is asked */
		session_reply(s, 503, "5.5.1", "data before 354; wait for the reply to DATA");
		session_close_after_reply(s);
		return false;
	}
	switch (transaction_data_reply(s->transaction)) {
	case TRANSACTION_DATA_WAITING:
		return false;
	case TRANSACTION_DATA_GO:
		s->mode = SESSION_BODY;
		session_reply(s, 354, NULL, "go ahead; end with a dot on a line of its own");
		return true;
	case TRANSACTION_DATA_REFUSED:
		return session_tell_final(s);
	}
	return false;
}

static const char *peek(void *arg, size_t *len)
{
	return stream_input(((struct session *)arg)->stream, len);
}

static void consume(void *arg, size_t len)
{
	struct session *s = arg;

	stream_consume(s->stream, len);
	session_restart_idle(s);
}

/* The end of a broken stream is told after what came before it. */
static bool is_broken(void *arg) { return stream_is_broken(((struct session *)arg)->stream); }

static bool pass_body(struct session *s)
{
	struct body_source source = {
	    .peek = peek, .consume = consume, .is_broken = is_broken, .arg = s};

	transaction_pump(s->transaction, &source);
	return session_tell_final(s);
}

/* ---- TLS ---- */

/*
 * Once our 220 is out. What has come by then was sent before the handshake, by whoever sits
 * between: it must not be taken for what the client says under TLS (CVE-2011-0411).
 */
static bool start_tls(struct session *s)
{
	if (session_has_input(s)) {
		log_warning(
		    "session=%s sent commands behind STARTTLS, before the handshake", s->id);
		session_close(s, "commands behind STARTTLS");
		return false;
	}
	if (stream_unsent(s->stream))
		return false;
	s->mode = SESSION_HANDSHAKE;
	stream_accept_tls(s->stream, listener_tls(s->listener));
	session_restart_idle(s);
	return false;
}

/* The client begins anew, and so does what we know of it (RFC 3207 4.2). */
static void on_secured(struct session *s)
{
	const struct tls_proof *proof = stream_proof(s->stream);

	log_debug("session=%s is in %s with %s", s->id, proof->protocol, proof->cipher);
	s->mode = SESSION_COMMANDS;
	s->is_tls = true;
	s->is_esmtp = s->offers_dsn = false;
	session_take_helo(s, NULL);
	session_restart_idle(s);
}

/* ---- one entry for all that happens ---- */

static bool step(struct session *s)
{
	session_tell_answers(s);
	if (!session_has_reply_room(s))
		return false;
	switch (s->mode) {
	case SESSION_COMMANDS:
		return next_command(s);
	case SESSION_SKIP_LINE:
		return skip_line(s);
	case SESSION_AWAIT_DATA:
		return await_data(s);
	case SESSION_BODY:
		return pass_body(s);
	case SESSION_STARTTLS:
		return start_tls(s);
	case SESSION_HANDSHAKE:
	case SESSION_CLOSED:
		break;
	}
	return false;
}

static void end_of_input(struct session *s)
{
	/* A client that only closed its sending side still gets what it asked for (R-SMTP-71). */
	if (s->mode == SESSION_CLOSED || !stream_at_eof(s->stream) ||
	    !session_is_waiting_for_client(s))
		return;
	if (s->mode == SESSION_BODY)
		session_close(s, "the client left before its final dot");
	else
		session_close_after_reply(s);
}

static void advance(struct session *s)
{
	while (step(s))
		;
	if (s->proxy->shutting_down)
		session_shut_down(s);
	if (s->mode == SESSION_CLOSED)
		return;
	if (!session_has_input(s)) /* it may be waiting for this */
		session_say_held(s);
	session_set_idle(s);
	end_of_input(s);
}

static void on_stream(struct stream *stream, enum stream_event event, void *arg)
{
	struct session *s = arg;

	if (event == STREAM_FAILED) {
		if (s->mode == SESSION_HANDSHAKE)
			log_warning("session=%s TLS with the client failed: %s", s->id,
			    stream_error(stream));
		session_close(
		    s, stream_error(stream)[0] ? stream_error(stream) : "the client left");
		return;
	}
	if (event == STREAM_SECURED)
		on_secured(s);
	if (event == STREAM_READABLE) /* right after a reply left hardly anything can have come back */
		session_settle_if_heard(s);
	advance(s);
}

/* ---- the beginning ---- */

/* Unique among all messages of this host: the moment of the start, the worker's seat, and a
 * counter. */
static void make_id(unsigned seat, char *out, size_t size)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	static uint64_t start, counter;
	char text[16];
	size_t at = sizeof text;
	struct timespec now;

	if (!start) {
		clock_gettime(CLOCK_REALTIME, &now);
		start =
		    ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) * SHARED_SEATS +
		    seat;
	}
	text[--at] = '\0';
	for (uint64_t rest = start; rest && at; rest /= 36)
		text[--at] = digits[rest % 36];
	snprintf(out, size, "%s-%llu", text + at, (unsigned long long)++counter);
}

struct session *session_new(struct proxy *proxy, struct listener *listener,
    const struct conf_listener *conf, int fd, const struct addr *client,
    const struct interception *interception)
{
	struct session *s = mem_zero(1, sizeof *s);
	char text[ADDR_TEXT];

	s->proxy = proxy;
	s->listener = listener;
	s->conf = conf;
	s->client = *client;
	if (interception->listener)
		s->interception = mem_copy(interception, sizeof *interception);
	make_id(proxy->seat, s->id, sizeof s->id);
	session_init_idle(s);
	s->stream = stream_adopt(proxy->loop, fd, on_stream, s);
	log_debug("session=%s from %s", s->id, addr_bracketed(client, text));
	smtp_server_greet(s);
	session_restart_idle(s);
	return s;
}
