/*
 * test_decide.c - level x DANE outcome x MX state: what must be proven, under which name, or which
 * refusal.
 */
#include "decide_scene.h"

struct decide_case {
	const char *name;
	enum level level;
	enum dane_outcome outcome;
	enum mx mx;
	enum level insecure_mx, fallback;
	enum verdict verdict;
	enum reason reason;
	enum tls_need need;
	const char *label;
	bool secures_domain;
};

/* clang-format off */
static const struct decide_case cases[] = {
	{ "none", NONE, DANE_ABSENT, UNSIGNED, DANE, MAY, CONNECT(TLS_NONE, "none", false) },
	{ "none, signed MX", NONE, DANE_ABSENT, SIGNED, DANE, ENCRYPT, CONNECT(TLS_NONE, "none", false) },
	{ "may", MAY, DANE_ABSENT, UNSIGNED, DANE, MAY, CONNECT(TLS_MAY, "may", false) },
	{ "may is not raised by fallback", MAY, DANE_ABSENT, SIGNED, DANE, ENCRYPT, CONNECT(TLS_MAY, "may", false) },
	{ "encrypt", ENCRYPT, DANE_ABSENT, UNSIGNED, DANE, MAY, CONNECT(TLS_ENCRYPT, "encrypt", false) },
	{ "secure", SECURE, DANE_ABSENT, UNSIGNED, DANE, MAY, CONNECT(TLS_PKIX, "secure", true) },
	{ "secure, signed MX", SECURE, DANE_ABSENT, SIGNED, DANE, MAY, CONNECT(TLS_PKIX, "secure", true) },

	{ "R-DANE-01 dane, usable", DANE, DANE_USABLE, SIGNED, DANE, MAY, CONNECT(TLS_DANE, "dane", true) },
	{ "R-DANE-01 insecure_mx means nothing for a signed MX", DANE, DANE_USABLE, SIGNED, MAY, MAY,
	  CONNECT(TLS_DANE, "dane", true) },
	{ "R-DANE-25 R-TLSSEC-17 unsigned MX: half-dane, not verified", DANE, DANE_USABLE, UNSIGNED, DANE, MAY,
	  CONNECT(TLS_DANE, "half-dane", false) },
	{ "R-DANE-25 insecure_mx = encrypt", DANE, DANE_USABLE, UNSIGNED, ENCRYPT, MAY,
	  CONNECT(TLS_ENCRYPT, "half-dane", false) },
	{ "R-DANE-25 insecure_mx = may", DANE, DANE_USABLE, UNSIGNED, MAY, MAY, CONNECT(TLS_MAY, "half-dane", false) },
	{ "R-DANE-25 insecure_mx = may is not below fallback", DANE, DANE_USABLE, UNSIGNED, MAY, ENCRYPT,
	  CONNECT(TLS_ENCRYPT, "half-dane", false) },
	{ "R-DANE-02 unusable: TLS without proof", DANE, DANE_UNUSABLE, SIGNED, DANE, MAY,
	  CONNECT(TLS_ENCRYPT, "dane-unusable", false) },
	{ "R-DANE-02 unusable, unsigned MX", DANE, DANE_UNUSABLE, UNSIGNED, DANE, MAY,
	  CONNECT(TLS_ENCRYPT, "dane-unusable", false) },
	{ "R-DANE-25 unusable, unsigned MX, insecure_mx = may", DANE, DANE_UNUSABLE, UNSIGNED, MAY, MAY,
	  CONNECT(TLS_MAY, "dane-unusable", false) },
	{ "R-DANE-02 unusable, signed MX, insecure_mx = may", DANE, DANE_UNUSABLE, SIGNED, MAY, MAY,
	  CONNECT(TLS_ENCRYPT, "dane-unusable", false) },
	{ "R-DANE-03 absent: fallback = may", DANE, DANE_ABSENT, SIGNED, DANE, MAY, CONNECT(TLS_MAY, "may", false) },
	{ "R-DANE-03 absent: fallback = encrypt", DANE, DANE_ABSENT, UNSIGNED, DANE, ENCRYPT,
	  CONNECT(TLS_ENCRYPT, "encrypt", false) },
	{ "R-DNS-07 dane, failed", DANE, DANE_FAILED, SIGNED, MAY, MAY, DEFER(REASON_DNS_BOGUS, "dane") },
	{ "no address", DANE, DANE_NO_ADDRESS, SIGNED, DANE, MAY, DEFER(REASON_NO_ADDRESS, "dane") },

	{ "R-DANE-26 dane-only, usable", ONLY, DANE_USABLE, SIGNED, DANE, MAY, CONNECT(TLS_DANE, "dane-only", true) },
	{ "R-DANE-26 dane-only, unsigned MX", ONLY, DANE_USABLE, UNSIGNED, DANE, MAY,
	  DEFER(REASON_DANE_REQUIRED, "dane-only") },
	{ "R-DANE-26 dane-only, unsigned MX, insecure_mx = may", ONLY, DANE_USABLE, UNSIGNED, MAY, MAY,
	  DEFER(REASON_DANE_REQUIRED, "dane-only") },
	{ "R-DANE-26 dane-only, unusable", ONLY, DANE_UNUSABLE, SIGNED, DANE, MAY,
	  DEFER(REASON_DANE_REQUIRED, "dane-only") },
	{ "R-DANE-26 dane-only, absent", ONLY, DANE_ABSENT, SIGNED, DANE, MAY,
	  DEFER(REASON_DANE_REQUIRED, "dane-only") },
	{ "R-DNS-07 dane-only, failed", ONLY, DANE_FAILED, SIGNED, DANE, MAY, DEFER(REASON_DNS_BOGUS, "dane-only") },

	{ "R-DNS-02 bogus defers at level none", NONE, DANE_FAILED, UNSIGNED, DANE, MAY,
	  DEFER(REASON_DNS_BOGUS, "none") },
	{ "R-DNS-02 bogus defers at level may", MAY, DANE_FAILED, UNSIGNED, DANE, MAY,
	  DEFER(REASON_DNS_BOGUS, "may") },
	{ "R-DNS-02 bogus defers at level encrypt", ENCRYPT, DANE_FAILED, UNSIGNED, DANE, MAY,
	  DEFER(REASON_DNS_BOGUS, "encrypt") },
	{ "R-DNS-02 bogus defers at level secure", SECURE, DANE_FAILED, UNSIGNED, DANE, MAY,
	  DEFER(REASON_DNS_BOGUS, "secure") },
};
/* clang-format on */

