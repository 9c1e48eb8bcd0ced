/*
 * test_dsn.c - notices as they go over the wire: their form, and what strangers cannot put in.
 */
#include "proxy/spool/dsn.h"
#include "proxy/spool/dsn_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARRIVED = 1900000000, HOUR = 3600 };

static const char headers[] = "Received: from x\r\n\tby y\r\nSubject: lab\r\n.dotted: x\r\n";

/* One scene: a message with up to three recipients, about all of which the notice is. */
static struct {
	struct spool_message message;
	struct spool_recipient recipients[3];
	const struct spool_recipient *about[3];
	struct dsn dsn;
} scene;

static void fail_with(size_t n, int code, enum reason reason, const char *text)
{
	struct outcome *last = &scene.recipients[n].last;

	last->code = code;
	last->reason = reason;
	snprintf(last->text, sizeof last->text, "%s", text);
}

static void set_sender(const char *address, bool is_utf8)
{
	struct smtp_path *sender = &scene.message.envelope.sender;

	snprintf(sender->address, sizeof sender->address, "%s", address);
	sender->is_utf8 = is_utf8;
}

static int set_up(void **state)
{
	static char address[] = "b@example.org";

	(void)state;
	memset(&scene, 0, sizeof scene);
	scene.message.arrived = ARRIVED;
	scene.message.count = 1;
	scene.message.recipients = scene.recipients;
	set_sender("a@example.net", false);
	for (size_t i = 0; i < 3; i++) {
		scene.recipients[i].address = address;
		scene.recipients[i].last_try = ARRIVED + HOUR;
		scene.about[i] = &scene.recipients[i];
		snprintf(scene.recipients[i].last_hop, sizeof scene.recipients[i].last_hop,
		    "mx.example.org[192.0.2.25]:25");
		fail_with(i, 550, REASON_NEXT_HOP, "5.1.1 no such user");
	}
	scene.dsn = (struct dsn){
	    .kind = DSN_FAILED,
	    .from = "postmaster@relay.example",
	    .reporting_mta = "relay.example",
	    .id = "1a2b3c-4d",
	    .now = ARRIVED + 2 * HOUR,
	    .retry_until = ARRIVED + 5 * 24 * HOUR,
	    .message = &scene.message,
	    .recipients = scene.about,
	    .count = 1,
	    .headers = headers,
	    .headers_len = sizeof headers - 1,
	};
	return 0;
}

static char notice[65536];

/* What holds of every notice. */
static void check_lines(void)
{
	size_t len = strlen(notice);

	assert_true(len > 2 && !strcmp(notice + len - 2, "\r\n"));
	for (char *line = notice, *end; *line; line = end + 2) {
		end = strstr(line, "\r\n");
		assert_non_null(end);
		assert_true(end - line <= 998);
		assert_null(memchr(line, '\r', (size_t)(end - line)));
		assert_null(memchr(line, '\n', (size_t)(end - line)));
		assert_false(line[0] == '.' && line[1] != '.');
	}
}

static void compose(void)
{
	size_t len;
	char *text = dsn_compose(&scene.dsn, &len);

	assert_true(len < sizeof notice);
	assert_int_equal(strlen(text), len); /* no NUL */
	memcpy(notice, text, len + 1);
	free(text);
	check_lines();
}

static size_t occurrences(const char *text)
{
	size_t count = 0;

	for (const char *at = notice; (at = strstr(at, text)); at++)
		count++;
	return count;
}

static void expect(const char *text)
{
	if (!strstr(notice, text))
		print_error("missing: %s\nin:\n%s\n", text, notice);
	assert_non_null(strstr(notice, text));
}

static void expect_no(const char *text)
{
	if (strstr(notice, text))
		print_error("unwanted: %s\nin:\n%s\n", text, notice);
	assert_null(strstr(notice, text));
}

/* ---- its form ---- */

