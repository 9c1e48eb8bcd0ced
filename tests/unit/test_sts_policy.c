/*
 * test_sts_policy.c - the MTA-STS record and policy as texts, and the match of MX hosts.
 */
#include "policy/sts_policy.h"

#include "conf/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a)     (sizeof(a) / sizeof *(a))
#define TEXT(string) string, sizeof(string) - 1
#define A32          "abcdefghijklmnopqrstuvwxyzABC123"

/* ---- the record ---- */

/* Each text in a block of its own size, so that a sanitizer sees one octet read too far. */
static enum sts_record parse_records(
    const char *const *texts, size_t count, bool cut, char id[STS_ID_SIZE], const char **why)
{
	struct dns_text records[4];
	struct dns_answer txt = {
	    .type = DNS_TXT, .state = DNS_INSECURE, .cut = cut, .count = count, .text = records};
	enum sts_record result;

	for (size_t i = 0; i < count; i++)
		records[i] =
		    (struct dns_text){strlen(texts[i]), mem_copy(texts[i], strlen(texts[i]))};
	result = sts_record_parse(&txt, id, why);
	for (size_t i = 0; i < count; i++)
		free((void *)records[i].data);
	return result;
}

static void one_record(void **state)
{
	static const struct {
		const char *text;
		enum sts_record result;
		const char *id;
	} rows[] = {
	    {"v=STSv1; id=20160831085700Z;", STS_RECORD_VALID, "20160831085700Z"},
	    {"v=STSv1;id=a", STS_RECORD_VALID, "a"},
	    {"v=STSv1; id=a \t", STS_RECORD_VALID, "a"},
	    {"v=STSv1;\tid=a\t; ", STS_RECORD_VALID, "a"},
	    {"v=STSv1; id=" A32 ";", STS_RECORD_VALID, A32},
	    {"v=STSv1; x-1=y; id=a; z.z_z=!:~", STS_RECORD_VALID, "a"},
	    {"v=STSv1; id=a; id=b", STS_RECORD_VALID, "a"},
	    {"v=STSv1; id=a; id=!", STS_RECORD_VALID, "a"},

	    {"", STS_RECORD_ABSENT, ""},
	    {"v=STSv1", STS_RECORD_ABSENT, ""},
	    {"v=STSv1 ; id=a", STS_RECORD_ABSENT, ""},
	    {" v=STSv1; id=a", STS_RECORD_ABSENT, ""},
	    {"V=STSv1; id=a", STS_RECORD_ABSENT, ""},
	    {"v=stsv1; id=a", STS_RECORD_ABSENT, ""},
	    {"v=STSv11; id=a", STS_RECORD_ABSENT, ""},
	    {"v=spf1 -all", STS_RECORD_ABSENT, ""},

	    {"v=STSv1;", STS_RECORD_INVALID, ""},
	    {"v=STSv1; ", STS_RECORD_INVALID, ""},
	    {"v=STSv1; x=y", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a; id", STS_RECORD_INVALID, ""},
	    {"v=STSv1; ID=a", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id =a", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id= a", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a-b", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a b", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a=b", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=" A32 "4", STS_RECORD_INVALID, ""},
	    {"v=STSv1;; id=a", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a;;", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a; =y", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a; x", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a; x=", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a; x=y z", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a; x=\xc3\xa4", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a; -x=y", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a; x" A32 "=y", STS_RECORD_INVALID, ""},
	    {"v=STSv1; id=a\n", STS_RECORD_INVALID, ""},
	};
	char id[STS_ID_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *why = NULL;

		print_message("%s\n", rows[i].text);
		assert_int_equal(parse_records(&rows[i].text, 1, false, id, &why), rows[i].result);
		assert_string_equal(id, rows[i].id);
		assert_int_equal(why != NULL, rows[i].result == STS_RECORD_INVALID);
	}
}

static void several_records(void **state)
{
	static const struct {
		const char *texts[3];
		size_t count;
		bool cut;
		enum sts_record result;
	} rows[] = {
	    {{NULL}, 0, false, STS_RECORD_ABSENT},
	    {{"v=spf1 -all", "v=STSv1; id=a", "v=STSv1"}, 3, false, STS_RECORD_VALID},
	    {{"v=STSv1; id=a", "v=STSv1; id=a"}, 2, false, STS_RECORD_INVALID},
	    {{"v=STSv1; id=a", "v=STSv1; broken"}, 2, false, STS_RECORD_INVALID},
	    {{"v=STSv1; id=a"}, 1, true, STS_RECORD_INVALID},
	    {{"v=spf1 -all"}, 1, true, STS_RECORD_INVALID},
	};
	char id[STS_ID_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *why = NULL;

		assert_int_equal(parse_records(rows[i].texts, rows[i].count, rows[i].cut, id, &why),
		    rows[i].result);
		assert_string_equal(id, rows[i].result == STS_RECORD_VALID ? "a" : "");
	}
}

static void nul_in_record(void **state)
{
	static const char *const texts[] = {"v=STSv1; id=a\0b", "v=STSv1; id=a; x\0=b"};
	char id[STS_ID_SIZE];
	const char *why = NULL;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct dns_text record = {strlen(texts[i]) + 2, texts[i]};
		struct dns_answer txt = {.state = DNS_SECURE, .count = 1, .text = &record};

		assert_int_equal(sts_record_parse(&txt, id, &why), STS_RECORD_INVALID);
	}
}

