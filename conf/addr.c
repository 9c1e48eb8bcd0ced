/*
 * addr.c - IP addresses with ports, CIDR ranges, and which addresses are special.
 *
 * Whatever the source (DNS, accept(), settings), an IPv4-mapped IPv6 address becomes IPv4 here, so
 * that no range check can be passed by writing 127.0.0.1 as ::ffff:127.0.0.1 (R-DNS-28). Special
 * ranges: the IANA special-purpose address registries (RFC 6890). Pure.
 */
#include "conf/addr.h"

#include "conf/join.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static void set_ip4(struct addr *a, const void *bytes, uint16_t port)
{
	memset(a, 0, sizeof *a);
	a->in.sin_family = AF_INET;
	a->in.sin_port = htons(port);
	memcpy(&a->in.sin_addr, bytes, 4);
}

void addr_from_bytes(struct addr *a, int family, const void *bytes, uint16_t port)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (family == AF_INET) {
		set_ip4(a, bytes, port);
	} else if (!memcmp(bytes, mapped, sizeof mapped)) {
		set_ip4(a, (const uint8_t *)bytes + sizeof mapped, port);
	} else {
		memset(a, 0, sizeof *a);
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons(port);
		memcpy(&a->in6.sin6_addr, bytes, 16);
	}
}

/* The scope stays: without it a link-local client could not be told from another one. */
bool addr_from_sockaddr(struct addr *a, const struct sockaddr *sa)
{
	struct addr from;

	if (sa->sa_family == AF_INET) {
		memcpy(&from.in, sa, sizeof from.in);
		set_ip4(a, &from.in.sin_addr, ntohs(from.in.sin_port));
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	memcpy(&from.in6, sa, sizeof from.in6);
	addr_from_bytes(a, AF_INET6, &from.in6.sin6_addr, ntohs(from.in6.sin6_port));
	if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_scope_id = from.in6.sin6_scope_id;
	return true;
}

/* ---- parsing ---- */

static bool parse_span(struct addr *a, const char *text, size_t len, uint16_t port)
{
	char ip[INET6_ADDRSTRLEN];
	uint8_t bytes[16];
	int family = memchr(text, ':', len) ? AF_INET6 : AF_INET;

	if (len >= sizeof ip)
		return false;
	memcpy(ip, text, len);
	ip[len] = '\0';
	if (inet_pton(family, ip, bytes) != 1)
		return false;
	addr_from_bytes(a, family, bytes, port);
	return true;
}

/* "[...]", an IPv6 address within; *after is what follows the bracket. */
static bool parse_brackets(struct addr *a, const char *text, uint16_t port, const char **after)
{
	const char *end = strchr(text, ']');

	if (!end || !memchr(text, ':', (size_t)(end - text)))
		return false;
	*after = end + 1;
	return parse_span(a, text + 1, (size_t)(end - text - 1), port);
}

bool addr_parse_ip(struct addr *a, const char *text, uint16_t port)
{
	const char *after;

	if (*text != '[')
		return parse_span(a, text, strlen(text), port);
	return parse_brackets(a, text, port, &after) && !*after;
}

/* Digits only, no leading zero, at most max; strtoul would take blanks and signs. */
static bool parse_number(const char *text, unsigned max, unsigned *number)
{
	unsigned n = 0;

	if (!*text || (text[0] == '0' && text[1]))
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (unsigned)(*text - '0');
		if (n > max)
			return false;
	}
	*number = n;
	return true;
}

bool addr_parse_port(const char *text, uint16_t *port)
{
	unsigned number;

	if (!parse_number(text, UINT16_MAX, &number) || !number)
		return false;
	*port = (uint16_t)number;
	return true;
}

bool addr_parse(struct addr *a, const char *text, uint16_t default_port)
{
	uint16_t port = default_port;
	const char *colon = strchr(text, ':');
	const char *after = "";

	if (*text == '[') {
		if (!parse_brackets(a, text, 0, &after))
			return false;
	} else if (colon && !strchr(colon + 1, ':')) {
		after = colon;
		if (!parse_span(a, text, (size_t)(colon - text), 0))
			return false;
	} else if (!addr_parse_ip(a, text, 0)) {
		return false;
	}
	if (*after && (*after != ':' || !addr_parse_port(after + 1, &port)))
		return false;
	addr_set_port(a, port);
	return port != 0;
}

/* ---- looking ---- */

socklen_t addr_len(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? sizeof a->in : sizeof a->in6;
}

uint16_t addr_port(const struct addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons(port);
	else
		a->in6.sin6_port = htons(port);
}

static const void *ip_bytes(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return &a->in.sin_addr;
	return &a->in6.sin6_addr;
}

