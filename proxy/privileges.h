/*
 * privileges.h - what the process may do: descriptors, user, state directory.
 */
#ifndef PROXY_PRIVILEGES_H
#define PROXY_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>

struct conf;

/* Raises RLIMIT_NOFILE to the hard limit. Returns how many sessions fit: two descriptors each, some
 * for the rest, and for further next hops. */
size_t privileges_raise_descriptors(void);

/* How many next hops all messages together may have beyond their first: a share of the descriptors
 * that leaves the sessions theirs. */
size_t privileges_further_next_hops(void);

/*
 * Root only: makes state_dir and hands it over, becomes [server] user (default danelaw if it
 * exists, else nobody with a warning), for good. Others: makes state_dir where they may. false:
 * *error (malloc'd).
 */
bool privileges_drop(const struct conf *conf, char **error);

/* Before this process becomes another program: what it was left stays its own. */
void privileges_keep_over_exec(const struct conf *conf);
/* It has not: no other program inherits anything. */
void privileges_keep_no_more(const struct conf *conf);

#endif
