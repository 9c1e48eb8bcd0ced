/*
 * test_dial.c - whom a route would dial, in which order, and whom never (R-DNS-28, -29, R-NET-16).
 */
#include "route_stage.h"

/* ---- worlds ---- */

static void expect_addresses(const char *expected)
{
	const struct route *route = run();
	char text[4096] = "", address[ADDR_TEXT];

	for (size_t i = 0; i < route->address_count; i++) {
		strcat(text, i > 0 ? " " : "");
		strcat(text, addr_bracketed(&route->addresses[i], address));
	}
	assert_string_equal(text, expected);
}

static void say_hosts(const char *const *addresses, size_t count)
{
	struct said *a = say(DNS_INSECURE, DNS_A, HOST);
	struct said *aaaa = say(DNS_INSECURE, DNS_AAAA, HOST);

	for (size_t i = 0; i < count; i++)
		add_address(strchr(addresses[i], ':') ? aaaa : a, addresses[i]);
}

#define SAY_HOSTS(...)                                                                             \
	do {                                                                                       \
		const char *const list[] = {__VA_ARGS__};                                          \
		say_hosts(list, sizeof list / sizeof *list);                                       \
	} while (0)

/* ---- addresses ---- */

static void interleaved(void **state)
{
	static const struct {
		enum ip_choice ip;
		const char *expected;
	} rows[] = {
	    {IP_ANY, "[2001:500:2::c]:25 [198.41.0.4]:25 [2001:500:2f::f]:25 [192.33.4.12]:25 "
		     "[192.5.5.241]:25"},
	    {IP_PREFER_V6, "[2001:500:2::c]:25 [198.41.0.4]:25 [2001:500:2f::f]:25 "
			   "[192.33.4.12]:25 [192.5.5.241]:25"},
	    {IP_PREFER_V4, "[198.41.0.4]:25 [2001:500:2::c]:25 [192.33.4.12]:25 "
			   "[2001:500:2f::f]:25 [192.5.5.241]:25"},
	    {IP_ONLY_V4, "[198.41.0.4]:25 [192.33.4.12]:25 [192.5.5.241]:25"},
	    {IP_ONLY_V6, "[2001:500:2::c]:25 [2001:500:2f::f]:25"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		renew(state);
		stage.conf.policy.ip = rows[i].ip;
		SAY_HOSTS(
		    "198.41.0.4", "192.33.4.12", "192.5.5.241", "2001:500:2::c", "2001:500:2f::f");
		expect_addresses(rows[i].expected);
	}
}

static void never_dialled(void **state)
{
	static const char *const special[] = {"127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.5",
	    "172.16.0.1", "192.168.1.1", "169.254.169.254", "fe80::1", "fd00::1", "100.64.0.1"};

	for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
		const struct route *route;

		renew(state);
		say_hosts(&special[i], 1);
		route = run();
		assert_int_equal(route->verdict, POLICY_DEFER);
		assert_int_equal(route->refusal.reason, REASON_NO_ADDRESS);
		assert_non_null(strstr(route->refusal.text, "which allow_addresses does not name"));
	}
}

static void private_address_text(void **state)
{
	(void)state;
	SAY_HOSTS("10.0.0.5");
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "mx.example.org resolves to 10.0.0.5, which allow_addresses does not name");
	assert_string_equal(journal, ADDRESSES);
}

static void allow(const char *range)
{
	static struct cidr cidr;

	assert_true(cidr_parse(&cidr, range));
	stage.conf.policy.allow_addresses = (struct cidr_list){1, &cidr};
}

static void allowed_range(void **state)
{
	(void)state;
	allow("10.0.0.0/8");
	SAY_HOSTS("10.0.0.5", "192.168.0.1", "198.41.0.4");
	expect_addresses("[10.0.0.5]:25 [198.41.0.4]:25");
}

static void never_even_if_allowed(void **state)
{
	static const char *const never[] = {
	    "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"};

	for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
		const struct route *route;

		renew(state);
		allow(strchr(never[i], ':') ? "::/0" : "0.0.0.0/0");
		say_hosts(&never[i], 1);
		route = run();
		assert_int_equal(route->refusal.reason, REASON_NO_ADDRESS);
		assert_non_null(
		    strstr(route->refusal.text, "which cannot be the address of a host"));
	}
}

