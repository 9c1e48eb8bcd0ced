/*
 * policy.c - the long-lived object behind policy.h, and the ends of what it hands over.
 *
 * The work is next door: destination.c finds the hosts, route.c resolves one of them, dane.c and
 * decide.c say what it must prove, explain.c says why it failed.
 */
#include "policy/internal.h"

#include "conf/mem.h"
#include "policy/mtasts.h"
#include "policy/sts_question.h"

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
	free((*policy)->own);
	free(*policy);
	*policy = NULL;
}

void policy_set_own(struct policy *policy, const struct addr *listeners, size_t count)
{
	free(policy->own);
	policy->own = mem_copy(listeners, count * sizeof *listeners);
	policy->own_count = count;
}

void destination_free(struct destination **destination)
{
	if (!*destination)
		return;
	sts_question_free(&(*destination)->sts);
	free(*destination);
	*destination = NULL;
}

void route_free(struct route **route)
{
	if (!*route)
		return;
	tls_rule_release(&(*route)->rule);
	free(*route);
	*route = NULL;
}

void route_recheck_sts(struct policy *policy, const struct route *route)
{
	if (route->sts_mode == STS_MODE_ENFORCE)
		mtasts_recheck(policy->mtasts, route->sts_domain);
}
