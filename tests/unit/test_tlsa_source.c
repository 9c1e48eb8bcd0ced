/*
 * test_tlsa_source.c - which certificate or key a file means, whatever form it has; what is none is
 * refused with a reason; and nothing private is kept.
 */
#include "conf/mem.h"
#include "tls/tlsa_source_internal.h"
#include "tls_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/err.h>

static struct identity leaf, other_leaf, ca, root;

/* ---- files, as they would be ---- */

struct text {
	size_t len;
	uint8_t data[1 << 17];
};

static void append(struct text *file, BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	assert_true(len > 0 && file->len + (size_t)len < sizeof file->data);
	memcpy(file->data + file->len, data, (size_t)len);
	file->len += (size_t)len;
	BIO_free(bio);
}

static void add_pem(struct text *file, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, certificate);
	append(file, bio);
}

enum key_form { PKCS8, TRADITIONAL, SPKI, PKCS8_ENCRYPTED, TRADITIONAL_ENCRYPTED, KEY_FORMS };

static void add_pem_key(struct text *file, EVP_PKEY *key, enum key_form form)
{
	static unsigned char password[] = "x";
	const EVP_CIPHER *cipher = EVP_aes_128_cbc();
	BIO *bio = BIO_new(BIO_s_mem());

	if (form == PKCS8)
		PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	else if (form == TRADITIONAL)
		PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL);
	else if (form == SPKI)
		PEM_write_bio_PUBKEY(bio, key);
	else if (form == PKCS8_ENCRYPTED)
		PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, (char *)password, 1, NULL, NULL);
	else
		PEM_write_bio_PrivateKey_traditional(bio, key, cipher, password, 1, NULL, NULL);
	append(file, bio);
}

static void add_text(struct text *file, const char *text)
{
	memcpy(file->data + file->len, text, strlen(text));
	file->len += strlen(text);
}

static struct text file;

static struct text *empty_file(void)
{
	file.len = 0;
	return &file;
}

/* ---- expectations ---- */

static const struct tlsa_kind kind_311 = {3, 1, 1}, kind_201 = {2, 0, 1};

static struct tlsa_source *parse(const struct text *text)
{
	const char *why = "";
	struct tlsa_source *source = tlsa_source_parse(text->data, text->len, &why);

	if (!source)
		fail_msg("refused: %s", why);
	return source;
}

static void assert_refused(const struct text *text, const char *words)
{
	const char *why = "";
	struct tlsa_source *source = tlsa_source_parse(text->data, text->len, &why);

	assert_null(source);
	if (!strstr(why, words))
		fail_msg("\"%s\" is not in \"%s\"", words, why);
}

/* The records of the kind are those of these certificates, in this order. */
static void assert_means(
    const struct tlsa_source *source, struct tlsa_kind kind, const X509 *first, const X509 *second)
{
	struct tlsa_set made = {0}, wanted = {0};
	const char *why;

	assert_true(tlsa_source_make(source, kind, &made, &why));
	add_association(&wanted, first, kind.usage, kind.selector, kind.matching);
	if (second)
		add_association(&wanted, second, kind.usage, kind.selector, kind.matching);
	assert_int_equal(made.count, wanted.count);
	for (size_t i = 0; i < made.count; i++)
		assert_true(tlsa_equal(&made.items[i], &wanted.items[i]));
	tlsa_set_release(&made);
	tlsa_set_release(&wanted);
}

/* ---- tests ---- */

static void certificate_forms(void **state)
{
	unsigned char *der = NULL;
	int len = i2d_X509(leaf.certificate, &der);
	struct tlsa_source *source;
	const char *why;

	(void)state;
	source = tlsa_source_parse(der, (size_t)len, &why);
	assert_means(source, kind_311, leaf.certificate, NULL);
	assert_true(tlsa_source_add_certificate(source, der, (size_t)len));
	assert_false(tlsa_source_add_certificate(source, der, (size_t)len - 1));
	tlsa_source_free(&source);
	for (int cut = 0; cut < len; cut++)
		assert_null(tlsa_source_parse(der, (size_t)cut, &why));
	OPENSSL_free(der);
	add_text(empty_file(), "any text\r\nbefore it\n");
	add_pem(&file, leaf.certificate);
	add_text(&file, "and after\n-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
	source = parse(&file);
	assert_means(source, kind_311, leaf.certificate, NULL);
	tlsa_source_free(&source);
}

static void key_forms(void **state)
{
	struct identity *identities[] = {&leaf, &other_leaf};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (enum key_form form = PKCS8; form < KEY_FORMS; form++) {
			struct tlsa_source *source;

			add_pem_key(empty_file(), identities[i]->key, form);
			if (form == PKCS8_ENCRYPTED || form == TRADITIONAL_ENCRYPTED) {
				assert_refused(&file, "encrypted private key");
				continue;
			}
			source = parse(&file);
			assert_means(source, kind_311, identities[i]->certificate, NULL);
			assert_true(i2d_PrivateKey(source->key, NULL) <= 0);
			tlsa_source_free(&source);
			ERR_clear_error();
		}
	}
}

