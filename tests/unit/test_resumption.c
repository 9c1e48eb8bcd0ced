/*
 * test_resumption.c - which TLS sessions are resumed, which are kept, and what a resumed connection
 * has proven (R-TLSSEC-06, -07; pitfalls of OpenSSL's verify result on resumed sessions), each
 * against a real server.
 */
#include "stream_client.h"
#include "tls/chain.h"
#include "tls/resumption.h"

#include "conf/clock.h"

#define MX "mx.example.org"

/* In place of conf/clock.c. */
static time_t now;
time_t clock_wall(void) { return now; }
double clock_steady(void) { return 0; }

static struct identity root, leaf, other;

/* ---- their side ---- */

struct script {
	int max_version;
	bool without_ems;
	char ticket_key; /* servers with the same one know each other's tickets */
	bool breaks;     /* ends with a fatal alert */
};

static SSL_CTX *ticket_context(const struct script *script)
{
	struct server with_chain = {
	    .identity = &leaf, .chain = {&root}, .max_version = script->max_version};
	SSL_CTX *ctx = server_context(&with_chain);
	unsigned char keys[80];

	memset(keys, script->ticket_key, sizeof(keys));
	SSL_CTX_set_tlsext_ticket_keys(ctx, keys, sizeof(keys));
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"x", 1);
	if (script->without_ems)
		SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
	return ctx;
}

/* With its first words a client has read the tickets before them. */
static void greet(int fd, const void *arg)
{
	static const char no_record[5 + 32] = {23, 3, 3, 0, 32};
	const struct script *script = arg;
	SSL *ssl = SSL_new(ticket_context(script));

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) != 1)
		return;
	put_tls(ssl, "hello");
	if (script->breaks)
		send(fd, no_record, sizeof(no_record), MSG_NOSIGNAL);
	else
		expect_close_notify(ssl);
}

/* ---- our side ---- */

enum usage { NO_RECORD, EE, TA, EE_OF_ANOTHER };

struct attempt {
	enum usage usage;
	const char *name;
	const char *address, *source;
	bool without_peer;
};

static struct tls_rule rule_of(const struct attempt *a)
{
	struct tls_rule rule = {.need = a->usage ? TLS_DANE : TLS_ENCRYPT, .name_count = 1};

	rule.min_version = TLS_VERSION_1_2;
	snprintf(rule.names[0], sizeof(rule.names[0]), "%s", a->name ? a->name : MX);
	memcpy(rule.sni, MX, sizeof(MX));
	if (a->usage == EE)
		add_association(&rule.tlsa, leaf.certificate, 3, 1, 1);
	if (a->usage == TA)
		add_association(&rule.tlsa, root.certificate, 2, 0, 1);
	if (a->usage == EE_OF_ANOTHER)
		add_association(&rule.tlsa, other.certificate, 3, 1, 1);
	return rule;
}

static void start(struct client *client, const struct attempt *a)
{
	struct tls_rule rule = rule_of(a);
	struct addr address, source;
	struct tls_peer peer = {&address, a->source ? &source : NULL};

	assert_true(addr_parse(&address, a->address ? a->address : "192.0.2.1:25", 0));
	if (a->source)
		assert_true(addr_parse_ip(&source, a->source, 0));
	client->in_call = true;
	stream_start_tls(client->stream, contexts, &rule, a->without_peer ? NULL : &peer);
	client->in_call = false;
	tls_rule_release(&rule);
}

/* One connection; what it proved. */
static struct tls_proof connect_to(const struct script *script, const struct attempt *a)
{
	struct client client = {0};
	struct peer peer = start_peer(greet, script);
	struct tls_proof proof;

	begin(&client, &peer);
	start(&client, a);
	RUN_UNTIL(has(&client, STREAM_READABLE) || has(&client, STREAM_FAILED));
	if (script->breaks)
		RUN_UNTIL(has(&client, STREAM_FAILED));
	proof = *stream_proof(client.stream);
	end(&client, &peer);
	return proof;
}

