/*
 * test_explain.c - what a client reads when a host was not trusted (interface section 3).
 */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define KEY "cd34cd34cd34cd34cd34cd34cd34cd34cd34cd34cd34cd34cd34cd34cd34cd34"
#define AT  "mx1.example.org[192.0.2.25]:25"

struct explain_case {
	const char *name;
	enum tls_need need;
	const char *label;
	const char *base;
	size_t records;
	const char *starttls;
	enum tls_failure failure;
	const char *why;
	enum reason reason;
	const char *text;
};

#define NOT_OFFERED "does not offer STARTTLS"

/* clang-format off */
static const struct explain_case cases[] = {
	{ "R-DANE-01 T-06 mismatch", TLS_DANE, "dane", "mx1.example.org", 1, NULL,  TLS_FAIL_MISMATCH, "",
	  REASON_DANE_MISMATCH,
	  AT " presented key sha256 cd34cd34.., _25._tcp.mx1.example.org wants 3 1 1 ab000000.." },
	{ "mismatch, three records", TLS_DANE, "dane", "mx1.example.org", 3, NULL,  TLS_FAIL_MISMATCH, "",
	  REASON_DANE_MISMATCH,
	  AT " presented key sha256 cd34cd34.., _25._tcp.mx1.example.org wants 3 1 1 ab000000.. or 3 1 1 ab010000.. "
	  "or 3 1 1 ab020000.." },
	{ "mismatch, more records than are shown", TLS_DANE, "dane", "mx1.example.org", 5, NULL, 
	  TLS_FAIL_MISMATCH, "", REASON_DANE_MISMATCH,
	  AT " presented key sha256 cd34cd34.., _25._tcp.mx1.example.org wants 3 1 1 ab000000.. or 3 1 1 ab010000.. "
	  "or 3 1 1 ab020000.. and 2 more" },
	{ "R-DANE-11 name", TLS_DANE, "dane", "mx1.example.org", 1, NULL,  TLS_FAIL_NAME, "",
	  REASON_DANE_NAME,
	  AT " presented a certificate (key sha256 cd34cd34..) without the name that _25._tcp.mx1.example.org "
	  "3 1 1 ab000000.. wants: mx1.example.org or example.org" },
	{ "expired", TLS_DANE, "dane", "mx1.example.org", 1, NULL,  TLS_FAIL_EXPIRED,
	  "certificate has expired", REASON_DANE_EXPIRED,
	  AT " presented a certificate (key sha256 cd34cd34..) that is not valid now (certificate has expired), "
	  "_25._tcp.mx1.example.org wants 3 1 1 ab000000.." },
	{ "chain", TLS_DANE, "dane", "mx1.example.org", 1, NULL,  TLS_FAIL_CHAIN, "invalid CA certificate",
	  REASON_DANE_CHAIN,
	  AT " presented a certificate (key sha256 cd34cd34..) whose chain fails (invalid CA certificate), "
	  "_25._tcp.mx1.example.org wants 3 1 1 ab000000.." },
	{ "R-DANE-20 completed, but not verified", TLS_DANE, "dane", "mx1.example.org", 1, NULL,  TLS_FINE, "",
	  REASON_DANE_MISMATCH,
	  AT " presented key sha256 cd34cd34.., _25._tcp.mx1.example.org wants 3 1 1 ab000000.." },
	{ "R-DANE-21 T-01 STARTTLS not offered, usable TLSA", TLS_DANE, "dane", "mx1.example.org", 1, NOT_OFFERED, 
	  TLS_FINE, "", REASON_DANE_NO_STARTTLS,
	  AT " does not offer STARTTLS, but its TLSA records (_25._tcp.mx1.example.org) require TLS" },
	{ "R-DANE-21 T-03 STARTTLS refused, usable TLSA", TLS_DANE, "dane", "mx1.example.org", 1, "answered STARTTLS with 454 4.7.0 later",
	  TLS_FINE, "", REASON_DANE_NO_STARTTLS,
	  AT " answered STARTTLS with 454 4.7.0 later, but its TLSA records (_25._tcp.mx1.example.org) require TLS" },
	{ "R-DANE-02 STARTTLS not offered, unusable TLSA", TLS_ENCRYPT, "dane-unusable", "mx1.example.org", 0, NOT_OFFERED,
	   TLS_FINE, "", REASON_DANE_NO_STARTTLS,
	  AT " does not offer STARTTLS, but its TLSA records (_25._tcp.mx1.example.org) require TLS" },
	{ "STARTTLS not offered, level encrypt", TLS_ENCRYPT, "encrypt", "", 0, NOT_OFFERED,  TLS_FINE, "",
	  REASON_TLS_NOT_OFFERED, AT " does not offer STARTTLS, and policy encrypt requires TLS" },
	{ "STARTTLS not offered, level secure", TLS_PKIX, "secure", "", 0, NOT_OFFERED,  TLS_FINE, "",
	  REASON_TLS_NOT_OFFERED, AT " does not offer STARTTLS, and policy secure requires TLS" },
	{ "handshake failed, dane", TLS_DANE, "dane", "mx1.example.org", 1, NULL,  TLS_FAIL_HANDSHAKE,
	  "alert handshake failure", REASON_TLS_HANDSHAKE,
	  "TLS handshake with " AT " failed: alert handshake failure" },
	{ "handshake failed, encrypt, no details", TLS_ENCRYPT, "encrypt", "", 0, NULL,  TLS_FAIL_HANDSHAKE, "",
	  REASON_TLS_HANDSHAKE, "TLS handshake with " AT " failed: no details" },
	{ "certificate, level secure: name", TLS_PKIX, "secure", "", 0, NULL,  TLS_FAIL_NAME,
	  "hostname mismatch", REASON_PKIX_CERTIFICATE,
	  AT " presented key sha256 cd34cd34.., level secure wants a trusted certificate for "
	  "mx1.example.org (or a name below) or example.org: hostname mismatch" },
	{ "certificate, level secure: expired", TLS_PKIX, "secure", "", 0, NULL,  TLS_FAIL_EXPIRED,
	  "certificate has expired", REASON_PKIX_CERTIFICATE,
	  AT " presented key sha256 cd34cd34.., level secure wants a trusted certificate for "
	  "mx1.example.org (or a name below) or example.org: certificate has expired" },
	{ "R-STS-27 STARTTLS not offered, enforce", TLS_PKIX, "sts:enforce", "", 0, NOT_OFFERED, TLS_FINE, "",
	  REASON_STS_NO_STARTTLS, AT " does not offer STARTTLS, but the MTA-STS policy of example.org requires TLS" },
	{ "R-STS-26 certificate, enforce", TLS_PKIX, "sts:enforce", "", 0, NULL, TLS_FAIL_NAME,
	  "hostname mismatch", REASON_STS_CERTIFICATE,
	  AT " presented key sha256 cd34cd34.., the MTA-STS policy of example.org wants a trusted certificate for "
	  "mx1.example.org: hostname mismatch" },
	{ "F-10 no CA file, enforce", TLS_PKIX, "sts:enforce", "", 0, NULL, TLS_FAIL_CHAIN,
	  "CA file /x: No such file or directory", REASON_STS_CERTIFICATE,
	  AT " presented key sha256 cd34cd34.., the MTA-STS policy of example.org wants a trusted certificate for "
	  "mx1.example.org: CA file /x: No such file or directory" },
	{ "handshake failed, enforce", TLS_PKIX, "sts:enforce", "", 0, NULL, TLS_FAIL_HANDSHAKE,
	  "protocol version", REASON_TLS_HANDSHAKE, "TLS handshake with " AT " failed: protocol version" },
	{ "R-DANE-33 STARTTLS not offered, unusable TLSA and enforce", TLS_PKIX, "sts:enforce", "mx1.example.org", 0,
	  NOT_OFFERED, TLS_FINE, "", REASON_DANE_NO_STARTTLS,
	  AT " does not offer STARTTLS, but its TLSA records (_25._tcp.mx1.example.org) require TLS" },
};
/* clang-format on */

