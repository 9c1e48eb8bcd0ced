/*
 * test_addr.c - conf/addr.h: texts, ranges, special addresses.
 */
#include "conf/addr.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Without expected text: not to be parsed. */
static void addresses_with_port(void **unused)
{
	static const struct {
		const char *text, *expected;
		uint16_t port;
	} cases[] = {
	    {"192.0.2.1:25", "[192.0.2.1]:25", 0},
	    {"255.10.100.9:25", "[255.10.100.9]:25", 0},
	    {"0.0.0.0:25", "[0.0.0.0]:25", 0},
	    {"[2001:db8::1]:25", "[2001:db8::1]:25", 0},
	    {"[2001:DB8:0::1]", "[2001:db8::1]:53", 53},
	    {"2001:db8::1", "[2001:db8::1]:53", 53},
	    {"192.0.2.1", "[192.0.2.1]:53", 53},
	    {"[::ffff:192.0.2.1]:25", "[192.0.2.1]:25", 0},
	    {"192.0.2.1", NULL, 0},
	    {"[2001:db8::1]", NULL, 0},
	    {"192.0.2.1:0", NULL, 0},
	    {"192.0.2.1:65536", NULL, 0},
	    {"192.0.2.1:+25", NULL, 0},
	    {"192.0.2.1:025", NULL, 0},
	    {"192.0.2.1:25x", NULL, 0},
	    {"192.0.2.1:", NULL, 25},
	    {"[192.0.2.1]:25", NULL, 0},
	    {"192.0.2.01:25", NULL, 0},
	    {"192.0.2:25", NULL, 0},
	    {"[fe80::1%eth0]:25", NULL, 0},
	    {"[2001:db8::1:25", NULL, 0},
	    {"[2001:db8::1]25", NULL, 0},
	    {"localhost:25", NULL, 0},
	    {":25", NULL, 0},
	    {"", NULL, 25},
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[ADDR_TEXT] = "";
		struct addr a;
		bool good = addr_parse(&a, cases[i].text, cases[i].port);

		print_message("%s\n", cases[i].text);
		assert_int_equal(good, cases[i].expected != NULL);
		if (good)
			assert_string_equal(addr_bracketed(&a, text), cases[i].expected);
	}
}

static void texts(void **unused)
{
	char text[ADDR_TEXT];
	struct addr a;

	(void)unused;
	assert_true(addr_parse_ip(&a, "[2001:db8::1]", 25));
	assert_string_equal(addr_literal(&a, text), "[IPv6:2001:db8::1]");
	assert_string_equal(addr_ip(&a, text), "2001:db8::1");
	assert_true(addr_parse_ip(&a, "192.0.2.1", 25));
	assert_string_equal(addr_literal(&a, text), "[192.0.2.1]");
	assert_false(addr_parse_ip(&a, "[192.0.2.1]", 25));
	assert_false(addr_parse_ip(&a, "192.0.2.1:25", 25));
	/* The longest text there can be. */
	assert_true(addr_parse_ip(&a, "2001:db8:1111:2222:3333:4444:255.255.255.255", 65535));
	assert_string_equal(
	    addr_literal(&a, text), "[IPv6:2001:db8:1111:2222:3333:4444:ffff:ffff]");
}

static void ranges(void **unused)
{
	static const struct {
		const char *range, *inside, *outside;
	} cases[] = {
	    {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
	    {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
	    {"192.0.2.128/25", "192.0.2.200", "192.0.2.127"},
	    {"0.0.0.0/0", "255.1.2.3", "::1"},
	    {"::1", "::1", "::2"},
	    {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
	    {"::/0", "2001:db8::1", "10.0.0.1"},
	    {"10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"},
	};
	static const char *const bad[] = {
	    "10.0.0.1/8",
	    "10.0.0.0/33",
	    "10.0.0.0/",
	    "10.0.0.0/08",
	    "10.0.0.0/-1",
	    "10/8",
	    "",
	    "2001:db8::1/64",
	    "::/129",
	    "::ffff:10.0.0.0/104",
	    "[::1]",
	    "example.org",
	    "10.0.0.0/8x",
	};
	struct addr a;
	struct cidr c;

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].range);
		assert_true(cidr_parse(&c, cases[i].range));
		assert_true(addr_parse_ip(&a, cases[i].inside, 0));
		assert_true(cidr_contains(&c, &a));
		assert_true(addr_parse_ip(&a, cases[i].outside, 0));
		assert_false(cidr_contains(&c, &a));
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		print_message("%s\n", bad[i]);
		assert_false(cidr_parse(&c, bad[i]));
	}
}

