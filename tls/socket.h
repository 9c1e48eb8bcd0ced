/*
 * socket.h - what the kernel is asked about a TCP socket before and beside its octets: connecting,
 * options, addresses. Used by stream.c alone.
 */
#ifndef TLS_SOCKET_H
#define TLS_SOCKET_H

#include "conf/addr.h"

#include <stdbool.h>

/*
 * A non-blocking socket on its way to an address; source NULL: any. It is writable when it is
 * decided and then socket_error() tells how. -1: *error, an errno.
 */
int socket_connect(const struct addr *to, const struct addr *source, int *error);

/* Non-blocking, close-on-exec, and small writes leave at once. */
void socket_prepare(int fd);

int socket_error(int fd); /* an errno; 0: none */

/* The connection is reset, or gone in both directions; nothing is read. */
bool socket_is_broken(int fd);

/* false, and *a untouched: not connected, or another family. */
bool socket_local(int fd, struct addr *a);

#endif
