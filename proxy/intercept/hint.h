/*
 * hint.h - whom the client dialled, against whom its mail should go to: a stale or spoofed resolver
 * behind the client shows here (R-NET-09).
 *
 * A mismatch is an address of no MX host of the domain. It is logged and counted; where the
 * listener is strict the mail waits for the verdict, and is deferred.
 */
#ifndef PROXY_HINT_H
#define PROXY_HINT_H

#include "policy/policy.h"

#include <stdbool.h>

struct hint_check;
struct interception;
struct proxy;

/* Whether there is anything to compare: an operator's next hop leaves clients nothing to know. */
bool hint_applies(const struct interception *interception, const struct destination *destination);

/* refusal NULL: nothing against it. */
typedef void hint_fn(const struct refusal *refusal, void *arg);

/* Exactly one callback, on a later turn. Only session must outlive it. */
struct hint_check *hint_check_start(struct proxy *proxy, const char *session,
    const struct interception *interception, const struct destination *destination,
    hint_fn *callback, void *arg);
void hint_check_cancel(struct hint_check **check);

/* The same for the log alone: nobody waits, and nothing needs to outlive it. */
void hint_watch(struct proxy *proxy, const char *session, const struct interception *interception,
    const struct destination *destination);
/* At the program's end. */
void hint_watch_end(struct proxy *proxy);

#endif
