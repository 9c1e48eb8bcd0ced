/*
 * test_setbacks.c - proxy/setbacks.h: whose failures are remembered, for whom, how long and how
 * many.
 */
#include "proxy/setbacks.h"

#include "conf/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static double now = 1000;
double clock_steady(void) { return now; }
time_t clock_wall(void) { return 0; }

static const struct tls_rule rule = {.need = TLS_ENCRYPT}, other_rule = {.need = TLS_MAY};

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	assert_true(addr_parse_ip(&a, text, port));
	return a;
}

static void add(struct setbacks *s, const char *address, const struct addr *source, bool is_dead)
{
	struct addr a = ip(address, 25);
	struct refusal refusal;

	refusal_set(&refusal, REASON_CONNECT_FAILED, "%s", address);
	setbacks_add(s, &a, source, &rule, is_dead, &refusal);
}

static void kept_by_source(void **unused)
{
	struct setbacks *s = setbacks_new();
	struct addr mx = ip("192.0.2.25", 25);
	struct addr client = ip("10.0.0.1", 0), other = ip("10.0.0.2", 0);

	(void)unused;
	add(s, "192.0.2.25", &client, true);
	assert_non_null(setbacks_find(s, &mx, &client, &rule));
	assert_true(setbacks_is_dead(s, &mx, &client));
	assert_null(setbacks_find(s, &mx, &other, &rule));
	assert_null(setbacks_find(s, &mx, NULL, &rule));
	assert_false(setbacks_is_dead(s, &mx, &other));
	add(s, "192.0.2.25", NULL, true);
	assert_true(setbacks_is_dead(s, &mx, NULL));
	assert_false(setbacks_is_dead(s, &mx, &other));
	setbacks_free(&s);
}

static void kept_by_rule_and_for_a_while(void **unused)
{
	struct setbacks *s = setbacks_new();
	struct addr refusing = ip("192.0.2.25", 25), dead = ip("192.0.2.26", 25);

	(void)unused;
	add(s, "192.0.2.25", NULL, false);
	add(s, "192.0.2.26", NULL, true);
	assert_non_null(setbacks_find(s, &refusing, NULL, &rule));
	assert_null(setbacks_find(s, &refusing, NULL, &other_rule));
	assert_non_null(setbacks_find(s, &dead, NULL, &other_rule));
	now += 31;
	assert_null(setbacks_find(s, &refusing, NULL, &rule));
	assert_true(setbacks_is_dead(s, &dead, NULL));
	now += 30;
	assert_false(setbacks_is_dead(s, &dead, NULL));
	setbacks_free(&s);
}

/* Clients bring as many sources as they like. */
static void bounded(void **unused)
{
	struct setbacks *s = setbacks_new();
	struct addr mx = ip("192.0.2.25", 25), client;
	char text[ADDR_TEXT];

	(void)unused;
	for (int i = 0; i <= 10000; i++) {
		snprintf(text, sizeof text, "10.0.%d.%d", i / 256, i % 256);
		client = ip(text, 0);
		add(s, "192.0.2.25", &client, true);
	}
	assert_true(setbacks_is_dead(s, &mx, &client));
	client = ip("10.0.0.1", 0);
	assert_true(setbacks_is_dead(s, &mx, &client));
	client = ip("10.0.0.0", 0);
	assert_false(setbacks_is_dead(s, &mx, &client));
	setbacks_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-SMTP-34 R-NET-11: one client's failure is no other's", kept_by_source, NULL, NULL,
		NULL},
	    {"R-SMTP-34: what is remembered, and how long", kept_by_rule_and_for_a_while, NULL,
		NULL, NULL},
	    {"R-SMTP-34: the oldest goes", bounded, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
