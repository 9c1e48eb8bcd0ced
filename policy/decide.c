/*
 * decide.c - level x DANE outcome x MX state x MTA-STS -> need, label, verdict (interface section
 * 2, levels).
 *
 * DANE is decided first. Where it does not authenticate the host, an MTA-STS policy that enforces
 * demands a certificate on top of whatever DANE left (RFC 8461 2, R-DANE-33); one that tests only
 * has the outcome reported. TLS_MAY is reachable in three ways only: the level says so, nothing
 * that binds is published and `fallback` says so, or insecure_mx says that records behind an
 * unsigned MX do not count. No failure leads to it.
 */
#include "policy/decide.h"

#include "policy/internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void refuse(struct route *route, enum verdict verdict, const struct refusal *refusal)
{
	route->verdict = verdict;
	route->refusal = *refusal;
}

/* ---- the rule ---- */

static enum tls_need need_of_level(enum level level)
{
	switch (level) {
	case LEVEL_NONE:
		return TLS_NONE;
	case LEVEL_MAY:
		return TLS_MAY;
	case LEVEL_ENCRYPT:
		return TLS_ENCRYPT;
	case LEVEL_DANE:
	case LEVEL_DANE_ONLY:
		return TLS_DANE;
	case LEVEL_SECURE:
		return TLS_PKIX;
	}
	assert(!"a level");
	return TLS_PKIX;
}

static void add_name(struct tls_rule *rule, const char *name)
{
	assert(rule->name_count < TLS_NAMES_MAX);
	snprintf(rule->names[rule->name_count++], DOMAIN_SIZE, "%s", name);
}

/*
 * Level secure: the next-hop domain or a name below it; the MX host's own name only where no
 * attacker on the net can have chosen that host. names_below reaches the first name alone.
 */
static void name_secure(const struct destination *destination, struct route *route)
{
	struct tls_rule *rule = &route->rule;

	add_name(rule, destination->next_hop);
	rule->names_below = true;
	if (destination->mx_state == DNS_SECURE && route->host[0] &&
	    strcmp(route->host, destination->next_hop) != 0)
		add_name(rule, route->host);
}

static void take_records(struct dane_decision *dane, struct route *route)
{
	struct tls_rule *rule = &route->rule;

	rule->tlsa = dane->tlsa;
	memset(&dane->tlsa, 0, sizeof dane->tlsa);
	for (size_t i = 0; i < dane->name_count; i++)
		add_name(rule, dane->names[i]);
}

static enum tls_version min_version(enum tls_need need, enum tls_version configured)
{
	/* RFC 8996 and R-DANE-19: an older protocol cannot carry a proof, whatever min_tls says. */
	if ((need == TLS_PKIX || need == TLS_DANE) && configured < TLS_VERSION_1_2)
		return TLS_VERSION_1_2;
	return configured;
}

static void demand(const struct destination *destination, struct dane_decision *dane,
    struct route *route, enum tls_need need, const char *label)
{
	struct tls_rule *rule = &route->rule;

	route->verdict = POLICY_CONNECT;
	route->policy_label = label;
	rule->need = need;
	rule->min_version = min_version(need, destination->conf->min_tls);
	/* SNI is the TLSA base domain wherever there is one (RFC 7672 8.1). */
	snprintf(rule->sni, sizeof rule->sni, "%s", dane->base[0] ? dane->base : route->host);
	if (need == TLS_DANE)
		take_records(dane, route);
}

/* ---- the levels ---- */

/*
 * A secure TLSA RRset behind an unsigned MX (R-DANE-25). `may`: the records do not count, so the
 * fallback does.
 */
static enum tls_need half_dane_need(const struct conf_policy *conf, enum tls_need full)
{
	switch (conf->insecure_mx) {
	case LEVEL_MAY:
		return need_of_level(conf->fallback);
	case LEVEL_ENCRYPT:
		return TLS_ENCRYPT;
	default:
		return full;
	}
}

/* What a host must prove by DANE, or by the fallback where it has no TLSA records. */
static enum tls_need dane_need(
    const struct destination *destination, const struct dane_decision *dane)
{
	enum tls_need full = dane->outcome == DANE_USABLE ? TLS_DANE : TLS_ENCRYPT;

	if (dane->outcome == DANE_ABSENT)
		return need_of_level(destination->conf->fallback);
	if (destination->mx_state != DNS_SECURE)
		return half_dane_need(destination->conf, full);
	return full;
}

