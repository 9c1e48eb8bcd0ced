/*
 * dane.h - the DANE decision for one MX host (RFC 7672 sections 2 and 3), pure.
 *
 * From the collected answers to what the host must prove. Table-tested case by case
 * (R-DANE-01..33); no I/O, no clock. route.c asks the questions, this module says which comes next:
 * so that the order of questions (R-DNS-08, -12, -14, -15) is decided where the verdict is decided.
 */
#ifndef POLICY_DANE_H
#define POLICY_DANE_H

#include "conf/conf.h"
#include "dnsval/answer.h"
#include "policy/reason.h"
#include "tls/rule.h"

/* The answers so far about one host; NULL: not asked. All borrowed. */
struct dane_answers {
	bool asks_tlsa;   /* level dane or dane-only; else TLSA is not asked, and absent */
	const char *host; /* as in the MX record (R-DNS-46) */
	uint16_t port;
	enum dns_state mx_state; /* of the MX answer; DNS_SECURE where next_hop names the host */
	bool is_mx; /* from an MX record; false: implicit MX, or next_hop without MX lookup */
	const char *next_hop_domain; /* recipient domain, or the domain of next_hop */
	const char *expanded_domain; /* its CNAME expansion; equal where there is none */
	const struct dns_answer *a, *aaaa;
	const struct dns_answer *cname;         /* R-DNS-12 */
	const struct dns_answer *tlsa_expanded; /* at the end of the chain */
	const struct dns_answer *tlsa_original; /* at the name in the MX record */
};

enum dane_step {
	DANE_ASK_CNAME,         /* CNAME of host */
	DANE_ASK_TLSA_EXPANDED, /* TLSA at the end of the host's alias chain, see dane_base() */
	DANE_ASK_TLSA_ORIGINAL,
	DANE_DECIDED,
};

enum dane_outcome {
	DANE_FAILED,     /* the host is unreachable for this attempt (R-DNS-07) */
	DANE_NO_ADDRESS, /* no address in either family, without failure */
	DANE_ABSENT,     /* no secure TLSA (or not asked): MTA-STS, then fallback */
	DANE_UNUSABLE,   /* secure TLSA, none usable: TLS without proof (R-DANE-02) */
	DANE_USABLE,
};

struct dane_decision {
	enum dane_outcome outcome;
	struct refusal refusal; /* DANE_FAILED, DANE_NO_ADDRESS */
	char base[DOMAIN_SIZE]; /* TLSA base domain; DANE_USABLE, DANE_UNUSABLE */
	bool host_secure;  /* DANE_USABLE with a secure MX: the next-hop domain itself is secured */
	size_t name_count; /* reference identifiers (R-DANE-11, -12), base first */
	char names[TLS_NAMES_MAX][DOMAIN_SIZE];
	struct tlsa_set tlsa; /* usable ones, sorted; owned */
};

/* What to ask next, both address answers being there; DANE_DECIDED: nothing more. */
enum dane_step dane_next_step(const struct dane_answers *answers);

/* The TLSA base domain of a TLSA step; the question is _PORT._tcp.BASE. Borrowed. */
const char *dane_base(const struct dane_answers *answers, enum dane_step step);

/* When dane_next_step says DANE_DECIDED. decision is overwritten; release it afterwards. */
void dane_decide(const struct dane_answers *answers, struct dane_decision *decision);
void dane_decision_release(struct dane_decision *decision);

#endif
