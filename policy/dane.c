/*
 * dane.c - the DANE decision for one MX host: RFC 7672 sections 2.2 and 3.2, straight down.
 *
 * The order is Postfix's, and the RFC's: only a host whose addresses (or whose own alias) are
 * signed is asked for TLSA; the end of its alias chain comes first, its own name second, names
 * between never; an error anywhere ends the search, because "no answer" is what an attacker would
 * make of "you must authenticate".
 */
#include "policy/dane.h"

#include "policy/answers.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static bool has_address(const struct dane_answers *answers)
{
	return answers->a->count + answers->aaaa->count > 0;
}

/*
 * The address answer that makes the end of its chain a TLSA base domain. A secure denial of one
 * family counts as well as data: it proves the name to lie in a signed zone, and TLSA covers both
 * families (R-DNS-09).
 */
static const struct dns_answer *secure_address(const struct dane_answers *answers)
{
	const struct dns_answer *families[] = {answers->a, answers->aaaa};

	for (size_t i = 0; i < 2; i++)
		if (families[i]->state == DNS_SECURE && families[i]->count > 0)
			return families[i];
	for (size_t i = 0; i < 2; i++)
		if (families[i]->state == DNS_SECURE)
			return families[i];
	return NULL;
}

/*
 * Both families secure, but at the ends of different chains: the alias changed between two lookups.
 * The TLSA records of one end would say nothing of the other's addresses (a race like that of
 * R-DNS-13).
 */
static bool aliases_disagree(const struct dane_answers *answers)
{
	const struct dns_answer *a = answers->a, *aaaa = answers->aaaa;

	return a->state == DNS_SECURE && a->count > 0 && aaaa->state == DNS_SECURE &&
	       aaaa->count > 0 && strcmp(a->name, aaaa->name) != 0;
}

/* Data, and proven. An insecure answer counts as "no TLSA" (R-DNS-17). */
static bool is_secure_data(const struct dns_answer *answer)
{
	return answer && answer->state == DNS_SECURE && answer->count > 0;
}

/*
 * Whether an answer ends the search: what a later base domain says cannot make up for a failure
 * (R-DNS-15).
 */
static bool ends_search(const struct dns_answer *tlsa)
{
	return tlsa->state == DNS_FAILED || is_secure_data(tlsa);
}

/*
 * A name so long that _PORT._tcp. before it makes it longer than DNS allows cannot have TLSA
 * records.
 */
static bool can_have_tlsa(const char *base, uint16_t port)
{
	return snprintf(NULL, 0, "_%u._tcp.%s", port, base) <= DOMAIN_MAX;
}

static enum dane_step ask_original(const struct dane_answers *answers)
{
	if (answers->tlsa_original || !can_have_tlsa(answers->host, answers->port))
		return DANE_DECIDED;
	return DANE_ASK_TLSA_ORIGINAL;
}

/*
 * RFC 7672 2.2.2: an unsigned host is not asked, unless the alias that leads to it is itself
 * signed.
 */
static enum dane_step next_for_insecure_host(const struct dane_answers *answers)
{
	if (!answers->a->via_cname && !answers->aaaa->via_cname)
		return DANE_DECIDED;
	if (!answers->cname)
		return DANE_ASK_CNAME;
	return is_secure_data(answers->cname) ? ask_original(answers) : DANE_DECIDED;
}

enum dane_step dane_next_step(const struct dane_answers *answers)
{
	const struct dns_answer *address;

	if (!answers->asks_tlsa || !has_address(answers) || aliases_disagree(answers))
		return DANE_DECIDED;
	address = secure_address(answers);
	if (!address)
		return next_for_insecure_host(answers);
	if (strcmp(address->name, answers->host) == 0 ||
	    !can_have_tlsa(address->name, answers->port))
		return ask_original(answers);
	if (!answers->tlsa_expanded)
		return DANE_ASK_TLSA_EXPANDED;
	return ends_search(answers->tlsa_expanded) ? DANE_DECIDED : ask_original(answers);
}

const char *dane_base(const struct dane_answers *answers, enum dane_step step)
{
	const struct dns_answer *address = secure_address(answers);

	return step == DANE_ASK_TLSA_EXPANDED && address ? address->name : answers->host;
}

