/*
 * stream.h - a non-blocking socket that connects, can become TLS, and reports five events.
 *
 * A stream has no timers (but for stream_finish): each state of the conversation above it has one.
 * No callback runs inside a call of this interface; none after stream_close(). Input and output are
 * bounded; a full input queue stops reading, a consumer that takes from it starts it again.
 * SSL_get_error is handled below it, in channel_tls.c, and nowhere else. SIGPIPE must be ignored.
 */
#ifndef TLS_STREAM_H
#define TLS_STREAM_H

#include "conf/addr.h"
#include "tls/buf.h"
#include "tls/rule.h"
#include "tls/socket.h"

#include <stdbool.h>
#include <stddef.h>

struct ev_loop;
struct stream;
struct tls_chain;
struct tls_contexts;
struct tls_peer;
struct tls_server;

enum stream_event {
	STREAM_CONNECTED, /* TCP is up; first event of stream_connect() */
	STREAM_SECURED,   /* handshake completed, and its proof meets the rule */
	STREAM_READABLE,  /* new octets in the input, or its end was reached (stream_at_eof) */
	STREAM_DRAINED,   /* all output was handed to the kernel, after there was some */
	STREAM_FAILED, /* the last event: see stream_error(), and stream_proof() if TLS had begun */
};

typedef void stream_fn(struct stream *stream, enum stream_event event, void *arg);

/*
 * Reading stops when as much as STREAM_INPUT_MAX waits; what came with the last read is taken
 * whole: up to STREAM_INPUT_ROOM octets may wait then. STREAM_OUTPUT_MAX is for what TLS has not
 * encrypted yet; it keeps WIRE_GATHER_MAX more at most. All three together bound what one
 * connection may hold (R-SMTP-76).
 */
enum { STREAM_INPUT_MAX = 32768, STREAM_INPUT_ROOM = 65536, STREAM_OUTPUT_MAX = 98304 };

/*
 * Connects; origin NULL: from anywhere. Errors of socket(), its options and connect() come as
 * STREAM_FAILED. Never NULL. Linux delivers a first turn later in any case: no callback inside.
 */
struct stream *stream_connect(struct ev_loop *loop, const struct addr *to,
    const struct socket_origin *origin, stream_fn *callback, void *arg);

/* Takes over a connected socket (accept). Non-blocking and close-on-exec are set here. */
struct stream *stream_adopt(struct ev_loop *loop, int fd, stream_fn *callback, void *arg);

/*
 * Starts TLS as client. Fails (STREAM_FAILED, on the next turn) if an octet waits in the input:
 * what came before the handshake is never carried into it (R-TLSSEC-01). The output must be empty.
 * The rule is copied. Until STREAM_SECURED nothing can be written. peer: where a session of an
 * earlier connection may be resumed, and this one's be kept (resumption.h); NULL: neither.
 */
void stream_start_tls(struct stream *stream, struct tls_contexts *contexts,
    const struct tls_rule *rule, const struct tls_peer *peer);
/* Such a session was offered: a failure may be a matter of it, and it is not offered again. */
bool stream_offered_session(const struct stream *stream);

/* The same as server: nothing is asked of the client (R-TLSSEC-02). */
void stream_accept_tls(struct stream *stream, struct tls_server *server);

/* The proof of the handshake; NULL while the stream is in clear. Valid until stream_close(). */
const struct tls_proof *stream_proof(const struct stream *stream);

/* The certificates that came in it, once it was completed; the peer's own alone where sessions are
 * kept. chain holds nothing yet. */
void stream_chain(const struct stream *stream, struct tls_chain *chain);

/* Input: what came and was not consumed yet. */
const char *stream_input(const struct stream *stream, size_t *len);
void stream_consume(struct stream *stream, size_t len);

/* The peer sent its FIN or close_notify; input may still wait. */
bool stream_at_eof(const struct stream *stream);

/*
 * Output: all or nothing. All writes of one turn leave together. false: no room; check
 * stream_room() first.
 */
bool stream_write(struct stream *stream, const void *data, size_t len);
/*
 * The same for much of which more follows: under TLS it leaves at once, behind what waits, and is
 * not copied. What the kernel does not take stays, and a STREAM_DRAINED tells when it has left.
 */
bool stream_push(struct stream *stream, const void *data, size_t len);
size_t stream_room(const struct stream *stream);
/* Octets not yet handed to the kernel, those that TLS has encrypted already among them. */
size_t stream_unsent(const struct stream *stream);

/* "connection refused", "connection lost", ...; "" while fine */
const char *stream_error(const struct stream *stream);

/* It failed for want of descriptors or memory here: it says nothing about the peer. */
bool stream_is_starved(const struct stream *stream);

/* Known to be gone, asked at this moment: octets that came before may still wait in the input. */
bool stream_is_broken(const struct stream *stream);
/* All output has reached the peer, as its kernel says; true of a connection that was lost later,
 * too. A peer that was closed, not only for writing, acknowledges nothing. */
bool stream_is_heard(const struct stream *stream);
bool stream_local(const struct stream *stream, struct addr *local);

/*
 * Ends everything at once, with close_notify where TLS is up and healthy. Output that the kernel
 * has not taken is lost. The pointer is cleared (NULL is welcome); memory goes when the loop turns.
 */
void stream_close(struct stream **stream);

/*
 * For a last reply: lets output leave (at most `linger` seconds), ignores input, then closes. The
 * descriptor is held until then; `gone` (NULL: nobody cares) tells the end of it, and whether the
 * peer has heard it all. false: it is closed already, and nothing is told.
 */
typedef void stream_gone_fn(bool is_heard, void *arg);
bool stream_finish(struct stream **stream, double linger, stream_gone_fn *gone, void *arg);

/* At the program's end: whether last replies are still on their way; waits for them no more. */
bool stream_is_any_finishing(void);
void stream_close_finishing(void);

#endif
