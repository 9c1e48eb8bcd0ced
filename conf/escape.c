/*
 * escape.c - text from strangers, made safe for terminals, log parsers and JSON (R-SMTP-20).
 *
 * Strict UTF-8 (RFC 3629): an overlong or broken sequence is escaped octet by octet, never passed
 * on for a laxer decoder to make a control of it. Also escaped: what is valid but not seen, above
 * all the bidirectional overrides that make a line read as what it is not. Called by the log.
 */
#include "conf/escape.h"

#include "conf/utf8.h"

#include <stdio.h>
#include <string.h>

/* Controls, line and paragraph separators, zero-width and bidirectional marks, tags. */
static bool is_hidden(uint32_t c)
{
	static const uint32_t ranges[][2] = {
	    {0x00, 0x1f},
	    {0x7f, 0x9f},
	    {0xad, 0xad},
	    {0x061c, 0x061c},
	    {0x200b, 0x200f},
	    {0x2028, 0x202e},
	    {0x2060, 0x206f},
	    {0xfeff, 0xfeff},
	    {0xfff9, 0xfffb},
	    {0xfffe, 0xffff},
	    {0xe0000, 0xe0fff},
	};

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return false;
}

/* One character (or invalid octet) as it is written; unit has room for four escaped octets. */
static void write_unit(
    char *unit, size_t size, const char *prefix, const char *octets, size_t count, bool hidden)
{
	size_t used = 0;

	if (!hidden) {
		bool marked = octets[0] == '\\' || octets[0] == '"';

		snprintf(unit, size, "%s%.*s", marked ? "\\" : "", (int)count, octets);
		return;
	}
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(
		    unit + used, size - used, "%s%02x", prefix, (unsigned char)octets[i]);
}

size_t escape(char *out, size_t size, const char *prefix, const char *text, size_t len, bool *whole)
{
	size_t used = 0;
	size_t at = 0;

	while (at < len) {
		char unit[32];
		uint32_t c = 0;
		size_t count = utf8_decode(text + at, len - at, &c);
		bool hidden = count == 0 || is_hidden(c);

		count = count ? count : 1;
		write_unit(unit, sizeof unit, prefix, text + at, count, hidden);
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
