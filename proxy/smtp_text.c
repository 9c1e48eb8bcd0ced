/*
 * smtp_text.c - which octets are text in SMTP: printable ASCII, and UTF-8 where it was agreed.
 *
 * Strict UTF-8 (RFC 3629, RFC 6531 section 3.3): a laxer decoder further on must not find a
 * control, a quote or a dot in what passed here as something else. C1 controls are valid UTF-8 but
 * drive terminals like ESC does. Called for replies, command lines, paths and our Received field.
 */
#include "proxy/smtp_text.h"

#include <stdint.h>

/*
 * Octets of a sequence by its first one; 0: none begins so (continuation, overlong C0 and C1, over
 * U+10FFFF).
 */
static size_t sequence_len(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* The character of a sequence of need octets; 0: broken. */
static uint32_t decode(const unsigned char *text, size_t need)
{
	uint32_t c = text[0] & (0x7fu >> need);

	for (size_t i = 1; i < need; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (text[i] & 0x3f);
	}
	return c;
}

/* Least character for each length: anything below, C1 controls included, is not to be passed. */
size_t smtp_text_char(const char *text, size_t len)
{
	static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000};
	const unsigned char *octets = (const unsigned char *)text;
	size_t need = sequence_len(octets[0]);

	if (need == 1)
		return octets[0] >= 0x20 && octets[0] < 0x7f;
	if (need == 0 || need > len)
		return 0;
	uint32_t c = decode(octets, need);

	if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return need;
}

bool smtp_text_is_printable(const char *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = smtp_text_char(text + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

void smtp_text_filter(char *out, const char *text, size_t len, bool utf8)
{
	size_t i = 0;

	while (i < len) {
		size_t n = smtp_text_char(text + i, len - i);

		if (n == 0 || (n > 1 && !utf8)) {
			out[i++] = '?';
			continue;
		}
		for (size_t end = i + n; i < end; i++)
			out[i] = text[i];
	}
}

size_t smtp_text_cut(const char *text, size_t len, size_t max)
{
	if (len <= max)
		return len;
	/*
	 * No character is longer than 4; what goes on for longer is none and may be cut anywhere.
	 */
	for (size_t back = 0; back < 4 && back < max; back++)
		if (((unsigned char)text[max - back] & 0xc0) != 0x80)
			return max - back;
	return max;
}