static void fix(const char *address)
{
	stage.conf.policy.next_hop.set = true;
	stage.conf.policy.next_hop.is_address = true;
	assert_true(addr_parse(&stage.conf.policy.next_hop.address, address, 0));
	stage.destination.is_mx = false;
	stage.destination.is_fixed = true;
	stage.destination.port = addr_port(&stage.conf.policy.next_hop.address);
	stage.destination.hosts[0].name[0] = '\0';
}

static void literal(void **state)
{
	(void)state;
	fix("10.0.0.5:2525");
	expect_addresses("[10.0.0.5]:2525");
	assert_string_equal(journal, "");
	assert_int_equal(stage.route->rule.need, TLS_MAY);
	assert_string_equal(stage.route->rule.sni, "");
}

static void literal_dane_only(void **state)
{
	(void)state;
	stage.conf.policy.level = LEVEL_DANE_ONLY;
	fix("10.0.0.5:25");
	expect_refusal(POLICY_DEFER, REASON_DANE_REQUIRED,
	    "level dane-only needs TLSA records, which an address in next_hop cannot have: name "
	    "the host of "
	    "example.org");
}

static void literal_never(void **state)
{
	(void)state;
	fix("0.0.0.0:25");
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "next_hop resolves to 0.0.0.0, which cannot be the address of a host");
}

static void listen_at(const char *address)
{
	struct addr own;

	assert_true(addr_parse(&own, address, 0));
	policy_set_own(stage.policy, &own, 1);
}

static void ourselves(void **state)
{
	static const struct {
		const char *listener, *host;
		bool is_self;
	} rows[] = {
	    {"198.41.0.4:25", "198.41.0.4", true},
	    {"198.41.0.4:2525", "198.41.0.4", false},
	    {"192.33.4.12:25", "198.41.0.4", false},
	    {"[2001:500:2::c]:25", "2001:500:2::c", true},
	    {"0.0.0.0:25", "127.0.0.1", true},
	    {"[::]:25", "127.0.0.1", true},
	    {"0.0.0.0:25", "198.41.0.4", false},
	    {"0.0.0.0:2525", "127.0.0.1", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct route *route;

		renew(state);
		allow("127.0.0.0/8");
		listen_at(rows[i].listener);
		say_hosts(&rows[i].host, 1);
		route = run();
		assert_int_equal(route->is_self, rows[i].is_self);
		assert_int_equal(route->verdict, rows[i].is_self ? POLICY_REFUSE : POLICY_CONNECT);
		assert_int_equal(
		    route->refusal.reason, rows[i].is_self ? REASON_MX_LOOP : REASON_NONE);
	}
}

static void ourselves_among_others(void **state)
{
	(void)state;
	listen_at("198.41.0.4:25");
	stage.conf.policy.ip = IP_ONLY_V6;
	SAY_HOSTS("192.33.4.12", "198.41.0.4", "2001:500:2::c");
	expect_refusal(POLICY_REFUSE, REASON_MX_LOOP,
	    "mx.example.org is this proxy itself ([198.41.0.4]:25): mail to it would loop");
	assert_true(stage.route->is_self);
}

static void literal_ourselves(void **state)
{
	(void)state;
	listen_at("127.0.0.1:25");
	fix("127.0.0.1:25");
	expect_refusal(POLICY_REFUSE, REASON_MX_LOOP,
	    "next_hop is this proxy itself ([127.0.0.1]:25): mail to it would loop");
}

static void no_address(void **state)
{
	(void)state;
	say(DNS_SECURE, DNS_A, HOST)->answer.nxdomain = true;
	say(DNS_SECURE, DNS_AAAA, HOST)->answer.nxdomain = true;
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "mx.example.org has neither an A nor an AAAA record: its owner must add one");
}

static void implicit_without_address(void **state)
{
	(void)state;
	stage.destination.is_mx = false;
	strcpy(stage.destination.hosts[0].name, "example.org");
	say(DNS_INSECURE, DNS_A, "example.org");
	say(DNS_INSECURE, DNS_AAAA, "example.org");
	expect_refusal(
	    POLICY_REFUSE, REASON_NO_MAIL_HOST, "example.org has neither MX nor address records");
}

