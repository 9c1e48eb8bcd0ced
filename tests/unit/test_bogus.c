/*
 * Why an answer is bogus, from the resolver library's words.
 */
#include "policy/bogus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct row {
	const char *why;
	enum bogus kind;
	const char *zone, *brief;
};

/* clang-format off */
static const struct row rows[] = {
	{ "validation failure <a.lab. MX IN>: signature expired from 192.0.2.3 for key a.lab. while "
	  "building chain of trust", BOGUS_EXPIRED, "a.lab",
	  "signature expired from 192.0.2.3 for key a.lab." },
	{ "validation failure <a.lab. MX IN>: DS hash mismatches key from 192.0.2.3 for key a.lab. "
	  "while building chain of trust", BOGUS_DS, "a.lab",
	  "DS hash mismatches key from 192.0.2.3 for key a.lab." },
	{ "validation failure <a.lab. A IN>: signature before inception date from 192.0.2.3",
	  BOGUS_EARLY, "", "signature before inception date from 192.0.2.3" },
	{ "validation failure <a.lab. TLSA IN>: ECDSA signature verification failed from 192.0.2.3 "
	  "and 192.0.2.3 and 192.0.2.3", BOGUS_SIGNATURE, "",
	  "ECDSA signature verification failed from 192.0.2.3" },
	{ "validation failure <a.lab. TLSA IN>: no signatures from 192.0.2.3 and 192.0.2.33 and "
	  "192.0.2.33", BOGUS_UNSIGNED, "", "no signatures from 192.0.2.3 and 192.0.2.33" },
	{ "validation failure <a.lab. MX IN>: No DNSKEY record from 192.0.2.3 for key a.lab. while "
	  "building chain of trust", BOGUS_UNSIGNED, "a.lab",
	  "No DNSKEY record from 192.0.2.3 for key a.lab." },
	{ "DNSSEC validation failed", BOGUS_OTHER, "", "DNSSEC validation failed" },
	{ "", BOGUS_OTHER, "", "" },
};
/* clang-format on */

static void test_rows(void **state)
{
	char zone[DOMAIN_SIZE], brief[256];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(bogus_kind(rows[i].why), rows[i].kind);
		assert_true(bogus_cause(rows[i].kind)[0]);
		assert_string_equal(bogus_zone(rows[i].why, zone) ? zone : "", rows[i].zone);
		assert_string_equal(bogus_brief(rows[i].why, brief, sizeof brief), rows[i].brief);
	}
}

static void test_small(void **state)
{
	char brief[8];

	(void)state;
	assert_string_equal(bogus_brief(rows[0].why, brief, sizeof brief), "signatu");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-DNS-02: the library's words", test_rows, NULL, NULL, NULL},
	    {"cut where there is no room", test_small, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
