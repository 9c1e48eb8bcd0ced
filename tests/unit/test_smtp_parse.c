/*
 * test_smtp_parse.c - lines, commands and paths from clients, good and bad, one row each.
 */
#include "proxy/smtp/smtp_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A literal with its length, as some hold NULs. */
#define TEXT(s) (s), sizeof(s) - 1
#define X10(s)  s s s s s s s s s s
#define X60(s)  X10(s) X10(s) X10(s) X10(s) X10(s) X10(s)
#define X64     X60("x") "xxxx"
#define LABEL   "." X60("a")

static struct smtp_command command;

static struct smtp_error parse(const char *line, bool utf8)
{
	return smtp_parse_command(
	    line, strlen(line), (struct smtp_agreed){.smtputf8 = utf8}, &command);
}

static void check(const char *line, struct smtp_error error, int code, const char *status)
{
	if (error.code != code || (code && strcmp(error.status, status) != 0))
		fail_msg("%s: %d %s %s", line, error.code, error.code ? error.status : "",
		    error.code ? error.text : "");
}

/* ---- lines ---- */

static void test_lines(void **state)
{
	/* clang-format off */
	static const struct {
		const char *in;
		size_t len;
		enum smtp_line what;
		size_t line_len, consumed;
	} rows[] = {
		{ TEXT(""),              SMTP_LINE_MORE, 0, 0 },
		{ TEXT("NOO"),           SMTP_LINE_MORE, 0, 0 },
		{ TEXT("NOOP\r"),        SMTP_LINE_MORE, 0, 0 },
		{ TEXT("\r\n"),          SMTP_LINE_DONE, 0, 2 },
		{ TEXT("NOOP\r\nQUIT"),  SMTP_LINE_DONE, 4, 6 },
		{ TEXT("12345678\r\n"),  SMTP_LINE_DONE, 8, 10 },
		{ TEXT("123456789\r\n"), SMTP_LINE_LONG, 0, 0 },
		{ TEXT("123456789\r"),   SMTP_LINE_LONG, 0, 0 },
		{ TEXT("123456789"),     SMTP_LINE_MORE, 0, 0 },
		{ TEXT("1234567890"),    SMTP_LINE_LONG, 0, 0 },
		{ TEXT("NOOP\n"),        SMTP_LINE_BARE, 0, 0 },
		{ TEXT("\n"),            SMTP_LINE_BARE, 0, 0 },
		{ TEXT("NO\rOP\r\n"),    SMTP_LINE_BARE, 0, 0 },
		{ TEXT("NOOP\r\r\n"),    SMTP_LINE_BARE, 0, 0 },
		{ TEXT("E x\nMAIL"),     SMTP_LINE_BARE, 0, 0 },
		{ TEXT("NO\0P\r\n"),     SMTP_LINE_DONE, 4, 6 },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t line_len = 99, consumed = 99;

		assert_int_equal(smtp_next_line(rows[i].in, rows[i].len, 10, &line_len, &consumed),
		    rows[i].what);
		assert_int_equal(line_len, rows[i].line_len);
		assert_int_equal(consumed, rows[i].consumed);
	}
}

static void test_skip(void **state)
{
	/* clang-format off */
	static const struct {
		const char *in;
		size_t len;
		bool found;
		size_t consumed;
	} rows[] = {
		{ TEXT(""),               false, 0 },
		{ TEXT("rest"),           false, 4 },
		{ TEXT("rest\r"),         false, 4 },
		{ TEXT("re\rst\nx\r\nQ"), true,  9 },
		{ TEXT("\r\nQUIT\r\n"),   true,  2 },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t consumed = 99;

		assert_int_equal(smtp_skip_line(rows[i].in, rows[i].len, &consumed), rows[i].found);
		assert_int_equal(consumed, rows[i].consumed);
	}
}

