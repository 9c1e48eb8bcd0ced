/*
 * names.h - a small DNS in place of dnsval/: what each domain and host answers is a letter.
 *
 * Domains d0.example to d3.example, each with up to two hosts, mx0.dN.example (preference 10) and
 * mx1.dN.example (20), at 192.0.2.(10 N + host).
 *
 *   MX      s secure   i insecure   f SERVFAIL   b bogus   q silent   n null MX   z no MX   x
 * NXDOMAIN address s secure   i insecure   f SERVFAIL   b bogus   q silent   n none TLSA    m
 * matches  w another key   u unusable   n proven absent   i insecure   f SERVFAIL b bogus    q
 * silent
 */
#ifndef TESTS_SESSION_NAMES_H
#define TESTS_SESSION_NAMES_H

#include "clock.h"

#include "conf/mem.h"
#include "dnsval/probe.h"
#include "dnsval/resolver.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOMAINS = 4, HOSTS = 2, DIGEST = 32 };

static struct domain {
	char mx;
	size_t host_count;
	struct {
		char address, tlsa;
	} hosts[HOSTS];
	bool has_changed; /* in the middle of mail: what must be proven depends on when it was asked
			   */
} domains[DOMAINS];

static uint8_t right_digest[DIGEST], wrong_digest[DIGEST];

static inline void names_reset(void)
{
	for (size_t i = 0; i < DOMAINS; i++)
		domains[i] = (struct domain){.mx = 's', .host_count = 1, .hosts = {{'s', 'm'}}};
}

/* "1ism": domain 1 with an insecure MX and one host, secure and with a matching TLSA record. */
static inline void names_set(const char *text, bool is_changed)
{
	struct domain *d = &domains[(unsigned char)text[0] % DOMAINS];

	if (!text[0] || !text[1])
		return;
	d->has_changed |= is_changed;
	d->mx = text[1];
	d->host_count = 0;
	for (text += 2; text[0] && text[1] && d->host_count < HOSTS; text += 2) {
		d->hosts[d->host_count].address = text[0];
		d->hosts[d->host_count++].tlsa = text[1];
	}
}

/* ---- answers ---- */

union records {
	struct addr addresses[1];
	struct dns_mx mx[HOSTS];
	struct dns_tlsa tlsa[1];
};

/* false: never answered. */
static inline bool set_state(struct dns_answer *a, char letter)
{
	a->state = letter == 'i' ? DNS_INSECURE : DNS_SECURE;
	a->bogus = false;
	if (letter == 'f' || letter == 'b') {
		a->state = DNS_FAILED;
		a->bogus = letter == 'b';
		snprintf(a->why, sizeof a->why, "SERVFAIL");
	}
	a->nxdomain = letter == 'x';
	a->ttl = 30;
	return letter != 'q';
}

static inline bool answer_mx(struct dns_answer *a, union records *r, unsigned n)
{
	const struct domain *d = &domains[n];

	a->mx = r->mx;
	if (d->mx == 'n') {
		a->count = 1;
		r->mx[0] = (struct dns_mx){0};
	} else if (strchr("si", d->mx)) {
		a->count = d->host_count;
		for (size_t i = 0; i < a->count; i++) {
			r->mx[i].preference = (uint16_t)(10 * (i + 1));
			snprintf(r->mx[i].exchange, DOMAIN_SIZE, "mx%zu.d%u.example", i, n);
		}
	}
	return set_state(a, d->mx);
}

static inline bool answer_address(struct dns_answer *a, union records *r, unsigned n, unsigned host)
{
	char letter = domains[n].hosts[host].address, ip[32];

	a->addresses = r->addresses;
	a->count = a->type == DNS_A && strchr("si", letter);
	snprintf(ip, sizeof ip, "192.0.2.%u", 10 * n + host);
	assert(addr_parse_ip(&r->addresses[0], ip, 0));
	return set_state(a, letter);
}

static inline bool answer_tlsa(struct dns_answer *a, union records *r, unsigned n, unsigned host)
{
	char letter = domains[n].hosts[host].tlsa;

	a->tlsa = r->tlsa;
	a->count = strchr("mwui", letter) != NULL;
	r->tlsa[0] = (struct dns_tlsa){3, 1, 1, DIGEST, right_digest};
	if (letter == 'w')
		r->tlsa[0].data = wrong_digest;
	if (letter == 'u')
		r->tlsa[0].usage = 1;
	return set_state(a, letter);
}

/* A host; without MX records the domain itself is its host 0 (RFC 5321 5.1). */
static inline bool find_host(const char *name, unsigned *n, unsigned *host)
{
	int end = 0;

	*host = 0;
	if (sscanf(name, "mx%1u.d%1u.example%n", host, n, &end) != 2 &&
	    (sscanf(name, "d%1u.example%n", n, &end) != 1 || *n >= DOMAINS ||
		domains[*n].mx != 'z'))
		return false;
	return !name[end] && *n < DOMAINS && *host < domains[*n].host_count;
}