/* ---- the policy ---- */

static bool parse(const char *body, size_t len, struct sts_policy *policy)
{
	char *copy = mem_copy(body, len);
	const char *why;
	bool good = sts_policy_parse(copy, len, policy, &why);

	free(copy);
	assert_int_equal(good, why == NULL);
	if (!good)
		print_message("  %s\n", why);
	return good;
}

#define REST "max_age: 86400\nmx: mx.example.org\n"
#define BODY "version: STSv1\nmode: enforce\n" REST
#define HEAD "version: STSv1\nmode: testing\nmax_age: 86400\n"

static void valid_policies(void **state)
{
	static const struct {
		const char *body;
		enum sts_mode mode;
		uint32_t max_age;
		bool was_clamped;
		const char *mx; /* joined by blanks */
	} rows[] = {
	    {BODY, STS_MODE_ENFORCE, 86400, false, "mx.example.org"},
	    {"version: STSv1\r\nmode: testing\r\nmx: A.Example.ORG\r\nmx: *.b.org\r\n"
	     "max_age: 1\r\n",
		STS_MODE_TESTING, 1, false, "a.example.org *.b.org"},
	    {"max_age:7\nmode:none\nversion:STSv1", STS_MODE_NONE, 7, false, ""},
	    {"version:\t STSv1 \t\nmode:  enforce  \n" REST, STS_MODE_ENFORCE, 86400, false,
		"mx.example.org"},
	    {"\n" BODY "\r\n\n", STS_MODE_ENFORCE, 86400, false, "mx.example.org"},
	    {BODY "extra: any thing: \xc3\xa4\xff\nx:\n", STS_MODE_ENFORCE, 86400, false,
		"mx.example.org"},
	    {BODY "Mode: none\nMX: a\nVERSION: 2\nMax_Age: x\n", STS_MODE_ENFORCE, 86400, false,
		"mx.example.org"},
	    {BODY "mode: none\nversion: STSv2\nmax_age: -1\n", STS_MODE_ENFORCE, 86400, false,
		"mx.example.org"},
	    {HEAD "mx: a.org\nmx: a.org\nmx: localhost\nmx: *.com\n", STS_MODE_TESTING, 86400,
		false, "a.org a.org localhost *.com"},
	    {HEAD "mx: xn--mnchen-3ya.de\n", STS_MODE_TESTING, 86400, false, "xn--mnchen-3ya.de"},
	    {"version: STSv1\nmode: none\nmax_age: 0\n", STS_MODE_NONE, 0, false, ""},
	    {"version: STSv1\nmode: none\nmax_age: 31557600\n", STS_MODE_NONE, 31557600, false, ""},
	    {"version: STSv1\nmode: none\nmax_age: 31557601\n", STS_MODE_NONE, 31557600, true, ""},
	    {"version: STSv1\nmode: none\nmax_age: 4294967297\n", STS_MODE_NONE, 31557600, true,
		""},
	    {"version: STSv1\nmode: none\nmax_age: 9999999999\n", STS_MODE_NONE, 31557600, true,
		""},
	    {"version: STSv1\nmode: none\nmax_age: 0000000009\n", STS_MODE_NONE, 9, false, ""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sts_policy policy;
		char mx[256] = "";

		print_message("row %zu\n", i);
		assert_true(parse(rows[i].body, strlen(rows[i].body), &policy));
		assert_int_equal(policy.mode, rows[i].mode);
		assert_int_equal(policy.max_age, rows[i].max_age);
		assert_int_equal(policy.was_clamped, rows[i].was_clamped);
		for (size_t j = 0; j < policy.mx_count; j++) {
			strcat(mx, j > 0 ? " " : "");
			strcat(mx, policy.mx[j]);
		}
		assert_string_equal(mx, rows[i].mx);
		sts_policy_release(&policy);
	}
}

static const struct {
	const char *body;
	size_t len;
} invalid_bodies[] = {
    {TEXT("")},
    {TEXT("<html>\n<p>404</p>\n")},
    {TEXT("mode: enforce\n" REST)},
    {TEXT("version: STSv1\n" REST)},
    {TEXT("version: STSv1\nmode: enforce\nmx: a.org\n")},
    {TEXT("version: STSv1\nmode: enforce\nmax_age: 1\n")},
    {TEXT("version: STSv1\nmode: testing\nmax_age: 1\n")},

    {TEXT("version: STSv2\nmode: enforce\n" REST)},
    {TEXT("version: STSv2\nversion: STSv1\nmode: enforce\n" REST)},
    {TEXT("version: stsv1\nmode: enforce\n" REST)},
    {TEXT("VERSION: STSv1\nmode: enforce\n" REST)},
    {TEXT("version: STSv1\nmode: Enforce\n" REST)},
    {TEXT("version: STSv1\nmode:\n" REST)},
    {TEXT("version: STSv1\nmode: report\nmode: enforce\n" REST)},
    {TEXT("version: STSv1\nMode: enforce\n" REST)},
    {TEXT("version: STSv1\nmode enforce\n" REST)},
    {TEXT("version: STSv1\nmode : enforce\n" REST)},
    {TEXT("version= STSv1\nmode: enforce\n" REST)},

    {TEXT("version: STSv1\nmode: none\nmax_age: 12345678901\n")},
    {TEXT("version: STSv1\nmode: none\nmax_age: 00000000001\n")},
    {TEXT("version: STSv1\nmode: none\nmax_age: -1\n")},
    {TEXT("version: STSv1\nmode: none\nmax_age: +1\n")},
    {TEXT("version: STSv1\nmode: none\nmax_age: 0x10\n")},
    {TEXT("version: STSv1\nmode: none\nmax_age: 1e5\n")},
    {TEXT("version: STSv1\nmode: none\nmax_age: 86400s\n")},
    {TEXT("version: STSv1\nmode: none\nmax_age: 1 2\n")},
    {TEXT("version: STSv1\nmode: none\nmax_age:\n")},

    {TEXT(HEAD "mx:\n")},
    {TEXT(HEAD "mx: *\n")},
    {TEXT(HEAD "mx: *.\n")},
    {TEXT(HEAD "mx: .\n")},
    {TEXT(HEAD "mx: *.com.\n")},
    {TEXT(HEAD "mx: a.org.\n")},
    {TEXT(HEAD "mx: .a.org\n")},
    {TEXT(HEAD "mx: a*.b\n")},
    {TEXT(HEAD "mx: a.*.b\n")},
    {TEXT(HEAD "mx: *.*.b\n")},
    {TEXT(HEAD "mx: *a.b\n")},
    {TEXT(HEAD "mx: a.org b.org\n")},
    {TEXT(HEAD "mx: a.org, b.org\n")},
    {TEXT(HEAD "mx: [192.0.2.1]\n")},
    {TEXT(HEAD "mx: m\xc3\xbcnchen.de\n")},
    {TEXT(HEAD "mx: *.m\xc3\xbcnchen.de\n")},
    {TEXT(HEAD "mx: a.org\nmx: a*.b\n")},

    {TEXT("\xef\xbb\xbf" BODY)},
    {TEXT(" " BODY)},
    {TEXT(BODY "\tx: y\n")},
    {TEXT(BODY "  \n")},
    {TEXT(BODY "x: y\0z\n")},
    {TEXT(BODY "\0")},
    {TEXT(BODY "x: \x01\n")},
    {TEXT(BODY "x: \x7f\n")},
    {TEXT("version: STSv1\rmode: none\rmax_age: 1\r")},
    {TEXT("version: STSv1\r\r\nmode: none\nmax_age: 1\n")},
    {TEXT(BODY "x: y\r")},
    {TEXT(BODY "\r")},
    {TEXT(BODY "x: y\rz\n")},
    {TEXT(BODY "x\n")},
    {TEXT(BODY ": y\n")},
    {TEXT(BODY "x y: z\n")},
    {TEXT(BODY "_x: z\n")},
    {TEXT(BODY "x" A32 ": z\n")},
};

static void invalid_policies(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(invalid_bodies); i++) {
		struct sts_policy policy;

		print_message("row %zu\n", i);
		assert_false(parse(invalid_bodies[i].body, invalid_bodies[i].len, &policy));
		assert_int_equal(policy.mx_count, 0);
		assert_null(policy.mx);
	}
}

