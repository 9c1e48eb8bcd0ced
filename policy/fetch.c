/*
 * fetch.c - one HTTPS GET of a policy text: whose turn it is, where the host is, and until when
 * (fetch.h). The transfer itself is fetch_http.c's.
 *
 *   WAIT_LOOKUP -> LOOKUP -> WAIT_GET -> GET -> the callback
 *
 * A thousand new domains at once must cost neither the resolver nor the network what mail needs,
 * and one slow policy host must not take every turn: lookups, transfers and transfers to one
 * address are limited. Who finds no turn waits, within its own deadline, rather than being told at
 * once that there is no policy to be had: under first_contact = deliver that would be a way to
 * switch MTA-STS off by asking for many domains (S-15). The oldest goes first.
 */
#include "policy/fetch.h"

#include "conf/addr.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/timer.h"
#include "dnsval/resolver.h"
#include "policy/dial.h"
#include "policy/fetch_http.h"
#include "policy/fetch_internal.h"

#include <ev.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#define POLICY_PATH "/.well-known/mta-sts.txt"

enum { HTTPS_PORT = 443, ADDRESSES_MAX = 8 };

enum state { WAIT_LOOKUP, LOOKUP, WAIT_GET, GET, TURNED_AWAY, STATE_COUNT };

static const char *const state_names[STATE_COUNT] = {
    [WAIT_LOOKUP] = "wait-lookup",
    [LOOKUP] = "lookup",
    [WAIT_GET] = "wait-get",
    [GET] = "get",
    [TURNED_AWAY] = "turned-away",
};

struct fetcher {
	struct ev_loop *loop;
	const struct conf *conf;
	struct resolver *resolver;
	struct http *http;
	uint16_t port;
	struct fetch *in[STATE_COUNT]; /* the oldest first */
	size_t count[STATE_COUNT];
};

struct family {
	struct dns_query *query;
	size_t count;
	struct addr addresses[ADDRESSES_MAX];
};

struct fetch {
	struct fetch *prev, *next;
	struct fetcher *fetcher;
	enum state state;
	fetch_fn *callback;
	void *arg;
	char domain[DOMAIN_SIZE];
	char host[DOMAIN_SIZE + sizeof "mta-sts."];
	ev_timer deadline;
	double timeout;
	ev_tstamp ends;
	struct family v4, v6;
	bool was_busy; /* a lookup was turned away */
	char why[160]; /* no address: the last reason */
	size_t address_count;
	struct addr addresses[2 * ADDRESSES_MAX];
	struct http_get *get;
};

static void give_turns(struct fetcher *fetcher);
static void give_lookups(struct fetcher *fetcher);

static void enlist(struct fetch *fetch, enum state state)
{
	fetch->state = state;
	fetch->fetcher->count[state]++;
	DL_APPEND(fetch->fetcher->in[state], fetch);
}

static void delist(struct fetch *fetch)
{
	fetch->fetcher->count[fetch->state]--;
	DL_DELETE(fetch->fetcher->in[fetch->state], fetch);
}

static void enter(struct fetch *fetch, enum state state)
{
	log_debug("mta-sts: fetch of %s: %s", fetch->host, state_names[state]);
	delist(fetch);
	enlist(fetch, state);
}

/* ---- the end ---- */

static void discard(struct fetch *fetch)
{
	struct fetcher *fetcher = fetch->fetcher;

	delist(fetch);
	ev_timer_stop(fetcher->loop, &fetch->deadline);
	dns_query_cancel(&fetch->v4.query);
	dns_query_cancel(&fetch->v6.query);
	http_get_cancel(&fetch->get);
	reap_later(fetcher->loop, fetch, free);
}

/* Nothing of the fetcher after the callback: whoever is told may free it. */
static void finish(struct fetch *fetch, const struct fetch_result *result)
{
	fetch_fn *callback = fetch->callback;
	void *arg = fetch->arg;
	struct fetcher *fetcher = fetch->fetcher;

	discard(fetch);
	give_turns(fetcher);
	callback(result, arg);
}

__attribute__((format(printf, 3, 4))) static void fail(
    struct fetch *fetch, enum fetch_outcome outcome, const char *format, ...)
{
	struct fetch_result result = {.outcome = outcome};
	va_list args;

