/*
 * decide.c - level x DANE outcome x MX state -> need, label, verdict (interface section 2, levels).
 *
 * TLS_MAY is reachable in three ways only: the level says so, nothing is published and `fallback`
 * says so, or insecure_mx says that records behind an unsigned MX do not count. No failure leads to
 * it.
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
static void demand_pkix(const struct destination *destination, struct route *route)
{
	struct tls_rule *rule = &route->rule;

	add_name(rule, destination->next_hop);
	rule->names_below = true;
	if (destination->mx_state == DNS_SECURE && route->host[0] &&
	    strcmp(route->host, destination->next_hop) != 0)
		add_name(rule, route->host);
}

static void demand_dane(struct dane_decision *dane, struct route *route)
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
	if (need == TLS_PKIX)
		demand_pkix(destination, route);
	if (need == TLS_DANE)
		demand_dane(dane, route);
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

static void decide_dane(
    const struct destination *destination, struct dane_decision *dane, struct route *route)
{
	const struct conf_policy *conf = destination->conf;
	bool is_usable = dane->outcome == DANE_USABLE;
	enum tls_need need = is_usable ? TLS_DANE : TLS_ENCRYPT;
	const char *label = !is_usable ? "dane-unusable" : dane->host_secure ? "dane" : "half-dane";

	if (dane->outcome == DANE_ABSENT) {
		/*
		 * MTA-STS belongs here: DANE is proven absent, the fallback has not been taken (RFC
		 * 8461 2).
		 */
		demand(destination, dane, route, need_of_level(conf->fallback),
		    conf_level_name(conf->fallback));
		return;
	}
	if (destination->mx_state != DNS_SECURE)
		need = half_dane_need(conf, need);
	demand(destination, dane, route, need, label);
	route->secures_domain = is_usable && dane->host_secure;
}

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

void route_decide(
    const struct destination *destination, struct dane_decision *dane, struct route *route)
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
	} else if (level == LEVEL_DANE) {
		decide_dane(destination, dane, route);
	} else if (level == LEVEL_DANE_ONLY) {
		decide_dane_only(destination, dane, route);
	} else {
		demand(destination, dane, route, need_of_level(level), conf_level_name(level));
		route->secures_domain = level == LEVEL_SECURE;
	}
}