static const char *dane_label(const struct conf_policy *conf, const struct dane_decision *dane)
{
	if (dane->outcome == DANE_ABSENT)
		return conf_level_name(conf->fallback);
	if (dane->outcome == DANE_UNUSABLE)
		return "dane-unusable";
	return dane->host_secure ? "dane" : "half-dane";
}

static void decide_dane(
    const struct destination *destination, struct dane_decision *dane, struct route *route)
{
	demand(destination, dane, route, dane_need(destination, dane),
	    dane_label(destination->conf, dane));
	route->secures_domain = dane->outcome == DANE_USABLE && dane->host_secure;
}

/* ---- MTA-STS (RFC 8461 sections 4 and 5) ---- */

bool route_needs_sts(const struct destination *destination, const struct dane_decision *dane)
{
	const struct conf_policy *conf = destination->conf;

	return conf->level == LEVEL_DANE && conf->mta_sts && dane->outcome != DANE_FAILED &&
	       dane->outcome != DANE_NO_ADDRESS && dane_need(destination, dane) != TLS_DANE;
}

enum { PATTERNS_SHOWN = 3 };

static void explain_unlisted(
    const struct route *route, const struct sts_policy *policy, struct refusal *refusal)
{
	char listed[PATTERNS_SHOWN * (DOMAIN_SIZE + 8) + 32] = "no host";
	size_t len = 0;

	for (size_t i = 0; i < policy->mx_count && i < PATTERNS_SHOWN; i++)
		len += (size_t)snprintf(
		    listed + len, sizeof listed - len, "%s%s", i > 0 ? " or " : "", policy->mx[i]);
	if (policy->mx_count > PATTERNS_SHOWN)
		snprintf(listed + len, sizeof listed - len, " and %zu more",
		    policy->mx_count - PATTERNS_SHOWN);
	refusal_set(refusal, REASON_STS_MX,
	    "%s is an MX host of %s, whose MTA-STS policy allows only %s: its owner must mend one "
	    "of them",
	    route->host, route->sts_domain, listed);
}

/* A trusted certificate for the host's own name as the MX record has it, which is the SNI too. */
static void demand_sts(
    const struct destination *destination, struct dane_decision *dane, struct route *route)
{
	struct tls_rule *rule = &route->rule;

	demand(destination, dane, route, TLS_PKIX, "sts:enforce");
	snprintf(rule->sni, sizeof rule->sni, "%s", route->host);
	add_name(rule, route->host);
	route->secures_domain = true;
}

static void enforce_sts(const struct destination *destination, struct dane_decision *dane,
    const struct sts_policy *policy, struct route *route)
{
	struct refusal refusal;

	demand_sts(destination, dane, route);
	if (sts_policy_matches(policy, route->host))
		return;
	explain_unlisted(route, policy, &refusal);
	refuse(route, POLICY_DEFER, &refusal);
}

/* As if there was no policy, but what would have failed is found out and told (R-STS-28). */
static void test_sts(const struct destination *destination, struct dane_decision *dane,
    const struct sts_policy *policy, struct route *route)
{
	decide_dane(destination, dane, route);
	if (dane->outcome == DANE_ABSENT)
		route->policy_label = "sts:testing";
	snprintf(route->rule.report_name, sizeof route->rule.report_name, "%s", route->host);
	if (!sts_policy_matches(policy, route->host))
		explain_unlisted(route, policy, &route->would_fail);
}

/* The rule stands although the route is refused: `enforce = no` may still deliver. */
static void defer_sts(const struct destination *destination, struct dane_decision *dane,
    const struct refusal *refusal, struct route *route)
{
	demand_sts(destination, dane, route);
	route->policy_label = conf_level_name(LEVEL_DANE);
	refuse(route, verdict_of(refusal->reason), refusal);
}

