/*
 * tlsa_source.c - which certificate of a chain a TLSA record speaks of (RFC 6698 2.1.1, RFC 7671
 * 5), and what is known to be wrong with it. Called by proxy/tlsa_cmd.
 */
#include "tls/tlsa_source_internal.h"

#include "conf/mem.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

enum { USAGE_PKIX_TA, USAGE_PKIX_EE, USAGE_MAX = 3, SELECTOR_KEY = 1, MATCHING_MAX = 2 };

struct tlsa_source *tlsa_source_new(void)
{
	struct tlsa_source *source = mem_zero(1, sizeof *source);

	source->certificates = sk_X509_new_null();
	if (!source->certificates)
		abort();
	return source;
}

void tlsa_source_free(struct tlsa_source **source)
{
	struct tlsa_source *s = *source;

	*source = NULL;
	if (!s)
		return;
	sk_X509_pop_free(s->certificates, X509_free);
	EVP_PKEY_free(s->key);
	free(s);
}

/* No memory ends the process here as in conf/mem.h: a chain without its end is another chain. */
void tlsa_source_take_certificate(struct tlsa_source *source, X509 *certificate)
{
	if (!sk_X509_push(source->certificates, certificate))
		abort();
}

bool tlsa_source_take_key(struct tlsa_source *source, EVP_PKEY *key)
{
	bool is_other = source->key && EVP_PKEY_eq(source->key, key) != 1;

	if (source->key || is_other)
		EVP_PKEY_free(key);
	else
		source->key = key;
	return !is_other;
}

bool tlsa_source_add_certificate(struct tlsa_source *source, const uint8_t *der, size_t len)
{
	const unsigned char *end = der;
	X509 *certificate = d2i_X509(NULL, &end, (long)len);

	ERR_clear_error();
	if (!certificate || end != der + len) {
		X509_free(certificate);
		return false;
	}
	tlsa_source_take_certificate(source, certificate);
	return true;
}

/* ---- which certificate ---- */

static bool speaks_of_ca(struct tlsa_kind kind)
{
	return kind.usage == USAGE_PKIX_TA || kind.usage == TLSA_USAGE_TA;
}

static X509 *certificate_at(const struct tlsa_source *source, int i)
{
	return sk_X509_value(source->certificates, i);
}

/* The first may be a CA by its own word: that is how people make self-signed ones. */
static bool begins_chain(const struct tlsa_source *source, int i)
{
	return i == 0 || !X509_check_ca(certificate_at(source, i));
}

static bool ends_chain(const struct tlsa_source *source, int i)
{
	return i + 1 == sk_X509_num(source->certificates) || begins_chain(source, i + 1);
}

static bool is_meant(const struct tlsa_source *source, int i, struct tlsa_kind kind)
{
	return speaks_of_ca(kind) ? ends_chain(source, i) : begins_chain(source, i);
}

static bool make_from_certificates(
    const struct tlsa_source *source, struct tlsa_kind kind, struct tlsa_set *records)
{
	for (int i = 0; i < sk_X509_num(source->certificates); i++) {
		if (is_meant(source, i, kind) &&
		    !tlsa_make_from_certificate(records, kind, certificate_at(source, i)))
			return false;
	}
	return true;
}

bool tlsa_source_make(const struct tlsa_source *source, struct tlsa_kind kind,
    struct tlsa_set *records, const char **why)
{
	struct tlsa_set made = {0};
	bool good;

	*why = "does not fit into a DNS record; use matching type 1";
	if (sk_X509_num(source->certificates) > 0) {
		good = make_from_certificates(source, kind, &made);
	} else if (kind.selector != SELECTOR_KEY) {
		*why = "is a key without a certificate: only --selector 1 is possible";
		return false;
	} else {
		good = tlsa_make_from_key(&made, kind, source->key);
	}
	for (size_t i = 0; good && i < made.count; i++)
		tlsa_set_add(records, &made.items[i]);
	tlsa_set_release(&made);
	return good;
}

/* ---- what is published ---- */

static bool fits_certificate(const X509 *certificate, const struct tlsa *record)
{
	struct tlsa_kind kind = {record->usage, record->selector, record->matching};
	struct tlsa_set made = {0};
	bool fits = tlsa_make_from_certificate(&made, kind, certificate) &&
		    tlsa_equal(&made.items[0], record);

	tlsa_set_release(&made);
	return fits;
}

static bool fits_key(const EVP_PKEY *key, const struct tlsa *record)
{
	struct tlsa_kind kind = {record->usage, record->selector, record->matching};
	struct tlsa_set made = {0};
	bool fits = kind.selector == SELECTOR_KEY && tlsa_make_from_key(&made, kind, key) &&
		    tlsa_equal(&made.items[0], record);

	tlsa_set_release(&made);
	return fits;
}

static bool may_be_anchor(const struct tlsa_source *source, int i)
{
	return !begins_chain(source, i) ||
	       (sk_X509_num(source->certificates) == 1 && X509_check_ca(certificate_at(source, i)));
}

bool tlsa_source_has_authority(const struct tlsa_source *source)
{
	for (int i = 0; i < sk_X509_num(source->certificates); i++)
		if (may_be_anchor(source, i))
			return true;
	return false;
}

/*
 * A trust anchor is any certificate above the leaf, but never the leaf itself (R-DANE-14); a CA's
 * certificate alone in a file is one.
 */
bool tlsa_source_fits(const struct tlsa_source *source, const struct tlsa *record)
{
	struct tlsa_kind kind = {record->usage, record->selector, record->matching};
	int count = sk_X509_num(source->certificates);

	if (kind.usage > USAGE_MAX || kind.selector > SELECTOR_KEY || kind.matching > MATCHING_MAX)
		return false;
	for (int i = 0; i < count; i++) {
		if ((speaks_of_ca(kind) ? may_be_anchor(source, i) : begins_chain(source, i)) &&
		    fits_certificate(certificate_at(source, i), record))
			return true;
	}
	return count == 0 && fits_key(source->key, record);
}

/* ---- doubts ---- */

static bool has_expired(const X509 *certificate)
{
	return X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
}

static const char *doubt_about(const X509 *certificate)
{
	if (!X509_check_ca((X509 *)certificate))
		return "its last certificate is no CA's: a record of usage 2 for it matches "
		       "nothing";
	if (has_expired(certificate))
		return "the CA certificate has expired: with usage 2 senders refuse the server";
	return NULL;
}

/* With usage 3 neither names nor dates count (RFC 7672 3.1.1), so nothing can be wrong. */
const char *tlsa_source_doubt(const struct tlsa_source *source, struct tlsa_kind kind)
{
	int count = sk_X509_num(source->certificates);

	if (kind.usage != TLSA_USAGE_TA)
		return NULL;
	if (count == 0)
		return "it is a bare key: usage 2 is right only for the key of a CA whose "
		       "certificate the "
		       "server sends with its own";
	for (int i = 0; i < count; i++) {
		const char *doubt =
		    ends_chain(source, i) ? doubt_about(certificate_at(source, i)) : NULL;

		if (doubt)
			return doubt;
	}
	return NULL;
}
