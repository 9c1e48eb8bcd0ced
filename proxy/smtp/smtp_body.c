/*
 * smtp_body.c - the message on its way: end of data, CR/LF discipline, limits.
 *
 * RFC 5321 sections 2.3.8 and 4.5.2, a small state machine; ordinary lines take a shortcut past it.
 * There CR and LF leave only as the pair that body_put_newline() writes, text only by
 * body_put_text(), which ends the process rather than pass either of them (R-SMTP-24). The
 * shortcut, pass_lines(), passes whole blocks in which each CR and each LF was seen to be half of
 * such a pair. What is found never depends on how the input was cut into blocks. Called by the
 * transaction for what the client sends after 354.
 */
#include "proxy/smtp/smtp_body.h"

#include "proxy/smtp/body_writer.h"

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
	BLOCK = 32,   /* octets that are looked at together ... */
	LARGE = 256   /* ... and where there are many */
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

static void end_line(struct smtp_body *body, struct body_writer *writer, enum state next)
{
	count(body, 2);
	watch_header(body, '\n');
	if (body->flaw == BODY_FINE)
		body_put_newline(writer);
	body->line_len = 0;
	body->state = next;
}

/* One octet of text: no CR, no LF. */
static void pass_octet(struct smtp_body *body, struct body_writer *writer, char c)
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
		body_put_text(writer, c);
}

/* An octet that is no stuffed dot and not the end of something that was held back. */
static void content(struct smtp_body *body, struct body_writer *writer, char c)
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
static void bare_cr(struct smtp_body *body, struct body_writer *writer, char c)
{
	spoil(body, BODY_BARE_NEWLINE);
	count(body, 1);
	content(body, writer, c);
}

/* A dot that is not content: the stuffed one that was held back, or one to stuff with. */
static void put_dot(struct smtp_body *body, struct body_writer *writer)
{
	if (body->flaw == BODY_FINE)
		body_put_text(writer, '.');
}

static void step(struct smtp_body *body, struct body_writer *writer, char c)
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

/* How many octets can be taken without meeting a limit, `held` ones not counted yet before them;
 * the one that does is for step(). */
static size_t room(
    const struct smtp_body *body, const struct body_writer *writer, size_t len, size_t held)
{
	size_t most = body_room(writer);

	if (body->size_limit && body->size_limit - body->size < most)
		most = (size_t)(body->size_limit - body->size);
	return least(len, most > held ? most - held : 0);
}

/* The same once more for processors with wider vectors; which one is taken when the program
 * starts. */
#if defined(__x86_64__)
#define FOR_WIDE_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define FOR_WIDE_VECTORS
#endif

/*
 * Whether a block is nothing but ordinary text and ends of lines: each LF has its CR before it and
 * each CR its LF behind it, no line begins with a dot, no octet is NUL. in[-1] is the octet before
 * it; a CR at its end is the next block's to judge. A loop without branches, so that compilers
 * make vector instructions of it.
 */
static inline __attribute__((always_inline)) bool is_ordinary(
    const unsigned char *in, int size, unsigned char *seen)
{
	unsigned char odd = 0, all = 0;

	for (int i = 0; i < size; i++) {
		odd |= (in[i] == '\n') ^ (in[i - 1] == '\r');
		odd |= (in[i] == '.') & (in[i - 1] == '\n');
		odd |= in[i] == '\0';
		all |= in[i];
	}
	*seen |= odd ? 0 : all;
	return !odd;
}

/* How many octets of ordinary blocks stand at in, at most len. */
FOR_WIDE_VECTORS
static size_t ordinary(const unsigned char *in, size_t len, bool *has_8bit)
{
	unsigned char seen = 0;
	size_t n = 0;

	while (n + LARGE <= len && is_ordinary(in + n, LARGE, &seen))
		n += LARGE;
	while (n + BLOCK <= len && is_ordinary(in + n, BLOCK, &seen))
		n += BLOCK;
	*has_8bit |= (seen & 0x80) != 0;
	return n;
}

/* A line's state follows from the octet before; one with a limit, or a header's, is for step(). */
static bool may_pass_lines(const struct smtp_body *body)
{
	return (body->state == IN_LINE || body->state == LINE_START || body->state == CR) &&
	       body->flaw == BODY_FINE && !smtp_header_is_open(&body->header) &&
	       body->long_lines != LONG_LINES_REFUSE;
}

/*
 * Does for whole blocks what step() would do for each octet; in[-1] must be there. Returns how many
 * octets were taken. A CR is held back at the end, or was before the beginning.
 */
static size_t pass_lines(
    struct smtp_body *body, struct body_writer *writer, const char *in, size_t len)
{
	bool held = body->state == CR;
	size_t n, written;

	n = ordinary((const unsigned char *)in, room(body, writer, len, held), &body->has_8bit);
	if (!n)
		return 0;
	if (held) {
		writer->seen = in;
		body_put(writer, "\r", 1);
	}
	body->state = in[n - 1] == '\r' ? CR : in[n - 1] == '\n' ? LINE_START : IN_LINE;
	written = n - (body->state == CR);
	writer->seen = in + written;
	body_put(writer, in, written);
	body->size += held + written;
	return n;
}

