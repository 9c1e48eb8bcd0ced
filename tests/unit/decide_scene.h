/*
 * decide_scene.h - what goes into route_decide() and what comes out, for the tests of decide.c.
 */
#ifndef TESTS_DECIDE_SCENE_H
#define TESTS_DECIDE_SCENE_H

#include "policy/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOST "mx.example.net"

enum mx { SIGNED, UNSIGNED };

/* How the rows of a table end. */
#define CONNECT(need, label, secures) POLICY_CONNECT, REASON_NONE, need, label, secures
#define DEFER(reason, label)          POLICY_DEFER, reason, TLS_NONE, label, false

#define NONE    LEVEL_NONE
#define MAY     LEVEL_MAY
#define ENCRYPT LEVEL_ENCRYPT
#define DANE    LEVEL_DANE
#define ONLY    LEVEL_DANE_ONLY
#define SECURE  LEVEL_SECURE

struct scene {
	struct conf_policy conf;
	struct destination destination;
	struct dane_decision dane;
	const struct sts_answer *sts;
	struct route route;
};

static void add_record(struct tlsa_set *set)
{
	static const uint8_t digest[32] = {0xab, 0x12};

	tlsa_set_add(set, &(struct tlsa){3, 1, 1, sizeof digest, digest});
}

static void set_dane(struct scene *scene, enum dane_outcome outcome)
{
	struct dane_decision *dane = &scene->dane;

	dane->outcome = outcome;
	if (outcome == DANE_FAILED)
		refusal_set(&dane->refusal, REASON_DNS_BOGUS, "bogus");
	if (outcome == DANE_NO_ADDRESS)
		refusal_set(&dane->refusal, REASON_NO_ADDRESS, "no address");
	if (outcome != DANE_USABLE && outcome != DANE_UNUSABLE)
		return;
	snprintf(dane->base, sizeof dane->base, "base.example.net");
	snprintf(dane->names[0], DOMAIN_SIZE, "base.example.net");
	dane->name_count = 1;
	if (outcome == DANE_UNUSABLE)
		return;
	add_record(&dane->tlsa);
	dane->host_secure = scene->destination.mx_state == DNS_SECURE;
}

static void set(
    struct scene *scene, enum level level, enum dane_outcome outcome, enum dns_state mx_state)
{
	memset(scene, 0, sizeof *scene);
	scene->conf = (struct conf_policy){.level = level,
	    .insecure_mx = LEVEL_DANE,
	    .fallback = LEVEL_MAY,
	    .enforce = true,
	    .mta_sts = true,
	    .min_tls = TLS_VERSION_1_2};
	scene->destination.conf = &scene->conf;
	scene->destination.is_mx = true;
	scene->destination.mx_state = mx_state;
	snprintf(scene->destination.domain, DOMAIN_SIZE, "example.org");
	snprintf(scene->destination.next_hop, DOMAIN_SIZE, "example.org");
	snprintf(scene->route.host, DOMAIN_SIZE, HOST);
	scene->route.port = 25;
	set_dane(scene, outcome);
}

static void decide(struct scene *scene)
{
	route_decide(&scene->destination, &scene->dane, scene->sts, &scene->route);
}

static void release(struct scene *scene)
{
	dane_decision_release(&scene->dane);
	tls_rule_release(&scene->route.rule);
}

#endif
