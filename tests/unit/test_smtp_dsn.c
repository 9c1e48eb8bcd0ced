/*
 * test_smtp_dsn.c - the parameters of DSN: taken, refused, and written again as they came.
 */
#include "proxy/smtp/smtp_dsn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define X10(s)  s s s s s s s s s s
#define X100(s) X10(X10(s))

static struct smtp_command command;

static struct smtp_error parse(const char *line, bool utf8)
{
	struct smtp_agreed agreed = {.smtputf8 = utf8, .dsn = true};

	return smtp_parse_command(line, strlen(line), agreed, &command);
}

struct row {
	const char *given; /* behind the path */
	int code;          /* 0: taken, and written as it came */
	const char *written;
};

static void check_row(const struct row *row, const struct smtp_error *error, const char *written)
{
	const char *wanted = row->written ? row->written : row->given;

	if (error->code != row->code)
		fail_msg("%s: %d %s", row->given, error->code, error->code ? error->text : "");
	if (error->code == 501 || error->code == 555)
		assert_string_equal(error->status, "5.5.4");
	if (!error->code && strcmp(written, wanted) != 0)
		fail_msg("%s: written as %s", row->given, written);
}

/* clang-format off */
static const struct row mail_rows[] = {
	{ "", 0, NULL },
	{ " RET=FULL", 0, NULL },
	{ " RET=HDRS", 0, NULL },
	{ " ret=hdrs envid=x", 0, " RET=HDRS ENVID=x" },
	{ " ENVID=QQ314159 RET=FULL", 0, " RET=FULL ENVID=QQ314159" },
	{ " ENVID=a+2Bb+3Dc+20d", 0, NULL },
	{ " ENVID=+7E", 0, NULL },
	{ " ENVID=" X100("x"), 0, NULL },
	{ " ENVID=" X100("x") "x", 501, NULL },
	{ " RET=", 501, NULL },
	{ " RET", 501, NULL },
	{ " RET=BODY", 501, NULL },
	{ " RET=FULL RET=FULL", 501, NULL },
	{ " ENVID=", 501, NULL },
	{ " ENVID", 501, NULL },
	{ " ENVID=x ENVID=x", 501, NULL },
	{ " ENVID=a=b", 501, NULL },
	{ " ENVID=+", 501, NULL },
	{ " ENVID=+2", 501, NULL },
	{ " ENVID=+2b", 501, NULL },
	{ " ENVID=+2G", 501, NULL },
	{ " ENVID=+0D+0AX-Evil:+20yes", 501, NULL },
	{ " ENVID=+00", 501, NULL },
	{ " ENVID=+1B[2J", 501, NULL },
	{ " ENVID=+7F", 501, NULL },
	{ " ENVID=+C3+BC", 501, NULL },
	{ " ENVID=gr\xc3\xbcn SMTPUTF8", 501, NULL },
	{ " NOTIFY=NEVER", 555, NULL },
	{ " ORCPT=rfc822;a@b.example", 555, NULL },
};

