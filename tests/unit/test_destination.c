/*
 * test_destination.c - the MX step in scripted worlds: next_hop, probe, MX answer, order of hosts.
 */
#include "policy/policy.h"

#include "fake_dns.h"
#include "fake_sts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define DOMAIN "example.org"

/* ---- the stage ---- */

static struct {
	struct ev_loop *loop;
	struct conf conf;
	struct policy *policy;
	struct destination_lookup *lookup;
	struct destination *destination;
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
	stage.conf.policy.level = LEVEL_DANE;
	stage.policy = policy_new(stage.loop, &stage.conf, NULL, NULL, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	destination_lookup_cancel(&stage.lookup);
	destination_free(&stage.destination);
	policy_free(&stage.policy);
	ev_loop_destroy(stage.loop);
	return in_flight == 0 ? 0 : -1;
}

/* For the next row of a table. */
static void renew(void **state)
{
	assert_int_equal(tear_down(state), 0);
	set_up(state);
}

static void on_destination(struct destination *destination, void *arg)
{
	assert_ptr_equal(arg, &stage);
	stage.lookup = NULL;
	stage.callbacks++;
	stage.destination = destination;
}

static void start(void)
{
	stage.lookup = destination_lookup_start(stage.policy, DOMAIN, on_destination, &stage);
	assert_int_equal(stage.callbacks, 0);
}

static struct destination *run(void)
{
	start();
	ev_run(stage.loop, 0);
	assert_int_equal(stage.callbacks, 1);
	return stage.destination;
}

static void expect_refusal(enum verdict verdict, enum reason reason, const char *text)
{
	const struct destination *destination = run();

	assert_string_equal(destination->refusal.text, text);
	assert_int_equal(destination->verdict, verdict);
	assert_int_equal(destination->refusal.reason, reason);
	assert_int_equal(destination->host_count, 0);
}

/* "10 a.example.net, 20 b.example.net" */
static void expect_hosts(const char *expected)
{
	const struct destination *destination = run();
	char text[4096] = "";
	size_t len = 0;

	assert_string_equal(destination->refusal.text, "");
	assert_int_equal(destination->verdict, POLICY_CONNECT);
	for (size_t i = 0; i < destination->host_count; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%u %s", i > 0 ? ", " : "",
		    destination->hosts[i].preference, destination->hosts[i].name);
	assert_string_equal(text, expected);
}

/* ---- the MX answer ---- */

static void in_order(void **state)
{
	struct said *mx = say(DNS_SECURE, DNS_MX, DOMAIN);

	(void)state;
	add_mx(mx, 10, "a.example.net");
	add_mx(mx, 20, "b.example.net");
	add_mx(mx, 30, "c.example.net");
	expect_hosts("10 a.example.net, 20 b.example.net, 30 c.example.net");
	assert_true(stage.destination->is_mx);
	assert_false(stage.destination->is_fixed);
	assert_int_equal(stage.destination->mx_state, DNS_SECURE);
	assert_int_equal(stage.destination->port, 25);
	assert_string_equal(stage.destination->domain, DOMAIN);
	assert_string_equal(stage.destination->next_hop, DOMAIN);
	assert_string_equal(stage.destination->expanded, DOMAIN);
	assert_string_equal(journal, "MX " DOMAIN);
}

static void unsigned_mx(void **state)
{
	(void)state;
	add_mx(say(DNS_INSECURE, DNS_MX, DOMAIN), 10, "a.example.net");
	expect_hosts("10 a.example.net");
	assert_int_equal(stage.destination->mx_state, DNS_INSECURE);
}

static void alias(void **state)
{
	(void)state;
	add_mx(via(say(DNS_SECURE, DNS_MX, DOMAIN), "expanded.example.com"), 10, "a.example.net");
	expect_hosts("10 a.example.net");
	assert_string_equal(stage.destination->next_hop, DOMAIN);
	assert_string_equal(stage.destination->expanded, "expanded.example.com");
}

/*
 * Six orders of three equal hosts, each seen about 100 times of 600; never seen below 30 with
 * probability of 1e-15.
 */
static void random_order(void **state)
{
	static const char *const orders[] = {"abc", "acb", "bac", "bca", "cab", "cba"};
	size_t seen[6] = {0};

	for (size_t round = 0; round < 600; round++) {
		struct said *mx;
		char order[4] = "";

		renew(state);
		mx = say(DNS_SECURE, DNS_MX, DOMAIN);
		add_mx(mx, 5, "first.example.net");
		add_mx(mx, 10, "a.example.net");
		add_mx(mx, 10, "b.example.net");
		add_mx(mx, 10, "c.example.net");
		add_mx(mx, 20, "last.example.net");
		run();
		assert_string_equal(stage.destination->hosts[0].name, "first.example.net");
		assert_string_equal(stage.destination->hosts[4].name, "last.example.net");
		for (size_t i = 0; i < 3; i++)
			order[i] = stage.destination->hosts[i + 1].name[0];
		for (size_t i = 0; i < 6; i++)
			seen[i] += strcmp(order, orders[i]) == 0;
	}
	for (size_t i = 0; i < 6; i++)
		assert_true(seen[i] > 30);
}

static void implicit(void **state)
{
	static const enum dns_state states[] = {DNS_SECURE, DNS_INSECURE};

	for (size_t i = 0; i < 2; i++) {
		renew(state);
		say(states[i], DNS_MX, DOMAIN);
		expect_hosts("0 " DOMAIN);
		assert_false(stage.destination->is_mx);
		assert_false(stage.destination->is_fixed);
		assert_int_equal(stage.destination->mx_state, states[i]);
	}
}

static void nxdomain(void **state)
{
	(void)state;
	say(DNS_INSECURE, DNS_MX, DOMAIN)->answer.nxdomain = true;
	expect_refusal(POLICY_REFUSE, REASON_NO_SUCH_DOMAIN, "example.org does not exist in DNS");
}

static void null_mx(void **state)
{
	(void)state;
	add_mx(say(DNS_INSECURE, DNS_MX, DOMAIN), 0, "");
	expect_refusal(POLICY_REFUSE, REASON_NULL_MX, "example.org accepts no mail (null MX)");
	assert_string_equal(journal, "MX " DOMAIN);
}

static void null_among_others(void **state)
{
	struct said *mx = say(DNS_SECURE, DNS_MX, DOMAIN);

	(void)state;
	add_mx(mx, 0, "");
	add_mx(mx, 10, "a.example.net");
	expect_hosts("10 a.example.net");
}

static void no_host_names(void **state)
{
	static const char *const exchanges[] = {"192.0.2.1", "localhost", "mail", "a b.example.net",
	    "a..example.net", "a\1.example.net", "mx.42"};

	for (size_t i = 0; i < sizeof exchanges / sizeof *exchanges; i++) {
		struct said *mx;

		renew(state);
		mx = say(DNS_SECURE, DNS_MX, DOMAIN);
		add_mx(mx, 10, exchanges[i]);
		add_mx(mx, 20, "b.example.net");
		expect_hosts("20 b.example.net");
	}
}

/* With MX records the bare domain must not stand in, even where none of them can be used. */
static void nothing_left(void **state)
{
	(void)state;
	add_mx(say(DNS_SECURE, DNS_MX, DOMAIN), 10, "localhost");
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "example.org has MX records, but none names a host: its owner must mend the zone");
}

