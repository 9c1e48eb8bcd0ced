/*
 * test_verify.c - what a server may present and what comes of it: RFC 7672 section 3,
 * R-DANE-04..20, -28, -32, R-TLSSEC-06..11 and PKIX of RFC 8461, each as one handshake with a real
 * server.
 */
#include "tls/ctx.h"
#include "tls/stream.h"
#include "tls/verify_error.h"
#include "tls_peer.h"

#include "conf/reap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ev.h>

enum who {
	NOBODY,
	ROOT,
	SUB,        /* a CA below ROOT */
	NARROW,     /* a CA below ROOT, pathlen 0 */
	DEEP,       /* a CA below NARROW: one too many */
	LIMITED,    /* a CA below ROOT, for .example.net alone */
	END_ENTITY, /* no CA, signs all the same */
	SELF,
	SELF_EXPIRED,
	SELF_EMPTY,
	RSA1024,
	RSA768,
	GOOD,
	EXPIRED,
	FUTURE,
	OTHER_NAME,
	NEXT_HOP,
	WILDCARD,
	WILDCARD_TOO_HIGH,
	PARTIAL_WILDCARD,
	INNER_WILDCARD,
	IP_ADDRESS,
	COMMON_NAME,
	COMMON_NAME_HIDDEN,
	BELOW_SUB,
	BELOW_DEEP,
	BELOW_LIMITED,
	BELOW_END_ENTITY,
	SIGNED_SHA1,
	WHO_COUNT
};

#define MX "mx.example.org"

static const struct {
	enum who issuer;
	struct identity_spec spec;
} specs[WHO_COUNT] = {
    [ROOT] = {NOBODY, {.common_name = "Root", .constraints = "critical,CA:TRUE"}},
    [SUB] = {ROOT, {.common_name = "Sub", .constraints = "critical,CA:TRUE"}},
    [NARROW] = {ROOT, {.common_name = "Narrow", .constraints = "critical,CA:TRUE,pathlen:0"}},
    [DEEP] = {NARROW, {.common_name = "Deep", .constraints = "critical,CA:TRUE"}},
    [LIMITED] = {ROOT, {.common_name = "Limited",
			   .constraints = "critical,CA:TRUE",
			   .name_limits = "critical,permitted;DNS:example.net"}},
    [END_ENTITY] = {ROOT, {.common_name = "No CA", .constraints = "critical,CA:FALSE"}},
    [SELF] = {NOBODY, {.common_name = "anything", .alt_names = "DNS:wrong.example"}},
    [SELF_EXPIRED] = {NOBODY, {.common_name = "anything", .first_day = -20, .last_day = -10}},
    [SELF_EMPTY] = {NOBODY, {.common_name = NULL}},
    [RSA1024] = {NOBODY, {.common_name = MX, .rsa_bits = 1024}},
    [RSA768] = {NOBODY, {.common_name = MX, .rsa_bits = 768}},
    [GOOD] = {ROOT, {.alt_names = "DNS:" MX, .common_name = "good"}},
    [EXPIRED] = {ROOT, {.alt_names = "DNS:" MX, .first_day = -20, .last_day = -10}},
    [FUTURE] = {ROOT, {.alt_names = "DNS:" MX, .first_day = 10, .last_day = 20}},
    [OTHER_NAME] = {ROOT, {.alt_names = "DNS:other.example", .common_name = "other"}},
    [NEXT_HOP] = {ROOT, {.alt_names = "DNS:example.org", .common_name = "next hop"}},
    [WILDCARD] = {ROOT, {.alt_names = "DNS:*.example.org", .common_name = "wild"}},
    [WILDCARD_TOO_HIGH] = {ROOT, {.alt_names = "DNS:*.org,DNS:*", .common_name = "wilder"}},
    [PARTIAL_WILDCARD] = {ROOT, {.alt_names = "DNS:m*.example.org", .common_name = "partial"}},
    [INNER_WILDCARD] = {ROOT, {.alt_names = "DNS:mx.*.org", .common_name = "inner"}},
    [IP_ADDRESS] = {ROOT, {.alt_names = "IP:192.0.2.1", .common_name = "address"}},
    [COMMON_NAME] = {ROOT, {.common_name = MX}},
    [COMMON_NAME_HIDDEN] = {ROOT, {.common_name = MX, .alt_names = "DNS:other.example"}},
    [BELOW_SUB] = {SUB, {.alt_names = "DNS:" MX, .common_name = "below"}},
    [BELOW_DEEP] = {DEEP, {.alt_names = "DNS:" MX, .common_name = "below"}},
    [BELOW_LIMITED] = {LIMITED, {.alt_names = "DNS:" MX, .common_name = "below"}},
    [BELOW_END_ENTITY] = {END_ENTITY, {.alt_names = "DNS:" MX, .common_name = "below"}},
    [SIGNED_SHA1] = {ROOT, {.alt_names = "DNS:" MX, .common_name = "sha1", .sha1 = true}},
};