static void head(void **state)
{
	static const char *const wanted[] = {
	    "Date: Sun, 17 Mar 2030 19:46:40 +0000\r\n",
	    "\r\nFrom: Mail delivery <postmaster@relay.example>\r\n",
	    "\r\nTo: <a@example.net>\r\n",
	    "\r\nAuto-Submitted: auto-replied\r\n",
	    "\r\nMIME-Version: 1.0\r\n",
	    "\r\nMessage-ID: <1a2b3c-4d@relay.example>\r\n",
	    "\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"",
	    "\r\nContent-Type: text/plain; charset=utf-8\r\n",
	    "\r\nContent-Type: message/delivery-status\r\n",
	    "\r\nContent-Type: text/rfc822-headers\r\n",
	};

	(void)state;
	compose();
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		expect(wanted[i]);
	assert_int_equal(occurrences("\r\n--=_danelaw_1a2b3c-4d_0"), 4);
	expect("\r\n--=_danelaw_1a2b3c-4d_0--\r\n");
	expect("\r\nSubject: lab\r\n..dotted: x\r\n");
}

static void fields(void **state)
{
	static char orcpt[] = "rfc822;b+2Bdetail@old.example";

	(void)state;
	scene.recipients[0].dsn.orcpt = orcpt;
	snprintf(scene.message.envelope.dsn.envid, SMTP_ENVID_MAX, "id+2B1");
	compose();
	expect("Original-Envelope-Id: id+1\r\n"
	       "Reporting-MTA: dns; relay.example\r\n"
	       "Arrival-Date: Sun, 17 Mar 2030 17:46:40 +0000\r\n"
	       "\r\n"
	       "Original-Recipient: rfc822; b+detail@old.example\r\n"
	       "Final-Recipient: rfc822; b@example.org\r\n"
	       "Action: failed\r\n"
	       "Status: 5.1.1\r\n"
	       "Remote-MTA: dns; mx.example.org\r\n"
	       "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
	       "Last-Attempt-Date: Sun, 17 Mar 2030 18:46:40 +0000\r\n");
	expect_no("Will-Retry-Until");
}

static void kinds(void **state)
{
	(void)state;
	fail_with(0, 451, REASON_DANE_MISMATCH, "4.7.5 dane-mismatch: mx presented key");
	scene.dsn.kind = DSN_DELAYED;
	compose();
	expect("Action: delayed\r\nStatus: 4.7.5\r\n");
	expect("Diagnostic-Code: X-danelaw; 451 4.7.5 dane-mismatch: mx presented key\r\n");
	expect("Will-Retry-Until: Fri, 22 Mar 2030 17:46:40 +0000\r\n");
	expect("You need not do anything");

	fail_with(0, 250, REASON_NONE, "2.0.0 ok");
	scene.dsn.kind = DSN_RELAYED;
	compose();
	expect("Action: relayed\r\nStatus: 2.1.9\r\n");
	expect("Diagnostic-Code: smtp; 250 2.0.0 ok\r\n");
	expect_no("What this means");
}

static void statuses(void **state)
{
	static const struct {
		int code;
		const char *text, *failed, *delayed;
	} cases[] = {
	    {550, "5.1.1 x", "5.1.1", "4.0.0"},
	    {550, "5.123.456 x", "5.123.456", "4.0.0"},
	    {550, "5.1234.5 x", "5.0.0", "4.0.0"},
	    {550, "5.1.1", "5.1.1", "4.0.0"},
	    {550, "5.1.1\nmore", "5.1.1", "4.0.0"},
	    {550, "no status", "5.0.0", "4.0.0"},
	    {550, "4.1.1 another class", "5.0.0", "4.1.1"},
	    {451, "4.7.5 x", "5.4.7", "4.7.5"}, /* too old: what was said is no reason to end */
	    {0, "", "5.0.0", "4.0.0"},
	};
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fail_with(0, cases[i].code, REASON_NEXT_HOP, cases[i].text);
		scene.dsn.kind = DSN_FAILED;
		assert_string_equal(
		    dsn_status(&scene.dsn, &scene.recipients[0], out), cases[i].failed);
		scene.dsn.kind = DSN_DELAYED;
		assert_string_equal(
		    dsn_status(&scene.dsn, &scene.recipients[0], out), cases[i].delayed);
	}
	scene.dsn.kind = DSN_FAILED;
	fail_with(0, 451, REASON_CONNECT_FAILED, "4.4.1 x");
	scene.recipients[0].must_bounce = true;
	assert_string_equal(dsn_status(&scene.dsn, &scene.recipients[0], out), "5.0.0");
}

