/*
 * test_smtp_body.c - the body scanner: one true end of data, nothing smuggled, nothing changed.
 *
 * Exhaustive over short sequences of what matters (CR, LF, dot, a letter), against a model that
 * looks at the whole message at once and knows no states, with every way to cut them into pieces.
 */
#include "scan_whole.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_MAX = 1 << 16, RECEIVED_LIMIT = 100 };

static const char own_mark[] = "by mail-out.example.org (danelaw)";
static const struct conf_listener strict = {.bare_newline = BARE_NEWLINE_REJECT};
static const struct conf_listener normalizing = {.bare_newline = BARE_NEWLINE_NORMALIZE};
static const struct conf_listener short_lines = {.long_lines = LONG_LINES_REFUSE};

struct result {
	struct smtp_body body;
	size_t taken, len;
	char out[TEXT_MAX];
};

/* Hands over in[0..len) in blocks of at most `block` octets through an output buffer of out_size.
 */
static void feed(struct result *r, const char *in, size_t len, size_t block, size_t out_size)
{
	size_t end = len;

	while (r->taken < end && !r->body.ended) {
		static char out[TEXT_MAX];
		size_t left = end - r->taken;
		size_t taken;
		size_t written = scan_whole(
		    &r->body, in + r->taken, left < block ? left : block, &taken, out, out_size);

		assert_true(written <= out_size);
		assert_true(taken > 0 || written > 0);
		assert_true(r->len + written <= sizeof r->out);
		memcpy(r->out + r->len, out, written);
		r->len += written;
		r->taken += taken;
	}
}

static void begin(struct result *r, const struct conf_listener *listener, uint64_t size_limit)
{
	r->taken = r->len = 0;
	smtp_body_init(&r->body, listener, size_limit, RECEIVED_LIMIT, own_mark);
}

static void scan(struct result *r, const struct conf_listener *listener, const char *in, size_t len)
{
	begin(r, listener, 0);
	feed(r, in, len, len + 1, TEXT_MAX);
}

static struct result result, other;

/* ---- the model ---- */

struct model {
	bool ended, flawed;
	size_t taken;
	size_t len, size;
	char out[64]; /* what must have been written when it ended without flaw */
};

/* Offset of the end of data, CR LF . CR LF, the CR LF of the DATA command counting as the first;
 * -1: none. */
static long find_end(const char *in, size_t len)
{
	char text[64] = "\r\n";

	memcpy(text + 2, in, len);
	for (size_t i = 0; i + 5 <= len + 2; i++)
		if (!memcmp(text + i, "\r\n.\r\n", 5))
			return (long)i;
	return -1;
}

static bool is_bare_cr(const char *in, size_t len, size_t i)
{
	return in[i] == '\r' && i + 1 < len && in[i + 1] != '\n';
}

static bool is_bare_lf(const char *in, size_t i)
{
	return in[i] == '\n' && (i == 0 || in[i - 1] != '\r');
}

/* What the strict mode must do: refuse, or pass literally. */
static struct model strict_model(const char *in, size_t len)
{
	long end = find_end(in, len);
	struct model m = {.ended = end >= 0, .taken = end >= 0 ? (size_t)end + 3 : len};

	for (size_t i = 0; i < m.taken; i++)
		m.flawed = m.flawed || is_bare_cr(in, m.taken, i) || is_bare_lf(in, i);
	if (!m.ended)
		return m;
	m.len = (size_t)end;
	memcpy(m.out, in, m.len);
	/* As a receiver counts it: a dot that begins a line is not content. */
	for (size_t i = 0; i < m.len; i++)
		m.size += !(in[i] == '.' && (i == 0 || in[i - 1] == '\n'));
	return m;
}

/* Normalizing: the client's lines end in CR LF; a LF within one is a line end of the content. */
static struct model normalize_model(const char *in, size_t len)
{
	struct model m = strict_model(in, len);
	bool unstuff = true;
	bool at_start = true;
	char content[64];
	size_t n = 0;
	size_t end = m.len;

