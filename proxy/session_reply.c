/*
 * session_reply.c - what the client of a session hears: replies, in order, and no more of them than
 * it reads. Called by session.c, smtp_server.c and session_end.c.
 */
#include "proxy/session_internal.h"

#include "conf/log.h"
#include "proxy/metrics.h"
#include "proxy/smtp/smtp_server.h"
#include "proxy/transaction.h"
#include "tls/stream.h"

#include <string.h>

enum { REPLY_ROOM = 8192, HELD_ROOM = 512 };

static void say(struct session *s, const char *reply, size_t len)
{
	log_debug("session=%s > %.*s", s->id, (int)strcspn(reply, "\r"), reply);
	stream_write(s->stream, reply, len);
}

void session_say_held(struct session *s)
{
	const char *reply = s->held_reply;

	s->held_reply = NULL;
	if (reply)
		say(s, reply, strlen(reply));
}

void session_reply(struct session *s, int code, const char *status, const char *text)
{
	char reply[REPLY_ROOM];
	bool utf8 = s->transaction && transaction_is_utf8(s->transaction);
	size_t len = smtp_reply_format(reply, sizeof reply, code, status, text, utf8);

	if (s->mode == SESSION_CLOSED)
		return;
	session_say_held(s);
	say(s, reply, len);
}

void session_reply_with_next(struct session *s, const char *line)
{
	session_say_held(s);
	s->held_reply = line;
}

void session_reply_outcome(struct session *s, const struct outcome *outcome)
{
	if (!outcome_is_good(outcome))
		metrics_count_refusal(outcome->reason);
	session_reply(s, outcome->code, NULL, outcome->text);
}

bool session_has_reply_room(const struct session *s)
{
	return s->mode != SESSION_CLOSED && stream_room(s->stream) >= HELD_ROOM + REPLY_ROOM;
}

bool session_tell_final(struct session *s)
{
	const struct outcome *outcome = transaction_next_final(s->transaction);

	if (!outcome)
		return false;
	if (transaction_is_told(s->transaction))
		transaction_note_told(s->transaction, &s->unheard);
	smtp_server_final(s, outcome);
	return true;
}

bool session_owes_answers(const struct session *s)
{
	return s->transaction && transaction_owes_answers(s->transaction);
}

void session_tell_answers(struct session *s)
{
	const struct outcome *outcome;

	while (session_has_reply_room(s) && s->transaction &&
	       (outcome = transaction_next_answer(s->transaction)))
		smtp_server_recipient(s, outcome);
}
