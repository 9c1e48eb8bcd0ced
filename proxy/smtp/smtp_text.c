/*
 * smtp_text.c - which octets are text in SMTP: printable ASCII, and UTF-8 where it was agreed.
 *
 * Strict UTF-8 (RFC 3629, RFC 6531 section 3.3). C1 controls are valid UTF-8 but drive terminals
 * like ESC does. Called for replies, command lines, paths and our Received field.
 */
#include "proxy/smtp/smtp_text.h"

#include "conf/utf8.h"

#include <string.h>

/* Octets of the printable character at the front; 0: none. C1 controls are not to be passed any
 * more than C0. */
static size_t printable(const char *text, size_t len)
{
	uint32_t c;
	size_t octets = utf8_decode(text, len, &c);

	if (octets == 1)
		return c >= 0x20 && c < 0x7f;
	return octets && c >= 0xa0 ? octets : 0;
}

/* Nearly all text is this. */
static size_t plain_ascii(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && text[n] >= 0x20 && text[n] < 0x7f)
		n++;
	return n;
}

bool smtp_text_is_printable(const char *text, size_t len)
{
	for (size_t i = plain_ascii(text, len), n; i < len; i += n) {
		n = printable(text + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

void smtp_text_filter(char *out, const char *text, size_t len, bool utf8)
{
	size_t i = plain_ascii(text, len);

	memmove(out, text, i);
	while (i < len) {
		size_t n = printable(text + i, len - i);

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
