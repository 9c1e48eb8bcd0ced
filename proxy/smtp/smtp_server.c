/*
 * smtp_server.c - the commands of RFC 5321 as a table: what each needs to have happened before, and
 * what it does.
 *
 * EHLO, MAIL, RSET, NOOP and QUIT are answered here and at once (R-SMTP-32); RCPT and the final dot
 * with what the next hop says. Nothing is offered that cannot be honoured (R-SMTP-40).
 */
#include "proxy/smtp/smtp_server.h"

#include "conf/conf.h"
#include "proxy/listener.h"
#include "proxy/proxy.h"
#include "proxy/spool/spool.h"
#include "proxy/transaction.h"

#include <stdio.h>
#include <string.h>

enum {
	BAD_COMMANDS_MAX = 20, /* in a row (R-NET-13) */
	REFUSED_RECIPIENTS_MAX = 20,
};

enum needs { NOTHING = 0, HELLO = 1, NO_TRANSACTION = 2, TRANSACTION = 4 };

typedef void command_fn(struct session *s, const struct smtp_command *command);

static bool is_lmtp(const struct session *s) { return s->conf->protocol == PROTOCOL_LMTP; }

static void begin_session(struct session *s, const struct smtp_command *command)
{
	session_end_transaction(s, "the client began anew");
	session_take_helo(s, command->argument);
}

static bool offers_tls(const struct session *s) { return listener_tls(s->listener) && !s->is_tls; }

/* Who offers DSN owes notices (R-SMTP-54); they go through the spool. */
static bool can_notify(const struct session *s)
{
	char why[SPOOL_WHY];

	return intercept_delivery(session_interception(s), s->conf) != DELIVERY_DEFER &&
	       s->proxy->spool && spool_is_ready(s->proxy->spool, why);
}

/* A passed-through host is the next hop of all domains. */
static bool takes_one_domain(const struct session *s)
{
	return intercept_delivery(session_interception(s), s->conf) == DELIVERY_DEFER &&
	       !session_interception(s)->passthrough;
}

static void offer_extensions(struct session *s)
{
	const struct conf *conf = s->proxy->conf;
	char text[512];

	s->is_esmtp = true;
	s->offers_dsn = can_notify(s);
	snprintf(text, sizeof text,
	    "%.255s\nPIPELINING\nSIZE %llu\n8BITMIME\nENHANCEDSTATUSCODES\nSMTPUTF8%s%s\nLIMITS "
	    "RCPTMAX=%u%s",
	    conf->server.greeting_name, (unsigned long long)conf->limits.message_size,
	    s->offers_dsn ? "\nDSN" : "", offers_tls(s) ? "\nSTARTTLS" : "",
	    conf->limits.recipients, takes_one_domain(s) ? " RCPTDOMAINMAX=1" : "");
	session_reply(s, 250, NULL, text);
}

static void on_hello(struct session *s, const struct smtp_command *command)
{
	begin_session(s, command);
	s->is_esmtp = s->offers_dsn = false;
	session_reply(s, 250, NULL, s->proxy->conf->server.greeting_name);
}

static void on_ehlo(struct session *s, const struct smtp_command *command)
{
	begin_session(s, command);
	offer_extensions(s);
}

static void on_mail(struct session *s, const struct smtp_command *command)
{
	uint64_t limit = s->proxy->conf->limits.message_size;
	struct outcome outcome;

	if (command->size > limit) {
		outcome_refuse_text(&outcome, REASON_TOO_LARGE,
		    "at most %llu octets ([limits] message_size)", (unsigned long long)limit);
		session_reply_outcome(s, &outcome);
		return;
	}
	session_begin_transaction(s, command);
	session_reply_with_next(
	    s, "250 2.1.0 sender noted; the next hop is asked with the first recipient\r\n");
}

static void on_rcpt(struct session *s, const struct smtp_command *command)
{
	transaction_add_recipient(s->transaction, command);
}