static struct identity people[WHO_COUNT];
static struct identity tower[16]; /* CAs, each below the one before */
/* Not libev's default loop: that one reaps child processes, which the tests wait for. */
static struct ev_loop *loop;
static struct tls_contexts *contexts, *contexts_without_ca;

struct record {
	uint8_t usage, selector, matching;
	enum who of;
	size_t cut; /* to so many octets; 0: whole */
};

struct verify_case {
	const char *name;
	enum tls_need need;
	struct record records[4];
	enum who leaf, chain[4];
	const char *names[3]; /* none: MX */
	enum tls_failure failure;
	const char *says; /* in the failure's text, or of the record that matched */
	int max_version;
	const char *ciphers;
	enum tls_version min_version; /* 0: TLS 1.0, which the proving classes must not heed */
	bool names_below, no_ca;
	bool reports;       /* under report_name MX */
	const char *report; /* in what it says; NULL: nothing */
	size_t tower, repeat_chain;
};

/* clang-format off */
#define DANE(...) TLS_DANE, .records = {__VA_ARGS__}
#define R(u, s, m, who) {.usage = u, .selector = s, .matching = m, .of = who}
#define CUT(u, s, m, who, len) {.usage = u, .selector = s, .matching = m, .of = who, .cut = len}

static const struct verify_case cases[] = {
	/* Usage 3: the key or certificate alone (RFC 7672 3.1.1) */
	{"R-DANE-09: 3 1 1, self-signed, wrong name", DANE(R(3, 1, 1, SELF)), .leaf = SELF,
	    .says = "3 1 1 "},
	{"R-DANE-09: 3 1 1, expired", DANE(R(3, 1, 1, SELF_EXPIRED)), .leaf = SELF_EXPIRED},
	{"R-DANE-09: 3 1 1, empty subject", DANE(R(3, 1, 1, SELF_EMPTY)), .leaf = SELF_EMPTY},
	{"R-DANE-05: 3 0 1", DANE(R(3, 0, 1, SELF)), .leaf = SELF, .says = "3 0 1 "},
	{"R-DANE-05: 3 1 2", DANE(R(3, 1, 2, SELF)), .leaf = SELF, .says = "3 1 2 "},
	{"R-DANE-05: 3 0 0", DANE(R(3, 0, 0, SELF)), .leaf = SELF, .says = "3 0 0 "},
	{"R-DANE-05: 3 1 0", DANE(R(3, 1, 0, SELF)), .leaf = SELF, .says = "3 1 0 "},
	{"T-06: 3 1 1 of another key", DANE(R(3, 1, 1, GOOD)), .leaf = SELF,
	    .failure = TLS_FAIL_MISMATCH, .says = "X509_V_ERR_DANE_NO_MATCH: no TLSA record"},
	{"T-08: valid in the web PKI, no match", DANE(R(3, 1, 1, SELF)), .leaf = GOOD,
	    .chain = {ROOT}, .failure = TLS_FAIL_MISMATCH},
	{"R-DANE-08: an unusable record beside a good one",
	    DANE(R(3, 2, 1, SELF), R(3, 1, 1, SELF)), .leaf = SELF},
	{"R-DANE-08: an unusable record beside a wrong one",
	    DANE(R(3, 2, 1, SELF), R(3, 1, 1, GOOD)), .leaf = SELF, .failure = TLS_FAIL_MISMATCH},
	{"R-DANE-04: 1 1 1 that matches does not help", DANE(R(1, 1, 1, GOOD), R(2, 0, 1, SELF)),
	    .leaf = GOOD, .chain = {ROOT}, .failure = TLS_FAIL_MISMATCH},
	{"R-DANE-16, T-19: wrong 3 1 2 rules out a good 3 1 1",
	    DANE(R(3, 1, 1, SELF), R(3, 1, 2, GOOD)), .leaf = SELF, .failure = TLS_FAIL_MISMATCH},
	{"R-DANE-16, T-18: 3 1 2 of wrong length does not",
	    DANE(R(3, 1, 1, SELF), CUT(3, 1, 2, GOOD, 63)), .leaf = SELF},
	{"R-DANE-28, T-28: RSA-1024 with 3 1 1", DANE(R(3, 1, 1, RSA1024)), .leaf = RSA1024},
	{"R-DANE-28: RSA-768 with 3 1 1", DANE(R(3, 1, 1, RSA768)), .leaf = RSA768,
	    .failure = TLS_FAIL_CHAIN, .says = "X509_V_ERR_EE_KEY_TOO_SMALL",
	    .max_version = TLS1_2_VERSION},

	/* Usage 2: chain, dates, CA flags and names (RFC 7672 3.1.2) */
	{"R-DANE-10: 2 0 1", DANE(R(2, 0, 1, ROOT)), .leaf = GOOD, .chain = {ROOT},
	    .says = "2 0 1 "},
	{"R-DANE-10: 2 1 1 of a CA below the root", DANE(R(2, 1, 1, SUB)), .leaf = BELOW_SUB,
	    .chain = {SUB}},
	{"R-DANE-10, T-11: the TA is not sent", DANE(R(2, 0, 1, ROOT)), .leaf = GOOD,
	    .failure = TLS_FAIL_MISMATCH, .says = "trust anchor not sent in the chain"},
	{"R-DANE-10: expired", DANE(R(2, 0, 1, ROOT)), .leaf = EXPIRED, .chain = {ROOT},
	    .failure = TLS_FAIL_EXPIRED, .says = "X509_V_ERR_CERT_HAS_EXPIRED"},
	{"R-DANE-10: not yet valid", DANE(R(2, 0, 1, ROOT)), .leaf = FUTURE, .chain = {ROOT},
	    .failure = TLS_FAIL_EXPIRED, .says = "X509_V_ERR_CERT_NOT_YET_VALID"},
	{"R-DANE-14: a TA record of the leaf", DANE(R(2, 0, 1, SELF)), .leaf = SELF,
	    .names = {"wrong.example"}, .failure = TLS_FAIL_MISMATCH},
	{"R-DANE-15: 2 0 0 completes the chain", DANE(R(2, 0, 0, ROOT)), .leaf = GOOD,
	    .says = "2 0 0 "},
	{"R-DANE-15: 2 1 0 verifies what was sent", DANE(R(2, 1, 0, ROOT)), .leaf = GOOD,
	    .says = "2 1 0 "},
	{"T-16: 1 1 1 beside 2 0 1", DANE(R(1, 1, 1, GOOD), R(2, 0, 1, ROOT)), .leaf = GOOD,
	    .chain = {ROOT}, .says = "2 0 1 "},
	{"T-14: pathlen", DANE(R(2, 0, 1, ROOT)), .leaf = BELOW_DEEP, .chain = {DEEP, NARROW, ROOT},
	    .failure = TLS_FAIL_CHAIN, .says = "X509_V_ERR_PATH_LENGTH_EXCEEDED"},
	{"T-14: an issuer that is no CA", DANE(R(2, 0, 1, ROOT)), .leaf = BELOW_END_ENTITY,
	    .chain = {END_ENTITY, ROOT}, .failure = TLS_FAIL_CHAIN,
	    .says = "X509_V_ERR_INVALID_CA"},
	{"T-14: name constraints", DANE(R(2, 0, 1, ROOT)), .leaf = BELOW_LIMITED,
	    .chain = {LIMITED, ROOT}, .failure = TLS_FAIL_CHAIN,
	    .says = "X509_V_ERR_PERMITTED_VIOLATION"},
	{"T-14: SHA-1", DANE(R(2, 0, 1, ROOT)), .leaf = SIGNED_SHA1, .chain = {ROOT},
	    .failure = TLS_FAIL_CHAIN, .says = "X509_V_ERR_CA_MD_TOO_WEAK"},

	/* Names under usage 2 (RFC 7672 3.2.2, 3.2.3) */
	{"R-DANE-11: next-hop name, secure MX", DANE(R(2, 0, 1, ROOT)), .leaf = NEXT_HOP,
	    .chain = {ROOT}, .names = {MX, "example.org"}},
	{"R-DANE-11, T-12: next-hop name, insecure MX", DANE(R(2, 0, 1, ROOT)), .leaf = NEXT_HOP,
	    .chain = {ROOT}, .failure = TLS_FAIL_NAME, .says = "X509_V_ERR_HOSTNAME_MISMATCH"},
	{"R-DANE-13: wildcard", DANE(R(2, 0, 1, ROOT)), .leaf = WILDCARD, .chain = {ROOT}},
	{"R-DANE-13: wildcard for one label alone", DANE(R(2, 0, 1, ROOT)), .leaf = WILDCARD,
	    .chain = {ROOT}, .names = {"a.mx.example.org"}, .failure = TLS_FAIL_NAME},
	{"R-DANE-13, T-13: m*.example.org", DANE(R(2, 0, 1, ROOT)), .leaf = PARTIAL_WILDCARD,
	    .chain = {ROOT}, .failure = TLS_FAIL_NAME},
	{"T-13: mx.*.org", DANE(R(2, 0, 1, ROOT)), .leaf = INNER_WILDCARD, .chain = {ROOT},
	    .failure = TLS_FAIL_NAME},
	{"T-13: *.org and *", DANE(R(2, 0, 1, ROOT)), .leaf = WILDCARD_TOO_HIGH, .chain = {ROOT},
	    .names = {"example.org"}, .failure = TLS_FAIL_NAME},
	{"T-13: an IP address", DANE(R(2, 0, 1, ROOT)), .leaf = IP_ADDRESS, .chain = {ROOT},
	    .failure = TLS_FAIL_NAME},
	{"R-DANE-13: common name where no DNS-ID is", DANE(R(2, 0, 1, ROOT)), .leaf = COMMON_NAME,
	    .chain = {ROOT}},
	{"R-DANE-13, T-13: common name beside a DNS-ID", DANE(R(2, 0, 1, ROOT)),
	    .leaf = COMMON_NAME_HIDDEN, .chain = {ROOT}, .failure = TLS_FAIL_NAME},

	/* What may never pass, whatever the records */
	{"R-DANE-20, T-09: anonymous cipher", DANE(R(3, 1, 1, SELF)), .failure = TLS_FAIL_HANDSHAKE,
	    .max_version = TLS1_2_VERSION, .ciphers = "aNULL:@SECLEVEL=0"},
	{"R-DANE-19, T-10: TLS 1.1", DANE(R(3, 1, 1, SELF)), .leaf = SELF,
	    .failure = TLS_FAIL_HANDSHAKE, .says = "protocol version",
	    .max_version = TLS1_1_VERSION},
	{"R-TLSSEC-10: TLS 1.2", DANE(R(3, 1, 1, SELF)), .leaf = SELF,
	    .max_version = TLS1_2_VERSION},
	{"R-TLSSEC-10: TLS 1.2 without AEAD", DANE(R(3, 1, 1, SELF)), .leaf = SELF,
	    .failure = TLS_FAIL_HANDSHAKE, .says = "handshake failure",
	    .max_version = TLS1_2_VERSION, .ciphers = "AES128-SHA:ECDHE+AES+SHA1:@SECLEVEL=0"},
	{"R-DANE-32: ten below the anchor", DANE(R(2, 0, 1, ROOT)), .tower = 10},
	{"R-DANE-32: more", DANE(R(2, 0, 1, ROOT)), .tower = 13, .failure = TLS_FAIL_CHAIN},
	{"R-DANE-32, T-22: 100 KiB of certificates", DANE(R(3, 1, 1, GOOD)), .leaf = GOOD,
	    .chain = {ROOT}, .repeat_chain = 400, .failure = TLS_FAIL_HANDSHAKE,
	    .says = "excessive message size"},

	/* PKIX (RFC 8461 4.2, level secure) */
	{"PKIX: a DNS-ID of a trusted CA", TLS_PKIX, .leaf = GOOD},
	{"PKIX: a CA between", TLS_PKIX, .leaf = BELOW_SUB, .chain = {SUB}},
	{"PKIX: self-signed", TLS_PKIX, .leaf = SELF, .names = {"wrong.example"},
	    .failure = TLS_FAIL_CHAIN, .says = "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT"},
	{"PKIX: common name is no DNS-ID", TLS_PKIX, .leaf = COMMON_NAME, .failure = TLS_FAIL_NAME},
	{"PKIX: expired", TLS_PKIX, .leaf = EXPIRED, .failure = TLS_FAIL_EXPIRED},
	{"PKIX: m*.example.org", TLS_PKIX, .leaf = PARTIAL_WILDCARD, .failure = TLS_FAIL_NAME},
	{"PKIX: a name below, not asked for", TLS_PKIX, .leaf = GOOD, .names = {"example.org"},
	    .failure = TLS_FAIL_NAME},
	{"PKIX: a name below, level secure", TLS_PKIX, .leaf = GOOD, .names = {"example.org"},
	    .names_below = true},
	{"PKIX: the name itself, level secure", TLS_PKIX, .leaf = NEXT_HOP,
	    .names = {"example.org"}, .names_below = true},
	{"PKIX: the name itself by common name, level secure", TLS_PKIX, .leaf = COMMON_NAME,
	    .names = {"example.org"}, .names_below = true, .failure = TLS_FAIL_NAME},
	{"PKIX: another name, level secure", TLS_PKIX, .leaf = OTHER_NAME, .names = {"example"},
	    .names_below = true},
	{"PKIX: a name that only ends alike, level secure", TLS_PKIX, .leaf = GOOD,
	    .names = {"ample.org"}, .names_below = true, .failure = TLS_FAIL_NAME},
	{"PKIX: a name below the MX host, level secure", TLS_PKIX, .leaf = GOOD,
	    .names = {"example.net", "example.org"}, .names_below = true, .failure = TLS_FAIL_NAME},
	{"PKIX: no CA file", TLS_PKIX, .leaf = GOOD, .no_ca = true, .failure = TLS_FAIL_CHAIN,
	    .says = "/nonexistent/ca.pem: No such file or directory"},
	{"F-10: DANE without a CA file", DANE(R(3, 1, 1, SELF)), .leaf = SELF, .no_ca = true},

	/* Unproven */
	{"R-DANE-02: encrypt-only takes anything", TLS_ENCRYPT, .leaf = SELF_EXPIRED},
	{"opportunistic takes anything", TLS_MAY, .leaf = SELF_EXPIRED},
	{"R-TLSSEC-10: opportunistic, TLS 1.1", TLS_MAY, .leaf = SELF,
	    .max_version = TLS1_1_VERSION, .min_version = TLS_VERSION_1_2,
	    .failure = TLS_FAIL_HANDSHAKE, .says = "protocol version"},
	{"R-TLSSEC-10: opportunistic, TLS 1.0 by setting", TLS_MAY, .leaf = SELF,
	    .max_version = TLS1_VERSION},
	{"R-TLSSEC-10: encrypt-only, TLS 1.1 by setting", TLS_ENCRYPT, .leaf = SELF,
	    .max_version = TLS1_1_VERSION, .min_version = TLS_VERSION_1_1},
	{"R-STS-28: a report of a certificate that PKIX would take", TLS_MAY, .leaf = BELOW_SUB,
	    .chain = {SUB}, .reports = true},
	{"R-STS-28: no report where none is asked for", TLS_MAY, .leaf = SELF},
	{"R-STS-28: reports self-signed, and goes on", TLS_MAY, .leaf = SELF, .reports = true,
	    .report = "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: self-signed certificate"},
	{"R-STS-28: reports an unknown CA", TLS_ENCRYPT, .leaf = BELOW_DEEP, .reports = true,
	    .report = "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY"},
	{"R-STS-28: reports an expired certificate", TLS_ENCRYPT, .leaf = EXPIRED, .reports = true,
	    .report = "X509_V_ERR_CERT_HAS_EXPIRED"},
	{"R-STS-28: reports a wrong name", TLS_MAY, .leaf = OTHER_NAME, .reports = true,
	    .report = "X509_V_ERR_HOSTNAME_MISMATCH"},
	{"R-STS-26, -28: reports a common name that is no DNS-ID", TLS_MAY, .leaf = COMMON_NAME,
	    .reports = true, .report = "X509_V_ERR_HOSTNAME_MISMATCH"},
	{"R-STS-28: reports a signature too weak for PKIX", TLS_MAY, .leaf = SIGNED_SHA1,
	    .reports = true, .report = "X509_V_ERR_CA_MD_TOO_WEAK"},
	{"R-STS-28, F-10: reports that there is no CA file", TLS_MAY, .leaf = GOOD, .no_ca = true,
	    .reports = true, .report = "/nonexistent/ca.pem: No such file or directory"},
	{"min_tls 1.3 against TLS 1.2", TLS_ENCRYPT, .leaf = SELF, .max_version = TLS1_2_VERSION,
	    .min_version = TLS_VERSION_1_3, .failure = TLS_FAIL_HANDSHAKE,
	    .says = "protocol version"},
};
/* clang-format on */