static bool parse_mx_lines(size_t count)
{
	static const char line[] = "mx: a.org\n";
	char *body = mem_alloc(sizeof HEAD + count * strlen(line));
	struct sts_policy policy;
	bool good;

	strcpy(body, HEAD);
	for (size_t i = 0; i < count; i++)
		strcpy(body + strlen(HEAD) + i * strlen(line), line);
	good = parse(body, strlen(body), &policy);
	free(body);
	assert_int_equal(policy.mx_count, good ? count : 0);
	sts_policy_release(&policy);
	return good;
}

static void mx_lines_are_bounded(void **state)
{
	(void)state;
	assert_true(parse_mx_lines(STS_MX_MAX));
	assert_false(parse_mx_lines(STS_MX_MAX + 1));
	assert_false(parse_mx_lines(10000));
}

static bool parse_padded(size_t len)
{
	char *body = mem_alloc(len);
	struct sts_policy policy;
	bool good;

	memset(body, 'x', len);
	memcpy(body, BODY "x:", strlen(BODY "x:"));
	good = parse(body, len, &policy);
	free(body);
	sts_policy_release(&policy);
	return good;
}

static void size_is_bounded(void **state)
{
	(void)state;
	assert_true(parse_padded(STS_BODY_MAX));
	assert_false(parse_padded(STS_BODY_MAX + 1));
}