static void on_data(struct session *s, const struct smtp_command *command)
{
	(void)command;
	if (session_has_input(
		s)) { /* R-SMTP-28: a message before our 354 may be commands in disguise */
		session_reply(s, 503, "5.5.1", "data before 354; wait for the reply to DATA");
		session_close_after_reply(s);
	} else if (transaction_data(s->transaction)) {
		s->mode = SESSION_AWAIT_DATA;
	} else {
		session_reply(s, is_lmtp(s) ? 503 : 554, "5.5.1", "no valid recipients");
	}
}

static void on_rset(struct session *s, const struct smtp_command *command)
{
	(void)command;
	session_end_transaction(s, "the client reset the transaction");
	session_reply(s, 250, "2.0.0", "forgotten");
}

static void on_noop(struct session *s, const struct smtp_command *command)
{
	(void)command;
	session_reply(s, 250, "2.0.0", "still here");
}

static void on_quit(struct session *s, const struct smtp_command *command)
{
	(void)command;
	session_end_transaction(s, "the client quit");
	session_reply(s, 221, "2.0.0", "goodbye");
	session_close_after_reply(s);
}

static void on_vrfy(struct session *s, const struct smtp_command *command)
{
	(void)command;
	session_reply(s, 252, "2.1.5", "send mail to find out");
}

static void on_help(struct session *s, const struct smtp_command *command)
{
	(void)command;
	session_reply(
	    s, 214, "2.0.0", "danelaw relays mail to the recipients' own hosts; see RFC 5321");
}

static void on_refused(struct session *s, const struct smtp_command *command)
{
	(void)command;
	session_reply(s, 502, "5.5.1", "not offered here");
}

/* What the client sent along is not its own word, or it would lie in wait for TLS (R-TLSSEC-02). */
static void on_starttls(struct session *s, const struct smtp_command *command)
{
	if (!offers_tls(s)) {
		on_refused(s, command);
	} else if (s->transaction) {
		session_reply(s, 503, "5.5.1", "not within a transaction");
	} else if (command->argument[0]) {
		session_reply(s, 501, "5.5.4", "STARTTLS takes no argument");
	} else if (session_has_input(s)) {
		session_reply(s, 503, "5.5.1", "commands behind STARTTLS; wait for the reply");
		session_close_after_reply(s);
	} else {
		session_reply(s, 220, "2.0.0", "begin TLS now");
		s->mode = SESSION_STARTTLS;
	}
}

/* The octets of the chunk must not be taken for commands (R-SMTP-50). */
static void on_bdat(struct session *s, const struct smtp_command *command)
{
	on_refused(s, command);
	session_close_after_reply(s);
}

static void on_other_protocol(struct session *s, const struct smtp_command *command)
{
	(void)command;
	session_reply(s, 421, "4.7.0", "this is SMTP, and what you speak is not");
	session_close_after_reply(s);
}

static void on_unknown(struct session *s, const struct smtp_command *command)
{
	(void)command;
	session_reply(s, 500, "5.5.2", "command not recognised");
}

/* clang-format off */
static const struct {
	unsigned needs;
	command_fn *run;
} commands[] = {
	[SMTP_HELO]           = { NOTHING,                on_hello },
	[SMTP_EHLO]           = { NOTHING,                on_ehlo },
	[SMTP_LHLO]           = { NOTHING,                on_ehlo },
	[SMTP_MAIL]           = { HELLO | NO_TRANSACTION, on_mail },
	[SMTP_RCPT]           = { HELLO | TRANSACTION,    on_rcpt },
	[SMTP_DATA]           = { HELLO | TRANSACTION,    on_data },
	[SMTP_RSET]           = { NOTHING,                on_rset },
	[SMTP_NOOP]           = { NOTHING,                on_noop },
	[SMTP_QUIT]           = { NOTHING,                on_quit },
	[SMTP_VRFY]           = { NOTHING,                on_vrfy },
	[SMTP_EXPN]           = { NOTHING,                on_refused },
	[SMTP_HELP]           = { NOTHING,                on_help },
	[SMTP_BDAT]           = { NOTHING,                on_bdat },
	[SMTP_AUTH]           = { NOTHING,                on_refused },
	[SMTP_STARTTLS]       = { NOTHING,                on_starttls },
	[SMTP_ETRN]           = { NOTHING,                on_refused },
	[SMTP_TURN]           = { NOTHING,                on_refused },
	[SMTP_XCLIENT]        = { NOTHING,                on_refused },
	[SMTP_XFORWARD]       = { NOTHING,                on_refused },
	[SMTP_OTHER_PROTOCOL] = { NOTHING,                on_other_protocol },
	[SMTP_UNKNOWN]        = { NOTHING,                on_unknown },
};
/* clang-format on */