static void together(void **state)
{
	static char other[] = "c@example.org", third[] = "d@example.org";

	(void)state;
	scene.recipients[1].address = other;
	scene.recipients[2].address = third;
	fail_with(2, 550, REASON_NO_SUCH_DOMAIN, "5.1.2 no-such-domain: example.org");
	scene.dsn.count = 3;
	compose();
	assert_int_equal(occurrences("Final-Recipient:"), 3);
	expect("  <b@example.org>\r\n  <c@example.org>\r\n    mx.example.org[192.0.2.25]:25 said:");
	assert_int_equal(occurrences("    mx.example.org[192.0.2.25]:25 said:"), 1);
	expect("  no-such-domain: The recipient's domain does not exist.");
}

static void no_hop_no_headers(void **state)
{
	(void)state;
	scene.recipients[0].last_hop[0] = '\0';
	scene.dsn.headers = NULL;
	scene.dsn.headers_len = 0;
	fail_with(0, 451, REASON_DNS_BOGUS, "4.4.3 dns-bogus: example.org");
	compose();
	expect_no("Remote-MTA");
	expect_no("rfc822-headers");
	expect("This relay found:");
	expect("It was tried again and again since Sun, 17 Mar 2030");
	assert_int_equal(occurrences("\r\n--=_danelaw_"), 3);
	fail_with(0, 550, REASON_NEXT_HOP, "5.1.1 no such user");
	compose();
	expect("\r\n    The next mail server said:\r\n");
}

/* ---- what strangers said ---- */

static void injected(void **state)
{
	static char address[] = "\"b\r\nBcc: victim\"@example.org";
	static char orcpt[] = "rfc822;x+0D+0AAction:+20delivered";

	(void)state;
	scene.recipients[0].address = address;
	scene.recipients[0].dsn.orcpt = orcpt;
	snprintf(scene.message.envelope.dsn.envid, SMTP_ENVID_MAX, "e+0D+0AX-Evil:1");
	snprintf(scene.recipients[0].last_hop, sizeof scene.recipients[0].last_hop,
	    "mx\r\nX-Evil: 1[192.0.2.1]:25");
	set_sender("a\r\nX-Evil: 1@example.net", false);
	fail_with(0, 550, REASON_NEXT_HOP,
	    "5.1.1 no\r\nAction: delivered\n\n--=_danelaw_1a2b3c-4d_0\n.\nRCPT\x1b[2J");
	compose();
	expect_no("\r\nBcc:");
	expect_no("\r\nX-Evil");
	expect_no("\r\nAction: delivered");
	expect_no("\x1b");
	assert_int_equal(occurrences("\r\n--=_danelaw_1a2b3c-4d_0"), 4);
}

static void long_words(void **state)
{
	char text[1024];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	fail_with(0, 550, REASON_NEXT_HOP, text);
	compose(); /* check_lines() */
	memset(text, 'y', 600);
	text[600] = '\0';
	memcpy(text, "5.0.0 \xc3\xa9", 8);
	fail_with(0, 550, REASON_NEXT_HOP, text);
	compose();
	expect("Diagnostic-Code: smtp; 550 5.0.0\r\n ??yyy");
	expect("=C3=A9yyyy");
}

