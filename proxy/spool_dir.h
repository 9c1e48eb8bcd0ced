/*
 * spool_dir.h - the directory of the spool, state_dir/spool: a file for each message, named after
 * its id; `damaged`, for what was set aside; `lock`, held by who works the spool off.
 *
 * Used by spool*.c and by `danelaw queue show`.
 */
#ifndef PROXY_SPOOL_DIR_H
#define PROXY_SPOOL_DIR_H

#include "proxy/spool.h"

/* "STATE_DIR/spool"; free() releases. */
char *spool_dir_path(const struct conf *conf);

/* A message's body: a descriptor at its first octet. -1: why. */
int spool_dir_open_body(
    const char *directory, const struct spool_message *message, char why[SPOOL_WHY]);

#endif