static void nothing_left_in_the_answer(void **state)
{
	(void)state;
	say(DNS_SECURE, DNS_MX, DOMAIN)->answer.cut = true;
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "example.org has MX records, but none names a host: its owner must mend the zone");
}

/* `.` beside a record that the parser dropped is no null MX, which would be final. */
static void null_beside_dropped(void **state)
{
	(void)state;
	add_mx(say(DNS_SECURE, DNS_MX, DOMAIN), 0, "")->answer.cut = true;
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "example.org has MX records, but none names a host: its owner must mend the zone");
}

static void twenty(void **state)
{
	struct said *mx = say(DNS_SECURE, DNS_MX, DOMAIN);
	char name[32];

	(void)state;
	for (size_t i = 0; i < DNS_MX_MAX; i++) {
		snprintf(name, sizeof name, "mx%zu.example.net", i);
		add_mx(mx, 10, name);
	}
	mx->answer.cut = true;
	assert_int_equal(run()->host_count, DNS_MX_MAX);
}

static void failures_at_every_level(void **state)
{
	for (int level = LEVEL_NONE; level <= LEVEL_SECURE; level++) {
		renew(state);
		stage.conf.policy.level = level;
		say_bogus(DNS_MX, DOMAIN);
		expect_refusal(POLICY_DEFER, REASON_DNS_BOGUS,
		    "the MX lookup of example.org failed DNSSEC validation: its "
		    "signatures have expired (signature expired)");

		renew(state);
		stage.conf.policy.level = level;
		say(DNS_FAILED, DNS_MX, DOMAIN);
		expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
		    "the MX lookup of example.org failed (SERVFAIL): try again later");
	}
}

