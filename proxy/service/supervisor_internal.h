/*
 * supervisor_internal.h - the supervisor's state, shared by supervisor.c (start, signals, end),
 * supervisor_privileges.c, reload.c and upgrade.c.
 */
#ifndef PROXY_SERVICE_SUPERVISOR_INTERNAL_H
#define PROXY_SERVICE_SUPERVISOR_INTERNAL_H

#include "proxy/service/crew.h"
#include "proxy/service/health.h"
#include "proxy/service/sockets.h"

#include <ev.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct admin;
struct command_line;

enum watched { WATCH_TERM, WATCH_INT, WATCH_HUP, WATCH_USR2, WATCH_CHLD, WATCHED };

/* Workers that were told to end. */
struct leaving {
	struct crew *crew;
	struct leaving *prev, *next;
};

/* The newer program's test of the settings (upgrade.h). */
struct trial {
	pid_t pid; /* 0: none */
	ev_io output;
	ev_timer patience;
	char words[4096];
	size_t len;
};

struct supervisor {
	struct command_line *line;
	struct ev_loop *loop;
	struct shared *shared;
	struct sockets *sockets;
	struct admin *admin, *next_admin; /* next: of a reload, NULL where it stays */
	struct health health;
	struct crew_home home;
	struct crew *current; /* NULL until the first has begun to serve; after an upgrade, until
				 then the workers of the program before, whose settings are not
				 known */
	struct crew *next;    /* being started */
	struct leaving *leaving;
	int bell; /* an eventfd: a worker has changed its state */
	ev_io on_bell;
	ev_signal signals[WATCHED];
	ev_timer watchdog;
	char program[PATH_MAX]; /* this one, on disk */
	struct trial trial;
	bool is_asked_again; /* for a reload, while one is under way */
	bool is_stopping;
	int code;
};

/* Tells all of it a signal of worker.h; freed when everybody is gone. */
void supervisor_let_go(struct supervisor *supervisor, struct crew *crew, int signal);

/* Closes what is not listened on any more, as soon as nobody accepts there. */
void supervisor_trim_sockets(struct supervisor *supervisor);

/* Certificates (handed over), sockets, and then privileges are dropped. An exit code; unless EX_OK,
 * *error (malloc'd). */
int supervisor_take_privileges(struct supervisor *supervisor, struct conf *conf,
    struct certificates **certificates, char **error);

/* In the state directory; an upgraded program finds the one of the program before. */
void supervisor_keep_secret(const struct supervisor *supervisor, const struct conf *conf);

/* Whether connections can leave as conf needs it. false: *error (malloc'd). */
bool supervisor_may_mark(const struct conf *conf, char **error);

#endif
