/*
 * worker.h - a process that serves mail: its own loop, resolver, contexts and handles of the
 * stores, on sockets that it inherited.
 *
 * It lives until it is told to end: SIGUSR1, another one has taken its place: it accepts nobody any
 * more and lets its sessions finish; SIGTERM, the service stops: those between messages get 421,
 * too; SIGUSR2: what is left is cut. Both waits end after [timeouts] shutdown. It says how it is in
 * its seat (shared.h), and rings the supervisor's bell when that changes.
 */
#ifndef PROXY_SERVICE_WORKER_H
#define PROXY_SERVICE_WORKER_H

#include <signal.h>
#include <stdbool.h>

struct certificates;
struct conf;
struct shared;
struct sockets;

enum { WORKER_LEAVE = SIGUSR1, WORKER_STOP = SIGTERM, WORKER_CUT = SIGUSR2 };

struct worker_order {
	struct conf *conf;
	const struct certificates *certificates;
	const struct sockets *sockets;
	struct shared *shared;
	unsigned seat;
	unsigned slot, workers; /* slot 0 keeps the trust anchor up, and speaks for all */
	int bell;
	bool is_first; /* of the service: what has to be proven once is proven by it */
};

/*
 * Returns the exit code of the process, which was just forked with all signals blocked. A start
 * that fails is told by machine_complain().
 */
int worker_run(const struct worker_order *order);

#endif
