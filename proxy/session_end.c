/*
 * session_end.c - how a session ends: at once, after its last reply, or because the service stops;
 * and whether the client has heard what was accepted (see duplicates.h).
 */
#include "proxy/session_internal.h"

#include "conf/log.h"
#include "conf/reap.h"
#include "proxy/listener.h"
#include "proxy/proxy.h"
#include "proxy/transaction.h"
#include "tls/stream.h"

#include <stdlib.h>

/* How long a last reply may take to leave. */
#define LAST_REPLY_LINGER 10.0

static void settle(struct session *s, bool is_heard)
{
	duplicates_settle(s->proxy->duplicates, &s->unheard, is_heard);
}

void session_settle_if_heard(struct session *s)
{
	if (s->unheard.count && stream_is_heard(s->stream))
		settle(s, true);
}

static void release(void *object)
{
	struct session *s = object;

	free(s->helo);
	free(s->interception);
	free(s);
}

/* The descriptor is free again. */
static void on_gone(bool is_heard, void *arg)
{
	struct session *s = arg;

	settle(s, is_heard);
	listener_free_seat(s->listener, &s->client);
	reap_later(s->proxy->loop, s, release);
}

static void end_session(struct session *s, const char *why)
{
	log_debug("session=%s closed: %s", s->id, why);
	s->mode = SESSION_CLOSED;
	ev_timer_stop(s->proxy->loop, &s->idle);
	transaction_leave(&s->transaction, why);
	listener_forget(s->listener, s);
}

void session_close(struct session *s, const char *why)
{
	bool is_heard = stream_is_heard(s->stream);

	stream_close(&s->stream);
	end_session(s, why);
	on_gone(is_heard, s);
}

void session_close_after_reply(struct session *s)
{
	bool is_heard;

	if (s->mode == SESSION_CLOSED)
		return;
	end_session(s, "after the reply");
	is_heard = stream_is_heard(s->stream);
	if (!stream_finish(&s->stream, LAST_REPLY_LINGER, on_gone, s))
		on_gone(is_heard, s);
}

void session_close_with(struct session *s, enum reason reason, const char *text)
{
	struct outcome outcome;

	outcome_refuse_text(&outcome, reason, "%s", text);
	session_reply_outcome(s, &outcome);
	session_close_after_reply(s);
}

void session_shut_down(struct session *s)
{
	if (s->mode == SESSION_COMMANDS || s->mode == SESSION_SKIP_LINE)
		session_close_with(s, REASON_SHUTDOWN, "this service is stopping; try again soon");
}

void session_cut(struct session *s)
{
	/* Past the final dot the client hears that the outcome is unknown, not "try again". */
	while (s->mode == SESSION_BODY && session_has_reply_room(s) && session_tell_final(s))
		;
	if (s->mode == SESSION_COMMANDS)
		session_close_after_reply(s);
	else if (s->mode != SESSION_CLOSED)
		session_close_with(s, REASON_SHUTDOWN, "this service is stopping; try again soon");
}