/* ---- one handshake ---- */

static void fill_rule(struct tls_rule *rule, const struct verify_case *c)
{
	*rule = (struct tls_rule){.need = c->need, .sni = MX, .min_version = c->min_version};
	rule->names_below = c->names_below;
	if (c->reports)
		strcpy(rule->report_name, MX);
	if (!c->names[0])
		strcpy(rule->names[rule->name_count++], MX);
	for (size_t i = 0; i < 3 && c->names[i]; i++)
		strcpy(rule->names[rule->name_count++], c->names[i]);
	for (size_t i = 0; i < 4 && c->records[i].of; i++) {
		const struct record *r = &c->records[i];

		add_association(
		    &rule->tlsa, people[r->of].certificate, r->usage, r->selector, r->matching);
		if (r->cut)
			rule->tlsa.items[i].len = r->cut;
	}
}

static void fill_server(struct server *server, const struct verify_case *c)
{
	size_t sent = 0;

	*server = (struct server){.max_version = c->max_version, .ciphers = c->ciphers};
	server->repeat_chain = c->repeat_chain;
	if (c->leaf)
		server->identity = &people[c->leaf];
	for (size_t i = 0; i < 4 && c->chain[i]; i++)
		server->chain[sent++] = &people[c->chain[i]];
	if (c->tower == 0)
		return;
	server->identity = &tower[c->tower];
	for (size_t i = c->tower; i-- > 0;)
		server->chain[sent++] = i ? &tower[i] : &people[ROOT];
}

