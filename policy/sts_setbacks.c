/*
 * sts_setbacks.c - see sts_setbacks.h. Called by mtasts.c alone.
 */
#include "policy/sts_setbacks.h"

#include "conf/mem.h"
#include "policy/sts_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The default function falls through between cases, which clang does not let pass. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

struct setback {
	UT_hash_handle hh;
	char domain[DOMAIN_SIZE];
	char id[STS_ID_SIZE];
	unsigned failures;
	double until;
	struct refusal why;
};

struct sts_setbacks {
	struct setback *all; /* by domain, oldest first */
};

double sts_pause(unsigned failures)
{
	double pause = STS_PAUSE_LEAST;

	while (--failures > 0 && pause < STS_PAUSE_MOST)
		pause *= 2;
	return pause < STS_PAUSE_MOST ? pause : STS_PAUSE_MOST;
}

static struct setback *find(struct sts_setbacks *setbacks, const char *domain)
{
	struct setback *setback;

	HASH_FIND_STR(setbacks->all, domain, setback);
	return setback;
}

static void drop(struct sts_setbacks *setbacks, struct setback *setback)
{
	HASH_DEL(setbacks->all, setback);
	free(setback);
}

void sts_setbacks_add(struct sts_setbacks *setbacks, const char *domain, const char *id,
    const struct refusal *why, double now)
{
	struct setback *old = find(setbacks, domain);
	struct setback *fresh = mem_zero(1, sizeof *fresh);

	fresh->failures = old && strcmp(old->id, id) == 0 ? old->failures + 1 : 1;
	fresh->until = now + sts_pause(fresh->failures);
	fresh->why = *why;
	snprintf(fresh->domain, sizeof fresh->domain, "%s", domain);
	snprintf(fresh->id, sizeof fresh->id, "%s", id);
	if (old)
		drop(setbacks, old);
	else if (HASH_COUNT(setbacks->all) >= STS_SETBACKS_MAX)
		drop(setbacks, setbacks->all);
	HASH_ADD_STR(setbacks->all, domain, fresh);
}

void sts_setbacks_forget(struct sts_setbacks *setbacks, const char *domain)
{
	struct setback *setback = find(setbacks, domain);

	if (setback)
		drop(setbacks, setback);
}

const struct refusal *sts_setbacks_find(
    struct sts_setbacks *setbacks, const char *domain, const char *id, double now)
{
	const struct setback *setback = find(setbacks, domain);

	return setback && strcmp(setback->id, id) == 0 && now < setback->until ? &setback->why
									       : NULL;
}

struct sts_setbacks *sts_setbacks_new(void) { return mem_zero(1, sizeof(struct sts_setbacks)); }

void sts_setbacks_free(struct sts_setbacks **setbacks)
{
	struct setback *setback, *next;

	if (!*setbacks)
		return;
	HASH_ITER(hh, (*setbacks)->all, setback, next) { drop(*setbacks, setback); }
	free(*setbacks);
	*setbacks = NULL;
}
