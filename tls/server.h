/*
 * server.h - our certificate towards clients, and the TLS that it comes with (R-TLSSEC-02). Owner:
 * serve, one for each listener that has a certificate.
 */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

typedef struct ssl_st SSL;

struct tls_server;

/*
 * Both files are PEM, the first with its chain, the leaf first; the key without passphrase. NULL:
 * *error (malloc'd) names the file at fault and says why.
 */
struct tls_server *tls_server_new(const char *certificate, const char *key, char **error);
void tls_server_free(struct tls_server **server); /* NULL inside is welcome */

/* A server handle; the server must outlive it. NULL: the library has no memory. */
SSL *tls_server_handle(struct tls_server *server);

#endif
