/*
 * Findings: what the owner of a destination could mend, from what was collected. One row each.
 */
#include "proxy/command/check.h"
#include "tls_peer.h"

#include "conf/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { DAY = 86400, NOW = 1800000000, RECORDS = 4 };

static struct identity ec, rsa, ca, leaf; /* leaf: by ca */

struct scene {
	struct check check;
	struct destination destination;
	struct check_host host;
	struct route route;
	struct check_address address;
	struct dns_answer a, aaaa, tlsa;
	struct dns_tlsa records[RECORDS];
	struct tlsa_set made;
	struct sts_answer sts;
};

/* ---- making a scene ---- */

/* Signed throughout, no TLSA, an address that takes TLS without proof. */
static void set(struct scene *s)
{
	memset(s, 0, sizeof *s);
	s->check.destination = &s->destination;
	s->check.host_count = 1;
	s->check.hosts = &s->host;
	s->destination.is_mx = true;
	s->destination.mx_state = DNS_SECURE;
	strcpy(s->destination.next_hop, "example.org");
	s->host.route = &s->route;
	strcpy(s->route.host, "mx.example.org");
	strcpy(s->host.tlsa_owner, "_25._tcp.mx.example.org");
	s->host.a = &s->a;
	s->host.aaaa = &s->aaaa;
	s->host.tlsa = &s->tlsa;
	s->a.state = s->aaaa.state = s->tlsa.state = DNS_SECURE;
	s->a.count = 1;
	s->tlsa.tlsa = s->records;
	s->host.address_count = 1;
	s->host.addresses = &s->address;
	s->address.outcome = CHECK_READY;
	addr_parse_ip(&s->address.address, "192.0.2.1", 25);
}

static void publish(
    struct scene *s, const struct identity *of, uint8_t usage, uint8_t selector, uint8_t matching)
{
	struct dns_tlsa *record = &s->records[s->tlsa.count++];
	const struct tlsa *t;

	add_association(&s->made, of->certificate, usage, selector, matching);
	t = &s->made.items[s->made.count - 1];
	*record = (struct dns_tlsa){usage, selector, matching, t->len, t->data};
}

static void publish_stale(struct scene *s, uint8_t usage, uint8_t matching)
{
	static const uint8_t octets[64] = {0x5a};

	s->records[s->tlsa.count++] =
	    (struct dns_tlsa){usage, 1, matching, matching == 2 ? 64 : 32, octets};
}

static void fill(struct tls_certificate *c, const struct identity *of, const char *key)
{
	unsigned char *der = NULL;
	int len = i2d_X509(of->certificate, &der);

	c->der_len = (size_t)len;
	c->der = mem_copy(der, (size_t)len);
	c->is_rsa = !strncmp(key, "RSA", 3);
	strcpy(c->key, key);
	c->not_after = NOW + 90 * DAY;
	OPENSSL_free(der);
}

static struct check_key *present(
    struct scene *s, const struct identity *of, const char *name, const struct identity *issuer)
{
	struct check_key *key = &s->address.keys[s->address.key_count++];

	key->chain.count = issuer ? 2 : 1;
	key->chain.items = mem_zero(2, sizeof *key->chain.items);
	fill(&key->chain.items[0], of, name);
	if (issuer)
		fill(&key->chain.items[1], issuer, "ECDSA");
	return key;
}

static void mismatch(struct scene *s)
{
	s->address.outcome = CHECK_FAILED;
	refusal_set(&s->address.refusal, REASON_DANE_MISMATCH, "as told");
}

static void give_policy(struct scene *s, enum sts_mode mode, const char *mx, const char *more)
{
	s->check.sts.answer = &s->sts;
	s->sts.state = STS_POLICY;
	s->sts.policy.mode = mode;
	s->sts.policy.mx = mem_zero(2, sizeof(char *));
	s->sts.policy.mx[s->sts.policy.mx_count++] = (char *)mx;
	if (more)
		s->sts.policy.mx[s->sts.policy.mx_count++] = (char *)more;
}

