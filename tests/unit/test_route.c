/*
 * test_route.c - one host, in scripted worlds: what is asked, in which order, what must be proven;
 * and the time that it may take.
 */
#include "route_stage.h"

/* ---- DANE ---- */

static void usable_tlsa(void **state)
{
	(void)state;
	say_secure_host();
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 3, 1, 1, 32);
	expect_need(TLS_DANE, "dane", ADDRESSES ", TLSA " TLSA_HOST);
	assert_int_equal(stage.route->rule.tlsa.count, 1);
	assert_int_equal(stage.route->rule.tlsa.items[0].data[31], 0xab);
	assert_string_equal(stage.route->rule.sni, HOST);
	assert_string_equal(stage.route->rule.names[0], HOST);
	assert_string_equal(stage.route->rule.names[1], "example.org");
	assert_string_equal(stage.route->host, HOST);
	assert_int_equal(stage.route->preference, 10);
	assert_int_equal(stage.route->port, 25);
	assert_int_equal(stage.route->mx_state, DNS_SECURE);
	assert_true(stage.route->secures_domain);
}

static void unsigned_host(void **state)
{
	(void)state;
	say_plain_host();
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 3, 1, 1, 32);
	expect_need(TLS_MAY, "may", ADDRESSES);
}

static void alias_both_ends(void **state)
{
	(void)state;
	via(add_address(say(DNS_SECURE, DNS_A, HOST), "198.41.0.4"), END);
	via(say(DNS_SECURE, DNS_AAAA, HOST), END);
	say(DNS_SECURE, DNS_TLSA, TLSA_END);
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 3, 1, 1, 32);
	expect_need(TLS_DANE, "dane", ADDRESSES ", TLSA " TLSA_END ", TLSA " TLSA_HOST);
	assert_string_equal(stage.route->tlsa_base, HOST);
	assert_string_equal(stage.route->host, HOST);
}

static void alias_end_first(void **state)
{
	(void)state;
	via(add_address(say(DNS_SECURE, DNS_A, HOST), "198.41.0.4"), END);
	via(say(DNS_SECURE, DNS_AAAA, HOST), END);
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_END), 2, 0, 1, 32);
	expect_need(TLS_DANE, "dane", ADDRESSES ", TLSA " TLSA_END);
	assert_string_equal(stage.route->rule.sni, END);
	assert_string_equal(stage.route->host, HOST);
}

static void alias_failed_end(void **state)
{
	(void)state;
	via(add_address(say(DNS_SECURE, DNS_A, HOST), "198.41.0.4"), END);
	via(say(DNS_SECURE, DNS_AAAA, HOST), END);
	say(DNS_FAILED, DNS_TLSA, TLSA_END);
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 3, 1, 1, 32);
	expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
	    "the TLSA lookup of " TLSA_END " failed (SERVFAIL): try again later");
	assert_string_equal(journal, ADDRESSES ", TLSA " TLSA_END);
}

static void insecure_alias_probe(void **state)
{
	(void)state;
	via(add_address(say(DNS_INSECURE, DNS_A, HOST), "198.41.0.4"), END);
	via(say(DNS_INSECURE, DNS_AAAA, HOST), END);
	add_cname(say(DNS_SECURE, DNS_CNAME, HOST), END);
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 3, 1, 1, 32);
	expect_need(TLS_DANE, "dane", ADDRESSES ", CNAME " HOST ", TLSA " TLSA_HOST);
	assert_string_equal(stage.route->tlsa_base, HOST);
}

static void insecure_alias(void **state)
{
	(void)state;
	via(add_address(say(DNS_INSECURE, DNS_A, HOST), "198.41.0.4"), END);
	via(say(DNS_INSECURE, DNS_AAAA, HOST), END);
	add_cname(say(DNS_INSECURE, DNS_CNAME, HOST), END);
	expect_need(TLS_MAY, "may", ADDRESSES ", CNAME " HOST);
}

static void vanished_alias(void **state)
{
	(void)state;
	via(add_address(say(DNS_INSECURE, DNS_A, HOST), "198.41.0.4"), END);
	via(say(DNS_INSECURE, DNS_AAAA, HOST), END);
	say(DNS_SECURE, DNS_CNAME, HOST);
	expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
	    "the CNAME record of " HOST " changed between two lookups: try again later");
}

