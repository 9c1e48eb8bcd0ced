/*
 * tlsa_make.c - see tlsa_make.h. Called by proxy/tlsa_cmd and by what explains a destination.
 */
#include "tls/tlsa_make.h"

#include "conf/mem.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>

enum { SELECTOR_CERTIFICATE, SELECTOR_KEY, SELECTOR_COUNT };
enum { MATCHING_FULL, MATCHING_SHA256, MATCHING_SHA512, MATCHING_COUNT };
enum { USAGE_COUNT = 4, HEADER = 3, RDATA_MAX = 65535 };

static bool add_digest(struct tlsa_set *set, const struct tlsa *t, const EVP_MD *algorithm)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct tlsa hashed = *t;
	unsigned len;

	if (!EVP_Digest(t->data, t->len, digest, &len, algorithm, NULL))
		return false;
	hashed.data = digest;
	hashed.len = len;
	tlsa_set_add(set, &hashed);
	return true;
}

static bool add_full(struct tlsa_set *set, const struct tlsa *t)
{
	if (t->len > RDATA_MAX - HEADER)
		return false;
	tlsa_set_add(set, t);
	return true;
}

/* Takes over the encoding, which the library has allocated. */
static bool add(struct tlsa_set *set, struct tlsa_kind kind, unsigned char *der, int len)
{
	struct tlsa t = {kind.usage, kind.selector, kind.matching, (size_t)len, der};
	bool added = false;

	assert(kind.usage < USAGE_COUNT && kind.selector < SELECTOR_COUNT &&
	       kind.matching < MATCHING_COUNT);
	if (len > 0 && kind.matching == MATCHING_FULL)
		added = add_full(set, &t);
	else if (len > 0)
		added = add_digest(
		    set, &t, kind.matching == MATCHING_SHA256 ? EVP_sha256() : EVP_sha512());
	OPENSSL_free(der);
	return added;
}

bool tlsa_make_from_certificate(struct tlsa_set *set, struct tlsa_kind kind, const X509 *from)
{
	unsigned char *der = NULL;
	int len;

	ERR_clear_error();
	if (kind.selector == SELECTOR_CERTIFICATE)
		len = i2d_X509(from, &der);
	else
		len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(from), &der);
	return add(set, kind, der, len);
}

bool tlsa_make_from_key(struct tlsa_set *set, struct tlsa_kind kind, const EVP_PKEY *from)
{
	unsigned char *der = NULL;
	int len;

	assert(kind.selector == SELECTOR_KEY);
	ERR_clear_error();
	len = i2d_PUBKEY(from, &der);
	return add(set, kind, der, len);
}

static void write_hex(char *out, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[data[i] >> 4];
		*out++ = digits[data[i] & 15];
	}
	*out = '\0';
}

char *tlsa_type_and_data(const struct tlsa *t, enum tlsa_form form)
{
	char *data = mem_alloc(2 * t->len + 1), *text;

	write_hex(data, t->data, t->len);
	if (form == TLSA_GENERIC)
		text = mem_printf("TYPE52 \\# %zu %02x%02x%02x%s", HEADER + t->len, t->usage,
		    t->selector, t->matching, data);
	else
		text = mem_printf("TLSA %d %d %d %s", t->usage, t->selector, t->matching, data);
	free(data);
	return text;
}

char *tlsa_zone_line(const struct tlsa *t, enum tlsa_form form, const char *owner, uint32_t ttl)
{
	char *record = tlsa_type_and_data(t, form), *line;

	if (ttl)
		line = mem_printf("%s. %u IN %s", owner, ttl, record);
	else
		line = mem_printf("%s. IN %s", owner, record);
	free(record);
	return line;
}
