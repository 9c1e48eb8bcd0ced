/*
 * smtp_body.c - the message on its way: end of data, CR/LF discipline, limits.
 *
 * RFC 5321 sections 2.3.8 and 4.5.2, a small state machine; runs of ordinary octets take a shortcut
 * past it. CR and LF leave only as the pair that put_newline() writes, text only by put_text(),
 * which ends the process rather than pass either of them (R-SMTP-24). What is found never depends
 * on how the input was cut into blocks. Called by the transaction for what the client sends after
 * 354.
 */
#include "proxy/smtp/smtp_body.h"

#include <assert.h>
#include <string.h>

/* Where we stand in a line, as the strictest receiver counts lines. */
enum state {
	LINE_START, /* after CR LF, and at the very beginning: only here a dot has a meaning */
	LF_START,   /* after a bare LF that was mapped: a line for the next hop alone */
	IN_LINE,
	CR,     /* held back until it is known whether LF follows */
	DOT,    /* "." at LINE_START, held back: stuffing, or the beginning of the end */
	DOT_CR, /* ".\r" likewise */
};

enum {
	LINE_TEXT_MAX = 998, /* RFC 5321 4.5.3.1.6: 1000 with CRLF */
	OWN_RECEIVED_MAX = 3,
	STEP_MAX = 2, /* most octets that one octet of input sets free */
	/* Not more: in a block of bare LFs each search for CR would run to the end of the block. */
	RUN_MAX = 1024,
};

struct writer {
	char *out;
	size_t len, size;
};

void smtp_body_init(struct smtp_body *body, const struct conf_listener *listener,
    uint64_t size_limit, unsigned received_limit, const char *own_mark)
{
	*body = (struct smtp_body){
	    .bare_newline = listener->bare_newline,
	    .long_lines = listener->long_lines,
	    .size_limit = size_limit,
	    .received_limit = received_limit,
	    .state = LINE_START,
	};
	smtp_header_init(&body->header, own_mark);
}

static void put_text(struct writer *writer, const char *text, size_t len)
{
	assert(memchr(text, '\r', len) == NULL && memchr(text, '\n', len) == NULL);
	assert(len <= writer->size - writer->len);
	memcpy(writer->out + writer->len, text, len);
	writer->len += len;
}

static void put_newline(struct writer *writer)
{
	assert(writer->size - writer->len >= 2);
	memcpy(writer->out + writer->len, "\r\n", 2);
	writer->len += 2;
}

static void spoil(struct smtp_body *body, enum smtp_body_flaw flaw)
{
	if (body->flaw == BODY_FINE)
		body->flaw = flaw;
}

/* Octets of content, stuffed dots not among them. */
static void count(struct smtp_body *body, size_t n)
{
	body->size += n;
	body->line_len += n;
	if (body->size_limit && body->size > body->size_limit)
		spoil(body, BODY_TOO_LARGE);
}

/* c: as smtp_header_octet() wants it. */
static void watch_header(struct smtp_body *body, char c)
{
	if (body->flaw != BODY_FINE || !smtp_header_is_open(&body->header))
		return;
	switch (smtp_header_octet(&body->header, c)) {
	case HEADER_NOTHING:
		break;
	case HEADER_RECEIVED:
		if (++body->received > body->received_limit)
			spoil(body, BODY_TOO_MANY_HOPS);
		break;
	case HEADER_OWN:
		if (++body->own_received > OWN_RECEIVED_MAX)
			spoil(body, BODY_OWN_LOOP);
		break;
	case HEADER_MESSAGE_ID:
		body->has_message_id = true;
		break;
	}
}

static void end_line(struct smtp_body *body, struct writer *writer, enum state next)
{
	count(body, 2);
	watch_header(body, '\n');
	if (body->flaw == BODY_FINE)
		put_newline(writer);
	body->line_len = 0;
	body->state = next;
}

/* One octet of text: no CR, no LF. */
static void pass_octet(struct smtp_body *body, struct writer *writer, char c)
{
	body->state = IN_LINE;
	if (c == '\0')
		spoil(body, BODY_NUL);
	if (c & 0x80)
		body->has_8bit = true;
	count(body, 1);
	if (body->long_lines == LONG_LINES_REFUSE && body->line_len > LINE_TEXT_MAX)
		spoil(body, BODY_LONG_LINE);
	watch_header(body, c);
	if (body->flaw == BODY_FINE)
		put_text(writer, &c, 1);
}

