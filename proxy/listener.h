/*
 * listener.h - accepts clients of one [listener] section, and keeps its sessions.
 *
 * Binding and listening are two steps: ports below 1024 are bound before privileges are dropped,
 * nothing is accepted before everything else stands. Owner: main.
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

/* Binds all its addresses. NULL: *error (malloc'd) says which and why. proxy is filled in later,
 * before listener_start(). */
struct listener *listener_bind(const struct conf_listener *conf, char **error);

/* From here on clients are served. false: *error. */
bool listener_start(struct listener *listener, struct proxy *proxy, char **error);

/* No more clients; those that are between messages get 421 (shutdown). */
void listener_stop(struct listener *listener);
/* Ends the sessions that are left, at once. */
void listener_cut(struct listener *listener);
void listener_free(struct listener **listener);

/* Those that have not ended. */
size_t listener_sessions(const struct listener *listener);
/* The addresses in use, with real ports; count as many as conf names and this host has. */
const struct addr *listener_addresses(const struct listener *listener, size_t *count);

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
