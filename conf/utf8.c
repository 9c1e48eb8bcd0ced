/*
 * utf8.c - the one UTF-8 decoder (RFC 3629). Called by the log's escaping and by SMTP's texts.
 */
#include "conf/utf8.h"

#include <stdbool.h>

/* By the first octet; 0: none begins so (continuation, overlong C0 and C1, over U+10FFFF). */
static size_t sequence_length(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

size_t utf8_decode(const char *text, size_t len, uint32_t *character)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *octets = (const unsigned char *)text;
	size_t need = sequence_length(octets[0]);
	uint32_t c;

	if (need == 0 || need > len)
		return 0;
	c = need == 1 ? octets[0] : octets[0] & (0x7fu >> need);
	for (size_t i = 1; i < need; i++) {
		if ((octets[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (octets[i] & 0x3f);
	}
	if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*character = c;
	return need;
}
