/*
 * proxy_header.c - see proxy_header.h. Whoever may send the header can take any name, so it is read
 * word by word as its specification has it (sections 2.1 and 2.2), and all else is refused.
 */
#include "proxy/intercept/proxy_header.h"

#include <string.h>

enum {
	V1_MAX = 107,
	V2_FIXED = 16,
	V2_LOCAL = 0x20, /* version and command */
	V2_PROXY = 0x21,
	V2_UNSPEC = 0x00, /* family and transport */
	V2_TCP4 = 0x11,
	V2_TCP6 = 0x21,
	V2_TCP4_LEN = 12, /* two addresses, two ports */
	V2_TCP6_LEN = 36,
};

static const char v1_start[] = "PROXY ";
static const unsigned char v2_start[12] = "\r\n\r\n\0\r\nQUIT\n";

static enum proxy_header_status bad(const char **why, const char *words)
{
	*why = words;
	return PROXY_HEADER_BAD;
}

/* ---- version 1: a line of text ---- */

/* The next word into out; words are parted by one blank, and the last ends the line. */
static bool next_word(const char **at, const char *end, char *out, size_t size)
{
	const char *blank = memchr(*at, ' ', (size_t)(end - *at));
	size_t len = (size_t)((blank ? blank : end) - *at);

	if (len == 0 || len >= size)
		return false;
	memcpy(out, *at, len);
	out[len] = '\0';
	*at += len + (blank != NULL);
	return strlen(out) == len;
}

static bool is_port(const char *text, uint16_t *port)
{
	*port = 0;
	return !strcmp(text, "0") || addr_parse_port(text, port);
}

static bool is_ip(const char *text, bool is_v6, struct addr *a, uint16_t port)
{
	return text[0] != '[' && (strchr(text, ':') != NULL) == is_v6 &&
	       addr_parse_ip(a, text, port);
}

static bool parse_addresses(const char *at, const char *end, bool is_v6, struct addr *source)
{
	char words[4][INET6_ADDRSTRLEN];
	struct addr destination;
	uint16_t from, to;

	for (size_t i = 0; i < 4; i++)
		if (!next_word(&at, end, words[i], sizeof words[i]))
			return false;
	return at == end && end[-1] != ' ' && is_port(words[2], &from) && is_port(words[3], &to) &&
	       is_ip(words[0], is_v6, source, from) && is_ip(words[1], is_v6, &destination, to);
}

static enum proxy_header_status parse_v1(
    const char *data, size_t len, struct proxy_header *out, const char **why)
{
	const char *end = memchr(data, '\n', len < V1_MAX ? len : V1_MAX);
	const char *at = data + sizeof v1_start - 1;
	char family[sizeof "UNKNOWN"];

	if (!end && len < V1_MAX)
		return PROXY_HEADER_MORE;
	if (!end || end[-1] != '\r')
		return bad(why, "its PROXY line does not end in CR LF");
	end--;
	out->len = (size_t)(end + 2 - data);
	if (!next_word(&at, end, family, sizeof family))
		return bad(why, "its PROXY line names no family");
	if (!strcmp(family, "UNKNOWN"))
		return PROXY_HEADER_DONE;
	out->has_source = true;
	if ((!strcmp(family, "TCP4") && parse_addresses(at, end, false, &out->source)) ||
	    (!strcmp(family, "TCP6") && parse_addresses(at, end, true, &out->source)))
		return PROXY_HEADER_DONE;
	return bad(why, "its PROXY line is malformed");
}

/* ---- version 2: binary ---- */

static uint16_t number16(const unsigned char *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static enum proxy_header_status parse_v2(
    const unsigned char *data, size_t len, struct proxy_header *out, const char **why)
{
	const unsigned char *body = data + V2_FIXED;
	size_t body_len;

	if (len < V2_FIXED)
		return PROXY_HEADER_MORE;
	body_len = number16(data + 14);
	if (data[12] != V2_LOCAL && data[12] != V2_PROXY)
		return bad(why, "its PROXY header has an unknown version or command");
	if (V2_FIXED + body_len > PROXY_HEADER_MAX)
		return bad(why, "its PROXY header is too long");
	if (len < V2_FIXED + body_len)
		return PROXY_HEADER_MORE;
	out->len = V2_FIXED + body_len;
	if (data[12] == V2_LOCAL || data[13] == V2_UNSPEC)
		return PROXY_HEADER_DONE;
	out->has_source = true;
	if (data[13] == V2_TCP4 && body_len >= V2_TCP4_LEN)
		addr_from_bytes(&out->source, AF_INET, body, number16(body + 8));
	else if (data[13] == V2_TCP6 && body_len >= V2_TCP6_LEN)
		addr_from_bytes(&out->source, AF_INET6, body, number16(body + 32));
	else
		return bad(why, "its PROXY header has no TCP addresses");
	return PROXY_HEADER_DONE;
}

static bool begins(const void *data, size_t len, const void *start, size_t start_len)
{
	return !memcmp(data, start, len < start_len ? len : start_len);
}

enum proxy_header_status proxy_header_parse(
    const void *data, size_t len, struct proxy_header *out, const char **why)
{
	memset(out, 0, sizeof *out);
	if (begins(data, len, v2_start, sizeof v2_start))
		return parse_v2(data, len, out, why);
	if (!begins(data, len, v1_start, sizeof v1_start - 1))
		return bad(why, "it sent no PROXY header");
	return len < sizeof v1_start - 1 ? PROXY_HEADER_MORE : parse_v1(data, len, out, why);
}