static void key_in_der(EVP_PKEY *key, int encode(const EVP_PKEY *, unsigned char **))
{
	unsigned char *der = NULL;
	int len = encode(key, &der);
	const char *why;
	struct tlsa_source *source = tlsa_source_parse(der, (size_t)len, &why);

	assert_means(source, kind_311, leaf.certificate, NULL);
	tlsa_source_free(&source);
	for (int cut = 1; cut < len; cut++)
		assert_null(tlsa_source_parse(der, (size_t)cut, &why));
	OPENSSL_free(der);
}

static void keys_in_der(void **state)
{
	(void)state;
	key_in_der(leaf.key, i2d_PrivateKey);
	key_in_der(leaf.key, i2d_PUBKEY);
}

static void bare_key_has_no_certificate(void **state)
{
	struct tlsa_set set = {0};
	struct tlsa_source *source;
	const char *why;

	(void)state;
	add_pem_key(empty_file(), leaf.key, PKCS8);
	source = parse(&file);
	for (uint8_t usage = 0; usage < 4; usage++) {
		assert_false(tlsa_source_make(source, (struct tlsa_kind){usage, 0, 1}, &set, &why));
		assert_non_null(strstr(why, "--selector 1"));
	}
	assert_int_equal(set.count, 0);
	assert_non_null(tlsa_source_doubt(source, (struct tlsa_kind){2, 1, 1}));
	assert_null(tlsa_source_doubt(source, kind_311));
	tlsa_source_free(&source);
}

/* A server's files hold its key before or behind the chain; the certificates count. */
static void key_beside_chain(void **state)
{
	(void)state;
	for (enum key_form form = PKCS8; form < KEY_FORMS; form++) {
		struct tlsa_source *source;

		add_pem_key(empty_file(), other_leaf.key, form);
		add_pem(&file, leaf.certificate);
		add_pem(&file, ca.certificate);
		source = parse(&file);
		assert_means(source, kind_311, leaf.certificate, NULL);
		assert_means(source, kind_201, ca.certificate, NULL);
		assert_null(tlsa_source_doubt(source, kind_201));
		tlsa_source_free(&source);
	}
}

static void two_chains(void **state)
{
	struct tlsa_source *source;

	(void)state;
	add_pem(empty_file(), leaf.certificate);
	add_pem(&file, ca.certificate);
	add_pem(&file, other_leaf.certificate);
	add_pem(&file, ca.certificate);
	add_pem(&file, root.certificate);
	source = parse(&file);
	assert_means(source, kind_311, leaf.certificate, other_leaf.certificate);
	assert_means(source, kind_201, ca.certificate, root.certificate);
	tlsa_source_free(&source);
}

static void leaf_as_trust_anchor(void **state)
{
	struct tlsa_source *source;

	(void)state;
	add_pem(empty_file(), leaf.certificate);
	source = parse(&file);
	assert_means(source, kind_201, leaf.certificate, NULL);
	assert_non_null(strstr(tlsa_source_doubt(source, kind_201), "no CA"));
	assert_null(tlsa_source_doubt(source, kind_311));
	tlsa_source_free(&source);
}

static bool fits(const struct tlsa_source *source, const X509 *certificate, uint8_t usage)
{
	struct tlsa_set set = {0};
	bool all = true;

	for (uint8_t i = 0; i < 6; i++)
		add_association(&set, certificate, usage, i / 3, i % 3);
	for (size_t i = 0; i < set.count; i++)
		all = tlsa_source_fits(source, &set.items[i]) && all;
	if (!all)
		for (size_t i = 0; i < set.count; i++)
			assert_false(tlsa_source_fits(source, &set.items[i]));
	tlsa_set_release(&set);
	return all;
}

static void published_records(void **state)
{
	struct tlsa_source *source;

	(void)state;
	add_pem(empty_file(), leaf.certificate);
	add_pem(&file, ca.certificate);
	add_pem(&file, root.certificate);
	source = parse(&file);
	assert_true(fits(source, leaf.certificate, 3));
	assert_true(fits(source, ca.certificate, 2) && fits(source, root.certificate, 2));
	assert_false(fits(source, leaf.certificate, 2) || fits(source, ca.certificate, 3));
	assert_false(fits(source, other_leaf.certificate, 3));
	assert_false(tlsa_source_fits(source, &(struct tlsa){4, 1, 1, 1, (const uint8_t *)"x"}));
	assert_false(tlsa_source_fits(source, &(struct tlsa){3, 2, 1, 1, (const uint8_t *)"x"}));
	assert_false(tlsa_source_fits(source, &(struct tlsa){3, 1, 255, 1, (const uint8_t *)"x"}));
	assert_false(tlsa_source_fits(source, &(struct tlsa){3, 1, 1, 0, NULL}));
	tlsa_source_free(&source);
	add_pem(empty_file(), ca.certificate);
	source = parse(&file);
	assert_true(fits(source, ca.certificate, 2));
	tlsa_source_free(&source);
}