static void shake_hands(int fd, const void *arg)
{
	SSL *ssl = server_accept(fd, arg);
	char octet;

	if (ssl)
		SSL_read(ssl, &octet, 1);
}

struct outcome {
	bool secured, ended;
	struct tls_proof proof;
};

static void on_stream(struct stream *stream, enum stream_event event, void *arg)
{
	struct outcome *outcome = arg;

	assert_true(event == STREAM_SECURED || event == STREAM_FAILED);
	assert_false(outcome->ended);
	outcome->secured = event == STREAM_SECURED;
	outcome->ended = true;
	outcome->proof = *stream_proof(stream);
	if (!outcome->secured)
		assert_string_equal(stream_error(stream), outcome->proof.text);
	ev_break(loop, EVBREAK_ALL);
}

static struct outcome handshake(
    const struct tls_rule *rule, const struct server *server, struct tls_contexts *of)
{
	struct outcome outcome = {0};
	struct peer peer = start_peer(shake_hands, server);
	struct stream *stream = stream_adopt(loop, peer.fd, on_stream, &outcome);

	stream_start_tls(stream, of, rule, NULL);
	ev_run(loop, 0);
	stream_close(&stream);
	reap_now();
	assert_true(peer_ended_well(&peer));
	assert_true(outcome.ended);
	return outcome;
}

