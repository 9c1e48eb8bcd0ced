/*
 * digest.h - SHA-256 of octets as they come (FIPS 180-4), by OpenSSL.
 *
 * Owner: whoever made it; digest_end() or digest_free().
 */
#ifndef TLS_DIGEST_H
#define TLS_DIGEST_H

#include <stddef.h>

enum { DIGEST_SIZE = 32 };

struct digest;

struct digest *digest_new(void);
void digest_add(struct digest *digest, const void *data, size_t len);
void digest_end(struct digest **digest, unsigned char out[DIGEST_SIZE]);
void digest_free(struct digest **digest); /* NULL inside is welcome */

#endif
