/*
 * store_writer.h - the process that writes the policy store, so that no disk can hold the loop.
 *
 * Parent and writer talk over one stream socket: a head and a batch of rows down, one report up,
 * never two batches at a time. The writer ends when the socket closes. Used by store.c alone.
 */
#ifndef POLICY_STORE_WRITER_H
#define POLICY_STORE_WRITER_H

#include "policy/store_db.h"

#include <sys/types.h>

struct store_batch_head {
	uint64_t size; /* octets of rows that follow */
};

struct store_report {
	enum store_result result;
	bool has_repaired; /* as `repair` says: for the operator, whatever the result is */
	char why[STORE_WHY];
	char repair[STORE_WHY];
};

enum { STORE_BATCH_MAX = 256 * 1024 }; /* octets; one row is always smaller */

/* Forks. The parent's end is non-blocking. -1: errno. */
pid_t store_writer_start(const char *path, int *fd);

#endif
