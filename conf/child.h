/*
 * child.h - a process of ours without exec, for what may wait for a disk: the loop talks to it over
 * one stream socket, and it ends when that closes.
 *
 * It holds nothing of its parent's but standard error, where a failed allocation says its last
 * words, and what it is given here. Orders to stop go to the parent; a child does first what it was
 * asked for.
 */
#ifndef CONF_CHILD_H
#define CONF_CHILD_H

#include <sys/types.h>

enum { CHILD_SOCKET = 3, CHILD_KEPT = 4 }; /* the child's descriptors */

typedef void child_fn(const char *path);

/*
 * Forks; run(path) is the child's life. name: as ps shows it, at most 15 octets. keep: a descriptor
 * that is to stay open in the child, too, or -1. *fd: the parent's end, non-blocking. -1: errno.
 */
pid_t child_start(const char *name, child_fn *run, const char *path, int keep, int *fd);

#endif
