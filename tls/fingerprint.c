/*
 * fingerprint.c - AES-128-GCM of no plaintext, the text being what is only authenticated.
 *
 * Called for the body of each message (proxy/relay.c). A library that cannot compute it is broken
 * beyond serving.
 */
#include "tls/fingerprint.h"

#include "conf/mem.h"

#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>

static const unsigned char nonce[12];

struct fingerprint {
	EVP_CIPHER_CTX *context;
};

static struct fingerprint *make(void)
{
	struct fingerprint *fingerprint = mem_alloc(sizeof *fingerprint);

	fingerprint->context = EVP_CIPHER_CTX_new();
	assert(fingerprint->context);
	return fingerprint;
}

struct fingerprint *fingerprint_new(const unsigned char secret[FINGERPRINT_SECRET])
{
	struct fingerprint *fingerprint = make();
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	int ok =
	    cipher && EVP_EncryptInit_ex2(fingerprint->context, cipher, secret, nonce, NULL) == 1;

	assert(ok);
	EVP_CIPHER_free(cipher);
	return fingerprint;
}

/* A key takes longer to set up than a short text to go through. */
struct fingerprint *fingerprint_like(const struct fingerprint *model)
{
	struct fingerprint *fingerprint = make();
	int ok = EVP_CIPHER_CTX_copy(fingerprint->context, model->context) == 1 &&
		 EVP_EncryptInit_ex2(fingerprint->context, NULL, NULL, nonce, NULL) == 1;

	assert(ok);
	return fingerprint;
}

void fingerprint_add(struct fingerprint *fingerprint, const void *data, size_t len)
{
	int ok, taken;

	assert(len <= INT_MAX);
	if (!len) /* without octets this call would end it */
		return;
	ok = EVP_EncryptUpdate(fingerprint->context, NULL, &taken, data, (int)len) == 1;
	assert(ok);
}

void fingerprint_end(struct fingerprint **fingerprint, unsigned char out[FINGERPRINT_SIZE])
{
	EVP_CIPHER_CTX *context = (*fingerprint)->context;
	unsigned char nothing[FINGERPRINT_SIZE];
	int len, ok;

	ok = EVP_EncryptFinal_ex(context, nothing, &len) == 1 &&
	     EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, FINGERPRINT_SIZE, out) == 1;
	assert(ok);
	fingerprint_free(fingerprint);
}

void fingerprint_free(struct fingerprint **fingerprint)
{
	if (!*fingerprint)
		return;
	EVP_CIPHER_CTX_free((*fingerprint)->context);
	free(*fingerprint);
	*fingerprint = NULL;
}