static void too_busy(void **state)
{
	(void)state;
	say(DNS_FAILED, DNS_MX, DOMAIN)->answer.busy = true;
	expect_refusal(POLICY_DEFER, REASON_BUSY,
	    "no MX lookup of example.org, too many lookups are under way here: try again later");
}

/* ---- the probe ---- */

static void probe_by_level(void **state)
{
	for (int level = LEVEL_NONE; level <= LEVEL_SECURE; level++) {
		bool waits = level == LEVEL_DANE || level == LEVEL_DANE_ONLY;

		renew(state);
		stage.conf.policy.level = level;
		fake_probe = PROBE_BROKEN;
		add_mx(say(DNS_INSECURE, DNS_MX, DOMAIN), 10, "a.example.net");
		run();
		assert_int_equal(stage.destination->verdict, waits ? POLICY_DEFER : POLICY_CONNECT);
		assert_string_equal(journal, waits ? "" : "MX " DOMAIN);
		assert_int_equal(probe_waits, waits ? 1 : 0);
	}
}

static void probe_broken(void **state)
{
	(void)state;
	fake_probe = PROBE_BROKEN;
	expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
	    "DNSSEC does not work on this proxy, so example.org cannot be looked up safely (. SOA "
	    "is insecure): danelaw's operator must mend this");
	assert_true(stage.destination->dns_seconds == 0);
}

/* Only the caller's own deadline ends the wait, and nothing is asked meanwhile. */
static void probe_pending(void **state)
{
	(void)state;
	stage.conf.dns.total = 0.01;
	fake_probe = PROBE_PENDING;
	start();
	ev_run(stage.loop, 0);
	assert_int_equal(stage.callbacks, 0);
	assert_string_equal(journal, "");
	destination_lookup_cancel(&stage.lookup);
	assert_null(stage.lookup);
}

/* ---- next_hop ---- */

static struct conf_next_hop *configure(const char *host, uint16_t port, bool lookup_mx)
{
	struct conf_next_hop *next_hop = &stage.conf.policy.next_hop;

	next_hop->set = true;
	next_hop->lookup_mx = lookup_mx;
	next_hop->port = port;
	snprintf(next_hop->host, sizeof next_hop->host, "%s", host);
	return next_hop;
}

static void next_hop_with_mx(void **state)
{
	(void)state;
	configure("relay.example.com", 2525, true);
	add_mx(say(DNS_INSECURE, DNS_MX, "relay.example.com"), 10, "a.example.net");
	expect_hosts("10 a.example.net");
	assert_string_equal(journal, "MX relay.example.com");
	assert_string_equal(stage.destination->domain, DOMAIN);
	assert_string_equal(stage.destination->next_hop, "relay.example.com");
	assert_int_equal(stage.destination->mx_state, DNS_INSECURE);
	assert_int_equal(stage.destination->port, 2525);
	assert_true(stage.destination->is_mx);
	assert_false(stage.destination->is_fixed);
}

static void next_hop_fixed(void **state)
{
	(void)state;
	configure("relay.example.com", 587, false);
	expect_hosts("0 relay.example.com");
	assert_string_equal(journal, "");
	assert_string_equal(stage.destination->next_hop, "relay.example.com");
	assert_string_equal(stage.destination->expanded, "relay.example.com");
	assert_int_equal(stage.destination->mx_state, DNS_SECURE);
	assert_int_equal(stage.destination->port, 587);
	assert_false(stage.destination->is_mx);
	assert_true(stage.destination->is_fixed);
	assert_int_equal(probe_waits, 1);
}

static void next_hop_fixed_without_dane(void **state)
{
	(void)state;
	stage.conf.policy.level = LEVEL_ENCRYPT;
	configure("relay.example.com", 587, false);
	expect_hosts("0 relay.example.com");
	assert_int_equal(probe_waits, 0);
}

static void next_hop_address(void **state)
{
	struct conf_next_hop *next_hop = configure("", 25, false);

	(void)state;
	next_hop->is_address = true;
	fake_probe = PROBE_BROKEN;
	assert_true(addr_parse(&next_hop->address, "10.0.0.5:25", 0));
	expect_hosts("0 ");
	assert_string_equal(stage.destination->next_hop, DOMAIN);
	assert_true(stage.destination->is_fixed);
	assert_string_equal(journal, "");
}