static void check_case(void **state)
{
	const struct decide_case *c = *state;
	struct scene scene;
	struct route *route = &scene.route;

	set(&scene, c->level, c->outcome, c->mx == SIGNED ? DNS_SECURE : DNS_INSECURE);
	scene.conf.insecure_mx = c->insecure_mx;
	scene.conf.fallback = c->fallback;
	decide(&scene);
	assert_int_equal(route->verdict, c->verdict);
	assert_int_equal(route->refusal.reason, c->reason);
	assert_string_equal(route->policy_label, c->label);
	assert_int_equal(route->secures_domain, c->secures_domain);
	if (c->verdict == POLICY_CONNECT)
		assert_int_equal(route->rule.need, c->need);
	else
		assert_string_not_equal(route->refusal.text, "");
	assert_int_equal(route->rule.tlsa.count, route->rule.need == TLS_DANE ? 1 : 0);
	release(&scene);
}

/* ---- the rest of the rule ---- */

static void check_sni(void **state)
{
	static const struct {
		enum level level;
		enum dane_outcome outcome;
		const char *sni, *base;
	} rows[] = {
	    {LEVEL_DANE, DANE_USABLE, "base.example.net", "base.example.net"},
	    {LEVEL_DANE, DANE_UNUSABLE, "base.example.net", "base.example.net"},
	    {LEVEL_DANE, DANE_ABSENT, HOST, ""},
	    {LEVEL_SECURE, DANE_ABSENT, HOST, ""},
	    {LEVEL_MAY, DANE_ABSENT, HOST, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct scene scene;

		set(&scene, rows[i].level, rows[i].outcome, DNS_SECURE);
		decide(&scene);
		assert_string_equal(scene.route.rule.sni, rows[i].sni);
		assert_string_equal(scene.route.tlsa_base, rows[i].base);
		release(&scene);
	}
}

static void check_min_version(void **state)
{
	static const struct {
		enum level level;
		enum dane_outcome outcome;
		enum tls_version configured, expected;
	} rows[] = {
	    {LEVEL_DANE, DANE_USABLE, TLS_VERSION_1_0, TLS_VERSION_1_2},
	    {LEVEL_DANE, DANE_USABLE, TLS_VERSION_1_3, TLS_VERSION_1_3},
	    {LEVEL_SECURE, DANE_ABSENT, TLS_VERSION_1_1, TLS_VERSION_1_2},
	    {LEVEL_ENCRYPT, DANE_ABSENT, TLS_VERSION_1_0, TLS_VERSION_1_0},
	    {LEVEL_DANE, DANE_ABSENT, TLS_VERSION_1_0, TLS_VERSION_1_0},
	    {LEVEL_MAY, DANE_ABSENT, TLS_VERSION_1_3, TLS_VERSION_1_3},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct scene scene;

		set(&scene, rows[i].level, rows[i].outcome, DNS_SECURE);
		scene.conf.min_tls = rows[i].configured;
		decide(&scene);
		assert_int_equal(scene.route.rule.min_version, rows[i].expected);
		release(&scene);
	}
}

/*
 * An attacker who forges an unsigned MX may present a fine certificate for the host that it names.
 */
static void check_secure_names(void **state)
{
	struct scene scene;
	const struct tls_rule *rule = &scene.route.rule;

	(void)state;
	set(&scene, LEVEL_SECURE, DANE_ABSENT, DNS_INSECURE);
	decide(&scene);
	assert_int_equal(rule->name_count, 1);
	assert_string_equal(rule->names[0], "example.org");
	assert_true(rule->names_below);
	release(&scene);

	set(&scene, LEVEL_SECURE, DANE_ABSENT, DNS_SECURE);
	decide(&scene);
	assert_int_equal(rule->name_count, 2);
	assert_string_equal(rule->names[0], "example.org");
	assert_string_equal(rule->names[1], HOST);
	release(&scene);

	set(&scene, LEVEL_SECURE, DANE_ABSENT, DNS_SECURE);
	snprintf(scene.destination.next_hop, DOMAIN_SIZE, HOST);
	decide(&scene);
	assert_int_equal(rule->name_count, 1);
	assert_string_equal(rule->names[0], HOST);
	release(&scene);

	set(&scene, LEVEL_SECURE, DANE_ABSENT, DNS_SECURE);
	scene.route.host[0] = '\0';
	decide(&scene);
	assert_int_equal(rule->name_count, 1);
	assert_string_equal(rule->names[0], "example.org");
	assert_string_equal(rule->sni, "");
	release(&scene);
}

static void check_dane_names(void **state)
{
	struct scene scene;

	(void)state;
	set(&scene, LEVEL_DANE, DANE_USABLE, DNS_SECURE);
	snprintf(scene.dane.names[1], DOMAIN_SIZE, "example.org");
	scene.dane.name_count = 2;
	decide(&scene);
	assert_int_equal(scene.route.rule.name_count, 2);
	assert_string_equal(scene.route.rule.names[0], "base.example.net");
	assert_string_equal(scene.route.rule.names[1], "example.org");
	assert_false(scene.route.rule.names_below);
	release(&scene);
}

static void check_enforce(void **state)
{
	(void)state;
	for (int level = LEVEL_NONE; level <= LEVEL_SECURE; level++) {
		for (int enforce = 0; enforce < 2; enforce++) {
			struct scene scene;

			set(&scene, level, DANE_ABSENT, DNS_SECURE);
			scene.conf.enforce = enforce;
			decide(&scene);
			assert_int_equal(
			    scene.route.may_report_only, !enforce && level != LEVEL_DANE_ONLY);
			release(&scene);
		}
	}
}

/*
 * Nothing of an unauthenticated policy may carry names or records that another layer could take for
 * a proof.
 */
static void check_unproven_rule_is_bare(void **state)
{
	struct scene scene;

	(void)state;
	set(&scene, LEVEL_DANE, DANE_USABLE, DNS_INSECURE);
	scene.conf.insecure_mx = LEVEL_ENCRYPT;
	decide(&scene);
	assert_int_equal(scene.route.rule.need, TLS_ENCRYPT);
	assert_int_equal(scene.route.rule.name_count, 0);
	assert_int_equal(scene.route.rule.tlsa.count, 0);
	release(&scene);
}

static void check_no_mail_host(void **state)
{
	static const struct {
		bool is_mx, is_configured;
		enum verdict verdict;
		enum reason reason;
	} rows[] = {
	    {true, false, POLICY_DEFER, REASON_NO_ADDRESS},
	    {false, false, POLICY_REFUSE, REASON_NO_MAIL_HOST},
	    {false, true, POLICY_DEFER, REASON_NO_ADDRESS},
	    {true, true, POLICY_DEFER, REASON_NO_ADDRESS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct scene scene;

		set(&scene, LEVEL_DANE, DANE_NO_ADDRESS, DNS_SECURE);
		scene.destination.is_mx = rows[i].is_mx;
		scene.conf.next_hop.set = rows[i].is_configured;
		decide(&scene);
		assert_int_equal(scene.route.verdict, rows[i].verdict);
		assert_int_equal(scene.route.refusal.reason, rows[i].reason);
		release(&scene);
	}
}

/* Promise 3: each way to miss dane-only names what is missing. */
static void check_dane_required_texts(void **state)
{
	static const struct {
		enum dane_outcome outcome;
		enum dns_state mx_state;
		const char *host, *text;
	} rows[] = {
	    {DANE_USABLE, DNS_INSECURE, HOST,
		"the MX lookup of example.org is not secured by DNSSEC, which level dane-only "
		"requires"},
	    {DANE_UNUSABLE, DNS_SECURE, HOST,
		"no TLSA record of _25._tcp.base.example.net is usable, one of which level "
		"dane-only "
		"requires"},
	    {DANE_ABSENT, DNS_SECURE, HOST,
		"mx.example.net has no secure TLSA record (_25._tcp.mx.example.net), which level "
		"dane-only "
		"requires"},
	    {DANE_ABSENT, DNS_SECURE, "",
		"level dane-only needs TLSA records, which an address in next_hop cannot have: "
		"name "
		"the host "
		"of example.org"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct scene scene;

		set(&scene, LEVEL_DANE_ONLY, rows[i].outcome, rows[i].mx_state);
		snprintf(scene.route.host, DOMAIN_SIZE, "%s", rows[i].host);
		decide(&scene);
		assert_int_equal(scene.route.refusal.reason, REASON_DANE_REQUIRED);
		assert_string_equal(scene.route.refusal.text, rows[i].text);
		release(&scene);
	}
}

int main(void)
{
	enum { COUNT = sizeof cases / sizeof *cases };
	static const struct CMUnitTest others[] = {
	    {"R-DANE-18 SNI is the TLSA base domain, else the host", check_sni, NULL, NULL, NULL},
	    {"R-DANE-19 a proof needs TLS 1.2, whatever min_tls says", check_min_version, NULL,
		NULL, NULL},
	    {"level secure: the host's own name only behind a secure MX", check_secure_names, NULL,
		NULL, NULL},
	    {"R-DANE-11 the decision's names, in order", check_dane_names, NULL, NULL, NULL},
	    {"R-DANE-27 enforce = no, never for dane-only", check_enforce, NULL, NULL, NULL},
	    {"R-DANE-25 a rule without proof has no names and no records",
		check_unproven_rule_is_bare, NULL, NULL, NULL},
	    {"interface 3: no-mail-host only for an implicit MX", check_no_mail_host, NULL, NULL,
		NULL},
	    {"R-DANE-26 dane-required says what is missing", check_dane_required_texts, NULL, NULL,
		NULL},
	};
	enum { OTHERS = sizeof others / sizeof *others };
	struct CMUnitTest tests[COUNT + OTHERS];

	for (size_t i = 0; i < COUNT; i++)
		tests[i] =
		    (struct CMUnitTest){cases[i].name, check_case, NULL, NULL, (void *)&cases[i]};
	memcpy(tests + COUNT, others, sizeof others);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
