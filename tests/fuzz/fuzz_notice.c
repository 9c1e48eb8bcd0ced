/*
 * fuzz_notice.c - notices to senders hold words of strangers: an address, what a next hop said, the
 * headers of the original. None of it ends a line, a part or the message, or adds a field.
 *
 * Lines of the input: flags; sender; ENVID; then of one recipient its address, ORCPT, next hop and
 * that one's reply (| ends a line of it); the rest is the original's headers.
 */
#include "proxy/spool/dsn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINE_LIMIT = 1000, TEXT_MAX = 1100, HEADERS_MAX = 8192 }; /* RFC 5321 4.5.3.1.6 */

struct input {
	const char *at;
	size_t len;
};

/* The next line, at most size - 1 octets of it; without NUL. */
static void take_line(struct input *in, char *out, size_t size)
{
	const char *end = in->len ? memchr(in->at, '\n', in->len) : NULL;
	size_t len = end ? (size_t)(end - in->at) : in->len, copied = 0;

	for (size_t i = 0; i < len && copied + 1 < size; i++) {
		if (in->at[i])
			out[copied++] = in->at[i];
	}
	out[copied] = '\0';
	in->at += len + (end != NULL);
	in->len -= len + (end != NULL);
}

/* As the spool keeps them: every line ends with CR LF, and neither stands alone. */
static size_t take_headers(struct input *in, char out[HEADERS_MAX])
{
	size_t len = 0;

	for (; in->len && len + 4 < HEADERS_MAX; in->at++, in->len--) {
		if (*in->at == '\n')
			out[len++] = '\r';
		if (*in->at != '\r')
			out[len++] = *in->at;
	}
	if (len && out[len - 1] != '\n') {
		memcpy(out + len, "\r\n", 2);
		len += 2;
	}
	return len;
}

static bool is_ascii(const char *text)
{
	for (; *text; text++) {
		if (*text & 0x80)
			return false;
	}
	return true;
}

/* ---- what holds of every notice ---- */

static bool begins(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

static bool is_one_of(const char *line, const char *const *names)
{
	for (; *names; names++) {
		if (begins(line, *names))
			return true;
	}
	return false;
}

/* Where a header section may hold a line: one of its fields, or the rest of one. */
static void check_field(const char *line)
{
	static const char *const fields[] = {"Date: ", "From: ", "To: ", "Subject: ",
	    "Message-ID: ", "Auto-Submitted: ", "MIME-Version: ", "Content-Type: ",
	    "Content-Description: ", "Content-Transfer-Encoding: ", "\t", NULL};

	assert(is_one_of(line, fields));
}

static void check_status_field(const char *line)
{
	static const char *const fields[] = {"Original-Envelope-Id:", "Reporting-MTA:",
	    "Arrival-Date:", "Original-Recipient:", "Final-Recipient:", "Action:", "Status:",
	    "Remote-MTA:", "Diagnostic-Code:", "Last-Attempt-Date:", "Will-Retry-Until:", " ",
	    NULL};

	assert(!*line || is_one_of(line, fields));
}

static void check_line(const char *line, size_t len, bool is_8bit)
{
	assert(len < LINE_LIMIT && strcmp(line, ".") != 0);
	for (size_t i = 0; i < len; i++)
		assert(line[i] && line[i] != '\r' && (is_8bit || !(line[i] & 0x80)));
}

/* Parts are counted by their delimiters: 0 is the head, 2 the status. */
static void check_notice(char *text, size_t len, const struct dsn *dsn)
{
	bool is_8bit = dsn->message->envelope.sender.is_utf8, in_header = true;
	char delimiter[80] = "\n", *end; /* no line begins so */
	unsigned part = 0, last = dsn->headers ? 4 : 3;

	for (char *line = text; line < text + len; line = end + 2) {
		end = memmem(line, (size_t)(text + len - line), "\r\n", 2);
		assert(end && part < last);
		*end = '\0';
		check_line(line, (size_t)(end - line), is_8bit);
		if (part == 0 && begins(line, "\tboundary="))
			snprintf(delimiter, sizeof delimiter, "--%.*s",
			    (int)strcspn(line + 11, "\""), line + 11);
		if (begins(line, delimiter)) {
			part++;
			in_header = true;
		} else if (in_header) {
			in_header = *line != '\0';
			if (in_header)
				check_field(line);
		} else if (part == 2) {
			check_status_field(line);
		}
	}
	assert(part == last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct spool_message message;
	static struct spool_recipient recipient;
	static char flags[8], orcpt[SMTP_ORCPT_MAX + 1], address[SMTP_PATH_MAX + 1],
	    headers[HEADERS_MAX];
	const struct spool_recipient *about = &recipient;
	struct input in = {(const char *)data, size};
	struct dsn dsn = {.from = "postmaster@relay.example",
	    .reporting_mta = "relay.example",
	    .id = "0641c3b5d2a91f-5f0c2d7e91aa",
	    .now = 1900000000,
	    .retry_until = 1900432000,
	    .message = &message,
	    .recipients = &about,
	    .count = 1,
	    .headers = headers};
	size_t len;

	take_line(&in, flags, sizeof flags);
	dsn.kind = (unsigned char)flags[0] % 3;
	message.envelope.smtputf8 = strchr(flags, 'u') != NULL;
	recipient.must_bounce = strchr(flags, 'b') != NULL;
	take_line(&in, message.envelope.sender.address, sizeof message.envelope.sender.address);
	message.envelope.sender.is_utf8 = !is_ascii(message.envelope.sender.address);
	take_line(&in, message.envelope.dsn.envid, sizeof message.envelope.dsn.envid);
	take_line(&in, address, sizeof address);
	recipient.address = address;
	take_line(&in, orcpt, sizeof orcpt);
	recipient.dsn.orcpt = *orcpt ? orcpt : NULL;
	take_line(&in, recipient.last_hop, sizeof recipient.last_hop);
	take_line(&in, recipient.last.text, sizeof recipient.last.text);
	recipient.last.code = strchr(flags, '4') ? 450 : 550;
	recipient.last.reason =
	    strchr(flags, 'n') ? REASON_NEXT_HOP : (enum reason)(size % REASON_COUNT);
	for (char *c = recipient.last.text; *c; c++)
		*c = *c == '|' ? '\n' : *c;
	dsn.headers_len = take_headers(&in, headers);
	if (!dsn.headers_len)
		dsn.headers = NULL;
	char *text = dsn_compose(&dsn, &len);

	check_notice(text, len, &dsn);
	free(text);
	return 0;
}