static void release(struct scene *s)
{
	for (size_t i = 0; i < s->address.key_count; i++)
		tls_chain_release(&s->address.keys[i].chain);
	tlsa_set_release(&s->made);
	free(s->sts.policy.mx);
}

/* ---- the scenes ---- */

static void no_tlsa(struct scene *s) { present(s, &ec, "ECDSA", NULL); }

static void no_tlsa_no_tls(struct scene *s) { (void)s; }

static void no_tlsa_bad_tls(struct scene *s)
{
	present(s, &ec, "ECDSA", NULL);
	s->address.went_clear = true;
}

static void nothing_signed(struct scene *s)
{
	s->destination.mx_state = s->a.state = s->aaaa.state = s->tlsa.state = DNS_INSECURE;
	present(s, &ec, "ECDSA", NULL);
}

static void unsigned_tlsa(struct scene *s)
{
	nothing_signed(s);
	publish(s, &ec, 3, 1, 1);
}

static void tlsa_failed(struct scene *s)
{
	s->tlsa.state = DNS_FAILED;
	present(s, &ec, "ECDSA", NULL);
}

static void one_record(struct scene *s)
{
	present(s, &ec, "ECDSA", NULL);
	publish(s, &ec, 3, 1, 1);
}

static void two_records(struct scene *s)
{
	one_record(s);
	publish_stale(s, 3, 1);
}

static void one_beside_unusable(struct scene *s)
{
	one_record(s);
	publish(s, &ec, 1, 1, 1);
}

static void unusable_usage(struct scene *s)
{
	present(s, &ec, "ECDSA", NULL);
	publish(s, &ec, 1, 1, 1);
}

static void unusable_matching(struct scene *s)
{
	present(s, &ec, "ECDSA", NULL);
	publish_stale(s, 3, 7);
}

static void unreached(struct scene *s)
{
	s->address.outcome = CHECK_FAILED;
	refusal_set(&s->address.refusal, REASON_CONNECT_FAILED, "connection refused");
}

static void refused_name(struct scene *s)
{
	present(s, &leaf, "ECDSA", &ca);
	publish(s, &ca, 2, 0, 1);
	s->address.outcome = CHECK_FAILED;
	refusal_set(&s->address.refusal, REASON_DANE_NAME, "as told");
}

static void wrong_record(struct scene *s)
{
	present(s, &ec, "ECDSA", NULL);
	publish_stale(s, 3, 1);
	mismatch(s);
}

static void agility(struct scene *s)
{
	one_record(s);
	publish_stale(s, 3, 2);
	mismatch(s);
}

static void authority_sent(struct scene *s)
{
	present(s, &leaf, "ECDSA", &ca);
	publish(s, &ca, 2, 0, 1);
}

static void authority_not_sent(struct scene *s)
{
	present(s, &leaf, "ECDSA", NULL);
	publish(s, &ca, 2, 0, 1);
	publish(s, &leaf, 3, 1, 1);
}

static void authority_is_leaf(struct scene *s)
{
	present(s, &leaf, "ECDSA", &ca);
	publish(s, &leaf, 2, 1, 1);
	mismatch(s);
}

/* 2 0 0 completes the chain: no certificate that was sent fits, and yet it is what proves. */
static void authority_in_record(struct scene *s)
{
	struct tlsa t;

	present(s, &leaf, "ECDSA", NULL);
	publish(s, &ca, 2, 0, 0);
	t = s->made.items[0];
	tlsa_brief(&t, s->address.proof.matched);
}

static void two_keys(struct scene *s)
{
	one_record(s);
	present(s, &rsa, "RSA 2048", NULL);
}

static void two_keys_two_records(struct scene *s)
{
	two_keys(s);
	publish(s, &rsa, 3, 1, 1);
}

