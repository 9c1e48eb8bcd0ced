/*
 * resumption.h - TLS sessions of next hops, kept so that the next connection costs half a handshake
 * (R-TLSSEC-06, -07; RFC 8446 2.2, RFC 5077).
 *
 * A resumed handshake verifies nothing: OpenSSL repeats the result of the first. So each session is
 * kept with its proof, under a key of all that the proof depends on, and only once its connection
 * has passed the whole test. Owner: tls_contexts.
 */
#ifndef TLS_RESUMPTION_H
#define TLS_RESUMPTION_H

#include "conf/addr.h"
#include "tls/rule.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct ssl_session_st SSL_SESSION;

struct resumption;

/* However often a server renewed its ticket. */
enum { RESUMPTION_SECONDS = 24 * 3600, RESUMPTION_MAX = 2000 };

struct resumption *resumption_new(void);
void resumption_free(struct resumption **resumption); /* NULL inside is welcome */
/* The CA store is another one: what the old one proved is proven no more. */
void resumption_renew(struct resumption *resumption);
size_t resumption_count(const struct resumption *resumption);

/* Between whom; both copied into the key. */
struct tls_peer {
	const struct addr *address;
	const struct addr *source; /* NULL: whichever the kernel chooses */
};

/* One connection's part in it. Zeroed: it neither resumes nor is kept. */
struct resuming {
	struct resumption *resumption;
	unsigned char key[TLS_KEY_SIZE];
	bool was_offered;
	struct tls_proof *offered;     /* of the session that is offered; until the proof */
	const struct tls_proof *proof; /* passed: goes with each session that comes */
	SSL_SESSION *early;            /* came before that (TLS 1.2) */
};

/* Before the handshake, after tls_rule_apply(): offers a kept session where one fits. */
void resuming_begin(struct resuming *resuming, struct resumption *resumption,
    const struct tls_rule *rule, const struct tls_peer *peer, SSL *ssl);
/* For tls_rule_judge(): the proof of the session that was offered. NULL: none was. */
const struct tls_proof *resuming_proof(const struct resuming *resuming);
/* The rule is met. The proof, which must live as long as the handle, gets its moment here. Of the
 * certificates that were sent only the server's own stays, here and in what is kept. */
void resuming_pass(struct resuming *resuming, SSL *ssl, struct tls_proof *proof);
/* Something is wrong with the connection: what is kept under its key goes. */
void resuming_fail(struct resuming *resuming);
void resuming_release(struct resuming *resuming);

/* For SSL_CTX_sess_set_new_cb(). */
int resuming_on_session(SSL *ssl, SSL_SESSION *session);

#endif