static void one_family_lost(void **state)
{
	(void)state;
	add_address(say(DNS_SECURE, DNS_A, HOST), "198.41.0.4");
	say(DNS_FAILED, DNS_AAAA, HOST);
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 3, 1, 1, 32);
	expect_need(TLS_DANE, "dane", ADDRESSES ", TLSA " TLSA_HOST);
	assert_int_equal(stage.route->address_count, 1);
}

/* AAAA may show the host to be signed though IPv6 is never dialled. */
static void excluded_family_counts(void **state)
{
	(void)state;
	stage.conf.policy.ip = IP_ONLY_V4;
	add_address(say(DNS_INSECURE, DNS_A, HOST), "198.41.0.4");
	add_address(say(DNS_SECURE, DNS_AAAA, HOST), "2001:500:2f::f");
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 3, 1, 1, 32);
	expect_need(TLS_DANE, "dane", ADDRESSES ", TLSA " TLSA_HOST);
	assert_int_equal(stage.route->address_count, 1);
}

static void real_port(void **state)
{
	(void)state;
	stage.destination.port = 2525;
	say_secure_host();
	add_tlsa(say(DNS_SECURE, DNS_TLSA, "_2525._tcp.mx.example.org"), 3, 1, 1, 32);
	expect_need(TLS_DANE, "dane", ADDRESSES ", TLSA _2525._tcp.mx.example.org");
	assert_int_equal(stage.route->port, 2525);
	assert_int_equal(addr_port(&stage.route->addresses[0]), 2525);
}

static void half_dane(void **state)
{
	(void)state;
	stage.destination.mx_state = DNS_INSECURE;
	say_secure_host();
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 2, 0, 1, 32);
	expect_need(TLS_DANE, "half-dane", ADDRESSES ", TLSA " TLSA_HOST);
	assert_false(stage.route->secures_domain);
	assert_int_equal(stage.route->rule.name_count, 1);
}

static void unusable(void **state)
{
	(void)state;
	say_secure_host();
	add_tlsa(say(DNS_SECURE, DNS_TLSA, TLSA_HOST), 0, 0, 1, 32);
	expect_need(TLS_ENCRYPT, "dane-unusable", ADDRESSES ", TLSA " TLSA_HOST);
	assert_string_equal(stage.route->tlsa_base, HOST);
}

static void bogus_tlsa(void **state)
{
	(void)state;
	say_secure_host();
	say_bogus(DNS_TLSA, TLSA_HOST);
	expect_refusal(POLICY_DEFER, REASON_DNS_BOGUS,
	    "the TLSA lookup of " TLSA_HOST
	    " failed DNSSEC validation: its signatures have expired (signature expired)");
}

static void other_levels_ask_no_tlsa(void **state)
{
	static const struct {
		enum level level;
		enum tls_need need;
	} rows[] = {
	    {LEVEL_NONE, TLS_NONE},
	    {LEVEL_MAY, TLS_MAY},
	    {LEVEL_ENCRYPT, TLS_ENCRYPT},
	    {LEVEL_SECURE, TLS_PKIX},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		renew(state);
		say_secure_host();
		stage.conf.policy.level = rows[i].level;
		expect_need(rows[i].need, conf_level_name(rows[i].level), ADDRESSES);
	}
}

static void bogus_defers_everywhere(void **state)
{
	for (int level = LEVEL_NONE; level <= LEVEL_SECURE; level++) {
		renew(state);
		stage.conf.policy.level = level;
		say_bogus(DNS_A, HOST);
		say(DNS_INSECURE, DNS_AAAA, HOST);
		expect_refusal(POLICY_DEFER, REASON_DNS_BOGUS,
		    "the A lookup of " HOST
		    " failed DNSSEC validation: its signatures have expired (signature expired)");
	}
}

static void too_busy(void **state)
{
	(void)state;
	say(DNS_FAILED, DNS_A, HOST)->answer.busy = true;
	say(DNS_FAILED, DNS_AAAA, HOST)->answer.busy = true;
	expect_refusal(POLICY_DEFER, REASON_BUSY,
	    "no A lookup of " HOST ", too many lookups are under way here: try again later");
}

/* ---- time, and leaving early ---- */