static void fill_route(struct route *route, const struct explain_case *c)
{
	memset(route, 0, sizeof *route);
	snprintf(route->host, sizeof route->host, "mx1.example.org");
	snprintf(route->tlsa_base, sizeof route->tlsa_base, "%s", c->base);
	route->port = 25;
	route->policy_label = c->label;
	route->rule.need = c->need;
	if (strcmp(c->label, "sts:enforce") == 0) {
		route->sts_mode = STS_MODE_ENFORCE;
		strcpy(route->sts_domain, "example.org");
	}
	route->rule.names_below = c->need == TLS_PKIX;
	route->rule.name_count = 2;
	snprintf(route->rule.names[0], DOMAIN_SIZE, "mx1.example.org");
	snprintf(route->rule.names[1], DOMAIN_SIZE, "example.org");
	for (size_t i = 0; i < c->records; i++) {
		uint8_t digest[32] = {0xab, (uint8_t)i};

		tlsa_set_add(&route->rule.tlsa, &(struct tlsa){3, 1, 1, sizeof digest, digest});
	}
}

static void check_case(void **state)
{
	const struct explain_case *c = *state;
	struct tls_proof proof = {.failure = c->failure, .key_digest = KEY};
	struct refusal refusal;
	struct route route;
	struct addr address;

	fill_route(&route, c);
	snprintf(proof.text, sizeof proof.text, "%s", c->why);
	assert_true(addr_parse(&address, "192.0.2.25:25", 0));
	route_explain_tls(&route, &address, c->starttls, c->starttls ? NULL : &proof, &refusal);
	assert_int_equal(refusal.reason, c->reason);
	assert_string_equal(refusal.text, c->text);
	tls_rule_release(&route.rule);
}