/* A MiB without CRLF: LONG as soon as the maximum is reached, and nothing of it is kept. */
static void test_endless_line(void **state)
{
	static char in[1 << 20];
	size_t line_len, consumed;

	(void)state;
	memset(in, 'x', sizeof in);
	for (size_t len = 0; len < SMTP_COMMAND_MAX; len += 89)
		assert_int_equal(smtp_next_line(in, len, SMTP_COMMAND_MAX, &line_len, &consumed),
		    SMTP_LINE_MORE);
	assert_int_equal(
	    smtp_next_line(in, SMTP_COMMAND_MAX, SMTP_COMMAND_MAX, &line_len, &consumed),
	    SMTP_LINE_LONG);
	assert_int_equal(
	    smtp_next_line(in, sizeof in, SMTP_COMMAND_MAX, &line_len, &consumed), SMTP_LINE_LONG);
	assert_false(smtp_skip_line(in, sizeof in, &consumed));
	assert_int_equal(consumed, sizeof in);
}

/* ---- other protocols ---- */

static void test_foreign(void **state)
{
	/* clang-format off */
	static const struct {
		const char *in;
		size_t len;
		bool foreign;
	} rows[] = {
		{ TEXT("GET / HTTP/1.1"),                    true  },
		{ TEXT("get / HTTP/1.0"),                    true  },
		{ TEXT("POST /x HTTP/1.1"),                  true  },
		{ TEXT("PUT /x HTTP/1.1"),                   true  },
		{ TEXT("HEAD / HTTP/1.1"),                   true  },
		{ TEXT("OPTIONS * HTTP/1.1"),                true  },
		{ TEXT("CONNECT mx.example:25 HTTP/1.1"),    true  },
		{ TEXT("DELETE /x HTTP/1.1"),                true  },
		{ TEXT("PRI * HTTP/2.0"),                    true  },
		{ TEXT("SSH-2.0-OpenSSH_9.2"),               true  },
		{ TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2"), true },
		{ TEXT("\x16\x03\x01\x02\x00\x01"),          true  },
		{ TEXT("\x16"),                              true  },
		{ TEXT("\x80\x2e\x01"),                      true  },
		{ TEXT("\r\n\r\n\0\r\nQUIT\n"),              true  },
		{ TEXT("\0\0\0"),                            true  },
		{ TEXT(""),                                  false },
		{ TEXT("G"),                                 false },
		{ TEXT("GET"),                               false },
		{ TEXT("\r\n"),                              false },
		{ TEXT("EHLO x"),                            false },
		{ TEXT("HELP"),                              false },
		{ TEXT("GETTER"),                            false },
		{ TEXT("PROXYX"),                            false },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (smtp_looks_foreign(rows[i].in, rows[i].len) != rows[i].foreign)
			fail_msg("%s", rows[i].in);
	for (size_t i = 0; i < 14; i++) {
		struct smtp_error error =
		    smtp_parse_command(rows[i].in, rows[i].len, (struct smtp_agreed){0}, &command);

		check(rows[i].in, error, 421, "4.5.0");
		assert_true(error.close);
		assert_int_equal(command.verb, SMTP_OTHER_PROTOCOL);
	}
}

/* ---- commands ---- */

static void test_verbs(void **state)
{
	/* clang-format off */
	static const struct {
		const char *line;
		enum smtp_verb verb;
		int code;
		const char *status, *argument;
	} rows[] = {
		{ "HELO client",            SMTP_HELO,     0,   "",      "client" },
		{ "EHLO client.example",    SMTP_EHLO,     0,   "",      "client.example" },
		{ "eHlO [192.0.2.1]",       SMTP_EHLO,     0,   "",      "[192.0.2.1]" },
		{ "EHLO gr\xc3\xbcn.example", SMTP_EHLO,   0,   "",      "gr\xc3\xbcn.example" },
		{ "HELO my  computer ",     SMTP_HELO,     0,   "",      "my  computer" },
		{ "EHLO",                   SMTP_EHLO,     501, "5.5.4", "" },
		{ "lhlo client.example",    SMTP_LHLO,     0,   "",      "client.example" },
		{ "LHLO",                   SMTP_LHLO,     501, "5.5.4", "" },
		{ "HELO  ",                 SMTP_HELO,     501, "5.5.4", "" },
		{ "EHLO a\tb",              SMTP_EHLO,     501, "5.5.4", "a\tb" },
		{ "EHLO a\x7f",             SMTP_EHLO,     501, "5.5.4", "a\x7f" },
		{ "EHLO a\xff",             SMTP_EHLO,     501, "5.5.4", "a\xff" },
		{ "EHLO a\xc2\x9b",         SMTP_EHLO,     501, "5.5.4", "a\xc2\x9b" },
		{ "DATA",                   SMTP_DATA,     0,   "",      "" },
		{ "data  ",                 SMTP_DATA,     0,   "",      "" },
		{ "DATA now",               SMTP_DATA,     501, "5.5.4", "now" },
		{ "RSET",                   SMTP_RSET,     0,   "",      "" },
		{ "RSET x",                 SMTP_RSET,     501, "5.5.4", "x" },
		{ "QUIT",                   SMTP_QUIT,     0,   "",      "" },
		{ "QUIT now",               SMTP_QUIT,     501, "5.5.4", "now" },
		{ "NOOP",                   SMTP_NOOP,     0,   "",      "" },
		{ "NOOP anything",          SMTP_NOOP,     0,   "",      "anything" },
		{ "VRFY user",              SMTP_VRFY,     0,   "",      "user" },
		{ "VRFY",                   SMTP_VRFY,     501, "5.5.4", "" },
		{ "EXPN list",              SMTP_EXPN,     0,   "",      "list" },
		{ "HELP",                   SMTP_HELP,     0,   "",      "" },
		{ "BDAT 10 LAST",           SMTP_BDAT,     0,   "",      "10 LAST" },
		{ "AUTH PLAIN AGEAYg==",    SMTP_AUTH,     0,   "",      "PLAIN AGEAYg==" },
		{ "STARTTLS",               SMTP_STARTTLS, 0,   "",      "" },
		{ "ETRN example",           SMTP_ETRN,     0,   "",      "example" },
		{ "TURN",                   SMTP_TURN,     0,   "",      "" },
		{ "XCLIENT ADDR=192.0.2.1", SMTP_XCLIENT,  0,   "",      "ADDR=192.0.2.1" },
		{ "XFORWARD NAME=x",        SMTP_XFORWARD, 0,   "",      "NAME=x" },
		{ "",                       SMTP_UNKNOWN,  500, "5.5.2", "" },
		{ "FOO",                    SMTP_UNKNOWN,  500, "5.5.2", "" },
		{ "NOOPS",                  SMTP_UNKNOWN,  500, "5.5.2", "" },
		{ " NOOP",                  SMTP_UNKNOWN,  500, "5.5.2", "" },
		{ "MAILFROM:<a@b.example>", SMTP_UNKNOWN,  500, "5.5.2", "" },
		{ "Subject: x",             SMTP_UNKNOWN,  500, "5.5.2", "" },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		check(rows[i].line, parse(rows[i].line, false), rows[i].code, rows[i].status);
		assert_int_equal(command.verb, rows[i].verb);
		assert_string_equal(command.argument, rows[i].argument);
	}
}

static void test_controls(void **state)
{
	static const char line[] = "RCPT TO:<a@b.example>";

	(void)state;
	for (int c = 0; c < 0x20; c++)
		for (size_t at = 4; at < sizeof line - 1; at++) {
			char bad[sizeof line];

			memcpy(bad, line, sizeof line);
			bad[at] = (char)c;
			struct smtp_error error =
			    smtp_parse_command(
				bad, sizeof line - 1, (struct smtp_agreed){0}, &command);

			check(bad, error, 501, "5.5.4");
			assert_int_equal(error.close, c == '\r' || c == '\n');
		}
}

static void test_too_long(void **state)
{
	char line[SMTP_COMMAND_MAX + 2];

	(void)state;
	memset(line, 'x', sizeof line);
	memcpy(line, "NOOP ", 5);
	line[SMTP_COMMAND_MAX] = '\0';
	check("longest", parse(line, false), 0, "");
	line[SMTP_COMMAND_MAX] = 'x';
	line[SMTP_COMMAND_MAX + 1] = '\0';
	check("too long", parse(line, false), 500, "5.5.2");
}

/* ---- MAIL ---- */

static void test_mail(void **state)
{
	/* clang-format off */
	static const struct {
		const char *rest;       /* after "MAIL FROM:<a@b.example>" */
		int code;
		const char *status;
		bool has_size;
		uint64_t size;
		enum smtp_body_type body;
		bool smtputf8;
	} rows[] = {
		{ "",                           0,   "",      false, 0,          SMTP_BODY_UNDECLARED, false },
		{ "  ",                         0,   "",      false, 0,          SMTP_BODY_UNDECLARED, false },
		{ " SIZE=0",                    0,   "",      true,  0,          SMTP_BODY_UNDECLARED, false },
		{ " size=1000  body=8bitmime",  0,   "",      true,  1000,       SMTP_BODY_8BITMIME,   false },
		{ " BODY=7BIT SMTPUTF8",        0,   "",      false, 0,          SMTP_BODY_7BIT,       true  },
		{ " SIZE=18446744073709551615", 0,   "",      true,  UINT64_MAX, SMTP_BODY_UNDECLARED, false },
		{ " SIZE=18446744073709551616", 0,   "",      true,  UINT64_MAX, SMTP_BODY_UNDECLARED, false },
		{ " SIZE=99999999999999999999", 0,   "",      true,  UINT64_MAX, SMTP_BODY_UNDECLARED, false },
		{ " SIZE=18446744073709551620", 0,   "",      true,  UINT64_MAX, SMTP_BODY_UNDECLARED, false },
		{ " SIZE=000000000000000000001", 501, "5.5.4", 0, 0, 0, 0 },
		{ " SIZE=-1",                   501, "5.5.4", 0, 0, 0, 0 },
		{ " SIZE=",                     501, "5.5.4", 0, 0, 0, 0 },
		{ " SIZE",                      501, "5.5.4", 0, 0, 0, 0 },
		{ " SIZE=1k",                   501, "5.5.4", 0, 0, 0, 0 },
		{ " SIZE=1 SIZE=1",             501, "5.5.4", 0, 0, 0, 0 },
		{ " BODY=BINARYMIME",           501, "5.5.4", 0, 0, 0, 0 },
		{ " BODY",                      501, "5.5.4", 0, 0, 0, 0 },
		{ " BODY=7BIT BODY=7BIT",       501, "5.5.4", 0, 0, 0, 0 },
		{ " SMTPUTF8 SMTPUTF8",         501, "5.5.4", 0, 0, 0, 0 },
		{ " SMTPUTF8=yes",              501, "5.5.4", 0, 0, 0, 0 },
		{ "SIZE=1",                     501, "5.5.4", 0, 0, 0, 0 },
		{ "x",                          501, "5.5.4", 0, 0, 0, 0 },
		{ " RET=HDRS",                  555, "5.5.4", 0, 0, 0, 0 },
		{ " ENVID=x",                   555, "5.5.4", 0, 0, 0, 0 },
		{ " NOTIFY=NEVER",              555, "5.5.4", 0, 0, 0, 0 },
		{ " ORCPT=rfc822;x",            555, "5.5.4", 0, 0, 0, 0 },
		{ " AUTH=<>",                   555, "5.5.4", 0, 0, 0, 0 },
		{ " REQUIRETLS",                555, "5.5.4", 0, 0, 0, 0 },
		{ " MT-PRIORITY=3",             555, "5.5.4", 0, 0, 0, 0 },
		{ " =",                         555, "5.5.4", 0, 0, 0, 0 },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char line[128];

		snprintf(line, sizeof line, "MAIL FROM:<a@b.example>%s", rows[i].rest);
		check(line, parse(line, false), rows[i].code, rows[i].status);
		assert_int_equal(command.verb, SMTP_MAIL);
		if (rows[i].code)
			continue;
		assert_int_equal(command.has_size, rows[i].has_size);
		assert_true(command.size == rows[i].size);
		assert_int_equal(command.body, rows[i].body);
		assert_int_equal(command.smtputf8, rows[i].smtputf8);
	}
}

static void test_mail_paths(void **state)
{
	/* clang-format off */
	static const struct {
		const char *line;
		int code;
		const char *status, *address;
	} rows[] = {
		{ "MAIL FROM:<>",                                        0,   "",      "" },
		{ "mail from:  <a@b.example>",                           0,   "",      "a@b.example" },
		{ "MAIL  FROM:<a@b.example>",                            0,   "",      "a@b.example" },
		{ "MAIL FROM:<\xc3\xbc@b.example> SMTPUTF8",             0,   "",      "\xc3\xbc@b.example" },
		{ "MAIL FROM:<\xc3\xbc@b.example>",                      553, "5.6.7", NULL },
		{ "MAIL FROM:<a@gr\xc3\xbcn.example>",                   553, "5.6.7", NULL },
		{ "MAIL FROM:<@\xc3\xbc.example:a@b.example>",           553, "5.6.7", NULL },
		{ "MAIL FROM:<\xc0\xae@b.example> SMTPUTF8",             553, "5.6.7", NULL },
		{ "MAIL FROM:<\xed\xa0\x80@b.example> SMTPUTF8",         553, "5.6.7", NULL },
		{ "MAIL FROM:<a@b.example\xff> SMTPUTF8",                553, "5.6.7", NULL },
		{ "MAIL FROM:<> REQUIRETLS",                             555, "5.5.4", NULL },
		{ "MAIL FROM:<Postmaster>",                              501, "5.1.3", NULL },
		{ "MAIL FROM:<root>",                                    501, "5.1.3", NULL },
		{ "MAIL FROM:a@b.example",                               501, "5.5.4", NULL },
		{ "MAIL FROM:",                                          501, "5.5.4", NULL },
		{ "MAIL FROM:<a@b.example",                              501, "5.5.4", NULL },
		{ "MAIL FROM <a@b.example>",                             501, "5.5.4", NULL },
		{ "MAIL FROM :<a@b.example>",                            501, "5.5.4", NULL },
		{ "MAIL TO:<a@b.example>",                               501, "5.5.4", NULL },
		{ "MAIL <a@b.example>",                                  501, "5.5.4", NULL },
		{ "MAIL",                                                501, "5.5.4", NULL },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		check(rows[i].line, parse(rows[i].line, true), rows[i].code, rows[i].status);
		assert_int_equal(command.verb, SMTP_MAIL);
		if (rows[i].code == 0)
			assert_string_equal(command.path.address, rows[i].address);
	}
	parse("MAIL FROM:<>", false);
	assert_true(command.path.is_null && !command.path.has_domain);
}

/* ---- RCPT ---- */

static void test_rcpt(void **state)
{
	/* clang-format off */
	static const struct {
		const char *line;
		bool utf8;
		int code;
		const char *status;
	} rows[] = {
		{ "RCPT TO:<a@b.example>",                      false, 0,   ""      },
		{ "rcpt to: <a@b.example> ",                    false, 0,   ""      },
		{ "RCPT TO:<Postmaster>",                       false, 0,   ""      },
		{ "RCPT TO:<POSTMASTER>",                       false, 0,   ""      },
		{ "RCPT TO:<\xc3\xbc@b.example>",               true,  0,   ""      },
		{ "RCPT TO:<\xc3\xbc@b.example>",               false, 553, "5.6.7" },
		{ "RCPT TO:<a@b\xc3\xbc.example>",              false, 553, "5.6.7" },
		{ "RCPT TO:<\xc3@b.example>",                   true,  553, "5.6.7" },
		{ "RCPT TO:<>",                                 false, 501, "5.1.3" },
		{ "RCPT TO:<user>",                             false, 501, "5.1.3" },
		{ "RCPT TO:<a@b.example> NOTIFY=NEVER",         false, 555, "5.5.4" },
		{ "RCPT TO:<a@b.example> ORCPT=rfc822;a@b",     false, 555, "5.5.4" },
		{ "RCPT TO:<a@b.example> x",                    false, 555, "5.5.4" },
		{ "RCPT TO:<a@b.example><c@d.example>",         false, 501, "5.5.4" },
		{ "RCPT TO:<a@b.example>,<c@d.example>",        false, 501, "5.5.4" },
		{ "RCPT TO:a@b.example",                        false, 501, "5.5.4" },
		{ "RCPT FROM:<a@b.example>",                    false, 501, "5.5.4" },
		{ "RCPT",                                       false, 501, "5.5.4" },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		check(
		    rows[i].line, parse(rows[i].line, rows[i].utf8), rows[i].code, rows[i].status);
		assert_int_equal(command.verb, SMTP_RCPT);
	}
}

/* Also a bad value, and one on the wrong command, is of no parameter that exists. */
static void test_dsn_absent(void **state)
{
	static const char *const lines[] = {"MAIL FROM:<> RET=FULL", "MAIL FROM:<> ENVID=+",
	    "MAIL FROM:<> NOTIFY=NEVER", "RCPT TO:<a@b.example> NOTIFY=",
	    "RCPT TO:<a@b.example> ORCPT=rfc822;a@b.example", "RCPT TO:<a@b.example> RET=FULL"};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		check(lines[i], parse(lines[i], true), 555, "5.5.4");
		assert_null(command.dsn_rcpt.orcpt);
	}
}

/* ---- paths ---- */

static void test_good_paths(void **state)
{
	/* clang-format off */
	static const struct {
		const char *path, *address;
		size_t local_len;
		const char *domain;
		bool is_literal;
	} rows[] = {
		{ "<a@b.example>",                   "a@b.example",              1,  "b.example", false },
		{ "<A.b@B.Example>",                 "A.b@B.Example",            3,  "b.example", false },
		{ "<a@b>",                           "a@b",                      1,  "b",         false },
		{ "<@a,@b:u@d.example>",             "u@d.example",              1,  "d.example", false },
		{ "<@a.example:b@c.example>",        "b@c.example",              1,  "c.example", false },
		{ "<user%evil@ours.example>",        "user%evil@ours.example",   9,  "ours.example", false },
		{ "<evil!user@ours.example>",        "evil!user@ours.example",   9,  "ours.example", false },
		{ "<\"a\\\"@b\"@c.example>",         "\"a\\\"@b\"@c.example",    7,  "c.example", false },
		{ "<\"a..b c\"@c.example>",          "\"a..b c\"@c.example",     8,  "c.example", false },
		{ "<\"a>b\"@c.example>",             "\"a>b\"@c.example",        5,  "c.example", false },
		{ "<\"@x:y\"@c.example>",            "\"@x:y\"@c.example",       6,  "c.example", false },
		{ "<\"\"@c.example>",                "\"\"@c.example",           2,  "c.example", false },
		{ "<a..b.@c.example>",               "a..b.@c.example",          5,  "c.example", false },
		{ "<+!#$%&'*/=?^_`{|}~-@c.example>", "+!#$%&'*/=?^_`{|}~-@c.example", 19, "c.example", false },
		{ "<a@[192.0.2.1]>",                 "a@[192.0.2.1]",            1,  "",          true  },
		{ "<a@[IPv6:2001:db8::1]>",          "a@[IPv6:2001:db8::1]",     1,  "",          true  },
		{ "<a@[ipv6:::ffff:192.0.2.1]>",     "a@[ipv6:::ffff:192.0.2.1]", 1, "",          true  },
		{ "<Postmaster>",                    "Postmaster",               10, "",          false },
		{ "<\xc3\xbc@gr\xc3\xbcn.example>",  "\xc3\xbc@gr\xc3\xbcn.example", 2, "xn--grn-ioa.example", false },
		{ "<" X64 "@b.example>",             X64 "@b.example",           64, "b.example", false },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[512];
		struct smtp_path path;
		size_t used;

		snprintf(text, sizeof text, "%s> SIZE=1", rows[i].path);
		check(text, smtp_parse_path(text, strlen(text), &used, &path), 0, "");
		assert_int_equal(used, strlen(rows[i].path));
		assert_string_equal(path.address, rows[i].address);
		assert_int_equal(path.local_len, rows[i].local_len);
		assert_string_equal(path.domain, rows[i].domain);
		assert_int_equal(path.is_literal, rows[i].is_literal);
		assert_int_equal(path.has_domain, strchr(rows[i].address, '@') != NULL);
		assert_int_equal(path.is_utf8, strchr(rows[i].address, '\xc3') != NULL);
		assert_false(path.is_null);
	}
}

static void test_bad_paths(void **state)
{
	/* clang-format off */
	static const struct {
		const char *path, *status;
	} rows[] = {
		{ "",                                  "5.5.4" },
		{ "a@b.example",                       "5.5.4" },
		{ "<a@b.example",                      "5.5.4" },
		{ "<\"a@b.example>",                   "5.5.4" },
		{ "<\"a\\\"@b.example>",               "5.5.4" },
		{ "<@b.example>",                      "5.1.3" },
		{ "<a@>",                              "5.1.3" },
		{ "<a@@b.example>",                    "5.1.3" },
		{ "<a@b@c.example>",                   "5.1.3" },
		{ "<a b@c.example>",                   "5.1.3" },
		{ "<a(b)@c.example>",                  "5.1.3" },
		{ "<a,b@c.example>",                   "5.1.3" },
		{ "<a:b@c.example>",                   "5.1.3" },
		{ "<a;b@c.example>",                   "5.1.3" },
		{ "<a\\b@c.example>",                  "5.1.3" },
		{ "<a\"b\"@c.example>",                "5.1.3" },
		{ "<\"a\"b@c.example>",                "5.1.3" },
		{ "<<a@c.example>>",                   "5.1.3" },
		{ "< a@c.example>",                    "5.1.3" },
		{ "<a@c.example >",                    "5.1.3" },
		{ "<a@b..example>",                    "5.1.3" },
		{ "<a@.example>",                      "5.1.3" },
		{ "<a@b.example.>",                    "5.1.3" },
		{ "<a@xn--99999999.example>",          "5.1.3" },
		{ "<a@-b.example>",                    "5.1.3" },
		{ "<a@b c.example>",                   "5.1.3" },
		{ "<a@" X60("a") "aaaa.example>",      "5.1.3" },
		{ "<" X64 "x@b.example>",              "5.1.3" },
		{ "<a@x" LABEL LABEL LABEL LABEL X10("a") ">", "5.1.3" },
		{ "<a@[192.0.2]>",                     "5.1.3" },
		{ "<a@[192.0.2.256]>",                 "5.1.3" },
		{ "<a@[192.0.2.1>",                    "5.1.3" },
		{ "<a@[192.0.2.1]x>",                  "5.1.3" },
		{ "<a@[2001:db8::1]>",                 "5.1.3" },
		{ "<a@[IPv6:192.0.2.1]>",              "5.1.3" },
		{ "<a@[IPv6:fe80::1%eth0]>",           "5.1.3" },
		{ "<a@[tag:x]>",                       "5.1.3" },
		{ "<a@[]>",                            "5.1.3" },
		{ "<a@[>",                             "5.1.3" },
		{ "<@a,b:u@d.example>",                "5.1.3" },
		{ "<@a,:u@d.example>",                 "5.1.3" },
		{ "<@:u@d.example>",                   "5.1.3" },
		{ "<@a..b:u@d.example>",               "5.1.3" },
		{ "<@a:>",                             "5.1.3" },
		{ "<@a:@b:u@d.example>",               "5.1.3" },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct smtp_path path;
		size_t used;

		check(rows[i].path,
		    smtp_parse_path(rows[i].path, strlen(rows[i].path), &used, &path), 501,
		    rows[i].status);
	}
}

/* RFC 5321 4.5.3.1.3: 256 octets with <>; the longest passes in full, one more is refused, none is
 * cut. */
static void test_longest_path(void **state)
{
	static const char tail[] = "@" X60("b") "." X60("c") "." X60("d") "."
									  "eeeeeee";
	char text[400];

	(void)state;
	for (size_t local = 1; local <= 70; local++) {
		struct smtp_path path;
		size_t used;
		size_t len = 0;

		text[len++] = '<';
		memset(text + len, 'x', local);
		len += local;
		memcpy(text + len, tail, sizeof tail - 1);
		len += sizeof tail - 1;
		text[len++] = '>';
		bool fits = local <= SMTP_LOCAL_MAX && len <= SMTP_PATH_MAX;
		struct smtp_error error = smtp_parse_path(text, len, &used, &path);

		assert_int_equal(error.code, fits ? 0 : 501);
		if (fits)
			assert_int_equal(strlen(path.address), len - 2);
	}
}

/* What a refusal says begins with the reason code where there is one (interface section 3). */
static void test_reason_code(void **state)
{
	(void)state;
	assert_memory_equal(parse("RCPT TO:<a@b..c>", false).text, "bad-address: ", 13);
	assert_memory_equal(parse("RCPT TO:<>", false).text, "bad-address: ", 13);
}

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		{ "R-SMTP-07 P-03 lines end at CR LF only",              test_lines,        NULL, NULL, NULL },
		{ "R-SMTP-05 the rest of a long line is thrown away",    test_skip,         NULL, NULL, NULL },
		{ "R-SMTP-05 P-04 endless line",                         test_endless_line, NULL, NULL, NULL },
		{ "R-SMTP-03 P-19 P-20 other protocols",                 test_foreign,      NULL, NULL, NULL },
		{ "R-SMTP-01 -02 -50 -56 P-21 verbs and arguments",      test_verbs,        NULL, NULL, NULL },
		{ "R-SMTP-08 P-03 controls anywhere",                    test_controls,     NULL, NULL, NULL },
		{ "R-SMTP-05 longest command",                           test_too_long,     NULL, NULL, NULL },
		{ "R-SMTP-09 -52 P-12 MAIL parameters",                  test_mail,         NULL, NULL, NULL },
		{ "R-SMTP-08 -12 P-13 P-14 MAIL paths",                  test_mail_paths,   NULL, NULL, NULL },
		{ "R-SMTP-08 -13 -52 RCPT",                              test_rcpt,         NULL, NULL, NULL },
		{ "R-SMTP-52 the parameters of DSN where it is not offered", test_dsn_absent, NULL, NULL, NULL },
		{ "R-SMTP-06 -10 -11 P-22 R-DNS-31 -33 good paths",      test_good_paths,   NULL, NULL, NULL },
		{ "R-SMTP-06 D-21 bad paths",                            test_bad_paths,    NULL, NULL, NULL },
		{ "R-SMTP-06 longest path",                              test_longest_path, NULL, NULL, NULL },
		{ "interface 3: bad-address",                            test_reason_code,  NULL, NULL, NULL },
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