static const char *missing(const struct session *s, unsigned needs)
{
	if (needs & HELLO && !s->helo)
		return is_lmtp(s) ? "say LHLO first" : "say EHLO first";
	if (needs & NO_TRANSACTION && s->transaction)
		return "one transaction at a time";
	if (needs & TRANSACTION && !s->transaction)
		return "say MAIL first";
	return NULL;
}

/* RFC 2033 4.1: neither protocol knows the other's greeting. */
static const char *unknown_greeting(const struct session *s, enum smtp_verb verb)
{
	if (verb == SMTP_LHLO && !is_lmtp(s))
		return "this is SMTP: say EHLO";
	if ((verb == SMTP_EHLO || verb == SMTP_HELO) && is_lmtp(s))
		return "this is LMTP: say LHLO";
	return NULL;
}

static bool is_bad(enum smtp_verb verb) { return verb >= SMTP_BDAT || verb == SMTP_EXPN; }

static void close_misbehaving(struct session *s)
{
	session_reply(s, 421, "4.7.0", "too many errors");
	session_close_after_reply(s);
}

void smtp_server_command(
    struct session *s, const struct smtp_command *command, const struct smtp_error *error)
{
	const char *why = missing(s, commands[command->verb].needs);
	const char *unknown = unknown_greeting(s, command->verb);

	if (unknown) {
		session_reply(s, 500, "5.5.1", unknown);
		s->bad_commands++;
	} else if (error->code && (error->close || !why)) {
		session_reply(s, error->code, error->status, error->text);
		s->bad_commands++;
		if (error->close)
			session_close_after_reply(s);
	} else if (why) {
		session_reply(s, 503, "5.5.1", why);
		s->bad_commands++;
	} else {
		s->bad_commands = is_bad(command->verb) ? s->bad_commands + 1 : 0;
		commands[command->verb].run(s, command);
	}
	if (s->bad_commands >= BAD_COMMANDS_MAX && s->mode != SESSION_CLOSED)
		close_misbehaving(s);
}

void smtp_server_greet(struct session *s)
{
	char text[DOMAIN_SIZE + 32];

	snprintf(text, sizeof text, "%.*s %s", DOMAIN_SIZE, s->proxy->conf->server.greeting_name,
	    is_lmtp(s) ? "LMTP" : "ESMTP");
	session_reply(s, 220, NULL, text);
}

/* Whom a recipient was accepted for would not know what became of it: that message is let end. */
static void on_too_many_refused(struct session *s)
{
	if (transaction_has_accepted(s->transaction))
		transaction_take_no_more(s->transaction);
	else
		close_misbehaving(s);
}

void smtp_server_recipient(struct session *s, const struct outcome *outcome)
{
	session_reply_outcome(s, outcome);
	if (outcome->code / 100 == 2)
		s->refused_recipients = 0;
	else if (outcome->code / 100 == 5 && ++s->refused_recipients >= REFUSED_RECIPIENTS_MAX)
		on_too_many_refused(s);
}

void smtp_server_final(struct session *s, const struct outcome *outcome)
{
	bool must_close = transaction_must_close(s->transaction);

	session_reply_outcome(s, outcome);
	if (!transaction_is_told(s->transaction))
		return;
	session_end_transaction(s, "done");
	s->mode = SESSION_COMMANDS;
	if (must_close)
		session_close_after_reply(s);
}