static void total_time(void **state)
{
	(void)state;
	stage.conf.dns.total = 0.05;
	say_secure_host();
	say(DNS_SECURE, DNS_TLSA, TLSA_HOST)->silent = true;
	expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
	    "the lookups of mx.example.org for example.org took longer than 0.05 s (dns.total), no "
	    "answer to TLSA: try again later");
	assert_int_equal(in_flight, 0);
	assert_true(stage.destination.dns_seconds >= 0.045);
	assert_true(stage.destination.dns_seconds < 5);
}

/* What the MX lookup and the hosts before have spent is gone. */
static void total_is_shared(void **state)
{
	(void)state;
	stage.conf.dns.total = 60;
	stage.destination.dns_seconds = 60;
	say(DNS_SECURE, DNS_A, HOST)->silent = true;
	say(DNS_SECURE, DNS_AAAA, HOST)->silent = true;
	expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
	    "the lookups of mx.example.org for example.org took longer than 60 s (dns.total), no "
	    "answer to A and AAAA: try again later");
	assert_true(stage.destination.dns_seconds < 90);
}

static void time_adds_up(void **state)
{
	(void)state;
	stage.destination.dns_seconds = 7;
	say_plain_host();
	run();
	assert_true(stage.destination.dns_seconds > 7);
	assert_true(stage.destination.dns_seconds < 14);
}

/*
 * After each number of turns, with each question in turn left unanswered: cancel, and nothing comes
 * or leaks.
 */
static void cancel_everywhere(void **state)
{
	static const struct {
		enum dns_type type;
		const char *name;
	} silent[] = {{DNS_A, HOST}, {DNS_AAAA, HOST}, {DNS_CNAME, HOST}, {DNS_TLSA, TLSA_HOST}};

	for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
		for (size_t turns = 0; turns < 4; turns++) {
			renew(state);
			say(DNS_SECURE, silent[i].type, silent[i].name)->silent = true;
			via(add_address(say(DNS_INSECURE, DNS_A, HOST), "198.41.0.4"), END);
			via(say(DNS_INSECURE, DNS_AAAA, HOST), END);
			add_cname(say(DNS_SECURE, DNS_CNAME, HOST), END);
			start();
			for (size_t turn = 0; turn < turns; turn++)
				ev_run(stage.loop, EVRUN_NOWAIT);
			assert_non_null(stage.lookup);
			route_lookup_cancel(&stage.lookup);
			assert_null(stage.lookup);
			assert_int_equal(in_flight, 0);
			ev_run(stage.loop, 0);
			assert_int_equal(stage.callbacks, 0);
		}
	}
	route_lookup_cancel(&stage.lookup);
}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		TEST("R-DANE-01 R-DANE-30 secure host with usable TLSA", usable_tlsa),
		TEST("R-DNS-08 D-04 unsigned host: TLSA not asked", unsigned_host),
		TEST("R-DNS-14 secure alias: end, then original name", alias_both_ends),
		TEST("R-DNS-14 R-DNS-46 TLSA at the alias's end; the host keeps its name", alias_end_first),
		TEST("R-DNS-15 TLSA failed at the alias's end", alias_failed_end),
		TEST("R-DNS-12 insecure end behind a signed alias", insecure_alias_probe),
		TEST("R-DNS-12 insecure alias", insecure_alias),
		TEST("R-DNS-13 vanished alias", vanished_alias),
		TEST("R-DNS-10 one family lost, TLSA enforced", one_family_lost),
		TEST("R-DNS-09 a family that ip excludes still counts for TLSA", excluded_family_counts),
		TEST("R-DNS-18 TLSA at the real port", real_port),
		TEST("R-DANE-25 D3 half-dane", half_dane),
		TEST("R-DANE-02 unusable", unusable),
		TEST("R-DNS-07 bogus TLSA", bogus_tlsa),
		TEST("levels other than dane and dane-only ask no TLSA", other_levels_ask_no_tlsa),
		TEST("R-DNS-02 bogus addresses defer at every level", bogus_defers_everywhere),
		TEST("R-DNS-44 too many lookups: busy", too_busy),
		TEST("R-DNS-43 dns.total ends a silent lookup", total_time),
		TEST("R-DNS-43 dns.total is shared by all hosts", total_is_shared),
		TEST("R-DNS-43 time spent adds up", time_adds_up),
		TEST("cancel at every step", cancel_everywhere),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
