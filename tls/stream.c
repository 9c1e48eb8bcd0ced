/*
 * stream.c - a channel on the loop: watchers, queues, five events (stream.h). Its last words, and
 * who waits for them, are in stream_finish.c.
 *
 *   - CONNECTING -> CLEAR -> HANDSHAKE -> SECURED
 *   - CLEAR, SECURED -> FINISHING   by stream_finish()
 *   - any -> DOOMED                 failed inside a call of the interface; told on the next turn
 *   - any -> ENDED                  STREAM_FAILED was told, or the stream is closed
 *
 * stream_watch() alone starts and stops the watchers, from the state. A fed event runs in the same
 * turn, after the callback that fed it; stopping a watcher takes back what was fed to it.
 */
#include "tls/stream.h"

#include "conf/mem.h"
#include "conf/reap.h"
#include "tls/channel.h"
#include "tls/socket.h"
#include "tls/stream_internal.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <stdlib.h>

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events);
static void on_writable(struct ev_loop *loop, ev_io *watcher, int events);

/* ---- state and watchers ---- */

static bool is_up(const struct stream *s) { return s->state == CLEAR || s->state == SECURED; }

static bool wants_input(const struct stream *s)
{
	return is_up(s) && !s->eof && buf_len(&s->in) < STREAM_INPUT_MAX;
}

static bool awaits(const struct stream *s, enum channel_outcome direction)
{
	switch (s->state) {
	case CONNECTING:
		return direction == CHANNEL_WANTS_WRITE;
	case CLEAR:
	case SECURED:
		return s->write_wants == direction ||
		       (wants_input(s) && s->read_wants == direction);
	case HANDSHAKE:
		return s->read_wants == direction;
	case FINISHING:
		return (direction == CHANNEL_WANTS_READ && !s->eof) || s->write_wants == direction;
	case DOOMED:
	case ENDED:
		break;
	}
	return false;
}

static void watch_one(struct stream *s, ev_io *watcher, bool wanted)
{
	if (wanted && !ev_is_active(watcher))
		ev_io_start(s->loop, watcher);
	else if (!wanted && ev_is_active(watcher))
		ev_io_stop(s->loop, watcher);
}

void stream_watch(struct stream *s)
{
	watch_one(s, &s->reader, awaits(s, CHANNEL_WANTS_READ));
	watch_one(s, &s->writer, awaits(s, CHANNEL_WANTS_WRITE));
}

void stream_enter(struct stream *s, enum state state)
{
	s->state = state;
	s->read_wants = CHANNEL_WANTS_READ;
	s->write_wants = CHANNEL_DONE;
	stream_watch(s);
}

static void tell(struct stream *s, enum stream_event event)
{
	if (s->callback)
		s->callback(s, event, s->arg);
}

/* For failures found in the loop; a finishing stream has nobody left to tell. */
static void fail(struct stream *s)
{
	if (s->state == FINISHING) {
		stream_close(&s);
		return;
	}
	stream_enter(s, ENDED);
	tell(s, STREAM_FAILED);
}

/* For failures found inside a call of the interface: no callback may run there. */
static void doom(struct stream *s)
{
	stream_enter(s, DOOMED);
	ev_feed_event(s->loop, &s->reader, EV_CUSTOM);
}

/* ---- birth ---- */

static struct stream *new_stream(struct ev_loop *loop, int fd, stream_fn *callback, void *arg)
{
	struct stream *s = mem_zero(1, sizeof(*s));

	s->loop = loop;
	s->callback = callback;
	s->arg = arg;
	channel_init(&s->channel, fd);
	ev_io_init(&s->reader, on_readable, fd, EV_READ);
	ev_io_init(&s->writer, on_writable, fd, EV_WRITE);
	/* After all other callbacks of the turn, so that what they write leaves in one piece. */
	ev_set_priority(&s->writer, EV_MINPRI + 1);
	s->reader.data = s->writer.data = s;
	buf_init(&s->in, STREAM_INPUT_ROOM);
	buf_init(&s->out, STREAM_OUTPUT_MAX);
	return s;
}

struct stream *stream_connect(struct ev_loop *loop, const struct addr *to,
    const struct socket_origin *origin, stream_fn *callback, void *arg)
{
	int error, fd = socket_connect(to, origin, &error);
	struct stream *s = new_stream(loop, fd, callback, arg);

	if (fd >= 0) {
		stream_enter(s, CONNECTING);
	} else {
		channel_note_errno(&s->channel, error);
		s->is_starved =
		    error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
		doom(s);
	}
	return s;
}

struct stream *stream_adopt(struct ev_loop *loop, int fd, stream_fn *callback, void *arg)
{
	struct stream *s = new_stream(loop, fd, callback, arg);

	socket_prepare(fd);
	stream_enter(s, CLEAR);
	return s;
}

/* ---- input ---- */

/*
 * What has come is read into one place for all streams, and most of it is taken from there at once:
 * what a callback leaves is all that needs memory of its own. Reads are as large as that place.
 */
