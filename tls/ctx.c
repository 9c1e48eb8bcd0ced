/*
 * ctx.c - the SSL_CTX of each class of connection (ctx.h).
 *
 *   class            proof    OpenSSL level  TLS 1.2 ciphers
 *   DANE, PKIX       demanded 1              ECDHE with AEAD
 *   encrypt-only     none     0              strong ones
 *   opportunistic    none     0              whatever the library still has
 *
 * The last has clear text as its alternative, to which any cipher is better.
 * Level 1 is our answer to R-DANE-28: a leaf with RSA-1024 that a published 3 1 1 matches is
 * accepted (the domain's owner has vouched for that very key in DNSSEC, as Postfix sees it),
 * anything weaker is refused, and so are SHA-1 and MD5 in a chain. The distribution's default,
 * level 2, would refuse it by accident.
 *
 * OpenSSL keeps no session: it would take a resumed session's stored result for a proof, whatever
 * TLSA records were set. Those that may be resumed are in resumption.c (R-TLSSEC-06).
 */
#include "tls/ctx.h"

#include "conf/mem.h"
#include "tls/resumption.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CIPHERS_AUTHENTICATED "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL:!PSK:!SRP"
#define CIPHERS_ENCRYPT       "HIGH:!aNULL:!eNULL:!PSK:!SRP:!RC4:!3DES:!EXPORT"
#define CIPHERS_OPPORTUNISTIC "ALL:!aNULL:!eNULL:!PSK:!SRP"

static const char tls13_ciphers[] =
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

enum { CHAIN_DEPTH_MAX = 10, CERTIFICATES_MAX = 100 * 1024 };

enum trust { OPPORTUNISTIC, ENCRYPT_ONLY, PKIX, DANE, CLASS_COUNT };

static const struct {
	const char *ciphers;
	int level;
	int verify;
} settings[CLASS_COUNT] = {
    [OPPORTUNISTIC] = {CIPHERS_OPPORTUNISTIC, 0, SSL_VERIFY_NONE},
    [ENCRYPT_ONLY] = {CIPHERS_ENCRYPT, 0, SSL_VERIFY_NONE},
    [PKIX] = {CIPHERS_AUTHENTICATED, 1, SSL_VERIFY_PEER},
    [DANE] = {CIPHERS_AUTHENTICATED, 1, SSL_VERIFY_PEER},
};

struct tls_contexts {
	SSL_CTX *of[CLASS_COUNT];
	char *ca_file;
	struct stat ca_seen; /* the file when it was last read; zeroed: it was not there */
	char *ca_error;      /* "": a CA file is in use, ... */
	char *ca_trouble;    /* ... though this may be wrong with the one that is there now */
	unsigned ca_store;
	struct resumption *resumption;
};

void tls_library_init(void)
{
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS |
			     OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
	    NULL);
}

const char *tls_library_error(char *out, size_t size)
{
	unsigned long error = ERR_peek_error();
	const char *reason = "";

	if (ERR_SYSTEM_ERROR(error))
		reason = strerrordesc_np(ERR_GET_REASON(error));
	else if (error)
		reason = ERR_reason_error_string(error);
	if (reason)
		snprintf(out, size, "%s", reason);
	else
		snprintf(out, size, "error %08lx", error);
	ERR_clear_error();
	return out;
}

/* Everything said aloud, also what is the default: a default may change with the library's version.
 */
static void set_limits_and_options(SSL_CTX *ctx, enum trust trust)
{
	SSL_CTX_clear_options(ctx, SSL_CTX_get_options(ctx));
	SSL_CTX_set_options(
	    ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
	/* Without AUTO_RETRY a flood of post-handshake messages cannot keep us inside one SSL_read.
	 */
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ctx, CERTIFICATES_MAX);
	SSL_CTX_set_verify(ctx, settings[trust].verify, NULL);
	SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH_MAX);
	SSL_CTX_set_security_level(ctx, settings[trust].level);
}

static bool set_versions_and_ciphers(SSL_CTX *ctx, enum trust trust)
{
	return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
	       SSL_CTX_set_max_proto_version(ctx, 0) &&
	       SSL_CTX_set_cipher_list(ctx, settings[trust].ciphers) &&
	       SSL_CTX_set_ciphersuites(ctx, tls13_ciphers);
}

static SSL_CTX *new_context(enum trust trust)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return NULL;
	set_limits_and_options(ctx, trust);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, resuming_on_session);
	SSL_CTX_set_read_ahead(ctx, 1); /* one read for all records that came, not two for each */
	if (set_versions_and_ciphers(ctx, trust) && (trust != DANE || SSL_CTX_dane_enable(ctx) > 0))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

/*
 * All of the file or nothing: a broken certificate in its middle would otherwise leave a store that
 * trusts whoever stands before it. NULL: *why, malloc'd.
 */
static X509_STORE *read_ca_file(const char *ca_file, char **why)
{
	X509_STORE *store = X509_STORE_new();
	char reason[128] = "out of memory";

	ERR_clear_error();
	if (store && *ca_file && X509_STORE_load_file(store, ca_file))
		return store;
	X509_STORE_free(store);
	if (!*ca_file)
		*why = mem_strdup("no CA file is set");
	else
		*why = mem_printf(
		    "CA file %s: %s", ca_file, tls_library_error(reason, sizeof(reason)));
	return NULL;
}

