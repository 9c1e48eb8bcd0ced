/*
 * test_decide_sts.c - MTA-STS beside DANE (RFC 8461 2, 4 and 5): when it has a say, what it
 * demands, what it only reports.
 */
#include "decide_scene.h"

static char listed_host[] = HOST, other_host[] = "mx.other.example", pattern[] = "*.example.net";
static char *listing[] = {other_host, listed_host}, *wild[] = {pattern},
	    *elsewhere[] = {other_host};

#define POLICY(m, patterns)                                                                        \
	{                                                                                          \
		.state = STS_POLICY, .policy = {                                                   \
			.mode = STS_MODE_##m,                                                      \
			.mx_count = sizeof patterns / sizeof *patterns,                            \
			.mx = patterns                                                             \
		}                                                                                  \
	}

static const struct sts_answer absent = {.state = STS_ABSENT};
static const struct sts_answer no_txt = {
    .state = STS_DEFER, .refusal = {REASON_DNS_FAILED, "no TXT"}};
static const struct sts_answer no_fetch = {
    .state = STS_DEFER, .refusal = {REASON_STS_FETCH, "not fetched"}};
static const struct sts_answer enforce = POLICY(ENFORCE, listing);
static const struct sts_answer enforce_wild = POLICY(ENFORCE, wild);
static const struct sts_answer enforce_others = POLICY(ENFORCE, elsewhere);
static const struct sts_answer testing = POLICY(TESTING, listing);
static const struct sts_answer testing_others = POLICY(TESTING, elsewhere);

struct decide_case {
	const char *name;
	enum dane_outcome outcome;
	enum mx mx;
	enum level insecure_mx, fallback;
	const struct sts_answer *sts;
	enum verdict verdict;
	enum reason reason;
	enum tls_need need;
	const char *label;
	bool secures_domain;
};

#define ABSENT   DANE_ABSENT
#define UNUSABLE DANE_UNUSABLE
#define USABLE   DANE_USABLE

/* clang-format off */
static const struct decide_case cases[] = {
	{ "R-STS-18 no policy: fallback", ABSENT, SIGNED, DANE, MAY, &absent, CONNECT(TLS_MAY, "may", false) },
	{ "no policy: fallback = encrypt", ABSENT, UNSIGNED, DANE, ENCRYPT, &absent, CONNECT(TLS_ENCRYPT, "encrypt", false) },
	{ "no policy: unusable records", UNUSABLE, SIGNED, DANE, MAY, &absent, CONNECT(TLS_ENCRYPT, "dane-unusable", false) },
	{ "R-STS-26 enforce", ABSENT, SIGNED, DANE, MAY, &enforce, CONNECT(TLS_PKIX, "sts:enforce", true) },
	{ "R-STS-34 enforce, unsigned MX", ABSENT, UNSIGNED, DANE, MAY, &enforce, CONNECT(TLS_PKIX, "sts:enforce", true) },
	{ "R-STS-25 enforce, by wildcard", ABSENT, UNSIGNED, DANE, MAY, &enforce_wild, CONNECT(TLS_PKIX, "sts:enforce", true) },
	{ "R-STS-27 enforce, host not listed", ABSENT, UNSIGNED, DANE, MAY, &enforce_others,
	  POLICY_DEFER, REASON_STS_MX, TLS_PKIX, "sts:enforce", true },
	{ "R-DANE-33 unusable records and enforce: both", UNUSABLE, SIGNED, DANE, MAY, &enforce,
	  CONNECT(TLS_PKIX, "sts:enforce", true) },
	{ "R-DANE-33 unusable records and enforce, not listed", UNUSABLE, SIGNED, DANE, MAY, &enforce_others,
	  POLICY_DEFER, REASON_STS_MX, TLS_PKIX, "sts:enforce", true },
	{ "R-STS-32 insecure_mx = encrypt proves nothing: enforce does", USABLE, UNSIGNED, ENCRYPT, MAY, &enforce,
	  CONNECT(TLS_PKIX, "sts:enforce", true) },
	{ "R-STS-32 insecure_mx = may proves nothing: enforce does", USABLE, UNSIGNED, MAY, MAY, &enforce,
	  CONNECT(TLS_PKIX, "sts:enforce", true) },
	{ "R-STS-28 testing: fallback", ABSENT, SIGNED, DANE, MAY, &testing, CONNECT(TLS_MAY, "sts:testing", false) },
	{ "R-STS-28 testing: fallback = encrypt", ABSENT, UNSIGNED, DANE, ENCRYPT, &testing,
	  CONNECT(TLS_ENCRYPT, "sts:testing", false) },
	{ "R-STS-28 testing, not listed", ABSENT, SIGNED, DANE, MAY, &testing_others, CONNECT(TLS_MAY, "sts:testing", false) },
	{ "R-STS-28 testing, unusable records", UNUSABLE, SIGNED, DANE, MAY, &testing,
	  CONNECT(TLS_ENCRYPT, "dane-unusable", false) },
	{ "R-STS-17 no TXT answer, nothing cached", ABSENT, UNSIGNED, DANE, MAY, &no_txt,
	  POLICY_DEFER, REASON_DNS_FAILED, TLS_PKIX, "dane", true },
	{ "R-STS-17 no TXT answer, unusable records", UNUSABLE, SIGNED, DANE, MAY, &no_txt,
	  POLICY_DEFER, REASON_DNS_FAILED, TLS_PKIX, "dane", true },
	{ "R-STS-18 first_contact = defer", ABSENT, UNSIGNED, DANE, MAY, &no_fetch,
	  POLICY_DEFER, REASON_STS_FETCH, TLS_PKIX, "dane", true },
};
/* clang-format on */

