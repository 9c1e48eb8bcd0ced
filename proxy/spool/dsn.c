/*
 * dsn.c - the notice as a whole: its headers, its three parts, and their encodings.
 *
 * Everything is 7-bit (what is not goes as quoted-printable), so that any mail server takes it.
 * Only where the sender's own address needs SMTPUTF8 the notice is internationalised mail itself
 * (RFC 6533). See dsn.h.
 */
#include "proxy/spool/dsn_internal.h"

#include "conf/mem.h"
#include "proxy/smtp/smtp_text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BOUNDARY_SIZE = SPOOL_ID_SIZE + 40, LINE_MAX = 990, QP_LINE = 72 };

const char *dsn_date(time_t when, char out[DSN_DATE_SIZE])
{
	struct tm tm;

	if (!gmtime_r(&when, &tm) || !strftime(out, DSN_DATE_SIZE, "%a, %d %b %Y %T +0000", &tm))
		return "Thu, 01 Jan 1970 00:00:00 +0000";
	return out;
}

bool dsn_is_utf8(const struct dsn *dsn) { return dsn->message->envelope.sender.is_utf8; }

/* ---- text in memory ---- */

struct text {
	char *data;
	size_t len;
};

static FILE *open_text(struct text *text)
{
	FILE *out = open_memstream(&text->data, &text->len);

	assert(out); /* as any allocation */
	return out;
}

/* A buffer that could not grow would be a notice cut short. */
static void close_text(FILE *out)
{
	bool failed = ferror(out);

	failed |= fclose(out) != 0;
	assert(!failed);
}

/* ---- encodings ---- */

/* Lines of printable ASCII, none of them too long: no encoding needed. */
static bool is_plain(const char *data, size_t len)
{
	size_t line = 0;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\r' && i + 1 < len && data[i + 1] == '\n') {
			line = 0;
			i++;
		} else if ((data[i] != '\t' && (data[i] < ' ' || data[i] > '~')) ||
			   ++line > LINE_MAX) {
			return false;
		}
	}
	return true;
}

/* RFC 2045 section 6.7. */
static void write_quoted_printable(FILE *out, const char *data, size_t len)
{
	size_t column = 0;

	for (size_t i = 0; i < len; i++) {
		bool is_end = data[i] == '\r' && i + 1 < len && data[i + 1] == '\n';
		bool is_blank = data[i] == ' ' || data[i] == '\t';
		bool is_last = i + 1 == len || data[i + 1] == '\r';
		bool is_clean =
		    (data[i] > ' ' && data[i] <= '~' && data[i] != '=') || (is_blank && !is_last);

		if (is_end) {
			fputs("\r\n", out);
			column = 0;
			i++;
			continue;
		}
		if (column >= QP_LINE) {
			fputs("=\r\n", out);
			column = 0;
		}
		column += (size_t)fprintf(out, is_clean ? "%c" : "=%02X", (unsigned char)data[i]);
	}
}

static void write_part_body(FILE *out, const char *data, size_t len)
{
	bool plain = is_plain(data, len);

	if (!plain)
		fputs("Content-Transfer-Encoding: quoted-printable\r\n", out);
	fputs("\r\n", out);
	if (plain)
		fwrite(data, 1, len, out);
	else
		write_quoted_printable(out, data, len);
}

/* ---- the parts ---- */

static void write_text_part(FILE *out, const struct dsn *dsn)
{
	struct text text = {0};
	FILE *inner = open_text(&text);

	dsn_write_text(inner, dsn);
	close_text(inner);
	fputs("Content-Type: text/plain; charset=utf-8\r\n"
	      "Content-Description: Notification\r\n",
	    out);
	write_part_body(out, text.data, text.len);
	free(text.data);
}

static void write_status_part(FILE *out, const struct dsn *dsn)
{
	if (dsn_is_utf8(dsn))
		fputs("Content-Type: message/global-delivery-status\r\n"
		      "Content-Transfer-Encoding: 8bit\r\n",
		    out);
	else
		fputs("Content-Type: message/delivery-status\r\n", out);
	fputs("Content-Description: Delivery report\r\n\r\n", out);
	dsn_write_status(out, dsn);
}

static void write_headers_part(FILE *out, const struct dsn *dsn)
{
	fprintf(out,
	    "Content-Type: %s\r\n"
	    "Content-Description: Headers of your message\r\n",
	    dsn->message->envelope.smtputf8 ? "message/global-headers" : "text/rfc822-headers");
	write_part_body(out, dsn->headers, dsn->headers_len);
}

/* ---- the whole ---- */

/* The id is unique and not known to whoever wrote the original. */
static void make_boundary(char out[BOUNDARY_SIZE], const struct dsn *dsn)
{
	int extra = 0;

	do
		snprintf(out, BOUNDARY_SIZE, "=_danelaw_%s_%d", dsn->id, extra);
	while (dsn->headers && extra++ < 1000 &&
	       memmem(dsn->headers, dsn->headers_len, out, strlen(out)));
}

static const char *subject(const struct dsn *dsn)
{
	switch (dsn->kind) {
	case DSN_FAILED:
		return "Your message could not be delivered";
	case DSN_DELAYED:
		return "Your message is late (it is still being tried)";
	case DSN_RELAYED:
		break;
	}
	return "Your message was handed on";
}

static void write_head(FILE *out, const struct dsn *dsn, const char *boundary)
{
	char to[SMTP_PATH_MAX + 1], date[DSN_DATE_SIZE];

	snprintf(to, sizeof to, "%s", dsn->message->envelope.sender.address);
	smtp_text_filter(to, to, strlen(to), true);
	fprintf(out,
	    "Date: %s\r\n"
	    "From: Mail delivery <%s>\r\n"
	    "To: <%s>\r\n"
	    "Subject: %s\r\n"
	    "Message-ID: <%s@%s>\r\n"
	    "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=%sdelivery-status;\r\n"
	    "\tboundary=\"%s\"\r\n"
	    "%s\r\n",
	    dsn_date(dsn->now, date), dsn->from, to, subject(dsn), dsn->id, dsn->reporting_mta,
	    dsn_is_utf8(dsn) ? "global-" : "", boundary,
	    dsn_is_utf8(dsn) ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

static void write_all(FILE *out, const struct dsn *dsn)
{
	char boundary[BOUNDARY_SIZE];

	make_boundary(boundary, dsn);
	write_head(out, dsn, boundary);
	fprintf(out, "--%s\r\n", boundary);
	write_text_part(out, dsn);
	fprintf(out, "\r\n--%s\r\n", boundary);
	write_status_part(out, dsn);
	if (dsn->headers) {
		fprintf(out, "\r\n--%s\r\n", boundary);
		write_headers_part(out, dsn);
	}
	fprintf(out, "\r\n--%s--\r\n", boundary);
}

static void write_stuffed(FILE *out, const char *data, size_t len)
{
	const char *end = data + len;

	while (data < end) {
		const char *line_end = memchr(data, '\n', (size_t)(end - data));
		size_t line = (size_t)((line_end ? line_end + 1 : end) - data);

		if (*data == '.')
			fputc('.', out);
		fwrite(data, 1, line, out);
		data += line;
	}
}

char *dsn_compose(const struct dsn *dsn, size_t *len)
{
	struct text whole = {0}, stuffed = {0};
	FILE *out = open_text(&whole);

	write_all(out, dsn);
	close_text(out);
	out = open_text(&stuffed);
	write_stuffed(out, whole.data, whole.len);
	close_text(out);
	free(whole.data);
	*len = stuffed.len;
	return stuffed.data;
}
