/*
 * sandbox.h - what a process of ours may still do, for good: system calls (seccomp, any other one
 * kills), files and TCP ports (Landlock, where the kernel has it; any other one is refused).
 *
 * Whoever takes over a process by way of a message, a DNS answer or a certificate finds no program
 * to start, no file but those that serving needs, and no way to listen (R-NET-14, D8). Entered when
 * everything that needs more is done: ports bound and listening, the user changed, certificates
 * read. Children inherit it and may enter a smaller one.
 */
#ifndef CONF_SANDBOX_H
#define CONF_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

struct sandbox;

enum sandbox_role {
	SANDBOX_SUPERVISOR, /* what no program may do: it starts another one at an upgrade; no
			       Landlock */
	SANDBOX_WORKER,     /* mail and DNS; begins children of the other two */
	SANDBOX_LOOKUP,     /* DNS questions and files */
	SANDBOX_DISK,       /* files, and the socket that it was given */
};

/* One process, one owner; ends with sandbox_enter(). */
struct sandbox *sandbox_new(enum sandbox_role role);

/* A file or a directory with all below it. What does not exist cannot be let in later. */
void sandbox_let_read(struct sandbox *sandbox, const char *path);

/* A file that may be replaced while we run, hence its directory: rules are about files, not names.
 */
void sandbox_let_read_anew(struct sandbox *sandbox, const char *path);

/* A directory with all below it; also what is mounted on it later, if something is mounted now. */
void sandbox_let_write(struct sandbox *sandbox, const char *directory);

void sandbox_let_connect(struct sandbox *sandbox, uint16_t port); /* TCP */
void sandbox_let_bind_any_port(struct sandbox *sandbox); /* TCP, a port of the kernel's choice */

/* false: *error (malloc'd), and the process must not go on. *sandbox is freed in any case. */
bool sandbox_enter(struct sandbox **sandbox, char **error);

/* What a start tells about it: one line. */
void sandbox_log(void);
const char *sandbox_library_version(void);

#endif
