/*
 * dns_type.h - the DNS record types that the program knows, numbers and names.
 *
 * The one list: what a setting may name is what dnsval/ can ask for. A type for which dnsval/rdata
 * has no reader is asked for all the same, and its records are counted.
 */
#ifndef CONF_DNS_TYPE_H
#define CONF_DNS_TYPE_H

#include <stdbool.h>

enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_DS = 43,
	DNS_DNSKEY = 48,
	DNS_TLSA = 52,
};

struct dns_type_entry {
	const char *name;
	enum dns_type type;
};

extern const struct dns_type_entry dns_types[]; /* until name is NULL */

/* Text to type, in any case of letters; false: none of the list. */
bool dns_type_from_name(enum dns_type *type, const char *name);

/* The type must be of the list. */
const char *dns_type_name(enum dns_type type);

#endif