static void decide_sts(const struct destination *destination, struct dane_decision *dane,
    const struct sts_answer *sts, struct route *route)
{
	if (sts->state == STS_DEFER) {
		defer_sts(destination, dane, &sts->refusal, route);
		return;
	}
	if (sts->state == STS_ABSENT || sts->policy.mode == STS_MODE_NONE) {
		decide_dane(destination, dane, route);
		return;
	}
	route->sts_mode = sts->policy.mode;
	snprintf(route->sts_domain, sizeof route->sts_domain, "%s", destination->next_hop);
	if (sts->policy.mode == STS_MODE_ENFORCE)
		enforce_sts(destination, dane, &sts->policy, route);
	else
		test_sts(destination, dane, &sts->policy, route);
}

/* ---- level dane-only ---- */

/* What level dane-only misses, in the order in which an owner would have to mend it (R-DANE-26). */
static void explain_dane_required(const struct destination *destination,
    const struct dane_decision *dane, const struct route *route, struct refusal *refusal)
{
	if (!route->host[0])
		refusal_set(refusal, REASON_DANE_REQUIRED,
		    "level dane-only needs TLSA records, which an address in next_hop cannot have: "
		    "name the host of %s",
		    destination->domain);
	else if (destination->mx_state != DNS_SECURE)
		refusal_set(refusal, REASON_DANE_REQUIRED,
		    "the MX lookup of %s is not secured by DNSSEC, which level dane-only requires",
		    destination->next_hop);
	else if (dane->outcome == DANE_UNUSABLE)
		refusal_set(refusal, REASON_DANE_REQUIRED,
		    "no TLSA record of _%u._tcp.%s is usable, one of which level dane-only "
		    "requires",
		    route->port, dane->base);
	else
		refusal_set(refusal, REASON_DANE_REQUIRED,
		    "%s has no secure TLSA record (_%u._tcp.%s), which level dane-only requires",
		    route->host, route->port, route->host);
}

static void decide_dane_only(
    const struct destination *destination, struct dane_decision *dane, struct route *route)
{
	struct refusal refusal;

	if (dane->outcome == DANE_USABLE && dane->host_secure) {
		demand(destination, dane, route, TLS_DANE, "dane-only");
		route->secures_domain = true;
		return;
	}
	explain_dane_required(destination, dane, route, &refusal);
	refuse(route, POLICY_DEFER, &refusal);
}

/* An implicit MX without any address: the domain takes no mail at all (RFC 5321 5.1). */
static void decide_no_address(
    const struct destination *destination, const struct dane_decision *dane, struct route *route)
{
	struct refusal refusal = dane->refusal;

	if (!destination->is_mx && !destination->conf->next_hop.set)
		refusal_set(&refusal, REASON_NO_MAIL_HOST, "%s has neither MX nor address records",
		    destination->domain);
	refuse(route, verdict_of(refusal.reason), &refusal);
}

static void decide_secure(
    const struct destination *destination, struct dane_decision *dane, struct route *route)
{
	demand(destination, dane, route, TLS_PKIX, conf_level_name(LEVEL_SECURE));
	name_secure(destination, route);
	route->secures_domain = true;
}

void route_decide(const struct destination *destination, struct dane_decision *dane,
    const struct sts_answer *sts, struct route *route)
{
	enum level level = destination->conf->level;

	route->policy_label = conf_level_name(level);
	/* The word of an operator who asked for DANE or nothing is not reported away. */
	route->may_report_only = !destination->conf->enforce && level != LEVEL_DANE_ONLY;
	snprintf(route->tlsa_base, sizeof route->tlsa_base, "%s", dane->base);
	if (dane->outcome == DANE_FAILED) {
		refuse(route, POLICY_DEFER, &dane->refusal);
	} else if (dane->outcome == DANE_NO_ADDRESS) {
		decide_no_address(destination, dane, route);
	} else if (sts) {
		decide_sts(destination, dane, sts, route);
	} else if (level == LEVEL_DANE) {
		decide_dane(destination, dane, route);
	} else if (level == LEVEL_DANE_ONLY) {
		decide_dane_only(destination, dane, route);
	} else if (level == LEVEL_SECURE) {
		decide_secure(destination, dane, route);
	} else {
		demand(destination, dane, route, need_of_level(level), conf_level_name(level));
	}
}

bool route_may_be_relaxed(const struct route *route)
{
	return route->may_report_only && reason_is_tls(route->refusal.reason);
}
