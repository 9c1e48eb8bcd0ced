/*
 * route_stage.h - one host of one destination in a scripted world, for the tests of routes.
 */
#ifndef TESTS_ROUTE_STAGE_H
#define TESTS_ROUTE_STAGE_H

#include "policy/policy.h"
#include "policy/sts_question.h"

#include "fake_dns.h"
#include "fake_sts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HOST      "mx.example.org"
#define TLSA_HOST "_25._tcp.mx.example.org"
#define END       "real.example.net"
#define TLSA_END  "_25._tcp.real.example.net"
#define ADDRESSES "AAAA mx.example.org, A mx.example.org"

/* ---- the stage ---- */

static struct {
	struct ev_loop *loop;
	struct conf conf;
	struct policy *policy;
	struct destination destination;
	struct route_lookup *lookup;
	const struct route *route;
	size_t callbacks;
} stage;

static int set_up(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof stage);
	stage.loop = ev_loop_new(EVFLAG_AUTO);
	world_reset(stage.loop);
	fake_sts_reset(stage.loop);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	stage.conf.dns.total = 60;
	stage.conf.policy = (struct conf_policy){.level = LEVEL_DANE,
	    .insecure_mx = LEVEL_DANE,
	    .fallback = LEVEL_MAY,
	    .enforce = true,
	    .mta_sts = true,
	    .min_tls = TLS_VERSION_1_2};
	stage.policy = policy_new(stage.loop, &stage.conf, NULL, NULL, NULL);

	struct destination *destination = &stage.destination;

	destination->conf = &stage.conf.policy;
	destination->mx_state = DNS_SECURE;
	destination->is_mx = true;
	destination->port = 25;
	destination->host_count = 1;
	destination->hosts[0].preference = 10;
	strcpy(destination->domain, "example.org");
	strcpy(destination->next_hop, "example.org");
	strcpy(destination->expanded, "example.org");
	strcpy(destination->hosts[0].name, HOST);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	route_lookup_cancel(&stage.lookup);
	route_free(&stage.route);
	sts_question_free(&stage.destination.sts);
	policy_free(&stage.policy);
	ev_loop_destroy(stage.loop);
	return in_flight == 0 && fake_sts.in_flight == 0 ? 0 : -1;
}

/* For the next row of a table. */
static void renew(void **state)
{
	assert_int_equal(tear_down(state), 0);
	set_up(state);
}

static void on_route(const struct route *route, void *arg)
{
	assert_ptr_equal(arg, &stage);
	stage.lookup = NULL;
	stage.callbacks++;
	route_free(&stage.route);
	stage.route = route;
}

static void start(void)
{
	stage.lookup = route_lookup_start(stage.policy, &stage.destination, 0, on_route, &stage);
	assert_int_equal(stage.callbacks, 0);
}

static const struct route *run(void)
{
	start();
	ev_run(stage.loop, 0);
	assert_int_equal(stage.callbacks, 1);
	return stage.route;
}

static inline void expect_refusal(enum verdict verdict, enum reason reason, const char *text)
{
	const struct route *route = run();

	assert_string_equal(route->refusal.text, text);
	assert_int_equal(route->verdict, verdict);
	assert_int_equal(route->refusal.reason, reason);
	assert_int_equal(route->address_count, 0);
}

static inline void expect_need(enum tls_need need, const char *label, const char *asked)
{
	const struct route *route = run();

	assert_string_equal(route->refusal.text, "");
	assert_int_equal(route->verdict, POLICY_CONNECT);
	assert_int_equal(route->rule.need, need);
	assert_string_equal(route->policy_label, label);
	assert_string_equal(journal, asked);
}

/* ---- worlds ---- */

static inline void say_secure_host(void)
{
	add_address(say(DNS_SECURE, DNS_A, HOST), "198.41.0.4");
	say(DNS_SECURE, DNS_AAAA, HOST);
}

static inline void say_plain_host(void)
{
	add_address(say(DNS_INSECURE, DNS_A, HOST), "198.41.0.4");
	say(DNS_INSECURE, DNS_AAAA, HOST);
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, set_up, tear_down, NULL                                            \
	}

#endif