static void special_addresses(void **unused)
{
	static const struct {
		const char *text;
		enum addr_class class;
	} cases[] = {
	    {"8.8.8.8", ADDR_PUBLIC},
	    {"127.0.0.1", ADDR_SPECIAL},
	    {"127.255.255.255", ADDR_SPECIAL},
	    {"10.1.2.3", ADDR_SPECIAL},
	    {"172.15.0.1", ADDR_PUBLIC},
	    {"172.16.0.1", ADDR_SPECIAL},
	    {"172.31.255.255", ADDR_SPECIAL},
	    {"172.32.0.1", ADDR_PUBLIC},
	    {"192.168.1.1", ADDR_SPECIAL},
	    {"169.254.169.254", ADDR_SPECIAL},
	    {"100.64.0.1", ADDR_SPECIAL},
	    {"100.128.0.1", ADDR_PUBLIC},
	    {"192.0.2.1", ADDR_SPECIAL},
	    {"198.19.0.1", ADDR_SPECIAL},
	    {"198.51.100.1", ADDR_SPECIAL},
	    {"203.0.113.9", ADDR_SPECIAL},
	    {"0.0.0.0", ADDR_NEVER},
	    {"0.1.2.3", ADDR_NEVER},
	    {"224.0.0.1", ADDR_NEVER},
	    {"239.255.255.255", ADDR_NEVER},
	    {"240.0.0.1", ADDR_SPECIAL},
	    {"255.255.255.255", ADDR_NEVER},
	    {"2a00:1450::1", ADDR_PUBLIC},
	    {"::", ADDR_NEVER},
	    {"::1", ADDR_SPECIAL},
	    {"::ffff:127.0.0.1", ADDR_SPECIAL},
	    {"::ffff:0.0.0.0", ADDR_NEVER},
	    {"::ffff:8.8.8.8", ADDR_PUBLIC},
	    {"::127.0.0.1", ADDR_SPECIAL},
	    {"fe80::1", ADDR_SPECIAL},
	    {"fc00::1", ADDR_SPECIAL},
	    {"fd12::1", ADDR_SPECIAL},
	    {"fec0::1", ADDR_SPECIAL},
	    {"ff02::1", ADDR_NEVER},
	    {"2001:db8::1", ADDR_SPECIAL},
	    {"2002:7f00:1::", ADDR_SPECIAL},
	    {"2001::1", ADDR_SPECIAL},
	    {"2001:200::1", ADDR_PUBLIC},
	    {"64:ff9b::7f00:1", ADDR_SPECIAL},
	    {"64:ff9b::808:808", ADDR_PUBLIC},
	    {"64:ff9b:1::808:808", ADDR_SPECIAL},
	    {"3fff::1", ADDR_SPECIAL},
	    {"64:ff9b::", ADDR_NEVER},
	};
	struct addr a;

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].text);
		assert_true(addr_parse_ip(&a, cases[i].text, 25));
		assert_int_equal(addr_classify(&a), cases[i].class);
	}
}

static void from_the_kernel(void **unused)
{
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(25)};
	struct sockaddr other = {.sa_family = AF_UNIX};
	struct addr a, b;

	(void)unused;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &mapped.sin6_addr), 1);
	assert_true(addr_from_sockaddr(&a, (struct sockaddr *)&mapped));
	assert_true(addr_parse(&b, "192.0.2.1:25", 0));
	assert_true(addr_equal(&a, &b));
	addr_set_port(&b, 26);
	assert_false(addr_equal(&a, &b));
	assert_true(addr_equal_ip(&a, &b));
	assert_int_equal(addr_port(&b), 26);
	assert_false(addr_from_sockaddr(&a, &other));
}

static void loopback_addresses(void **unused)
{
	static const struct {
		const char *ip;
		bool is_loopback;
	} cases[] = {
	    {"127.0.0.1", true},
	    {"127.255.255.255", true},
	    {"::1", true},
	    {"::ffff:127.0.0.1", true},
	    {"126.255.255.255", false},
	    {"128.0.0.0", false},
	    {"0.0.0.0", false},
	    {"::", false},
	    {"::2", false},
	    {"7f00::1", false},
	};
	struct addr a;

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].ip);
		assert_true(addr_parse_ip(&a, cases[i].ip, 0));
		assert_int_equal(addr_is_loopback(&a), cases[i].is_loopback);
	}
}

/* In place of the C library's. */
static struct addr ours;
static struct ifaddrs without_address, with_address;
static unsigned times_asked;

