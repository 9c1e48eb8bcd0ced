/*
 * dns_type.c - see dns_type.h. Called by value.c for settings, and by dnsval/ and policy/ for
 * texts.
 */
#include "conf/dns_type.h"

#include <assert.h>
#include <stddef.h>
#include <strings.h>

const struct dns_type_entry dns_types[] = {
    {"A", DNS_A},
    {"AAAA", DNS_AAAA},
    {"CNAME", DNS_CNAME},
    {"DNSKEY", DNS_DNSKEY},
    {"DS", DNS_DS},
    {"MX", DNS_MX},
    {"NS", DNS_NS},
    {"SOA", DNS_SOA},
    {"TLSA", DNS_TLSA},
    {"TXT", DNS_TXT},
    {NULL, 0},
};

bool dns_type_from_name(enum dns_type *type, const char *name)
{
	for (const struct dns_type_entry *entry = dns_types; entry->name; entry++) {
		if (strcasecmp(entry->name, name) == 0) {
			*type = entry->type;
			return true;
		}
	}
	return false;
}

const char *dns_type_name(enum dns_type type)
{
	for (const struct dns_type_entry *entry = dns_types; entry->name; entry++)
		if (entry->type == type)
			return entry->name;
	assert(!"a type that is not of the list");
	return NULL;
}