/* Whatever has no name here does not exist, and that is proven. */
static inline bool answer_for(struct dns_answer *a, union records *r)
{
	unsigned n, host;
	int end = 0;
	const char *name = a->question;

	a->state = DNS_SECURE;
	if (sscanf(name, "d%1u.example%n", &n, &end) == 1 && !name[end] && n < DOMAINS &&
	    a->type == DNS_MX)
		return answer_mx(a, r, n);
	if (!strncmp(name, "_25._tcp.", 9))
		name += 9;
	if (!find_host(name, &n, &host))
		a->nxdomain = true;
	else if (a->type == DNS_TLSA)
		return answer_tlsa(a, r, n, host);
	else if (a->type == DNS_A || a->type == DNS_AAAA)
		return answer_address(a, r, n, host);
	return true;
}

/* ---- resolver.h: on a later turn, from a copy that is wiped at once ---- */

struct dns_query {
	dns_query_fn *callback;
	void *arg;
	struct dns_answer *answer;
	ev_timer timer;
};

static void on_answer_due(struct ev_loop *l, ev_timer *timer, int events)
{
	struct dns_query *q = timer->data;
	dns_query_fn *callback = q->callback;
	void *arg = q->arg;
	struct dns_answer *answer = q->answer;
	union records records = {0};

	(void)l, (void)events;
	answer_for(answer, &records);
	free(q);
	callback(answer, arg);
	memset(answer, 0x5a, sizeof *answer);
	memset(&records, 0x5a, sizeof records);
	free(answer);
}

struct dns_query *dns_query_start(struct resolver *resolver, const char *name, enum dns_type type,
    dns_query_fn *callback, void *arg)
{
	struct dns_query *q = mem_zero(1, sizeof *q);
	union records records;

	(void)resolver;
	q->callback = callback;
	q->arg = arg;
	q->answer = mem_zero(1, sizeof *q->answer);
	q->answer->type = type;
	snprintf(q->answer->question, DOMAIN_SIZE, "%s", name);
	snprintf(q->answer->name, DOMAIN_SIZE, "%s", name);
	ev_timer_init(&q->timer, on_answer_due, 0., 0.);
	q->timer.data = q;
	if (answer_for(q->answer, &records))
		ev_timer_start(loop, &q->timer);
	memset(&q->answer->count, 0, sizeof q->answer->count);
	return q;
}

void dns_query_cancel(struct dns_query **query)
{
	if (!*query)
		return;
	ev_timer_stop(loop, &(*query)->timer);
	free((*query)->answer);
	free(*query);
	*query = NULL;
}

unsigned resolver_generation(const struct resolver *resolver)
{
	(void)resolver;
	return 1;
}

size_t resolver_lookups_in_flight(const struct resolver *resolver)
{
	(void)resolver;
	return 0;
}

/* ---- probe.h: DNSSEC works ---- */

enum probe_state probe_state(const struct probe *probe)
{
	(void)probe;
	return PROBE_WORKING;
}

const char *probe_why(const struct probe *probe)
{
	(void)probe;
	return "";
}

struct probe_wait {
	probe_wait_fn *callback;
	void *arg;
	ev_timer timer;
};

static void on_probed(struct ev_loop *l, ev_timer *timer, int events)
{
	struct probe_wait *wait = timer->data;
	probe_wait_fn *callback = wait->callback;
	void *arg = wait->arg;

	(void)l, (void)events;
	free(wait);
	callback(PROBE_WORKING, arg);
}

struct probe_wait *probe_wait_start(struct probe *probe, probe_wait_fn *callback, void *arg)
{
	struct probe_wait *wait = mem_zero(1, sizeof *wait);

	(void)probe;
	wait->callback = callback;
	wait->arg = arg;
	ev_timer_init(&wait->timer, on_probed, 0., 0.);
	wait->timer.data = wait;
	ev_timer_start(loop, &wait->timer);
	return wait;
}

void probe_wait_cancel(struct probe_wait **wait)
{
	if (!*wait)
		return;
	ev_timer_stop(loop, &(*wait)->timer);
	free(*wait);
	*wait = NULL;
}

/* ---- what must be proven, told independently of policy/ ---- */

enum need {
	NEED_NOTHING, /* in clear, too */
	NEED_TLS,
	NEED_KEY, /* TLS with the right key */
	NEED_NEVER,
};

static enum level fuzzed_level;

static inline enum need dane_need(const struct domain *d, size_t host)
{
	char tlsa = d->hosts[host].tlsa;

	if (d->hosts[host].address == 'i') /* its TLSA records are not asked for */
		return fuzzed_level == LEVEL_DANE_ONLY ? NEED_NEVER : NEED_NOTHING;
	if (strchr("fbqw", tlsa))
		return NEED_NEVER;
	if (fuzzed_level == LEVEL_DANE_ONLY)
		return tlsa == 'm' && d->mx != 'i' ? NEED_KEY : NEED_NEVER;
	return tlsa == 'm' ? NEED_KEY : tlsa == 'u' ? NEED_TLS : NEED_NOTHING;
}

static inline enum need need_of(unsigned domain, unsigned host)
{
	const struct domain *d = &domains[domain];

	if (d->has_changed)
		return NEED_NOTHING;
	if (strchr("fbqnx", d->mx) || strchr("fbqn", d->hosts[host].address))
		return NEED_NEVER;
	switch (fuzzed_level) {
	case LEVEL_MAY:
		return NEED_NOTHING;
	case LEVEL_ENCRYPT:
		return NEED_TLS;
	default:
		return dane_need(d, host);
	}
}

#endif