static void fail(struct dane_decision *decision, const struct dns_answer *answer)
{
	decision->outcome = DANE_FAILED;
	answer_refusal(answer, &decision->refusal);
}

/* One failed family is only dropped; with no address left its failure is the host's (R-DNS-10). */
static void decide_without_address(
    const struct dane_answers *answers, struct dane_decision *decision)
{
	const struct dns_answer *a = answers->a, *aaaa = answers->aaaa;

	if (aaaa->state == DNS_FAILED && (aaaa->bogus || a->state != DNS_FAILED)) {
		fail(decision, aaaa);
	} else if (a->state == DNS_FAILED) {
		fail(decision, a);
	} else {
		decision->outcome = DANE_NO_ADDRESS;
		refusal_set(&decision->refusal, REASON_NO_ADDRESS,
		    "%s has neither an A nor an AAAA record: its owner must add one",
		    answers->host);
	}
}

/*
 * An alias that changes under our questions proves nothing about addresses (R-DNS-13).
 */
static void fail_race(struct dane_decision *decision, const char *host)
{
	decision->outcome = DANE_FAILED;
	refusal_set(&decision->refusal, REASON_DNS_FAILED,
	    "the CNAME record of %s changed between two lookups: try again later", host);
}

/* Whether anything that was asked on the way to TLSA failed (R-DNS-07). */
static bool decide_failure(const struct dane_answers *answers, struct dane_decision *decision)
{
	const struct dns_answer *asked[] = {
	    answers->cname, answers->tlsa_expanded, answers->tlsa_original};

	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
		if (asked[i] && asked[i]->state == DNS_FAILED) {
			fail(decision, asked[i]);
			return true;
		}
	}
	if (answers->asks_tlsa &&
	    (aliases_disagree(answers) || (answers->cname && answers->cname->count == 0))) {
		fail_race(decision, answers->host);
		return true;
	}
	return false;
}

static void take_usable(struct dane_decision *decision, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_tlsa *record = &answer->tlsa[i];
		struct tlsa t = {
		    record->usage, record->selector, record->matching, record->len, record->data};

		if (tlsa_is_usable(&t))
			tlsa_set_add(&decision->tlsa, &t);
	}
	tlsa_set_sort(&decision->tlsa);
	decision->outcome = decision->tlsa.count > 0 ? DANE_USABLE : DANE_UNUSABLE;
}

static void add_name(struct dane_decision *decision, const char *name)
{
	for (size_t i = 0; i < decision->name_count; i++)
		if (strcmp(decision->names[i], name) == 0)
			return;
	assert(decision->name_count < TLS_NAMES_MAX);
	snprintf(decision->names[decision->name_count++], DOMAIN_SIZE, "%s", name);
}

/*
 * Reference identifiers, RFC 7672 3.2.2: the base domain; the next-hop domain too where a secure MX
 * (or no MX at all) leads from it to the host. Behind an insecure MX the attacker may have chosen
 * the host: its name is all there is.
 */
static void name_references(const struct dane_answers *answers, struct dane_decision *decision)
{
	add_name(decision, decision->base);
	if (!answers->is_mx) {
		add_name(decision, answers->host);
	} else if (answers->mx_state == DNS_SECURE) {
		add_name(decision, answers->next_hop_domain);
		add_name(decision, answers->expanded_domain);
	}
}

void dane_decide(const struct dane_answers *answers, struct dane_decision *decision)
{
	enum dane_step found = DANE_ASK_TLSA_EXPANDED;
	const struct dns_answer *tlsa = answers->tlsa_expanded;

	memset(decision, 0, sizeof *decision);
	if (!has_address(answers)) {
		decide_without_address(answers, decision);
		return;
	}
	if (decide_failure(answers, decision))
		return;
	if (!is_secure_data(tlsa)) {
		found = DANE_ASK_TLSA_ORIGINAL;
		tlsa = answers->tlsa_original;
	}
	if (!is_secure_data(tlsa)) {
		decision->outcome = DANE_ABSENT;
		return;
	}
	take_usable(decision, tlsa);
	snprintf(decision->base, DOMAIN_SIZE, "%s", dane_base(answers, found));
	name_references(answers, decision);
	decision->host_secure = decision->outcome == DANE_USABLE && answers->mx_state == DNS_SECURE;
}

void dane_decision_release(struct dane_decision *decision) { tlsa_set_release(&decision->tlsa); }
