/*
 * route.c - one host of a destination: its addresses, its TLSA records, and what it must prove.
 *
 *     A and AAAA -> addresses that may be dialled -> what dane_next_step() wants -> route_decide()
 *     the destination's MTA-STS policy, at the same time ----- where DANE leaves room -----'
 *
 * A step loop around pure modules: dane.c says what to ask, dial.c whom to dial, decide.c what the
 * answers mean. Both families are always asked, whatever `ip` says: either may show that the host
 * is signed (R-DNS-09). A host that cannot be dialled is not asked for TLSA.
 */
#include "policy/internal.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "policy/answers.h"
#include "policy/budget.h"
#include "policy/dane.h"
#include "policy/decide.h"
#include "policy/decisions.h"
#include "policy/dial.h"
#include "policy/sts_question.h"

#include <assert.h>
#include <ev.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_A, ASK_AAAA, ASK_CNAME, ASK_TLSA_EXPANDED, ASK_TLSA_ORIGINAL, ASK_COUNT };

/* Under way while query is set, answered once answer is. */
struct question {
	struct route_lookup *lookup;
	struct dns_query *query;
	struct dns_answer *answer;
	double until; /* it may be used, of the steady clock */
};

struct route_lookup {
	struct policy *policy;
	struct destination *destination;
	struct route *route;
	route_fn *callback;
	void *arg;
	struct question questions[ASK_COUNT];
	struct dane_decision *dane; /* made; the policy may still be waited for */
	struct budget budget;
	ev_timer turn; /* never started, only fed: there is nothing to ask */
	unsigned dns_generation;
};

static void stop(struct route_lookup *lookup)
{
	for (size_t i = 0; i < ASK_COUNT; i++) {
		dns_query_cancel(&lookup->questions[i].query);
		free(lookup->questions[i].answer);
	}
	sts_question_leave(lookup->destination->sts);
	if (lookup->dane)
		dane_decision_release(lookup->dane);
	free(lookup->dane);
	budget_close(&lookup->budget);
	ev_timer_stop(lookup->policy->loop, &lookup->turn);
}

/*
 * The lookup is gone before the callback runs: what the callback starts or frees cannot touch it.
 */
static void finish(struct route_lookup *lookup)
{
	struct route *route = lookup->route;
	route_fn *callback = lookup->callback;
	void *arg = lookup->arg;

	/* Nobody shall dial a refused host by looking at its addresses alone. */
	if (route->verdict != POLICY_CONNECT && !route_may_be_relaxed(route))
		route->address_count = 0;
	lookup->destination->address_count += route->address_count;
	stop(lookup);
	free(lookup);
	log_debug("route %s: %s, %zu addresses", route->host,
	    route->verdict == POLICY_CONNECT ? route->policy_label : route->refusal.text,
	    route->address_count);
	callback(route, arg);
}

static struct dane_answers collect(const struct route_lookup *lookup)
{
	const struct destination *destination = lookup->destination;

	return (struct dane_answers){
	    .asks_tlsa = level_asks_tlsa(destination->conf->level),
	    .host = lookup->route->host,
	    .port = lookup->route->port,
	    .mx_state = destination->mx_state,
	    .is_mx = destination->is_mx,
	    .next_hop_domain = destination->next_hop,
	    .expanded_domain = destination->expanded,
	    .a = lookup->questions[ASK_A].answer,
	    .aaaa = lookup->questions[ASK_AAAA].answer,
	    .cname = lookup->questions[ASK_CNAME].answer,
	    .tlsa_expanded = lookup->questions[ASK_TLSA_EXPANDED].answer,
	    .tlsa_original = lookup->questions[ASK_TLSA_ORIGINAL].answer,
	};
}

static struct dial_rules rules(const struct route_lookup *lookup)
{
	const struct destination *destination = lookup->destination;

	return (struct dial_rules){
	    .ip = destination->conf->ip,
	    .allowed = &destination->conf->allow_addresses,
	    .is_literal = destination->conf->next_hop.set && destination->conf->next_hop.is_address,
	    .own_count = lookup->policy->own_count,
	    .own = lookup->policy->own,
	    .room = ROUTE_ADDR_MAX - destination->address_count,
	};
}

/* ---- asking ---- */

static void on_answer(const struct dns_answer *answer, void *arg);

