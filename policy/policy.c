/*
 * policy.c - the long-lived object behind policy.h, and the ends of what it hands over.
 *
 * The work is next door: destination.c finds the hosts, route.c resolves one of them, dane.c and
 * decide.c say what it must prove, explain.c says why it failed.
 */
#include "policy/internal.h"

#include "conf/mem.h"
#include "policy/decisions.h"
#include "policy/mtasts.h"
#include "policy/sts_question.h"

#include <assert.h>
#include <stdlib.h>

struct policy *policy_new(struct ev_loop *loop, const struct conf *conf, struct resolver *resolver,
    struct probe *probe, struct mtasts *mtasts)
{
	struct policy *policy = mem_zero(1, sizeof *policy);

	policy->loop = loop;
	policy->conf = conf;
	policy->resolver = resolver;
	policy->probe = probe;
	policy->mtasts = mtasts;
	return policy;
}

void policy_free(struct policy **policy)
{
	if (!*policy)
		return;
	decisions_free(&(*policy)->decisions);
	free((*policy)->own);
	free(*policy);
	*policy = NULL;
}

void policy_set_own(struct policy *policy, const struct addr *listeners, size_t count)
{
	free(policy->own);
	policy->own = mem_copy(listeners, count * sizeof *listeners);
	policy->own_count = count;
	if (policy->decisions)
		decisions_forget(policy->decisions);
}

void policy_keep_decisions(struct policy *policy)
{
	assert(!policy->decisions);
	policy->decisions = decisions_new();
	policy->dns_generation = resolver_generation(policy->resolver);
}

/* With other trust anchors, or after an outage, nothing that was heard before counts. */
struct decisions *policy_decisions(struct policy *policy)
{
	unsigned generation;

	if (!policy->decisions)
		return NULL;
	generation = resolver_generation(policy->resolver);
	if (generation != policy->dns_generation)
		decisions_forget(policy->decisions);
	policy->dns_generation = generation;
	return policy->decisions;
}

void destination_free(struct destination **destination)
{
	if (!*destination)
		return;
	sts_question_free(&(*destination)->sts);
	free(*destination);
	*destination = NULL;
}

void route_free(const struct route **route)
{
	struct route *held = (struct route *)*route;

	*route = NULL;
	if (!held)
		return;
	if (held->further_holders) {
		held->further_holders--;
		return;
	}
	tls_rule_release(&held->rule);
	free(held);
}

void route_recheck_sts(struct policy *policy, const struct route *route)
{
	if (route->sts_mode == STS_MODE_ENFORCE)
		mtasts_recheck(policy->mtasts, route->sts_domain);
}
