/*
 * tlsa_parse.c - a file's octets to certificates or a public key (tlsa_source_parse).
 *
 * PEM types are those of RFC 7468 and OpenSSL's older ones; what a server's file may also hold
 * (parameters, CRLs) is passed over. Pure, fuzzed. OpenSSL's own readers would ask for a password
 * on the terminal: here none is ever asked for, an encrypted key is refused.
 */
#include "tls/tlsa_source_internal.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <string.h>

/*
 * Longer than a key of RSA-16384 with all its parts. OpenSSL raises to powers as large as it is
 * told when it completes a private key, which for an absurd one takes days.
 */
enum { KEY_MAX = 16384 };

static const char no_key_or_certificate[] =
    "holds neither a certificate nor a key in PEM or DER, or it is cut short";
static const char is_encrypted[] = "holds an encrypted private key; give the certificate or the "
				   "public key instead, or decrypt it first";
static const char several_keys[] = "holds several keys and no certificate: give one at a time";

/* ---- one object in DER; NULL: something else, or not whole ---- */

static X509 *read_certificate(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;
	X509 *certificate = d2i_X509(NULL, &end, (long)len);

	if (certificate && end == data + len)
		return certificate;
	X509_free(certificate);
	return NULL;
}

/* "TRUSTED CERTIFICATE": followed by what OpenSSL's tools think of it. */
static X509 *read_trusted_certificate(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;

	return d2i_X509_AUX(NULL, &end, (long)len);
}

static EVP_PKEY *whole_key(EVP_PKEY *key, bool is_whole)
{
	if (key && is_whole)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static EVP_PKEY *read_public_key(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;
	EVP_PKEY *key = len > KEY_MAX ? NULL : d2i_PUBKEY(NULL, &end, (long)len);

	return whole_key(key, end == data + len);
}

static EVP_PKEY *read_rsa_public_key(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;
	EVP_PKEY *key = len > KEY_MAX ? NULL : d2i_PublicKey(EVP_PKEY_RSA, NULL, &end, (long)len);

	return whole_key(key, end == data + len);
}

/* The private half ends here. */
static EVP_PKEY *public_half(EVP_PKEY *private)
{
	unsigned char *der = NULL;
	int len = private ? i2d_PUBKEY(private, &der) : 0;
	EVP_PKEY *key = len > 0 ? read_public_key(der, (size_t)len) : NULL;

	OPENSSL_free(der);
	EVP_PKEY_free(private);
	return key;
}

static EVP_PKEY *read_private_key(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;
	EVP_PKEY *key = len > KEY_MAX ? NULL : d2i_AutoPrivateKey(NULL, &end, (long)len);

	return public_half(whole_key(key, end == data + len));
}

static bool is_encrypted_key(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;
	X509_SIG *box = d2i_X509_SIG(NULL, &end, (long)len);
	bool is_box = box && end == data + len;

	X509_SIG_free(box);
	return is_box;
}

static bool is_pkcs12(const uint8_t *data, size_t len)
{
	const unsigned char *end = data;
	PKCS12 *box = d2i_PKCS12(NULL, &end, (long)len);

	PKCS12_free(box);
	return box != NULL;
}

/* ---- PEM ---- */

struct block {
	char *type, *header;
	uint8_t *data;
	long len;
};

typedef X509 *certificate_fn(const uint8_t *data, size_t len);
typedef EVP_PKEY *key_fn(const uint8_t *data, size_t len);

static const struct {
	const char *type;
	certificate_fn *certificate;
	key_fn *key;
	const char *refused; /* where nothing else is in the file */
} types[] = {
    {PEM_STRING_X509, read_certificate, NULL, NULL},
    {PEM_STRING_X509_OLD, read_certificate, NULL, NULL},
    {PEM_STRING_X509_TRUSTED, read_trusted_certificate, NULL, NULL},
    {PEM_STRING_PUBLIC, NULL, read_public_key, NULL},
    {PEM_STRING_RSA_PUBLIC, NULL, read_rsa_public_key, NULL},
    {PEM_STRING_PKCS8INF, NULL, read_private_key, NULL},
    {PEM_STRING_RSA, NULL, read_private_key, NULL},
    {PEM_STRING_DSA, NULL, read_private_key, NULL},
    {PEM_STRING_ECPRIVATEKEY, NULL, read_private_key, NULL},
    {PEM_STRING_PKCS8, NULL, NULL, is_encrypted},
    {"OPENSSH PRIVATE KEY", NULL, NULL, "holds a key of OpenSSH, which no mail server uses"},
    {PEM_STRING_X509_REQ, NULL, NULL,
	"holds a certificate request; give the certificate or the key"},
};

static const char *take_certificate(struct tlsa_source *source, X509 *certificate)
{
	if (!certificate)
		return "holds a damaged certificate";
	tlsa_source_take_certificate(source, certificate);
	if (sk_X509_num(source->certificates) > TLSA_CERTIFICATES_MAX)
		return "holds more certificates than a server's chain has";
	return NULL;
}

static const char *take_key(struct tlsa_source *source, EVP_PKEY *key, const char **refused)
{
	if (!key)
		return "holds a damaged key, or one of an unknown kind";
	if (!tlsa_source_take_key(source, key))
		*refused = several_keys;
	return NULL;
}

/* *refused: why this block does not count, should no certificate come. Returns what is wrong. */
static const char *take_block(
    struct tlsa_source *source, const struct block *block, const char **refused)
{
	size_t len = (size_t)block->len;

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(types[i].type, block->type) != 0)
			continue;
		if (types[i].certificate)
			return take_certificate(source, types[i].certificate(block->data, len));
		if (types[i].refused || strstr(block->header, "ENCRYPTED")) {
			*refused = types[i].refused ? types[i].refused : is_encrypted;
			return NULL;
		}
		return take_key(source, types[i].key(block->data, len), refused);
	}
	return NULL;
}

