/*
 * decisions.h - what was decided for a domain, kept until the first answer that it rests on expires
 * (R-DNS-40).
 *
 * A decision rests on four to six answers of DNS; composing it for each message costs more than
 * passing the message on. Kept are destinations with hosts and routes that may be dialled, never a
 * refusal. Who finds one gets it as if it had been looked up: a destination as a copy, a route as
 * the one that all have. Bounded: the one that was not used for longest makes room. Pure but for
 * the steady clock. Owner: policy.
 */
#ifndef POLICY_DECISIONS_H
#define POLICY_DECISIONS_H

#include "policy/policy.h"

#include <stddef.h>

enum { DECISIONS_MAX = 4096 };

struct decisions;

struct decisions *decisions_new(void);
void decisions_free(struct decisions **decisions); /* NULL inside is welcome */

/* What is known of DNS, or of ourselves, has changed. */
void decisions_forget(struct decisions *decisions);

/*
 * until: of the steady clock, when the MX answer may no longer be used; 0: nothing is kept. Sets
 * destination->decision, by which its routes belong to it.
 */
void decisions_keep_destination(
    struct decisions *decisions, struct destination *destination, double until);

/* A copy, the caller's; conf and exception must be what applies to the domain now. NULL: none. */
struct destination *decisions_find_destination(struct decisions *decisions, const char *domain,
    const struct conf_policy *conf, const struct conf_domain *exception);

/* One host of a destination that was kept or found. until: as above, of the first of its answers.
 * A route that may be dialled is shared from now on, and must not be changed any more. */
void decisions_keep_route(struct decisions *decisions, const struct destination *destination,
    struct route *route, double until);

/* The caller's, too: route_free(). NULL: none. */
const struct route *decisions_find_route(
    struct decisions *decisions, const struct destination *destination, size_t index);

#endif
