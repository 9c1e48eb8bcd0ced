/*
 * listener.h - accepts clients of one [listener] section, and keeps its sessions.
 *
 * Its sockets were bound elsewhere (service/sockets.h): nothing is accepted before everything else
 * stands. Owner: the worker.
 */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include "conf/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct conf_listener;
struct listener;
struct proxy;
struct session;
struct tls_server;

struct listener *listener_new(const struct conf_listener *conf);

/* Before listener_start(). fd is bound, not blocking, and handed over. */
void listener_add_socket(struct listener *listener, int fd, const struct addr *address);

/* From here on clients are served. false: *error (malloc'd). */
bool listener_start(struct listener *listener, struct proxy *proxy, char **error);

/* No more clients. */
void listener_stop(struct listener *listener);
/* Sessions that are between messages get 421 (shutdown). */
void listener_shut_down(struct listener *listener);
/* Ends the sessions that are left, at once. */
void listener_cut(struct listener *listener);
void listener_free(struct listener **listener);

/* Those that have not ended. */
size_t listener_sessions(const struct listener *listener);
/* Clients may begin TLS with this certificate, which outlives the listener. */
void listener_offer_tls(struct listener *listener, struct tls_server *server);

/* ---- for sessions ---- */

struct tls_server *listener_tls(const struct listener *listener); /* NULL: not offered */

/* The session has ended. Its descriptor may be held until its last reply has left; the seat that it
 * takes of max_sessions is free after that. */
void listener_forget(struct listener *listener, struct session *session);
void listener_free_seat(struct listener *listener, const struct addr *client);
bool listener_is_crowded(
    const struct listener *listener); /* three quarters of max_sessions are in use */

#endif
