/*
 * fake_dns.h - a scripted world in place of dnsval/resolver.h and dnsval/probe.h, for one test
 * program.
 *
 * A test says what is true (`say`), the module under test asks, and `journal` holds what was asked,
 * in order. Answers are delivered one turn later from a copy that is wiped and freed at once, so
 * that a pointer kept by mistake is seen by ASan. A question that nobody scripted is answered as
 * failed ("unscripted"); a `silent` one never.
 */
#ifndef TESTS_FAKE_DNS_H
#define TESTS_FAKE_DNS_H

#include "conf/conf.h"
#include "conf/mem.h"
#include "dnsval/probe.h"
#include "dnsval/resolver.h"

#include <assert.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAID_MAX = 64, RECORDS_MAX = DNS_ADDR_MAX };

/* One answer with room for its records. */
struct said {
	struct dns_answer answer;
	bool silent;
	union {
		struct addr addresses[RECORDS_MAX];
		struct dns_mx mx[DNS_MX_MAX];
		struct dns_tlsa tlsa[8];
		char names[1][DOMAIN_SIZE];
	} records;
	uint8_t octets[64];
};

static struct said world[SAID_MAX];
static size_t world_count;
static char journal[4096];
static size_t in_flight;

static struct ev_loop *fake_loop;
static enum probe_state fake_probe;
static size_t probe_waits;
static unsigned fake_generation; /* of the resolver */

static void world_reset(struct ev_loop *loop)
{
	fake_loop = loop;
	memset(world, 0, sizeof world);
	world_count = 0;
	journal[0] = '\0';
	in_flight = 0;
	probe_waits = 0;
	fake_generation = 0;
	fake_probe = PROBE_WORKING;
}

/* ---- saying ---- */

/* An answer without data; add_... give it some. */
static struct said *say(enum dns_state state, enum dns_type type, const char *name)
{
	struct said *said = &world[world_count++];

	assert(world_count <= SAID_MAX);
	said->answer.type = type;
	said->answer.state = state;
	snprintf(said->answer.question, DOMAIN_SIZE, "%s", name);
	snprintf(said->answer.name, DOMAIN_SIZE, "%s", name);
	if (state == DNS_FAILED)
		snprintf(said->answer.why, sizeof said->answer.why, "SERVFAIL");
	return said;
}

static inline struct said *say_bogus(enum dns_type type, const char *name)
{
	struct said *said = say(DNS_FAILED, type, name);

	said->answer.bogus = true;
	snprintf(said->answer.why, sizeof said->answer.why, "signature expired");
	return said;
}

static inline struct said *via(struct said *said, const char *end)
{
	said->answer.via_cname = true;
	snprintf(said->answer.name, DOMAIN_SIZE, "%s", end);
	return said;
}

static inline struct said *add_address(struct said *said, const char *ip)
{
	assert(addr_parse_ip(&said->records.addresses[said->answer.count++], ip, 0));
	return said;
}

static inline struct said *add_mx(struct said *said, uint16_t preference, const char *exchange)
{
	struct dns_mx *mx = &said->records.mx[said->answer.count++];

	mx->preference = preference;
	snprintf(mx->exchange, DOMAIN_SIZE, "%s", exchange);
	return said;
}

static inline struct said *add_tlsa(
    struct said *said, uint8_t usage, uint8_t selector, uint8_t matching, size_t len)
{
	assert(len <= sizeof said->octets);
	memset(said->octets, 0xab, sizeof said->octets);
	said->records.tlsa[said->answer.count++] =
	    (struct dns_tlsa){usage, selector, matching, len, NULL};
	return said;
}

static inline struct said *add_cname(struct said *said, const char *target)
{
	snprintf(said->records.names[said->answer.count++], DOMAIN_SIZE, "%s", target);
	return said;
}

/* ---- resolver.h ---- */

unsigned resolver_generation(const struct resolver *resolver)
{
	(void)resolver;
	return fake_generation;
}

