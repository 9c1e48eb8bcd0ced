/*
 * test_decisions.c - what is decided for a domain is kept as long as every answer that it rests on,
 * and not a moment longer (R-DNS-40).
 */
#include "policy/decisions.h"

#include "conf/clock.h"

#include "fake_dns.h"
#include "fake_sts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MX   "MX example.org"
#define HOST "AAAA mx.example.org, A mx.example.org, TLSA _25._tcp.mx.example.org"

static double now;

double clock_steady(void) { return now; }
time_t clock_wall(void) { return (time_t)now; }

static struct {
	struct ev_loop *loop;
	struct conf conf;
	struct policy *policy;
	struct destination *destination;
	const struct route *route;
} stage;

/* ---- the world: each answer with its own TTL ---- */

static struct said *mx, *a, *aaaa, *tlsa;

static struct said *lasting(struct said *said, uint32_t ttl)
{
	said->answer.ttl = ttl;
	return said;
}

static void say_domain(void)
{
	mx = lasting(add_mx(say(DNS_SECURE, DNS_MX, "example.org"), 10, "mx.example.org"), 300);
	a = lasting(add_address(say(DNS_SECURE, DNS_A, "mx.example.org"), "198.41.0.4"), 200);
	aaaa = lasting(say(DNS_SECURE, DNS_AAAA, "mx.example.org"), 100);
	tlsa = lasting(
	    add_tlsa(say(DNS_SECURE, DNS_TLSA, "_25._tcp.mx.example.org"), 3, 1, 1, 32), 50);
}

static int set_up(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof stage);
	now = 1000;
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
	policy_keep_decisions(stage.policy);
	say_domain();
	return 0;
}

static void forget_last(void)
{
	route_free(&stage.route);
	destination_free(&stage.destination);
	journal[0] = '\0';
}

static int tear_down(void **state)
{
	(void)state;
	forget_last();
	policy_free(&stage.policy);
	ev_loop_destroy(stage.loop);
	return in_flight == 0 ? 0 : -1;
}

static void on_route(const struct route *route, void *arg)
{
	(void)arg;
	stage.route = route;
}

static void on_destination(struct destination *destination, void *arg)
{
	(void)arg;
	stage.destination = destination;
	if (destination->verdict == POLICY_CONNECT)
		route_lookup_start(stage.policy, destination, 0, on_route, NULL);
}

/* One message's way to its first host; what was asked for it stands in the journal. */
static void route_to(const char *domain)
{
	forget_last();
	destination_lookup_start(stage.policy, domain, on_destination, NULL);
	assert_null(stage.destination);
	ev_run(stage.loop, 0);
	assert_non_null(stage.destination);
}

static void expect(const char *asked)
{
	route_to("example.org");
	assert_string_equal(journal, asked);
	assert_int_equal(stage.route->verdict, POLICY_CONNECT);
	assert_int_equal(stage.route->rule.need, TLS_DANE);
	assert_int_equal(stage.route->rule.tlsa.count, 1);
	assert_int_equal(stage.route->address_count, 1);
	assert_string_equal(stage.route->host, "mx.example.org");
	assert_int_equal(stage.destination->address_count, 1);
}

/* The same at once, for who need not wait. */
static void expect_kept(bool is_kept)
{
	struct destination *destination = destination_find_kept(stage.policy, "example.org");
	const struct route *route =
	    destination ? route_find_kept(stage.policy, destination, 0) : NULL;

	assert_int_equal(destination != NULL, is_kept);
	assert_int_equal(route != NULL, is_kept);
	if (!is_kept)
		return;
	assert_int_equal(destination->verdict, POLICY_CONNECT);
	assert_int_equal(route->verdict, POLICY_CONNECT);
	assert_int_equal(route->rule.need, TLS_DANE);
	assert_string_equal(route->host, "mx.example.org");
	/* R-DNS-30: what its hosts have together is bounded, however they are found. */
	assert_int_equal(destination->address_count, route->address_count);
	destination->address_count = ROUTE_ADDR_MAX;
	assert_null(route_find_kept(stage.policy, destination, 0));
	route_free(&route);
	destination_free(&destination);
}

/* ---- the tests ---- */

static void test_asked_once(void **state)
{
	(void)state;
	expect_kept(false);
	expect(MX ", " HOST);
	for (int i = 0; i < 3; i++) {
		expect("");
		expect_kept(true);
	}
	assert_int_equal(probe_waits, 1);
}

/* The first of a route's answers to expire takes the route with it, not the destination. */
static void test_r_dns_40_until_the_first_answer_expires(void **state)
{
	(void)state;
	expect(MX ", " HOST);
	now += 49.9;
	expect("");
	now += 0.1;
	expect(HOST);
	now += 250;
	expect(MX ", " HOST);
}

