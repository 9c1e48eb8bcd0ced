/*
 * test_self.c - ourselves among the hosts of one preference, in scripted worlds (R-DNS-28).
 */
#include "policy/policy.h"

#include "fake_dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct {
	struct ev_loop *loop;
	struct conf conf;
	struct policy *policy;
	struct destination destination;
	struct self_search *search;
	size_t callbacks;
	struct refusal refusal;
} stage;

static void add_host(uint16_t preference, const char *name)
{
	struct destination_host *host = &stage.destination.hosts[stage.destination.host_count++];

	host->preference = preference;
	snprintf(host->name, sizeof host->name, "%s", name);
}

static void listen_at(const char *address)
{
	struct addr own;

	assert_true(addr_parse(&own, address, 0));
	policy_set_own(stage.policy, &own, 1);
}

static int set_up(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof stage);
	stage.loop = ev_loop_new(EVFLAG_AUTO);
	world_reset(stage.loop);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	stage.policy = policy_new(stage.loop, &stage.conf, NULL, NULL, NULL);
	stage.destination.conf = &stage.conf.policy;
	stage.destination.port = 25;
	add_host(5, "better.example");
	add_host(10, "first.example");
	add_host(10, "second.example");
	add_host(10, "third.example");
	add_host(20, "worse.example");
	listen_at("198.41.0.4:25");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	self_search_cancel(&stage.search);
	policy_free(&stage.policy);
	ev_loop_destroy(stage.loop);
	return in_flight == 0 ? 0 : -1;
}

static void on_self(const struct refusal *refusal, void *arg)
{
	assert_ptr_equal(arg, &stage);
	stage.search = NULL;
	stage.callbacks++;
	if (refusal)
		stage.refusal = *refusal;
}

static void start(size_t index)
{
	stage.search = self_search_start(stage.policy, &stage.destination, index, on_self, &stage);
	assert_int_equal(stage.callbacks, 0);
}

static void expect(const char *text)
{
	start(1);
	ev_run(stage.loop, 0);
	assert_int_equal(stage.callbacks, 1);
	assert_string_equal(stage.refusal.text, text);
	assert_int_equal(stage.refusal.reason, text[0] ? REASON_MX_LOOP : REASON_NONE);
	assert_int_equal(in_flight, 0);
}

static void equals_alone(void **state)
{
	(void)state;
	add_address(say(DNS_INSECURE, DNS_A, "second.example"), "192.33.4.12");
	add_address(say(DNS_INSECURE, DNS_A, "third.example"), "192.33.4.12");
	expect("");
	assert_string_equal(journal, "AAAA second.example, A second.example, AAAA third.example, "
				     "A third.example");
}

static void found(void **state)
{
	(void)state;
	say(DNS_INSECURE, DNS_A, "second.example")->silent = true;
	say(DNS_INSECURE, DNS_AAAA, "second.example")->silent = true;
	add_address(
	    add_address(say(DNS_SECURE, DNS_A, "third.example"), "192.33.4.12"), "198.41.0.4");
	expect("third.example is this proxy itself ([198.41.0.4]:25): mail to it would loop");
}

static void failures_are_no_find(void **state)
{
	(void)state;
	say_bogus(DNS_A, "second.example");
	expect("");
}

static void nothing_to_look_for(void **state)
{
	(void)state;
	start(0); /* no equal */
	assert_null(stage.search);
	start(3); /* the last of its preference */
	assert_null(stage.search);
	start(4); /* the last of all */
	assert_null(stage.search);
	listen_at("198.41.0.4:2525"); /* next hops are at port 25 */
	start(1);
	assert_null(stage.search);
	assert_string_equal(journal, "");
}

static void crowded(void **state)
{
	(void)state;
	in_flight = 500;
	start(1);
	assert_null(stage.search);
	in_flight = 0;
}

static void cancelled(void **state)
{
	(void)state;
	for (int turns = 0; turns < 2; turns++) {
		say(DNS_INSECURE, DNS_A, "third.example")->silent = true;
		start(1);
		for (int turn = 0; turn < turns; turn++)
			ev_run(stage.loop, EVRUN_NOWAIT);
		self_search_cancel(&stage.search);
		assert_null(stage.search);
		assert_int_equal(in_flight, 0);
		ev_run(stage.loop, 0);
		assert_int_equal(stage.callbacks, 0);
	}
	self_search_cancel(&stage.search);
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, set_up, tear_down, NULL                                            \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST("R-DNS-28 only hosts of the same preference are asked", equals_alone),
	    TEST("R-DNS-28 found behind a silent sibling", found),
	    TEST("R-DNS-28 failed lookups find nobody", failures_are_no_find),
	    TEST("nothing to look for, nothing asked", nothing_to_look_for),
	    TEST("R-DNS-44 not while many lookups are under way", crowded),
	    TEST("cancel at every step", cancelled),
	};

	return cmocka_run_group_tests_name("self", tests, NULL, NULL);
}
