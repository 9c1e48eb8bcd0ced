/*
 * received.c - the one field that we add to a message.
 *
 * RFC 5321 section 4.4, RFC 6531 section 3.7.3. The client chose the HELO name and the recipient,
 * so neither may bring anything that ends a line, a comment or a quoted string (R-SMTP-45). "with"
 * speaks of the session with the client (RFC 3848). Called once for each message, by the
 * transaction.
 */
#include "proxy/received.h"

#include "conf/join.h"
#include "proxy/smtp/smtp_text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { HELO_MAX = 255, SESSION_MAX = 64, DATE_SIZE = 40 };

/* ";" is what date readers look for; a name has no use for any of these. */
static bool is_harmless(char c) { return c > ' ' && c != 0x7f && !strchr("()<>\\\"';,", c); }

/* Into out[HELO_MAX + 1]. */
static void clean_helo(char *out, const char *helo, bool utf8)
{
	size_t len = smtp_text_cut(helo, strlen(helo), HELO_MAX);

	if (len == 0) {
		memcpy(out, "unknown", sizeof "unknown");
		return;
	}
	smtp_text_filter(out, helo, len, utf8);
	for (size_t i = 0; i < len; i++)
		if (!((unsigned char)out[i] & 0x80) && !is_harmless(out[i]))
			out[i] = '?';
	out[len] = '\0';
}

/* RFC 5322 section 3.3, in UTC. Names by hand: strftime() would follow a locale. */
static void format_date(char out[DATE_SIZE], time_t when)
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {
	    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	static char last[DATE_SIZE]; /* messages of one second have one date */
	static time_t last_when;
	struct tm tm;
	const struct tm *utc;

	if (last[0] && when == last_when) {
		memcpy(out, last, DATE_SIZE);
		return;
	}
	utc = gmtime_r(&when, &tm);
	assert(utc);
	snprintf(last, DATE_SIZE, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday,
	    months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	last_when = when;
	memcpy(out, last, DATE_SIZE);
}

static const char *protocol(const struct received *received)
{
	if (received->lmtp && received->utf8)
		return received->tls ? "UTF8LMTPS" : "UTF8LMTP";
	if (received->lmtp)
		return received->tls ? "LMTPS" : "LMTP";
	if (received->utf8)
		return received->tls ? "UTF8SMTPS" : "UTF8SMTP";
	if (received->esmtp)
		return received->tls ? "ESMTPS" : "ESMTP";
	return "SMTP";
}

/*
 * A path that was parsed holds no control; one that is not ASCII needs a field that may be UTF-8.
 */
static bool is_fit_to_show(const char *recipient, bool utf8)
{
	size_t len = recipient ? strlen(recipient) : 0;

	if (len == 0 || !smtp_text_is_printable(recipient, len))
		return false;
	for (size_t i = 0; i < len && !utf8; i++)
		if ((unsigned char)recipient[i] & 0x80)
			return false;
	return true;
}

void received_mark(char *out, size_t size, const char *by)
{
	size_t len = text_join(out, size, "by ", by, " (danelaw)");

	assert(len < size);
}

size_t received_format(char out[RECEIVED_SIZE], const struct received *received)
{
	char helo[HELO_MAX + 1] = "";
	char literal[ADDR_TEXT];
	char mark[512];
	char session[SESSION_MAX + 1];
	char date[DATE_SIZE];
	size_t len;
	bool show = is_fit_to_show(received->recipient, received->utf8);

	clean_helo(helo, received->helo, received->utf8);
	received_mark(mark, sizeof mark, received->by);
	format_date(date, received->when);
	text_join(session, sizeof session, received->session);
	len = text_join(out, RECEIVED_SIZE, "Received: from ", helo, " (",
	    addr_literal(received->client, literal), ")\r\n\t", mark, " with ", protocol(received),
	    " id ", session, show ? "\r\n\tfor <" : "", show ? received->recipient : "",
	    show ? ">; " : ";\r\n\t", date, "\r\n");
	assert(len < RECEIVED_SIZE);
	return len;
}