static const struct script tls13 = {.ticket_key = 'a'};
static const struct script tls12 = {.ticket_key = 'a', .max_version = TLS1_2_VERSION};

static size_t kept(void) { return resumption_count(tls_contexts_resumption(contexts)); }

/* Nothing is left of the test before. */
static int forget_all(void **state)
{
	char *error = NULL;

	(void)state;
	tls_contexts_free(&contexts);
	contexts = tls_contexts_new(NULL, &error);
	now = time(NULL);
	return contexts ? 0 : -1;
}

#define RESUMED(script, ...) connect_to(script, &(struct attempt){__VA_ARGS__}).is_resumed

/* ---- what stays of the certificates ---- */

static size_t certificates_left(const struct script *script, const struct attempt *a)
{
	struct client client = {0};
	struct peer peer = start_peer(greet, script);
	struct tls_chain chain = {0};
	size_t count;

	begin(&client, &peer);
	start(&client, a);
	RUN_UNTIL(has(&client, STREAM_READABLE));
	stream_chain(client.stream, &chain);
	count = chain.count;
	tls_chain_release(&chain);
	end(&client, &peer);
	return count;
}

/* The issuers weigh as much as all else; who looks at them keeps no session. */
static void issuers(void **state)
{
	static const enum usage usages[] = {NO_RECORD, EE, TA};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct attempt a = {.usage = usages[i]},
			       looks = {.usage = usages[i], .without_peer = true};

		assert_int_equal(certificates_left(&tls13, &looks), 2);
		assert_int_equal(certificates_left(&tls12, &looks), 2);
		assert_int_equal(certificates_left(&tls13, &a), 1);
		assert_true(connect_to(&tls13, &a).is_resumed);
		forget_all(state);
		assert_int_equal(certificates_left(&tls12, &a), 1);
		assert_true(connect_to(&tls12, &a).is_resumed);
		forget_all(state);
	}
}

/* ---- what is resumed ---- */

static void assert_resumes(const struct script *script, enum usage usage)
{
	struct attempt a = {.usage = usage};
	struct tls_proof first = connect_to(script, &a), second = connect_to(script, &a);

	assert_false(first.is_resumed);
	assert_true(second.is_resumed);
	assert_int_equal(second.verified, usage != NO_RECORD);
	assert_int_equal(second.failure, TLS_FINE);
	assert_int_equal(second.depth, first.depth);
	assert_int_equal(second.not_after, first.not_after);
	assert_int_equal(second.not_after != 0, usage == TA);
	assert_string_equal(second.matched, first.matched);
	assert_string_equal(second.key_digest, first.key_digest);
	assert_string_equal(second.protocol, first.protocol);
	assert_true(RESUMED(script, .usage = usage));
	assert_int_equal(kept(), 1);
}

static void resumes(void **state)
{
	static const enum usage usages[] = {NO_RECORD, EE, TA};

	for (size_t i = 0; i < 3; i++) {
		forget_all(state);
		assert_resumes(&tls13, usages[i]);
		forget_all(state);
		assert_resumes(&tls12, usages[i]);
	}
}

static void changed_records(void **state)
{
	struct tls_proof proof;

	(void)state;
	assert_false(RESUMED(&tls13, .usage = EE));
	proof = connect_to(&tls13, &(struct attempt){.usage = EE_OF_ANOTHER});
	assert_false(proof.is_resumed);
	assert_int_equal(proof.failure, TLS_FAIL_MISMATCH);
	assert_false(RESUMED(&tls13, .usage = TA));
	assert_true(RESUMED(&tls13, .usage = EE));
}

static void other_next_hop_domain(void **state)
{
	struct tls_proof proof;

	(void)state;
	assert_false(RESUMED(&tls13, .usage = TA));
	proof = connect_to(&tls13, &(struct attempt){.usage = TA, .name = "example.com"});
	assert_false(proof.is_resumed);
	assert_int_equal(proof.failure, TLS_FAIL_NAME);
	assert_true(RESUMED(&tls13, .usage = TA));
}

