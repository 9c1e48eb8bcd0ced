/*
 * tlsa_make.h - TLSA records from what they shall match, and their presentation forms (RFC 6698
 * sections 2.1 and 2.2, RFC 3597 section 5). What `danelaw tlsa` prints and `danelaw check`
 * proposes is made here.
 */
#ifndef TLS_TLSA_MAKE_H
#define TLS_TLSA_MAKE_H

#include "tls/tlsa.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct evp_pkey_st EVP_PKEY;
typedef struct x509_st X509;

/* Usage, selector, matching: 0 to 3, 0 to 1, 0 to 2. */
struct tlsa_kind {
	uint8_t usage, selector, matching;
};

/*
 * Adds the record that matches the certificate, or the bare public key (selector 1 alone). The
 * octets are those of the certificate as it came, never encoded anew. false: nothing was added,
 * what would have to be published is more than a DNS record holds, or the library has no memory.
 */
bool tlsa_make_from_certificate(struct tlsa_set *set, struct tlsa_kind kind, const X509 *from);
bool tlsa_make_from_key(struct tlsa_set *set, struct tlsa_kind kind, const EVP_PKEY *from);

enum tlsa_form {
	TLSA_PLAIN,   /* TLSA 3 1 1 ab12.. */
	TLSA_GENERIC, /* TYPE52 \# 35 030101ab12.., for software that does not know the type */
};

/* Type and data, whole, in lower-case hex without breaks; malloc'd. */
char *tlsa_type_and_data(const struct tlsa *t, enum tlsa_form form);

/*
 * One line of a zone file without its end: "_25._tcp.mx.example.org. 3600 IN TLSA 3 1 1 ab12..";
 * malloc'd. owner is without its last dot, "" is the root; ttl 0: none is written.
 */
char *tlsa_zone_line(const struct tlsa *t, enum tlsa_form form, const char *owner, uint32_t ttl);

#endif
