/*
 * verify.c - a rule applied to an OpenSSL handle, and the handshake's outcome judged and explained
 * (tls_rule_apply, tls_rule_judge of rule.h). RFC 7672 section 3, RFC 7671, RFC 8461 section 4.2.
 *
 * OpenSSL's own word is not enough: its verify result is also X509_V_OK with an anonymous cipher
 * and on a resumed session. What is accepted here must show a certificate and, for DANE, the record
 * that matched; a resumed session shows neither anew, and needs the proof that was kept with it.
 */
#include "tls/rule.h"

#include "tls/ctx.h"
#include "tls/verify_error.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The subject's common name is no DNS-ID (RFC 8461 4.2). */
enum {
	PKIX_HOSTFLAGS = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
};

static bool is_authenticated(enum tls_need need) { return need == TLS_PKIX || need == TLS_DANE; }

__attribute__((format(printf, 3, 4))) static void fail(
    struct tls_proof *proof, enum tls_failure failure, const char *format, ...)
{
	va_list args;

	proof->verified = false;
	proof->failure = failure;
	va_start(args, format);
	vsnprintf(proof->text, sizeof(proof->text), format, args);
	va_end(args);
}

/* Over the whole SubjectPublicKeyInfo, so that it can be compared with a published "3 1 1". */
static void note_key(struct tls_proof *proof, const X509 *certificate)
{
	unsigned char *der = NULL, digest[32];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);

	if (len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL)) {
		for (size_t i = 0; i < sizeof(digest); i++)
			snprintf(proof->key_digest + 2 * i, 3, "%02x", digest[i]);
	}
	OPENSSL_free(der);
}

/*
 * Looks on: after a failed verification the peer's certificate is gone from the handle. It returns
 * `ok` as it came, since a callback that says 1 would turn SSL_VERIFY_PEER into SSL_VERIFY_NONE.
 */
static int on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_proof *proof = SSL_get_app_data(ssl);
	const X509 *leaf = X509_STORE_CTX_get0_cert(store);

	if (leaf && !proof->key_digest[0])
		note_key(proof, leaf);
	if (!ok)
		proof->depth = X509_STORE_CTX_get_error_depth(store);
	return ok;
}

static int wire_version(enum tls_version version)
{
	switch (version) {
	case TLS_VERSION_1_0:
		return TLS1_VERSION;
	case TLS_VERSION_1_1:
		return TLS1_1_VERSION;
	case TLS_VERSION_1_2:
		return TLS1_2_VERSION;
	case TLS_VERSION_1_3:
		return TLS1_3_VERSION;
	}
	assert(!"a TLS version");
	abort();
}

/* An operator's lower floor never reaches what must be proven (R-DANE-19). */
static bool set_version(const struct tls_rule *rule, SSL *ssl)
{
	int version = wire_version(rule->min_version);

	if (is_authenticated(rule->need) && version < TLS1_2_VERSION)
		version = TLS1_2_VERSION;
	return SSL_set_min_proto_version(ssl, version);
}

static bool set_key_choice(const struct tls_rule *rule, SSL *ssl)
{
	static const char *const algorithms[] = {
	    [TLS_ONLY_RSA] = "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:"
			     "RSA+SHA256:RSA+SHA384:RSA+SHA512",
	    [TLS_ONLY_ECDSA] = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512",
	};

	return rule->key_choice == TLS_ANY_KEY ||
	       SSL_set1_sigalgs_list(ssl, algorithms[rule->key_choice]);
}

static bool set_sni(const struct tls_rule *rule, SSL *ssl)
{
	return !rule->sni[0] || SSL_set_tlsext_host_name(ssl, rule->sni);
}

/* Each record through our filter again: usages 0 and 1 must never meet OpenSSL (R-DANE-04). */
static bool add_records(const struct tlsa_set *records, SSL *ssl)
{
	size_t added = 0;

	for (size_t i = 0; i < records->count; i++) {
		const struct tlsa *t = &records->items[i];
		int result;

		if (!tlsa_is_usable(t))
			continue;
		result =
		    SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching, t->data, t->len);
		if (result < 0)
			return false;
		added += result > 0;
	}
	/* With no record, "DANE enabled" would mean ordinary PKIX verification. */
	return added > 0;
}

/*
 * SSL_dane_enable() comes first, as it replaces the list of names. A common name serves where the
 * certificate has no DNS-ID (RFC 7672 3.2.3), a wildcard only as the whole first label (R-DANE-13).
 */
