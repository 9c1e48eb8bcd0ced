/*
 * resumption.c - see resumption.h. Each connection gets a copy of a kept session: one object given
 * to several handshakes at once loses resumptions, and closing a connection may mark the session
 * that it used as not resumable.
 */
#include "tls/resumption.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "tls/digest.h"

#include <openssl/ssl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct kept {
	unsigned char key[TLS_KEY_SIZE];
	SSL_SESSION *session;
	struct tls_proof proof;
	UT_hash_handle hh;
};

struct resumption {
	struct kept *kept;   /* in order of use, the last one last */
	uint64_t generation; /* of the CA store; connections under way are of one, too */
};

struct resumption *resumption_new(void) { return mem_zero(1, sizeof(struct resumption)); }

size_t resumption_count(const struct resumption *r) { return HASH_COUNT(r->kept); }

static void drop(struct resumption *r, struct kept *k)
{
	HASH_DEL(r->kept, k);
	SSL_SESSION_free(k->session);
	free(k);
}

void resumption_renew(struct resumption *r)
{
	struct kept *k, *next;

	HASH_ITER(hh, r->kept, k, next)
	drop(r, k);
	r->generation++;
}

void resumption_free(struct resumption **resumption)
{
	if (!*resumption)
		return;
	resumption_renew(*resumption);
	free(*resumption);
	*resumption = NULL;
}

/* ---- what is kept ---- */

static struct kept *find(const struct resumption *r, const unsigned char key[TLS_KEY_SIZE])
{
	struct kept *k;

	HASH_FIND(hh, r->kept, key, TLS_KEY_SIZE, k);
	return k;
}

static void forget(struct resumption *r, const unsigned char key[TLS_KEY_SIZE])
{
	struct kept *k = find(r, key);

	if (k)
		drop(r, k);
}

/* A clock that was set back proves nothing either. */
static bool is_current(const struct tls_proof *proof, time_t now)
{
	return now >= proof->proven && now - proof->proven < RESUMPTION_SECONDS &&
	       (!proof->not_after || now < proof->not_after);
}

static bool has_use(SSL *ssl, const SSL_SESSION *session)
{
	/* Without it one connection's secret can be another's (RFC 7627). */
	bool is_bound = SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1;

	return is_bound && SSL_SESSION_is_resumable(session);
}

static void keep(const struct resuming *resuming, SSL *ssl, const SSL_SESSION *session)
{
	struct resumption *r = resuming->resumption;
	SSL_SESSION *copy = has_use(ssl, session) ? SSL_SESSION_dup(session) : NULL;
	struct kept *k;

	if (!copy)
		return;
	forget(r, resuming->key);
	if (HASH_COUNT(r->kept) >= RESUMPTION_MAX)
		drop(r, r->kept);
	k = mem_zero(1, sizeof(*k));
	memcpy(k->key, resuming->key, sizeof(k->key));
	k->session = copy;
	k->proof = *resuming->proof;
	HASH_ADD(hh, r->kept, key, sizeof(k->key), k);
}

/* ---- one connection ---- */

static void add_address(struct digest *digest, const struct addr *address)
{
	struct sockaddr_in6 plain = {0};

	if (address)
		memcpy(&plain, &address->sa, addr_len(address));
	digest_add(digest, &plain, sizeof(plain));
}

/* The rule's key has the need, and so the class of context; SNI, names, records and the rest. */
static void make_key(unsigned char key[TLS_KEY_SIZE], const struct tls_rule *rule,
    const struct tls_peer *peer, uint64_t generation)
{
	struct digest *digest = digest_new();
	unsigned char of_rule[TLS_KEY_SIZE];

	tls_rule_key(rule, of_rule);
	digest_add(digest, of_rule, sizeof(of_rule));
	add_address(digest, peer->address);
	add_address(digest, peer->source);
	digest_add(digest, &generation, sizeof(generation));
	digest_end(&digest, key);
}

/* Becomes the one used last. */
static struct kept *take(struct resumption *r, const unsigned char key[TLS_KEY_SIZE])
{
	struct kept *k = find(r, key);

	if (k && !is_current(&k->proof, clock_wall())) {
		drop(r, k);
		return NULL;
	}
	if (k) {
		HASH_DEL(r->kept, k);
		HASH_ADD(hh, r->kept, key, sizeof(k->key), k);
	}
	return k;
}

static void offer(struct resuming *resuming, const struct kept *k, SSL *ssl)
{
	SSL_SESSION *copy = SSL_SESSION_dup(k->session);

	if (copy && SSL_set_session(ssl, copy)) {
		resuming->was_offered = true;
		resuming->offered = mem_copy(&k->proof, sizeof(k->proof));
	}
	SSL_SESSION_free(copy);
}

static int of_handle(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	return index;
}

void resuming_begin(struct resuming *resuming, struct resumption *resumption,
    const struct tls_rule *rule, const struct tls_peer *peer, SSL *ssl)
{
	const struct kept *k;

	make_key(resuming->key, rule, peer, resumption->generation);
	/* OpenSSL itself then refuses a session of another key. */
	if (!SSL_set_session_id_context(ssl, resuming->key, sizeof(resuming->key)) ||
	    !SSL_set_ex_data(ssl, of_handle(), resuming))
		return;
	resuming->resumption = resumption;
	k = take(resumption, resuming->key);
	if (k)
		offer(resuming, k, ssl);
}

const struct tls_proof *resuming_proof(const struct resuming *resuming)
{
	return resuming->offered;
}

/*
 * What the server sent beside its own certificate has proven what it could, and is most of what a
 * connection and a session weigh. OpenSSL has no call to give it up, but these lists are not copies
 * (SSL_get_peer_cert_chain(3)), and nothing reads them again: a resumed handshake verifies nothing.
 */
static void forget_issuers(STACK_OF(X509) * chain)
{
	while (sk_X509_num(chain) > 1)
		X509_free(sk_X509_pop(chain));
}

/* A server that made a full handshake of it will not take the session next time either. */
void resuming_pass(struct resuming *resuming, SSL *ssl, struct tls_proof *proof)
{
	if (!proof->is_resumed)
		proof->proven = clock_wall();
	if (!resuming->resumption)
		return;
	if (!proof->is_resumed)
		forget(resuming->resumption, resuming->key);
	forget_issuers(SSL_get_peer_cert_chain(ssl));
	forget_issuers(SSL_get0_verified_chain(ssl));
	free(resuming->offered);
	resuming->offered = NULL;
	resuming->proof = proof;
	if (resuming->early)
		keep(resuming, ssl, resuming->early);
	SSL_SESSION_free(resuming->early);
	resuming->early = NULL;
}

void resuming_fail(struct resuming *resuming)
{
	if (resuming->resumption)
		forget(resuming->resumption, resuming->key);
	resuming->resumption = NULL;
}

void resuming_release(struct resuming *resuming)
{
	free(resuming->offered);
	SSL_SESSION_free(resuming->early);
	*resuming = (struct resuming){0};
}

/* 1: the session is ours. */
int resuming_on_session(SSL *ssl, SSL_SESSION *session)
{
	struct resuming *resuming = SSL_get_ex_data(ssl, of_handle());

	if (!resuming || !resuming->resumption)
		return 0;
	if (resuming->proof) {
		keep(resuming, ssl, session);
		return 0;
	}
	SSL_SESSION_free(resuming->early);
	resuming->early = session;
	return 1;
}