static void other_ends(void **state)
{
	(void)state;
	assert_false(RESUMED(&tls13, .usage = EE));
	assert_false(RESUMED(&tls13, .usage = EE, .address = "192.0.2.2:25"));
	assert_false(RESUMED(&tls13, .usage = EE, .address = "192.0.2.1:26"));
	assert_false(RESUMED(&tls13, .usage = EE, .source = "192.0.2.9"));
	assert_false(RESUMED(&tls13, .usage = NO_RECORD));
	assert_true(RESUMED(&tls13, .usage = EE, .source = "192.0.2.9"));
	assert_true(RESUMED(&tls13, .usage = EE));
}

static void another_ca_store(void **state)
{
	(void)state;
	assert_false(RESUMED(&tls13, .usage = EE));
	resumption_renew(tls_contexts_resumption(contexts));
	assert_int_equal(kept(), 0);
	assert_false(RESUMED(&tls13, .usage = EE));
	assert_true(RESUMED(&tls13, .usage = EE));
}

/* ---- how long ---- */

static void leaf_expired_since(void **state)
{
	struct attempt a = {.usage = TA};
	time_t end = connect_to(&tls13, &a).not_after;

	(void)state;
	/* A day is the bound otherwise; this certificate ends before. */
	assert_true(end > now && end < now + RESUMPTION_SECONDS);
	now = end - 1;
	assert_true(RESUMED(&tls13, .usage = TA));
	now = end;
	assert_false(RESUMED(&tls13, .usage = TA));
}

static void a_day_after_the_proof(void **state)
{
	time_t proven = now;

	(void)state;
	assert_int_equal(connect_to(&tls13, &(struct attempt){.usage = EE}).proven, proven);
	for (int hour = 1; hour < 24; hour++) {
		now = proven + hour * 3600L;
		/* Each time the server gives a new ticket; the proof grows no younger by it. */
		assert_int_equal(connect_to(&tls13, &(struct attempt){.usage = EE}).proven, proven);
	}
	now = proven + RESUMPTION_SECONDS;
	assert_int_equal(connect_to(&tls13, &(struct attempt){.usage = EE}).proven, now);
	now -= 3600; /* the clock was set back */
	assert_false(RESUMED(&tls13, .usage = EE));
}

/* ---- what is not kept ---- */

static void refused_ticket(void **state)
{
	static const struct script stranger = {.ticket_key = 'b'};
	static const struct script stranger12 = {.ticket_key = 'b', .max_version = TLS1_2_VERSION};
	struct tls_proof proof;

	(void)state;
	assert_false(RESUMED(&tls13, .usage = EE));
	proof = connect_to(&stranger, &(struct attempt){.usage = EE});
	assert_false(proof.is_resumed);
	assert_true(proof.verified);
	assert_true(RESUMED(&stranger, .usage = EE));
	proof = connect_to(&stranger12, &(struct attempt){.usage = EE});
	assert_true(!proof.is_resumed && proof.verified);
	assert_int_equal(kept(), 1);
}

static void never_kept(void **state)
{
	static const struct script without_ems = {
	    .ticket_key = 'a', .max_version = TLS1_2_VERSION, .without_ems = true};

	(void)state;
	connect_to(&tls13, &(struct attempt){.usage = EE_OF_ANOTHER});
	connect_to(&tls12, &(struct attempt){.usage = EE_OF_ANOTHER});
	assert_int_equal(kept(), 0);
	assert_true(connect_to(&without_ems, &(struct attempt){.usage = EE}).verified);
	assert_int_equal(kept(), 0);
	connect_to(&tls13, &(struct attempt){.without_peer = true});
	assert_int_equal(kept(), 0);
	assert_false(RESUMED(&tls13, .usage = EE));
	assert_false(RESUMED(&tls13, .usage = EE, .without_peer = true));
}

static void broken_connection(void **state)
{
	static const struct script breaks = {.ticket_key = 'a', .breaks = true};

	(void)state;
	assert_false(RESUMED(&breaks, .usage = EE));
	assert_int_equal(kept(), 0);
}