/* A relay that vanished is the operator's mistake; mail for innocent domains must not bounce. */
static void next_hop_mistakes(void **state)
{
	configure("relay.example.com", 25, true);
	say(DNS_SECURE, DNS_MX, "relay.example.com")->answer.nxdomain = true;
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "next_hop relay.example.com of example.org does not exist in DNS: correct the setting");

	renew(state);
	configure("relay.example.com", 25, true);
	add_mx(say(DNS_SECURE, DNS_MX, "relay.example.com"), 0, "");
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "next_hop relay.example.com of example.org accepts no mail (null MX): correct the "
	    "setting");
}

static void exception_section(void **state)
{
	static struct conf_domain section = {.name = DOMAIN};

	(void)state;
	section.policy.level = LEVEL_ENCRYPT;
	section.policy.next_hop = *configure("relay.example.com", 25, false);
	stage.conf.policy.next_hop.set = false;
	stage.conf.domains = &section;
	stage.conf.domain_count = 1;
	expect_hosts("0 relay.example.com");
	assert_ptr_equal(stage.destination->exception, &section);
	assert_ptr_equal(stage.destination->conf, &section.policy);
}

/* ---- time, and leaving early ---- */

static void total_time(void **state)
{
	(void)state;
	stage.conf.dns.total = 0.05;
	say(DNS_SECURE, DNS_MX, DOMAIN)->silent = true;
	expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
	    "the MX lookup of example.org took longer than 0.05 s (dns.total): try again later");
	assert_int_equal(in_flight, 0);
	assert_true(stage.destination->dns_seconds >= 0.045);
	assert_true(stage.destination->dns_seconds < 5);
}

static void cancel_everywhere(void **state)
{
	for (size_t turns = 0; turns < 3; turns++) {
		renew(state);
		say(DNS_SECURE, DNS_MX, DOMAIN)->silent = true;
		start();
		for (size_t turn = 0; turn < turns; turn++)
			ev_run(stage.loop, EVRUN_NOWAIT);
		destination_lookup_cancel(&stage.lookup);
		assert_null(stage.lookup);
		assert_int_equal(in_flight, 0);
		ev_run(stage.loop, 0);
		assert_int_equal(stage.callbacks, 0);
	}
	destination_lookup_cancel(&stage.lookup);
}

static void cancel_fixed(void **state)
{
	(void)state;
	stage.conf.policy.level = LEVEL_MAY;
	configure("relay.example.com", 25, false);
	start();
	destination_lookup_cancel(&stage.lookup);
	ev_run(stage.loop, 0);
	assert_int_equal(stage.callbacks, 0);
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, set_up, tear_down, NULL                                            \
	}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		TEST("R-DNS-25 ascending preference", in_order),
		TEST("R-DNS-03 unsigned MX", unsigned_mx),
		TEST("R-DNS-22 the CNAME expansion is kept", alias),
		TEST("R-DNS-25 random order within one preference", random_order),
		TEST("R-DNS-23 NODATA: implicit MX with the denial's state", implicit),
		TEST("R-DNS-23 R-DNS-04 NXDOMAIN", nxdomain),
		TEST("R-DNS-26 null MX, no address lookup", null_mx),
		TEST("R-DNS-26 D-12 null MX among others", null_among_others),
		TEST("D-11 exchanges that are no host names", no_host_names),
		TEST("R-DNS-24 no usable exchange: the bare domain is not used", nothing_left),
		TEST("R-DNS-24 the same, skipped by the parser", nothing_left_in_the_answer),
		TEST("R-DNS-26 null MX beside a dropped record is not final", null_beside_dropped),
		TEST("R-DNS-30 at most 20 hosts", twenty),
		TEST("R-DNS-05 D-01 MX failures defer at every level", failures_at_every_level),
		TEST("R-DNS-44 too many lookups: busy", too_busy),
		TEST("R-DNS-37 the probe counts for dane and dane-only alone", probe_by_level),
		TEST("R-DNS-37 the text says why the probe failed", probe_broken),
		TEST("R-DNS-37 a pending probe is waited for, outside dns.total", probe_pending),
		TEST("next_hop = host:port: its MX", next_hop_with_mx),
		TEST("next_hop = [host]:port: no MX lookup, as good as secure", next_hop_fixed),
		TEST("next_hop = [host]:port, level encrypt: no probe", next_hop_fixed_without_dane),
		TEST("R-DNS-33 next_hop = [address]: nothing asked", next_hop_address),
		TEST("next_hop that does not work defers", next_hop_mistakes),
		TEST("a [domain] section applies", exception_section),
		TEST("R-DNS-43 dns.total ends a silent lookup", total_time),
		TEST("cancel at every step", cancel_everywhere),
		TEST("cancel before a fixed host's turn", cancel_fixed),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
