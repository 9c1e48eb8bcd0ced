/*
 * test_judge.c - handshakes that OpenSSL calls verified and that prove nothing all the same:
 * anonymous ciphers, resumed sessions, a CA's word in place of a TLSA record (R-DANE-20,
 * R-TLSSEC-06). Our contexts do not let them come about, so each is forced on a handle here, and
 * the judge is asked directly.
 */
#include "tls/ctx.h"
#include "tls_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MX "mx.example.org"

static struct tls_contexts *contexts;
static struct identity identity; /* its own CA, and in the CA file */

static struct tls_rule rule_for(enum tls_need need, const struct identity *published)
{
	struct tls_rule rule = {.need = need, .sni = MX, .name_count = 1, .names = {MX}};

	rule.min_version = TLS_VERSION_1_2;
	if (need == TLS_DANE)
		add_association(&rule.tlsa, published->certificate, 3, 1, 1);
	return rule;
}

static SSL *client_for(const struct tls_rule *rule, struct tls_proof *proof)
{
	SSL *client = tls_contexts_handle(contexts, rule->need);

	assert_true(tls_rule_apply(rule, client, proof));
	SSL_set_connect_state(client);
	return client;
}

/* Both halves by turns in one process; true: both completed. */
static bool shake_hands(SSL *client, SSL_CTX *server_ctx)
{
	SSL *server = SSL_new(server_ctx);
	BIO *ours, *theirs;
	int done = 0;

	assert_true(BIO_new_bio_pair(&ours, 0, &theirs, 0));
	SSL_set_bio(client, ours, ours);
	SSL_set_bio(server, theirs, theirs);
	SSL_set_accept_state(server);
	for (int turn = 0; turn < 10 && done != 2; turn++)
		done = (SSL_do_handshake(client) == 1) + (SSL_do_handshake(server) == 1);
	/* Without the shutdown state the server would throw the session away. */
	SSL_set_shutdown(server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(server);
	return done == 2;
}

static SSL_CTX *tls12_server(const struct identity *who, const char *ciphers)
{
	struct server server = {.identity = who, .max_version = TLS1_2_VERSION, .ciphers = ciphers};

	return server_context(&server);
}

static void judge(
    const struct tls_rule *rule, SSL *client, struct tls_proof *proof, const char *says)
{
	assert_int_equal(SSL_get_verify_result(client), X509_V_OK);
	tls_rule_judge(rule, client, SSL_ERROR_NONE, NULL, proof);
	assert_true(proof->encrypted);
	assert_string_equal(proof->text, says);
	assert_int_equal(proof->verified, says[0] == '\0');
	assert_int_equal(tls_rule_is_met(rule, proof), says[0] == '\0');
}

static void anonymous_under(enum tls_need need)
{
	struct tls_rule rule = rule_for(need, &identity);
	SSL_CTX *server = tls12_server(NULL, "aNULL:@SECLEVEL=0");
	struct tls_proof proof;
	SSL *client = client_for(&rule, &proof);

	SSL_set_cipher_list(client, "aNULL:@SECLEVEL=0");
	assert_true(shake_hands(client, server));
	judge(&rule, client, &proof, "the server presented no certificate");
	SSL_free(client);
	SSL_CTX_free(server);
	tls_rule_release(&rule);
}

static void anonymous(void **state)
{
	(void)state;
	anonymous_under(TLS_DANE);
	anonymous_under(TLS_PKIX);
}

static void trusted_by_a_ca(void **state)
{
	struct tls_rule pkix = rule_for(TLS_PKIX, NULL), dane = rule_for(TLS_DANE, &identity);
	SSL_CTX *server = tls12_server(&identity, NULL);
	struct tls_proof proof;
	SSL *client = client_for(&pkix, &proof);

	(void)state;
	assert_true(shake_hands(client, server));
	judge(&dane, client, &proof, "no TLSA record matches the certificate");
	SSL_free(client);
	SSL_CTX_free(server);
	tls_rule_release(&dane);
}

/* OpenSSL itself resumes under a rule that the certificate does not meet, and reports success. */
static void resumed(void **state)
{
	struct identity other = make_identity(&(struct identity_spec){.common_name = "x"}, NULL);
	struct tls_rule good = rule_for(TLS_DANE, &identity), wrong = rule_for(TLS_DANE, &other);
	SSL_CTX *server = tls12_server(&identity, NULL);
	struct tls_proof proof;
	SSL *first = client_for(&good, &proof), *second;
	SSL_SESSION *session;

	(void)state;
	assert_true(shake_hands(first, server));
	judge(&good, first, &proof, "");
	session = SSL_get1_session(first);
	second = client_for(&wrong, &proof);
	SSL_set_session(second, session);
	assert_true(shake_hands(second, server));
	assert_true(SSL_session_reused(second));
	judge(&wrong, second, &proof, "the session was resumed, which proves nothing");
	SSL_SESSION_free(session);
	SSL_free(first);
	SSL_free(second);
	SSL_CTX_free(server);
	tls_rule_release(&good);
	tls_rule_release(&wrong);
	free_identity(&other);
}

static void make_contexts(void)
{
	char path[] = "/tmp/danelaw-test-XXXXXX", *error = NULL;
	FILE *file = fdopen(mkstemp(path), "w");

	assert(file && PEM_write_X509(file, identity.certificate));
	fclose(file);
	contexts = tls_contexts_new(path, &error);
	assert(contexts && !tls_contexts_ca_error(contexts)[0]);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-DANE-20, T-09: anonymous", anonymous, NULL, NULL, NULL},
	    {"R-DANE-20: a CA's word is no TLSA match", trusted_by_a_ca, NULL, NULL, NULL},
	    {"R-TLSSEC-06, T-20: resumed", resumed, NULL, NULL, NULL},
	};
	int failed;

	tls_library_init();
	identity = make_identity(
	    &(struct identity_spec){
		.common_name = MX, .alt_names = "DNS:" MX, .constraints = "critical,CA:TRUE"},
	    NULL);
	make_contexts();
	failed = cmocka_run_group_tests_name("judge", tests, NULL, NULL);
	tls_contexts_free(&contexts);
	free_identity(&identity);
	return failed;
}
