/*
 * admin.h - what machines ask over HTTP: /metrics, /healthz, /readyz (interface sections 2 and 5).
 *
 * The only user of libmicrohttpd, on the loop, without a thread. It answers GET and HEAD, keeps no
 * connection, and bounds them in number, time and memory. It runs in the supervisor, which has no
 * mail. Owner: the supervisor.
 */
#ifndef PROXY_ADMIN_H
#define PROXY_ADMIN_H

#include <stdbool.h>

struct addr;
struct admin;
struct conf;
struct ev_loop;
struct health;
struct sockets;

/* Binds [admin] listen, before privileges are dropped, or takes the sockets that were given for it;
 * nothing is answered yet. NULL: *error (malloc'd) says why. Where there is nothing to listen on,
 * it does nothing from here on. */
struct admin *admin_bind(const struct conf *conf, struct sockets *given, char **error);

/* health must outlive it. false: *error. */
bool admin_start(
    struct admin *admin, struct ev_loop *loop, const struct health *health, char **error);

bool admin_is_bound_to(const struct admin *admin, const struct conf *conf);

/* The sockets that it listens on. */
void admin_each_socket(const struct admin *admin,
    void (*each)(int fd, const struct addr *address, void *arg), void *arg);

const char *admin_library_version(void); /* of libmicrohttpd, at run time: "0.9.75" */

void admin_free(struct admin **admin); /* NULL inside is welcome */

#endif