/* ---- how many ---- */

static void offer_and_keep(uint16_t port, SSL_SESSION *session, struct tls_proof *proof)
{
	struct attempt a = {.usage = EE};
	struct tls_rule rule = rule_of(&a);
	struct resuming resuming = {0};
	struct addr address;
	SSL *ssl = tls_contexts_handle(contexts, rule.need);

	assert_true(addr_parse_ip(&address, "192.0.2.1", port));
	resuming_begin(&resuming, tls_contexts_resumption(contexts), &rule,
	    &(struct tls_peer){.address = &address}, ssl);
	proof->is_resumed = resuming.was_offered;
	if (session) {
		resuming_pass(&resuming, ssl, proof);
		resuming_on_session(ssl, session);
	}
	resuming_release(&resuming);
	SSL_free(ssl);
	tls_rule_release(&rule);
}

static SSL_SESSION *some_session(void)
{
	SSL_SESSION *session = SSL_SESSION_new();

	SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
	SSL_SESSION_set1_master_key(session, (const unsigned char *)"0123456789abcdef", 16);
	SSL_SESSION_set1_id(session, (const unsigned char *)"0123456789abcdef", 16);
	return session;
}

static void least_used_goes(void **state)
{
	SSL_SESSION *session = some_session();
	struct tls_proof proof = {.verified = true};

	(void)state;
	for (uint16_t port = 1; port <= RESUMPTION_MAX; port++)
		offer_and_keep(port, session, &proof);
	assert_int_equal(kept(), RESUMPTION_MAX);
	offer_and_keep(1, NULL, &proof);
	assert_true(proof.is_resumed);
	proof.is_resumed = false;
	offer_and_keep(RESUMPTION_MAX + 1, session, &proof);
	assert_int_equal(kept(), RESUMPTION_MAX);
	offer_and_keep(1, NULL, &proof);
	assert_true(proof.is_resumed);
	offer_and_keep(2, NULL, &proof);
	assert_false(proof.is_resumed);
	SSL_SESSION_free(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-TLSSEC-06: resumes with the kept proof", resumes, forget_all, NULL, NULL},
	    {"R-TLSSEC-06: issuers are not kept", issuers, forget_all, NULL, NULL},
	    {"R-TLSSEC-06: TLSA changed between two mails", changed_records, forget_all, NULL,
		NULL},
	    {"R-TLSSEC-06: same MX, other next-hop domain, usage 2", other_next_hop_domain,
		forget_all, NULL, NULL},
	    {"R-TLSSEC-06: address, port, source, need", other_ends, forget_all, NULL, NULL},
	    {"R-TLSSEC-06: another CA store", another_ca_store, forget_all, NULL, NULL},
	    {"R-TLSSEC-06: leaf expired since", leaf_expired_since, forget_all, NULL, NULL},
	    {"R-TLSSEC-06: a day after the proof", a_day_after_the_proof, forget_all, NULL, NULL},
	    {"R-TLSSEC-06: ticket refused", refused_ticket, forget_all, NULL, NULL},
	    {"R-TLSSEC-06, -07: never kept", never_kept, forget_all, NULL, NULL},
	    {"R-TLSSEC-06: a broken connection's session goes", broken_connection, forget_all, NULL,
		NULL},
	    {"R-TLSSEC-06: the least used goes", least_used_goes, forget_all, NULL, NULL},
	};
	int failed;

	set_up();
	root = make_identity(
	    &(struct identity_spec){.common_name = "Root", .constraints = "critical,CA:TRUE"},
	    NULL);
	leaf = make_identity(
	    &(struct identity_spec){
		.common_name = MX, .alt_names = "DNS:" MX, .first_day = -1, .hours = 12},
	    &root);
	other = make_identity(&(struct identity_spec){.common_name = "other"}, NULL);
	failed = cmocka_run_group_tests_name("resumption", tests, NULL, NULL);
	free_identity(&root);
	free_identity(&leaf);
	free_identity(&other);
	tear_down();
	return failed;
}
