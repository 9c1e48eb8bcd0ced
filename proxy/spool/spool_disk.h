/*
 * spool_disk.h - the disk process: everything of the spool that may wait for a disk, so that no
 * disk can hold the loop. A child without exec, named danelaw-spool, that ends when its socket
 * closes.
 *
 * Used by spool*.c alone.
 */
#ifndef PROXY_SPOOL_DISK_H
#define PROXY_SPOOL_DISK_H

#include <sys/types.h>

/*
 * Forks. lock: a descriptor of the lock file, shared with the child, so that the lock is held until
 * both have ended. *fd: the parent's end, non-blocking. -1: errno.
 */
pid_t spool_disk_start(const char *directory, int lock, int *fd);

#endif
