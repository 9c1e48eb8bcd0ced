/*
 * worker_sandbox.h - the sandbox of the process that serves mail, from its configuration.
 */
#ifndef PROXY_WORKER_SANDBOX_H
#define PROXY_WORKER_SANDBOX_H

#include <stdbool.h>

struct conf;

/* Once everything is open and listening, before the first client. false: *error (malloc'd), and the
 * process must end. */
bool worker_sandbox_enter(const struct conf *conf, char **error);

#endif