static void test_r_dns_40_each_answer_counts(void **state)
{
	struct said **answers[] = {&mx, &a, &aaaa, &tlsa};

	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(tear_down(state), 0);
		set_up(state);
		(*answers[i])->answer.ttl = 5;
		expect(MX ", " HOST);
		now += 4.9;
		expect("");
		now += 0.1;
		expect(i == 0 ? MX ", " HOST : HOST);
	}
}

static void test_what_may_not_be_kept_is_asked_again(void **state)
{
	(void)state;
	aaaa->answer.ttl = 0; /* the zone did not say for how long there is none */
	expect(MX ", " HOST);
	expect(HOST);
	mx->answer.ttl = 0;
	now += 300;
	expect(MX ", " HOST);
	expect(MX ", " HOST);
}

static void test_new_records_are_seen(void **state)
{
	(void)state;
	expect(MX ", " HOST);
	tlsa->octets[0] = 0;
	tlsa->answer.count = 0;
	add_tlsa(tlsa, 3, 1, 1, 32);
	add_tlsa(tlsa, 2, 1, 1, 32);
	now += 50;
	route_to("example.org");
	assert_int_equal(stage.route->rule.tlsa.count, 2);
}

/* Other trust anchors, or DNS that came back: nothing heard before counts. */
static void test_the_resolver_began_anew(void **state)
{
	(void)state;
	expect(MX ", " HOST);
	fake_generation++;
	expect(MX ", " HOST);
	expect("");
}

static void on_early_destination(struct destination *destination, void *arg)
{
	(void)arg;
	fake_generation++;
	on_destination(destination, NULL);
}

static void test_the_resolver_began_anew_meanwhile(void **state)
{
	(void)state;
	destination_lookup_start(stage.policy, "example.org", on_early_destination, NULL);
	ev_run(stage.loop, 0);
	expect(MX ", " HOST);
}

/* R-DNS-37: a kept decision is no way round an unproven resolver. */
static void test_r_dns_37_probe(void **state)
{
	(void)state;
	expect(MX ", " HOST);
	fake_probe = PROBE_BROKEN;
	route_to("example.org");
	assert_int_equal(stage.destination->verdict, POLICY_DEFER);
	fake_probe = PROBE_WORKING;
	expect("");
}

static void test_refusals_are_not_kept(void **state)
{
	(void)state;
	lasting(say(DNS_SECURE, DNS_MX, "gone.example"), 300)->answer.nxdomain = true;
	for (int i = 0; i < 2; i++) {
		route_to("gone.example");
		assert_string_equal(journal, "MX gone.example");
		assert_int_equal(stage.destination->verdict, POLICY_REFUSE);
	}
	a->answer.state = DNS_FAILED;
	a->answer.count = 0;
	for (int i = 0; i < 2; i++) {
		route_to("example.org");
		assert_int_equal(stage.route->verdict, POLICY_DEFER);
		assert_non_null(strstr(journal, "A mx.example.org"));
	}
}

static void test_our_own_addresses_changed(void **state)
{
	struct addr own;

	(void)state;
	expect(MX ", " HOST);
	assert_true(addr_parse_ip(&own, "198.41.0.4", 25));
	policy_set_own(stage.policy, &own, 1);
	route_to("example.org");
	assert_int_equal(stage.route->verdict, POLICY_REFUSE);
	assert_int_equal(stage.route->refusal.reason, REASON_MX_LOOP);
}

/* ---- MTA-STS ---- */

static void say_no_tlsa(void)
{
	tlsa->answer.count = 0;
	tlsa->answer.ttl = 80;
}

static void test_without_mta_sts_record(void **state)
{
	(void)state;
	say_no_tlsa();
	fake_sts.answer = (struct sts_answer){.state = STS_ABSENT, .absent_until = now + 30};
	for (size_t i = 0; i < 3; i++) {
		route_to("example.org");
		assert_int_equal(stage.route->rule.need, TLS_MAY);
		assert_int_equal(fake_sts.asked, 1);
	}
	now += 30;
	route_to("example.org");
	assert_int_equal(fake_sts.asked, 2);
}

/* A policy is looked at for each message: it may have been fetched anew. */
static void test_with_mta_sts_policy(void **state)
{
	(void)state;
	say_no_tlsa();
	fake_sts.answer.state = STS_POLICY;
	fake_sts.answer.policy.mode = STS_MODE_ENFORCE;
	for (size_t i = 1; i < 3; i++) {
		route_to("example.org");
		assert_int_equal(fake_sts.asked, i);
		assert_string_equal(stage.route->sts_domain, "example.org");
	}
}

/* ---- several hosts ---- */