static bool demand_dane(const struct tls_rule *rule, SSL *ssl)
{
	assert(rule->tlsa.count > 0 && rule->name_count > 0);
	if (SSL_dane_enable(ssl, rule->names[0]) <= 0)
		return false;
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	for (size_t i = 1; i < rule->name_count; i++)
		if (!SSL_add1_host(ssl, rule->names[i]))
			return false;
	return add_records(&rule->tlsa, ssl);
}

/* For OpenSSL a reference with a leading dot is any name below. */
static bool add_names_below(const struct tls_rule *rule, SSL *ssl)
{
	char below[DOMAIN_SIZE + 1];

	snprintf(below, sizeof(below), ".%s", rule->names[0]);
	return SSL_add1_host(ssl, below);
}

/* Without a name any certificate of any CA would do. */
static bool demand_pkix(const struct tls_rule *rule, SSL *ssl)
{
	SSL_set_hostflags(ssl, PKIX_HOSTFLAGS);
	for (size_t i = 0; i < rule->name_count; i++)
		if (!SSL_add1_host(ssl, rule->names[i]))
			return false;
	return rule->name_count > 0 && (!rule->names_below || add_names_below(rule, ssl));
}

/* SSL_VERIFY_NONE: a client verifies all the same, and goes on with whatever result. */
static bool prepare_report(const struct tls_rule *rule, SSL *ssl)
{
	SSL_set_hostflags(ssl, PKIX_HOSTFLAGS);
	return tls_handle_judge_by_ca(ssl) && SSL_add1_host(ssl, rule->report_name);
}

static bool set_demand(const struct tls_rule *rule, SSL *ssl)
{
	if (!is_authenticated(rule->need))
		return !rule->report_name[0] || prepare_report(rule, ssl);
	SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
	return rule->need == TLS_DANE ? demand_dane(rule, ssl) : demand_pkix(rule, ssl);
}

bool tls_rule_apply(const struct tls_rule *rule, SSL *ssl, struct tls_proof *proof)
{
	char reason[128];

	*proof = (struct tls_proof){.depth = -1};
	if (rule->need == TLS_PKIX)
		proof->ca_store = tls_handle_ca_store(ssl);
	ERR_clear_error();
	if (SSL_set_app_data(ssl, proof) && set_version(rule, ssl) && set_key_choice(rule, ssl) &&
	    set_sni(rule, ssl) && set_demand(rule, ssl))
		return true;
	tls_library_error(reason, sizeof(reason));
	fail(proof, TLS_FAIL_HANDSHAKE,
	    "TLS was not started: a name or TLSA record could not be set%s%s",
	    reason[0] ? ": " : "", reason);
	return false;
}

static time_t end_of(const X509 *certificate)
{
	struct tm tm;

	/* Verification has read this date before; should it be unreadable now, it has passed. */
	if (!ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm))
		return 1;
	return timegm(&tm);
}

static time_t earliest_end(const STACK_OF(X509) * chain)
{
	time_t earliest = 0;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		time_t end = end_of(sk_X509_value(chain, i));

		if (!earliest || end < earliest)
			earliest = end;
	}
	return earliest;
}

/* Which record matched, for the log. All that OpenSSL lends here dies with the handle. */
static void note_match(SSL *ssl, int depth, struct tls_proof *proof)
{
	struct tlsa t = {0};

	proof->depth = depth;
	if (SSL_get0_dane_tlsa(ssl, &t.usage, &t.selector, &t.matching, &t.data, &t.len) < 0)
		return;
	tlsa_brief(&t, proof->matched);
	if (t.usage == TLSA_USAGE_TA)
		proof->not_after = earliest_end(SSL_get0_verified_chain(ssl));
}

static bool has_only_trust_anchors(const struct tlsa_set *records)
{
	for (size_t i = 0; i < records->count; i++)
		if (records->items[i].usage != TLSA_USAGE_TA)
			return false;
	return true;
}

static void explain_verify_error(
    const struct tls_rule *rule, SSL *ssl, long error, struct tls_proof *proof)
{
	const char *name = verify_error_name(error);
	const char *ca_error = rule->need == TLS_PKIX ? tls_handle_ca_error(ssl) : "";
	int depth = proof->depth;

	proof->depth = -1;
	if (ca_error[0])
		fail(proof, TLS_FAIL_CHAIN, "%s: %s", name, ca_error);
	else if (error != X509_V_ERR_DANE_NO_MATCH)
		fail(proof, verify_error_class(error), "%s (certificate at depth %d): %s", name,
		    depth, X509_verify_cert_error_string(error));
	else if (has_only_trust_anchors(&rule->tlsa))
		fail(proof, TLS_FAIL_MISMATCH,
		    "%s: wrong key or trust anchor not sent in the chain", name);
	else
		fail(proof, TLS_FAIL_MISMATCH, "%s: no TLSA record matches the certificate", name);
}