#define BLOCK(type, data) "-----BEGIN " type "-----\n" data "-----END " type "-----\n"

static void hostile_files(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
	    {"", "is empty"},
	    {"\n", "neither"},
	    {"hello", "neither"},
	    {"0\x80", "neither"},
	    {"-----BEGIN ", "neither"},
	    {"-----BEGIN CERTIFICATE-----\n", "damaged"},
	    {"-----BEGIN CERTIFICATE-----\nAAAA", "damaged"},
	    {BLOCK("CERTIFICATE", ""), "damaged"},
	    {BLOCK("CERTIFICATE", "AAAA\n"), "damaged certificate"},
	    {BLOCK("CERTIFICATE", "*!?\n"), "damaged"},
	    {BLOCK("TRUSTED CERTIFICATE", "AAAA\n"), "damaged certificate"},
	    {BLOCK("PRIVATE KEY", "AAAA\n"), "damaged key"},
	    {BLOCK("RSA PRIVATE KEY", "AAAA\n"), "damaged key"},
	    {BLOCK("PUBLIC KEY", "AAAA\n"), "damaged key"},
	    {BLOCK("RSA PUBLIC KEY", "AAAA\n"), "damaged key"},
	    {BLOCK("ENCRYPTED PRIVATE KEY", "AAAA\n"), "encrypted"},
	    {BLOCK("OPENSSH PRIVATE KEY", "AAAA\n"), "OpenSSH"},
	    {BLOCK("CERTIFICATE REQUEST", "AAAA\n"), "request"},
	    {BLOCK("EC PARAMETERS", "BggqhkjOPQMBBw==\n"), "neither"},
	    {BLOCK("X509 CRL", "AAAA\n"), "neither"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		add_text(empty_file(), cases[i].text);
		assert_refused(&file, cases[i].words);
	}
}

static void several_of_a_kind(void **state)
{
	struct tlsa_source *source;

	(void)state;
	add_pem_key(empty_file(), leaf.key, SPKI);
	add_pem_key(&file, leaf.key, PKCS8);
	source = parse(&file);
	tlsa_source_free(&source);
	add_pem_key(&file, other_leaf.key, PKCS8);
	assert_refused(&file, "several keys");
	empty_file();
	for (int i = 0; i <= TLSA_CERTIFICATES_MAX; i++)
		add_pem(&file, ca.certificate);
	assert_refused(&file, "more certificates than");
}

/* What can be written into a file cannot keep us busy: an absurd modulus is not computed with. */
static void absurd_key(void **state)
{
	static uint8_t der[60000];
	static const uint8_t head[] = {0x30, 0x82, 0xea, 0x5c, 0x02, 0x82, 0xea, 0x50};
	const char *why;

	(void)state;
	memset(der, 0x7f, sizeof der);
	memcpy(der, head, sizeof head);
	assert_null(tlsa_source_parse(der, sizeof der, &why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"certificates in PEM and DER", certificate_forms, NULL, NULL, NULL},
	    {"keys in PEM, the private half is dropped", key_forms, NULL, NULL, NULL},
	    {"keys in DER", keys_in_der, NULL, NULL, NULL},
	    {"a bare key has no certificate", bare_key_has_no_certificate, NULL, NULL, NULL},
	    {"a key beside a chain", key_beside_chain, NULL, NULL, NULL},
	    {"two chains in a file", two_chains, NULL, NULL, NULL},
	    {"R-DANE-14: a leaf as trust anchor", leaf_as_trust_anchor, NULL, NULL, NULL},
	    {"R-DANE-09, -10, -14: what is published", published_records, NULL, NULL, NULL},
	    {"hostile files", hostile_files, NULL, NULL, NULL},
	    {"several of a kind", several_of_a_kind, NULL, NULL, NULL},
	    {"an absurd key", absurd_key, NULL, NULL, NULL},
	};
	static const struct identity_spec authority = {
	    .common_name = "CA", .constraints = "critical,CA:TRUE"};
	struct identity *all[] = {&leaf, &other_leaf, &ca, &root};
	int failed;

	root = make_identity(&authority, NULL);
	ca = make_identity(&authority, &root);
	leaf = make_identity(&(struct identity_spec){.common_name = "mx"}, &ca);
	other_leaf =
	    make_identity(&(struct identity_spec){.common_name = "mx", .rsa_bits = 2048}, &ca);
	failed = cmocka_run_group_tests_name("tlsa_source", tests, NULL, NULL);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		free_identity(all[i]);
	return failed;
}
