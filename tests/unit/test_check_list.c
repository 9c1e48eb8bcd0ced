/*
 * Which domains a list or a mail log holds.
 */
#include "proxy/command/check_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The names, joined by blanks. */
static void assert_names(const char *text, const char *wanted)
{
	struct check_list list = {0};
	FILE *file = fmemopen((void *)text, strlen(text), "r");
	char got[1024] = "";

	check_list_read(&list, file);
	fclose(file);
	for (size_t i = 0; i < list.count; i++)
		snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "",
		    list.names[i]);
	assert_string_equal(got, wanted);
	check_list_release(&list);
}

static void test_list(void **state)
{
	(void)state;
	assert_names("example.org\nexample.net\n", "example.org example.net");
	assert_names("example.org", "example.org");
	assert_names("# all of them\n\n  example.org  # the first\r\n\texample.net.\n",
	    "example.org example.net");
	assert_names("EXAMPLE.org\nexample.ORG\nexample.org.\n", "example.org");
	assert_names("a@example.org\nb@example.org, second column\n", "example.org");
	assert_names("example.org;12\nexample.net,7\n", "example.org example.net");
	assert_names("b\xc3\xbc"
		     "cher.example\n",
	    "xn--bcher-kva.example");
}

static void test_no_domains(void **state)
{
	(void)state;
	assert_names("localhost\n192.0.2.1\n[192.0.2.1]\n-x.example\n..\n\x1b[31m.example\n", "");
	assert_names("@\na@\n", "");
}

static void test_postfix_log(void **state)
{
	(void)state;
	assert_names(
	    "Nov 23 07:00:00 mx postfix/smtp[7]: 4XyZ: to=<a@example.org>, "
	    "orig_to=<root@example.com>, relay=mx.example.org[192.0.2.1]:25, dsn=2.0.0\n"
	    "Nov 23 07:00:00 mx postfix/qmgr[7]: 4XyZ: from=<b@example.net>, size=300\n"
	    "Nov 23 07:00:01 mx postfix/smtpd[7]: connect from mx.example.edu[192.0.2.7]\n",
	    "example.org");
}

static void test_own_log(void **state)
{
	(void)state;
	assert_names(
	    "delivery session=k3f9-2 client=10.1.2.3 from=<a@example.net> "
	    "to=<b@example.org>,<c@example.org>:refused,<d@Example.com> mx=- policy=dane\n",
	    "example.org example.com");
}

/* What strangers may write into an envelope. */
static void test_odd_log(void **state)
{
	(void)state;
	assert_names("x to=<\"a@b\"@example.org>, relay\n", "example.org");
	assert_names("x to=<postmaster>, relay\nx to=<>, relay\n", "");
	assert_names("x to=<a@example.org", "");
	assert_names("x to=<a@[192.0.2.1]>, relay\n", "");
	assert_names("x to=<a@example.org> to=<b@example.net> xto=<c@example.com>\n",
	    "example.org example.net");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"a list of domains and addresses", test_list, NULL, NULL, NULL},
	    {"what is no domain", test_no_domains, NULL, NULL, NULL},
	    {"Postfix's log", test_postfix_log, NULL, NULL, NULL},
	    {"our own log", test_own_log, NULL, NULL, NULL},
	    {"odd addresses in a log", test_odd_log, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