static void assert_says(const char *text, const char *says)
{
	if (says && !strstr(text, says))
		fail_msg("\"%s\" lacks \"%s\"", text, says);
}

static void assert_accepted(const struct verify_case *c, const struct outcome *outcome)
{
	bool proven = c->need == TLS_DANE || c->need == TLS_PKIX;

	assert_string_equal(outcome->proof.text, "");
	assert_true(outcome->secured);
	assert_int_equal(outcome->proof.failure, TLS_FINE);
	assert_true(outcome->proof.encrypted);
	assert_int_equal(outcome->proof.verified, proven);
	assert_int_equal(strlen(outcome->proof.key_digest), 64);
	assert_true(outcome->proof.protocol[0] && outcome->proof.cipher[0]);
	assert_says(outcome->proof.matched, c->says);
	assert_says(outcome->proof.report, c->report);
	assert_int_equal(outcome->proof.report[0] != 0, c->report != NULL);
	assert_int_equal(outcome->proof.depth >= 0, c->need == TLS_DANE);
	assert_int_equal(outcome->proof.matched[0] != 0, c->need == TLS_DANE);
	if (c->need == TLS_PKIX || outcome->proof.matched[0] == '2')
		assert_true(outcome->proof.not_after > time(NULL));
	else
		assert_true(outcome->proof.not_after == 0);
}

