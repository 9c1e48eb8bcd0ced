/*
 * test_received.c - the Received field: its form, and what a client cannot put into it.
 */
#include "proxy/received.h"
#include "scan_whole.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char by[] = "mail-out.example.org";

static struct received sample(const struct addr *client)
{
	return (struct received){
	    .helo = "client.example",
	    .client = client,
	    .by = by,
	    .session = "k3f9-2",
	    .esmtp = true,
	    .recipient = "b@example.org",
	    .when = 1900000000,
	};
}

static struct addr address(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(&a, text, 25));
	return a;
}

static void test_form(void **state)
{
	struct addr v4 = address("192.0.2.1");
	struct addr v6 = address("2001:db8::1");
	struct received r = sample(&v4);
	char out[RECEIVED_SIZE];

	(void)state;
	size_t len = received_format(out, &r);

	assert_int_equal(len, strlen(out));
	assert_string_equal(out, "Received: from client.example ([192.0.2.1])\r\n"
				 "\tby mail-out.example.org (danelaw) with ESMTP id k3f9-2\r\n"
				 "\tfor <b@example.org>; Sun, 17 Mar 2030 17:46:40 +0000\r\n");
	r.esmtp = false;
	r.client = &v6;
	r.recipient = NULL;
	r.when = 951827696;
	received_format(out, &r);
	assert_string_equal(out, "Received: from client.example ([IPv6:2001:db8::1])\r\n"
				 "\tby mail-out.example.org (danelaw) with SMTP id k3f9-2;\r\n"
				 "\tTue, 29 Feb 2000 12:34:56 +0000\r\n");
}

/* RFC 3848; RFC 6531 section 4.3. */
static void test_lmtp(void **state)
{
	struct addr v4 = address("192.0.2.1");
	struct received r = sample(&v4);
	char out[RECEIVED_SIZE];

	(void)state;
	r.lmtp = true;
	received_format(out, &r);
	assert_non_null(strstr(out, " with LMTP id k3f9-2"));
	r.utf8 = true;
	received_format(out, &r);
	assert_non_null(strstr(out, " with UTF8LMTP id k3f9-2"));
}

/* Always UTC and English, whatever the machine is set to. */
static void test_dates(void **state)
{
	static const struct {
		time_t when;
		const char *text;
	} rows[] = {
	    {0, "; Thu, 1 Jan 1970 00:00:00 +0000\r\n"},
	    {1798761599, "; Thu, 31 Dec 2026 23:59:59 +0000\r\n"},
	    {4102444800, "; Fri, 1 Jan 2100 00:00:00 +0000\r\n"},
	};
	struct addr v4 = address("192.0.2.1");
	char out[RECEIVED_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct received r = sample(&v4);

		r.when = rows[i].when;
		received_format(out, &r);
		assert_non_null(strstr(out, rows[i].text));
	}
}

/* RFC 3848 and RFC 6531 know no name for HELO over TLS. */
static void test_protocols(void **state)
{
	static const struct {
		bool esmtp, utf8, tls;
		const char *text;
	} rows[] = {
	    {false, false, false, ") with SMTP id "},
	    {true, false, false, ") with ESMTP id "},
	    {true, false, true, ") with ESMTPS id "},
	    {true, true, false, ") with UTF8SMTP id "},
	    {true, true, true, ") with UTF8SMTPS id "},
	};
	struct addr v4 = address("192.0.2.1");
	char out[RECEIVED_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct received r = sample(&v4);

		r.esmtp = rows[i].esmtp;
		r.utf8 = rows[i].utf8;
		r.tls = rows[i].tls;
		received_format(out, &r);
		assert_non_null(strstr(out, rows[i].text));
	}
}

static void test_helo(void **state)
{
	/* clang-format off */
	static const struct {
		const char *helo;
		bool utf8;
		const char *shown;
	} rows[] = {
		{ "",                             false, "from unknown (" },
		{ "[192.0.2.9]",                  false, "from [192.0.2.9] (" },
		{ "[IPv6:2001:db8::9]",           false, "from [IPv6:2001:db8::9] (" },
		{ "my computer",                  false, "from my?computer (" },
		{ "x) by evil (",                 false, "from x??by?evil?? (" },
		{ "a\"b\\c<d>e;f,g'h",            false, "from a?b?c?d?e?f?g?h (" },
		{ "x\r\nSubject: y",              false, "from x??Subject:?y (" },
		{ "\x1b[2J\x7f",                  false, "from ?[2J? (" },
		{ "gr\xc3\xbcn.example",          false, "from gr??n.example (" },
		{ "gr\xc3\xbcn.example",          true,  "from gr\xc3\xbcn.example (" },
		{ "gr\xc3.example",               true,  "from gr?.example (" },
		{ "\xc2\x9b" "31m",               true,  "from ??31m (" },
	};
	/* clang-format on */
	struct addr v4 = address("192.0.2.1");
	char out[RECEIVED_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct received r = sample(&v4);

		r.helo = rows[i].helo;
		r.utf8 = rows[i].utf8;
		received_format(out, &r);
		if (!strstr(out, rows[i].shown))
			fail_msg("%s", out);
		assert_non_null(
		    strstr(out, rows[i].utf8 ? ") with UTF8SMTP id " : ") with ESMTP id "));
	}
}

