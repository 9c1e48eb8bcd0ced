/*
 * stream_internal.h - shared by stream.c and stream_finish.c. There is one for each idle client, so
 * what only some need is held by a pointer.
 */
#ifndef TLS_STREAM_INTERNAL_H
#define TLS_STREAM_INTERNAL_H

#include "tls/channel.h"
#include "tls/stream.h"

#include <ev.h>

enum state { CONNECTING, CLEAR, HANDSHAKE, SECURED, FINISHING, DOOMED, ENDED };

struct stream {
	struct ev_loop *loop;
	stream_fn *callback;
	void *arg;
	struct channel channel;
	ev_io reader, writer;
	struct buf in, out;
	/* What the last try in each direction waits for; TLS may have to read in order to write. */
	enum channel_outcome read_wants : 8, write_wants : 8;
	enum state state : 8;
	bool eof;
	bool is_starved;
	struct ending *ending; /* FINISHING */
};

/* ---- stream.c ---- */

/* The only writer of the state. */
void stream_enter(struct stream *stream, enum state state);
/* Starts and stops the watchers, from the state. */
void stream_watch(struct stream *stream);
/* All that waits, as far as the socket takes it. */
enum channel_outcome stream_send(struct stream *stream);

/* ---- stream_finish.c ---- */

/* FINISHING: the socket takes output, or has input. */
void stream_continue_finish(struct stream *stream);
void stream_discard_input(struct stream *stream);
/* It is closed; tells `gone`. Nothing where nobody finishes. */
void stream_end_finish(struct stream *stream);

#endif