	m.flawed = false;
	m.len = m.size = 0;
	for (size_t i = 0; i < m.taken; i++)
		m.flawed = m.flawed || is_bare_cr(in, m.taken, i);
	if (!m.ended)
		return m;
	/* To content, as the client means it ... */
	for (size_t i = 0; i < end; i++) {
		bool stuffed = unstuff && in[i] == '.';

		unstuff = in[i] == '\n' && !is_bare_lf(in, i);
		if (stuffed)
			continue;
		if (is_bare_lf(in, i))
			content[n++] = '\r';
		content[n++] = in[i];
	}
	m.size = n;
	/* ... and with dots stuffed again wherever a dot may be taken for one. */
	for (size_t i = 0; i < n; i++) {
		if (at_start && content[i] == '.')
			m.out[m.len++] = '.';
		m.out[m.len++] = content[i];
		at_start = content[i] == '\n';
	}
	return m;
}

/* A client that does not stuff is not corrected: ". a" stands as it came. Both mean the same to the
 * next hop. */
static size_t unstuff(char *out, const char *in, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		if (in[i] != '.' || !(i == 0 || in[i - 1] == '\n'))
			out[n++] = in[i];
	return n;
}

static void assert_no_bare_newline(const char *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (out[i] == '\r')
			assert_true(i + 1 < len && out[i + 1] == '\n');
		if (out[i] == '\n')
			assert_true(i > 0 && out[i - 1] == '\r');
	}
}

static void compare(const struct result *r, const struct model *m)
{
	char meant[64], understood[64];

	assert_int_equal(r->body.ended, m->ended);
	assert_int_equal(r->taken, m->taken);
	assert_int_equal(r->body.flaw, m->flawed ? BODY_BARE_NEWLINE : BODY_FINE);
	assert_no_bare_newline(r->out, r->len);
	assert_int_equal(find_end(r->out, r->len), -1);
	if (!m->ended || m->flawed)
		return;
	assert_int_equal(r->body.size, m->size);
	assert_true(r->len == 0 || !memcmp(r->out + r->len - 2, "\r\n", 2));
	/* With the final dot the next hop finds the end exactly there, and before it what was
	 * meant. */
	size_t meant_len = unstuff(meant, m->out, m->len);
	size_t understood_len = unstuff(understood, r->out, r->len);

	assert_int_equal(understood_len, meant_len);
	assert_memory_equal(understood, meant, meant_len);
}

/* ---- exhaustive ---- */

static void check(const struct model *m, bool literal)
{
	compare(&result, m);
	if (literal && m->ended && !m->flawed) {
		assert_int_equal(result.len, m->len);
		assert_memory_equal(result.out, m->out, m->len);
	}
}

/* Cut at every set of `places` from `first` on, which are those of the sequence, and at each other
 * one. */
static void try_all_splits(const struct conf_listener *listener, const char *in, size_t len,
    size_t first, size_t places, const struct model *m, bool literal)
{
	for (unsigned long cuts = 0; cuts < 1ul << places; cuts++) {
		begin(&result, listener, 0);
		for (size_t i = 0; i < places; i++)
			if (cuts >> i & 1)
				feed(&result, in, first + i, TEXT_MAX, SMTP_BODY_ROOM_MIN);
		feed(&result, in, len, TEXT_MAX, TEXT_MAX);
		check(m, literal);
	}
	for (size_t split = 0; split <= len; split++) {
		begin(&result, listener, 0);
		feed(&result, in, split, TEXT_MAX, SMTP_BODY_ROOM_MIN);
		feed(&result, in, len, TEXT_MAX, TEXT_MAX);
		check(m, literal);
	}
}

/* Every sequence of up to `most` octets over the alphabet, framed by prefix and suffix. */
static void for_all(size_t most, const char *prefix, const char *suffix)
{
	static const char alphabet[] = {'\r', '\n', '.', 'a'};
	size_t before = strlen(prefix), after = strlen(suffix);

	for (size_t n = 0; n <= most; n++) {
		for (unsigned long word = 0; word < 1ul << (2 * n); word++) {
			char in[48];

			memcpy(in, prefix, before);
			for (size_t i = 0; i < n; i++)
				in[before + i] = alphabet[word >> (2 * i) & 3];
			memcpy(in + before + n, suffix, after);
			size_t len = before + n + after;
			struct model reject = strict_model(in, len);
			struct model map = normalize_model(in, len);

			try_all_splits(&strict, in, len, before + 1, n, &reject, true);
			try_all_splits(&normalizing, in, len, before + 1, n, &map, false);
		}
	}
}

