/*
 * proof.h - who has taken which message for whom, as seen from outside of danelaw.
 *
 * A next hop's 2xx after the final dot and a commit of the spool are noted here; a client that is
 * told 2xx for its final dot must find each of its recipients.
 */
#ifndef TESTS_SESSION_PROOF_H
#define TESTS_SESSION_PROOF_H

#include "text.h"

#include <stdbool.h>
#include <stdio.h>

enum { TAKEN_MAX = 512, ADDRESS = 200 };

static struct taken {
	char address[ADDRESS];
	uint64_t sum;          /* of the message without our Received field */
	bool is_used, is_told; /* a client was told so: no proof for a second message */
} taken[TAKEN_MAX];
static size_t taken_count;

/* Bare newlines are mapped on the way: then messages are not compared. */
static bool messages_are_mapped;

static inline void note_taken(const char *address, uint64_t sum)
{
	struct taken *t = &taken[taken_count % TAKEN_MAX];

	taken_count++;
	*t = (struct taken){.sum = messages_are_mapped ? 0 : sum};
	snprintf(t->address, sizeof t->address, "%s", address);
}

static inline bool is_taken(const char *address, uint64_t sum)
{
	if (messages_are_mapped)
		sum = 0;
	for (size_t i = 0; i < taken_count && i < TAKEN_MAX; i++) {
		if (taken[i].is_told || taken[i].sum != sum)
			continue;
		if (address[0] && strcmp(taken[i].address, address) != 0)
			continue;
		taken[i].is_used = true;
		return true;
	}
	return false;
}

static inline void settle_taken(void)
{
	for (size_t i = 0; i < taken_count && i < TAKEN_MAX; i++)
		taken[i].is_told |= taken[i].is_used;
}

/* Of <...>; "" where spelling may legally differ further on. */
static inline void take_address(char out[ADDRESS], const char *line, size_t len)
{
	const char *from = memchr(line, '<', len);
	const char *to = from ? memchr(from, '>', len - (size_t)(from - line)) : NULL;
	size_t count = to ? (size_t)(to - from - 1) : ADDRESS;

	out[0] = '\0';
	if (count >= ADDRESS)
		return;
	memcpy(out, from + 1, count);
	out[count] = '\0';
	if (out[strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789.@-")])
		out[0] = '\0';
}

#endif
