/*
 * explain.c - why a host was not trusted, in one line: which host, which record, what was seen,
 * what was wanted (interface section 3).
 *
 * Each sentence is printed by a function of its own, from pieces that are formatted once into
 * struct facts.
 */
#include "policy/policy.h"

#include <stdio.h>
#include <string.h>

enum { RECORDS_SHOWN = 3, HEX_SHOWN = 8 };
enum { MATCHING_SHA256 = 1, MATCHING_SHA512 = 2 };

enum {
	HOST_TEXT = DOMAIN_SIZE + ADDR_TEXT + 16,
	OWNER_TEXT = DOMAIN_SIZE + 16,
	WANTED_TEXT = RECORDS_SHOWN * (TLSA_TEXT + 4) + 32,
	NAMES_TEXT = TLS_NAMES_MAX * (DOMAIN_SIZE + 4) + 32,
};

/* The pieces of the sentences. */
struct facts {
	char host[HOST_TEXT];      /* mx1.example.org[192.0.2.25]:25 */
	char owner[OWNER_TEXT];    /* _25._tcp.mx1.example.org */
	char wanted[WANTED_TEXT];  /* 3 1 1 ab12.. or 3 1 1 cd34.. and 2 more */
	char names[NAMES_TEXT];    /* mx1.example.org or example.org */
	char seen[32 + HEX_SHOWN]; /* key sha256 cd34.. */
	const char *why;
	const char *hint; /* to a mismatch */
};

/*
 * Digest agility (RFC 7671 9): SHA-512 silences SHA-256 of the same usage and selector. A record
 * that did not count must not be named, or "presented AB, wants AB" would be the answer to a stale
 * SHA-512.
 */
static bool is_silenced(const struct tlsa_set *tlsa, const struct tlsa *record)
{
	if (record->matching != MATCHING_SHA256)
		return false;
	for (size_t i = 0; i < tlsa->count; i++)
		if (tlsa->items[i].matching == MATCHING_SHA512 &&
		    tlsa->items[i].usage == record->usage &&
		    tlsa->items[i].selector == record->selector)
			return true;
	return false;
}

static void describe_records(const struct tlsa_set *tlsa, char *out, size_t size)
{
	size_t len = 0, shown = 0, more = 0;

	for (size_t i = 0; i < tlsa->count; i++) {
		char brief[TLSA_TEXT];

		if (is_silenced(tlsa, &tlsa->items[i]))
			continue;
		if (shown == RECORDS_SHOWN) {
			more++;
			continue;
		}
		len += (size_t)snprintf(out + len, size - len, "%s%s", shown > 0 ? " or " : "",
		    tlsa_brief(&tlsa->items[i], brief));
		shown++;
	}
	if (more > 0)
		snprintf(out + len, size - len, " and %zu more", more);
}

/* A digest of an authority matches nothing that is not sent, and never the server's own
 * certificate. */
static bool wants_authority(const struct tlsa_set *tlsa)
{
	for (size_t i = 0; i < tlsa->count; i++)
		if (tlsa->items[i].usage != TLSA_USAGE_TA)
			return false;
	return tlsa->count > 0;
}

static void describe_names(const struct tls_rule *rule, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < rule->name_count; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s%s", i > 0 ? " or " : "",
		    rule->names[i], rule->names_below && i == 0 ? " (or a name below)" : "");
}

static void collect(const struct route *route, const struct addr *address,
    const struct tls_proof *proof, struct facts *facts)
{
	char ip[ADDR_TEXT];

	memset(facts, 0, sizeof *facts);
	snprintf(facts->host, sizeof facts->host, "%s[%s]:%u", route->host, addr_ip(address, ip),
	    addr_port(address));
	snprintf(facts->owner, sizeof facts->owner, "_%u._tcp.%s", route->port, route->tlsa_base);
	describe_records(&route->rule.tlsa, facts->wanted, sizeof facts->wanted);
	describe_names(&route->rule, facts->names, sizeof facts->names);
	if (proof && proof->key_digest[0])
		snprintf(facts->seen, sizeof facts->seen, "key sha256 %.*s..", HEX_SHOWN,
		    proof->key_digest);
	else
		snprintf(facts->seen, sizeof facts->seen, "no certificate");
	facts->hint = wants_authority(&route->rule.tlsa)
			  ? " as an authority above it, sent in its chain"
			  : "";
	facts->why = proof && proof->text[0] ? proof->text : "no details";
}

