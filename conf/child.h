/*
 * child.h - a process of ours without exec, for what may wait for a disk: the loop talks to it over
 * one stream socket, and it ends when that closes.
 *
 * It holds nothing of its parent's but standard error, where a failed allocation says its last
 * words, and what it is given here; its sandbox lets it use files alone (sandbox.h). Orders to stop
 * go to the parent; a child does first what it was asked for.
 */
#ifndef CONF_CHILD_H
#define CONF_CHILD_H

#include <sys/types.h>

enum { CHILD_SOCKET = 3, CHILD_KEPT = 4 }; /* the child's descriptors */

typedef void child_fn(const char *path);

/*
 * Forks; run(path) is the child's life, and path a file or a directory: of all files it may use
 * those that lie in the same directory, or below. name: as ps shows it, at most 15 octets. keep: a
 * descriptor that is to stay open in the child, too, or -1. *fd: the parent's end, non-blocking.
 * -1: errno.
 */
pid_t child_start(const char *name, child_fn *run, const char *path, int keep, int *fd);

enum { CHILD_END = 256 };

/* How a process ended, in words; status: from waitpid(). Returns out. */
const char *child_end(int status, char out[CHILD_END]);

/* Some time after its socket closed. The log tells its end unless that was an orderly one. *child
 * is 0 then; one that a disk still holds ends by itself later. */
void child_bury(pid_t *child, const char *name);

#endif