static const struct row rcpt_rows[] = {
	{ "", 0, NULL },
	{ " NOTIFY=NEVER", 0, NULL },
	{ " NOTIFY=SUCCESS", 0, NULL },
	{ " notify=delay,success,Failure", 0, " NOTIFY=SUCCESS,FAILURE,DELAY" },
	{ " NOTIFY=FAILURE ORCPT=rfc822;a@b.example", 0, NULL },
	{ " ORCPT=rfc822;Carol+20Ann@Ivory.EDU", 0, NULL },
	{ " ORCPT=x400;/c=us", 501, NULL },
	{ " ORCPT=x400;/c+3Dus", 0, NULL },
	{ " ORCPT=a;b;c", 0, NULL },
	{ " ORCPT=utf-8;a\\x{2B}b@c.example", 0, NULL },
	{ " ORCPT=UTF-8;gr\\x{FC}n@c.example", 0, NULL },
	{ " ORCPT=utf-8;\\x{10FFFF}", 0, NULL },
	{ " ORCPT=utf-8;a+b@c.example", 0, NULL },
	{ " ORCPT=rfc822;" X100("x") X100("x") X100("x") X100("x") X10("xxxxxxxxx") "xxx", 0, NULL },
	{ " ORCPT=rfc822;" X100("x") X100("x") X100("x") X100("x") X10("xxxxxxxxx") "xxxx", 501, NULL },
	{ " NOTIFY=", 501, NULL },
	{ " NOTIFY", 501, NULL },
	{ " NOTIFY=ALWAYS", 501, NULL },
	{ " NOTIFY=NEVER,SUCCESS", 501, NULL },
	{ " NOTIFY=SUCCESS,NEVER", 501, NULL },
	{ " NOTIFY=SUCCESS,SUCCESS", 501, NULL },
	{ " NOTIFY=SUCCESS,", 501, NULL },
	{ " NOTIFY=,SUCCESS", 501, NULL },
	{ " NOTIFY=SUCCESS,,DELAY", 501, NULL },
	{ " NOTIFY=SUCCESS NOTIFY=DELAY", 501, NULL },
	{ " ORCPT=", 501, NULL },
	{ " ORCPT=rfc822", 501, NULL },
	{ " ORCPT=rfc822;", 501, NULL },
	{ " ORCPT=;a@b.example", 501, NULL },
	{ " ORCPT=rfc(822;a@b.example", 501, NULL },
	{ " ORCPT=rfc822;a+0Ab", 501, NULL },
	{ " ORCPT=rfc822;a+FFb", 501, NULL },
	{ " ORCPT=rfc822;a@b.example ORCPT=rfc822;a@b.example", 501, NULL },
	{ " ORCPT=rfc822;a@b.example ORCPT=bad", 501, NULL },
	{ " ORCPT=rfc822;gr\xc3\xbcn@c.example", 501, NULL },
	{ " ORCPT=utf-8;a=b@c.example", 501, NULL },
	{ " ORCPT=utf-8;a\\b", 501, NULL },
	{ " ORCPT=utf-8;\\x{}", 501, NULL },
	{ " ORCPT=utf-8;\\x{A}", 501, NULL },
	{ " ORCPT=utf-8;\\x{0A}", 501, NULL },
	{ " ORCPT=utf-8;\\x{9B}", 501, NULL },
	{ " ORCPT=utf-8;\\x{FC", 501, NULL },
	{ " ORCPT=utf-8;\\x{fc}", 501, NULL },
	{ " ORCPT=utf-8;\\x{D800}", 501, NULL },
	{ " ORCPT=utf-8;\\x{110000}", 501, NULL },
	{ " ORCPT=utf-8;\\x{00000FC}", 501, NULL },
	{ " ORCPT=utf-8;gr\xfcn@c.example", 501, NULL },
	{ " ORCPT=utf-8;gr\xc3\xbcn@c.example", 553, NULL },
	{ " RET=FULL", 555, NULL },
	{ " SIZE=1", 555, NULL },
};
/* clang-format on */

static void test_mail(void **state)
{
	char line[SMTP_COMMAND_MAX], written[SMTP_DSN_MAIL_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof mail_rows / sizeof *mail_rows; i++) {
		snprintf(line, sizeof line, "MAIL FROM:<>%s", mail_rows[i].given);
		struct smtp_error error = parse(line, false);

		check_row(&mail_rows[i], &error, smtp_dsn_mail_text(written, &command.dsn_mail));
		smtp_command_release(&command);
	}
}

static void test_rcpt(void **state)
{
	char line[SMTP_COMMAND_MAX], written[SMTP_DSN_RCPT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof rcpt_rows / sizeof *rcpt_rows; i++) {
		snprintf(line, sizeof line, "RCPT TO:<a@b.example>%s", rcpt_rows[i].given);
		struct smtp_error error = parse(line, false);

		check_row(&rcpt_rows[i], &error, smtp_dsn_rcpt_text(written, &command.dsn_rcpt));
		smtp_command_release(&command);
		assert_null(command.dsn_rcpt.orcpt);
	}
}

static void test_utf8(void **state)
{
	static const char line[] =
	    "RCPT TO:<gr\xc3\xbcn@c.example> ORCPT=utf-8;gr\xc3\xbcn@c.example";

	(void)state;
	assert_int_equal(parse(line, true).code, 0);
	assert_string_equal(command.dsn_rcpt.orcpt, "utf-8;gr\xc3\xbcn@c.example");
	smtp_command_release(&command);
	/* C1 controls are valid UTF-8, and drive terminals. */
	assert_int_equal(
	    parse("RCPT TO:<a@c.example> ORCPT=utf-8;\xc2\x9b@c.example", true).code, 501);
	smtp_command_release(&command);
}

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		{ "R-SMTP-53: RET and ENVID",               test_mail, NULL, NULL, NULL },
		{ "R-SMTP-53: NOTIFY and ORCPT",            test_rcpt, NULL, NULL, NULL },
		{ "R-SMTP-53: addresses that are not ASCII", test_utf8, NULL, NULL, NULL },
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
