/*
 * fuzz_sts_policy.c - a policy text through the MTA-STS policy parser. What comes out must keep the
 * promises of the header, and each pattern must cover a host that is made from it, and never one
 * with a label more (R-STS-13..15, R-STS-25).
 */
#include "policy/sts_policy.h"

#include "conf/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pattern(const struct sts_policy *policy, const char *pattern)
{
	bool is_wildcard = pattern[0] == '*';
	const char *domain = is_wildcard ? pattern + 2 : pattern;
	struct sts_policy alone = {.mx_count = 1, .mx = (char *[]){(char *)pattern}};
	char normal[DOMAIN_SIZE];
	char *host = is_wildcard ? mem_printf("a.%s", domain) : mem_strdup(domain);
	char *longer = mem_printf("a.%s", host);

	assert(domain_normalize(normal, domain, strlen(domain)) && !strcmp(normal, domain));
	assert(sts_policy_matches(policy, host));
	assert(sts_policy_matches(&alone, host) && !sts_policy_matches(&alone, longer));
	free(longer);
	free(host);
}

static void check(const struct sts_policy *policy)
{
	assert(policy->max_age <= STS_MAX_AGE_LIMIT);
	assert(!policy->was_clamped || policy->max_age == STS_MAX_AGE_LIMIT);
	assert(policy->mx_count <= STS_MX_MAX);
	assert(policy->mx_count > 0 || policy->mode == STS_MODE_NONE);
	for (size_t i = 0; i < policy->mx_count; i++)
		check_pattern(policy, policy->mx[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sts_policy policy;
	const char *why;

	if (sts_policy_parse((const char *)data, size, &policy, &why))
		check(&policy);
	else
		assert(why && !policy.mx && policy.mx_count == 0);
	sts_policy_release(&policy);
	return 0;
}
