/*
 * check_keys.h - which TLSA records of a checked host fit which of the certificates that it shows.
 * Pure. For findings and for what is printed.
 */
#ifndef PROXY_CHECK_KEYS_H
#define PROXY_CHECK_KEYS_H

#include "proxy/command/check.h"

/* The different certificates of all addresses; borrowed. */
enum { CHECK_KEY_LIST_MAX = 8 };
struct check_keys {
	size_t count;
	const struct check_key *items[CHECK_KEY_LIST_MAX];
};
void check_list_keys(const struct check_host *host, struct check_keys *keys);

/* The record of this index, borrowed; false: there is none. */
bool check_record(const struct check_host *host, size_t index, struct tlsa *record);
size_t check_usable_count(const struct check_host *host);
bool check_names_authorities_only(const struct check_host *host); /* of the usable records */
bool check_is_published(const struct check_host *host, const struct tlsa *record);

/* Whether some certificate that is in use fits the record. */
bool check_is_live(const struct check_host *host, const struct tlsa *record);

/* Whether a certificate was seen that records could be compared with. */
bool check_has_keys(const struct check_host *host);

/* Whether a mail server answered, so that it could show what it offers. */
bool check_was_reached(const struct check_host *host);

#endif