static void implicit_with_failure(void **state)
{
	(void)state;
	stage.destination.is_mx = false;
	strcpy(stage.destination.hosts[0].name, "example.org");
	say(DNS_INSECURE, DNS_A, "example.org");
	say(DNS_FAILED, DNS_AAAA, "example.org");
	expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
	    "the AAAA lookup of example.org failed (SERVFAIL): try again later");
}

static void only_the_other_family(void **state)
{
	(void)state;
	stage.conf.policy.ip = IP_ONLY_V4;
	SAY_HOSTS("2001:500:2::c");
	expect_refusal(
	    POLICY_DEFER, REASON_NO_ADDRESS, "mx.example.org has no A record, and ip = ipv4");
}

static void wanted_family_failed(void **state)
{
	(void)state;
	stage.conf.policy.ip = IP_ONLY_V6;
	add_address(say(DNS_INSECURE, DNS_A, HOST), "198.41.0.4");
	say(DNS_FAILED, DNS_AAAA, HOST);
	expect_refusal(POLICY_DEFER, REASON_DNS_FAILED,
	    "the AAAA lookup of mx.example.org failed (SERVFAIL): try again later");
}

static void say_many(size_t count)
{
	struct said *a = say(DNS_INSECURE, DNS_A, HOST);
	struct said *aaaa = say(DNS_INSECURE, DNS_AAAA, HOST);
	char ip[32];

	for (size_t i = 0; i < count; i++) {
		snprintf(ip, sizeof ip, "198.41.0.%zu", i + 1);
		add_address(a, ip);
		snprintf(ip, sizeof ip, "2001:500:2::%zx", i + 1);
		add_address(aaaa, ip);
	}
}

static void forty_addresses(void **state)
{
	(void)state;
	say_many(DNS_ADDR_MAX);
	assert_int_equal(run()->address_count, ROUTE_ADDR_MAX);
	assert_int_equal(stage.destination.address_count, ROUTE_ADDR_MAX);
}

static void forty_for_all_hosts(void **state)
{
	(void)state;
	stage.destination.address_count = ROUTE_ADDR_MAX - 3;
	say_many(5);
	assert_int_equal(run()->address_count, 3);

	stage.callbacks = 0;
	expect_refusal(POLICY_DEFER, REASON_NO_ADDRESS,
	    "mx.example.org is not tried: more than 40 addresses for one domain");
}

static void cancel_literal(void **state)
{
	(void)state;
	fix("10.0.0.5:25");
	start();
	route_lookup_cancel(&stage.lookup);
	ev_run(stage.loop, 0);
	assert_int_equal(stage.callbacks, 0);
}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		TEST("R-NET-16 families interleaved as ip says", interleaved),
		TEST("R-DNS-28 R-DNS-29 D-13 D-14 special addresses", never_dialled),
		TEST("R-DNS-29 the text names address and setting; no TLSA asked", private_address_text),
		TEST("R-DNS-28 allow_addresses", allowed_range),
		TEST("R-DNS-28 unspecified and multicast under no setting", never_even_if_allowed),
		TEST("R-DNS-33 next_hop address: no DNS, no DANE, always allowed", literal),
		TEST("R-DANE-26 next_hop address under dane-only", literal_dane_only),
		TEST("R-DNS-28 next_hop 0.0.0.0", literal_never),
		TEST("R-DNS-28 ourselves: address and port, wildcards", ourselves),
		TEST("R-DNS-28 ourselves in the family that is not dialled", ourselves_among_others),
		TEST("R-DNS-28 next_hop is ourselves", literal_ourselves),
		TEST("R-DNS-04 MX host without address", no_address),
		TEST("R-DNS-23 implicit MX without address: no-mail-host", implicit_without_address),
		TEST("R-DNS-02 implicit MX with a failed lookup: temporary", implicit_with_failure),
		TEST("ip = ipv4, host has only IPv6", only_the_other_family),
		TEST("R-DNS-02 ip = ipv6, AAAA failed", wanted_family_failed),
		TEST("R-DNS-30 at most 40 addresses", forty_addresses),
		TEST("R-DNS-30 at most 40 addresses over all hosts", forty_for_all_hosts),
		TEST("cancel before a literal's turn", cancel_literal),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