/* PEM_FLAG_SECURE makes OpenSSL wipe what it decoded and did not hand out. */
static bool next_block(BIO *bio, struct block *block)
{
	*block = (struct block){0};
	return PEM_read_bio_ex(bio, &block->type, &block->header, &block->data, &block->len,
	    PEM_FLAG_SECURE | PEM_FLAG_EAY_COMPATIBLE);
}

static void release_block(struct block *block)
{
	OPENSSL_secure_free(block->type);
	OPENSSL_secure_free(block->header);
	OPENSSL_secure_clear_free(block->data, (size_t)block->len);
}

static const char *take_blocks(struct tlsa_source *source, BIO *bio, const char **refused)
{
	const char *why = NULL;
	struct block block;
	unsigned long error;

	while (!why && next_block(bio, &block)) {
		why = take_block(source, &block, refused);
		release_block(&block);
		ERR_clear_error();
	}
	error = ERR_peek_last_error();
	if (!why &&
	    !(ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE))
		why = "is damaged: a PEM block has no end or is not in Base64";
	return why;
}

static const char *parse_pem(struct tlsa_source *source, const uint8_t *data, size_t len)
{
	BIO *bio = BIO_new_mem_buf(data, (int)len);
	const char *refused = NULL,
		   *why = bio ? take_blocks(source, bio, &refused) : "out of memory";

	BIO_free(bio);
	if (why)
		return why;
	if (sk_X509_num(source->certificates) > 0)
		return NULL;
	if (refused)
		return refused;
	return source->key ? NULL : no_key_or_certificate;
}

/* ---- DER ---- */

static const char *parse_der(struct tlsa_source *source, const uint8_t *data, size_t len)
{
	static key_fn *const readers[] = {read_public_key, read_private_key, read_rsa_public_key};
	X509 *certificate = read_certificate(data, len);

	if (certificate)
		return take_certificate(source, certificate);
	if (is_encrypted_key(data, len))
		return is_encrypted;
	for (size_t i = 0; i < sizeof readers / sizeof *readers && !source->key; i++)
		source->key = readers[i](data, len);
	if (source->key)
		return NULL;
	return is_pkcs12(data, len) ? "is a PKCS#12 file; give the certificate in PEM or DER"
				    : no_key_or_certificate;
}

static bool is_pem(const uint8_t *data, size_t len)
{
	static const char begin[] = "-----BEGIN ";

	return memmem(data, len, begin, sizeof begin - 1);
}

struct tlsa_source *tlsa_source_parse(const uint8_t *data, size_t len, const char **why)
{
	struct tlsa_source *source;

	if (len == 0 || len > INT_MAX) {
		*why = len ? "is too large" : "is empty";
		return NULL;
	}
	source = tlsa_source_new();
	ERR_clear_error();
	*why = is_pem(data, len) ? parse_pem(source, data, len) : parse_der(source, data, len);
	ERR_clear_error();
	if (*why)
		tlsa_source_free(&source);
	return source;
}
