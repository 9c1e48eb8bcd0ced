/*
 * introduction.h - an accepted connection of a load balancer, until its PROXY header has said whose
 * it is (R-NET-12).
 *
 * A request: five seconds, then it is over. Nothing behind the header is taken from the socket.
 * Owner: listener.
 */
#ifndef PROXY_INTRODUCTION_H
#define PROXY_INTRODUCTION_H

#include "conf/addr.h"

struct ev_loop;
struct introduction;

/*
 * The socket is handed over. client: whom the header names, or the balancer itself where it speaks
 * for itself; NULL: no good header came, as `why` says in words.
 */
typedef void introduction_fn(struct introduction *introduction, int fd, const struct addr *client,
    const char *why, void *arg);

/* Takes the non-blocking socket over. */
struct introduction *introduction_start(struct ev_loop *loop, int fd, const struct addr *balancer,
    introduction_fn *callback, void *arg);
void introduction_cancel(struct introduction **introduction); /* closes the socket */

const struct addr *introduction_balancer(const struct introduction *introduction);

#endif
