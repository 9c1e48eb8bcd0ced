/*
 * machine.h - the long-lived objects that find, decide and reach next hops, built in one place.
 *
 * serve puts listeners before it; check and explain ask it what mail would get, so that what they
 * show is what the same code does. Order matters: the policy store and the spool fork, the resolver
 * comes after any change of process or user. Owner: the command.
 */
#ifndef PROXY_MACHINE_H
#define PROXY_MACHINE_H

#include "proxy/proxy.h"

#include <stdbool.h>

struct conf;
struct fetcher;
struct mtasts;
struct probe;
struct resolver;
struct store;

enum machine_use {
	MACHINE_SERVES,
	MACHINE_LOOKS, /* for a command that anybody may run: nothing is written or kept up */
};

struct machine {
	enum machine_use use; /* set before machine_open() */
	struct proxy proxy;   /* shared and seat likewise, by a worker */
	bool is_alone;        /* shared is our own */
	struct conf *conf;    /* owned */
	struct store *store;
	struct resolver *resolver;
	struct probe *probe;
	bool dns_was_broken;
	struct fetcher *fetcher;
	struct mtasts *mtasts;
};

/* conf is handed over, also on failure. Returns an exit code of sysexits.h; what went wrong was
 * told on stderr. */
int machine_open(struct machine *machine, struct ev_loop *loop, struct conf *conf);

/* What was opened, also after a failure; ends the loop. */
void machine_close(struct machine *machine);

/* "danelaw: WHAT ERROR" on stderr; *error is freed. Always false. */
bool machine_complain(const char *what, char **error);

#endif
