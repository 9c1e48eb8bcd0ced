/*
 * channel.h - octets through a connected, non-blocking socket, in clear or through TLS: each call
 * tries once and has one of five outcomes. No loop, no buffers, no events: those are stream.c's,
 * its only user.
 */
#ifndef TLS_CHANNEL_H
#define TLS_CHANNEL_H

#include "tls/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct tls_chain;
struct tls_contexts;
struct tls_peer;
struct tls_server;
struct tls_session;

enum channel_outcome {
	CHANNEL_DONE,
	CHANNEL_WANTS_READ,  /* again when the socket is readable ... */
	CHANNEL_WANTS_WRITE, /* ... or writable, whichever way the call itself goes */
	CHANNEL_EOF,         /* reading: FIN in clear, close_notify in TLS */
	CHANNEL_FAILED,      /* for good; channel->error says why */
};

struct channel {
	int fd;                  /* -1: none */
	bool is_drained;         /* the last read took all there was; another would find nothing */
	struct tls_session *tls; /* NULL: in clear */
	char *error;             /* NULL: fine */
};

/* Takes every TLS record whole: no decrypted octet ever waits inside of OpenSSL, though further
 * records may. */
enum { CHANNEL_READ_SIZE = 16384 };

void channel_init(struct channel *channel, int fd);
void channel_close(struct channel *channel); /* closes the socket; what TLS knew stays until ... */
void channel_release(struct channel *channel); /* ... here */

/* Notes a failure: an errno in words ("connection refused"). */
void channel_note_errno(struct channel *channel, int error);

/*
 * Readies TLS as client; the rule is copied. peer NULL: no session is resumed or kept. Octets that
 * came in clear and were not consumed: refused, they would be taken for something the peer said
 * under TLS (R-TLSSEC-01). false: failed.
 */
bool channel_start_tls(struct channel *channel, struct tls_contexts *contexts,
    const struct tls_rule *rule, const struct tls_peer *peer, size_t unconsumed);
/* The same as server, which asks nothing of the client. */
bool channel_accept_tls(struct channel *channel, struct tls_server *server, size_t unconsumed);
enum channel_outcome channel_handshake(struct channel *channel); /* CHANNEL_DONE: the rule is met */
const struct tls_proof *channel_proof(const struct channel *channel); /* NULL: no TLS was started */
/* A kept session was offered to the server: what failed then may be a matter of that session. */
bool channel_offered_session(const struct channel *channel);

/* Octets wait inside of OpenSSL, so that the socket need not become readable for more of them. */
bool channel_has_pending(const struct channel *channel);

/* The certificates of a completed handshake; nothing before it. Where sessions are kept (peer), the
 * server's own alone: resuming_pass(). chain holds nothing yet. */
void channel_chain(const struct channel *channel, struct tls_chain *chain);

enum channel_outcome channel_read(struct channel *channel, void *data, size_t size, size_t *len);
/*
 * Takes *len octets of the pieces over, whatever the outcome. Under TLS some of them may be kept,
 * encrypted, until the socket takes them: CHANNEL_WANTS_WRITE then, and each further call, which
 * may bring nothing new, sends them first. In clear CHANNEL_DONE needs at least one octet to write.
 */
enum channel_outcome channel_write(
    struct channel *channel, const struct iovec *pieces, size_t count, size_t *len);

/* Octets that were taken over, and that the socket has not taken. */
size_t channel_unsent(const struct channel *channel);

/* The end of our side: close_notify where TLS is healthy, then FIN. */
enum channel_outcome channel_shutdown(struct channel *channel);

/* Reads from the socket, past TLS, and throws away. */
enum channel_outcome channel_discard(struct channel *channel);

#endif
