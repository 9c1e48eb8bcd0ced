/*
 * sts_setbacks.h - which policies could not be fetched, and when it is worth another try
 * (R-STS-19). Bounded: what is forgotten costs one more fetch.
 */
#ifndef POLICY_STS_SETBACKS_H
#define POLICY_STS_SETBACKS_H

#include "policy/reason.h"

#include <stdbool.h>

struct sts_setbacks;

struct sts_setbacks *sts_setbacks_new(void);
void sts_setbacks_free(struct sts_setbacks **setbacks);

/*
 * Seconds of a steady clock. The same (domain, id) is let alone for 5 minutes after the first
 * failure, then twice as long each time, at most an hour. why: sts-fetch or sts-policy-invalid.
 */
void sts_setbacks_add(struct sts_setbacks *setbacks, const char *domain, const char *id,
    const struct refusal *why, double now);
void sts_setbacks_forget(struct sts_setbacks *setbacks, const char *domain);

/* Why not to try now; NULL: try. Borrowed until the next change. */
const struct refusal *sts_setbacks_find(
    struct sts_setbacks *setbacks, const char *domain, const char *id, double now);

enum { STS_SETBACKS_MAX = 10000, STS_PAUSE_LEAST = 300, STS_PAUSE_MOST = 3600 };

/* The pause after a number of failures in a row, at least 1. */
double sts_pause(unsigned failures);

#endif
