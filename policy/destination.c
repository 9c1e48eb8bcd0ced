/*
 * destination.c - from a recipient domain to its hosts: next_hop, or the MX step of RFC 5321
 * section 5.1.
 *
 *     probe (dane, dane-only) -> MX -> hosts by preference, or the implicit MX, or a refusal
 *
 * Nothing here weakens on failure: without a proven resolver, or with a failed MX lookup, there is
 * no host list at all, at any level (R-DNS-05; Postfix's lesson that ignored MX errors disable
 * DANE).
 */
#include "policy/internal.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "policy/answers.h"
#include "policy/budget.h"
#include "policy/decisions.h"

#include <assert.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* A next hop that the operator named rests on no answer of DNS. */
static const double FIXED_SECONDS = 3600;

/* What we wait for is what is set: probe, then query; or turn, where there is nothing to ask. */
struct destination_lookup {
	struct policy *policy;
	struct destination *destination;
	destination_fn *callback;
	void *arg;
	struct probe_wait *probe;
	struct dns_query *query;
	struct budget budget;
	ev_timer turn; /* never started, only fed */
	unsigned dns_generation;
	bool is_for_domain; /* and for nothing beside it: it may be kept ... */
	double until;       /* ... so long, of the steady clock */
};

static void stop(struct destination_lookup *lookup)
{
	probe_wait_cancel(&lookup->probe);
	dns_query_cancel(&lookup->query);
	budget_close(&lookup->budget);
	ev_timer_stop(lookup->policy->loop, &lookup->turn);
}

/* Only what was heard since the resolver last began anew. */
static void keep(const struct destination_lookup *lookup)
{
	struct decisions *decisions = policy_decisions(lookup->policy);

	if (decisions && lookup->until > 0 &&
	    lookup->dns_generation == lookup->policy->dns_generation)
		decisions_keep_destination(decisions, lookup->destination, lookup->until);
}

/*
 * The lookup is gone before the callback runs: what the callback starts or frees cannot touch it.
 */
static void finish(struct destination_lookup *lookup)
{
	struct destination *destination = lookup->destination;
	destination_fn *callback = lookup->callback;
	void *arg = lookup->arg;

	keep(lookup);
	stop(lookup);
	free(lookup);
	log_debug("destination %s: %s, %zu hosts, mx %s", destination->domain,
	    destination->verdict == POLICY_CONNECT ? "hosts known" : destination->refusal.text,
	    destination->host_count, dns_state_name(destination->mx_state));
	callback(destination, arg);
}

static void refuse(struct destination *destination, enum verdict verdict)
{
	destination->verdict = verdict;
	destination->host_count = 0;
}

static void add_host(struct destination *destination, const char *name, uint16_t preference)
{
	struct destination_host *host = &destination->hosts[destination->host_count++];

	assert(destination->host_count <= DNS_MX_MAX);
	host->preference = preference;
	snprintf(host->name, sizeof host->name, "%s", name);
}

/* ---- the MX answer ---- */

/* 0..limit-1, evenly */
static size_t random_below(size_t limit)
{
	uint64_t number;
	ssize_t got = getrandom(&number, sizeof number, 0);

	/*
	 * Up to 256 octets come whole once the kernel's generator is seeded; without it no TLS is
	 * possible either.
	 */
	assert(got == sizeof number);
	return number % limit;
}

/* R-DNS-25: random order within one preference (Fisher-Yates); TLSA plays no part in it. */
static void shuffle_equal_preferences(struct destination *destination)
{
	struct destination_host *hosts = destination->hosts;

	for (size_t i = 0; i < destination->host_count; i++) {
		size_t equal = 1;

		while (i + equal < destination->host_count &&
		       hosts[i + equal].preference == hosts[i].preference)
			equal++;
		if (equal == 1)
			continue;
		size_t pick = i + random_below(equal);
		struct destination_host other = hosts[i];

		hosts[i] = hosts[pick];
		hosts[pick] = other;
	}
}

static void take_exchanges(struct destination *destination, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_mx *mx = &answer->mx[i];

		if (domain_is_mx_host(mx->exchange))
			add_host(destination, mx->exchange, mx->preference);
		else
			log_warning(
			    "the MX record of %s that names \"%s\" is skipped: no host name",
			    answer->question, mx->exchange[0] ? mx->exchange : ".");
	}
	if (answer->cut)
		log_warning("some MX records of %s are skipped: more than %d, or no host names",
		    answer->question, DNS_MX_MAX);
}

/*
 * The operator's next_hop is not the recipient's fault: what would be final for a recipient domain
 * is a setting to correct, and the mail waits for it.
 */
static void refuse_domain(struct destination *destination, enum reason reason, const char *what)
{
	if (destination->conf->next_hop.set) {
		refusal_set(&destination->refusal, REASON_NO_ADDRESS,
		    "next_hop %s of %s %s: correct the setting", destination->next_hop,
		    destination->domain, what);
		refuse(destination, POLICY_DEFER);
		return;
	}
	refusal_set(&destination->refusal, reason, "%s %s", destination->domain, what);
	refuse(destination, verdict_of(reason));
}