static void ends_soon(struct scene *s)
{
	present(s, &ec, "ECDSA", NULL)->chain.items[0].not_after = NOW + 5 * DAY;
	publish(s, &ec, 3, 0, 1);
}

static void ends_soon_by_key(struct scene *s)
{
	present(s, &ec, "ECDSA", NULL)->chain.items[0].not_after = NOW + 5 * DAY;
	publish(s, &ec, 3, 1, 1);
}

static void ends_late(struct scene *s)
{
	present(s, &ec, "ECDSA", NULL);
	publish(s, &ec, 3, 0, 1);
}

static void unsigned_mx(struct scene *s)
{
	one_record(s);
	s->destination.mx_state = DNS_INSECURE;
}

static void unsigned_host(struct scene *s)
{
	nothing_signed(s);
	s->destination.mx_state = DNS_SECURE;
}

static void sts_good(struct scene *s)
{
	nothing_signed(s);
	give_policy(s, STS_MODE_ENFORCE, "mx.example.org", NULL);
}

static void sts_wildcard(struct scene *s)
{
	nothing_signed(s);
	give_policy(s, STS_MODE_ENFORCE, "*.example.org", NULL);
}

static void sts_unlisted(struct scene *s)
{
	nothing_signed(s);
	give_policy(s, STS_MODE_ENFORCE, "other.example.org", NULL);
}

static void sts_out_of_step(struct scene *s)
{
	nothing_signed(s);
	give_policy(s, STS_MODE_ENFORCE, "mx.example.org", "*.old.example.org");
}

/* Of one policy that was kept and of one that was kept under another id. */
static void sts_same_id(struct scene *s)
{
	nothing_signed(s);
	give_policy(s, STS_MODE_ENFORCE, "mx.example.org", NULL);
	s->sts.is_cached = true;
	s->check.sts.record = STS_RECORD_VALID;
	strcpy(s->check.sts.id, "20261101");
	strcpy(s->sts.id, "20261101");
}

static void sts_old_id(struct scene *s)
{
	sts_same_id(s);
	strcpy(s->check.sts.id, "20261128");
}

static void sts_certificate(struct scene *s)
{
	sts_good(s);
	strcpy(s->address.keys[0].proof.report, "hostname mismatch");
}

static void sts_testing(struct scene *s)
{
	nothing_signed(s);
	give_policy(s, STS_MODE_TESTING, "mx.example.org", NULL);
}

static void sts_unfetched(struct scene *s)
{
	nothing_signed(s);
	s->check.sts.answer = &s->sts;
	refusal_set(&s->sts.notice, REASON_STS_FETCH, "status 404");
}

/* ---- rows ---- */

struct row {
	const char *name;
	void (*build)(struct scene *s);
	const char *codes; /* as they are sorted */
	int wrong, right;  /* lines of the first finding */
};

