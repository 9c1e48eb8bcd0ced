/*
 * socket.h - what the kernel is asked about a TCP socket before and beside its octets: connecting,
 * binding, options, addresses. What connects is stream.c's alone.
 */
#ifndef TLS_SOCKET_H
#define TLS_SOCKET_H

#include "conf/addr.h"

#include <stdbool.h>
#include <stdint.h>

/* How a connection leaves. Zeroed: like any other. */
struct socket_origin {
	const struct addr *source; /* NULL: any; one that is not this host's needs CAP_NET_RAW */
	uint32_t mark;             /* SO_MARK, which needs CAP_NET_RAW and Linux 5.17; 0: none */
};

/* Whether this kernel and our privileges let SO_MARK be set. false: errno. */
bool socket_may_mark(uint32_t mark);

/*
 * A non-blocking socket on its way to an address; origin NULL: zeroed. It is writable when it is
 * decided and then socket_error() tells how. -1: *error, an errno.
 */
int socket_connect(const struct addr *to, const struct socket_origin *origin, int *error);

/*
 * A non-blocking socket for listening on an address and port; IPv6 leaves IPv4 to others.
 * Transparent: connections to any address may arrive there, which needs CAP_NET_RAW. Shared:
 * further sockets may have the same address and port. -1: errno.
 */
int socket_bind(const struct addr *address, bool is_transparent, bool is_shared);

/* Non-blocking, close-on-exec, and small writes leave at once. */
void socket_prepare(int fd);

int socket_error(int fd); /* an errno; 0: none */

/* The connection is reset, or gone in both directions; nothing is read. */
bool socket_is_broken(int fd);

/* Octets written that the peer's kernel has not acknowledged; our FIN counts as one. */
int socket_unacknowledged(int fd);

/* false, and *a untouched: not connected, or another family. */
bool socket_local(int fd, struct addr *a);

#endif
