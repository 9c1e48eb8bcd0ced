/*
 * test_domain.c - conf/domain.h: one form for every name, nothing else gets through.
 */
#include "conf/domain.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_253                                                                                   \
	LABEL_63 "." LABEL_63 "." LABEL_63                                                         \
		 ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void normal_form(void **unused)
{
	static const struct {
		const char *text, *normal;
	} cases[] = {
	    {"example.org", "example.org"}, {"Example.ORG.", "example.org"},
	    {"_25._tcp.Mx", "_25._tcp.mx"}, {"r3---sn.example", "r3---sn.example"},
	    {LABEL_63 ".org", LABEL_63 ".org"}, {NAME_253, NAME_253}, {NAME_253 ".", NAME_253},
	    {"m\xc3\xbcnchen.de", "xn--mnchen-3ya.de"}, {"M\xc3\x9cNCHEN.de", "xn--mnchen-3ya.de"},
	    {"mu\xcc\x88nchen.de", "xn--mnchen-3ya.de"}, /* not composed */
	    {"XN--MNCHEN-3YA.DE", "xn--mnchen-3ya.de"},
	    {"stra\xc3\x9f"
	     "e.de",
		"xn--strae-oqa.de"},                   /* non-transitional: not strasse */
	    {"a\xe3\x80\x82org", "a.org"},             /* ideographic full stop */
	    {"\xef\xbd\x85xample.org", "example.org"}, /* full-width e */
	};
	char out[DOMAIN_SIZE];

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].text);
		assert_true(domain_normalize(out, cases[i].text, strlen(cases[i].text)));
		assert_string_equal(out, cases[i].normal);
	}
}

static const char *const bad_names[] = {
    "", ".", "a..b", ".a", "a..", "-a.org", "a-.org", "a b.org", "a\\000.org", "a\tb.org",
    "a@b.org", "[192.0.2.1]", LABEL_63 "a.org", NAME_253 "a", "a.xn--a", "xn--zzzzzz99999.org",
    "xn--abc-.org",                             /* stands for plain ASCII */
    "xn--mnchen-psa.org",                       /* stands for a capital U-umlaut */
    "xn--.org", "\xff\xfe.org", "\xc0\xae.org", /* overlong full stop */
    "a\xd7\x90.org",                            /* Latin and Hebrew: the Bidi rule */
    "a\xe2\x80\x8dz.org",                       /* joiner where none may be */
    "\xe2\x9d\xa4.org",                         /* not a letter */
};

static void bad_names_are_refused(void **unused)
{
	char out[DOMAIN_SIZE];

	(void)unused;
	for (size_t i = 0; i < COUNT(bad_names); i++) {
		print_message("%s\n", bad_names[i]);
		strcpy(out, "before");
		assert_false(domain_normalize(out, bad_names[i], strlen(bad_names[i])));
		assert_string_equal(out, "");
	}
	assert_false(domain_normalize(out, "a\0b.org", 7));
	assert_true(domain_normalize(out, "a.orgJUNK", 5));
	assert_string_equal(out, "a.org");
}

static void bad_names_leak_nothing(void **unused)
{
	char out[DOMAIN_SIZE];
	size_t before = 0;

	(void)unused;
	for (int round = 0; round < 1000; round++) {
		for (size_t i = 0; i < COUNT(bad_names); i++)
			domain_normalize(out, bad_names[i], strlen(bad_names[i]));
		if (round == 10)
			before = mallinfo2().uordblks;
	}
	assert_true(mallinfo2().uordblks <= before + 4096);
}

static void hosts(void **unused)
{
	static const struct {
		const char *name;
		bool is_host, is_mx_host;
	} cases[] = {
	    {"mx.example.org", true, true},
	    {"mx", true, false},
	    {"mx.", true, false},
	    {"localhost", true, false},
	    {"1.2.3.4", false, false},
	    {"mx.123", false, false},
	    {"123.mx", true, true},
	    {"mx.1a", true, true},
	    {"", false, false},
	    {".", false, false},
	    {"a\\032b.org", false, false},
	    {"a\\000.org", false, false},
	    {"*.org", false, false},
	    {"xn--a.org", false, false},
	    {"m\xc3\xbc.org", false, false},
	    {"mx_1.org", true, true},
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].name);
		assert_int_equal(domain_is_host(cases[i].name), cases[i].is_host);
		assert_int_equal(domain_is_mx_host(cases[i].name), cases[i].is_mx_host);
	}
}

static void below(void **unused)
{
	(void)unused;
	assert_true(domain_is_below("a.example.org", "example.org"));
	assert_true(domain_is_below("org", ""));
	assert_false(domain_is_below("example.org", "example.org"));
	assert_false(domain_is_below("badexample.org", "example.org"));
	assert_false(domain_is_below("org", "example.org"));
	assert_false(domain_is_below("example.org.net", "example.org"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-DNS-31: one normal form", normal_form, NULL, NULL, NULL},
	    {"R-DNS-32 D-21: bad names are refused", bad_names_are_refused, NULL, NULL, NULL},
	    {"R-DNS-32: bad names leak nothing", bad_names_leak_nothing, NULL, NULL, NULL},
	    {"R-DNS-32: host names out of DNS", hosts, NULL, NULL, NULL},
	    {"domain: below", below, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