static void test_recipient(void **state)
{
	/* clang-format off */
	static const struct {
		const char *recipient;
		bool utf8, shown;
	} rows[] = {
		{ "\"a(b;\"@c.example",   false, true  },
		{ "\xc3\xbc@c.example",   true,  true  },
		{ "\xc3\xbc@c.example",   false, false },
		{ "a\r\nX: y@c.example",  false, false },
		{ "",                     false, false },
	};
	/* clang-format on */
	struct addr v4 = address("192.0.2.1");
	char out[RECEIVED_SIZE];
	char want[128];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct received r = sample(&v4);

		r.recipient = rows[i].recipient;
		r.utf8 = rows[i].utf8;
		received_format(out, &r);
		snprintf(want, sizeof want, "\r\n\tfor <%s>; ", rows[i].recipient);
		assert_int_equal(strstr(out, want) != NULL, rows[i].shown);
		assert_int_equal(strstr(out, "for") != NULL, rows[i].shown);
	}
}

/* The longest of everything: four lines or less, each below 998 octets, none empty, no bare CR or
 * LF. */
static void test_lengths(void **state)
{
	struct addr v6 = address("2001:db8:1111:2222:3333:4444:5555:6666");
	struct received r = sample(&v6);
	char helo[3000], name[254], session[200], recipient[255];
	char out[RECEIVED_SIZE];

	(void)state;
	memset(helo, 'h', sizeof helo);
	memset(name, 'n', sizeof name);
	memset(session, 's', sizeof session);
	memset(recipient, 'r', sizeof recipient);
	helo[sizeof helo - 1] = name[sizeof name - 1] = session[sizeof session - 1] = '\0';
	recipient[sizeof recipient - 1] = '\0';
	r.helo = helo;
	r.by = name;
	r.session = session;
	r.recipient = recipient;
	size_t len = received_format(out, &r);

	assert_int_equal(strlen(out), len);
	for (const char *at = out, *end; *at; at = end + 1) {
		end = strchr(at, '\n');
		assert_non_null(end);
		assert_in_range(end - at, 2, 998);
		assert_int_equal(end[-1], '\r');
		assert_true(at == out || *at == '\t');
	}
}

/* Our own field is found again by the body scanner, three times without harm. */
static void test_own_mark(void **state)
{
	struct addr v4 = address("192.0.2.1");
	struct received r = sample(&v4);
	struct conf_listener listener = {.bare_newline = BARE_NEWLINE_REJECT};
	struct smtp_body body;
	char field[RECEIVED_SIZE], passed[RECEIVED_SIZE];
	char mark[DOMAIN_SIZE + 30];
	size_t len = received_format(field, &r);

	(void)state;
	received_mark(mark, sizeof mark, by);
	assert_string_equal(mark, "by mail-out.example.org (danelaw)");
	smtp_body_init(&body, &listener, 0, 100, mark);
	for (unsigned i = 1; i <= 4; i++) {
		size_t taken;

		scan_whole(&body, field, len, &taken, passed, sizeof passed);
		assert_int_equal(body.own_received, i);
		assert_int_equal(body.flaw, i <= 3 ? BODY_FINE : BODY_OWN_LOOP);
	}
}

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		{ "R-SMTP-44 form of the field",                test_form,      NULL, NULL, NULL },
		{ "R-SMTP-44 R-SMTP-62 LMTP",                   test_lmtp,      NULL, NULL, NULL },
		{ "R-SMTP-44 dates",                            test_dates,     NULL, NULL, NULL },
		{ "R-TLSSEC-02 the protocol's name",           test_protocols, NULL, NULL, NULL },
		{ "R-SMTP-45 HELO brings nothing in",           test_helo,      NULL, NULL, NULL },
		{ "R-SMTP-44 -45 recipient",                    test_recipient, NULL, NULL, NULL },
		{ "R-SMTP-45 longest lines",                    test_lengths,   NULL, NULL, NULL },
		{ "R-SMTP-47 our own mark is found again",      test_own_mark,  NULL, NULL, NULL },
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