/* An octet that is no stuffed dot and not the end of something that was held back. */
static void content(struct smtp_body *body, struct writer *writer, char c)
{
	if (c == '\r') {
		body->state = CR;
	} else if (c != '\n') {
		pass_octet(body, writer, c);
	} else if (body->bare_newline == BARE_NEWLINE_NORMALIZE) {
		body->normalized = true;
		end_line(body, writer, LF_START);
	} else {
		spoil(body, BODY_BARE_NEWLINE);
		count(body, 1);
		body->state = IN_LINE;
	}
}

/* The CR that was held back did not end a line; c may begin another try. */
static void bare_cr(struct smtp_body *body, struct writer *writer, char c)
{
	spoil(body, BODY_BARE_NEWLINE);
	count(body, 1);
	content(body, writer, c);
}

/* A dot that is not content: the stuffed one that was held back, or one to stuff with. */
static void put_dot(struct smtp_body *body, struct writer *writer)
{
	if (body->flaw == BODY_FINE)
		put_text(writer, ".", 1);
}

static void step(struct smtp_body *body, struct writer *writer, char c)
{
	switch ((enum state)body->state) {
	case LINE_START:
		if (c == '.')
			body->state = DOT;
		else
			content(body, writer, c);
		break;
	case LF_START:
		if (c == '.')
			put_dot(body, writer);
		content(body, writer, c);
		break;
	case IN_LINE:
		content(body, writer, c);
		break;
	case CR:
		if (c == '\n')
			end_line(body, writer, LINE_START);
		else
			bare_cr(body, writer, c);
		break;
	case DOT:
		if (c == '\r') {
			body->state = DOT_CR;
			break;
		}
		/* With a LF that is mapped, this dot would be the end to the next hop. */
		if (c != '\n')
			put_dot(body, writer);
		content(body, writer, c);
		break;
	case DOT_CR:
		if (c == '\n')
			body->ended = true;
		else
			bare_cr(body, writer, c);
		break;
	}
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* How many octets of text can be taken without meeting a limit; the one that does is for step(). */
static size_t room(const struct smtp_body *body, const struct writer *writer, size_t len)
{
	if (body->flaw != BODY_FINE)
		return len;
	len = least(len, writer->size - writer->len);
	if (body->size_limit && body->size_limit - body->size < len)
		len = (size_t)(body->size_limit - body->size);
	if (body->long_lines == LONG_LINES_REFUSE)
		len = least(len, LINE_TEXT_MAX - body->line_len);
	return len;
}

static size_t until(const char *in, size_t len, char stop)
{
	const char *found = memchr(in, stop, len);

	return found ? (size_t)(found - in) : len;
}

static bool has_8bit(const char *in, size_t len)
{
	unsigned char seen = 0;

	for (size_t i = 0; i < len; i++)
		seen |= (unsigned char)in[i];
	return seen & 0x80;
}

/* Does for a run of ordinary octets what step() would do for each. Returns its length. */
static size_t pass_run(struct smtp_body *body, struct writer *writer, const char *in, size_t len)
{
	if (body->state != IN_LINE ||
	    (body->flaw == BODY_FINE && smtp_header_is_open(&body->header)))
		return 0;
	len = least(room(body, writer, len), RUN_MAX);
	len = until(in, len, '\r');
	len = until(in, len, '\n');
	len = until(in, len, '\0');
	count(body, len);
	body->has_8bit = body->has_8bit || has_8bit(in, len);
	if (body->flaw == BODY_FINE)
		put_text(writer, in, len);
	return len;
}

size_t smtp_body_scan(
    struct smtp_body *body, const char *in, size_t len, size_t *taken, char *out, size_t out_size)
{
	struct writer writer = {.out = out, .size = out_size};
	size_t at = 0;

	assert(out_size >= SMTP_BODY_OUT_MIN);
	while (at < len && !body->ended) {
		if (body->flaw == BODY_FINE && writer.size - writer.len < STEP_MAX)
			break;
		size_t run = pass_run(body, &writer, in + at, len - at);

		at += run;
		if (run == 0)
			step(body, &writer, in[at++]);
	}
	*taken = at;
	return writer.len;
}