static void check_case(void **state)
{
	const struct decide_case *c = *state;
	struct scene scene;
	struct route *route = &scene.route;

	set(&scene, DANE, c->outcome, c->mx == SIGNED ? DNS_SECURE : DNS_INSECURE);
	scene.conf.insecure_mx = c->insecure_mx;
	scene.conf.fallback = c->fallback;
	scene.sts = c->sts;
	assert_true(route_needs_sts(&scene.destination, &scene.dane));
	decide(&scene);
	assert_string_equal(route->policy_label, c->label);
	assert_int_equal(route->verdict, c->verdict);
	assert_int_equal(route->refusal.reason, c->reason);
	/* Of a refused host too: nobody who missed the verdict may send with less. */
	assert_int_equal(route->rule.need, c->need);
	assert_int_equal(route->secures_domain, c->secures_domain);
	assert_int_equal(route->rule.tlsa.count, 0);
	release(&scene);
}

static void check_need(void **state)
{
	static const struct {
		enum level level;
		bool mta_sts;
		enum dane_outcome outcome;
		enum dns_state mx;
		enum level insecure_mx;
		bool needed;
	} rows[] = {
	    {DANE, true, ABSENT, DNS_SECURE, DANE, true},
	    {DANE, true, UNUSABLE, DNS_SECURE, DANE, true},
	    {DANE, false, ABSENT, DNS_SECURE, DANE, false},
	    {DANE, true, USABLE, DNS_SECURE, DANE, false},
	    {DANE, true, USABLE, DNS_INSECURE, DANE, false},
	    {DANE, true, USABLE, DNS_INSECURE, ENCRYPT, true},
	    {DANE, true, USABLE, DNS_INSECURE, MAY, true},
	    {DANE, true, USABLE, DNS_SECURE, MAY, false},
	    {DANE, true, DANE_FAILED, DNS_SECURE, DANE, false},
	    {DANE, true, DANE_NO_ADDRESS, DNS_SECURE, DANE, false},
	    {NONE, true, ABSENT, DNS_SECURE, DANE, false},
	    {MAY, true, ABSENT, DNS_SECURE, DANE, false},
	    {ENCRYPT, true, ABSENT, DNS_SECURE, DANE, false},
	    {ONLY, true, ABSENT, DNS_SECURE, DANE, false},
	    {ONLY, true, UNUSABLE, DNS_SECURE, DANE, false},
	    {SECURE, true, ABSENT, DNS_SECURE, DANE, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct scene scene;

		set(&scene, rows[i].level, rows[i].outcome, rows[i].mx);
		scene.conf.mta_sts = rows[i].mta_sts;
		scene.conf.insecure_mx = rows[i].insecure_mx;
		assert_int_equal(route_needs_sts(&scene.destination, &scene.dane), rows[i].needed);
		release(&scene);
	}
}

/* Also where unusable TLSA records have another name as their base. */
static void check_rule(void **state)
{
	static const enum dane_outcome outcomes[] = {ABSENT, UNUSABLE};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct scene scene;
		const struct tls_rule *rule = &scene.route.rule;

		set(&scene, DANE, outcomes[i], DNS_SECURE);
		scene.conf.min_tls = TLS_VERSION_1_0;
		scene.sts = &enforce;
		decide(&scene);
		assert_int_equal(rule->name_count, 1);
		assert_string_equal(rule->names[0], HOST);
		assert_false(rule->names_below);
		assert_string_equal(rule->sni, HOST);
		assert_string_equal(rule->report_name, "");
		assert_int_equal(rule->min_version, TLS_VERSION_1_2);
		assert_int_equal(scene.route.sts_mode, STS_MODE_ENFORCE);
		assert_string_equal(scene.route.sts_domain, "example.org");
		release(&scene);
	}
}

