/*
 * tlsa.c - which TLSA records SMTP may use, and how they are shown (RFC 6698 section 2, RFC 7672
 * section 3.1). Records come from the network: the filter stands before OpenSSL, which accepts
 * usages 0 and 1, has had memory errors when they are mixed with usage 2 (CVE-2026-28387), and
 * takes `3 0 0` without data for a failed allocation.
 */
#include "tls/tlsa.h"

#include "conf/mem.h"

#include <assert.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SELECTOR_CERTIFICATE, SELECTOR_KEY };
enum { MATCHING_FULL, MATCHING_SHA256, MATCHING_SHA512 };

static bool is_certificate(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;
	X509 *certificate = d2i_X509(NULL, &end, (long)len);
	/* A key of an unknown algorithm parses, but nothing can be verified with it. */
	bool whole = certificate && end == data + len && X509_get0_pubkey(certificate);

	X509_free(certificate);
	return whole;
}

static bool is_public_key(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &end, (long)len);
	bool whole = key && end == data + len;

	EVP_PKEY_free(key);
	return whole;
}

static bool parses_to_its_end(const struct tlsa *t)
{
	bool whole;

	if (t->len == 0 || t->len > INT_MAX)
		return false;
	ERR_set_mark();
	whole = t->selector == SELECTOR_KEY ? is_public_key(t->data, t->len)
					    : is_certificate(t->data, t->len);
	ERR_pop_to_mark();
	return whole;
}

bool tlsa_is_usable(const struct tlsa *t)
{
	if (t->usage != TLSA_USAGE_TA && t->usage != TLSA_USAGE_EE)
		return false;
	if (t->selector != SELECTOR_CERTIFICATE && t->selector != SELECTOR_KEY)
		return false;
	switch (t->matching) {
	case MATCHING_FULL:
		return parses_to_its_end(t);
	case MATCHING_SHA256:
		return t->len == 32;
	case MATCHING_SHA512:
		return t->len == 64;
	default:
		return false;
	}
}

const char *tlsa_brief(const struct tlsa *t, char out[TLSA_TEXT])
{
	enum { SHOWN = 4 };
	size_t shown = t->len > SHOWN ? SHOWN : t->len;
	int len = snprintf(out, TLSA_TEXT, "%d %d %d ", t->usage, t->selector, t->matching);

	for (size_t i = 0; i < shown; i++)
		len += snprintf(out + len, TLSA_TEXT - (size_t)len, "%02x", t->data[i]);
	if (t->len == 0)
		out[len - 1] = '\0';
	else if (t->len > SHOWN)
		snprintf(out + len, TLSA_TEXT - (size_t)len, "..");
	return out;
}

void tlsa_set_add(struct tlsa_set *set, const struct tlsa *t)
{
	struct tlsa *copy;

	set->items = mem_resize(set->items, set->count + 1, sizeof(*set->items));
	copy = &set->items[set->count++];
	*copy = *t;
	copy->data = mem_copy(t->data, t->len);
}

void tlsa_set_copy(struct tlsa_set *to, const struct tlsa_set *from)
{
	assert(to->count == 0);
	for (size_t i = 0; i < from->count; i++)
		tlsa_set_add(to, &from->items[i]);
}

static int compare(const void *left, const void *right)
{
	const struct tlsa *a = left, *b = right;

	if (a->usage != b->usage)
		return a->usage - b->usage;
	if (a->selector != b->selector)
		return a->selector - b->selector;
	if (a->matching != b->matching)
		return a->matching - b->matching;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return a->len ? memcmp(a->data, b->data, a->len) : 0;
}

bool tlsa_equal(const struct tlsa *a, const struct tlsa *b) { return compare(a, b) == 0; }

void tlsa_set_sort(struct tlsa_set *set)
{
	if (set->count > 1)
		qsort(set->items, set->count, sizeof(*set->items), compare);
}

void tlsa_set_release(struct tlsa_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		free((void *)set->items[i].data);
	free(set->items);
	*set = (struct tlsa_set){0};
}