static void test_sequences(void **state)
{
	(void)state;
	for_all(6, "", "");
}

/* The same, in a message that does end: what is then passed on is compared octet by octet. */
static void test_ended_sequences(void **state)
{
	(void)state;
	for_all(6, "", "\r\n.\r\n");
	for_all(5, "a\r\n", "a\r\n.\r\nQUIT\r\n");
}

/* ---- smuggling ---- */

/* What a sender of the strange end would smuggle behind it must stay content, and refused content.
 */
static void test_smuggling(void **state)
{
	static const struct {
		const char *end;
		size_t len;
		enum smtp_body_flaw flaw;
	} rows[] = {
	    {"\n.\n", 3, BODY_BARE_NEWLINE},
	    {"\n.\r\n", 4, BODY_BARE_NEWLINE},
	    {"\r.\r", 3, BODY_BARE_NEWLINE},
	    {"\r\n.\n", 4, BODY_BARE_NEWLINE},
	    {"\r\n.\r", 4, BODY_BARE_NEWLINE},
	    {"\n.\r", 3, BODY_BARE_NEWLINE},
	    {"\r.\r\n", 4, BODY_BARE_NEWLINE},
	    {"\r\r\n.\r\r\n", 7, BODY_BARE_NEWLINE},
	    {"\r\n\0.\r\n", 6, BODY_NUL},
	    {"\r\n.\0\r\n", 6, BODY_NUL},
	    {"\r\0\n.\r\n", 6, BODY_BARE_NEWLINE},
	    {"\r\n\r.\r\n", 6, BODY_BARE_NEWLINE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char in[128] = "Subject: x\r\n\r\ntext";
		size_t len = strlen(in);

		memcpy(in + len, rows[i].end, rows[i].len);
		len += rows[i].len;
		memcpy(in + len, "MAIL FROM:<evil@example>\r\n", 26);
		len += 26;
		for (size_t block = 1; block <= len; block++) {
			begin(&result, &strict, 0);
			feed(&result, in, len, block, TEXT_MAX);
			assert_false(result.body.ended);
			assert_int_equal(result.body.flaw, rows[i].flaw);
			assert_no_bare_newline(result.out, result.len);
			assert_null(memmem(result.out, result.len, "MAIL", 4));
			/* The true end is still found, and a command after it is left for the
			 * server. */
			size_t before = result.taken;
			char rest[] = "\r\n.\r\nQUIT\r\n";
			size_t taken;
			char out[SMTP_BODY_ROOM_MIN];

			assert_int_equal(before, len);
			assert_int_equal(
			    scan_whole(&result.body, rest, strlen(rest), &taken, out, sizeof out),
			    0);
			assert_true(result.body.ended);
			assert_int_equal(taken, 5);
		}
	}
}

static void test_normalize(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"a\nb\r\n.\r\n", "a\r\nb\r\n"},
	    {"a\n.\r\nb\r\n.\r\n", "a\r\n..\r\nb\r\n"},
	    {"a\n.\nb\r\n.\r\n", "a\r\n..\r\nb\r\n"},
	    {"a\n..b\r\n.\r\n", "a\r\n...b\r\n"},
	    {"a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n"},
	    {"\n\n\r\n.\r\n", "\r\n\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		scan(&result, &normalizing, rows[i].in, strlen(rows[i].in));
		assert_true(result.body.ended && result.body.normalized);
		assert_int_equal(result.body.flaw, BODY_FINE);
		assert_int_equal(result.len, strlen(rows[i].out));
		assert_memory_equal(result.out, rows[i].out, result.len);
	}
	scan(&result, &normalizing, "a\rb\r\n.\r\n", 8);
	assert_int_equal(result.body.flaw, BODY_BARE_NEWLINE);
	scan(&result, &normalizing, "a\r\n.\r\n", 6);
	assert_false(result.body.normalized);
}

