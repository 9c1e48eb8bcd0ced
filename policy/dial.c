/*
 * dial.c - see dial.h. First ourselves are looked for, then the families are merged, then the
 * special addresses fall out.
 */
#include "policy/dial.h"

#include "conf/log.h"
#include "policy/answers.h"
#include "policy/internal.h"

static bool is_wildcard(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/*
 * Address and port: another mail server on this machine, at another address or port, is a next hop
 * like any other. A wildcard listener accepts at each local address.
 */
static bool is_own(const struct dial_rules *rules, const struct addr *address)
{
	for (size_t i = 0; i < rules->own_count; i++) {
		const struct addr *own = &rules->own[i];

		if (addr_port(own) != addr_port(address))
			continue;
		if (is_wildcard(own) ? addr_is_local(address) : addr_equal_ip(own, address))
			return true;
	}
	return false;
}

enum dial dial_judge(const struct dial_rules *rules, const struct addr *address)
{
	enum addr_class class = addr_classify(address);

	if (class == ADDR_NEVER)
		return DIAL_NEVER;
	if (is_own(rules, address))
		return DIAL_SELF;
	if (class == ADDR_PUBLIC || rules->is_literal ||
	    cidr_list_contains(rules->allowed, address))
		return DIAL_FINE;
	return DIAL_NOT_ALLOWED;
}

static bool allows_family(enum ip_choice ip, int family)
{
	return family == AF_INET ? ip != IP_ONLY_V6 : ip != IP_ONLY_V4;
}

size_t dial_order(enum ip_choice ip, const struct addr *v4, size_t v4_count, const struct addr *v6,
    size_t v6_count, struct addr *out)
{
	bool take_v4 = ip == IP_ONLY_V4 || ip == IP_PREFER_V4;
	size_t i4 = allows_family(ip, AF_INET) ? 0 : v4_count;
	size_t i6 = allows_family(ip, AF_INET6) ? 0 : v6_count;
	size_t count = 0;

	while (i4 < v4_count || i6 < v6_count) {
		if (i6 == v6_count || (take_v4 && i4 < v4_count))
			out[count++] = v4[i4++];
		else
			out[count++] = v6[i6++];
		take_v4 = !take_v4;
	}
	return count;
}

/* ---- refusals ---- */

static void refuse(struct route *route, const struct refusal *refusal)
{
	route->refusal = *refusal;
	route->verdict = verdict_of(refusal->reason);
}

static const char *host_name(const struct route *route)
{
	return route->host[0] ? route->host : "next_hop";
}

void dial_explain_self(const char *host, const struct addr *own, struct refusal *refusal)
{
	char text[ADDR_TEXT];

	refusal_set(refusal, REASON_MX_LOOP, "%s is this proxy itself (%s): mail to it would loop",
	    host, addr_bracketed(own, text));
}

/*
 * Finding ourselves among a host's addresses condemns the host, not the address: mail would come
 * back to us.
 */
static void refuse_self(struct route *route, const struct addr *own)
{
	struct refusal refusal;

	route->is_self = true;
	dial_explain_self(host_name(route), own, &refusal);
	refuse(route, &refusal);
}

static void explain_dial(
    const struct route *route, const struct addr *address, enum dial dial, struct refusal *refusal)
{
	char text[ADDR_TEXT];

	refusal_set(refusal, REASON_NO_ADDRESS, "%s resolves to %s, which %s", host_name(route),
	    addr_ip(address, text),
	    dial == DIAL_NEVER ? "cannot be the address of a host"
			       : "allow_addresses does not name");
}

/* Nothing in the families that `ip` allows; but one that failed may have had an address. */
static void refuse_families(enum ip_choice ip, const struct dns_answer *a,
    const struct dns_answer *aaaa, struct route *route)
{
	const struct dns_answer *wanted = ip == IP_ONLY_V4 ? a : aaaa;
	struct refusal refusal;

	if (wanted->state == DNS_FAILED)
		answer_refusal(wanted, &refusal);
	else
		refusal_set(&refusal, REASON_NO_ADDRESS, "%s has no %s record, and ip = %s",
		    route->host, dns_type_name(wanted->type), ip == IP_ONLY_V4 ? "ipv4" : "ipv6");
	refuse(route, &refusal);
}

static void refuse_overflow(struct route *route)
{
	struct refusal refusal;

	refusal_set(&refusal, REASON_NO_ADDRESS,
	    "%s is not tried: more than %d addresses for one domain", route->host, ROUTE_ADDR_MAX);
	refuse(route, &refusal);
}

/* ---- choosing ---- */

static size_t with_port(const struct dns_answer *answer, uint16_t port, struct addr *out)
{
	size_t count = answer->count < DNS_ADDR_MAX ? answer->count : DNS_ADDR_MAX;

	for (size_t i = 0; i < count; i++) {
		out[i] = answer->addresses[i];
		addr_set_port(&out[i], port);
	}
	return count;
}

/* In all families: an address is ours also where `ip` would not have it dialled. */
static bool finds_itself(
    const struct dial_rules *rules, const struct addr *addresses, size_t count, struct route *route)
{
	for (size_t i = 0; i < count; i++) {
		if (dial_judge(rules, &addresses[i]) != DIAL_SELF)
			continue;
		refuse_self(route, &addresses[i]);
		return true;
	}
	return false;
}

static bool keep_allowed(
    const struct dial_rules *rules, const struct addr *found, size_t count, struct route *route)
{
	struct refusal skipped = {.reason = REASON_NONE};

	for (size_t i = 0; i < count; i++) {
		enum dial dial = dial_judge(rules, &found[i]);

		if (dial == DIAL_FINE && route->address_count < rules->room) {
			route->addresses[route->address_count++] = found[i];
		} else if (dial == DIAL_FINE) {
			log_warning("%s has more addresses than are tried for one domain (%d)",
			    route->host, ROUTE_ADDR_MAX);
			break;
		} else {
			explain_dial(route, &found[i], dial, &skipped);
			log_warning("an address is skipped: %s", skipped.text);
		}
	}
	if (route->address_count > 0)
		return true;
	if (skipped.reason != REASON_NONE)
		refuse(route, &skipped);
	else
		refuse_overflow(route);
	return false;
}

bool dial_choose(const struct dial_rules *rules, const struct dns_answer *a,
    const struct dns_answer *aaaa, struct route *route)
{
	struct addr v4[DNS_ADDR_MAX], v6[DNS_ADDR_MAX], found[2 * DNS_ADDR_MAX];
	size_t v4_count = with_port(a, route->port, v4);
	size_t v6_count = with_port(aaaa, route->port, v6);
	size_t count = dial_order(rules->ip, v4, v4_count, v6, v6_count, found);

	if (finds_itself(rules, v6, v6_count, route) || finds_itself(rules, v4, v4_count, route))
		return false;
	if (count == 0) {
		refuse_families(rules->ip, a, aaaa, route);
		return false;
	}
	return keep_allowed(rules, found, count, route);
}

bool dial_choose_literal(
    const struct dial_rules *rules, const struct addr *address, struct route *route)
{
	return !finds_itself(rules, address, 1, route) && keep_allowed(rules, address, 1, route);
}