static struct {
	bool is_lent;
	char data[STREAM_INPUT_ROOM];
} inbox;

static void lend_inbox(struct stream *s)
{
	assert(!inbox.is_lent); /* no event arrives inside of another */
	if (buf_len(&s->in))
		return;
	buf_lend(&s->in, inbox.data, sizeof(inbox.data));
	inbox.is_lent = true;
}

static void take_inbox_back(struct stream *s)
{
	buf_keep(&s->in);
	inbox.is_lent = false;
}

static enum channel_outcome read_once(struct stream *s)
{
	size_t granted, len = 0;
	size_t want = inbox.is_lent ? buf_room(&s->in) : CHANNEL_READ_SIZE;
	char *place = buf_reserve(&s->in, want, &granted);
	enum channel_outcome outcome = channel_read(&s->channel, place, granted, &len);

	buf_commit(&s->in, outcome == CHANNEL_DONE ? len : 0);
	return outcome;
}

/* What came is told before the failure that followed: a reply before the break still counts. */
static void take_input(struct stream *s)
{
	enum channel_outcome outcome = CHANNEL_DONE;
	enum state state = s->state;
	bool news = false;

	lend_inbox(s);
	while (outcome == CHANNEL_DONE && wants_input(s)) {
		outcome = read_once(s);
		news = news || outcome == CHANNEL_DONE || outcome == CHANNEL_EOF;
		s->eof = s->eof || outcome == CHANNEL_EOF;
		if (s->channel.is_drained)
			break;
	}
	s->read_wants = outcome == CHANNEL_WANTS_WRITE ? CHANNEL_WANTS_WRITE : CHANNEL_WANTS_READ;
	stream_watch(s);
	if (news)
		tell(s, STREAM_READABLE);
	take_inbox_back(s);
	if (outcome == CHANNEL_FAILED && s->state == state)
		fail(s);
}

const char *stream_input(const struct stream *s, size_t *len)
{
	*len = buf_len(&s->in);
	return buf_data(&s->in);
}

void stream_consume(struct stream *s, size_t len)
{
	buf_consume(&s->in, len);
	stream_watch(s);
	if (ev_is_active(&s->reader) && channel_has_pending(&s->channel))
		ev_feed_event(s->loop, &s->reader, EV_READ);
}

bool stream_at_eof(const struct stream *s) { return s->eof; }

/* ---- output ---- */

/* What waits, and behind it data[*sent..len). */
static enum channel_outcome send_behind(
    struct stream *s, const char *data, size_t len, size_t *sent)
{
	enum channel_outcome outcome = CHANNEL_DONE;

	while (outcome == CHANNEL_DONE && (stream_unsent(s) || *sent < len)) {
		size_t waiting = buf_len(&s->out), taken;
		struct iovec pieces[] = {
		    {(void *)buf_data(&s->out), waiting},
		    {(void *)(data + *sent), len - *sent},
		};

		outcome = channel_write(&s->channel, pieces, *sent < len ? 2 : 1, &taken);
		buf_consume(&s->out, taken < waiting ? taken : waiting);
		*sent += taken < waiting ? 0 : taken - waiting;
	}
	return outcome;
}

enum channel_outcome stream_send(struct stream *s)
{
	size_t none = 0;

	return send_behind(s, "", 0, &none);
}

/* In clear the peer's last words ("421 ...") may still wait in the kernel behind a failed write. */
static void fail_after_input(struct stream *s)
{
	if (s->state == CLEAR && wants_input(s))
		take_input(s);
	if (is_up(s))
		fail(s);
}

/*
 * A producer that answers each STREAM_DRAINED with more must not keep the loop to itself: while it
 * is told, the writer waits for the next turn, so that stream_write() does not feed this one.
 */
static void tell_drained(struct stream *s)
{
	enum state state = s->state;

	s->write_wants = CHANNEL_WANTS_WRITE;
	stream_watch(s);
	tell(s, STREAM_DRAINED);
	if (s->state != state || buf_len(&s->out))
		return;
	s->write_wants = CHANNEL_DONE;
	stream_watch(s);
}

static void flush(struct stream *s)
{
	bool had_output = stream_unsent(s) > 0;
	enum channel_outcome outcome = stream_send(s);

	s->write_wants = outcome;
	stream_watch(s);
	if (outcome == CHANNEL_FAILED)
		fail_after_input(s);
	else if (outcome == CHANNEL_DONE && had_output)
		tell_drained(s);
}

bool stream_write(struct stream *s, const void *data, size_t len)
{
	if (len > stream_room(s) || !buf_append(&s->out, data, len))
		return false;
	if (is_up(s) && s->write_wants == CHANNEL_DONE)
		ev_feed_event(s->loop, &s->writer, EV_WRITE);
	return true;
}

/* In clear a failed write may have the peer's last words before it: flush() reads them. */
bool stream_push(struct stream *s, const void *data, size_t len)
{
	enum channel_outcome outcome;
	size_t sent = 0;

	if (s->state != SECURED || s->write_wants != CHANNEL_DONE || len > stream_room(s))
		return stream_write(s, data, len);
	outcome = send_behind(s, data, len, &sent);
	if (outcome == CHANNEL_FAILED) {
		doom(s);
		return true;
	}
	s->write_wants = outcome;
	stream_watch(s);
	return buf_append(&s->out, (const char *)data + sent, len - sent);
}