/* clang-format off */
static const struct row rows[] = {
	{ "no TLSA: a record to publish", no_tlsa, "signed-no-tlsa", 0, 1 },
	{ "no TLSA, no TLS: no record", no_tlsa_no_tls, "signed-no-tlsa", 0, 0 },
	{ "no TLSA, TLS fails: a record would do harm", no_tlsa_bad_tls, "signed-no-tlsa", 0, 0 },
	{ "nothing signed", nothing_signed, "", 0, 0 },
	{ "unsigned TLSA", unsigned_tlsa, "unsigned-tlsa", 0, 0 },
	{ "a failed lookup says nothing", tlsa_failed, "", 0, 0 },
	{ "one record", one_record, "one-record", 0, 0 },
	{ "one record beside an unusable one", one_beside_unusable, "tlsa-unusable one-record", 1, 0 },
	{ "R-DANE-05: unusable alone, for its usage", unusable_usage, "tlsa-unusable", 1, 1 },
	{ "... its matching type", unusable_matching, "tlsa-unusable", 1, 1 },
	{ "no hint on a host that is not reached", unreached, "", 0, 0 },
	{ "no hint on a refused host", refused_name, "", 0, 0 },
	{ "two records", two_records, "several-records", 0, 0 },
	{ "mismatch", wrong_record, "mismatch", 1, 1 },
	{ "R-DANE-16: mismatch by digest agility", agility, "mismatch", 1, 0 },
	{ "the CA is sent", authority_sent, "one-record", 0, 0 },
	{ "the CA is not sent", authority_not_sent, "ca-not-sent several-records", 0, 0 },
	{ "R-DANE-14: usage 2 for the leaf", authority_is_leaf, "mismatch ca-not-sent", 1, 1 },
	{ "R-DANE-15: the CA stands in the record", authority_in_record, "one-record", 0, 0 },
	{ "RSA and ECDSA, one record", two_keys, "key-without-record one-record", 0, 1 },
	{ "RSA and ECDSA, two records", two_keys_two_records, "several-records", 0, 0 },
	{ "selector 0 ends soon", ends_soon, "selector-0-expiry one-record", 0, 0 },
	{ "selector 1 may", ends_soon_by_key, "one-record", 0, 0 },
	{ "selector 0 ends late", ends_late, "one-record", 0, 0 },
	{ "unsigned MX, signed host", unsigned_mx, "unsigned-mx one-record", 0, 0 },
	{ "signed MX, unsigned host", unsigned_host, "unsigned-host", 0, 0 },
	{ "a good policy", sts_good, "", 0, 0 },
	{ "a wildcard", sts_wildcard, "", 0, 0 },
	{ "host not listed, and a listed one is no host", sts_unlisted, "sts-mx sts-out-of-step", 0, 0 },
	{ "an old pattern", sts_out_of_step, "sts-out-of-step", 0, 0 },
	{ "a policy of this id", sts_same_id, "", 0, 0 },
	{ "a policy of an old id", sts_old_id, "sts-out-of-step", 0, 0 },
	{ "certificate not of the policy's kind", sts_certificate, "sts-certificate", 0, 0 },
	{ "mode testing", sts_testing, "sts-testing", 0, 0 },
	{ "announced, not to be had", sts_unfetched, "sts-fetch", 0, 0 },
};
/* clang-format on */

static int count_lines(const char *lines)
{
	int count = lines && *lines;

	for (; lines && *lines; lines++)
		count += *lines == '\n';
	return count;
}

static void judge_row(const struct row *row)
{
	struct check_findings findings = {0};
	struct scene scene;
	char codes[256] = "";

	set(&scene);
	row->build(&scene);
	check_find(&scene.check, NOW, &findings);
	for (size_t i = 0; i < findings.count; i++)
		snprintf(codes + strlen(codes), sizeof codes - strlen(codes), "%s%s", i ? " " : "",
		    findings.items[i].code);
	assert_string_equal(codes, row->codes);
	if (findings.count > 0) {
		assert_int_equal(count_lines(findings.items[0].wrong), row->wrong);
		assert_int_equal(count_lines(findings.items[0].right), row->right);
	}
	check_findings_release(&findings);
	release(&scene);
}

static void test_findings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		print_message("  %s\n", rows[i].name);
		judge_row(&rows[i]);
	}
}

static int set_up(void **state)
{
	(void)state;
	ec = make_identity(&(struct identity_spec){.common_name = "mx.example.org"}, NULL);
	rsa = make_identity(
	    &(struct identity_spec){.common_name = "mx.example.org", .rsa_bits = 2048}, NULL);
	ca = make_identity(
	    &(struct identity_spec){.common_name = "CA", .constraints = "CA:TRUE"}, NULL);
	leaf = make_identity(&(struct identity_spec){.common_name = "mx.example.org"}, &ca);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free_identity(&ec);
	free_identity(&rsa);
	free_identity(&ca);
	free_identity(&leaf);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"each finding, and no other", test_findings, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