static void run_case(void **state)
{
	const struct verify_case *c = *state;
	struct tls_rule rule;
	struct server server;
	struct outcome outcome;

	fill_rule(&rule, c);
	fill_server(&server, c);
	outcome = handshake(&rule, &server, c->no_ca ? contexts_without_ca : contexts);
	tls_rule_release(&rule);
	if (c->failure == TLS_FINE) {
		assert_accepted(c, &outcome);
		return;
	}
	assert_false(outcome.secured);
	assert_false(outcome.proof.verified);
	assert_says(outcome.proof.text, c->says);
	assert_int_equal(outcome.proof.failure, c->failure);
	/* Whoever presented a key and failed can be told which (interface section 3). */
	if (c->failure != TLS_FAIL_HANDSHAKE)
		assert_int_equal(strlen(outcome.proof.key_digest), 64);
}

/* ---- rules that cannot be applied, sessions that must not be resumed ---- */

static bool can_apply(const struct tls_rule *rule, struct tls_proof *proof)
{
	SSL *ssl = tls_contexts_handle(contexts, rule->need);
	bool applied = tls_rule_apply(rule, ssl, proof);

	SSL_free(ssl);
	return applied;
}

static void refuses_rules(void **state)
{
	static const struct record bad[] = {R(1, 1, 1, SELF), R(0, 0, 1, SELF), R(3, 1, 3, SELF),
	    CUT(3, 1, 1, SELF, 31), CUT(3, 0, 0, SELF, 40)};
	struct tls_proof proof;
	struct verify_case c = {.need = TLS_DANE};
	struct tls_rule rule;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		c.records[0] = bad[i];
		fill_rule(&rule, &c);
		assert_false(can_apply(&rule, &proof));
		assert_int_equal(proof.failure, TLS_FAIL_HANDSHAKE);
		assert_false(tls_rule_is_met(&rule, &proof));
		assert_true(proof.text[0]);
		tls_rule_release(&rule);
	}
	c = (struct verify_case){.need = TLS_PKIX};
	fill_rule(&rule, &c);
	assert_true(can_apply(&rule, &proof));
	rule.name_count = 0;
	assert_false(can_apply(&rule, &proof));
}

