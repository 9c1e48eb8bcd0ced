/*
 * decisions.c - see decisions.h: a hash table by domain, and a list from the latest used to the
 * longest unused.
 *
 * A decision is a destination and, one by one, the routes of its hosts. A copy holds only as many
 * hosts as there are, so that it costs less than one question.
 */
#include "policy/decisions.h"

#include "conf/clock.h"
#include "conf/mem.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* The default function falls through between cases, which clang does not let pass. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

struct kept_route {
	double until; /* of the steady clock */
	const struct route *route;
};

struct decision {
	UT_hash_handle hh; /* by the destination's domain */
	struct decision *prev, *next;
	double until;
	struct destination *destination;
	struct kept_route routes[DNS_MX_MAX]; /* of its hosts */
};

struct decisions {
	struct decision *table;
	struct decision *latest; /* first of the list */
	uint64_t serial;
};

struct decisions *decisions_new(void) { return mem_zero(1, sizeof(struct decisions)); }

static void drop(struct decisions *d, struct decision *decision)
{
	HASH_DEL(d->table, decision);
	DL_DELETE(d->latest, decision);
	for (size_t i = 0; i < DNS_MX_MAX; i++)
		route_free(&decision->routes[i].route);
	destination_free(&decision->destination);
	free(decision);
}

void decisions_forget(struct decisions *d)
{
	while (d->latest)
		drop(d, d->latest);
}

void decisions_free(struct decisions **decisions)
{
	if (!*decisions)
		return;
	decisions_forget(*decisions);
	free(*decisions);
	*decisions = NULL;
}

/* ---- destinations ---- */

/* Hosts stand last in the structure; the room for more of them stays as it is. */
static struct destination *copy_destination(const struct destination *from)
{
	size_t used = offsetof(struct destination, hosts) + from->host_count * sizeof *from->hosts;
	struct destination *copy = mem_alloc(sizeof *copy);

	memcpy(copy, from, used);
	return copy;
}

static struct decision *find(const struct decisions *d, const char *domain)
{
	struct decision *decision;

	HASH_FIND_STR(d->table, domain, decision);
	return decision;
}

void decisions_keep_destination(struct decisions *d, struct destination *destination, double until)
{
	struct decision *decision = find(d, destination->domain);

	destination->decision = 0;
	if (decision)
		drop(d, decision);
	if (until <= clock_steady() || destination->verdict != POLICY_CONNECT)
		return;
	if (HASH_COUNT(d->table) >= DECISIONS_MAX)
		drop(d, d->latest->prev); /* the list's last */
	decision = mem_zero(1, sizeof *decision);
	destination->decision = ++d->serial;
	decision->destination = copy_destination(destination);
	decision->destination->dns_seconds = 0;
	decision->until = until;
	HASH_ADD_KEYPTR(hh, d->table, decision->destination->domain,
	    strlen(decision->destination->domain), decision);
	DL_PREPEND(d->latest, decision);
}

static void note_use(struct decisions *d, struct decision *decision)
{
	if (d->latest == decision)
		return;
	DL_DELETE(d->latest, decision);
	DL_PREPEND(d->latest, decision);
}

struct destination *decisions_find_destination(struct decisions *d, const char *domain,
    const struct conf_policy *conf, const struct conf_domain *exception)
{
	struct decision *decision = find(d, domain);

	if (!decision)
		return NULL;
	if (clock_steady() >= decision->until || decision->destination->conf != conf ||
	    decision->destination->exception != exception) {
		drop(d, decision);
		return NULL;
	}
	note_use(d, decision);
	return copy_destination(decision->destination);
}

/* ---- routes ---- */

static const struct route *hold(const struct route *route)
{
	((struct route *)route)->further_holders++;
	return route;
}

/* The hosts of a copy may stand in another order, and a name may be there twice. NULL: it is not of
 * this decision (any more). */
static struct kept_route *find_place(struct decisions *d, const struct destination *destination,
    const char *name, uint16_t preference)
{
	struct decision *decision = destination->decision ? find(d, destination->domain) : NULL;

	if (!decision || decision->destination->decision != destination->decision)
		return NULL;
	for (size_t i = 0; i < decision->destination->host_count; i++) {
		const struct destination_host *host = &decision->destination->hosts[i];

		if (host->preference == preference && !strcmp(host->name, name))
			return &decision->routes[i];
	}
	return NULL;
}

void decisions_keep_route(
    struct decisions *d, const struct destination *destination, struct route *route, double until)
{
	struct kept_route *place = find_place(d, destination, route->host, route->preference);

	if (!place)
		return;
	route_free(&place->route);
	if (until <= clock_steady() || route->verdict != POLICY_CONNECT)
		return;
	tls_rule_seal(&route->rule);
	place->route = hold(route);
	place->until = until;
}

/* ---- addresses take turns ---- */

static size_t count_addresses(const struct route *route, sa_family_t family)
{
	size_t count = 0;

	for (size_t i = 0; i < route->address_count; i++)
		count += route->addresses[i].sa.sa_family == family;
	return count;
}

static void rotate_addresses(struct route *route, sa_family_t family)
{
	struct addr first, *last = NULL;

	for (size_t i = 0; i < route->address_count; i++) {
		struct addr *address = &route->addresses[i];

		if (address->sa.sa_family != family)
			continue;
		if (last)
			*last = *address;
		else
			first = *address;
		last = address;
	}
	if (last)
		*last = first;
}

static struct route *copy_route(const struct route *from)
{
	struct route *copy = mem_copy(from, sizeof *from);

	tls_rule_copy(&copy->rule, &from->rule);
	copy->further_holders = 0;
	return copy;
}

/* Name servers rotate their answers so that addresses share the load: what is kept must, too. Most
 * hosts have one address of a family, and nothing to rotate. */
static void rotate(struct kept_route *place)
{
	struct route *next;

	if (count_addresses(place->route, AF_INET) < 2 &&
	    count_addresses(place->route, AF_INET6) < 2)
		return;
	next = copy_route(place->route);
	rotate_addresses(next, AF_INET);
	rotate_addresses(next, AF_INET6);
	route_free(&place->route);
	place->route = next;
}

const struct route *decisions_find_route(
    struct decisions *d, const struct destination *destination, size_t index)
{
	const struct destination_host *host = &destination->hosts[index];
	struct kept_route *place = find_place(d, destination, host->name, host->preference);

	if (!place || !place->route || clock_steady() >= place->until)
		return NULL;
	/* No more are tried for one destination, over all its hosts (R-DNS-30). */
	if (place->route->address_count > ROUTE_ADDR_MAX - destination->address_count)
		return NULL;
	rotate(place);
	return hold(place->route);
}