/* A completed handshake under a demand: accepted only where every part of a proof is there. */
static void judge_demand(const struct tls_rule *rule, SSL *ssl, struct tls_proof *proof)
{
	long error = SSL_get_verify_result(ssl);
	int depth = rule->need == TLS_DANE ? SSL_get0_dane_authority(ssl, NULL, NULL) : -1;

	if (!SSL_get0_peer_certificate(ssl))
		fail(proof, TLS_FAIL_MISMATCH, "the server presented no certificate");
	else if (error != X509_V_OK)
		explain_verify_error(rule, ssl, error, proof);
	else if (rule->need == TLS_DANE && depth < 0)
		fail(proof, TLS_FAIL_MISMATCH, "no TLSA record matches the certificate");
	else
		proof->verified = true;
	if (!proof->verified)
		return;
	if (rule->need == TLS_DANE)
		note_match(ssl, depth, proof);
	else
		proof->not_after = earliest_end(SSL_get0_verified_chain(ssl));
}

/* What TLS_PKIX would have said of the same certificate. */
static void judge_report(SSL *ssl, struct tls_proof *proof)
{
	long error = SSL_get_verify_result(ssl);
	const char *ca_error = tls_handle_ca_error(ssl);
	const char *words = ca_error[0] ? ca_error : X509_verify_cert_error_string(error);

	if (!SSL_get0_peer_certificate(ssl))
		snprintf(proof->report, sizeof(proof->report), "no certificate was presented");
	else if (error != X509_V_OK)
		snprintf(proof->report, sizeof(proof->report), "%s: %s", verify_error_name(error),
		    words);
}

/* OpenSSL's verify result is the first handshake's, whatever is demanded now: the kept proof
 * counts.
 */
static void judge_resumed(
    const struct tls_rule *rule, SSL *ssl, const struct tls_proof *kept, struct tls_proof *proof)
{
	struct tls_proof now = *proof;

	if (!kept) {
		fail(proof, TLS_FAIL_HANDSHAKE, "the session was resumed, which proves nothing");
		return;
	}
	if (strcmp(kept->key_digest, proof->key_digest) != 0 ||
	    (is_authenticated(rule->need) && SSL_get_verify_result(ssl) != X509_V_OK)) {
		fail(proof, TLS_FAIL_HANDSHAKE, "the resumed session is not the one proven");
		return;
	}
	*proof = *kept;
	proof->is_resumed = true;
	memcpy(proof->protocol, now.protocol, sizeof(proof->protocol));
	memcpy(proof->cipher, now.cipher, sizeof(proof->cipher));
}

static void judge_completed(
    const struct tls_rule *rule, SSL *ssl, const struct tls_proof *kept, struct tls_proof *proof)
{
	const X509 *leaf = SSL_get0_peer_certificate(ssl);

	proof->encrypted = true;
	snprintf(proof->protocol, sizeof(proof->protocol), "%s", SSL_get_version(ssl));
	snprintf(proof->cipher, sizeof(proof->cipher), "%s", SSL_get_cipher_name(ssl));
	if (leaf)
		note_key(proof, leaf);
	if (SSL_session_reused(ssl))
		judge_resumed(rule, ssl, kept, proof);
	else if (is_authenticated(rule->need))
		judge_demand(rule, ssl, proof);
	else if (rule->report_name[0])
		judge_report(ssl, proof);
}

void tls_rule_judge(const struct tls_rule *rule, SSL *ssl, int ssl_error,
    const struct tls_proof *kept, struct tls_proof *proof)
{
	long error = SSL_get_verify_result(ssl);
	char reason[128];

	if (ssl_error == SSL_ERROR_NONE) {
		judge_completed(rule, ssl, kept, proof);
		return;
	}
	if (is_authenticated(rule->need) && error != X509_V_OK) {
		explain_verify_error(rule, ssl, error, proof);
		return;
	}
	tls_library_error(reason, sizeof(reason));
	fail(proof, TLS_FAIL_HANDSHAKE, "%s", reason[0] ? reason : "connection lost");
}
