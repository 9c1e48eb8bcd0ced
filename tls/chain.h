/*
 * chain.h - the certificates that a server sent, as plain data for people: names, dates, keys, and
 * which TLSA records they fit. It proves nothing: what a connection must prove is rule.h's.
 */
#ifndef TLS_CHAIN_H
#define TLS_CHAIN_H

#include "tls/rule.h"
#include "tls/tlsa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { CHAIN_MAX = 12, CHAIN_NAMES_MAX = 100 };

/* Subject, issuer and names are the peer's words, not escaped. All pointers are owned. */
struct tls_certificate {
	char *subject, *issuer; /* "CN = mx.example.org", as openssl shows it */
	size_t name_count;
	char **names; /* DNS-IDs; at most CHAIN_NAMES_MAX */
	time_t not_before, not_after;
	char key[32]; /* "RSA 2048", "EC prime256v1", "ED25519" */
	bool is_rsa, is_ecdsa;
	bool is_ca;
	bool is_self_issued;
	char key_digest[65]; /* SHA-256 of the SPKI, hex */
	size_t der_len;
	uint8_t *der;
};

/* The server's own certificate first. Zeroed is empty. */
struct tls_chain {
	size_t count;
	struct tls_certificate *items;
};

/* What came in the handshake; nothing where it brought no certificate. `chain` holds nothing yet.
 */
void tls_chain_take(struct tls_chain *chain, const SSL *ssl);
void tls_chain_release(struct tls_chain *chain);

/* The record of this usage, selector and matching type that fits the certificate is added to the
 * set. false: it cannot be made. */
bool tls_certificate_record(const struct tls_certificate *certificate, uint8_t usage,
    uint8_t selector, uint8_t matching, struct tlsa_set *set);

/*
 * The depth of the certificate that the record speaks of: 0 for usage 3, above 0 for usage 2 (such
 * a record never speaks of the server's own certificate, R-DANE-14); -1: of none that was sent.
 */
int tls_chain_find(const struct tls_chain *chain, const struct tlsa *record);

#endif