static void test_dots_pass(void **state)
{
	static const char in[] = "..\r\n...\r\n.text\r\n..text\r\na.\r\n.a.\r\n.\r\n";
	size_t len = sizeof in - 1;

	(void)state;
	for (size_t block = 1; block <= len; block++)
		for (size_t room = SMTP_BODY_ROOM_MIN; room < 20; room++) {
			begin(&result, &strict, 0);
			feed(&result, in, len, block, room);
			assert_true(result.body.ended && result.body.flaw == BODY_FINE);
			assert_int_equal(result.len, len - 3);
			assert_memory_equal(result.out, in, len - 3);
			/* ".", "..", "text", ".text", "a.", "a." and six line ends */
			assert_int_equal(result.body.size, 1 + 2 + 4 + 5 + 2 + 2 + 12);
		}
}

static void test_held_back(void **state)
{
	static const char in[] = "a\r\n.\r\n";
	static const size_t written[] = {1, 1, 3, 3, 3, 3};

	(void)state;
	for (size_t n = 1; n < sizeof in; n++) {
		scan(&result, &strict, in, n);
		assert_int_equal(result.len, written[n - 1]);
		assert_int_equal(result.body.ended, n == 6);
	}
	scan(&result, &strict, ".\r\n", 3);
	assert_true(result.body.ended && result.len == 0 && result.body.size == 0);
}

/* ---- limits ---- */

static size_t make_line(char *in, size_t n, const char *tail)
{
	memset(in, 'x', n);
	memcpy(in + n, tail, strlen(tail));
	return n + strlen(tail);
}

static void test_long_lines(void **state)
{
	static char in[20000];

	(void)state;
	for (size_t n = 990; n < 1010; n++) {
		for (int stuffed = 0; stuffed <= 1; stuffed++) {
			memcpy(in, "\r\n..", 4);
			size_t at = stuffed ? 3 : 2;
			size_t len = at + make_line(in + at, n, "\r\n.\r\n");

			if (stuffed)
				in[at] = '.';
			for (size_t block = 1; block < 2000; block += 333) {
				begin(&result, &short_lines, 0);
				feed(&result, in, len, block, SMTP_BODY_ROOM_MIN);
				assert_true(result.body.ended);
				assert_int_equal(
				    result.body.flaw, n + 2 > 1000 ? BODY_LONG_LINE : BODY_FINE);
			}
		}
	}
	size_t len = make_line(in, 19000, "\r\n.\r\n");

	scan(&result, &strict, in, len);
	assert_int_equal(result.body.flaw, BODY_FINE);
	assert_int_equal(result.len, len - 3);
	assert_memory_equal(result.out, in, len - 3);
}

static void test_size(void **state)
{
	static const char in[] = "a: b\r\n\r\n..dot\r\ntext that is longer\r\n.\r\n";
	size_t size = sizeof in - 1 - 3 - 1;

	(void)state;
	for (size_t limit = 1; limit < 60; limit++) {
		for (size_t block = 1; block < sizeof in; block++) {
			begin(&result, &strict, limit);
			feed(&result, in, sizeof in - 1, block, TEXT_MAX);
			assert_true(result.body.ended);
			assert_int_equal(
			    result.body.flaw, size > limit ? BODY_TOO_LARGE : BODY_FINE);
			assert_int_equal(result.body.size, size);
			assert_true(result.len <= limit + 1);
		}
	}
}

