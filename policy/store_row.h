/*
 * store_row.h - one change of the policy store as one block of memory: what waits in the queue,
 * what goes through the pipe to the writer, and what becomes a row of the table.
 *
 * Both ends of the pipe are the same program, one forked from the other, so the block is its own
 * encoding. Used by store*.c alone.
 */
#ifndef POLICY_STORE_ROW_H
#define POLICY_STORE_ROW_H

#include "policy/store.h"

#include <stdint.h>

struct store_row {
	uint32_t size; /* of the block, a multiple of 8 so that rows can follow each other */
	bool is_delete;
	enum sts_mode mode;
	uint32_t max_age;
	time_t fetched, expires, used;
	char domain[DOMAIN_SIZE];
	char id[STS_ID_SIZE];
	char mx[]; /* the patterns with a blank between them, and NUL */
};

/* free() releases. */
struct store_row *store_row_new(const struct sts_entry *entry);
struct store_row *store_row_delete(const char *domain);

/* The entry that a row stands for; its policy is the caller's to release. */
void store_row_entry(const struct store_row *row, struct sts_entry *entry);

/* Room for a row with mx text of this length. */
uint32_t store_row_size(size_t mx_len);

#endif
