/*
 * syscalls.h - the system calls that each kind of process needs; any other one kills it (seccomp).
 * Used by sandbox.c; the only user of libseccomp.
 */
#ifndef CONF_SYSCALLS_H
#define CONF_SYSCALLS_H

#include "conf/sandbox.h"

/* From here on, for all threads and children. A second filter only adds to the first one's bans.
 * Sets no_new_privs. false: *error (malloc'd). */
bool syscalls_limit(enum sandbox_role role, char **error);

/* A sanitizer's run-time does what no filter of ours allows. */
bool syscalls_are_limited_in_this_build(void);

/* "2.5.4" */
const char *syscalls_library_version(void);

#endif