/* Takes the store over; connections that verify with the old one have a reference of their own. */
static void use_ca_store(struct tls_contexts *contexts, X509_STORE *store)
{
	SSL_CTX_set_cert_store(contexts->of[PKIX], store);
	contexts->ca_store++;
	resumption_renew(contexts->resumption);
	free(contexts->ca_error);
	contexts->ca_error = mem_strdup("");
}

static void load_ca_file(struct tls_contexts *contexts)
{
	char *why = NULL;
	X509_STORE *store = read_ca_file(contexts->ca_file, &why);

	free(contexts->ca_trouble);
	contexts->ca_trouble = store ? mem_strdup("") : why;
	if (store)
		use_ca_store(contexts, store);
	else if (!contexts->ca_error)
		contexts->ca_error = mem_strdup(why);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

const char *tls_contexts_refresh_ca(struct tls_contexts *contexts)
{
	struct stat now = {0};

	if (stat(contexts->ca_file, &now) < 0)
		now = (struct stat){0};
	if (is_same_file(&now, &contexts->ca_seen))
		return contexts->ca_trouble;
	contexts->ca_seen = now;
	load_ca_file(contexts);
	return contexts->ca_trouble;
}

struct tls_contexts *tls_contexts_new(const char *ca_file, char **error)
{
	struct tls_contexts *contexts = mem_zero(1, sizeof(*contexts));
	char reason[128];

	ERR_clear_error();
	for (int trust = 0; trust < CLASS_COUNT; trust++) {
		contexts->of[trust] = new_context(trust);
		if (!contexts->of[trust]) {
			*error =
			    mem_printf("OpenSSL: %s", tls_library_error(reason, sizeof(reason)));
			tls_contexts_free(&contexts);
			return NULL;
		}
		SSL_CTX_set_app_data(contexts->of[trust], contexts);
	}
	contexts->ca_store = 1;
	contexts->resumption = resumption_new();
	contexts->ca_file = mem_strdup(ca_file ? ca_file : "");
	stat(contexts->ca_file, &contexts->ca_seen);
	load_ca_file(contexts);
	return contexts;
}

void tls_contexts_free(struct tls_contexts **contexts)
{
	if (!*contexts)
		return;
	for (int trust = 0; trust < CLASS_COUNT; trust++)
		SSL_CTX_free((*contexts)->of[trust]);
	resumption_free(&(*contexts)->resumption);
	free((*contexts)->ca_file);
	free((*contexts)->ca_error);
	free((*contexts)->ca_trouble);
	free(*contexts);
	*contexts = NULL;
}

unsigned tls_contexts_ca_store(const struct tls_contexts *contexts) { return contexts->ca_store; }

unsigned tls_handle_ca_store(const SSL *ssl)
{
	return tls_contexts_ca_store(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

struct resumption *tls_contexts_resumption(const struct tls_contexts *contexts)
{
	return contexts->resumption;
}

const char *tls_contexts_ca_error(const struct tls_contexts *contexts)
{
	return contexts->ca_error;
}

const char *tls_handle_ca_error(const SSL *ssl)
{
	return tls_contexts_ca_error(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

bool tls_handle_judge_by_ca(SSL *ssl)
{
	const struct tls_contexts *contexts = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	X509_VERIFY_PARAM_set_auth_level(SSL_get0_param(ssl), settings[PKIX].level);
	return SSL_set1_verify_cert_store(ssl, SSL_CTX_get_cert_store(contexts->of[PKIX]));
}

static enum trust class_of(enum tls_need need)
{
	switch (need) {
	case TLS_MAY:
		return OPPORTUNISTIC;
	case TLS_ENCRYPT:
		return ENCRYPT_ONLY;
	case TLS_PKIX:
		return PKIX;
	case TLS_DANE:
		return DANE;
	case TLS_NONE:
		break;
	}
	assert(!"no TLS where none is wanted");
	abort();
}

SSL *tls_contexts_handle(struct tls_contexts *contexts, enum tls_need need)
{
	return SSL_new(contexts->of[class_of(need)]);
}

static void on_info(const SSL *ssl, int where, int value)
{
	bool *closed = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (where == SSL_CB_READ_ALERT && (value & 0xff) == SSL_AD_CLOSE_NOTIFY)
		*closed = true;
}

/* The store is shared and replaces whatever the other library loaded from its own default paths. */
bool tls_contexts_lend(
    const struct tls_contexts *contexts, void *ssl_ctx, const char *host, bool *closed)
{
	SSL_CTX *ctx = ssl_ctx;
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);

	set_limits_and_options(ctx, PKIX);
	if (!SSL_CTX_set_app_data(ctx, closed))
		return false;
	SSL_CTX_set_info_callback(ctx, on_info);
	SSL_CTX_set_keylog_callback(ctx, NULL);
	SSL_CTX_set1_cert_store(ctx, SSL_CTX_get_cert_store(contexts->of[PKIX]));
	X509_VERIFY_PARAM_set_hostflags(
	    param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return set_versions_and_ciphers(ctx, PKIX) && X509_VERIFY_PARAM_set1_host(param, host, 0);
}
