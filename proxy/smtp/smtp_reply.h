/*
 * smtp_reply.h - replies: those of next hops, parsed strictly; ours, formatted. Pure, fuzzed.
 */
#ifndef PROXY_SMTP_REPLY_H
#define PROXY_SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SMTP_REPLY_LINES_MAX = 100, SMTP_REPLY_LINE_MAX = 2048, SMTP_REPLY_TEXT_MAX = 8192 };

/* A complete reply. Text is filtered (R-SMTP-20): what is not printable ASCII or UTF-8 is "?". */
struct smtp_reply {
	int code; /* 200..559 */
	size_t line_count;
	size_t text_len;
	/* Without codes; lines separated by '\n', then NUL. Cut before a line that has no room. */
	char text[SMTP_REPLY_TEXT_MAX];
};

enum smtp_reply_status { SMTP_REPLY_MORE, SMTP_REPLY_DONE, SMTP_REPLY_BROKEN };

/*
 * Parses the reply at the front of in[0..len) (R-SMTP-19). DONE: *consumed octets. MORE: not
 * complete yet, nothing consumed, and still within the limits. BROKEN: why (static text) says what;
 * the connection must be dropped.
 */
enum smtp_reply_status smtp_reply_parse(
    const char *in, size_t len, struct smtp_reply *reply, size_t *consumed, const char **why);

/* First line of the text, for logs and single-line replies, cut to fit. Returns out. */
const char *smtp_reply_first_line(const struct smtp_reply *reply, char *out, size_t size);

/* What the EHLO reply offers; unknown keywords are ignored, keywords are case-insensitive. */
struct smtp_offer {
	bool starttls, pipelining, eightbitmime, smtputf8, size, dsn;
	uint64_t size_limit; /* 0: none told */
};
void smtp_offer_parse(const struct smtp_reply *ehlo, struct smtp_offer *offer);

/*
 * One or more lines to send: "451 4.7.5 text\r\n". status "" or NULL: none. text may hold '\n' (a
 * multi-line reply); it is filtered, wrapped so that no line exceeds 512 octets with CRLF, and
 * never empty. utf8: octets >= 0x80 may stay, else "?". Returns the length; the text is cut where
 * out[size] ends or there are SMTP_REPLY_LINES_MAX lines, always at a complete line.
 */
size_t smtp_reply_format(
    char *out, size_t size, int code, const char *status, const char *text, bool utf8);

#endif