static void bad_headers(void **state)
{
	static const struct {
		const char *headers;
		size_t len;
		const char *wanted;
	} cases[] = {
	    {"Subject: caf\xe9\r\n", 15, "Subject: caf=E9\r\n"},
	    {"X: a\0b\r\n", 8, "X: a=00b\r\n"},
	    {"X: a\rb\nc\r\n", 10, "X: a=0Db=0Ac\r\n"},
	    {"X: \xff= \r\n", 8, "X: =FF=3D=20\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		scene.dsn.headers = cases[i].headers;
		scene.dsn.headers_len = cases[i].len;
		compose();
		expect("Content-Transfer-Encoding: quoted-printable\r\n");
		expect(cases[i].wanted);
	}
}

static void guessed_boundary(void **state)
{
	static const char guess[] = "X: 1\r\n--=_danelaw_1a2b3c-4d_0--\r\n";

	(void)state;
	scene.dsn.headers = guess;
	scene.dsn.headers_len = sizeof guess - 1;
	compose();
	assert_int_equal(occurrences("\r\n--=_danelaw_1a2b3c-4d_1"), 4);
}

/* ---- internationalised mail ---- */

static void utf8_recipient(void **state)
{
	static char address[] = "caf\xc3\xa9+x@example.org";
	static char orcpt[] = "utf-8;caf\\x{E9}@example.org";

	(void)state;
	scene.recipients[0].address = address;
	scene.recipients[0].dsn.orcpt = orcpt;
	scene.message.envelope.smtputf8 = true;
	compose();
	expect("Final-Recipient: utf-8; caf\\x{E9}\\x{2B}x@example.org\r\n");
	expect("Original-Recipient: utf-8; caf\\x{E9}@example.org\r\n");
	expect("Content-Type: message/delivery-status\r\n");
	expect("Content-Type: message/global-headers\r\n");
	expect("<caf=C3=A9+x@example.org>");
	for (const char *c = notice; *c; c++)
		assert_false(*c & 0x80);
}

static void utf8_sender(void **state)
{
	static char address[] = "caf\xc3\xa9@example.org";

	(void)state;
	set_sender("\xc3\xa4@example.net", true);
	scene.recipients[0].address = address;
	scene.message.envelope.smtputf8 = true;
	compose();
	expect("\r\nTo: <\xc3\xa4@example.net>\r\n");
	expect("report-type=global-delivery-status;");
	expect("Content-Type: message/global-delivery-status\r\n");
	expect("Final-Recipient: utf-8; caf\xc3\xa9@example.org\r\n");
}

/* ---- reasons ---- */

static void all_reasons(void **state)
{
	(void)state;
	for (int i = 0; i < REASON_COUNT; i++) {
		const struct dsn_reason *reason = dsn_reason((enum reason)i);

		if (!strcmp(reason->meaning, dsn_reason(REASON_COUNT)->meaning))
			print_error("%s is not explained\n", reason_code((enum reason)i));
		assert_string_not_equal(reason->meaning, dsn_reason(REASON_COUNT)->meaning);
		assert_true(strlen(reason->meaning) > 10 && strlen(reason->remedy) > 10);
		fail_with(0, 451, (enum reason)i, "4.0.0 x");
		compose();
		if (i != REASON_NONE && i != REASON_NEXT_HOP)
			expect(reason_code((enum reason)i));
	}
}

/* Of the part for people; a word may be longer. */
static void columns(void **state)
{
	char *part, *end;

	(void)state;
	fail_with(0, 550, REASON_DANE_REQUIRED,
	    "5.7.5 dane-required: a b c d e f g h i j k l m n "
	    "o p q r s t u v w x y z a b c d e f g h i j k l");
	compose();
	part = strstr(notice, "This is the mail relay");
	end = strstr(part, "\r\n--");
	for (char *next; part < end; part = next + 2) {
		next = strstr(part, "\r\n");
		assert_true(next - part <= 72);
	}
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, set_up, NULL, NULL                                                 \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST("R-SMTP-65: headers and parts (RFC 6522 3)", head),
	    TEST("R-SMTP-65: fields (RFC 3464 2)", fields),
	    TEST("R-SMTP-54, R-SMTP-65: delayed and relayed", kinds),
	    TEST("R-SMTP-65: the status is in the class of the notice", statuses),
	    TEST("recipients that fared alike stand together", together),
	    TEST("no next hop, no headers", no_hop_no_headers),
	    TEST("R-SMTP-20: nobody writes our headers and fields", injected),
	    TEST("R-SMTP-20: long words and 8-bit ones", long_words),
	    TEST("headers that are no text", bad_headers),
	    TEST("a guessed boundary", guessed_boundary),
	    TEST("RFC 6533: a recipient beyond ASCII", utf8_recipient),
	    TEST("RFC 6533: a sender beyond ASCII", utf8_sender),
	    TEST("each reason is explained", all_reasons),
	    TEST("72 columns", columns),
	};

	return cmocka_run_group_tests_name("dsn", tests, NULL, NULL);
}
