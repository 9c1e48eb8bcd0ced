/*
 * test_rule.c - the identity of a rule (R-TLSSEC-06) and the gate before MAIL, both without a
 * network.
 */
#include "tls/rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t digest[64] = "0123456789abcdef0123456789abcdef";

static void add(
    struct tls_rule *rule, uint8_t usage, uint8_t selector, uint8_t matching, size_t len)
{
	tlsa_set_add(&rule->tlsa, &(struct tlsa){usage, selector, matching, len, digest});
}

static struct tls_rule basic(void)
{
	struct tls_rule rule = {.need = TLS_DANE,
	    .min_version = TLS_VERSION_1_2,
	    .sni = "mx.example.org",
	    .name_count = 2,
	    .names = {"mx.example.org", "example.org"}};

	add(&rule, 3, 1, 1, 32);
	add(&rule, 2, 0, 1, 32);
	return rule;
}

/* clang-format off */

/* ---- each makes another demand of the basic rule ... ---- */

static void other_need(struct tls_rule *r) { r->need = TLS_PKIX; }
static void other_version(struct tls_rule *r) { r->min_version = TLS_VERSION_1_3; }
static void other_sni(struct tls_rule *r) { strcpy(r->sni, "mx.example.com"); }
static void no_sni(struct tls_rule *r) { r->sni[0] = '\0'; }
static void other_name(struct tls_rule *r) { strcpy(r->names[1], "example.com"); }
static void fewer_names(struct tls_rule *r) { r->name_count = 1; }
static void more_names(struct tls_rule *r) { strcpy(r->names[r->name_count++], "example.net"); }
static void names_below(struct tls_rule *r) { r->names_below = true; }
static void other_name_below(struct tls_rule *r)
{
	char first[DOMAIN_SIZE];

	memcpy(first, r->names[0], sizeof first);
	memcpy(r->names[0], r->names[1], sizeof first);
	memcpy(r->names[1], first, sizeof first);
	r->names_below = true;
}
static void report_name(struct tls_rule *r) { strcpy(r->report_name, "mx.example.org"); }
static void other_report_name(struct tls_rule *r) { strcpy(r->report_name, "example.org"); }
static void fewer_records(struct tls_rule *r) { r->tlsa.count = 1; }
static void more_records(struct tls_rule *r) { add(r, 3, 1, 2, 64); }
static void other_usage(struct tls_rule *r) { r->tlsa.items[1].usage = 3; }
static void other_selector(struct tls_rule *r) { r->tlsa.items[1].selector = 1; }
static void other_matching(struct tls_rule *r) { r->tlsa.items[1].matching = 2; }
static void other_length(struct tls_rule *r) { r->tlsa.items[1].len = 31; }
static void other_data(struct tls_rule *r) { ((uint8_t *)r->tlsa.items[1].data)[31] ^= 1; }
/* What one text loses the next one gains: their bounds must be part of the identity. */
static void moved_bound(struct tls_rule *r)
{
	strcpy(r->names[0], "mx.example.orge");
	strcpy(r->names[1], "xample.org");
}

/* ---- ... or the same one in another dress ---- */

static void other_name_order(struct tls_rule *r)
{
	strcpy(r->names[0], "example.org");
	strcpy(r->names[1], "mx.example.org");
}
static void other_record_order(struct tls_rule *r)
{
	struct tlsa first = r->tlsa.items[0];

	r->tlsa.items[0] = r->tlsa.items[1];
	r->tlsa.items[1] = first;
}
static void unused_name(struct tls_rule *r) { strcpy(r->names[3], "left over"); }
static void octets_after_text(struct tls_rule *r) { r->sni[strlen(r->sni) + 1] = 'x'; }

/* clang-format on */

static const struct {
	const char *what;
	void (*change)(struct tls_rule *);
	bool same;
} changes[] = {
    {"need", other_need, false},
    {"min_version", other_version, false},
    {"sni", other_sni, false},
    {"no sni", no_sni, false},
    {"a name", other_name, false},
    {"fewer names", fewer_names, false},
    {"more names", more_names, false},
    {"names_below", names_below, false},
    {"names_below, of another name", other_name_below, false},
    {"report_name", report_name, false},
    {"another report_name", other_report_name, false},
    {"fewer records", fewer_records, false},
    {"more records", more_records, false},
    {"usage", other_usage, false},
    {"selector", other_selector, false},
    {"matching", other_matching, false},
    {"length", other_length, false},
    {"data", other_data, false},
    {"bound between names", moved_bound, false},
    {"order of names", other_name_order, true},
    {"order of records", other_record_order, true},
    {"unused name", unused_name, true},
    {"octets after the text", octets_after_text, true},
};