	va_start(args, format);
	vsnprintf(result.why, sizeof result.why, format, args);
	va_end(args);
	finish(fetch, &result);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct fetch *fetch = timer->data;

	(void)loop, (void)events;
	if (fetch->state == LOOKUP)
		fail(
		    fetch, FETCH_FAILED, "%s: no address within %g s", fetch->host, fetch->timeout);
	else if (fetch->state == GET)
		fail(fetch, FETCH_FAILED, "%s: no policy within %g s", fetch->host, fetch->timeout);
	else
		fail(fetch, FETCH_BUSY, "%s: too many policies are being fetched", fetch->host);
}

/* ---- the transfer ---- */

static void on_got(const struct fetch_result *result, void *arg)
{
	struct fetch *fetch = arg;

	fetch->get = NULL;
	finish(fetch, result);
}

static void start_get(struct fetch *fetch)
{
	struct fetcher *fetcher = fetch->fetcher;
	double left;

	timer_refresh(fetcher->loop);
	left = fetch->ends - ev_now(fetcher->loop);
	enter(fetch, GET);
	fetch->get = http_get_start(fetcher->http,
	    &(struct http_request){
		.host = fetch->host,
		.path = POLICY_PATH,
		.addresses = fetch->addresses,
		.address_count = fetch->address_count,
		.timeout = left > 0 ? left : 0,
	    },
	    on_got, fetch);
}

/* By the address that is tried first: behind it are many hosts of a provider, or one slow one. */
static bool may_get(const struct fetch *fetch)
{
	const struct fetcher *fetcher = fetch->fetcher;
	const struct fetch *other;
	size_t count = 0;

	if (fetcher->count[GET] >= FETCH_GETS_MAX)
		return false;
	DL_FOREACH(fetcher->in[GET], other)
	if (addr_equal_ip(&other->addresses[0], &fetch->addresses[0]))
		count++;
	return count < FETCH_GETS_PER_HOST;
}

/* ---- the addresses ---- */

static const struct conf_policy *policy_of(const struct fetch *fetch)
{
	const struct conf_domain *section;

	return conf_policy_for(fetch->fetcher->conf, fetch->domain, time(NULL), &section);
}

/* RFC 8461 demands no DNSSEC here: the certificate is what protects the policy. */
static void take_addresses(
    struct fetch *fetch, struct family *family, const struct dns_answer *answer)
{
	struct dial_rules rules = {.allowed = &policy_of(fetch)->allow_addresses};
	char text[ADDR_TEXT];

	for (size_t i = 0; i < answer->count && family->count < ADDRESSES_MAX; i++) {
		struct addr address = answer->addresses[i];
		enum dial dial;

		addr_set_port(&address, fetch->fetcher->port);
		dial = dial_judge(&rules, &address);
		if (dial == DIAL_FINE)
			family->addresses[family->count++] = address;
		else
			snprintf(fetch->why, sizeof fetch->why, "%s %s", addr_ip(&address, text),
			    dial == DIAL_NEVER
				? "cannot be the address of a host"
				: "is not public, and allow_addresses does not name it");
	}
}

static void take_answer(struct fetch *fetch, struct family *family, const struct dns_answer *answer)
{
	fetch->was_busy = fetch->was_busy || answer->busy;
	if (answer->state == DNS_FAILED)
		snprintf(fetch->why, sizeof fetch->why, "the %s lookup failed (%.100s)",
		    dns_type_name(answer->type), answer->why);
	else
		take_addresses(fetch, family, answer);
}

static void end_lookup(struct fetch *fetch)
{
	fetch->address_count = dial_order(policy_of(fetch)->ip, fetch->v4.addresses,
	    fetch->v4.count, fetch->v6.addresses, fetch->v6.count, fetch->addresses);
	if (fetch->address_count == 0) {
		fail(fetch, fetch->was_busy ? FETCH_BUSY : FETCH_FAILED, "%s: %s", fetch->host,
		    fetch->why[0] ? fetch->why : "it has no address");
		return;
	}
	enter(fetch, WAIT_GET);
	if (may_get(fetch))
		start_get(fetch);
	give_lookups(fetch->fetcher);
}

/* One family that fails costs that family alone (R-DNS-10). */
static void on_answer(struct fetch *fetch, struct family *family, const struct dns_answer *answer)
{
	family->query = NULL;
	take_answer(fetch, family, answer);
	if (!fetch->v4.query && !fetch->v6.query)
		end_lookup(fetch);
}

