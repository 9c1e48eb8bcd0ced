/*
 * address_search.c - is an address that somebody took for a domain's mail host one of its hosts at
 * all? (R-NET-09)
 *
 * One host after the other: the answer is nearly always the first one's, which the route has asked
 * for just before, or asks for next. Called by proxy/intercept/hint.c.
 */
#include "policy/answers.h"
#include "policy/internal.h"

#include "conf/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct address_search {
	struct policy *policy;
	struct addr wanted;
	address_search_fn *callback;
	void *arg;
	struct dns_query *query;
	struct address_search_result result;
	size_t host, host_count;
	char hosts[][DOMAIN_SIZE];
};

/* The search is gone before the callback runs. */
static void finish(struct address_search *search)
{
	struct address_search_result result = search->result;
	address_search_fn *callback = search->callback;
	void *arg = search->arg;

	address_search_cancel(&search);
	callback(&result, arg);
}

static void compare(struct address_search *search, const struct dns_answer *answer)
{
	struct address_search_result *result = &search->result;

	result->is_complete &= answer->state != DNS_FAILED && !answer->cut;
	if (answer->state == DNS_FAILED && result->failure.reason == REASON_NONE)
		answer_refusal(answer, &result->failure);
	for (size_t i = 0; i < answer->count; i++) {
		result->is_found |= addr_equal_ip(&answer->addresses[i], &search->wanted);
		if (result->shown_count < ADDRESS_SEARCH_SHOWN)
			result->shown[result->shown_count++] = answer->addresses[i];
	}
}

static void ask(struct address_search *search);

static void on_addresses(const struct dns_answer *answer, void *arg)
{
	struct address_search *search = arg;

	search->query = NULL;
	compare(search, answer);
	if (search->result.is_found || ++search->host == search->host_count)
		finish(search);
	else
		ask(search);
}

static void ask(struct address_search *search)
{
	enum dns_type type = search->wanted.sa.sa_family == AF_INET ? DNS_A : DNS_AAAA;

	search->query = dns_query_start(
	    search->policy->resolver, search->hosts[search->host], type, on_addresses, search);
}

struct address_search *address_search_start(struct policy *policy,
    const struct destination *destination, const struct addr *wanted, address_search_fn *callback,
    void *arg)
{
	size_t count = destination->host_count;
	struct address_search *search = mem_zero(1, sizeof *search + count * DOMAIN_SIZE);

	assert(count > 0);
	search->policy = policy;
	search->wanted = *wanted;
	search->callback = callback;
	search->arg = arg;
	search->result.is_complete = true;
	search->host_count = count;
	for (size_t i = 0; i < count; i++)
		snprintf(search->hosts[i], DOMAIN_SIZE, "%s", destination->hosts[i].name);
	ask(search);
	return search;
}

void address_search_cancel(struct address_search **search)
{
	if (!*search)
		return;
	dns_query_cancel(&(*search)->query);
	free(*search);
	*search = NULL;
}