/*
 * cut: there were records, though none that could be used; then the bare domain must not stand in
 * (R-DNS-24).
 */
static bool is_absent(const struct dns_answer *answer)
{
	return answer->count == 0 && !answer->cut;
}

/* A recipient domain of one label is no host (D-22): `localhost` resolves, to this machine. */
static bool may_be_its_own_host(const struct destination *destination)
{
	return destination->conf->next_hop.set || domain_is_mx_host(destination->next_hop);
}

static bool is_null_mx(const struct dns_answer *answer)
{
	return answer->count == 1 && !answer->cut && answer->mx[0].exchange[0] == '\0';
}

static void take_mx_answer(struct destination *destination, const struct dns_answer *answer)
{
	destination->mx_state = answer->state;
	snprintf(destination->expanded, sizeof destination->expanded, "%s", answer->name);
	if (answer->state == DNS_FAILED) {
		answer_refusal(answer, &destination->refusal);
		refuse(destination, POLICY_DEFER);
	} else if (answer->nxdomain) {
		refuse_domain(destination, REASON_NO_SUCH_DOMAIN, "does not exist in DNS");
	} else if (is_null_mx(answer)) {
		refuse_domain(destination, REASON_NULL_MX, "accepts no mail (null MX)");
	} else if (is_absent(answer) && may_be_its_own_host(destination)) {
		add_host(destination, destination->next_hop, 0);
	} else if (is_absent(answer)) {
		refuse_domain(destination, REASON_NO_MAIL_HOST,
		    "has no MX record, and is no host name itself");
	} else {
		destination->is_mx = true;
		take_exchanges(destination, answer);
		shuffle_equal_preferences(destination);
		if (destination->host_count == 0)
			refuse_domain(destination, REASON_NO_ADDRESS,
			    "has MX records, but none names a host: its owner must mend the zone");
	}
}

static void on_mx(const struct dns_answer *answer, void *arg)
{
	struct destination_lookup *lookup = arg;

	lookup->query = NULL;
	lookup->until = lookup->is_for_domain ? clock_steady() + answer->ttl : 0;
	take_mx_answer(lookup->destination, answer);
	finish(lookup);
}

static void on_expired(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct destination_lookup *lookup = timer->data;
	struct destination *destination = lookup->destination;

	(void)loop, (void)events;
	refusal_set(&destination->refusal, REASON_DNS_FAILED,
	    "the MX lookup of %s took longer than %g s (dns.total): try again later",
	    destination->next_hop, lookup->policy->conf->dns.total);
	refuse(destination, POLICY_DEFER);
	finish(lookup);
}

static void ask_mx(struct destination_lookup *lookup)
{
	struct destination *destination = lookup->destination;

	budget_open(&lookup->budget, lookup->policy->loop, lookup->policy->conf->dns.total,
	    &destination->dns_seconds, on_expired, lookup);
	lookup->query =
	    dns_query_start(lookup->policy->resolver, destination->next_hop, DNS_MX, on_mx, lookup);
}

/* ---- before the question ---- */

static bool needs_mx(const struct destination *destination) { return !destination->is_fixed; }

static void on_probe(enum probe_state state, void *arg)
{
	struct destination_lookup *lookup = arg;
	struct destination *destination = lookup->destination;

	lookup->probe = NULL;
	if (state != PROBE_WORKING) {
		refusal_set(&destination->refusal, REASON_DNS_FAILED,
		    "DNSSEC does not work on this proxy, so %s cannot be looked up safely (%s): "
		    "danelaw's operator must mend this",
		    destination->next_hop, probe_why(lookup->policy->probe));
		refuse(destination, POLICY_DEFER);
		finish(lookup);
	} else if (needs_mx(destination)) {
		ask_mx(lookup);
	} else {
		finish(lookup);
	}
}

static void on_turn(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)events;
	finish(timer->data);
}

static void take_configured(struct destination *destination, const struct conf_next_hop *next_hop)
{
	destination->port = next_hop->port;
	destination->is_fixed = next_hop->is_address || !next_hop->lookup_mx;
	if (!next_hop->is_address)
		snprintf(destination->next_hop, sizeof destination->next_hop, "%s", next_hop->host);
	if (!destination->is_fixed)
		return;
	/*
	 * The operator's word is as good as a signed MX record: nobody on the net could have
	 * changed it.
	 */
	destination->mx_state = DNS_SECURE;
	add_host(destination, next_hop->is_address ? "" : destination->next_hop, 0);
}

/* Shares the lists of the policy that it copies. */
static const struct conf_policy *fix_policy(
    const struct policy *policy, struct destination *destination, const struct addr *address)
{
	char text[ADDR_TEXT];

	destination->fixed = *conf_policy_for(policy->conf, addr_ip(address, text),
	    (time_t)ev_now(policy->loop), &destination->exception);
	destination->fixed.next_hop = (struct conf_next_hop){
	    .set = true,
	    .is_address = true,
	    .address = *address,
	    .port = addr_port(address),
	};
	return &destination->fixed;
}

