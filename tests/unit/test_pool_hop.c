/*
 * test_pool_hop.c - proxy/pool_hop.h: which MX hosts are one provider's, and share a limit.
 */
#include "proxy/pool_hop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
	const char *host, *provider;
} cases[] = {
    {"mx1.example.org", "example.org"},
    {"a.b.c.example.org", "example.org"},
    {"example.org", "example.org"},
    {"aspmx.l.google.com", "google.com"},
    {"alt1.aspmx.l.google.com", "google.com"},
    {"customer-example.mail.protection.outlook.com", "outlook.com"},
    {"customer-example.p-v1.mx.microsoft", "mx.microsoft"},
    {"mx.example.co.uk", "example.co.uk"}, /* two customers of one registry are two */
    {"other.co.uk", "other.co.uk"},
    {"someone.dyndns.org", "someone.dyndns.org"}, /* nor does who gives names away receive mail */
    {"mx.example.xn--p1ai", "example.xn--p1ai"},
    {"mx.branch.corp.internal", "corp.internal"}, /* no registry knows it: as if it did */
    {"co.uk", "co.uk"},
    {"relay", "relay"},
    {"org", "org"},
};

static void providers(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].host);
		assert_string_equal(pool_hop_provider(cases[i].host), cases[i].provider);
	}
}

static struct pool_hop hop_of(const char *ip, const char *host)
{
	struct addr address;

	assert_true(addr_parse_ip(&address, ip, 25));
	return pool_hop_of(&address, host);
}

static bool is_one_provider(const struct pool_hop *a, const struct pool_hop *b)
{
	return count_key_equal(&a->provider, &b->provider);
}

static void keys(void **unused)
{
	struct pool_hop one = hop_of("192.0.2.1", "mx1.example.org");
	struct pool_hop two = hop_of("192.0.2.2", "mx2.example.org");
	struct pool_hop other = hop_of("192.0.2.1", "mx1.example.net");
	struct pool_hop literal = hop_of("192.0.2.1", ""), next = hop_of("192.0.2.2", "");

	(void)unused;
	assert_true(is_one_provider(&one, &two));
	assert_false(count_key_equal(&one.address, &two.address));
	assert_false(is_one_provider(&one, &other));
	assert_true(count_key_equal(&one.address, &other.address));
	assert_false(is_one_provider(&literal, &next));
	assert_false(is_one_provider(&literal, &one));
	assert_false(count_key_equal(&literal.address, &literal.provider));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-NET-13: hosts and their providers", providers, NULL, NULL, NULL},
	    {"R-NET-13: under what connections are counted", keys, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
