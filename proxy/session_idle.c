/*
 * session_idle.c - how long a client may be silent. Only its own turn is timed: what it waits for
 * has time limits of its own.
 */
#include "proxy/session_internal.h"

#include "conf/timer.h"
#include "proxy/listener.h"
#include "proxy/proxy.h"
#include "proxy/transaction.h"

/* An idle client's patience where sessions run short (R-SMTP-38). */
#define IDLE_UNDER_LOAD 60.0
/* A timer that was started so lately (s) need not be started anew. */
#define A_MOMENT 0.01

bool session_is_waiting_for_client(const struct session *s)
{
	if (!session_has_reply_room(s))
		return s->mode != SESSION_CLOSED;
	switch (s->mode) {
	case SESSION_COMMANDS:
		return !session_owes_answers(s);
	case SESSION_SKIP_LINE:
	case SESSION_STARTTLS:
	case SESSION_HANDSHAKE:
		return true;
	case SESSION_BODY: /* input that waits, waits for the next hop */
		return !transaction_has_ended_body(s->transaction) && !session_has_input(s);
	case SESSION_AWAIT_DATA:
	case SESSION_CLOSED:
		break;
	}
	return false;
}

static bool is_just_started(struct session *s, double first, double then)
{
	double left;

	if (!ev_is_active(&s->idle) || s->idle.repeat != then)
		return false;
	left = ev_timer_remaining(s->proxy->loop, &s->idle);
	return left <= first && left > first - A_MOMENT;
}

/* From now on; looked at again after each IDLE_UNDER_LOAD, in case seats have become scarce. What
 * is left of the patience after that is kept where libev keeps a repetition. */
static void start_idle(struct session *s, double patience)
{
	double first =
	    s->mode == SESSION_COMMANDS && patience > IDLE_UNDER_LOAD ? IDLE_UNDER_LOAD : patience;

	if (is_just_started(s, first, patience - first))
		return;
	ev_timer_stop(s->proxy->loop, &s->idle);
	timer_refresh(s->proxy->loop);
	ev_timer_set(&s->idle, first, patience - first);
	ev_timer_start(s->proxy->loop, &s->idle);
}

static void on_idle(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct session *s = w->data;

	(void)revents;
	if (w->repeat > 0 && !listener_is_crowded(s->listener)) {
		start_idle(s, w->repeat);
		return;
	}
	ev_timer_stop(loop, w);
	if (s->mode == SESSION_BODY)
		session_end_transaction(s, "the client fell silent before its final dot");
	session_close_with(s, REASON_IDLE, "nothing heard for too long");
}

void session_init_idle(struct session *s)
{
	ev_init(&s->idle, on_idle);
	s->idle.data = s;
}

void session_restart_idle(struct session *s)
{
	start_idle(s, s->mode == SESSION_HANDSHAKE ? s->proxy->conf->timeouts.handshake
						   : s->proxy->conf->timeouts.idle_client);
}

void session_set_idle(struct session *s)
{
	if (!session_is_waiting_for_client(s))
		ev_timer_stop(s->proxy->loop, &s->idle);
	else if (!ev_is_active(&s->idle))
		session_restart_idle(s);
}
