/*
 * test_tlsa_make.c - records made of certificates and keys are what RFC 6698 says, and are written
 * so that a name server reads the same (RFC 3597 for those that do not know the type).
 */
#include "conf/mem.h"
#include "tls/tlsa_make.h"
#include "tls_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct identity identities[2]; /* EC and RSA */

static void assert_same(const struct tlsa *made, const struct tlsa *wanted)
{
	assert_int_equal(made->usage, wanted->usage);
	assert_int_equal(made->selector, wanted->selector);
	assert_int_equal(made->matching, wanted->matching);
	assert_int_equal(made->len, wanted->len);
	assert_memory_equal(made->data, wanted->data, made->len);
}

static void check_kind(const struct identity *identity, struct tlsa_kind kind)
{
	struct tlsa_set made = {0}, wanted = {0};

	add_association(&wanted, identity->certificate, kind.usage, kind.selector, kind.matching);
	assert_true(tlsa_make_from_certificate(&made, kind, identity->certificate));
	assert_same(&made.items[0], &wanted.items[0]);
	if (kind.selector == 1) {
		assert_true(tlsa_make_from_key(&made, kind, identity->key));
		assert_same(&made.items[1], &wanted.items[0]);
	}
	if (kind.usage >= 2)
		assert_true(tlsa_is_usable(&made.items[0]));
	tlsa_set_release(&made);
	tlsa_set_release(&wanted);
}

static void all_kinds(void **state)
{
	(void)state;
	for (uint8_t kind = 0; kind < 24; kind++) {
		struct tlsa_kind k = {kind / 6, kind / 3 % 2, kind % 3};

		check_kind(&identities[0], k);
		check_kind(&identities[1], k);
	}
}

/* 65535 octets of RDATA, three of them the header. */
static void too_large_for_dns(void **state)
{
	static const struct {
		size_t names;
		bool fits;
	} cases[] = {{300, true}, {1200, false}};
	struct tlsa_set set = {0};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *names = mem_zero(cases[i].names + 1, 64), *end = names;
		struct identity large;

		for (size_t n = 0; n < cases[i].names; n++)
			end += snprintf(end, 64, "%sDNS:%050zu.example", n ? "," : "", n);
		large = make_identity(&(struct identity_spec){.alt_names = names}, NULL);
		assert_int_equal(tlsa_make_from_certificate(
				     &set, (struct tlsa_kind){3, 0, 0}, large.certificate),
		    cases[i].fits);
		assert_true(tlsa_make_from_certificate(
		    &set, (struct tlsa_kind){3, 0, 2}, large.certificate));
		free_identity(&large);
		free(names);
	}
	assert_int_equal(set.count, 3);
	tlsa_set_release(&set);
}

static void forms(void **state)
{
	static const struct tlsa t = {3, 1, 1, 4, (const uint8_t *)"\x00\xab\x12\xff"};
	static const struct {
		enum tlsa_form form;
		const char *owner;
		uint32_t ttl;
		const char *line;
	} cases[] = {
	    {TLSA_PLAIN, "_25._tcp.mx.lab", 3600, "_25._tcp.mx.lab. 3600 IN TLSA 3 1 1 00ab12ff"},
	    {TLSA_PLAIN, "_25._tcp.mx.lab", 0, "_25._tcp.mx.lab. IN TLSA 3 1 1 00ab12ff"},
	    {TLSA_PLAIN, "", 4294967295u, ". 4294967295 IN TLSA 3 1 1 00ab12ff"},
	    {TLSA_GENERIC, "a", 1, "a. 1 IN TYPE52 \\# 7 03010100ab12ff"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *line = tlsa_zone_line(&t, cases[i].form, cases[i].owner, cases[i].ttl);

		assert_string_equal(line, cases[i].line);
		free(line);
	}
}

static void never_cut(void **state)
{
	static uint8_t data[60000];
	struct tlsa t = {2, 0, 0, sizeof data, data};
	char *text = tlsa_type_and_data(&t, TLSA_PLAIN);

	(void)state;
	assert_int_equal(strlen(text), strlen("TLSA 2 0 0 ") + 2 * sizeof data);
	free(text);
	text = tlsa_type_and_data(&t, TLSA_GENERIC);
	assert_int_equal(strlen(text), strlen("TYPE52 \\# 60003 020000") + 2 * sizeof data);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"RFC 6698 2.1: all 24 kinds", all_kinds, NULL, NULL, NULL},
	    {"RFC 1035 3.2.1: too large for DNS", too_large_for_dns, NULL, NULL, NULL},
	    {"RFC 6698 2.2, RFC 3597 5: forms", forms, NULL, NULL, NULL},
	    {"long data is never cut", never_cut, NULL, NULL, NULL},
	};
	int failed;

	identities[0] = make_identity(&(struct identity_spec){.common_name = "ec"}, NULL);
	identities[1] =
	    make_identity(&(struct identity_spec){.common_name = "rsa", .rsa_bits = 2048}, NULL);
	failed = cmocka_run_group_tests_name("tlsa_make", tests, NULL, NULL);
	free_identity(&identities[0]);
	free_identity(&identities[1]);
	return failed;
}