/*
 * Not offered, or offered and then refused: a host with TLSA records gets nothing in clear
 * (R-DANE-21).
 */
static void explain_no_starttls(
    const struct route *route, const struct facts *facts, const char *what, struct refusal *refusal)
{
	if (route->tlsa_base[0])
		refusal_set(refusal, REASON_DANE_NO_STARTTLS,
		    "%s %s, but its TLSA records (%s) require TLS", facts->host, what,
		    facts->owner);
	else if (route->sts_mode == STS_MODE_ENFORCE)
		refusal_set(refusal, REASON_STS_NO_STARTTLS,
		    "%s %s, but the MTA-STS policy of %s requires TLS", facts->host, what,
		    route->sts_domain);
	else
		refusal_set(refusal, REASON_TLS_NOT_OFFERED, "%s %s, and policy %s requires TLS",
		    facts->host, what, route->policy_label);
}

static void explain_handshake(const struct facts *facts, struct refusal *refusal)
{
	refusal_set(refusal, REASON_TLS_HANDSHAKE, "TLS handshake with %s failed: %s", facts->host,
	    facts->why);
}

static void explain_sts(
    const struct route *route, const struct facts *facts, const char *why, struct refusal *refusal)
{
	refusal_set(refusal, REASON_STS_CERTIFICATE,
	    "%s presented %s, the MTA-STS policy of %s wants a trusted certificate for %s: %s",
	    facts->host, facts->seen, route->sts_domain, route->host, why);
}

static void explain_pkix(const struct facts *facts, struct refusal *refusal)
{
	refusal_set(refusal, REASON_PKIX_CERTIFICATE,
	    "%s presented %s, level secure wants a trusted certificate for %s: %s", facts->host,
	    facts->seen, facts->names, facts->why);
}

static void explain_dane(
    const struct facts *facts, enum tls_failure failure, struct refusal *refusal)
{
	switch (failure) {
	case TLS_FAIL_NAME:
		refusal_set(refusal, REASON_DANE_NAME,
		    "%s presented a certificate (%s) without the name that %s %s wants: %s",
		    facts->host, facts->seen, facts->owner, facts->wanted, facts->names);
		break;
	case TLS_FAIL_EXPIRED:
		refusal_set(refusal, REASON_DANE_EXPIRED,
		    "%s presented a certificate (%s) that is not valid now (%s), %s wants %s",
		    facts->host, facts->seen, facts->why, facts->owner, facts->wanted);
		break;
	case TLS_FAIL_CHAIN:
		refusal_set(refusal, REASON_DANE_CHAIN,
		    "%s presented a certificate (%s) whose chain fails (%s), %s wants %s",
		    facts->host, facts->seen, facts->why, facts->owner, facts->wanted);
		break;
	default:
		refusal_set(refusal, REASON_DANE_MISMATCH, "%s presented %s, %s wants %s%s",
		    facts->host, facts->seen, facts->owner, facts->wanted, facts->hint);
	}
}

void route_explain_tls(const struct route *route, const struct addr *address,
    const char *no_starttls, const struct tls_proof *proof, struct refusal *refusal)
{
	struct facts facts;

	collect(route, address, proof, &facts);
	if (no_starttls || !proof)
		explain_no_starttls(
		    route, &facts, no_starttls ? no_starttls : "did not begin TLS", refusal);
	else if (proof->failure == TLS_FAIL_HANDSHAKE)
		explain_handshake(&facts, refusal);
	else if (route->rule.need == TLS_DANE)
		explain_dane(&facts, proof->failure, refusal);
	else if (route->sts_mode == STS_MODE_ENFORCE)
		explain_sts(route, &facts, facts.why, refusal);
	else if (route->rule.need == TLS_PKIX)
		explain_pkix(&facts, refusal);
	else
		explain_handshake(&facts, refusal);
}

bool route_explain_testing(const struct route *route, const struct addr *address,
    const struct tls_proof *proof, struct refusal *refusal)
{
	struct facts facts;

	if (route->sts_mode != STS_MODE_TESTING)
		return false;
	collect(route, address, proof, &facts);
	if (route->would_fail.reason != REASON_NONE)
		*refusal = route->would_fail;
	else if (!proof)
		refusal_set(refusal, REASON_STS_NO_STARTTLS,
		    "%s gave no TLS, which the MTA-STS policy of %s wants", facts.host,
		    route->sts_domain);
	else if (proof->report[0])
		explain_sts(route, &facts, proof->report, refusal);
	else
		return false;
	return true;
}