static void test_r_dns_25_order_of_equal_hosts(void **state)
{
	size_t first[2] = {0, 0};

	(void)state;
	add_mx(mx, 10, "other.example.org");
	for (int i = 0; i < 200; i++) {
		route_to("example.org");
		first[strcmp(stage.destination->hosts[0].name, "mx.example.org") == 0]++;
		assert_string_equal(stage.route->host, stage.destination->hosts[0].name);
	}
	assert_in_range(first[0], 50, 150);
}

static void test_addresses_take_turns(void **state)
{
	struct addr first[4];

	(void)state;
	add_address(a, "198.41.0.5");
	add_address(a, "198.41.0.6");
	add_address(aaaa, "2001:500:2::c");
	for (size_t i = 0; i < 4; i++) {
		route_to("example.org");
		assert_int_equal(stage.route->address_count, 4);
		first[i] =
		    stage.route->addresses[stage.route->addresses[0].sa.sa_family == AF_INET6];
	}
	assert_true(addr_equal(&first[0], &first[3]));
	assert_false(addr_equal(&first[0], &first[1]));
	assert_false(addr_equal(&first[1], &first[2]));
}

/* Who has a route goes on with it, whatever the next one gets and however long it is kept. */
static void test_a_route_that_is_held_stays(void **state)
{
	const struct route *held;
	struct addr first;

	(void)state;
	add_address(a, "198.41.0.5");
	route_to("example.org");
	held = stage.route;
	stage.route = NULL;
	first = held->addresses[0];
	route_to("example.org");
	assert_false(addr_equal(&stage.route->addresses[0], &first));
	assert_true(addr_equal(&held->addresses[0], &first));
	fake_generation++;
	route_to("example.org");
	assert_int_equal(held->rule.tlsa.count, 1);
	assert_string_equal(held->host, "mx.example.org");
	route_free(&held);
}

static void test_a_host_with_two_preferences(void **state)
{
	(void)state;
	add_mx(mx, 20, "mx.example.org");
	for (size_t i = 0; i < 2; i++) {
		route_to("example.org");
		assert_int_equal(stage.route->preference, 10);
	}
	assert_null(route_find_kept(stage.policy, stage.destination, 1));
}

/* ---- bounded ---- */

static void keep(struct decisions *decisions, size_t n)
{
	struct destination destination = {.verdict = POLICY_CONNECT, .host_count = 1};

	snprintf(destination.domain, sizeof destination.domain, "d%zu.example", n);
	decisions_keep_destination(decisions, &destination, now + 60);
}

static bool is_kept(struct decisions *decisions, size_t n)
{
	char domain[DOMAIN_SIZE];
	struct destination *found;
	bool is_found;

	snprintf(domain, sizeof domain, "d%zu.example", n);
	found = decisions_find_destination(decisions, domain, NULL, NULL);
	is_found = found != NULL;
	destination_free(&found);
	return is_found;
}

static void test_the_longest_unused_makes_room(void **state)
{
	struct decisions *decisions = decisions_new();

	(void)state;
	for (size_t n = 0; n < DECISIONS_MAX; n++)
		keep(decisions, n);
	assert_true(is_kept(decisions, 0));
	keep(decisions, DECISIONS_MAX);
	assert_true(is_kept(decisions, 0));
	assert_false(is_kept(decisions, 1));
	assert_true(is_kept(decisions, DECISIONS_MAX));
	decisions_free(&decisions);
}

static void test_other_settings(void **state)
{
	static const struct conf_policy conf;
	struct decisions *decisions = decisions_new();
	struct destination *found;

	(void)state;
	keep(decisions, 0);
	found = decisions_find_destination(decisions, "d0.example", &conf, NULL);
	assert_null(found);
	decisions_free(&decisions);
}

#define TEST(function)                                                                             \
	{                                                                                          \
#function, function, set_up, tear_down, NULL                                       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_asked_once),
	    TEST(test_r_dns_40_until_the_first_answer_expires),
	    TEST(test_r_dns_40_each_answer_counts),
	    TEST(test_what_may_not_be_kept_is_asked_again),
	    TEST(test_new_records_are_seen),
	    TEST(test_the_resolver_began_anew),
	    TEST(test_the_resolver_began_anew_meanwhile),
	    TEST(test_r_dns_37_probe),
	    TEST(test_refusals_are_not_kept),
	    TEST(test_our_own_addresses_changed),
	    TEST(test_without_mta_sts_record),
	    TEST(test_with_mta_sts_policy),
	    TEST(test_r_dns_25_order_of_equal_hosts),
	    TEST(test_addresses_take_turns),
	    TEST(test_a_route_that_is_held_stays),
	    TEST(test_a_host_with_two_preferences),
	    TEST(test_the_longest_unused_makes_room),
	    TEST(test_other_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
