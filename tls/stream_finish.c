/*
 * stream_finish.c - the last words of a stream (stream_finish() of stream.h): output leaves, input
 * is dropped, and where somebody wants to know, it is seen whether the peer has heard all of it.
 */
#include "tls/stream_internal.h"

#include "conf/mem.h"

#include <stdlib.h>
#include <sys/queue.h>

static const double LOOK_EVERY = 0.02;

struct ending {
	struct stream *stream;
	ev_timer linger, look;
	bool said_all; /* our FIN is out */
	stream_gone_fn *gone;
	void *arg;
	LIST_ENTRY(ending) all;
};

/* Streams that nobody owns any more: only so that none is forgotten when the program ends. */
static LIST_HEAD(, ending) endings = LIST_HEAD_INITIALIZER(endings);

static void close_it(struct stream *s) { stream_close(&s); }

/* No event tells that a peer has acknowledged what it was sent: where that matters it is asked. */
static void end_if_heard(struct stream *s)
{
	struct ending *e = s->ending;
	bool is_over = e->said_all && s->eof;

	if (is_over && (!e->gone || stream_is_heard(s) || stream_is_broken(s))) {
		close_it(s);
		return;
	}
	stream_watch(s);
	if (is_over)
		ev_timer_start(s->loop, &e->look);
}

void stream_continue_finish(struct stream *s)
{
	enum channel_outcome outcome = stream_send(s);

	if (outcome == CHANNEL_DONE)
		outcome = channel_shutdown(&s->channel);
	s->ending->said_all = outcome == CHANNEL_DONE;
	s->write_wants = outcome;
	if (outcome == CHANNEL_FAILED)
		close_it(s);
	else
		end_if_heard(s);
}

/*
 * The peer's input is read and dropped until its FIN: closing a socket with unread input sends a
 * reset, which may destroy our last reply on its way.
 */
void stream_discard_input(struct stream *s)
{
	enum channel_outcome outcome = channel_discard(&s->channel);

	s->eof = s->eof || outcome == CHANNEL_EOF;
	if (outcome == CHANNEL_FAILED)
		close_it(s);
	else
		end_if_heard(s);
}

static void on_look(struct ev_loop *loop, ev_timer *watcher, int events)
{
	const struct ending *e = watcher->data;

	(void)loop, (void)events;
	end_if_heard(e->stream);
}

static void on_linger(struct ev_loop *loop, ev_timer *watcher, int events)
{
	const struct ending *e = watcher->data;

	(void)loop, (void)events;
	close_it(e->stream);
}

static struct ending *new_ending(struct stream *s, double linger, stream_gone_fn *gone, void *arg)
{
	struct ending *e = mem_zero(1, sizeof(*e));

	e->stream = s;
	e->gone = gone;
	e->arg = arg;
	ev_timer_init(&e->linger, on_linger, linger, 0);
	ev_timer_init(&e->look, on_look, LOOK_EVERY, LOOK_EVERY);
	e->linger.data = e->look.data = e;
	LIST_INSERT_HEAD(&endings, e, all);
	return e;
}

bool stream_finish(struct stream **stream, double linger, stream_gone_fn *gone, void *arg)
{
	struct stream *s = *stream;

	if (!s || (s->state != CLEAR && s->state != SECURED)) {
		stream_close(stream);
		return false;
	}
	*stream = NULL;
	s->callback = NULL;
	s->ending = new_ending(s, linger, gone, arg);
	stream_enter(s, FINISHING);
	ev_timer_start(s->loop, &s->ending->linger);
	ev_feed_event(s->loop, &s->writer, EV_WRITE);
	return true;
}

void stream_end_finish(struct stream *s)
{
	struct ending *e = s->ending;

	if (!e)
		return;
	LIST_REMOVE(e, all);
	ev_timer_stop(s->loop, &e->linger);
	ev_timer_stop(s->loop, &e->look);
	if (e->gone)
		e->gone(stream_is_heard(s), e->arg);
}

bool stream_is_any_finishing(void) { return !LIST_EMPTY(&endings); }

void stream_close_finishing(void)
{
	struct ending *e;

	while ((e = LIST_FIRST(&endings)))
		close_it(e->stream);
}
