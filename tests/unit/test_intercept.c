/*
 * test_intercept.c - proxy/intercept/intercept.h: what the address that a client dialled, and its own,
 * decide.
 */
#include "proxy/intercept/intercept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct addr ip(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(&a, text, 25));
	return a;
}

static size_t split(const char *list, struct addr *out)
{
	char text[256], *rest = text, *word;
	size_t count = 0;

	snprintf(text, sizeof text, "%s", list);
	while ((word = strsep(&rest, " ")))
		if (*word)
			out[count++] = ip(word);
	return count;
}

static const struct conf_listener hinting = {.intercept = INTERCEPT_REDIRECT};
static const struct conf_listener preserving = {
    .intercept = INTERCEPT_TPROXY, .preserve_source = true};

static const struct {
	const struct conf_listener *conf;
	const char *original, *client, *addresses, *order;
} orders[] = {
    {&hinting, "192.0.2.3", "10.0.0.1", "192.0.2.1 192.0.2.2 192.0.2.3",
	"192.0.2.3 192.0.2.1 192.0.2.2"},
    {&hinting, "192.0.2.9", "10.0.0.1", "192.0.2.1 192.0.2.2", "192.0.2.1 192.0.2.2"},
    {&hinting, "192.0.2.1", "10.0.0.1", "2001:db8::1 192.0.2.1", "192.0.2.1 2001:db8::1"},
    {&hinting, "2001:db8::2", "fd00::1", "192.0.2.1 2001:db8::2", "2001:db8::2 192.0.2.1"},
    {&preserving, "192.0.2.2", "10.0.0.1", "2001:db8::1 192.0.2.1 192.0.2.2",
	"192.0.2.2 192.0.2.1"},
    {&preserving, "2001:db8::9", "fd00::1", "192.0.2.1 2001:db8::1", "2001:db8::1"},
    {&preserving, "192.0.2.2", "10.0.0.1", "2001:db8::1", ""},
};

static void never_kept(void **unused)
{
	const struct conf_listener *listeners[] = {&hinting, &preserving};

	(void)unused;
	for (size_t i = 0; i < COUNT(listeners); i++) {
		struct interception it = {.listener = listeners[i]};

		assert_int_equal(intercept_delivery(&it, listeners[i]), DELIVERY_FANOUT);
		it.keeps_source = true;
		assert_int_equal(intercept_delivery(&it, listeners[i]), DELIVERY_DEFER);
		it.keeps_source = false;
		it.passthrough = true;
		assert_int_equal(intercept_delivery(&it, listeners[i]), DELIVERY_DEFER);
	}
}

static void order_of_addresses(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < COUNT(orders); i++) {
		struct addr in[8], wanted[8], out[8];
		struct addr original = ip(orders[i].original), client = ip(orders[i].client);
		size_t count = split(orders[i].addresses, in);
		size_t wanted_count = split(orders[i].order, wanted);
		struct interception interception;

		intercept_describe(orders[i].conf, &client, &original, &interception);
		assert_int_equal(intercept_order(&interception, in, count, out), wanted_count);
		for (size_t k = 0; k < wanted_count; k++)
			assert_true(addr_equal(&out[k], &wanted[k]));
	}
}

/* Not intercepted: whatever stands in a zeroed structure changes nothing. */
static void nothing_to_respect(void **unused)
{
	struct interception none = {0};
	struct addr in[2] = {ip("192.0.2.2"), ip("2001:db8::1")}, out[2];
	char text[ADDR_TEXT];

	(void)unused;
	assert_int_equal(intercept_order(&none, in, 2, out), 2);
	assert_true(addr_equal(&out[0], &in[0]) && addr_equal(&out[1], &in[1]));
	assert_string_equal(intercept_domain(&none, "example.org", text), "example.org");
}

static void passed_through(void **unused)
{
	struct addr hosts[2] = {ip("192.0.2.7"), ip("2001:db8::7")}, client = ip("10.0.0.1");
	struct conf_listener conf = {.intercept = INTERCEPT_REDIRECT, .passthrough = {2, hosts}};
	struct addr other_port = hosts[0];
	struct interception interception;
	char text[ADDR_TEXT];

	(void)unused;
	intercept_describe(&conf, &client, &hosts[1], &interception);
	assert_true(interception.passthrough);
	assert_string_equal(
	    intercept_domain(&interception, "example.org", text), "[2001:db8::7]:25");
	addr_set_port(&other_port, 26);
	intercept_describe(&conf, &client, &other_port, &interception);
	assert_false(interception.passthrough);
	assert_false(interception.keeps_source);
}

static void names(void **unused)
{
	static const struct {
		const char *said, *told;
	} cases[] = {
	    {"mail.example.org", "mail.example.org"},
	    {"[192.0.2.1]", "[192.0.2.1]"},
	    {"[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
	    {"host", "host"},
	    {"two words", "[10.0.0.1]"},
	    {"under_score.example", "under_score.example"},
	    {"b\xc3\xbc"
	     "cher.example",
		"[10.0.0.1]"},
	    {"a\r\nMAIL FROM:<>", "[10.0.0.1]"},
	    {"", "[10.0.0.1]"},
	};
	struct addr original = ip("192.0.2.1"), client = ip("10.0.0.1");
	struct interception interception;

	(void)unused;
	intercept_describe(&preserving, &client, &original, &interception);
	assert_int_equal(addr_port(&interception.source), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		intercept_take_name(&interception, cases[i].said);
		assert_string_equal(interception.ehlo, cases[i].told);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-NET-08 R-NET-11: the order of a host's addresses", order_of_addresses, NULL, NULL,
		NULL},
	    {"R-NET-08: mail that was not intercepted", nothing_to_respect, NULL, NULL, NULL},
	    {"R-NET-10: hosts that are passed through", passed_through, NULL, NULL, NULL},
	    {"R-NET-10 R-NET-11: mail that is never kept", never_kept, NULL, NULL, NULL},
	    {"R-NET-11: the client's name, as far as it can be told", names, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
