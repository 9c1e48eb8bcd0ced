/*
 * landlock.h - files and TCP ports that this process may use, where the kernel has Landlock (Linux
 * 5.13; ports from 6.7). Used by sandbox.c alone.
 *
 * What no rule allows is refused with EACCES, as if the user had no right to it.
 */
#ifndef CONF_LANDLOCK_H
#define CONF_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum landlock_use { LANDLOCK_READ, LANDLOCK_WRITE };

struct landlock {
	int version; /* of the kernel's interface; 0: there is none, and all else does nothing */
	int ruleset;
	int error; /* errno of the first rule that the kernel did not take, or 0 */
};

int landlock_version(void); /* as in struct landlock */

void landlock_open(struct landlock *landlock);

/* A file, or a directory and all below it. What is not there needs no rule. */
void landlock_allow_path(struct landlock *landlock, const char *path, enum landlock_use use);

/* TCP. Port 0 for bind: one of the kernel's choice. */
void landlock_allow_connect(struct landlock *landlock, uint16_t port);
void landlock_allow_bind(struct landlock *landlock, uint16_t port);

/* From here on, for this thread and all children. Needs no_new_privs. false: errno. The ruleset is
 * closed in any case. */
bool landlock_restrict(struct landlock *landlock);
void landlock_close(struct landlock *landlock);

#endif
