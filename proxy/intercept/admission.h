/*
 * admission.h - from an accepted socket to a client that may have a session, or to a line that says
 * why not (R-NET-02, -03, -05, -06, -12).
 *
 * In order: is it ourselves; whom does a load balancer speak for; may that client send mail here;
 * whom did it dial. Owner: listener.
 */
#ifndef PROXY_ADMISSION_H
#define PROXY_ADMISSION_H

#include "conf/addr.h"
#include "conf/conf.h"
#include "policy/reason.h"
#include "proxy/intercept/intercept.h"

#include <stddef.h>

struct admission;
struct proxy;

/* The socket is handed over. */
typedef void admission_fn(
    int fd, const struct addr *client, const struct interception *interception, void *arg);

struct admission *admission_new(
    struct proxy *proxy, const struct conf_listener *conf, admission_fn *admit, void *arg);
/* Whoever has not introduced itself by then is closed. NULL inside is welcome. */
void admission_free(struct admission **admission);

/* Takes the non-blocking socket over. May admit at once. */
void admission_accept(struct admission *admission, int fd, const struct addr *peer);

/* The log has the reason, unless it has many of late; the client has one line, and the end. */
void admission_refuse(struct admission *admission, int fd, const struct addr *client,
    enum reason reason, const char *why, const char *words);
void admission_turn_away(int fd, enum reason reason, const char *words);

#endif