static void test_message_id(void **state)
{
	static const struct {
		const char *text;
		bool has_one;
	} rows[] = {
	    {"Message-ID: <a@b>\r\n\r\nx\r\n.\r\n", true},
	    {"a: b\r\nmESSAGE-iD : <a@b>\r\n\r\nx\r\n.\r\n", true},
	    {"Received: x\r\n\tby y\r\nMessage-Id:<a@b>\r\n\r\n.\r\n", true},
	    {"a: b\r\n\r\nMessage-ID: <a@b>\r\n.\r\n", false},
	    {"a: b\r\n Message-ID: <a@b>\r\n\r\n.\r\n", false},
	    {"Message-IDs: x\r\nMessage-I: x\r\nMessage_ID: x\r\n\r\n.\r\n", false},
	    {"Resent-Message-ID: <a@b>\r\nNo-Message-ID: x\r\n\r\n.\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		print_message("%s\n", rows[i].text);
		scan(&result, &strict, rows[i].text, strlen(rows[i].text));
		assert_int_equal(result.body.has_message_id, rows[i].has_one);
	}
}

static void test_octets(void **state)
{
	(void)state;
	scan(&result, &strict, "a: b\r\n\r\nplain\r\n.\r\n", 18);
	assert_false(result.body.has_8bit);
	scan(&result, &strict,
	    "a: b\r\n\r\ngr\xfc\xdf"
	    "e\r\n.\r\n",
	    18);
	assert_true(result.body.has_8bit && result.body.flaw == BODY_FINE && result.len == 15);
	scan(&result, &strict, "a: \xc3\xbc\r\n\r\nx\r\n.\r\n", 15);
	assert_true(result.body.has_8bit && result.body.flaw == BODY_FINE);
	scan(&result, &strict, "a: b\r\n\r\nnu\0l\r\n.\r\n", 17);
	assert_true(result.body.ended && result.body.flaw == BODY_NUL && result.len == 10);
}

/* Of two flaws the first counts, however the input is cut. */
static void test_first_flaw(void **state)
{
	static char in[3000];
	size_t len = make_line(in, 1200, "\nx\r\n.\r\n");

	(void)state;
	in[1100] = '\0';
	for (uint64_t limit = 900; limit < 1300; limit += 25) {
		enum smtp_body_flaw flaw = limit < 998 ? BODY_TOO_LARGE : BODY_LONG_LINE;

		begin(&result, &short_lines, limit);
		feed(&result, in, len, TEXT_MAX, TEXT_MAX);
		begin(&other, &short_lines, limit);
		feed(&other, in, len, 7, SMTP_BODY_ROOM_MIN);
		assert_int_equal(result.body.flaw, flaw);
		assert_int_equal(other.body.flaw, flaw);
		assert_int_equal(result.len, other.len);
	}
}

/* ---- loops ---- */

static void test_received(void **state)
{
	static const struct {
		const char *header;
		unsigned received, own;
	} rows[] = {
	    {"Received: from a by b\r\n\r\nReceived: in the body\r\n", 1, 0},
	    {"received : x\r\nRECEIVED\t:y\r\nReceived:\r\n\r\n", 3, 0},
	    {"Received-SPF: x\r\nX-Received: x\r\nReceive: x\r\n Received: x\r\n\r\n", 0, 0},
	    {"Received: x\r\nno header\r\nReceived: x\r\n", 1, 0},
	    {"From someone Mon\r\nReceived: x\r\n", 0, 0},
	    {" folded first line\r\nReceived: x\r\n\r\n", 1, 0},
	    {": no name\r\nReceived: x\r\n", 0, 0},
	    {"Received x: y\r\nReceived: z\r\n", 0, 0},
	    {"..Received: x\r\nReceived: y\r\n\r\n", 1, 0},
	    {"Received: from a ([192.0.2.1])\r\n\tby mail-out.example.org (danelaw) with ESMTP id "
	     "1;\r\n\tdate\r\n\r\n",
		1, 1},
	    {"Received: from a by\r\n mail-out.example.org\r\n \t (danelaw) by "
	     "mail-out.example.org (danelaw)\r\n\r\n",
		1, 1},
	    {"Received:by mail-out.example.org (danelaw)\r\n\r\n", 1, 1},
	    {"Received: by by by mail-out.example.org (danelaw)\r\n\r\n", 1, 1},
	    {"Received: from x by mail-out.example.org (other)\r\n\r\n", 1, 0},
	    {"Received: nearby mail-out.example.org (danelaw)\r\n\r\n", 1, 0},
	    {"Received: from x by\r\nSubject: mail-out.example.org (danelaw)\r\n\r\n", 1, 0},
	    {"Subject: by mail-out.example.org (danelaw)\r\n\r\n", 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t block = 1; block < 20; block++) {
			begin(&result, &strict, 0);
			feed(&result, rows[i].header, strlen(rows[i].header), block,
			    SMTP_BODY_ROOM_MIN);
			assert_int_equal(result.body.flaw, BODY_FINE);
			assert_int_equal(result.body.received, rows[i].received);
			assert_int_equal(result.body.own_received, rows[i].own);
		}
}

static size_t repeat(char *out, const char *field, size_t times)
{
	size_t len = 0;

	for (size_t i = 0; i < times; i++) {
		memcpy(out + len, field, strlen(field));
		len += strlen(field);
	}
	return len;
}

static void test_hops(void **state)
{
	static char in[TEXT_MAX];

	(void)state;
	scan(&result, &strict, in, repeat(in, "Received: x\r\n", 100));
	assert_int_equal(result.body.flaw, BODY_FINE);
	scan(&result, &strict, in, repeat(in, "Received: x\r\n", 101));
	assert_int_equal(result.body.flaw, BODY_TOO_MANY_HOPS);
	assert_int_equal(result.len, 100 * 13 + 8);
	scan(&result, &strict, in,
	    repeat(in, "Received: x\r\n by mail-out.example.org (danelaw)\r\n", 3));
	assert_int_equal(result.body.flaw, BODY_FINE);
	scan(&result, &strict, in,
	    repeat(in, "Received: x\r\n by mail-out.example.org (danelaw)\r\n", 4));
	assert_int_equal(result.body.flaw, BODY_OWN_LOOP);
	/* Without a mark nothing is ours. */
	smtp_body_init(&result.body, &strict, 0, RECEIVED_LIMIT, "");
	result.taken = result.len = 0;
	feed(&result, in, repeat(in, "Received: x\r\n by  (danelaw)\r\n", 9), TEXT_MAX, TEXT_MAX);
	assert_int_equal(result.body.flaw, BODY_FINE);
}

/* A mark of the shape that a simple search would miss after a false start. */
static void test_mark_search(void **state)
{
	static const char in[] = "Received: by by by.by (danelaw)\r\n\r\n";

	(void)state;
	smtp_body_init(&result.body, &strict, 0, RECEIVED_LIMIT, "by by.by (danelaw)");
	result.taken = result.len = 0;
	feed(&result, in, sizeof in - 1, TEXT_MAX, TEXT_MAX);
	assert_int_equal(result.body.own_received, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    {"R-SMTP-21 -22 -23 -24 every sequence of 6, every split", test_sequences, NULL, NULL,
		NULL},
	    {"R-SMTP-22 -25 -26 every sequence of 6 in a message that ends", test_ended_sequences,
		NULL, NULL, NULL},
	    {"P-01 P-02 R-SMTP-23 false ends of data", test_smuggling, NULL, NULL, NULL},
	    {"R-SMTP-25 bare LF normalized", test_normalize, NULL, NULL, NULL},
	    {"R-SMTP-22 dots pass as they came", test_dots_pass, NULL, NULL, NULL},
	    {"R-SMTP-75 the end is held back", test_held_back, NULL, NULL, NULL},
	    {"R-SMTP-15 P-11 lines of 1000 octets", test_long_lines, NULL, NULL, NULL},
	    {"R-SMTP-16 size limit", test_size, NULL, NULL, NULL},
	    {"a Message-ID field is found", test_message_id, NULL, NULL, NULL},
	    {"R-SMTP-41 P-10 8-bit and NUL octets", test_octets, NULL, NULL, NULL},
	    {"R-SMTP-23 the first flaw counts", test_first_flaw, NULL, NULL, NULL},
	    {"R-SMTP-47 P-16 Received fields", test_received, NULL, NULL, NULL},
	    {"R-SMTP-47 too many hops, own loop", test_hops, NULL, NULL, NULL},
	    {"R-SMTP-47 search for our own mark", test_mark_search, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
