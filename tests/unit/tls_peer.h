/*
 * tls_peer.h - the other side for the tests of tls/: certificates made on the spot, and a scripted
 * peer in a child process behind a socket pair. Included by each test program that needs one.
 */
#ifndef TESTS_TLS_PEER_H
#define TESTS_TLS_PEER_H

#include "tls/tlsa.h"

#include <assert.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

struct identity_spec {
	const char *common_name;  /* NULL: an empty subject */
	const char *alt_names;    /* "DNS:mx.example.org"; NULL: none */
	const char *constraints;  /* basicConstraints; NULL: none, an end entity */
	const char *name_limits;  /* nameConstraints */
	long first_day, last_day; /* from today; both 0: valid for a year */
	long hours;               /* more than last_day */
	unsigned rsa_bits;        /* 0: EC on P-256 */
	bool sha1;                /* signed with SHA-1 */
};

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;

	if (!value)
		return;
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert(extension && X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
}

/* issuer NULL: signed by itself. */
static inline struct identity make_identity(
    const struct identity_spec *spec, const struct identity *issuer)
{
	struct identity made = {.certificate = X509_new()};
	X509 *x = made.certificate;
	bool year = !spec->first_day && !spec->last_day;
	static long serial = 1;

	made.key = spec->rsa_bits ? EVP_RSA_gen(spec->rsa_bits) : EVP_EC_gen("P-256");
	assert(made.key);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	X509_time_adj_ex(X509_getm_notBefore(x), (int)(year ? -1 : spec->first_day), 0, NULL);
	X509_time_adj_ex(
	    X509_getm_notAfter(x), (int)(year ? 365 : spec->last_day), spec->hours * 3600, NULL);
	if (spec->common_name)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
		    (const unsigned char *)spec->common_name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer->certificate : x));
	X509_set_pubkey(x, made.key);
	add_extension(x, x, NID_subject_alt_name, spec->alt_names);
	add_extension(x, x, NID_basic_constraints, spec->constraints);
	add_extension(x, x, NID_name_constraints, spec->name_limits);
	assert(
	    X509_sign(x, issuer ? issuer->key : made.key, spec->sha1 ? EVP_sha1() : EVP_sha256()));
	return made;
}

static inline void free_identity(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
}

/* The association data of a certificate as RFC 6698 has it. */
static inline void add_association(struct tlsa_set *set, const X509 *certificate, uint8_t usage,
    uint8_t selector, uint8_t matching)
{
	unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
	int len = selector == 0 ? i2d_X509(certificate, &der)
				: i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	struct tlsa t = {usage, selector, matching, (size_t)len, der};
	unsigned digest_len;

	assert(len > 0);
	if (matching) {
		EVP_Digest(der, (size_t)len, digest, &digest_len,
		    matching == 2 ? EVP_sha512() : EVP_sha256(), NULL);
		t.data = digest;
		t.len = digest_len;
	}
	tlsa_set_add(set, &t);
	OPENSSL_free(der);
}

/* ---- a peer in a child process ---- */

typedef void peer_script(int fd, const void *arg);

struct peer {
	pid_t pid;
	int fd; /* our end */
};

/* The child has half a minute: a test that hangs fails. */
static inline struct peer start_peer(peer_script *script, const void *arg)
{
	struct peer peer;
	int fds[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	fflush(NULL);
	peer.pid = fork();
	assert(peer.pid >= 0);
	if (peer.pid == 0) {
		alarm(30);
		close(fds[0]);
		script(fds[1], arg);
		_exit(0);
	}
	close(fds[1]);
	peer.fd = fds[0];
	return peer;
}

/* Whether the script went to its end; else it says on stderr where it stopped. */
static inline bool peer_ended_well(const struct peer *peer)
{
	int status = -1;

	if (waitpid(peer->pid, &status, 0) == peer->pid && status == 0)
		return true;
	fprintf(stderr, "peer: %s %d\n", WIFSIGNALED(status) ? "signal" : "exit code",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return false;
}

struct server {
	const struct identity *identity;  /* NULL: no certificate at all */
	const struct identity *chain[16]; /* sent behind it */
	size_t repeat_chain;              /* sends chain[0] that often */
	int max_version;                  /* 0: the library's */
	const char *ciphers;              /* TLS 1.2; NULL: the library's */
};

static inline SSL_CTX *server_context(const struct server *server)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, server->max_version);
	SSL_CTX_set_cipher_list(ctx, server->ciphers ? server->ciphers : "ALL:@SECLEVEL=0");
	if (server->identity) {
		SSL_CTX_use_certificate(ctx, server->identity->certificate);
		SSL_CTX_use_PrivateKey(ctx, server->identity->key);
	}
	for (size_t i = 0; i < 16 && server->chain[i]; i++)
		SSL_CTX_add1_chain_cert(ctx, server->chain[i]->certificate);
	for (size_t i = 0; i < server->repeat_chain; i++)
		SSL_CTX_add1_chain_cert(ctx, server->chain[0]->certificate);
	return ctx;
}

/* The server's half of a handshake; NULL: it failed. */
static inline SSL *server_accept(int fd, const struct server *server)
{
	SSL *ssl = SSL_new(server_context(server));

	SSL_set_fd(ssl, fd);
	return SSL_accept(ssl) == 1 ? ssl : NULL;
}

#endif
