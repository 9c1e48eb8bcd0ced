/*
 * tlsa_source.h - what TLSA records are made of: a server's certificates, or a bare public key, as
 * files hold them (PEM, DER) or a server sends them.
 *
 * Of a private key only the public half is kept, and the octets of the file are wiped (OpenSSL's
 * own copies are its own affair). Files are the operator's, but may be anything: each mistake is
 * one line for people.
 */
#ifndef TLS_TLSA_SOURCE_H
#define TLS_TLSA_SOURCE_H

#include "tls/tlsa_make.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tlsa_source;

/* Nothing in it yet, to be filled with tlsa_source_add_certificate(), leaf first. */
struct tlsa_source *tlsa_source_new(void);
void tlsa_source_free(struct tlsa_source **source); /* NULL inside is welcome */

/* One certificate in DER, as a handshake shows it. false: it is none. */
bool tlsa_source_add_certificate(struct tlsa_source *source, const uint8_t *der, size_t len);

/*
 * PEM (any text around, certificates before keys) or DER: certificates X.509, keys SPKI, PKCS#1,
 * PKCS#8, SEC1. Pure. NULL: *why says what the data is or is not ("is empty").
 */
struct tlsa_source *tlsa_source_parse(const uint8_t *data, size_t len, const char **why);

/* The same from a regular file of at most TLSA_FILE_MAX octets. NULL: *error (malloc'd). */
enum { TLSA_FILE_MAX = 1 << 20 };
struct tlsa_source *tlsa_source_load(const char *path, char **error);

/*
 * Adds the records of this kind. Usages 1 and 3 speak of the server's own certificate, the first,
 * 0 and 2 of the last one that is sent with it. A further certificate that is no CA begins another
 * chain (a file with RSA and ECDSA), with a record of its own. A bare key is what the caller says
 * it is. false: nothing was added, *why says why.
 */
bool tlsa_source_make(const struct tlsa_source *source, struct tlsa_kind kind,
    struct tlsa_set *records, const char **why);

/* Whether a record, published maybe, speaks of one of these certificates or this key. */
bool tlsa_source_fits(const struct tlsa_source *source, const struct tlsa *record);

/* Whether records of usage 0 and 2 can be judged: a certificate above the server's own is here. */
bool tlsa_source_has_authority(const struct tlsa_source *source);

/* What would keep a record of this kind from ever matching, in words; NULL: nothing is known. */
const char *tlsa_source_doubt(const struct tlsa_source *source, struct tlsa_kind kind);

#endif
