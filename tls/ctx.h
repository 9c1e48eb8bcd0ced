/*
 * ctx.h - one SSL_CTX for each class of connection (R-TLSSEC-09): what is opportunistic is never
 * loosened from, nor shared with, what must prove something. Levels, versions and ciphers are set
 * explicitly; no file or environment variable of OpenSSL can change them (R-TLSSEC-16).
 */
#ifndef TLS_CTX_H
#define TLS_CTX_H

#include "tls/rule.h"

#include <stdbool.h>
#include <stddef.h>

struct resumption;
struct tls_contexts;

/* Once per process, before any other use of OpenSSL; ignores openssl.cnf. */
void tls_library_init(void);

/*
 * ca_file serves TLS_PKIX alone; one that cannot be read is no error here: tls_contexts_ca_error()
 * tells it, and every TLS_PKIX handshake fails with TLS_FAIL_CHAIN naming it. NULL: *error
 * (malloc'd), out of memory or a broken library.
 */
struct tls_contexts *tls_contexts_new(const char *ca_file, char **error);
void tls_contexts_free(struct tls_contexts **contexts);

/* Another number after each refresh that took the file; never 0. What an earlier store has proven
 * is proven no more. */
unsigned tls_contexts_ca_store(const struct tls_contexts *contexts);

/* The sessions of their connections. */
struct resumption *tls_contexts_resumption(const struct tls_contexts *contexts);

/* "": a CA file is in use */
const char *tls_contexts_ca_error(const struct tls_contexts *contexts);

/*
 * Looks whether the CA file has changed, and takes it if so; what was read before stays in use
 * where it cannot be. "" or what is wrong with the file now, which is not tls_contexts_ca_error()
 * where an earlier one is in use. Borrowed until the next call. Reads the file within the call.
 */
const char *tls_contexts_refresh_ca(struct tls_contexts *contexts);

/*
 * A client handle of the class that the need belongs to; the contexts must outlive it. NULL: the
 * library has no memory. TLS_NONE is our bug.
 */
SSL *tls_contexts_handle(struct tls_contexts *contexts, enum tls_need need);

/* The same as tls_contexts_ca_error(), of the contexts that the handle came from. */
const char *tls_handle_ca_error(const SSL *ssl);
unsigned tls_handle_ca_store(const SSL *ssl);

/*
 * Lets an unproven handle (TLS_MAY, TLS_ENCRYPT) judge certificates as a TLS_PKIX one does: by the
 * CA file, at the same security level. Its handshakes go on as before, whatever the outcome.
 */
bool tls_handle_judge_by_ca(SSL *ssl);

/*
 * Makes the SSL_CTX of another library (libcurl) one of class TLS_PKIX, whatever was set on it
 * before: CA file, levels, versions, ciphers, and the host as the only DNS-ID. That library looks
 * at the common name where a certificate has no alternative names; here the handshake fails before.
 * It also takes a cut connection for an end: *closed, which must live as long as the SSL_CTX,
 * becomes true when the peer's close_notify has come.
 */
bool tls_contexts_lend(
    const struct tls_contexts *contexts, void *ssl_ctx, const char *host, bool *closed);

/*
 * The oldest error of OpenSSL's queue in words ("tlsv1 alert protocol version"), which is emptied;
 * "" if there is none. Returns out.
 */
const char *tls_library_error(char *out, size_t size);

#endif
