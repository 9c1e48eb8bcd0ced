/*
 * tlsa.h - the TLSA record as a thing of its own (RFC 6698 section 2, RFC 7672 section 3.1).
 */
#ifndef TLS_TLSA_H
#define TLS_TLSA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TLSA_USAGE_TA = 2, TLSA_USAGE_EE = 3 };

struct tlsa {
	uint8_t usage, selector, matching;
	size_t len;
	const uint8_t *data; /* borrowed, or owned by a tlsa_set */
};

/* An ordered copy of records, all owned by the set. Zeroed is empty. */
struct tlsa_set {
	size_t count;
	struct tlsa *items;
};

/*
 * Whether SMTP may use the record: usage 2 or 3 (RFC 7672 3.1.3 makes 0 and 1 unusable), selector 0
 * or 1, matching 0, 1 or 2, digest of exactly 32 or 64 octets, full data that parses to its end as
 * certificate or key (R-DANE-04..06).
 */
bool tlsa_is_usable(const struct tlsa *t);

enum { TLSA_TEXT = 96 };
/* "3 1 1 ab12cd34.." for people (first 8 hex digits where the data is longer). Returns out. */
const char *tlsa_brief(const struct tlsa *t, char out[TLSA_TEXT]);

bool tlsa_equal(const struct tlsa *a, const struct tlsa *b);

void tlsa_set_add(struct tlsa_set *set, const struct tlsa *t);        /* copies the data */
void tlsa_set_copy(struct tlsa_set *to, const struct tlsa_set *from); /* `to` must be empty */
void tlsa_set_sort(struct tlsa_set *set); /* one order for equal sets: keys and logs */
void tlsa_set_release(struct tlsa_set *set);

#endif
