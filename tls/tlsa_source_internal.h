/*
 * tlsa_source_internal.h - shared by tlsa_source.c (which certificate is meant) and tlsa_parse.c
 * (what a file holds).
 */
#ifndef TLS_TLSA_SOURCE_INTERNAL_H
#define TLS_TLSA_SOURCE_INTERNAL_H

#include "tls/tlsa_source.h"

#include <openssl/x509.h>

/* More is a bundle of authorities and no server's chain. */
enum { TLSA_CERTIFICATES_MAX = 30 };

struct tlsa_source {
	STACK_OF(X509) * certificates;
	EVP_PKEY *key; /* public half; meant where there is no certificate */
};

/* Both take over what they get. */
void tlsa_source_take_certificate(struct tlsa_source *source, X509 *certificate);
/* false: another key is there already. */
bool tlsa_source_take_key(struct tlsa_source *source, EVP_PKEY *key);

#endif
