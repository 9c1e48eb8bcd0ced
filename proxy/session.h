/*
 * session.h - one client connection: owns the server half of the conversation and its transaction.
 *
 * One function, advance(), looks at what there is (input, answers, room, outcome) and does what can
 * be done; every event of the loop ends there. Owner: its listener.
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include "conf/addr.h"
#include "conf/conf.h"
#include "proxy/duplicates.h"
#include "proxy/intercept/intercept.h"
#include "proxy/outcome.h"
#include "proxy/smtp/smtp_parse.h"

#include <ev.h>
#include <stdbool.h>

struct listener;
struct proxy;
struct stream;
struct transaction;

enum session_mode {
	SESSION_COMMANDS,   /* the client's turn: commands */
	SESSION_SKIP_LINE,  /* the rest of a line that was too long */
	SESSION_AWAIT_DATA, /* DATA was passed on */
	SESSION_BODY,       /* the message, and then the wait for its outcome */
	SESSION_STARTTLS,   /* our 220 is leaving */
	SESSION_HANDSHAKE,
	SESSION_CLOSED,
};

struct session {
	struct proxy *proxy;
	struct listener *listener;
	const struct conf_listener *conf;
	char id[32];
	struct addr client;
	enum session_mode mode;
	struct interception *interception; /* NULL: not intercepted; see session_interception() */
	struct stream *stream;
	ev_timer idle;

	char *helo; /* NULL until EHLO or HELO */
	bool is_esmtp, is_tls;
	bool offers_dsn; /* said in the reply to EHLO */
	struct transaction *transaction;
	const char *held_reply; /* a line for the next reply to follow, or NULL */
	struct unheard unheard; /* accepted, and perhaps the client does not know */
	unsigned messages;
	unsigned bad_commands;       /* in a row */
	unsigned refused_recipients; /* in a row, with 5xx */

	struct session *prev, *next; /* the listener's list */
};

/* Takes the accepted socket over and greets. */
struct session *session_new(struct proxy *proxy, struct listener *listener,
    const struct conf_listener *conf, int fd, const struct addr *client,
    const struct interception *interception);

/* 421 to a client that is between messages; one that is sending a message may finish it. */
void session_shut_down(struct session *session);

/* At once, whatever it is doing. */
void session_cut(struct session *session);

/* ---- for smtp_server.c ---- */

void session_reply(struct session *session, int code, const char *status, const char *text);
/* The same of one line, a constant, that leaves with the replies to what the client has sent behind
 * this command: one packet for a pipelined group (RFC 2920 3.2). */
void session_reply_with_next(struct session *session, const char *line);
void session_reply_outcome(struct session *session, const struct outcome *outcome);
/* After the reply just given; nothing further is read. */
void session_close_after_reply(struct session *session);
void session_begin_transaction(struct session *session, const struct smtp_command *mail);
void session_end_transaction(struct session *session, const char *why);
bool session_has_input(const struct session *session);
/* Never NULL; zeroed where the session was not intercepted. */
const struct interception *session_interception(const struct session *session);
/* A new name, or NULL: it begins anew. */
void session_take_helo(struct session *session, const char *helo);

#endif