static void check_testing(void **state)
{
	static const struct {
		enum sts_mode mode;
		enum reason unlisted;
		bool in_clear;
		const char *report;
		enum reason reason;
		const char *text;
	} rows[] = {
	    {STS_MODE_TESTING, REASON_NONE, false, "", REASON_NONE, NULL},
	    {STS_MODE_TESTING, REASON_STS_MX, false, "expired", REASON_STS_MX, "not listed"},
	    {STS_MODE_TESTING, REASON_NONE, true, "", REASON_STS_NO_STARTTLS,
		AT " gave no TLS, which the MTA-STS policy of example.org wants"},
	    {STS_MODE_TESTING, REASON_NONE, false, "expired", REASON_STS_CERTIFICATE,
		AT " presented key sha256 cd34cd34.., the MTA-STS policy of example.org wants a "
		   "trusted certificate for mx1.example.org: expired"},
	    {STS_MODE_NONE, REASON_NONE, true, "", REASON_NONE, NULL},
	    {STS_MODE_ENFORCE, REASON_NONE, false, "", REASON_NONE, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct tls_proof proof = {.encrypted = true, .key_digest = KEY};
		struct route route = {.host = "mx1.example.org", .sts_domain = "example.org"};
		struct refusal refusal;
		struct addr address;

		route.sts_mode = rows[i].mode;
		route.would_fail.reason = rows[i].unlisted;
		strcpy(route.would_fail.text, "not listed");
		strcpy(proof.report, rows[i].report);
		assert_true(addr_parse(&address, "192.0.2.25:25", 0));
		assert_int_equal(route_explain_testing(
				     &route, &address, rows[i].in_clear ? NULL : &proof, &refusal),
		    rows[i].reason != REASON_NONE);
		if (rows[i].reason == REASON_NONE)
			continue;
		assert_int_equal(refusal.reason, rows[i].reason);
		assert_string_equal(refusal.text, rows[i].text);
	}
}

/* T-09: an anonymous cipher suite. */
static void check_no_certificate(void **state)
{
	struct tls_proof proof = {.encrypted = true, .failure = TLS_FAIL_MISMATCH};
	struct refusal refusal;
	struct route route;
	struct addr address;

	(void)state;
	fill_route(&route, &cases[0]);
	assert_true(addr_parse(&address, "[2001:db8::25]:2525", 0));
	route.port = 2525;
	route_explain_tls(&route, &address, NULL, &proof, &refusal);
	assert_int_equal(refusal.reason, REASON_DANE_MISMATCH);
	assert_string_equal(refusal.text,
	    "mx1.example.org[2001:db8::25]:2525 presented no certificate, "
	    "_2525._tcp.mx1.example.org wants 3 1 1 ab000000..");
	tls_rule_release(&route.rule);
}

/* Names of full length, many records, a long reason: everything is cut, nothing overflows. */
static void check_longest(void **state)
{
	struct tls_proof proof = {.failure = TLS_FAIL_NAME, .key_digest = KEY};
	struct refusal refusal;
	struct route route;
	struct addr address;

	(void)state;
	fill_route(&route, &cases[2]);
	memset(route.host, 'h', DOMAIN_MAX);
	memset(route.tlsa_base, 'b', DOMAIN_MAX);
	route.rule.name_count = TLS_NAMES_MAX;
	route.rule.names_below = true;
	for (size_t i = 0; i < TLS_NAMES_MAX; i++) {
		memset(route.rule.names[i], 'n', DOMAIN_MAX);
		route.rule.names[i][DOMAIN_MAX] = '\0';
	}
	memset(proof.text, 'w', sizeof proof.text - 1);
	assert_true(addr_parse(&address, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", 0));
	for (int failure = TLS_FINE; failure <= TLS_FAIL_CHAIN; failure++) {
		proof.failure = failure;
		route_explain_tls(&route, &address, NULL, &proof, &refusal);
		assert_int_equal(strlen(refusal.text), sizeof refusal.text - 1);
	}
	tls_rule_release(&route.rule);
}

int main(void)
{
	enum { COUNT = sizeof cases / sizeof *cases };
	struct CMUnitTest tests[COUNT + 3];

	for (size_t i = 0; i < COUNT; i++)
		tests[i] =
		    (struct CMUnitTest){cases[i].name, check_case, NULL, NULL, (void *)&cases[i]};
	tests[COUNT] = (struct CMUnitTest){"T-09 R-DNS-18 no certificate, IPv6, another port",
	    check_no_certificate, NULL, NULL, NULL};
	tests[COUNT + 1] = (struct CMUnitTest){
	    "the longest of everything is cut", check_longest, NULL, NULL, NULL};
	tests[COUNT + 2] = (struct CMUnitTest){
	    "R-STS-28 what testing would have refused", check_testing, NULL, NULL, NULL};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
