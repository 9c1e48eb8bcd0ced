/*
 * fuzz_command.c - a client's stream of commands, as the server takes it apart.
 *
 * The same lines must be seen however the octets arrive; a line that was understood holds no
 * controls.
 */
#include "proxy/smtp/smtp_dsn.h"
#include "proxy/smtp/smtp_parse.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is passed on and will stand in notices is visible text, and fits into a line. */
static void check_dsn(const struct smtp_command *command, struct smtp_agreed agreed)
{
	const struct smtp_dsn_rcpt *rcpt = &command->dsn_rcpt;
	char mail_text[SMTP_DSN_MAIL_SIZE], rcpt_text[SMTP_DSN_RCPT_SIZE];

	smtp_dsn_mail_text(mail_text, &command->dsn_mail);
	smtp_dsn_rcpt_text(rcpt_text, rcpt);
	assert(agreed.dsn || (!*mail_text && !*rcpt_text));
	assert(rcpt->notify == SMTP_NOTIFY_NEVER || !(rcpt->notify & SMTP_NOTIFY_NEVER));
	for (const char *c = mail_text; *c; c++)
		assert(*c >= 0x20 && *c < 0x7f);
	for (const unsigned char *c = (unsigned char *)rcpt_text; *c; c++)
		assert(*c >= 0x20 && *c != 0x7f);
	if (rcpt->orcpt)
		assert(strchr(rcpt->orcpt, ';') && !strchr(rcpt->orcpt, ' ') &&
		       strlen(rcpt->orcpt) <= SMTP_ORCPT_MAX);
}

static void check_command(const char *line, size_t len)
{
	static struct smtp_command command;
	struct smtp_agreed agreed = {.smtputf8 = len & 1, .dsn = len & 2};
	struct smtp_error error = smtp_parse_command(line, len, agreed, &command);

	assert(command.verb <= SMTP_UNKNOWN && strlen(command.argument) <= len);
	check_dsn(&command, agreed);
	smtp_command_release(&command);
	if (error.code) {
		assert(error.code >= 400 && error.code <= 559 && error.status && *error.text);
		assert((error.status[0] - '0') == error.code / 100);
		return;
	}
	assert(command.verb != SMTP_UNKNOWN && command.verb != SMTP_OTHER_PROTOCOL);
	for (size_t i = 0; i < len; i++)
		assert((unsigned char)line[i] >= 0x20 && line[i] != 0x7f);
	if (command.verb == SMTP_MAIL)
		assert(command.path.is_null || command.path.has_domain);
	if (command.verb == SMTP_RCPT)
		assert(!command.path.is_null);
}

/* A verdict about a line does not change when more arrives; before it there was only MORE. */
static void check_prefixes(
    const char *in, size_t len, enum smtp_line what, size_t line_len, size_t consumed)
{
	for (size_t n = len < 64 ? len : 64; n > 0; n--) {
		size_t other_len, other_consumed;
		enum smtp_line other =
		    smtp_next_line(in, n, SMTP_COMMAND_MAX, &other_len, &other_consumed);

		if (other == SMTP_LINE_MORE)
			continue;
		assert(other == what && other_len == line_len && other_consumed == consumed);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *in = (const char *)data;
	size_t at = 0;

	smtp_looks_foreign(in, size);
	while (at < size) {
		size_t line_len, consumed;
		enum smtp_line what =
		    smtp_next_line(in + at, size - at, SMTP_COMMAND_MAX, &line_len, &consumed);

		check_prefixes(in + at, size - at, what, line_len, consumed);
		if (what == SMTP_LINE_MORE || what == SMTP_LINE_BARE)
			break;
		if (what == SMTP_LINE_LONG && !smtp_skip_line(in + at, size - at, &consumed))
			break;
		if (what == SMTP_LINE_DONE)
			check_command(in + at, line_len);
		at += consumed;
	}
	check_command(in, size);
	return 0;
}
