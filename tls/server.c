/*
 * server.c - the SSL_CTX towards clients (server.h).
 *
 * Nobody proves anything here but us: clients show no certificate, and whoever cannot do TLS 1.2
 * may stay in clear, as it would without our offer. No ticket, no session: each handshake stands
 * for itself, and no key outlives it.
 */
#include "tls/server.h"

#include "conf/mem.h"
#include "tls/ctx.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdlib.h>

#define CIPHERS "HIGH:!aNULL:!eNULL:!PSK:!SRP:!RC4:!3DES"

struct tls_server {
	SSL_CTX *ctx;
};

/* OpenSSL would ask the terminal, and serving would wait for it. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out, (void)size, (void)writing, (void)arg;
	return -1;
}

static SSL_CTX *new_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx)
		return NULL;
	SSL_CTX_clear_options(ctx, SSL_CTX_get_options(ctx));
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
				     SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
				     SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1); /* one read for all records that came, not two for each */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_security_level(ctx, 1);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
	    SSL_CTX_set_max_proto_version(ctx, 0) && SSL_CTX_set_cipher_list(ctx, CIPHERS))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static char *explain(const char *setting, const char *file)
{
	char reason[128];

	return mem_printf("%s %s: %s", setting, file, tls_library_error(reason, sizeof(reason)));
}

/* Both are in use, and belong together. false: *error. */
static bool load(SSL_CTX *ctx, const char *certificate, const char *key, char **error)
{
	if (SSL_CTX_use_certificate_chain_file(ctx, certificate) <= 0)
		*error = explain("tls_certificate", certificate);
	else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) <= 0 ||
		 SSL_CTX_check_private_key(ctx) <= 0)
		*error = explain("tls_key", key);
	else
		return true;
	return false;
}

struct tls_server *tls_server_new(const char *certificate, const char *key, char **error)
{
	struct tls_server *server = mem_zero(1, sizeof(*server));

	ERR_clear_error();
	server->ctx = new_context();
	if (!server->ctx)
		*error = explain("OpenSSL", "towards clients");
	else if (load(server->ctx, certificate, key, error))
		return server;
	tls_server_free(&server);
	return NULL;
}

void tls_server_free(struct tls_server **server)
{
	if (!*server)
		return;
	SSL_CTX_free((*server)->ctx);
	free(*server);
	*server = NULL;
}

SSL *tls_server_handle(struct tls_server *server) { return SSL_new(server->ctx); }
