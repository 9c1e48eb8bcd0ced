/*
 * policy.h - which next hops a recipient domain has, in which order, and what each must prove.
 *
 * Which of configuration, DANE and MTA-STS prevails is route_decide()'s to say (decide.h). Two
 * requests: the destination (MX), once for each transaction; then a route (addresses, TLSA,
 * decision) host by host, asked for only when it is that host's turn, so that a worse preference is
 * never waited for while a better one is untried. All DNS lookups for one destination share [dns]
 * total. Whatever a callback gets is const and borrowed for the call unless said otherwise.
 */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "conf/conf.h"
#include "dnsval/resolver.h"
#include "dnsval/probe.h"
#include "policy/reason.h"
#include "policy/sts_policy.h"
#include "tls/rule.h"

#include <stdbool.h>

struct ev_loop;
struct mtasts;
struct policy;
struct sts_question;

/* Owner: main. */
struct policy *policy_new(struct ev_loop *loop, const struct conf *conf, struct resolver *resolver,
    struct probe *probe, struct mtasts *mtasts);
void policy_free(struct policy **policy);

/*
 * For the long-running program alone: a decision is composed once for as long as all answers that
 * it rests on may be used, not for each message (R-DNS-40). Without this each one is looked up.
 */
void policy_keep_decisions(struct policy *policy);

/*
 * Where our own listeners accept, with ports: an MX host found here is ourselves (R-DNS-28). A
 * wildcard stands for each local address. After binding. Addresses are copied.
 */
void policy_set_own(struct policy *policy, const struct addr *listeners, size_t count);

enum verdict { POLICY_CONNECT, POLICY_DEFER, POLICY_REFUSE };

/* ---- the destination ---- */

struct destination {
	enum verdict verdict;
	struct refusal refusal;              /* unless POLICY_CONNECT */
	char domain[DOMAIN_SIZE];            /* of the recipient, normal form */
	const struct conf_policy *conf;      /* what applies to it */
	const struct conf_domain *exception; /* the [domain] section in force, or NULL */
	struct conf_policy fixed;   /* of destination_lookup_start_fixed(): conf points here */
	char next_hop[DOMAIN_SIZE]; /* next-hop domain: the recipient's, or that of next_hop */
	char expanded[DOMAIN_SIZE]; /* after CNAME (R-DNS-22) */
	enum dns_state mx_state;
	bool is_mx;    /* hosts come from MX records */
	bool is_fixed; /* next_hop written without MX lookup */
	uint16_t port;
	double dns_seconds;       /* spent waiting for DNS so far; routes add to it */
	size_t address_count;     /* given out by routes so far; never more than ROUTE_ADDR_MAX */
	struct sts_question *sts; /* its MTA-STS policy; routes ask, NULL: nobody has. Owned */
	/* From that policy's lookup, once a route relied on it: worth a warning, refuses nothing
	 * (sts-fetch, sts-policy-invalid); REASON_NONE: nothing */
	struct refusal notice;
	uint64_t decision; /* policy's own: what is kept of it; 0: nothing */
	size_t host_count; /* ascending preference, random order within one (R-DNS-25) */
	struct destination_host {
		uint16_t preference;
		char name[DOMAIN_SIZE]; /* "" where next_hop is an address */
	} hosts[DNS_MX_MAX];            /* last, since a copy holds only those that there are */
};

typedef void destination_fn(struct destination *destination, void *arg);

/*
 * domain: normal form. Exactly one callback, on a later turn. The destination is handed over to it;
 * destination_free(). At levels dane and dane-only this waits for the DNSSEC probe first, within
 * the caller's own deadline (R-DNS-37).
 */
struct destination_lookup *destination_lookup_start(
    struct policy *policy, const char *domain, destination_fn *callback, void *arg);

/* What that would come to where it was decided a moment ago (R-DNS-40): POLICY_CONNECT, the
 * caller's. NULL: it must be looked up. */
struct destination *destination_find_kept(struct policy *policy, const char *domain);

/* The same under this policy, which must outlive the destination, in place of the configuration's:
 * for who asks what would be without an exception. */
struct destination_lookup *destination_lookup_start_under(struct policy *policy, const char *domain,
    const struct conf_policy *conf, destination_fn *callback, void *arg);

/*
 * The same for a host in place of a domain, as if next_hop were [host]:port: for who asks about an
 * MX host.
 */
struct destination_lookup *destination_lookup_start_host(
    struct policy *policy, const char *host, uint16_t port, destination_fn *callback, void *arg);

/* The same where the way is fixed beforehand, as if next_hop were the address; label: for texts and
 * the pool. [domain ADDRESS] says what it must prove, else [policy]. */
struct destination_lookup *destination_lookup_start_fixed(struct policy *policy, const char *label,
    const struct addr *address, destination_fn *callback, void *arg);
void destination_lookup_cancel(struct destination_lookup **lookup);
void destination_free(struct destination **destination);