/* A header line that matters is for step(). */
static bool may_pass_text(const struct smtp_body *body)
{
	return body->state == IN_LINE &&
	       (body->flaw != BODY_FINE || !smtp_header_is_open(&body->header) ||
		   smtp_header_skips_line(&body->header));
}

/* The same for text within a line, where blocks are not taken or there is none. */
static size_t pass_text(
    struct smtp_body *body, struct body_writer *writer, const char *in, size_t len)
{
	size_t n = 0;

	if (body->flaw == BODY_FINE)
		len = room(body, writer, len, 0);
	if (body->flaw == BODY_FINE && body->long_lines == LONG_LINES_REFUSE)
		len = least(len, LINE_TEXT_MAX - body->line_len);
	for (; n < len && in[n] != '\r' && in[n] != '\n' && in[n] != '\0'; n++)
		body->has_8bit |= (in[n] & 0x80) != 0;
	count(body, n);
	writer->seen = in + n;
	if (body->flaw == BODY_FINE)
		body_put(writer, in, n);
	return n;
}

/* How many octets of text, all in one line, come before a CR LF; 0, if that is not all in sight, or
 * there is a NUL, or a CR that is none of a pair. */
static size_t text_of_line(const char *in, size_t len, bool *has_8bit)
{
	const char *end = memchr(in, '\n', len);
	unsigned char all = 0;
	size_t n;

	if (!end || end - in < 2 || end[-1] != '\r')
		return 0;
	n = (size_t)(end - in) - 1;
	if (memchr(in, '\r', n) || memchr(in, '\0', n))
		return 0;
	for (size_t i = 0; i < n; i++)
		all |= (unsigned char)in[i];
	*has_8bit |= (all & 0x80) != 0;
	return n;
}

/* Octets of a line that the header looks at; the rest of it does not matter. */
static size_t watch_line(struct smtp_body *body, const char *in, size_t len)
{
	size_t n = 0;

	while (n < len && body->flaw == BODY_FINE && !smtp_header_skips_line(&body->header)) {
		watch_header(body, in[n++]);
		n += smtp_header_skips_name(&body->header, in + n, len - n);
	}
	return n;
}

/* Does for a line of the header what step() would do for each octet. Where it is flawed what comes
 * before the octet that showed it is passed on. */
static size_t pass_header_line(
    struct smtp_body *body, struct body_writer *writer, const char *in, size_t len)
{
	size_t n, seen;

	n = text_of_line(in, room(body, writer, len, 0), &body->has_8bit);
	if (!n)
		return 0;
	seen = watch_line(body, in, n);
	if (body->flaw == BODY_FINE)
		seen = n;
	count(body, seen);
	body->state = IN_LINE;
	writer->seen = in + n;
	body_put(writer, in, body->flaw == BODY_FINE ? n : seen - 1);
	if (body->flaw != BODY_FINE)
		return seen;
	writer->seen += 2;
	end_line(body, writer, LINE_START);
	return n + 2;
}

static bool may_pass_header_line(const struct smtp_body *body, char first)
{
	return body->state == LINE_START && first != '.' && body->flaw == BODY_FINE &&
	       smtp_header_is_open(&body->header) && body->long_lines != LONG_LINES_REFUSE;
}

/* A shortcut, if there is one; 0: none. */
static size_t pass(
    struct smtp_body *body, struct body_writer *writer, const char *in, size_t at, size_t len)
{
	size_t n = 0;

	if (may_pass_header_line(body, in[at]))
		n = pass_header_line(body, writer, in + at, len - at);
	else if (at > 0 && may_pass_lines(body))
		n = pass_lines(body, writer, in + at, len - at);
	return n == 0 && may_pass_text(body) ? pass_text(body, writer, in + at, len - at) : n;
}

/* In the spare place there is no room for much, and what follows can leave from the input. */
static bool must_begin_anew(
    const struct smtp_body *body, const struct body_writer *writer, size_t len)
{
	return writer->spare_len && (body_room(writer) < STEP_MAX || len >= BLOCK) &&
	       body->flaw == BODY_FINE;
}

static bool is_full(const struct smtp_body *body, const struct body_writer *writer)
{
	return body->flaw == BODY_FINE && body_room(writer) < STEP_MAX;
}

struct smtp_body_passed smtp_body_scan(
    struct smtp_body *body, const char *in, size_t len, size_t room, char *spare, size_t spare_size)
{
	struct body_writer writer = {.in = in,
	    .seen = in,
	    .in_place = in,
	    .spare = spare,
	    .spare_size = spare_size,
	    .room = room};
	size_t at = 0;

	assert(room >= SMTP_BODY_ROOM_MIN && spare_size >= SMTP_BODY_ROOM_MIN);
	while (at < len && !body->ended && !is_full(body, &writer) &&
	       !must_begin_anew(body, &writer, len - at)) {
		size_t run = pass(body, &writer, in, at, len);

		at += run;
		if (run == 0) {
			writer.seen = in + at + 1;
			step(body, &writer, in[at++]);
		}
	}
	return (struct smtp_body_passed){
	    .taken = at,
	    .in_place = writer.in_place,
	    .in_place_len = writer.in_place_len,
	    .spare_len = writer.spare_len,
	};
}