int getifaddrs(struct ifaddrs **list)
{
	times_asked++;
	assert_true(addr_parse_ip(&ours, "192.0.2.1", 0));
	with_address.ifa_addr = &ours.sa;
	without_address.ifa_next = &with_address;
	*list = &without_address;
	return 0;
}

void freeifaddrs(struct ifaddrs *list) { (void)list; }

static void local_addresses(void **unused)
{
	struct addr a;

	(void)unused;
	assert_true(addr_parse_ip(&a, "127.8.9.10", 0));
	assert_true(addr_is_local(&a));
	assert_true(addr_parse_ip(&a, "::1", 0));
	assert_true(addr_is_local(&a));
	assert_true(addr_parse_ip(&a, "192.0.2.99", 0));
	assert_false(addr_is_local(&a));
	for (int i = 0; i < 1000; i++)
		addr_is_local(&a);
	assert_in_range(times_asked, 1, 10);
	assert_true(addr_parse_ip(&a, "192.0.2.1", 25));
	assert_true(addr_is_local(&a));
}

struct crowd {
	const char *text;
	int family;
	bool is_everybody;
};

/* clang-format off */
static const struct crowd crowds[] = {
	{"", AF_INET, false},
	{"0.0.0.0/0", AF_INET, true},
	{"0.0.0.0/0", AF_INET6, false},
	{"0.0.0.0/1 128.0.0.0/1", AF_INET, true},
	{"128.0.0.0/1 0.0.0.0/2 64.0.0.0/2", AF_INET, true},
	{"0.0.0.0/1 128.0.0.0/2", AF_INET, false},
	{"0.0.0.0/1 128.0.0.0/2 192.0.0.0/3", AF_INET, true}, /* but for multicast and reserved */
	/* All but the private addresses, as it is often written. */
	{"0.0.0.0/5 8.0.0.0/7 11.0.0.0/8 12.0.0.0/6 16.0.0.0/4 32.0.0.0/3 64.0.0.0/2 128.0.0.0/3 "
	 "160.0.0.0/5 168.0.0.0/6 172.0.0.0/12 172.32.0.0/11 172.64.0.0/10 172.128.0.0/9 173.0.0.0/8 "
	 "174.0.0.0/7 176.0.0.0/4 192.0.0.0/9 192.128.0.0/11 192.160.0.0/13 192.169.0.0/16 192.170.0.0/15 "
	 "192.172.0.0/14 192.176.0.0/12 192.192.0.0/10 193.0.0.0/8 194.0.0.0/7 196.0.0.0/6 200.0.0.0/5 "
	 "208.0.0.0/4", AF_INET, true},
	{"10.0.0.0/8 172.16.0.0/12 192.168.0.0/16", AF_INET, false},
	{"8.8.8.8", AF_INET, false},
	{"::/0", AF_INET6, true},
	{"2000::/3", AF_INET6, true},
	{"::/1 8000::/1", AF_INET6, true},
	{"2000::/4 3000::/5 3800::/5", AF_INET6, true},
	{"2000::/4 3000::/5", AF_INET6, false},
	{"2001:db8::/32 fc00::/7", AF_INET6, false},
};
/* clang-format on */

static void everybody(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof crowds / sizeof *crowds; i++) {
		struct cidr items[32];
		struct cidr_list list = {0, items};
		char copy[600], *rest = copy;

		assert_true(strlen(crowds[i].text) < sizeof copy);
		memcpy(copy, crowds[i].text, strlen(crowds[i].text) + 1);
		for (char *word; (word = strsep(&rest, " "));)
			if (*word)
				assert_true(cidr_parse(&items[list.count++], word));
		if (cidr_list_is_everybody(&list, crowds[i].family) != crowds[i].is_everybody)
			fail_msg("%s", crowds[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"addr: addresses with ports", addresses_with_port, NULL, NULL, NULL},
	    {"addr: texts, RFC 5321 4.1.3 literals", texts, NULL, NULL, NULL},
	    {"addr: ranges", ranges, NULL, NULL, NULL},
	    {"R-DNS-28 R-DNS-29: special addresses", special_addresses, NULL, NULL, NULL},
	    {"R-DNS-28: mapped addresses from the kernel", from_the_kernel, NULL, NULL, NULL},
	    {"what is loopback", loopback_addresses, NULL, NULL, NULL},
	    {"R-NET-01: who is everybody", everybody, NULL, NULL, NULL},
	    {"R-DNS-28: what is ours", local_addresses, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