/* ---- ourselves, behind another host of the same preference ---- */

struct self_search;

/* refusal: mx-loop, borrowed; NULL: none of them is ourselves, as far as DNS said. */
typedef void self_search_fn(const struct refusal *refusal, void *arg);

/*
 * Looks among the hosts after index that have its preference. Exactly one callback, on a later
 * turn. NULL, and no callback: there is nothing to look for. The destination must outlive it.
 */
struct self_search *self_search_start(struct policy *policy, const struct destination *destination,
    size_t index, self_search_fn *callback, void *arg);
void self_search_cancel(struct self_search **search);

/* ---- is this an address of any of its hosts? ---- */

struct address_search;

enum { ADDRESS_SEARCH_SHOWN = 4 };

struct address_search_result {
	bool is_found;
	bool is_complete;       /* every host answered; else it may still be one */
	struct refusal failure; /* what the first lookup that failed means; REASON_NONE: none did */
	size_t shown_count;
	struct addr shown[ADDRESS_SEARCH_SHOWN]; /* the first that the hosts have instead */
};

typedef void address_search_fn(const struct address_search_result *result, void *arg);

/*
 * Asks host by host, best first, for addresses of wanted's family, and ends with the first that is
 * it, whatever the ports. Exactly one callback, on a later turn. Needs the destination no longer.
 */
struct address_search *address_search_start(struct policy *policy,
    const struct destination *destination, const struct addr *wanted, address_search_fn *callback,
    void *arg);
void address_search_cancel(struct address_search **search);

/* ---- a route: one host of it ---- */

enum { ROUTE_ADDR_MAX = DNS_ADDR_MAX }; /* of one destination, over all its hosts (R-DNS-30) */

/* Not to be changed once it was decided: whoever asks for a route that is kept gets the same one. */
struct route {
	enum verdict verdict;
	struct refusal refusal; /* unless POLICY_CONNECT */
	bool is_self;           /* this preference and worse are discarded; reason mx-loop */
	char host[DOMAIN_SIZE]; /* as in the MX record; "" for an address */
	uint16_t preference;
	uint16_t port;
	size_t address_count;
	struct addr addresses[ROUTE_ADDR_MAX]; /* in the order to try: families interleaved */
	struct tls_rule rule;     /* what must be proven before MAIL; owned by the route */
	bool may_report_only;     /* enforce = no applies: a TLS refusal is delivered as `may` */
	bool secures_domain;      /* proof means "verified" in the log (R-TLSSEC-17) */
	const char *policy_label; /* log's policy=: "dane", "half-dane", "may", ...; never NULL */
	enum dns_state mx_state;
	char tlsa_base[DOMAIN_SIZE];  /* for texts: _25._tcp.BASE; "" without DANE */
	enum sts_mode sts_mode;       /* of the MTA-STS policy that applies; NONE: none does */
	char sts_domain[DOMAIN_SIZE]; /* whose policy that is */
	struct refusal would_fail;    /* mode testing: sts-mx if the host is not listed */
	unsigned further_holders;     /* policy's own: who else has it */
};

typedef void route_fn(const struct route *route, void *arg);

/*
 * index < destination->host_count. The destination must outlive the lookup, and have only one at a
 * time. Exactly one callback, on a later turn. The route is handed over to it; route_free().
 */
struct route_lookup *route_lookup_start(struct policy *policy, struct destination *destination,
    size_t index, route_fn *callback, void *arg);
/* What that would come to where it was decided a moment ago: a host that may be dialled; the
 * caller's. NULL: it must be looked up. */
const struct route *route_find_kept(
    struct policy *policy, struct destination *destination, size_t index);
void route_lookup_cancel(struct route_lookup **lookup);
void route_free(const struct route **route); /* the last one that has it, its memory */

/* Refused for a TLS reason alone, which `enforce = no` turns into delivery as `may`: such a route
 * keeps its addresses. */
bool route_may_be_relaxed(const struct route *route);

/*
 * The refusal that a failed proof or a missing STARTTLS means under this route, in the words of
 * interface section 3. no_starttls: what the host did instead of beginning TLS ("does not offer
 * STARTTLS"), NULL where a handshake was begun and proof tells the rest.
 */
void route_explain_tls(const struct route *route, const struct addr *address,
    const char *no_starttls, const struct tls_proof *proof, struct refusal *refusal);

/*
 * Under a policy of mode testing: what would have refused this connection in mode enforce (RFC 8461
 * 5). proof NULL: in clear. false: nothing would have, or there is no such policy.
 */
bool route_explain_testing(const struct route *route, const struct addr *address,
    const struct tls_proof *proof, struct refusal *refusal);

/*
 * A host failed what an enforced policy demands: is that policy still the published one (R-STS-30)?
 * The next message will know.
 */
void route_recheck_sts(struct policy *policy, const struct route *route);

#endif
