/*
 * chain.c - see chain.h. Called where a person wants to see what a server presents: check, tlsa.
 */
#include "tls/chain.h"

#include "conf/mem.h"
#include "tls/tlsa_make.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USAGE_MAX = 3, SELECTOR_MAX = 1, MATCHING_MAX = 2 };

/* ---- what a certificate says ---- */

/* UTF-8, and controls of OpenSSL's choice left as they are: who shows it must escape it. */
static char *name_text(const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data = NULL, *text;
	long len = 0;

	if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) >= 0)
		len = BIO_get_mem_data(bio, &data);
	text = mem_strndup(data ? data : "", (size_t)len);
	BIO_free(bio);
	return text;
}

static void add_name(struct tls_certificate *c, const ASN1_IA5STRING *name)
{
	/* A NUL inside is an old trick: no such name exists in DNS, and none is shown cut short. */
	size_t len = (size_t)ASN1_STRING_length(name);
	const char *data = (const char *)ASN1_STRING_get0_data(name);

	if (c->name_count >= CHAIN_NAMES_MAX || memchr(data, '\0', len))
		return;
	c->names = mem_resize(c->names, c->name_count + 1, sizeof *c->names);
	c->names[c->name_count++] = mem_strndup(data, len);
}

static void take_names(struct tls_certificate *c, const X509 *x)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_DNS)
			add_name(c, name->d.dNSName);
	}
	GENERAL_NAMES_free(names);
}

static time_t seconds(const ASN1_TIME *when)
{
	struct tm tm;

	return ASN1_TIME_to_tm(when, &tm) ? timegm(&tm) : 0;
}

static void take_key(struct tls_certificate *c, const X509 *x)
{
	const EVP_PKEY *key = X509_get0_pubkey(x);
	const char *type = key ? EVP_PKEY_get0_type_name(key) : NULL;
	char group[24] = "";

	snprintf(c->key, sizeof c->key, "%s", type ? type : "unknown");
	c->is_rsa = key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
	c->is_ecdsa = key && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC;
	if (c->is_rsa)
		snprintf(c->key, sizeof c->key, "RSA %d", EVP_PKEY_get_bits(key));
	else if (c->is_ecdsa && EVP_PKEY_get_group_name(key, group, sizeof group, NULL))
		snprintf(c->key, sizeof c->key, "ECDSA %s", group);
}

static void take_digest(struct tls_certificate *c, const X509 *x)
{
	struct tlsa_set set = {0};

	if (tlsa_make_from_certificate(&set, (struct tlsa_kind){3, 1, 1}, x))
		for (size_t i = 0; i < set.items[0].len; i++)
			snprintf(c->key_digest + 2 * i, 3, "%02x", set.items[0].data[i]);
	tlsa_set_release(&set);
}

static void take_certificate(struct tls_certificate *c, X509 *x)
{
	unsigned char *der = NULL;
	int len = i2d_X509(x, &der);

	c->der_len = len > 0 ? (size_t)len : 0;
	c->der = mem_copy(der, c->der_len);
	OPENSSL_free(der);
	c->subject = name_text(X509_get_subject_name(x));
	c->issuer = name_text(X509_get_issuer_name(x));
	c->is_self_issued = X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
	c->is_ca = X509_check_ca(x) == 1;
	c->not_before = seconds(X509_get0_notBefore(x));
	c->not_after = seconds(X509_get0_notAfter(x));
	take_names(c, x);
	take_key(c, x);
	take_digest(c, x);
}

void tls_chain_take(struct tls_chain *chain, const SSL *ssl)
{
	STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl);
	int count = sk_X509_num(sent);

	if (count <= 0)
		return;
	if (count > CHAIN_MAX)
		count = CHAIN_MAX;
	chain->items = mem_zero((size_t)count, sizeof *chain->items);
	chain->count = (size_t)count;
	ERR_set_mark();
	for (int i = 0; i < count; i++)
		take_certificate(&chain->items[i], sk_X509_value(sent, i));
	ERR_pop_to_mark();
}

void tls_chain_release(struct tls_chain *chain)
{
	for (size_t i = 0; i < chain->count; i++) {
		struct tls_certificate *c = &chain->items[i];

		for (size_t n = 0; n < c->name_count; n++)
			free(c->names[n]);
		free(c->names);
		free(c->subject);
		free(c->issuer);
		free(c->der);
	}
	free(chain->items);
	*chain = (struct tls_chain){0};
}

/* ---- records ---- */

bool tls_certificate_record(const struct tls_certificate *c, uint8_t usage, uint8_t selector,
    uint8_t matching, struct tlsa_set *set)
{
	const unsigned char *der = c->der;
	X509 *x = c->der_len ? d2i_X509(NULL, &der, (long)c->der_len) : NULL;
	bool made =
	    x && usage <= USAGE_MAX && selector <= SELECTOR_MAX && matching <= MATCHING_MAX &&
	    tlsa_make_from_certificate(set, (struct tlsa_kind){usage, selector, matching}, x);

	X509_free(x);
	return made;
}

static bool fits(const struct tls_certificate *c, const struct tlsa *record)
{
	struct tlsa_set set = {0};
	bool is_equal =
	    tls_certificate_record(c, record->usage, record->selector, record->matching, &set) &&
	    set.items[0].len == record->len && record->len > 0 &&
	    memcmp(set.items[0].data, record->data, record->len) == 0;

	tlsa_set_release(&set);
	return is_equal;
}

int tls_chain_find(const struct tls_chain *chain, const struct tlsa *record)
{
	bool is_authority = record->usage == TLSA_USAGE_TA || record->usage == 0;

	for (size_t i = is_authority; i < chain->count && (is_authority || i == 0); i++)
		if (fits(&chain->items[i], record))
			return (int)i;
	return -1;
}
