/*
 * fuzz_text.c - words of strangers on their way into logs, JSON, terminals and replies (R-SMTP-20):
 * whatever they are, what comes out is printable, whole, and within its room.
 */
#include "conf/escape.h"
#include "proxy/smtp/smtp_text.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Quotes only behind a backslash, and every backslash has its second octet. */
static void check_quoting(const char *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		assert(out[i] != '"');
		if (out[i] == '\\')
			assert(++i < len);
	}
}

static void check_escaped(const char *prefix, const char *text, size_t len, size_t room)
{
	char *out = malloc(room);
	bool is_whole = false;
	size_t used;

	assert(out);
	used = escape(out, room, prefix, text, len, &is_whole);
	assert(used < room && out[used] == '\0' && strlen(out) == used);
	assert(smtp_text_is_printable(out, used));
	check_quoting(out, used);
	assert(is_whole || room <= len * (strlen(prefix) + 2) + 1);
	free(out);
}

static void check_filtered(const char *text, size_t len, bool utf8)
{
	char *out = malloc(len + 1);

	assert(out);
	smtp_text_filter(out, text, len, utf8);
	assert(smtp_text_is_printable(out, len));
	for (size_t i = 0; i < len && !utf8; i++)
		assert(!(out[i] & 0x80));
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	size_t cut;

	if (size < 1)
		return 0;
	size--;
	check_escaped(ESCAPE_TEXT, text, size, 1 + data[0]);
	check_escaped(ESCAPE_JSON, text, size, 1 + data[0]);
	check_escaped(ESCAPE_TEXT, text, size, 5 * size + 1);
	check_filtered(text, size, true);
	check_filtered(text, size, false);
	cut = smtp_text_cut(text, size, data[0]);
	assert(cut <= size && cut <= data[0] && (cut > 0 || !size || !data[0]));
	/* Less room than a character may have is no room. */
	assert(data[0] < 4 || !smtp_text_is_printable(text, size) ||
	       smtp_text_is_printable(text, cut));
	return 0;
}