/* ---- the match ---- */

static void mx_match(void **state)
{
	static const struct {
		const char *pattern, *host;
		bool matches;
	} rows[] = {
	    {"mx.example.org", "mx.example.org", true},
	    {"MX.Example.Org", "mx.example.org", true},
	    {"mx.example.org", "mx2.example.org", false},
	    {"mx.example.org", "a.mx.example.org", false},
	    {"mx.example.org", "example.org", false},
	    {"*.example.org", "mx.example.org", true},
	    {"*.example.org", "a.mx.example.org", false},
	    {"*.example.org", "example.org", false},
	    {"*.example.org", "mx.badexample.org", false},
	    {"*.example.org", "", false},
	    {"*.org", "example.org", true},
	    {"*.org", "org", false},
	    {"*.xn--mnchen-3ya.de", "mx.xn--mnchen-3ya.de", true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char *body = mem_printf(HEAD "mx: other.example.net\nmx: %s\n", rows[i].pattern);
		struct sts_policy policy, copy;

		print_message("%s %s\n", rows[i].pattern, rows[i].host);
		assert_true(parse(body, strlen(body), &policy));
		sts_policy_copy(&copy, &policy);
		sts_policy_release(&policy);
		assert_int_equal(sts_policy_matches(&copy, rows[i].host), rows[i].matches);
		sts_policy_release(&copy);
		free(body);
	}
}

static void nothing_matches_nothing(void **state)
{
	struct sts_policy policy, copy;

	(void)state;
	assert_true(parse(TEXT("version: STSv1\nmode: none\nmax_age: 1\n"), &policy));
	sts_policy_copy(&copy, &policy);
	assert_null(copy.mx);
	assert_false(sts_policy_matches(&copy, "mx.example.org"));
	sts_policy_release(&copy);
	sts_policy_release(&policy);
}

static void mode_names(void **state)
{
	(void)state;
	assert_string_equal(sts_mode_name(STS_MODE_NONE), "none");
	assert_string_equal(sts_mode_name(STS_MODE_TESTING), "testing");
	assert_string_equal(sts_mode_name(STS_MODE_ENFORCE), "enforce");
}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		{"R-STS-02 R-STS-03 R-STS-04 one record", one_record, NULL, NULL, NULL},
		{"R-STS-02 exactly one record, others beside it", several_records, NULL, NULL, NULL},
		{"R-STS-02 NUL in a record", nul_in_record, NULL, NULL, NULL},
		{"R-STS-05 R-STS-13 R-STS-14 R-STS-15 valid policies", valid_policies, NULL, NULL, NULL},
		{"R-STS-13 R-STS-14 R-STS-15 S-02 S-06 S-07 invalid policies", invalid_policies, NULL,
		    NULL, NULL},
		{"S-07 mx lines are bounded", mx_lines_are_bounded, NULL, NULL, NULL},
		{"R-STS-11 size is bounded", size_is_bounded, NULL, NULL, NULL},
		{"R-STS-25 S-09 MX hosts and patterns", mx_match, NULL, NULL, NULL},
		{"R-STS-25 no pattern, no match", nothing_matches_nothing, NULL, NULL, NULL},
		{"mode names", mode_names, NULL, NULL, NULL},
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
