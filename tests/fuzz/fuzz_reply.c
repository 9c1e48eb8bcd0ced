/*
 * fuzz_reply.c - replies of next hops: text that reaches clients and logs is clean, and what we
 * make of it is a reply that our own strict parser takes.
 */
#include "proxy/smtp/smtp_reply.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clean(const struct smtp_reply *reply)
{
	assert(strlen(reply->text) == reply->text_len);
	for (size_t i = 0; i < reply->text_len; i++) {
		unsigned char c = (unsigned char)reply->text[i];

		assert((c >= 0x20 && c != 0x7f) || c == '\n');
	}
}

/* Passed on to a client, with and without UTF-8. */
static void check_relay(const struct smtp_reply *reply, size_t size, bool utf8)
{
	static struct smtp_reply again;
	char out[8192];
	size_t consumed;
	const char *why;
	size_t len = smtp_reply_format(out, size, reply->code, "", reply->text, utf8);

	assert(len <= size);
	assert(smtp_reply_parse(out, len, &again, &consumed, &why) == SMTP_REPLY_DONE);
	assert(consumed == len && again.code == reply->code);
	for (size_t i = 0; !utf8 && i < len; i++)
		assert((unsigned char)out[i] < 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct smtp_reply reply;
	struct smtp_offer offer;
	char line[40];
	size_t consumed;
	const char *why = NULL;
	enum smtp_reply_status status =
	    smtp_reply_parse((const char *)data, size, &reply, &consumed, &why);

	if (status == SMTP_REPLY_BROKEN)
		assert(why && consumed == 0);
	if (status != SMTP_REPLY_DONE)
		return 0;
	assert(consumed > 0 && consumed <= size && reply.code >= 200 && reply.code <= 559);
	assert(reply.line_count >= 1 && reply.line_count <= SMTP_REPLY_LINES_MAX);
	check_clean(&reply);
	check_relay(&reply, 8192, true);
	check_relay(&reply, 40 + size % 1000, false);
	smtp_offer_parse(&reply, &offer);
	assert(strlen(smtp_reply_first_line(&reply, line, sizeof line)) < sizeof line);
	return 0;
}