static void sends_sni(void **state)
{
	struct tls_rule rule = {.need = TLS_MAY, .sni = MX};
	struct tls_proof proof;
	SSL *ssl = tls_contexts_handle(contexts, TLS_MAY);

	(void)state;
	assert_true(tls_rule_apply(&rule, ssl, &proof));
	assert_string_equal(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), MX);
	SSL_free(ssl);
	ssl = tls_contexts_handle(contexts, TLS_MAY);
	rule.sni[0] = '\0';
	assert_true(tls_rule_apply(&rule, ssl, &proof));
	assert_null(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	SSL_free(ssl);
}

static void contexts_are_strict(void **state)
{
	static const struct {
		enum tls_need need;
		int level, mode;
	} expected[] = {{TLS_MAY, 0, SSL_VERIFY_NONE}, {TLS_ENCRYPT, 0, SSL_VERIFY_NONE},
	    {TLS_PKIX, 1, SSL_VERIFY_PEER}, {TLS_DANE, 1, SSL_VERIFY_PEER}};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		SSL *ssl = tls_contexts_handle(contexts, expected[i].need);

		assert_int_equal(SSL_get_security_level(ssl), expected[i].level);
		assert_int_equal(SSL_get_verify_mode(ssl), expected[i].mode);
		assert_int_equal(SSL_get_min_proto_version(ssl), TLS1_2_VERSION);
		assert_int_equal(SSL_get_options(ssl), SSL_OP_NO_RENEGOTIATION |
							   SSL_OP_NO_COMPRESSION |
							   SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
		assert_int_equal(SSL_get_mode(ssl), SSL_MODE_ENABLE_PARTIAL_WRITE |
							SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
							SSL_MODE_RELEASE_BUFFERS);
		/* No session is found by OpenSSL: all come from resumption.c. */
		assert_int_equal(SSL_CTX_get_session_cache_mode(SSL_get_SSL_CTX(ssl)),
		    SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		for (int j = 0; j < sk_SSL_CIPHER_num(SSL_get_ciphers(ssl)); j++) {
			const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(SSL_get_ciphers(ssl), j);

			assert_int_not_equal(SSL_CIPHER_get_auth_nid(cipher), NID_auth_null);
			assert_int_not_equal(SSL_CIPHER_get_cipher_nid(cipher), NID_undef);
			assert_true(expected[i].level == 0 || SSL_CIPHER_is_aead(cipher));
		}
		SSL_free(ssl);
	}
}

/* ---- R-TLSSEC-16, in a process of its own: OpenSSL reads its configuration once ---- */

static const char hostile[] = "openssl_conf = all\n"
			      "[all]\nssl_conf = ssl\nproviders = providers\n"
			      "[providers]\nnull = null\n[null]\nactivate = 1\n"
			      "[ssl]\nsystem_default = weak\n"
			      "[weak]\nMinProtocol = None\nCipherString = aNULL:@SECLEVEL=0\n"
			      "Options = UnsafeLegacyRenegotiation\nVerifyMode = Request\n";

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

static void ignores_openssl_conf(void **state)
{
	char path[] = "/tmp/danelaw-test-XXXXXX";
	int status = -1, fd = mkstemp(path);
	pid_t child;

	(void)state;
	close(fd);
	write_file(path, hostile);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		setenv("OPENSSL_CONF", path, 1);
		execl("/proc/self/exe", "test_verify", "hostile", (char *)NULL);
		_exit(99);
	}
	waitpid(child, &status, 0);
	unlink(path);
	assert_int_equal(status, 0);
}

static void ignores_ssl_cert_file(void **state)
{
	struct verify_case c = {
	    .need = TLS_PKIX, .leaf = GOOD, .no_ca = true, .failure = TLS_FAIL_CHAIN};
	void *arg = &c;

	(void)state;
	setenv("SSL_CERT_FILE", getenv("DANELAW_TEST_CA"), 1);
	run_case(&arg);
	unsetenv("SSL_CERT_FILE");
}

/* ---- the world ---- */

