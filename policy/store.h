/*
 * store.h - MTA-STS policies that outlive restarts: SQLite under state_dir (R-STS-22). The only
 * user of SQLite in policy/.
 *
 * Nothing here decides: mtasts.c serves decisions from memory and hands changes over. Writes are
 * queued, merged per domain, and made in short transactions behind the mail (a timer; busy_timeout
 * 0, a busy or failing write is tried again later), in the process that owns the store; a slow disk
 * must not hold the loop: writing happens in a child process or an equivalent that cannot block the
 * loop. Several processes may share the file. Owner: main.
 */
#ifndef POLICY_STORE_H
#define POLICY_STORE_H

#include "policy/sts_policy.h"

#include <stdbool.h>
#include <time.h>

struct conf;
struct ev_loop;
struct store;

/* One domain's policy as it is cached; wall-clock times (R-STS-23). */
struct sts_entry {
	char domain[DOMAIN_SIZE];
	char id[STS_ID_SIZE]; /* of the TXT record at the last successful fetch */
	struct sts_policy policy;
	time_t fetched; /* last successful fetch */
	time_t expires; /* fetched + max_age */
	time_t used;    /* last time mail asked for it; to the day */
};

/*
 * For state_dir/mta-sts.sqlite. Forks the writer: after privileges were dropped, before the
 * resolver exists. Never NULL: what goes wrong with the file, then or later, is logged at error (an
 * alarm), once for each change of state; a damaged file is set aside, what can be read copied into
 * a new one, and with a disk that cannot be written mail goes on from memory.
 */
struct store *store_open(struct ev_loop *loop, const struct conf *conf);

/*
 * The same for a command that only looks: what can be read is read, nothing is written, forked or
 * repaired, and what cannot be read is no matter.
 */
struct store *store_open_reader(struct ev_loop *loop, const struct conf *conf);
void store_close(struct store **store); /* writes what waits, blocks for at most 2 s */

/*
 * Every sound entry, once, at start, least recently used first; blocks. Makes the file where there
 * is none. A damaged row (checksum) is reported, deleted and left out.
 */
typedef void store_entry_fn(const struct sts_entry *entry, void *arg);
void store_load(struct store *store, store_entry_fn *each, void *arg);

/* Queued; copied. */
void store_put(struct store *store, const struct sts_entry *entry);
void store_delete(struct store *store, const char *domain);

const char *store_library_version(void); /* of SQLite, at run time: "3.40.1" */

#endif