struct dns_query {
	dns_query_fn *callback;
	void *arg;
	const struct said *said;
	ev_timer timer;
};

static void deliver(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct dns_query *query = timer->data;
	dns_query_fn *callback = query->callback;
	void *arg = query->arg;
	struct said *copy = mem_copy(query->said, sizeof *copy);

	(void)loop, (void)events;
	copy->answer.addresses = copy->records.addresses;
	if (copy->answer.type == DNS_TLSA)
		for (size_t i = 0; i < copy->answer.count; i++)
			copy->records.tlsa[i].data = copy->octets;
	free(query);
	in_flight--;
	callback(&copy->answer, arg);
	memset(copy, 0x5a, sizeof *copy);
	free(copy);
}

static const struct said *find(const char *name, enum dns_type type)
{
	struct said *said;

	for (size_t i = 0; i < world_count; i++)
		if (world[i].answer.type == type && strcmp(world[i].answer.question, name) == 0)
			return &world[i];
	said = say(DNS_FAILED, type, name);
	snprintf(said->answer.why, sizeof said->answer.why, "unscripted");
	return said;
}

struct dns_query *dns_query_start(struct resolver *resolver, const char *name, enum dns_type type,
    dns_query_fn *callback, void *arg)
{
	struct dns_query *query = mem_zero(1, sizeof *query);
	size_t len = strlen(journal);

	(void)resolver;
	snprintf(journal + len, sizeof journal - len, "%s%s %s", len > 0 ? ", " : "",
	    dns_type_name(type), name);
	in_flight++;
	query->callback = callback;
	query->arg = arg;
	query->said = find(name, type);
	ev_timer_init(&query->timer, deliver, 0, 0);
	query->timer.data = query;
	if (!query->said->silent)
		ev_timer_start(fake_loop, &query->timer);
	return query;
}

void dns_query_cancel(struct dns_query **query)
{
	if (!*query)
		return;
	ev_timer_stop(fake_loop, &(*query)->timer);
	free(*query);
	*query = NULL;
	in_flight--;
}

struct resolver *resolver_new(struct ev_loop *loop, const struct conf *conf, char **error)
{
	(void)loop, (void)conf, (void)error;
	return NULL;
}

void resolver_free(struct resolver **resolver) { *resolver = NULL; }

size_t resolver_lookups_in_flight(const struct resolver *resolver)
{
	(void)resolver;
	return in_flight;
}

/* ---- probe.h ---- */

struct probe_wait {
	probe_wait_fn *callback;
	void *arg;
	ev_timer timer;
};

struct probe *probe_new(struct ev_loop *loop, const struct conf *conf)
{
	(void)loop, (void)conf;
	return NULL;
}

void probe_free(struct probe **probe) { *probe = NULL; }

enum probe_state probe_state(const struct probe *probe)
{
	(void)probe;
	return fake_probe;
}

const char *probe_why(const struct probe *probe)
{
	(void)probe;
	return fake_probe == PROBE_BROKEN ? ". SOA is insecure" : "";
}

static void tell(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct probe_wait *wait = timer->data;
	probe_wait_fn *callback = wait->callback;
	void *arg = wait->arg;

	(void)loop, (void)events;
	free(wait);
	callback(fake_probe, arg);
}

/* PROBE_PENDING: never told. */
struct probe_wait *probe_wait_start(struct probe *probe, probe_wait_fn *callback, void *arg)
{
	struct probe_wait *wait = mem_zero(1, sizeof *wait);

	(void)probe;
	probe_waits++;
	wait->callback = callback;
	wait->arg = arg;
	ev_timer_init(&wait->timer, tell, 0, 0);
	wait->timer.data = wait;
	if (fake_probe != PROBE_PENDING)
		ev_timer_start(fake_loop, &wait->timer);
	return wait;
}

void probe_wait_cancel(struct probe_wait **wait)
{
	if (!*wait)
		return;
	ev_timer_stop(fake_loop, &(*wait)->timer);
	free(*wait);
	*wait = NULL;
}

#endif