static void ask(struct route_lookup *lookup, size_t which, const char *name, enum dns_type type,
    dns_query_fn *heard)
{
	struct question *question = &lookup->questions[which];

	question->lookup = lookup;
	question->query = dns_query_start(lookup->policy->resolver, name, type, heard, question);
}

static void ask_tlsa(struct route_lookup *lookup, size_t which, const char *base)
{
	char owner[sizeof "_65535._tcp." + DOMAIN_SIZE];

	/* The real port, not always 25 (R-DNS-18). */
	snprintf(owner, sizeof owner, "_%u._tcp.%s", lookup->route->port, base);
	ask(lookup, which, owner, DNS_TLSA, on_answer);
}

/* ---- deciding ---- */

/* Until when all the answers may be used that it rests on. */
static double until(const struct route_lookup *lookup, const struct sts_answer *sts)
{
	double first = sts ? sts->absent_until : DBL_MAX;

	for (size_t i = 0; i < ASK_COUNT; i++) {
		if (lookup->questions[i].answer && lookup->questions[i].until < first)
			first = lookup->questions[i].until;
	}
	return first;
}

static void keep(const struct route_lookup *lookup, const struct sts_answer *sts)
{
	struct decisions *decisions = policy_decisions(lookup->policy);

	if (decisions && lookup->dns_generation == lookup->policy->dns_generation)
		decisions_keep_route(
		    decisions, lookup->destination, lookup->route, until(lookup, sts));
}

/* sts NULL: MTA-STS has no say. */
static void conclude(struct route_lookup *lookup, const struct sts_answer *sts)
{
	if (sts)
		lookup->destination->notice = sts->notice;
	route_decide(lookup->destination, lookup->dane, sts, lookup->route);
	if (lookup->route->refusal.reason == REASON_STS_MX)
		route_recheck_sts(lookup->policy, lookup->route);
	keep(lookup, sts);
	finish(lookup);
}

static void on_sts(void *arg)
{
	struct route_lookup *lookup = arg;

	conclude(lookup, sts_question_answer(lookup->destination->sts));
}

static void decide(struct route_lookup *lookup, const struct dane_answers *answers)
{
	struct sts_question *sts = lookup->destination->sts;

	lookup->dane = mem_zero(1, sizeof *lookup->dane);
	dane_decide(answers, lookup->dane);
	/* A policy's lookup and fetch have limits of their own. */
	budget_close(&lookup->budget);
	if (!sts || !route_needs_sts(lookup->destination, lookup->dane))
		conclude(lookup, NULL);
	else if (sts_question_answer(sts))
		conclude(lookup, sts_question_answer(sts));
	else
		sts_question_await(sts, on_sts, lookup);
}

static void proceed(struct route_lookup *lookup)
{
	struct dane_answers answers = collect(lookup);
	enum dane_step step = dane_next_step(&answers);

	switch (step) {
	case DANE_ASK_CNAME:
		ask(lookup, ASK_CNAME, answers.host, DNS_CNAME, on_answer);
		break;
	case DANE_ASK_TLSA_EXPANDED:
		ask_tlsa(lookup, ASK_TLSA_EXPANDED, dane_base(&answers, step));
		break;
	case DANE_ASK_TLSA_ORIGINAL:
		ask_tlsa(lookup, ASK_TLSA_ORIGINAL, dane_base(&answers, step));
		break;
	case DANE_DECIDED:
		decide(lookup, &answers);
		break;
	}
}

static struct route_lookup *hear(struct question *question, const struct dns_answer *answer)
{
	question->query = NULL;
	question->answer = answer_keep(answer);
	question->until = answer->state == DNS_FAILED ? 0 : clock_steady() + answer->ttl;
	return question->lookup;
}

static void on_answer(const struct dns_answer *answer, void *arg) { proceed(hear(arg, answer)); }

static void on_address(const struct dns_answer *answer, void *arg)
{
	struct route_lookup *lookup = hear(arg, answer);
	const struct dns_answer *a = lookup->questions[ASK_A].answer;
	const struct dns_answer *aaaa = lookup->questions[ASK_AAAA].answer;
	struct dial_rules dial = rules(lookup);

	if (!a || !aaaa)
		return;
	if (a->count + aaaa->count > 0 && !dial_choose(&dial, a, aaaa, lookup->route))
		finish(lookup);
	else
		proceed(lookup);
}

