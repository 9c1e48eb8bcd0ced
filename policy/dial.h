/*
 * dial.h - which of a host's addresses may be dialled, and in which order (R-DNS-28, -29,
 * R-NET-16).
 *
 * Anybody may publish an MX record for 10.0.0.5 or 127.0.0.1: an address from DNS must be public or
 * named by the operator. Pure, but for asking the kernel which addresses are its own where a
 * listener has a wildcard.
 */
#ifndef POLICY_DIAL_H
#define POLICY_DIAL_H

#include "conf/addr.h"
#include "conf/conf.h"
#include "dnsval/answer.h"
#include "policy/policy.h"

#include <stdbool.h>
#include <stddef.h>

struct dial_rules {
	enum ip_choice ip;
	const struct cidr_list *allowed; /* allow_addresses of the destination */
	bool is_literal;                 /* the operator wrote the address itself in next_hop */
	size_t own_count;                /* where our own listeners accept */
	const struct addr *own;
	size_t room; /* how many more addresses the destination may have */
};

enum dial {
	DIAL_FINE,
	DIAL_SELF,        /* one of our own listeners */
	DIAL_NOT_ALLOWED, /* special, and not named in allow_addresses */
	DIAL_NEVER,       /* unspecified, multicast, broadcast */
};

/* address: with the port that would be dialled. */
enum dial dial_judge(const struct dial_rules *rules, const struct addr *address);

/* Why a host at one of our own addresses gets no mail. */
void dial_explain_self(const char *host, const struct addr *own, struct refusal *refusal);

/*
 * Merges both families into out, alternating, the preferred family (IPv6 unless `ip` says
 * otherwise) first, so that a family that is broken here costs one wait and not all (R-NET-16). A
 * family that `ip` excludes is left out. out holds v4_count + v6_count; returns how many it got.
 */
size_t dial_order(enum ip_choice ip, const struct addr *v4, size_t v4_count, const struct addr *v6,
    size_t v6_count, struct addr *out);

/*
 * Fills the addresses of a route whose host and port are set, from its two address answers, at
 * least one of which has data; refuses the route where none is left. false: refused.
 */
bool dial_choose(const struct dial_rules *rules, const struct dns_answer *a,
    const struct dns_answer *aaaa, struct route *route);

/* The same for the address that the operator wrote in next_hop. */
bool dial_choose_literal(
    const struct dial_rules *rules, const struct addr *address, struct route *route);

#endif
