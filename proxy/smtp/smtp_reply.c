/*
 * smtp_reply.c - replies: those of next hops, parsed strictly; ours, formatted.
 *
 * RFC 5321 section 4.2. A next hop is a stranger: a reply that is not exactly one is a broken
 * conversation, not something to make sense of, and its text is filtered before it can reach a
 * client, a log or a terminal (R-SMTP-20). Called by smtp_client for what it hears, by session.c
 * and listener.c for what we say.
 */
#include "proxy/smtp/smtp_reply.h"
#include "proxy/smtp/smtp_text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	CODE_LEN = 3,
	OUT_LINE_MAX = 512, /* RFC 5321 4.5.3.1.5, with code and CRLF */
	PREFIX_SIZE = 32,
};

/* ---- parsing ---- */

/* "250", "250 text" or "250-text"; code 0: none of these. */
struct reply_line {
	int code;
	bool last;
	const char *text;
	size_t text_len;
};

static int code_value(const char *line)
{
	if (line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '5' || line[2] < '0' ||
	    line[2] > '9')
		return 0;
	return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

static struct reply_line split_line(const char *line, size_t len)
{
	struct reply_line split = {.last = true};

	if (len < CODE_LEN)
		return split;
	split.text = line + len;
	if (len > CODE_LEN) {
		if (line[CODE_LEN] != ' ' && line[CODE_LEN] != '-')
			return split;
		split.last = line[CODE_LEN] == ' ';
		split.text = line + CODE_LEN + 1;
		split.text_len = len - CODE_LEN - 1;
	}
	split.code = code_value(line);
	return split;
}

/*
 * One line at in[0..len), its length without CRLF. A bare LF is refused rather than taken for an
 * end of line: another reader of the same stream might see other replies (R-SMTP-19).
 */
static enum smtp_reply_status next_line(
    const char *in, size_t len, size_t *line_len, const char **why)
{
	size_t seen = len < SMTP_REPLY_LINE_MAX ? len : SMTP_REPLY_LINE_MAX;
	const char *newline = seen ? memchr(in, '\n', seen) : NULL;

	if (!newline && seen < SMTP_REPLY_LINE_MAX)
		return SMTP_REPLY_MORE;
	if (!newline)
		*why = "reply line too long";
	else if (newline == in || newline[-1] != '\r')
		*why = "reply line ends in a bare LF";
	else if (memchr(in, '\0', (size_t)(newline - in)))
		*why = "reply holds a NUL";
	else {
		*line_len = (size_t)(newline - in) - 1;
		return SMTP_REPLY_DONE;
	}
	return SMTP_REPLY_BROKEN;
}

/* A line that finds no room is dropped with all after it: half a line could say the opposite. */
static void add_text(struct smtp_reply *reply, const struct reply_line *line, bool *full)
{
	bool first = reply->line_count == 0;
	size_t need = line->text_len + !first;

	reply->line_count++;
	if (*full || need >= sizeof reply->text - reply->text_len) {
		*full = true;
		return;
	}
	if (!first)
		reply->text[reply->text_len++] = '\n';
	smtp_text_filter(reply->text + reply->text_len, line->text, line->text_len, true);
	reply->text_len += line->text_len;
	reply->text[reply->text_len] = '\0';
}

static const char *line_fault(const struct smtp_reply *reply, const struct reply_line *line)
{
	if (!line->code)
		return "not an SMTP reply";
	if (reply->line_count > 0 && line->code != reply->code)
		return "reply changes its code between lines";
	if (reply->line_count == SMTP_REPLY_LINES_MAX)
		return "reply has too many lines";
	return NULL;
}

enum smtp_reply_status smtp_reply_parse(
    const char *in, size_t len, struct smtp_reply *reply, size_t *consumed, const char **why)
{
	struct reply_line line;
	bool full = false;
	size_t at = 0;

	*consumed = 0;
	reply->code = 0;
	reply->line_count = 0;
	reply->text_len = 0;
	reply->text[0] = '\0';
	do {
		size_t line_len;
		enum smtp_reply_status status = next_line(in + at, len - at, &line_len, why);

		if (status != SMTP_REPLY_DONE)
			return status;
		line = split_line(in + at, line_len);
		*why = line_fault(reply, &line);
		if (*why)
			return SMTP_REPLY_BROKEN;
		reply->code = line.code;
		add_text(reply, &line, &full);
		at += line_len + 2;
	} while (!line.last);
	*consumed = at;
	return SMTP_REPLY_DONE;
}

const char *smtp_reply_first_line(const struct smtp_reply *reply, char *out, size_t size)
{
	size_t len = strcspn(reply->text, "\n");

	assert(size > 0);
	len = smtp_text_cut(reply->text, len, size - 1);
	memcpy(out, reply->text, len);
	out[len] = '\0';
	return out;
}

/* ---- what EHLO offers ---- */

static bool is_keyword(const char *line, size_t len, const char *keyword)
{
	return len == strlen(keyword) && !strncasecmp(line, keyword, len);
}

/* RFC 1870 section 4: no number, or 0, is no fixed limit; more than we can count is none either. */
static uint64_t size_limit(const char *digits, size_t len)
{
	uint64_t limit = 0;

	for (size_t i = 0; i < len; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return 0;
		if (__builtin_mul_overflow(limit, 10, &limit) ||
		    __builtin_add_overflow(limit, (uint64_t)(digits[i] - '0'), &limit))
			return 0;
	}
	return limit;
}

static void take_offer(struct smtp_offer *offer, const char *line, size_t len)
{
	const char *blank = memchr(line, ' ', len);
	size_t word = blank ? (size_t)(blank - line) : len;

	if (is_keyword(line, word, "STARTTLS")) {
		offer->starttls = true;
	} else if (is_keyword(line, word, "PIPELINING")) {
		offer->pipelining = true;
	} else if (is_keyword(line, word, "8BITMIME")) {
		offer->eightbitmime = true;
	} else if (is_keyword(line, word, "SMTPUTF8")) {
		offer->smtputf8 = true;
	} else if (is_keyword(line, word, "DSN")) {
		offer->dsn = true;
	} else if (is_keyword(line, word, "SIZE")) {
		offer->size = true;
		if (blank)
			offer->size_limit = size_limit(blank + 1, len - word - 1);
	}
}

/* The first line is the next hop's name and words of welcome. */
void smtp_offer_parse(const struct smtp_reply *ehlo, struct smtp_offer *offer)
{
	const char *line = strchr(ehlo->text, '\n');

	*offer = (struct smtp_offer){0};
	if (ehlo->code != 250)
		return;
	while (line) {
		const char *end = strchr(++line, '\n');

		take_offer(offer, line, end ? (size_t)(end - line) : strlen(line));
		line = end;
	}
}

/* ---- formatting ---- */

struct reply_writer {
	char *out;
	size_t len, size;
	char prefix[PREFIX_SIZE]; /* "451-4.7.5 " */
	size_t prefix_len;
	size_t separator; /* where the last complete line has its '-' */
	bool utf8;
};

static const char *default_text(int code)
{
	return code < 400 ? "ok" : code < 500 ? "try again later" : "refused";
}

/*
 * How much of text goes on one line: up to '\n', or to the last blank that fits, or as much as
 * fits.
 */
static size_t wrap(const char *text, size_t len, size_t max)
{
	size_t end = strcspn(text, "\n");

	if (end > len)
		end = len;
	if (end <= max)
		return end;
	for (size_t i = max; i > max / 2; i--)
		if (text[i] == ' ')
			return i;
	return smtp_text_cut(text, end, max);
}

/*
 * false: no room, nothing written. The very first line is cut to the room there is: some reply
 * must go out.
 */
static bool put_line(struct reply_writer *w, const char *text, size_t len)
{
	size_t left = w->size - w->len;
	size_t around = w->prefix_len + 2;

	if (w->len == 0 && len + around > left)
		len = smtp_text_cut(text, len, left - around);
	if (len + around > left)
		return false;
	w->separator = w->len + CODE_LEN;
	memcpy(w->out + w->len, w->prefix, w->prefix_len);
	smtp_text_filter(w->out + w->len + w->prefix_len, text, len, w->utf8);
	memcpy(w->out + w->len + w->prefix_len + len, "\r\n", 2);
	w->len += around + len;
	return true;
}

/* End of text without line ends behind it: a last line needs words (RFC 5321 4.2). */
static size_t trimmed_len(const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	return len;
}

static size_t make_prefix(char out[PREFIX_SIZE], int code, const char *status)
{
	size_t len = status ? strlen(status) : 0;

	assert(code >= 200 && code <= 559 && len + sizeof "250- " <= PREFIX_SIZE);
	out[0] = (char)('0' + code / 100);
	out[1] = (char)('0' + code / 10 % 10);
	out[2] = (char)('0' + code % 10);
	out[3] = '-';
	if (!len)
		return 4;
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): its length is returned */
	memcpy(out + 4, status, len);
	out[4 + len] = ' ';
	return 5 + len;
}

size_t smtp_reply_format(
    char *out, size_t size, int code, const char *status, const char *text, bool utf8)
{
	struct reply_writer w = {.out = out, .size = size, .utf8 = utf8};
	size_t len = trimmed_len(text);

	assert(size > sizeof w.prefix);
	w.prefix_len = make_prefix(w.prefix, code, status);
	if (len == 0) {
		text = default_text(code);
		len = strlen(text);
	}
	for (unsigned lines = 1;; lines++) {
		size_t n = wrap(text, len, OUT_LINE_MAX - w.prefix_len - 2);

		if (!put_line(&w, text, n) || n == len || lines == SMTP_REPLY_LINES_MAX)
			break;
		n += text[n] == '\n' || text[n] == ' ';
		text += n;
		len -= n;
	}
	/* One code per reply: every line but the last has "-" after it (R-SMTP-18). */
	w.out[w.separator] = ' ';
	return w.len;
}
