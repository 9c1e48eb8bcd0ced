/*
 * fuzz_dsn.c - the values of RET, ENVID, NOTIFY and ORCPT (RFC 3461 4.1 to 4.4): the first octet
 * says of which, the rest is the value.
 *
 * What is taken is judged by a reader of our own that knows nothing of smtp_dsn.c: decoded it is
 * printable, and written again behind a path it means the same to the parser of commands.
 */
#include "proxy/smtp/smtp_dsn.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINE_SIZE = SMTP_DSN_RCPT_SIZE + 64 };

/* Whoever decodes xtext puts what comes out into a header field. */
static void check_decoded(const char *xtext)
{
	for (const char *at = xtext; *at; at++) {
		int c = (unsigned char)*at;

		if (c == '+') {
			assert(isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2]));
			c = (int)strtol((char[]){at[1], at[2], '\0'}, NULL, 16);
			at += 2;
		} else {
			assert(c != ' ' && c != '=');
		}
		assert(c >= ' ' && c < 0x7f);
	}
}

static struct smtp_command read_again(const char *command, const char *parameters)
{
	static const struct smtp_agreed agreed = {.smtputf8 = true, .dsn = true};
	struct smtp_command again;
	char line[LINE_SIZE];
	int len = snprintf(line, sizeof line, "%s%s", command, parameters);

	assert(len > 0 && len < LINE_SIZE);
	assert(smtp_parse_command(line, (size_t)len, agreed, &again).code == 0);
	return again;
}

static void check_mail(const struct smtp_dsn_mail *dsn)
{
	char text[SMTP_DSN_MAIL_SIZE];
	struct smtp_command again =
	    read_again("MAIL FROM:<a@b.example>", smtp_dsn_mail_text(text, dsn));

	assert(again.dsn_mail.ret == dsn->ret && !strcmp(again.dsn_mail.envid, dsn->envid));
	check_decoded(dsn->envid);
	smtp_command_release(&again);
}

static void check_rcpt(const struct smtp_dsn_rcpt *dsn)
{
	char text[SMTP_DSN_RCPT_SIZE];
	struct smtp_command again =
	    read_again("RCPT TO:<a@b.example>", smtp_dsn_rcpt_text(text, dsn));

	assert(again.dsn_rcpt.notify == dsn->notify);
	assert(!dsn->orcpt == !again.dsn_rcpt.orcpt);
	assert(!dsn->orcpt || !strcmp(again.dsn_rcpt.orcpt, dsn->orcpt));
	smtp_command_release(&again);
}

static void try_orcpt(const char *value, size_t len)
{
	struct smtp_dsn_rcpt dsn = {0};

	if (smtp_dsn_read_orcpt(value, len, &dsn.orcpt)) {
		assert(!dsn.orcpt);
		return;
	}
	assert(strlen(dsn.orcpt) == len);
	check_rcpt(&dsn);
	if (strncasecmp(dsn.orcpt, "utf-8;", 6) != 0)
		check_decoded(strchr(dsn.orcpt, ';') + 1);
	free(dsn.orcpt);
}

static void try_notify(const char *value, size_t len)
{
	struct smtp_dsn_rcpt dsn = {0};

	if (smtp_dsn_read_notify(value, len, &dsn.notify))
		return;
	assert(
	    dsn.notify && (dsn.notify == SMTP_NOTIFY_NEVER || !(dsn.notify & SMTP_NOTIFY_NEVER)));
	check_rcpt(&dsn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_dsn_mail mail = {0};
	const char *value = (const char *)data + 1;

	if (size == 0)
		return 0;
	switch (data[0]) {
	case 'r':
		if (!smtp_dsn_read_ret(value, size - 1, &mail.ret))
			check_mail(&mail);
		break;
	case 'e':
		if (!smtp_dsn_read_envid(value, size - 1, mail.envid))
			check_mail(&mail);
		break;
	case 'n':
		try_notify(value, size - 1);
		break;
	default:
		try_orcpt(value, size - 1);
	}
	return 0;
}
