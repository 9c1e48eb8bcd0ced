/*
 * fuzz_body.c - the body scanner: nothing that it passes on can be taken for another end or another
 * line.
 *
 * The first octet chooses the mode, the second the sizes of the blocks; the rest is what the client
 * sends. One scan in one block and one in small blocks must agree in everything.
 */
#include "tests/unit/scan_whole.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct smtp_body body;
	size_t taken, len;
	char *out;
};

/* Stuffing a dot after each bare LF is the most that a message can grow by, CRs apart. */
static struct run run_in_blocks(const struct conf_listener *listener, uint64_t limit,
    const char *in, size_t len, size_t block, size_t room)
{
	struct run run = {.out = malloc(3 * len + room)};

	assert(run.out);
	smtp_body_init(&run.body, listener, limit, 5, "by a.example (danelaw)");
	while (run.taken < len && !run.body.ended) {
		size_t left = len - run.taken;
		size_t taken;
		size_t written = scan_whole(&run.body, in + run.taken, left < block ? left : block,
		    &taken, run.out + run.len, room);

		assert(written <= room && (taken > 0 || written > 0));
		run.len += written;
		run.taken += taken;
		assert(run.len <= 3 * len);
	}
	return run;
}

static void check_pairs(const char *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		assert(out[i] != '\n' || (i > 0 && out[i - 1] == '\r'));
		assert(out[i] != '\r' || (i + 1 < len && out[i + 1] == '\n'));
	}
}

static void check_end(const struct run *run, const char *in)
{
	assert(!memmem(run->out, run->len, "\r\n.\r\n", 5));
	assert(run->len < 3 || memcmp(run->out, ".\r\n", 3) != 0);
	if (!run->body.ended)
		return;
	assert(run->taken >= 3 && !memcmp(in + run->taken - 3, ".\r\n", 3));
	assert(run->taken == 3 || !memcmp(in + run->taken - 5, "\r\n", 2));
	if (run->body.flaw == BODY_FINE)
		assert(run->len == 0 || !memcmp(run->out + run->len - 2, "\r\n", 2));
	/* What needs no mapping passes as it came. */
	if (run->body.flaw == BODY_FINE && !run->body.normalized)
		assert(run->len == run->taken - 3 && !memcmp(run->out, in, run->len));
}

static void check_same(const struct run *a, const struct run *b)
{
	assert(a->taken == b->taken && a->len == b->len && !memcmp(a->out, b->out, a->len));
	assert(a->body.flaw == b->body.flaw && a->body.ended == b->body.ended);
	assert(a->body.size == b->body.size && a->body.has_8bit == b->body.has_8bit);
	assert(
	    a->body.received == b->body.received && a->body.own_received == b->body.own_received);
	assert(a->body.normalized == b->body.normalized);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct conf_listener listener = {
	    .bare_newline = data[0] & 1 ? BARE_NEWLINE_NORMALIZE : BARE_NEWLINE_REJECT,
	    .long_lines = data[0] & 2 ? LONG_LINES_REFUSE : LONG_LINES_PASS,
	};
	uint64_t limit = data[0] & 4 ? 200 : 0;
	const char *in = (const char *)data + 2;
	size_t len = size - 2;
	struct run whole =
	    run_in_blocks(&listener, limit, in, len, len, 3 * len + SMTP_BODY_ROOM_MIN);
	struct run cut = run_in_blocks(
	    &listener, limit, in, len, 1 + (data[1] & 15), SMTP_BODY_ROOM_MIN + (data[1] >> 4));

	check_pairs(whole.out, whole.len);
	check_end(&whole, in);
	check_same(&whole, &cut);
	free(whole.out);
	free(cut.out);
	return 0;
}
