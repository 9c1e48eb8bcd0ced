/*
 * test_route_sts.c - one host and the MTA-STS policy of its destination: when the policy is asked
 * for, who waits for it, and on whose time.
 */
#include "route_stage.h"

static char listed[] = HOST, elsewhere[] = "mx.other.example";
static char *listing[] = {listed}, *others[] = {elsewhere};

static void publish(enum sts_mode mode, char **mx)
{
	fake_sts.answer.state = STS_POLICY;
	fake_sts.answer.policy = (struct sts_policy){.mode = mode, .mx_count = 1, .mx = mx};
}

static void say_dane_host(void)
{
	say_secure_host();
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 3, 1, 1, 32);
}

/* ---- asking ---- */

static void asked_with_the_addresses(void **state)
{
	(void)state;
	say_plain_host();
	start();
	assert_string_equal(journal, ADDRESSES);
	assert_int_equal(fake_sts.asked, 1);
	assert_string_equal(fake_sts.domain, "example.org");
	ev_run(stage.loop, 0);
	assert_int_equal(stage.callbacks, 1);
}

static void asked_once(void **state)
{
	(void)state;
	publish(STS_MODE_ENFORCE, listing);
	say_plain_host();
	for (size_t host = 0; host < 3; host++) {
		stage.callbacks = 0;
		assert_string_equal(run()->policy_label, "sts:enforce");
	}
	assert_int_equal(fake_sts.asked, 1);
}

static void not_asked(void **state)
{
	static const enum level levels[] = {
	    LEVEL_NONE, LEVEL_MAY, LEVEL_ENCRYPT, LEVEL_SECURE, LEVEL_DANE_ONLY};

	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		renew(state);
		stage.conf.policy.level = levels[i];
		say_dane_host();
		run();
		assert_int_equal(fake_sts.asked, 0);
	}
	renew(state);
	stage.conf.policy.mta_sts = false;
	say_plain_host();
	expect_need(TLS_MAY, "may", ADDRESSES);
	assert_int_equal(fake_sts.asked, 0);
}

/* An address has no MX host name that a policy could list. */
static void not_asked_for_an_address(void **state)
{
	(void)state;
	stage.conf.policy.next_hop.set = stage.conf.policy.next_hop.is_address = true;
	assert_true(addr_parse(&stage.conf.policy.next_hop.address, "192.0.2.1:25", 0));
	stage.destination.hosts[0].name[0] = '\0';
	assert_int_equal(run()->rule.need, TLS_MAY);
	assert_int_equal(fake_sts.asked, 0);
}

static void smarthost_domain(void **state)
{
	(void)state;
	strcpy(stage.destination.next_hop, "smarthost.example");
	say_plain_host();
	run();
	assert_string_equal(fake_sts.domain, "smarthost.example");
}

/* ---- waiting ---- */

static void dane_does_not_wait(void **state)
{
	(void)state;
	fake_sts.delay = -1;
	say_dane_host();
	expect_need(TLS_DANE, "dane", ADDRESSES ", TLSA " TLSA_HOST);
	assert_int_equal(fake_sts.in_flight, 1);
}

static void dane_does_not_look(void **state)
{
	(void)state;
	publish(STS_MODE_ENFORCE, others);
	refusal_set(&fake_sts.answer.notice, REASON_STS_FETCH, "not fetched");
	say_dane_host();
	expect_need(TLS_DANE, "dane", ADDRESSES ", TLSA " TLSA_HOST);
	assert_int_equal(stage.destination.notice.reason, REASON_NONE);
	assert_int_equal(stage.route->sts_mode, STS_MODE_NONE);
}

static void failed_host_does_not_wait(void **state)
{
	(void)state;
	fake_sts.delay = -1;
	say_secure_host();
	say_bogus(DNS_TLSA, TLSA_HOST);
	assert_int_equal(run()->refusal.reason, REASON_DNS_BOGUS);
}

static void own_time(void **state)
{
	(void)state;
	stage.conf.dns.total = 0.3;
	fake_sts.delay = 0.4;
	publish(STS_MODE_ENFORCE, listing);
	say_plain_host();
	expect_need(TLS_PKIX, "sts:enforce", ADDRESSES);
	assert_true(stage.destination.dns_seconds < 0.3);
}

static void cancel_while_waiting(void **state)
{
	(void)state;
	fake_sts.delay = -1;
	publish(STS_MODE_ENFORCE, listing);
	say_plain_host();
	start();
	for (size_t turn = 0; turn < 4; turn++)
		ev_run(stage.loop, EVRUN_NOWAIT);
	route_lookup_cancel(&stage.lookup);
	fake_sts_answer_last();
	ev_run(stage.loop, 0);
	assert_int_equal(stage.callbacks, 0);
	/* The next host finds the answer that came meanwhile. */
	assert_string_equal(run()->policy_label, "sts:enforce");
	assert_int_equal(fake_sts.asked, 1);
}