static void on_a(const struct dns_answer *answer, void *arg)
{
	struct fetch *fetch = arg;

	on_answer(fetch, &fetch->v4, answer);
}

static void on_aaaa(const struct dns_answer *answer, void *arg)
{
	struct fetch *fetch = arg;

	on_answer(fetch, &fetch->v6, answer);
}

static void start_lookup(struct fetch *fetch)
{
	struct resolver *resolver = fetch->fetcher->resolver;

	enter(fetch, LOOKUP);
	fetch->v6.query = dns_query_start(resolver, fetch->host, DNS_AAAA, on_aaaa, fetch);
	fetch->v4.query = dns_query_start(resolver, fetch->host, DNS_A, on_a, fetch);
}

/* ---- turns ---- */

/* Starting calls nobody back. */
static void give_lookups(struct fetcher *fetcher)
{
	while (fetcher->in[WAIT_LOOKUP] && fetcher->count[LOOKUP] < FETCH_LOOKUPS_MAX)
		start_lookup(fetcher->in[WAIT_LOOKUP]);
}

static void give_turns(struct fetcher *fetcher)
{
	struct fetch *fetch, *next;

	give_lookups(fetcher);
	DL_FOREACH_SAFE(fetcher->in[WAIT_GET], fetch, next)
	if (may_get(fetch))
		start_get(fetch);
}

static bool is_full(const struct fetcher *fetcher)
{
	size_t count = 0;

	for (enum state state = 0; state < STATE_COUNT; state++)
		count += fetcher->count[state];
	return count >= FETCH_WAITING_MAX;
}

static void set_deadline(struct fetch *fetch, double timeout)
{
	struct ev_loop *loop = fetch->fetcher->loop;

	ev_init(&fetch->deadline, on_deadline);
	fetch->deadline.data = fetch;
	timer_start(loop, &fetch->deadline, timeout);
	fetch->timeout = timeout;
	fetch->ends = ev_now(loop) + timeout;
}

struct fetch *fetch_start(
    struct fetcher *fetcher, const char *domain, double timeout, fetch_fn *callback, void *arg)
{
	struct fetch *fetch = mem_zero(1, sizeof *fetch);
	bool is_one_too_many = is_full(fetcher);

	fetch->fetcher = fetcher;
	fetch->callback = callback;
	fetch->arg = arg;
	snprintf(fetch->domain, sizeof fetch->domain, "%s", domain);
	snprintf(fetch->host, sizeof fetch->host, "mta-sts.%s", domain);
	set_deadline(fetch, is_one_too_many ? 0 : timeout);
	enlist(fetch, is_one_too_many ? TURNED_AWAY : WAIT_LOOKUP);
	give_lookups(fetcher);
	return fetch;
}

void fetch_cancel(struct fetch **place)
{
	struct fetch *fetch = *place;

	if (!fetch)
		return;
	*place = NULL;
	discard(fetch);
	give_turns(fetch->fetcher);
}

/* ---- the fetcher ---- */

struct fetcher *fetcher_new_on_port(struct ev_loop *loop, const struct conf *conf,
    struct resolver *resolver, uint16_t port, char **error)
{
	struct http *http = http_new(loop, conf->tls.ca_file, error);
	struct fetcher *fetcher;

	if (!http)
		return NULL;
	fetcher = mem_zero(1, sizeof *fetcher);
	fetcher->loop = loop;
	fetcher->conf = conf;
	fetcher->resolver = resolver;
	fetcher->http = http;
	fetcher->port = port;
	return fetcher;
}

struct fetcher *fetcher_new(
    struct ev_loop *loop, const struct conf *conf, struct resolver *resolver, char **error)
{
	return fetcher_new_on_port(loop, conf, resolver, HTTPS_PORT, error);
}

void fetcher_free(struct fetcher **place)
{
	struct fetcher *fetcher = *place;

	if (!fetcher)
		return;
	*place = NULL;
	for (enum state state = 0; state < STATE_COUNT; state++)
		while (fetcher->in[state])
			discard(fetcher->in[state]);
	http_free(&fetcher->http);
	reap_later(fetcher->loop, fetcher, free);
}