/* Which of them ended nowhere, for the one who must look there. */
static void tell_open(const struct route_lookup *lookup, char *out, size_t size)
{
	static const char *const names[] = {[ASK_A] = "A",
	    [ASK_AAAA] = "AAAA",
	    [ASK_CNAME] = "CNAME",
	    [ASK_TLSA_EXPANDED] = "TLSA",
	    [ASK_TLSA_ORIGINAL] = "TLSA"};
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ASK_COUNT; i++)
		if (lookup->questions[i].query)
			len += (size_t)snprintf(out + len, size - len, "%s%s",
			    len > 0 ? " and " : ", no answer to ", names[i]);
}

static void on_expired(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct route_lookup *lookup = timer->data;
	struct route *route = lookup->route;
	char open[64];

	(void)loop, (void)events;
	tell_open(lookup, open, sizeof open);
	route->verdict = POLICY_DEFER;
	refusal_set(&route->refusal, REASON_DNS_FAILED,
	    "the lookups of %s for %s took longer than %g s (dns.total)%s: try again later",
	    route->host, lookup->destination->next_hop, lookup->policy->conf->dns.total, open);
	finish(lookup);
}

/* ---- starting ---- */

/* An address in next_hop has no name that TLSA could be asked for. */
static void on_literal(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct route_lookup *lookup = timer->data;
	struct dial_rules dial = rules(lookup);

	(void)loop, (void)events;
	lookup->dane = mem_zero(1, sizeof *lookup->dane);
	lookup->dane->outcome = DANE_ABSENT;
	if (dial_choose_literal(&dial, &lookup->destination->conf->next_hop.address, lookup->route))
		route_decide(lookup->destination, lookup->dane, NULL, lookup->route);
	finish(lookup);
}

static void on_kept(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)events;
	finish(timer->data);
}

/* Whether any host of it may turn out to need the policy; else its zone is not even asked. */
static bool may_need_sts(const struct destination *destination)
{
	return destination->conf->level == LEVEL_DANE && destination->conf->mta_sts;
}

static struct route *route_new(const struct destination *destination, size_t index)
{
	const struct destination_host *host = &destination->hosts[index];
	struct route *route = mem_zero(1, sizeof *route);

	assert(index < destination->host_count);
	snprintf(route->host, sizeof route->host, "%s", host->name);
	route->preference = host->preference;
	route->port = destination->port;
	route->mx_state = destination->mx_state;
	/* For refusals that come before the decision. */
	route->policy_label = conf_level_name(destination->conf->level);
	return route;
}

static const struct route *find_kept(
    struct policy *policy, const struct destination *destination, size_t index)
{
	struct decisions *decisions = policy_decisions(policy);

	return decisions ? decisions_find_route(decisions, destination, index) : NULL;
}

const struct route *route_find_kept(
    struct policy *policy, struct destination *destination, size_t index)
{
	const struct route *kept = find_kept(policy, destination, index);

	if (kept)
		destination->address_count += kept->address_count;
	return kept;
}

struct route_lookup *route_lookup_start(struct policy *policy, struct destination *destination,
    size_t index, route_fn *callback, void *arg)
{
	struct route_lookup *lookup = mem_zero(1, sizeof *lookup);
	const struct route *kept = find_kept(policy, destination, index);

	lookup->policy = policy;
	lookup->dns_generation = policy->dns_generation;
	lookup->destination = destination;
	/* One that is kept is handed on as it is. */
	lookup->route = kept ? (struct route *)kept : route_new(destination, index);
	lookup->callback = callback;
	lookup->arg = arg;
	ev_init(&lookup->turn, kept ? on_kept : on_literal);
	lookup->turn.data = lookup;
	if (kept || !lookup->route->host[0]) {
		ev_feed_event(policy->loop, &lookup->turn, EV_CUSTOM);
		return lookup;
	}
	budget_open(&lookup->budget, policy->loop, policy->conf->dns.total,
	    &destination->dns_seconds, on_expired, lookup);
	if (!destination->sts && may_need_sts(destination))
		destination->sts = sts_question_ask(policy->mtasts, destination->next_hop);
	ask(lookup, ASK_AAAA, lookup->route->host, DNS_AAAA, on_address);
	ask(lookup, ASK_A, lookup->route->host, DNS_A, on_address);
	return lookup;
}

void route_lookup_cancel(struct route_lookup **lookup)
{
	const struct route *route;

	if (!*lookup)
		return;
	route = (*lookup)->route;
	stop(*lookup);
	route_free(&route);
	free(*lookup);
	*lookup = NULL;
}
