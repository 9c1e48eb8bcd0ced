/*
 * self.c - is another host of the same preference ourselves? (RFC 5321 section 5.1, R-DNS-28)
 *
 * Finding ourselves discards our preference and all worse ones. But the hosts of one preference are
 * in random order, and each is looked up when its turn comes: one before us would get the mail. So
 * while the first of them is looked up and connected to, the others are asked for their addresses.
 * Nobody waits for that: a host that is ready before a silent sibling has answered gets the mail.
 * Called by proxy/approach.c.
 */
#include "policy/internal.h"

#include "conf/mem.h"
#include "policy/dial.h"

#include <stdlib.h>

/* So many lookups are under way that ours, which are a courtesy, would take others' places. */
enum { CROWDED = 500 };

struct asked {
	struct self_search *search;
	const char *host; /* the destination's */
	struct dns_query *query;
};

struct self_search {
	struct policy *policy;
	const struct destination *destination;
	self_search_fn *callback;
	void *arg;
	size_t count, left;
	struct asked asked[2 * DNS_MX_MAX];
};

/* The search is gone before the callback runs. */
static void finish(struct self_search *search, const struct refusal *refusal)
{
	self_search_fn *callback = search->callback;
	void *arg = search->arg;

	self_search_cancel(&search);
	callback(refusal, arg);
}

static const struct addr *find_own(
    const struct self_search *search, const struct dns_answer *answer, struct addr *found)
{
	struct dial_rules rules = {
	    .allowed = &search->destination->conf->allow_addresses,
	    .own_count = search->policy->own_count,
	    .own = search->policy->own,
	};

	for (size_t i = 0; i < answer->count; i++) {
		*found = answer->addresses[i];
		addr_set_port(found, search->destination->port);
		if (dial_judge(&rules, found) == DIAL_SELF)
			return found;
	}
	return NULL;
}

static void on_addresses(const struct dns_answer *answer, void *arg)
{
	struct asked *asked = arg;
	struct self_search *search = asked->search;
	struct addr found;
	struct refusal refusal;

	asked->query = NULL;
	search->left--;
	if (find_own(search, answer, &found)) {
		dial_explain_self(asked->host, &found, &refusal);
		finish(search, &refusal);
	} else if (search->left == 0) {
		finish(search, NULL);
	}
}

static void ask(struct self_search *search, const char *host, enum dns_type type)
{
	struct asked *asked = &search->asked[search->count++];

	asked->search = search;
	asked->host = host;
	asked->query = dns_query_start(search->policy->resolver, host, type, on_addresses, asked);
	search->left++;
}

/* Most often we accept at no such port, and nobody needs to be asked. */
static bool may_be_self(const struct policy *policy, uint16_t port)
{
	for (size_t i = 0; i < policy->own_count; i++)
		if (addr_port(&policy->own[i]) == port)
			return true;
	return false;
}

/* Of the hosts from index on, those with its preference. */
static size_t count_equals(const struct destination *destination, size_t index)
{
	size_t end = index;

	while (end < destination->host_count &&
	       destination->hosts[end].preference == destination->hosts[index].preference)
		end++;
	return end - index;
}

struct self_search *self_search_start(struct policy *policy, const struct destination *destination,
    size_t index, self_search_fn *callback, void *arg)
{
	size_t equals = count_equals(destination, index);

	if (equals < 2 || !may_be_self(policy, destination->port) ||
	    resolver_lookups_in_flight(policy->resolver) >= CROWDED)
		return NULL;
	struct self_search *search = mem_zero(1, sizeof *search);

	search->policy = policy;
	search->destination = destination;
	search->callback = callback;
	search->arg = arg;
	for (size_t i = index + 1; i < index + equals; i++) {
		ask(search, destination->hosts[i].name, DNS_AAAA);
		ask(search, destination->hosts[i].name, DNS_A);
	}
	return search;
}

void self_search_cancel(struct self_search **search)
{
	if (!*search)
		return;
	for (size_t i = 0; i < (*search)->count; i++)
		dns_query_cancel(&(*search)->asked[i].query);
	free(*search);
	*search = NULL;
}
