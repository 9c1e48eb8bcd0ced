/*
 * internal.h - what the files of policy/ share about struct policy; nobody else includes it.
 */
#ifndef POLICY_INTERNAL_H
#define POLICY_INTERNAL_H

#include "policy/policy.h"

struct decisions;

struct policy {
	struct ev_loop *loop;
	const struct conf *conf;
	struct resolver *resolver;
	struct probe *probe;
	struct mtasts *mtasts;
	size_t own_count; /* where our listeners accept */
	struct addr *own;
	struct decisions *decisions; /* NULL: none are kept */
	unsigned dns_generation;     /* of the resolver when they were made */
};

/* Those that may be used, and added to, now; NULL: none are kept. */
struct decisions *policy_decisions(struct policy *policy);

/*
 * A level at which TLSA decides, and at which an unproven resolver therefore may not speak
 * (R-DNS-37).
 */
static inline bool level_asks_tlsa(enum level level)
{
	return level == LEVEL_DANE || level == LEVEL_DANE_ONLY;
}

/* The verdict that goes with a reason: the client tries again after 4xx, bounces at 5xx. */
static inline enum verdict verdict_of(enum reason reason)
{
	return reason_reply(reason) >= 500 ? POLICY_REFUSE : POLICY_DEFER;
}

#endif