static const struct conf_policy *configured_policy(
    const struct policy *policy, struct destination *destination, const char *domain)
{
	return conf_policy_for(
	    policy->conf, domain, (time_t)ev_now(policy->loop), &destination->exception);
}

/* fixed NULL: the way is looked up. conf NULL: what is configured. */
static struct destination *destination_new(const struct policy *policy, const char *domain,
    const struct addr *fixed, const struct conf_policy *conf)
{
	struct destination *destination = mem_zero(1, sizeof *destination);

	destination->verdict = POLICY_CONNECT;
	destination->port = 25;
	if (fixed)
		destination->conf = fix_policy(policy, destination, fixed);
	else
		destination->conf = conf ? conf : configured_policy(policy, destination, domain);
	snprintf(destination->domain, sizeof destination->domain, "%s", domain);
	snprintf(destination->next_hop, sizeof destination->next_hop, "%s", domain);
	if (destination->conf->next_hop.set)
		take_configured(destination, &destination->conf->next_hop);
	snprintf(destination->expanded, sizeof destination->expanded, "%s", destination->next_hop);
	return destination;
}

/*
 * What DNS says absent counts at these levels, so the resolver must have been proven first; a
 * literal asks nothing.
 */
static bool needs_probe(const struct destination *destination)
{
	return level_asks_tlsa(destination->conf->level) && !destination->conf->next_hop.is_address;
}

/* Takes over the destination. */
static struct destination_lookup *start(
    struct policy *policy, struct destination *destination, destination_fn *callback, void *arg)
{
	struct destination_lookup *lookup = mem_zero(1, sizeof *lookup);

	lookup->policy = policy;
	lookup->dns_generation = policy->dns_generation;
	lookup->destination = destination;
	lookup->callback = callback;
	lookup->arg = arg;
	ev_init(&lookup->turn, on_turn);
	lookup->turn.data = lookup;
	if (destination->decision)
		ev_feed_event(policy->loop, &lookup->turn, EV_CUSTOM);
	else if (needs_probe(lookup->destination))
		lookup->probe = probe_wait_start(policy->probe, on_probe, lookup);
	else if (needs_mx(lookup->destination))
		ask_mx(lookup);
	else
		ev_feed_event(policy->loop, &lookup->turn, EV_CUSTOM);
	return lookup;
}

/* What was decided a moment ago; as fresh as if it were looked up, also in its order of hosts. */
struct destination *destination_find_kept(struct policy *policy, const char *domain)
{
	struct decisions *decisions = policy_decisions(policy);
	const struct conf_domain *exception;
	const struct conf_policy *conf;
	struct destination *kept;

	if (!decisions)
		return NULL;
	conf = conf_policy_for(policy->conf, domain, (time_t)ev_now(policy->loop), &exception);
	if (level_asks_tlsa(conf->level) && probe_state(policy->probe) != PROBE_WORKING)
		return NULL;
	kept = decisions_find_destination(decisions, domain, conf, exception);
	if (kept)
		shuffle_equal_preferences(kept);
	return kept;
}

struct destination_lookup *destination_lookup_start(
    struct policy *policy, const char *domain, destination_fn *callback, void *arg)
{
	struct destination *kept = destination_find_kept(policy, domain);
	struct destination_lookup *lookup;

	if (kept)
		return start(policy, kept, callback, arg);
	lookup = start(policy, destination_new(policy, domain, NULL, NULL), callback, arg);
	lookup->is_for_domain = true;
	if (lookup->destination->is_fixed && !lookup->destination->conf->next_hop.is_address)
		lookup->until = clock_steady() + FIXED_SECONDS;
	return lookup;
}

struct destination_lookup *destination_lookup_start_under(struct policy *policy, const char *domain,
    const struct conf_policy *conf, destination_fn *callback, void *arg)
{
	return start(policy, destination_new(policy, domain, NULL, conf), callback, arg);
}

struct destination_lookup *destination_lookup_start_host(
    struct policy *policy, const char *host, uint16_t port, destination_fn *callback, void *arg)
{
	struct destination *destination = destination_new(policy, host, NULL, NULL);
	struct conf_next_hop next_hop = {.set = true, .port = port};

	snprintf(next_hop.host, sizeof next_hop.host, "%s", host);
	destination->host_count = 0; /* whatever next_hop is configured */
	take_configured(destination, &next_hop);
	return start(policy, destination, callback, arg);
}

struct destination_lookup *destination_lookup_start_fixed(struct policy *policy, const char *label,
    const struct addr *address, destination_fn *callback, void *arg)
{
	return start(policy, destination_new(policy, label, address, NULL), callback, arg);
}

void destination_lookup_cancel(struct destination_lookup **lookup)
{
	if (!*lookup)
		return;
	stop(*lookup);
	destination_free(&(*lookup)->destination);
	free(*lookup);
	*lookup = NULL;
}