enum { CHANGES = sizeof(changes) / sizeof(changes[0]) };

static void key_of(void (*change)(struct tls_rule *), unsigned char key[TLS_KEY_SIZE])
{
	struct tls_rule rule = basic(), copy;
	size_t count = rule.tlsa.count;

	if (change)
		change(&rule);
	tls_rule_copy(&copy, &rule);
	tls_rule_key(&copy, key);
	tls_rule_release(&copy);
	if (rule.tlsa.count < count)
		rule.tlsa.count = count;
	tls_rule_release(&rule);
}

/* Against the basic rule, and each other demand against all the others. */
static void key_tells_demands_apart(void **state)
{
	unsigned char keys[CHANGES + 1][TLS_KEY_SIZE];

	(void)state;
	key_of(NULL, keys[CHANGES]);
	for (size_t i = 0; i < CHANGES; i++)
		key_of(changes[i].change, keys[i]);
	for (size_t i = 0; i < CHANGES; i++) {
		if ((memcmp(keys[i], keys[CHANGES], TLS_KEY_SIZE) == 0) != changes[i].same)
			fail_msg("%s", changes[i].what);
		for (size_t j = 0; j < i && !changes[i].same; j++)
			if (memcmp(keys[i], keys[j], TLS_KEY_SIZE) == 0)
				fail_msg("%s and %s", changes[i].what, changes[j].what);
	}
}

static void sealed_key_is_kept(void **state)
{
	struct tls_rule rule = basic(), copy;
	unsigned char before[TLS_KEY_SIZE], after[TLS_KEY_SIZE];

	(void)state;
	tls_rule_key(&rule, before);
	tls_rule_seal(&rule);
	tls_rule_copy(&copy, &rule);
	tls_rule_key(&copy, after);
	assert_memory_equal(before, after, TLS_KEY_SIZE);
	other_data(&copy);
	tls_rule_seal(&copy);
	tls_rule_key(&copy, after);
	assert_memory_not_equal(before, after, TLS_KEY_SIZE);
	tls_rule_release(&copy);
	tls_rule_release(&rule);
}

static void copies_are_owned(void **state)
{
	struct tls_rule rule = basic(), copy;

	(void)state;
	tls_rule_copy(&copy, &rule);
	assert_ptr_not_equal(copy.tlsa.items[0].data, rule.tlsa.items[0].data);
	tls_rule_release(&rule);
	assert_int_equal(copy.tlsa.count, 2);
	assert_memory_equal(copy.tlsa.items[1].data, digest, 32);
	tls_rule_release(&copy);
	assert_int_equal(copy.tlsa.count, 0);
}

/* ---- the gate ---- */

/* Need by need, which proofs open the gate: written out, not computed as the code does it. */
static bool expected(enum tls_need need, bool encrypted, bool verified, enum tls_failure failure)
{
	static const bool unproven_is_enough[] = {[TLS_NONE] = true,
	    [TLS_MAY] = true,
	    [TLS_ENCRYPT] = true,
	    [TLS_PKIX] = false,
	    [TLS_DANE] = false};

	if (failure != TLS_FINE || !encrypted)
		return false;
	return verified || unproven_is_enough[need];
}

static void gate(void **state)
{
	static const bool clear_is_enough[] = {[TLS_NONE] = true,
	    [TLS_MAY] = true,
	    [TLS_ENCRYPT] = false,
	    [TLS_PKIX] = false,
	    [TLS_DANE] = false};
	size_t opened = 0;

	(void)state;
	for (int need = TLS_NONE; need <= TLS_DANE; need++) {
		struct tls_rule rule = {.need = (enum tls_need)need};

		assert_int_equal(tls_rule_is_met(&rule, NULL), clear_is_enough[need]);
		for (int bits = 0; bits < 4; bits++)
			for (int failure = TLS_FINE; failure <= TLS_FAIL_CHAIN; failure++) {
				struct tls_proof proof = {.encrypted = bits & 1,
				    .verified = bits & 2,
				    .failure = (enum tls_failure)failure};
				bool met = tls_rule_is_met(&rule, &proof);

				assert_int_equal(met, expected(rule.need, proof.encrypted,
							  proof.verified, proof.failure));
				opened += met;
			}
	}
	assert_int_equal(opened, 3 * 2 + 2 * 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-TLSSEC-06: key", key_tells_demands_apart, NULL, NULL, NULL},
	    {"a sealed key is kept, and goes with copies", sealed_key_is_kept, NULL, NULL, NULL},
	    {"R-DANE-30: copies are owned", copies_are_owned, NULL, NULL, NULL},
	    {"R-TLSSEC-05, -17: the gate before MAIL", gate, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("rule", tests, NULL, NULL);
}
