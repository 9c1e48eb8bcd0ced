/*
 * test_conf_listener.c - conf/conf.h: the settings of a listener that takes connections meant for
 * others, stands behind a load balancer, or has a certificate.
 */
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a)  (sizeof(a) / sizeof *(a))
#define LISTENER  "[listener a]\nlisten = 0.0.0.0:2525\n"
#define CLIENTS   "clients = 10.0.0.0/8\n"
#define INTERCEPT LISTENER CLIENTS "intercept = redirect\n"

static struct conf *load(const char *text, struct conf_report *report)
{
	FILE *file = fmemopen((void *)text, strlen(text), "r");
	struct conf *conf = conf_load_file(file, "f", NULL, 0, report);

	fclose(file);
	return conf;
}

static const char *const good[] = {
    LISTENER CLIENTS,
    INTERCEPT,
    INTERCEPT "original_destination = strict\n",
    LISTENER CLIENTS "intercept = tproxy\npreserve_source = yes\n",
    LISTENER CLIENTS "intercept = off\noriginal_destination = hint\npreserve_source = no\n",
    LISTENER CLIENTS "proxy_protocol = 192.0.2.10 2001:db8::/64\n",
    INTERCEPT "passthrough =\nproxy_protocol =\n",
    LISTENER CLIENTS "tls_certificate = /c\ntls_key = /k\n",
};

static void accepted(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < COUNT(good); i++) {
		struct conf_report report;
		struct conf *conf = load(good[i], &report);

		if (!conf)
			fail_msg("%s: %s", good[i], report.errors[0]);
		conf_free(&conf);
		conf_report_free(&report);
	}
}

static const struct {
	const char *text, *error;
} bad[] = {
    {LISTENER "intercept = redirect\n", "f:3: clients must be written in [listener a]"},
    {"[listener a]\nlisten = 127.0.0.1:2525\nintercept = tproxy\n",
	"f:3: clients must be written in [listener a]"},
    {LISTENER CLIENTS "intercept = yes\n", "f:4: intercept: "},
    {LISTENER CLIENTS "original_destination = strict\n", "f:4: original_destination strict needs"},
    {INTERCEPT "preserve_source = yes\n", "f:5: preserve_source needs intercept = tproxy"},
    {LISTENER CLIENTS "preserve_source = yes\n", "f:4: preserve_source needs intercept = tproxy"},
    {LISTENER CLIENTS "passthrough = 192.0.2.7\n", "f:4: passthrough needs intercept"},
    {INTERCEPT "passthrough = relay.example.org\n", "f:5: passthrough: relay.example.org is not"},
    {INTERCEPT "passthrough = 0.0.0.0\n", "f:5: passthrough: 0.0.0.0 is not"},
    {INTERCEPT "passthrough = 192.0.2.7:0\n", "f:5: passthrough: 192.0.2.7:0 is not"},
    {INTERCEPT "original_destination = strict\ndelivery = queue\n",
	"f:5: original_destination strict and delivery = queue exclude"},
    {INTERCEPT "passthrough = 192.0.2.7\ndelivery = queue\n",
	"f:5: passthrough and delivery = queue exclude"},
    {LISTENER CLIENTS "intercept = tproxy\npreserve_source = yes\ndelivery = queue\n",
	"f:5: preserve_source and delivery = queue exclude"},
    {"[domain 192.0.2.7]\n" INTERCEPT, "f:1: [domain 192.0.2.7]: no listener has that address"},
    {"[domain 192.0.2.7]\nnext_hop = mx.example.org\n" INTERCEPT "passthrough = 192.0.2.7\n",
	"f:2: next_hop: a passthrough host is the next hop itself"},
    {INTERCEPT "proxy_protocol = 192.0.2.10\n", "f:5: proxy_protocol and intercept exclude"},
    {LISTENER CLIENTS "tls_certificate = /c\n", "f:4: [listener a] has tls_certificate, but no"},
    {LISTENER CLIENTS "tls_key = /k\n", "f:4: [listener a] has tls_key, but no tls_certificate"},
};

static void refused(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct conf_report report;

		assert_null(load(bad[i].text, &report));
		if (strncmp(report.errors[0], bad[i].error, strlen(bad[i].error)) != 0)
			fail_msg("%s\nwanted: %s\n", report.errors[0], bad[i].error);
		assert_int_equal(report.error_count, 1);
		conf_report_free(&report);
	}
}

/* Each under what [policy] says, or a section of its own. */
static void passthrough(void **unused)
{
	struct conf_report report;
	const struct conf_domain *section;
	struct conf *conf = load("[policy]\nlevel = encrypt\n[domain 192.0.2.7]\nlevel = may\n"
				 "[domain 2001:DB8:0::7]\nmin_tls = 1.3\n" INTERCEPT
				 "passthrough = 192.0.2.7 [2001:db8::7]:587 2001:db8::8\n",
	    &report);

	(void)unused;
	assert_non_null(conf);
	assert_int_equal(conf->listeners[0].passthrough.count, 3);
	assert_int_equal(report.warning_count, 1);
	assert_non_null(strstr(report.warnings[0], "passthrough [2001:db8::7]:587: the rules"));
	assert_int_equal(conf_policy_for(conf, "192.0.2.7", 0, &section)->level, LEVEL_MAY);
	assert_int_equal(
	    conf_policy_for(conf, "2001:db8::7", 0, &section)->min_tls, TLS_VERSION_1_3);
	assert_int_equal(conf_policy_for(conf, "2001:db8::8", 0, &section)->level, LEVEL_ENCRYPT);
	assert_null(section);
	conf_free(&conf);
	conf_report_free(&report);
}

static void strict_without_effect(void **unused)
{
	static const char *const wanted[] = {"[policy] next_hop applies",
	    "[domain .example.net] next_hop applies"};
	struct conf_report report;
	struct conf *conf = load("[policy]\nnext_hop = mx.example.org\n"
				 "[domain .example.net]\nnext_hop = mx.example.net\n"
				 "[domain example.com]\nnext_hop =\n"
				 "[domain example.edu]\nlevel = may\n" INTERCEPT
				 "original_destination = strict\n",
	    &report);

	(void)unused;
	assert_non_null(conf);
	assert_int_equal(report.warning_count, COUNT(wanted));
	for (size_t i = 0; i < COUNT(wanted); i++)
		assert_non_null(strstr(report.warnings[i], wanted[i]));
	conf_free(&conf);
	conf_report_free(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-NET-01 R-NET-12 R-TLSSEC-02: good listeners", accepted, NULL, NULL, NULL},
	    {"R-NET-01 R-NET-09 R-NET-11: listeners that cannot be", refused, NULL, NULL, NULL},
	    {"R-NET-09: strict, and next hops that are named", strict_without_effect, NULL, NULL, NULL},
	    {"R-NET-10: passed-through hosts", passthrough, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
