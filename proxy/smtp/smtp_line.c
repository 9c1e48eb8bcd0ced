/*
 * smtp_line.c - the lines of a client, and first octets that are no SMTP at all.
 *
 * A line ends at CR LF and nowhere else (RFC 5321 section 2.3.8): a bare CR or LF is where two
 * parsers of one stream begin to see different commands. Called by session.c on what it has read.
 */
#include "proxy/smtp/smtp_parse.h"

#include <string.h>
#include <strings.h>

enum smtp_line smtp_next_line(
    const char *in, size_t len, size_t max, size_t *line_len, size_t *consumed)
{
	*line_len = *consumed = 0;
	for (size_t i = 0; i < len && i < max; i++) {
		if (in[i] == '\n')
			return SMTP_LINE_BARE;
		if (in[i] != '\r')
			continue;
		if (i + 1 == max)
			return SMTP_LINE_LONG;
		if (i + 1 == len)
			return SMTP_LINE_MORE;
		if (in[i + 1] != '\n')
			return SMTP_LINE_BARE;
		*line_len = i;
		*consumed = i + 2;
		return SMTP_LINE_DONE;
	}
	return len < max ? SMTP_LINE_MORE : SMTP_LINE_LONG;
}

bool smtp_skip_line(const char *in, size_t len, size_t *consumed)
{
	const char *end = len ? memmem(in, len, "\r\n", 2) : NULL;

	if (end)
		*consumed = (size_t)(end - in) + 2;
	else
		*consumed = len && in[len - 1] == '\r' ? len - 1 : len;
	return end != NULL;
}

/* Enough of each to be no SMTP verb; a blank ends a method. */
static bool is_foreign_word(const char *in, size_t len)
{
	static const char *const words[] = {
	    "GET ",
	    "POST ",
	    "PUT ",
	    "HEAD ",
	    "OPTIONS ",
	    "CONNECT ",
	    "DELETE ",
	    "TRACE ",
	    "PATCH ",
	    "PRI ",
	    "PROXY ",
	    "SSH-",
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if ((in[0] | 0x20) != (words[i][0] | 0x20))
			continue;
		if (len >= strlen(words[i]) && !strncasecmp(in, words[i], strlen(words[i])))
			return true;
	}
	return false;
}

bool smtp_looks_foreign(const char *in, size_t len)
{
	/*
	 * What PROXY version 2 begins with is an empty line for everybody else, twice; then comes
	 * a NUL.
	 */
	static const char proxy_v2[] = {'\r', '\n', '\r', '\n', '\0'};

	if (len == 0)
		return false;
	unsigned char first = (unsigned char)in[0];
	/* 0x16 begins a TLS record; nothing else of this sort begins a text protocol either. */
	bool is_binary =
	    (first < 0x20 && first != '\t' && first != '\r' && first != '\n') || first >= 0x7f;

	return is_binary || (len >= sizeof proxy_v2 && !memcmp(in, proxy_v2, sizeof proxy_v2)) ||
	       is_foreign_word(in, len);
}
