/*
 * answer.h - from a wire-format DNS answer to plain data, and how sure we may be of it.
 *
 * Pure: no I/O, no clock. Every lookup is reduced to one of five results (R-DNS-01): secure or
 * insecure, each with data or without, or failed. "Failed" covers bogus, SERVFAIL, timeout and what
 * cannot be parsed; policy never tells those apart (R-DNS-02), only the texts for people do.
 */
#ifndef DNSVAL_ANSWER_H
#define DNSVAL_ANSWER_H

#include "conf/addr.h"
#include "conf/dns_type.h"
#include "conf/domain.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dns_state { DNS_FAILED, DNS_INSECURE, DNS_SECURE };

/* R-DNS-30; more TLSA records or data than this make the answer DNS_FAILED, more of the others are
 * cut and flagged. */
enum {
	DNS_MX_MAX = 20,
	DNS_ADDR_MAX = 40,
	DNS_TXT_MAX = 20,
	DNS_TLSA_MAX = 100,
	DNS_TLSA_OCTETS_MAX = 65536
};

struct dns_mx {
	uint16_t preference;
	char exchange[DOMAIN_SIZE]; /* normal form; "" is the root: null MX */
};

struct dns_tlsa {
	uint8_t usage, selector, matching;
	size_t len;
	const uint8_t *data; /* owned by the answer */
};

struct dns_text {
	size_t len;
	const char
	    *data; /* the strings of one record joined; may hold any octet; owned by the answer */
};

struct dns_answer {
	enum dns_type type;
	enum dns_state state;
	bool bogus;    /* failed because validation said so */
	bool excess;   /* failed because there is more than is read: asking again is no help */
	bool busy;     /* failed because too many lookups were under way; nothing was asked */
	bool nxdomain; /* the name (end of the chain) does not exist */
	bool via_cname;
	bool cut; /* there was more than the limit, or unusable exchanges were skipped; count 0
		     is then no absence */
	char question[DOMAIN_SIZE];
	char name[DOMAIN_SIZE]; /* end of the CNAME chain; the question where there is none */
	uint32_t ttl; /* smallest of chain and data, at most 604800; without data that of the zone's
			 word that there is none (RFC 2308 5), 0 if it did not give it */
	size_t count; /* records below; 0: proven or believed absent, or failed */
	union {
		struct addr *addresses; /* DNS_A, DNS_AAAA; port 0 */
		struct dns_mx *mx; /* by ascending preference; equal ones in the answer's order */
		struct dns_tlsa *tlsa;
		struct dns_text *text;
		char (*names)[DOMAIN_SIZE]; /* DNS_CNAME */
	};                                  /* other types: count alone */
	char why[256]; /* failed: what a person should know; holds peers' text, not escaped */
};

/*
 * The outcome of one lookup as the resolver library reports it; packet is borrowed. resolver_rcode
 * is the library's own outcome, sec its verdict (0 insecure or failure, 1 bogus, 2 secure):
 * pitfalls C.2 items 2 to 4. Never NULL: what cannot be parsed is a failed answer.
 */
struct dns_answer *dns_answer_parse(const char *question, enum dns_type type, int resolver_rcode,
    int sec, const void *packet, size_t len, const char *why_bogus);

/* A failed answer without a packet: timed out, too busy. */
struct dns_answer *dns_answer_failed(const char *question, enum dns_type type, const char *why);
void dns_answer_free(struct dns_answer **answer);

const char *dns_state_name(enum dns_state state); /* "secure", "insecure", "failed" */

#endif
