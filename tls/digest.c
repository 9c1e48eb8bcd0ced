/*
 * digest.c - SHA-256 of octets as they come, by OpenSSL's EVP interface.
 *
 * Called where a message must be known again (proxy/duplicates.c): for its body, and for the key
 * under which it is remembered. A library that cannot compute it is broken beyond serving.
 */
#include "tls/digest.h"

#include "conf/mem.h"

#include <openssl/evp.h>

#include <assert.h>
#include <stdlib.h>

struct digest {
	EVP_MD_CTX *context;
};

/* Looking an algorithm up by its name takes longer than to hash a short text with it. */
static const EVP_MD *sha256(void)
{
	static EVP_MD *fetched;

	if (!fetched)
		fetched = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	assert(fetched);
	return fetched;
}

struct digest *digest_new(void)
{
	struct digest *digest = mem_zero(1, sizeof *digest);
	int ok;

	digest->context = EVP_MD_CTX_new();
	ok = digest->context && EVP_DigestInit_ex2(digest->context, sha256(), NULL);
	assert(ok);
	return digest;
}

void digest_add(struct digest *digest, const void *data, size_t len)
{
	int ok = EVP_DigestUpdate(digest->context, data, len);

	assert(ok);
}

void digest_end(struct digest **digest, unsigned char out[DIGEST_SIZE])
{
	unsigned len;
	int ok = EVP_DigestFinal_ex((*digest)->context, out, &len);

	assert(ok && len == DIGEST_SIZE);
	digest_free(digest);
}

void digest_free(struct digest **digest)
{
	if (!*digest)
		return;
	EVP_MD_CTX_free((*digest)->context);
	free(*digest);
	*digest = NULL;
}
