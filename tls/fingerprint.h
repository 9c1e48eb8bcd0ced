/*
 * fingerprint.h - by what a long text is known again: GMAC under a secret (NIST SP 800-38D), by
 * OpenSSL. As fast as the processor multiplies, several times as fast as SHA-256.
 *
 * It tells texts apart for whoever keeps the secret and shows no fingerprint to others; for nothing
 * else: all are made with one nonce. Owner: whoever made it; fingerprint_end() or
 * fingerprint_free().
 */
#ifndef TLS_FINGERPRINT_H
#define TLS_FINGERPRINT_H

#include <stddef.h>

enum { FINGERPRINT_SIZE = 16, FINGERPRINT_SECRET = 16 };

struct fingerprints;
struct fingerprint;

/* All under one secret. */
struct fingerprints *fingerprints_new(const unsigned char secret[FINGERPRINT_SECRET]);
/* Those begun may outlive it. NULL inside is welcome. */
void fingerprints_free(struct fingerprints **fingerprints);

struct fingerprint *fingerprint_begin(struct fingerprints *fingerprints); /* of nothing yet */
void fingerprint_add(struct fingerprint *fingerprint, const void *data, size_t len);
void fingerprint_end(struct fingerprint **fingerprint, unsigned char out[FINGERPRINT_SIZE]);
void fingerprint_free(struct fingerprint **fingerprint); /* NULL inside is welcome */

#endif
