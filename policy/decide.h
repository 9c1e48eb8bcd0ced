/*
 * decide.h - what a host must prove, from its destination's settings and its DANE decision. Pure.
 *
 * Precedence lives here alone: the level, then DANE, then MTA-STS, then the fallback.
 */
#ifndef POLICY_DECIDE_H
#define POLICY_DECIDE_H

#include "policy/dane.h"
#include "policy/policy.h"

/*
 * Fills verdict, refusal, rule, policy_label, secures_domain, may_report_only and tlsa_base of a
 * cleared route whose host and port are set. The records move from the decision into the route's
 * rule.
 */
void route_decide(
    const struct destination *destination, struct dane_decision *dane, struct route *route);

#endif