static void freed_while_waiting(void **state)
{
	(void)state;
	fake_sts.delay = -1;
	say_plain_host();
	start();
	for (size_t turn = 0; turn < 4; turn++)
		ev_run(stage.loop, EVRUN_NOWAIT);
	assert_int_equal(stage.callbacks, 0);
	route_lookup_cancel(&stage.lookup);
	sts_question_free(&stage.destination.sts);
	assert_int_equal(fake_sts.cancelled, 1);
	assert_int_equal(fake_sts.in_flight, 0);
}

/* ---- what comes of it ---- */

static void enforced(void **state)
{
	(void)state;
	publish(STS_MODE_ENFORCE, listing);
	say_secure_host();
	say(DNS_SECURE, DNS_TLSA, TLSA_HOST);
	expect_need(TLS_PKIX, "sts:enforce", ADDRESSES ", TLSA " TLSA_HOST);
	assert_int_equal(stage.route->address_count, 1);
	assert_true(stage.route->secures_domain);
	assert_int_equal(fake_sts.rechecked, 0);
}

static void unlisted(void **state)
{
	(void)state;
	publish(STS_MODE_ENFORCE, others);
	say_plain_host();
	expect_refusal(POLICY_DEFER, REASON_STS_MX,
	    HOST " is an MX host of example.org, whose MTA-STS policy allows only "
		 "mx.other.example: its owner must mend one of them");
	assert_int_equal(fake_sts.rechecked, 1);
	assert_string_equal(fake_sts.domain, "example.org");
}

static void unlisted_but_reported_only(void **state)
{
	(void)state;
	stage.conf.policy.enforce = false;
	publish(STS_MODE_ENFORCE, others);
	say_plain_host();
	assert_int_equal(run()->verdict, POLICY_DEFER);
	assert_true(route_may_be_relaxed(stage.route));
	assert_int_equal(stage.route->address_count, 1);
}

static void tested(void **state)
{
	(void)state;
	publish(STS_MODE_TESTING, others);
	say_plain_host();
	expect_need(TLS_MAY, "sts:testing", ADDRESSES);
	assert_int_equal(stage.route->would_fail.reason, REASON_STS_MX);
	assert_int_equal(fake_sts.rechecked, 0);
	route_recheck_sts(stage.policy, stage.route);
	assert_int_equal(fake_sts.rechecked, 0);
}

static void deferred(void **state)
{
	(void)state;
	fake_sts.answer.state = STS_DEFER;
	refusal_set(&fake_sts.answer.refusal, REASON_STS_FETCH, "not fetched");
	say_plain_host();
	expect_refusal(POLICY_DEFER, REASON_STS_FETCH, "not fetched");
}

static void noticed(void **state)
{
	(void)state;
	refusal_set(&fake_sts.answer.notice, REASON_STS_POLICY_INVALID, "no version");
	say_plain_host();
	expect_need(TLS_MAY, "may", ADDRESSES);
	assert_int_equal(stage.destination.notice.reason, REASON_STS_POLICY_INVALID);
	assert_string_equal(stage.destination.notice.text, "no version");
}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		TEST("R-STS-01 asked beside the addresses", asked_with_the_addresses),
		TEST("asked once for all hosts", asked_once),
		TEST("not asked at other levels, or with mta_sts = no", not_asked),
		TEST("not asked for an address in next_hop", not_asked_for_an_address),
		TEST("R-STS-01 the smarthost's domain", smarthost_domain),
		TEST("R-STS-32 a DANE host does not wait for it", dane_does_not_wait),
		TEST("R-STS-32 a DANE host does not look at it", dane_does_not_look),
		TEST("R-STS-31 a failed host does not wait for it", failed_host_does_not_wait),
		TEST("R-DNS-43 waiting for a policy is not charged to dns.total", own_time),
		TEST("cancel while waiting; the answer serves the next host", cancel_while_waiting),
		TEST("the destination freed while waiting", freed_while_waiting),
		TEST("R-STS-26 enforce", enforced),
		TEST("R-STS-27 R-STS-30 host not listed: refused, TXT asked again", unlisted),
		TEST("interface 2: enforce = no keeps the addresses", unlisted_but_reported_only),
		TEST("R-STS-28 testing", tested),
		TEST("R-STS-18 first_contact = defer", deferred),
		TEST("what a lookup met with is passed up", noticed),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
