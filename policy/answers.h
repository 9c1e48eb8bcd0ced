/*
 * answers.h - what policy does with any DNS answer: keep it, and say why it failed.
 */
#ifndef POLICY_ANSWERS_H
#define POLICY_ANSWERS_H

#include "dnsval/answer.h"
#include "policy/reason.h"

/*
 * A copy of a borrowed answer, in one block: free() releases it. A route's decision rests on a
 * snapshot of its answers, which no refresh of the cache can alter (R-DANE-30). Addresses, CNAME
 * and TLSA only.
 */
struct dns_answer *answer_keep(const struct dns_answer *answer);

/*
 * The refusal that a failed answer means: busy, dns-bogus or dns-failed. All three are temporary.
 */
void answer_refusal(const struct dns_answer *answer, struct refusal *refusal);

#endif
