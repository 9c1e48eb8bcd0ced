/*
 * decide.h - what a host must prove, from its destination's settings and its DANE decision. Pure.
 *
 * Precedence lives here alone: the configured level, then DANE, then MTA-STS, then the fallback.
 */
#ifndef POLICY_DECIDE_H
#define POLICY_DECIDE_H

#include "policy/dane.h"
#include "policy/mtasts.h"
#include "policy/policy.h"

/*
 * Whether the MTA-STS policy of the destination has a say: at level dane, unless this host
 * authenticates itself by DANE, or cannot be used at all (R-STS-31, -32).
 */
bool route_needs_sts(const struct destination *destination, const struct dane_decision *dane);

/*
 * Fills verdict, refusal, rule, policy_label, secures_domain, may_report_only, tlsa_base and what
 * MTA-STS adds to a cleared route whose host and port are set. The records move from the decision
 * into the route's rule. sts: the answer where route_needs_sts() says so, else NULL.
 */
void route_decide(const struct destination *destination, struct dane_decision *dane,
    const struct sts_answer *sts, struct route *route);

#endif