static void make_people(void)
{
	struct identity_spec ca = {.constraints = "critical,CA:TRUE"};
	char name[16];

	for (int i = ROOT; i < WHO_COUNT; i++)
		people[i] = make_identity(
		    &specs[i].spec, specs[i].issuer ? &people[specs[i].issuer] : NULL);
	for (size_t i = 1; i < 16; i++) {
		snprintf(name, sizeof(name), "tower %zu", i);
		ca.common_name = name;
		ca.alt_names = "DNS:" MX;
		tower[i] = make_identity(&ca, i > 1 ? &tower[i - 1] : &people[ROOT]);
	}
}

static void free_people(void)
{
	for (int i = ROOT; i < WHO_COUNT; i++)
		free_identity(&people[i]);
	for (size_t i = 1; i < 16; i++)
		free_identity(&tower[i]);
}

static void make_contexts(void)
{
	static char path[] = "/tmp/danelaw-test-XXXXXX";
	FILE *file = fdopen(mkstemp(path), "w");
	char *error = NULL;

	assert(file && PEM_write_X509(file, people[ROOT].certificate));
	fclose(file);
	setenv("DANELAW_TEST_CA", path, 1);
	contexts = tls_contexts_new(path, &error);
	assert(contexts && !tls_contexts_ca_error(contexts)[0]);
	contexts_without_ca = tls_contexts_new("/nonexistent/ca.pem", &error);
	assert(contexts_without_ca && tls_contexts_ca_error(contexts_without_ca)[0]);
}

static void errors_have_names_and_classes(void **state)
{
	static const struct {
		long error;
		const char *name;
		enum tls_failure class;
	} rows[] = {
	    {X509_V_OK, "X509_V_OK", TLS_FINE},
	    {X509_V_ERR_DANE_NO_MATCH, "X509_V_ERR_DANE_NO_MATCH", TLS_FAIL_MISMATCH},
	    {X509_V_ERR_HOSTNAME_MISMATCH, "X509_V_ERR_HOSTNAME_MISMATCH", TLS_FAIL_NAME},
	    {X509_V_ERR_IP_ADDRESS_MISMATCH, "X509_V_ERR_IP_ADDRESS_MISMATCH", TLS_FAIL_NAME},
	    {X509_V_ERR_CERT_HAS_EXPIRED, "X509_V_ERR_CERT_HAS_EXPIRED", TLS_FAIL_EXPIRED},
	    {X509_V_ERR_CERT_NOT_YET_VALID, "X509_V_ERR_CERT_NOT_YET_VALID", TLS_FAIL_EXPIRED},
	    {X509_V_ERR_INVALID_CA, "X509_V_ERR_INVALID_CA", TLS_FAIL_CHAIN},
	    {-1, "X509_V_ERR_UNSPECIFIED", TLS_FAIL_CHAIN},
	    {100000, "X509_V_ERR_UNSPECIFIED", TLS_FAIL_CHAIN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_string_equal(verify_error_name(rows[i].error), rows[i].name);
		assert_int_equal(verify_error_class(rows[i].error), rows[i].class);
	}
}

int main(int argc, char **argv)
{
	enum { CASES = sizeof(cases) / sizeof(cases[0]) };
	const struct CMUnitTest others[] = {
	    {"R-DANE-07: what cannot be set is not started", refuses_rules, NULL, NULL, NULL},
	    {"R-DANE-18: SNI is the rule's", sends_sni, NULL, NULL, NULL},
	    {"R-TLSSEC-07, -08, -09: contexts", contexts_are_strict, NULL, NULL, NULL},
	    {"R-TLSSEC-13: errors have names and classes", errors_have_names_and_classes, NULL,
		NULL, NULL},
	    {"R-TLSSEC-16: SSL_CERT_FILE", ignores_ssl_cert_file, NULL, NULL, NULL},
	    {"R-TLSSEC-16: openssl.cnf", ignores_openssl_conf, NULL, NULL, NULL},
	};
	struct CMUnitTest tests[CASES + 6];
	bool under_hostile_conf = argc > 1 && strcmp(argv[1], "hostile") == 0;
	int failed;

	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	loop = ev_loop_new(0);
	tls_library_init();
	make_people();
	make_contexts();
	for (size_t i = 0; i < CASES; i++)
		tests[i] =
		    (struct CMUnitTest){cases[i].name, run_case, NULL, NULL, (void *)&cases[i]};
	memcpy(&tests[CASES], others, sizeof(others));
	failed = _cmocka_run_group_tests(
	    "verify", tests, CASES + (under_hostile_conf ? 5 : 6), NULL, NULL);
	unlink(getenv("DANELAW_TEST_CA"));
	tls_contexts_free(&contexts);
	tls_contexts_free(&contexts_without_ca);
	free_people();
	ev_loop_destroy(loop);
	return failed;
}
