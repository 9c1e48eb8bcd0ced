/*
 * addr.h - IP addresses with ports, CIDR ranges, and which addresses are special.
 */
#ifndef CONF_ADDR_H
#define CONF_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

struct cidr {
	int family;        /* AF_INET or AF_INET6 */
	uint8_t bytes[16]; /* network order, host bits zero */
	unsigned prefix;
};

struct cidr_list {
	size_t count;
	struct cidr *items;
};

enum { ADDR_TEXT = INET6_ADDRSTRLEN + 8 };

/* Raw octets (4 or 16), as an answer from DNS carries them. IPv4-mapped IPv6 becomes IPv4. */
void addr_from_bytes(struct addr *a, int family, const void *bytes, uint16_t port);

/* From accept(), getsockname() and so on. IPv4-mapped IPv6 becomes IPv4. false: another family. */
bool addr_from_sockaddr(struct addr *a, const struct sockaddr *sa);

/* "192.0.2.1", "[2001:db8::1]" or bare "2001:db8::1"; no port, no zone id. */
bool addr_parse_ip(struct addr *a, const char *text, uint16_t port);

/* "192.0.2.1:25", "[::1]:25"; without a port, default_port (0: a port is required). */
bool addr_parse(struct addr *a, const char *text, uint16_t default_port);

/* "25": 1 to 65535, digits alone. */
bool addr_parse_port(const char *text, uint16_t *port);

socklen_t addr_len(const struct addr *a);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
bool addr_equal(const struct addr *a, const struct addr *b); /* address and port */
/* Whether only one of them can be listened on: the same, or a wildcard and one of its family. */
bool addr_overlaps(const struct addr *a, const struct addr *b);
bool addr_equal_ip(const struct addr *a, const struct addr *b); /* address alone */

/* Text into out[ADDR_TEXT]; each returns out. */
const char *addr_ip(const struct addr *a, char *out);        /* 192.0.2.1 or 2001:db8::1 */
const char *addr_bracketed(const struct addr *a, char *out); /* [192.0.2.1]:25, [2001:db8::1]:25 */
const char *addr_literal(const struct addr *a, char *out);   /* [192.0.2.1], [IPv6:2001:db8::1] */

/* "10.0.0.0/8", "::1", "192.0.2.7"; host bits beyond the prefix are refused. */
bool cidr_parse(struct cidr *c, const char *text);
bool cidr_contains(const struct cidr *c, const struct addr *a);
bool cidr_list_contains(const struct cidr_list *list, const struct addr *a);

/* Whether the ranges together hold all public addresses of the family, however they are cut up. */
bool cidr_list_is_everybody(const struct cidr_list *list, int family);

/* What may be dialled (R-DNS-28, -29; IANA special-purpose address registries, RFC 6890). */
enum addr_class {
	ADDR_PUBLIC,
	ADDR_SPECIAL, /* loopback, private, link-local, documentation, ...: only where allowed */
	ADDR_NEVER,   /* unspecified, multicast, broadcast: under no setting */
};
enum addr_class addr_classify(const struct addr *a);

bool addr_is_loopback(const struct addr *a); /* 127.0.0.0/8, ::1 */

/* Whether the address belongs to this machine (127.0.0.0/8 and ::1 included), as the kernel said
 * within the last second. For one thread. */
bool addr_is_local(const struct addr *a);

#endif