bool addr_equal_ip(const struct addr *a, const struct addr *b)
{
	size_t len = a->sa.sa_family == AF_INET ? 4 : 16;

	return a->sa.sa_family == b->sa.sa_family && !memcmp(ip_bytes(a), ip_bytes(b), len);
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_equal_ip(a, b) && addr_port(a) == addr_port(b);
}

static bool is_wildcard(const struct addr *a)
{
	static const unsigned char zero[16];

	return !memcmp(ip_bytes(a), zero, a->sa.sa_family == AF_INET ? 4 : 16);
}

bool addr_overlaps(const struct addr *a, const struct addr *b)
{
	return addr_port(a) == addr_port(b) && a->sa.sa_family == b->sa.sa_family &&
	       (addr_equal_ip(a, b) || is_wildcard(a) || is_wildcard(b));
}

/* A number and what follows it; inet_ntop() goes by way of sprintf(), which takes ten times as
 * long, and some addresses are written several times for each message. */
static char *write_number(char *out, unsigned number, char next)
{
	char digits[3];
	size_t count = 0;

	do
		digits[count++] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	while (count > 0)
		*out++ = digits[--count];
	*out++ = next;
	return out;
}

static void write_ip4(char *out, const uint8_t *bytes)
{
	for (size_t i = 0; i < 4; i++)
		out = write_number(out, bytes[i], i < 3 ? '.' : '\0');
}

const char *addr_ip(const struct addr *a, char *out)
{
	if (a->sa.sa_family == AF_INET)
		write_ip4(out, ip_bytes(a));
	else if (!inet_ntop(a->sa.sa_family, ip_bytes(a), out, ADDR_TEXT))
		out[0] = '\0';
	return out;
}

const char *addr_bracketed(const struct addr *a, char *out)
{
	char ip[ADDR_TEXT];

	addr_ip(a, ip);
	snprintf(out, ADDR_TEXT, "[%.*s]:%u", INET6_ADDRSTRLEN - 1, ip, addr_port(a));
	return out;
}

const char *addr_literal(const struct addr *a, char *out)
{
	const char *tag = a->sa.sa_family == AF_INET ? "" : "IPv6:";
	char ip[ADDR_TEXT];

	addr_ip(a, ip);
	text_join(out, ADDR_TEXT, "[", tag, ip, "]");
	return out;
}

/* ---- ranges ---- */

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned prefix)
{
	unsigned whole = prefix / 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return prefix % 8 == 0 || ((a[whole] ^ b[whole]) >> (8 - prefix % 8)) == 0;
}

static bool host_bits_are_zero(const struct cidr *c, unsigned bits)
{
	for (unsigned bit = c->prefix; bit < bits; bit++)
		if (c->bytes[bit / 8] & (0x80u >> bit % 8))
			return false;
	return true;
}

/* A range of IPv4-mapped addresses is refused: written so, it could never match. */
bool cidr_parse(struct cidr *c, const char *text)
{
	size_t len = strcspn(text, "/");
	struct addr a;

	if (!parse_span(&a, text, len, 0))
		return false;
	if (a.sa.sa_family == AF_INET && memchr(text, ':', len))
		return false;
	unsigned bits = a.sa.sa_family == AF_INET ? 32 : 128;

	*c = (struct cidr){.family = a.sa.sa_family, .prefix = bits};
	memcpy(c->bytes, ip_bytes(&a), bits / 8);
	if (text[len] && !parse_number(text + len + 1, bits, &c->prefix))
		return false;
	return host_bits_are_zero(c, bits);
}

bool cidr_contains(const struct cidr *c, const struct addr *a)
{
	return c->family == a->sa.sa_family && same_prefix(c->bytes, ip_bytes(a), c->prefix);
}

bool cidr_list_contains(const struct cidr_list *list, const struct addr *a)
{
	for (size_t i = 0; i < list->count; i++)
		if (cidr_contains(&list->items[i], a))
			return true;
	return false;
}

/* ---- special addresses ---- */

struct range {
	uint8_t bytes[4];
	unsigned prefix;
	enum addr_class class;
};

