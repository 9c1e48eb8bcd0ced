/*
 * smtp_path.c - reverse-path and forward-path (RFC 5321 sections 4.1.2 and 4.1.3, RFC 6531
 * section 3.3).
 *
 * The domain decides where mail goes, so it is read in full; the local-part is its host's business
 * (section 2.3.11): what keeps it one token is checked, quotes, percent signs and bangs mean
 * nothing here (R-SMTP-10, -11). Dots are not looked at, as addresses like "a..b@" exist and work.
 * Called by smtp_parse.c.
 */
#include "proxy/smtp/smtp_parse.h"
#include "proxy/smtp/smtp_text.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { DOMAIN_TEXT_MAX = 255 }; /* RFC 5321 4.5.3.1.2, in the client's spelling */

static struct smtp_error bad(const char *text)
{
	return (struct smtp_error){.code = 501, .status = "5.1.3", .text = text};
}

static const struct smtp_error fine = {0};

static bool is_high(char c) { return (unsigned char)c >= 0x80; }

static bool has_high(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (is_high(text[i]))
			return true;
	return false;
}

/* RFC 5322 3.2.3 with dots; RFC 6531 adds all of UTF-8. */
static bool is_atom_char(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    is_high(c))
		return true;
	return c && strchr(".!#$%&'*+-/=?^_`{|}~", c);
}

/* Octets of the quoted string at text[0] == '"', both quotes included; 0: it does not end. */
static size_t quoted_len(const char *text, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		if (text[i] == '"')
			return i + 1;
		if (text[i] == '\\')
			i++;
	}
	return 0;
}

/* Octets of a local-part; 0: there is none. */
static size_t local_len(const char *text, size_t len)
{
	size_t n = 0;

	if (len && text[0] == '"')
		return quoted_len(text, len);
	while (n < len && is_atom_char(text[n]))
		n++;
	return n;
}

/* Octets up to the ">" that ends the path: the first one outside quotes. len: there is none. */
static size_t inner_len(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && text[i] != '>') {
		size_t quoted = text[i] == '"' ? quoted_len(text + i, len - i) : 1;

		if (!quoted)
			return len;
		i += quoted;
	}
	return i;
}

/*
 * "@a,@b:" before the mailbox (RFC 5321 appendix C: accepted, and ignored). Octets, with the colon;
 * 0: garbled.
 */
static size_t route_len(const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len);
	size_t end = colon ? (size_t)(colon - text) : 0;
	size_t i = 0;

	while (i < end) {
		const char *comma = memchr(text + i, ',', end - i);
		size_t hop = comma ? (size_t)(comma - text) - i : end - i;
		char domain[DOMAIN_SIZE];

		if (text[i] != '@' || !domain_normalize(domain, text + i + 1, hop - 1))
			return 0;
		i += hop + (comma != NULL);
		if (comma && i == end)
			return 0;
	}
	return end ? end + 1 : 0;
}

/*
 * "[192.0.2.1]" or "[IPv6:2001:db8::1]"; the general form of RFC 5321 4.1.3 has no tag registered.
 */
static bool is_literal(const char *text, size_t len)
{
	static const char tag[] = "IPv6:";
	size_t tag_len = sizeof tag - 1;
	char inside[INET6_ADDRSTRLEN + sizeof tag];
	uint8_t address[16];

	if (len < 2 || text[len - 1] != ']' || len - 2 >= sizeof inside)
		return false;
	memcpy(inside, text + 1, len - 2);
	inside[len - 2] = '\0';
	if (!strncasecmp(inside, tag, tag_len))
		return inet_pton(AF_INET6, inside + tag_len, address) == 1;
	return inet_pton(AF_INET, inside, address) == 1;
}

static struct smtp_error parse_domain(const char *text, size_t len, struct smtp_path *path)
{
	path->has_domain = true;
	if (len > DOMAIN_TEXT_MAX)
		return bad("bad-address: the domain is longer than 255 octets");
	if (len && text[0] == '[') {
		path->is_literal = true;
		return is_literal(text, len) ? fine
					     : bad("bad-address: the address literal is malformed");
	}
	/*
	 * Fine as a name in DNS, but not in a mailbox (RFC 5321 2.3.5), and not everywhere the
	 * same one.
	 */
	if (len && text[len - 1] == '.')
		return bad("bad-address: the domain ends in a dot");
	if (!domain_normalize(path->domain, text, len))
		return bad("bad-address: the domain is malformed");
	return fine;
}

/* Local-part [ "@" domain ]; without source route. */
static struct smtp_error parse_mailbox(const char *text, size_t len, struct smtp_path *path)
{
	size_t local = local_len(text, len);

	if (local == 0)
		return bad("bad-address: the local part is missing or malformed");
	if (local > SMTP_LOCAL_MAX)
		return bad("bad-address: the local part is longer than 64 octets");
	if (local < len && text[local] != '@')
		return bad("bad-address: the local part holds a character that needs quotes");
	if (len + 2 > SMTP_PATH_MAX)
		return bad("bad-address: the address is longer than 254 octets");
	memcpy(path->address, text, len);
	path->local_len = local;
	return local == len ? fine : parse_domain(text + local + 1, len - local - 1, path);
}

struct smtp_error smtp_parse_path(
    const char *text, size_t len, size_t *used, struct smtp_path *path)
{
	*path = (struct smtp_path){0};
	*used = 0;
	if (len == 0 || text[0] != '<')
		return (struct smtp_error){501, "5.5.4", "an address in <> is expected", false};
	const char *inner = text + 1;
	size_t inside = inner_len(inner, len - 1);

	if (inside == len - 1)
		return (struct smtp_error){501, "5.5.4",
		    "the address has no closing >, or its quotes do not close", false};
	*used = inside + 2;
	path->is_null = inside == 0;
	if (path->is_null)
		return fine;
	path->is_utf8 = has_high(inner, inside);
	if (!smtp_text_is_printable(inner, inside))
		return path->is_utf8 ? (struct smtp_error){553, "5.6.7",
					   "the address is not valid UTF-8", false}
				     : bad("bad-address: the address holds a control character");
	size_t route = inner[0] == '@' ? route_len(inner, inside) : 0;

	if (inner[0] == '@' && route == 0)
		return bad("bad-address: the source route is malformed");
	return parse_mailbox(inner + route, inside - route, path);
}
