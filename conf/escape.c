/*
 * escape.c - text from strangers, made safe for terminals, log parsers and JSON (R-SMTP-20).
 *
 * Strict UTF-8 (RFC 3629): an overlong or broken sequence is escaped octet by octet, never passed
 * on for a laxer decoder to make a control of it. Also escaped: what is valid but not seen, above
 * all the bidirectional overrides that make a line read as what it is not. Called by the log.
 */
#include "conf/escape.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static size_t sequence_length(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Length of the valid sequence at text, its character in *c; 0: invalid. */
static size_t utf8_decode(const unsigned char *text, size_t len, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t need = sequence_length(text[0]);

	if (need == 0 || need > len)
		return 0;
	*c = need == 1 ? text[0] : text[0] & (0x7fu >> need);
	for (size_t i = 1; i < need; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (text[i] & 0x3f);
	}
	bool is_surrogate = *c >= 0xd800 && *c <= 0xdfff;

	return *c < least[need] || *c > 0x10ffff || is_surrogate ? 0 : need;
}

/* Controls, line and paragraph separators, zero-width and bidirectional marks, tags. */
static bool is_hidden(uint32_t c)
{
	static const uint32_t ranges[][2] = {
	    {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x061c, 0x061c},
	    {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},   {0xfeff, 0xfeff},
	    {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe0fff},
	};

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return false;
}

/* One character (or invalid octet) as it is written; unit has room for four escaped octets. */
static void write_unit(char *unit, size_t size, const char *prefix, const unsigned char *octets,
		       size_t count, bool hidden)
{
	size_t used = 0;

	if (!hidden) {
		bool marked = octets[0] == '\\' || octets[0] == '"';

		snprintf(unit, size, "%s%.*s", marked ? "\\" : "", (int)count,
			 (const char *)octets);
		return;
	}
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(unit + used, size - used, "%s%02x", prefix, octets[i]);
}

size_t escape(char *out, size_t size, const char *prefix, const char *text, size_t len, bool *whole)
{
	const unsigned char *in = (const unsigned char *)text;
	size_t used = 0;
	size_t at = 0;

	while (at < len) {
		char unit[32];
		uint32_t c = 0;
		size_t count = utf8_decode(in + at, len - at, &c);
		bool hidden = count == 0 || is_hidden(c);

		count = count ? count : 1;
		write_unit(unit, sizeof unit, prefix, in + at, count, hidden);
		size_t width = strlen(unit);

		if (used + width >= size)
			break;
		memcpy(out + used, unit, width);
		used += width;
		at += count;
	}
	out[used] = '\0';
	if (whole)
		*whole = at == len;
	return used;
}