/* clang-format off */
static const struct range ranges4[] = {
	{ {   0              },  8, ADDR_NEVER   },	/* "this network"; Linux dials itself */
	{ {  10              },  8, ADDR_SPECIAL },	/* private */
	{ { 100,  64         }, 10, ADDR_SPECIAL },	/* shared, behind carriers' NAT */
	{ { 127              },  8, ADDR_SPECIAL },	/* loopback */
	{ { 169, 254         }, 16, ADDR_SPECIAL },	/* link-local, cloud metadata */
	{ { 172,  16         }, 12, ADDR_SPECIAL },	/* private */
	{ { 192,   0,   0    }, 24, ADDR_SPECIAL },	/* protocol assignments */
	{ { 192,   0,   2    }, 24, ADDR_SPECIAL },	/* documentation */
	{ { 192,  88,  99    }, 24, ADDR_SPECIAL },	/* 6to4 relays, deprecated */
	{ { 192, 168         }, 16, ADDR_SPECIAL },	/* private */
	{ { 198,  18         }, 15, ADDR_SPECIAL },	/* benchmarks */
	{ { 198,  51, 100    }, 24, ADDR_SPECIAL },	/* documentation */
	{ { 203,   0, 113    }, 24, ADDR_SPECIAL },	/* documentation */
	{ { 224              },  4, ADDR_NEVER   },	/* multicast */
	{ { 255, 255, 255, 255 }, 32, ADDR_NEVER },	/* broadcast */
	{ { 240              },  4, ADDR_SPECIAL },	/* reserved */
};

/* Within 2000::/3, the only part of IPv6 that is handed out as global unicast. */
static const struct range ranges6[] = {
	{ { 0x20, 0x01, 0x00, 0x00 }, 23, ADDR_SPECIAL },	/* protocol assignments, Teredo */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32, ADDR_SPECIAL },	/* documentation */
	{ { 0x20, 0x02             }, 16, ADDR_SPECIAL },	/* 6to4: any IPv4 address in disguise */
	{ { 0x3f, 0xff             }, 20, ADDR_SPECIAL },	/* documentation */
};
/* clang-format on */

static enum addr_class class_in(const struct range *ranges, size_t count, const uint8_t *ip)
{
	for (size_t i = 0; i < count; i++)
		if (same_prefix(ranges[i].bytes, ip, ranges[i].prefix))
			return ranges[i].class;
	return ADDR_PUBLIC;
}

static enum addr_class classify4(const uint8_t *ip)
{
	return class_in(ranges4, sizeof ranges4 / sizeof *ranges4, ip);
}

/* NAT64's well-known prefix (RFC 6052) leads to the IPv4 address within, so that one counts. */
static enum addr_class classify6(const uint8_t *ip)
{
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};

	if (ip[0] == 0xff || IN6_IS_ADDR_UNSPECIFIED((const struct in6_addr *)ip))
		return ADDR_NEVER;
	if (!memcmp(ip, nat64, sizeof nat64))
		return classify4(ip + sizeof nat64);
	if (ip[0] >> 5 != 1)
		return ADDR_SPECIAL;
	return class_in(ranges6, sizeof ranges6 / sizeof *ranges6, ip);
}

enum addr_class addr_classify(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? classify4(ip_bytes(a)) : classify6(ip_bytes(a));
}

bool addr_is_loopback(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return *(const uint8_t *)ip_bytes(a) == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

/* ---- everybody ---- */

static bool holds(const uint8_t *outer, unsigned outer_prefix, const struct cidr *inner)
{
	return outer_prefix <= inner->prefix && same_prefix(outer, inner->bytes, outer_prefix);
}

/* Whether a range holds the part, or else whether the part holds one, so that halves may be held.
 */
static bool is_held(const struct cidr_list *list, const struct cidr *part, bool *is_divided)
{
	bool is_4 = part->family == AF_INET;
	const struct range *special = is_4 ? ranges4 : ranges6;
	size_t count = is_4 ? sizeof ranges4 / sizeof *ranges4 : sizeof ranges6 / sizeof *ranges6;

	*is_divided = false;
	for (size_t i = 0; i < list->count; i++) {
		const struct cidr *c = &list->items[i];

		if (c->family == part->family && holds(c->bytes, c->prefix, part))
			return true;
		*is_divided |= c->family == part->family && holds(part->bytes, part->prefix, c);
	}
	for (size_t i = 0; i < count; i++) {
		if (holds(special[i].bytes, special[i].prefix, part))
			return true;
		*is_divided |= same_prefix(part->bytes, special[i].bytes,
		    part->prefix < special[i].prefix ? part->prefix : special[i].prefix);
	}
	return false;
}

/* Only parts with a range in them are halved: no more of them than ranges times bits. */
static bool covers(const struct cidr_list *list, struct cidr part)
{
	bool is_divided;

	if (is_held(list, &part, &is_divided))
		return true;
	if (!is_divided)
		return false;
	unsigned bit = part.prefix++;

	if (!covers(list, part))
		return false;
	part.bytes[bit / 8] |= 0x80u >> bit % 8;
	return covers(list, part);
}

bool cidr_list_is_everybody(const struct cidr_list *list, int family)
{
	static const struct cidr unicast4 = {.family = AF_INET},
				 unicast6 = {.family = AF_INET6, .bytes = {0x20}, .prefix = 3};

	return covers(list, family == AF_INET ? unicast4 : unicast6);
}