static void check_testing(void **state)
{
	struct scene scene;
	const struct tls_rule *rule = &scene.route.rule;

	(void)state;
	set(&scene, DANE, ABSENT, DNS_SECURE);
	scene.sts = &testing;
	decide(&scene);
	assert_int_equal(rule->name_count, 0);
	assert_string_equal(rule->report_name, HOST);
	assert_int_equal(scene.route.sts_mode, STS_MODE_TESTING);
	assert_int_equal(scene.route.would_fail.reason, REASON_NONE);
	release(&scene);

	set(&scene, DANE, ABSENT, DNS_SECURE);
	scene.sts = &testing_others;
	decide(&scene);
	assert_int_equal(scene.route.would_fail.reason, REASON_STS_MX);
	assert_string_equal(scene.route.would_fail.text,
	    HOST " is an MX host of example.org, whose MTA-STS policy allows only "
		 "mx.other.example: its owner must mend one of them");
	release(&scene);
}

static void check_unlisted_texts(void **state)
{
	static char longest[DOMAIN_SIZE];
	static char *many[] = {other_host, pattern, other_host, pattern, pattern};
	static char *long_ones[] = {longest, longest, longest, longest};
	static const struct sts_answer cut = POLICY(ENFORCE, many);
	static const struct sts_answer overlong = POLICY(ENFORCE, long_ones);
	struct scene scene;

	(void)state;
	set(&scene, DANE, ABSENT, DNS_SECURE);
	snprintf(scene.route.host, DOMAIN_SIZE, "mx.example.com");
	scene.sts = &cut;
	decide(&scene);
	assert_string_equal(scene.route.refusal.text,
	    "mx.example.com is an MX host of example.org, whose MTA-STS policy allows only "
	    "mx.other.example or *.example.net or mx.other.example and 2 more: its owner must mend "
	    "one of them");
	release(&scene);

	memset(longest, 'x', DOMAIN_MAX);
	set(&scene, DANE, ABSENT, DNS_SECURE);
	scene.sts = &overlong;
	decide(&scene);
	assert_int_equal(strlen(scene.route.refusal.text), sizeof scene.route.refusal.text - 1);
	release(&scene);
}

/* 4.7.5 is what `enforce = no` turns into delivery; a failed DNS lookup is not. */
static void check_relaxed(void **state)
{
	static const struct {
		const struct sts_answer *sts;
		bool enforce, may_be_relaxed;
	} rows[] = {
	    {&enforce_others, false, true},
	    {&enforce_others, true, false},
	    {&no_fetch, false, true},
	    {&no_fetch, true, false},
	    {&no_txt, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct scene scene;

		set(&scene, DANE, ABSENT, DNS_SECURE);
		scene.conf.enforce = rows[i].enforce;
		scene.sts = rows[i].sts;
		decide(&scene);
		assert_int_equal(route_may_be_relaxed(&scene.route), rows[i].may_be_relaxed);
		release(&scene);
	}
}

int main(void)
{
	enum { COUNT = sizeof cases / sizeof *cases };
	static const struct CMUnitTest others[] = {
	    {"R-STS-31, -32 who needs the policy", check_need, NULL, NULL, NULL},
	    {"R-STS-26, -33 enforce: name, SNI, TLS 1.2", check_rule, NULL, NULL, NULL},
	    {"R-STS-28 testing: a report, no demand", check_testing, NULL, NULL, NULL},
	    {"R-STS-25 sts-mx says what is allowed", check_unlisted_texts, NULL, NULL, NULL},
	    {"interface 2: enforce = no and MTA-STS", check_relaxed, NULL, NULL, NULL},
	};
	enum { OTHERS = sizeof others / sizeof *others };
	struct CMUnitTest tests[COUNT + OTHERS];

	for (size_t i = 0; i < COUNT; i++)
		tests[i] =
		    (struct CMUnitTest){cases[i].name, check_case, NULL, NULL, (void *)&cases[i]};
	memcpy(tests + COUNT, others, sizeof others);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