size_t stream_room(const struct stream *s)
{
	return is_up(s) || s->state == CONNECTING ? buf_room(&s->out) : 0;
}

size_t stream_unsent(const struct stream *s)
{
	return buf_len(&s->out) + channel_unsent(&s->channel);
}

/* ---- TLS ---- */

static void begin_handshake(struct stream *s, bool is_ready)
{
	if (!is_ready) {
		doom(s);
		return;
	}
	stream_enter(s, HANDSHAKE);
	ev_feed_event(s->loop, &s->writer, EV_WRITE);
}

void stream_start_tls(struct stream *s, struct tls_contexts *contexts, const struct tls_rule *rule,
    const struct tls_peer *peer)
{
	assert(s->state == CLEAR && buf_len(&s->out) == 0);
	begin_handshake(s, channel_start_tls(&s->channel, contexts, rule, peer, buf_len(&s->in)));
}

void stream_accept_tls(struct stream *s, struct tls_server *server)
{
	assert(s->state == CLEAR && buf_len(&s->out) == 0);
	begin_handshake(s, channel_accept_tls(&s->channel, server, buf_len(&s->in)));
}

static void continue_handshake(struct stream *s)
{
	enum channel_outcome outcome = channel_handshake(&s->channel);

	if (outcome == CHANNEL_FAILED) {
		fail(s);
	} else if (outcome == CHANNEL_DONE) {
		stream_enter(s, SECURED);
		/* What the peer said at once may have come with the end of its handshake. */
		if (channel_has_pending(&s->channel))
			ev_feed_event(s->loop, &s->reader, EV_READ);
		tell(s, STREAM_SECURED);
	} else {
		s->read_wants = outcome;
		stream_watch(s);
	}
}

bool stream_offered_session(const struct stream *s) { return channel_offered_session(&s->channel); }

const struct tls_proof *stream_proof(const struct stream *s) { return channel_proof(&s->channel); }

void stream_chain(const struct stream *s, struct tls_chain *chain)
{
	channel_chain(&s->channel, chain);
}

/* ---- the loop ---- */

static void finish_connect(struct stream *s)
{
	int error = socket_error(s->channel.fd);

	if (error) {
		channel_note_errno(&s->channel, error);
		fail(s);
		return;
	}
	stream_enter(s, CLEAR);
	tell(s, STREAM_CONNECTED);
	if (s->state == CLEAR && buf_len(&s->out))
		flush(s);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct stream *s = watcher->data;

	(void)loop, (void)events;
	switch (s->state) {
	case DOOMED:
		fail(s);
		break;
	case HANDSHAKE:
		continue_handshake(s);
		break;
	case FINISHING:
		stream_discard_input(s);
		break;
	case CLEAR:
	case SECURED:
		if (s->write_wants == CHANNEL_WANTS_READ)
			flush(s);
		if (is_up(s))
			take_input(s);
		break;
	case CONNECTING:
	case ENDED:
		break;
	}
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct stream *s = watcher->data;

	(void)loop, (void)events;
	switch (s->state) {
	case CONNECTING:
		finish_connect(s);
		break;
	case HANDSHAKE:
		continue_handshake(s);
		break;
	case FINISHING:
		stream_continue_finish(s);
		break;
	case CLEAR:
	case SECURED:
		flush(s);
		if (is_up(s) && s->read_wants == CHANNEL_WANTS_WRITE)
			take_input(s);
		break;
	case DOOMED:
	case ENDED:
		break;
	}
}

/* ---- who it is, and the end ---- */

const char *stream_error(const struct stream *s)
{
	return s->channel.error ? s->channel.error : "";
}

bool stream_is_starved(const struct stream *s) { return s->is_starved; }

bool stream_is_broken(const struct stream *s)
{
	return s->channel.error || s->channel.fd < 0 || socket_is_broken(s->channel.fd);
}

bool stream_is_heard(const struct stream *s)
{
	return s->channel.fd >= 0 && !stream_unsent(s) && socket_unacknowledged(s->channel.fd) <= 1;
}

bool stream_local(const struct stream *s, struct addr *local)
{
	return socket_local(s->channel.fd, local);
}

static void release(void *object)
{
	struct stream *s = object;

	channel_release(&s->channel);
	buf_release(&s->in);
	buf_release(&s->out);
	free(s->ending);
	free(s);
}

void stream_close(struct stream **stream)
{
	struct stream *s = *stream;

	if (!s)
		return;
	*stream = NULL;
	s->callback = NULL;
	stream_end_finish(s);
	stream_enter(s, ENDED);
	ev_clear_pending(s->loop, &s->reader);
	ev_clear_pending(s->loop, &s->writer);
	channel_close(&s->channel);
	reap_later(s->loop, s, release);
}
