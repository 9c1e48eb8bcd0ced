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

struct admin;
struct conf;
struct ev_loop;
struct health;

/* Binds [admin] listen, before privileges are dropped; nothing is answered yet. NULL: *error
 * (malloc'd) says why. Where there is nothing to listen on, it does nothing from here on. */
struct admin *admin_bind(const struct conf *conf, char **error);

/* health must outlive it. false: *error. */
bool admin_start(
    struct admin *admin, struct ev_loop *loop, const struct health *health, char **error);

bool admin_is_bound_to(const struct admin *admin, const struct conf *conf);

const char *admin_library_version(void); /* of libmicrohttpd, at run time: "0.9.75" */

void admin_free(struct admin **admin); /* NULL inside is welcome */

#endif
