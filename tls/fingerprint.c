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
#include <stdbool.h>
#include <stdlib.h>

enum { SPARES_MAX = 16 };

static const unsigned char nonce[12];

/* A context that was used once is set up for the next text in a third of the time. */
struct fingerprints {
	EVP_CIPHER_CTX *model; /* keyed; given nothing */
	unsigned in_use;
	bool is_orphan; /* the last one in use takes it along */
	unsigned spare_count;
	EVP_CIPHER_CTX *spares[SPARES_MAX];
};

struct fingerprint {
	struct fingerprints *of;
	EVP_CIPHER_CTX *context;
};

static EVP_CIPHER_CTX *new_context(void)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

	assert(context);
	return context;
}

struct fingerprints *fingerprints_new(const unsigned char secret[FINGERPRINT_SECRET])
{
	struct fingerprints *f = mem_zero(1, sizeof *f);
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	int ok;

	f->model = new_context();
	ok = cipher && EVP_EncryptInit_ex2(f->model, cipher, secret, nonce, NULL) == 1;
	assert(ok);
	EVP_CIPHER_free(cipher);
	return f;
}

static void release(struct fingerprints *f)
{
	while (f->spare_count)
		EVP_CIPHER_CTX_free(f->spares[--f->spare_count]);
	EVP_CIPHER_CTX_free(f->model);
	free(f);
}

void fingerprints_free(struct fingerprints **fingerprints)
{
	struct fingerprints *f = *fingerprints;

	*fingerprints = NULL;
	if (!f)
		return;
	f->is_orphan = true;
	if (!f->in_use)
		release(f);
}

/* A key takes longer to set up than a short text to go through. */
static EVP_CIPHER_CTX *copy_model(const struct fingerprints *f)
{
	EVP_CIPHER_CTX *context = new_context();
	int ok = EVP_CIPHER_CTX_copy(context, f->model) == 1;

	assert(ok);
	return context;
}

struct fingerprint *fingerprint_begin(struct fingerprints *f)
{
	struct fingerprint *fingerprint = mem_alloc(sizeof *fingerprint);
	int ok;

	fingerprint->of = f;
	fingerprint->context = f->spare_count ? f->spares[--f->spare_count] : copy_model(f);
	f->in_use++;
	ok = EVP_EncryptInit_ex2(fingerprint->context, NULL, NULL, nonce, NULL) == 1;
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
	struct fingerprints *f;

	if (!*fingerprint)
		return;
	f = (*fingerprint)->of;
	if (f->spare_count < SPARES_MAX)
		f->spares[f->spare_count++] = (*fingerprint)->context;
	else
		EVP_CIPHER_CTX_free((*fingerprint)->context);
	free(*fingerprint);
	*fingerprint = NULL;
	if (--f->in_use == 0 && f->is_orphan)
		release(f);
}
