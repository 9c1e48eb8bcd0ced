/*
 * test_dane.c - the cases of RFC 7672 sections 2 and 3 by name: which questions are asked, in which
 * order, and what the answers come to.
 *
 * A case fails when a question is asked for which it has no answer, and when it has an answer that
 * was not asked for.
 */
#include "policy/dane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOST "mx.example.net"
#define END  "real.example.com"
#define GOOD "3 1 1:32"

enum said { UNASKED, SECURE, INSECURE, FAILED, BOGUS, BUSY };

/*
 * An answer: what the resolver said, the records ("usage selector matching:octets, ..." for TLSA),
 * the chain's end.
 */
struct spec {
	enum said said;
	const char *records;
	const char *end;
};

struct dane_case {
	const char *name;
	struct spec a, aaaa, cname, expanded, original;
	enum { MX_SECURE, MX_INSECURE, FIXED, IMPLICIT_INSECURE } mx;
	enum dane_outcome outcome;
	const char
	    *asked; /* c: CNAME, e: TLSA at the end of the chain, o: TLSA at the original name */
	const char *base;
	const char *names;
	const char *usable; /* in sorted order */
	enum reason reason;
};

#define ADDR                                                                                       \
	{                                                                                          \
		SECURE, "1", NULL                                                                  \
	}
#define NO_ADDR                                                                                    \
	{                                                                                          \
		SECURE, NULL, NULL                                                                 \
	}
#define PLAIN                                                                                      \
	{                                                                                          \
		INSECURE, "1", NULL                                                                \
	}
#define NO_PLAIN                                                                                   \
	{                                                                                          \
		INSECURE, NULL, NULL                                                               \
	}
#define ALIAS                                                                                      \
	{                                                                                          \
		SECURE, "1", END                                                                   \
	}
#define NO_ALIAS                                                                                   \
	{                                                                                          \
		SECURE, NULL, END                                                                  \
	}
#define PLAIN_ALIAS                                                                                \
	{                                                                                          \
		INSECURE, "1", END                                                                 \
	}
#define NO_PLAIN_ALIAS                                                                             \
	{                                                                                          \
		INSECURE, NULL, END                                                                \
	}
#define LOST                                                                                       \
	{                                                                                          \
		FAILED, NULL, NULL                                                                 \
	}
#define FORGED                                                                                     \
	{                                                                                          \
		BOGUS, NULL, NULL                                                                  \
	}
#define TLSA(records)                                                                              \
	{                                                                                          \
		SECURE, records, NULL                                                              \
	}
#define NO_TLSA                                                                                    \
	{                                                                                          \
		SECURE, NULL, NULL                                                                 \
	}

/* clang-format off */
static const struct dane_case cases[] = {
	/* addresses */
	{ "R-DNS-02 both address lookups failed", .a = LOST, .aaaa = LOST,
	  .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-02 A bogus, AAAA timed out: the worse news is told", .a = FORGED, .aaaa = LOST,
	  .outcome = DANE_FAILED, .reason = REASON_DNS_BOGUS },
	{ "R-DNS-02 AAAA bogus, A timed out", .a = LOST, .aaaa = FORGED,
	  .outcome = DANE_FAILED, .reason = REASON_DNS_BOGUS },
	{ "R-DNS-02 A too many lookups under way", .a = { BUSY, NULL, NULL }, .aaaa = NO_ADDR,
	  .outcome = DANE_FAILED, .reason = REASON_BUSY },
	{ "R-DNS-10 one family failed, the other has nothing", .a = LOST, .aaaa = NO_ADDR,
	  .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-10 the other one failed, the first has nothing", .a = NO_ADDR, .aaaa = LOST,
	  .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-04 neither family has an address", .a = NO_ADDR, .aaaa = NO_ADDR,
	  .outcome = DANE_NO_ADDRESS, .reason = REASON_NO_ADDRESS },
	{ "R-DNS-04 the same, insecure", .a = NO_PLAIN, .aaaa = NO_PLAIN,
	  .outcome = DANE_NO_ADDRESS, .reason = REASON_NO_ADDRESS },
	{ "R-DNS-10 AAAA failed, A secure: TLSA is enforced all the same", .a = ADDR, .aaaa = LOST,
	  .original = TLSA(GOOD), .asked = "o", .outcome = DANE_USABLE, .base = HOST, .usable = GOOD },
	{ "R-DNS-10 A bogus, AAAA secure: TLSA is enforced all the same", .a = FORGED, .aaaa = ADDR,
	  .original = TLSA(GOOD), .asked = "o", .outcome = DANE_USABLE, .base = HOST, .usable = GOOD },

	/* whether TLSA is asked */
	{ "R-DNS-08 unsigned host: TLSA not asked", .a = PLAIN, .aaaa = NO_PLAIN,
	  .outcome = DANE_ABSENT },
	{ "R-DNS-08 R-DNS-10 unsigned host, one family failed", .a = PLAIN, .aaaa = LOST,
	  .outcome = DANE_ABSENT },
	{ "R-DNS-09 A secure, AAAA through an insecure alias", .a = ADDR, .aaaa = PLAIN_ALIAS,
	  .original = TLSA(GOOD), .asked = "o", .outcome = DANE_USABLE, .base = HOST, .usable = GOOD },
	{ "R-DNS-09 AAAA secure, A insecure", .a = PLAIN, .aaaa = ADDR,
	  .original = TLSA(GOOD), .asked = "o", .outcome = DANE_USABLE, .base = HOST, .usable = GOOD },
	{ "R-DNS-09 A insecure, AAAA securely denied", .a = PLAIN, .aaaa = NO_ADDR,
	  .original = TLSA(GOOD), .asked = "o", .outcome = DANE_USABLE, .base = HOST, .usable = GOOD },

	/* aliases */
	{ "R-DNS-14 secure alias: its end first", .a = ALIAS, .aaaa = NO_ALIAS, .expanded = TLSA(GOOD),
	  .asked = "e", .outcome = DANE_USABLE, .base = END, .usable = GOOD,
	  .names = END " example.org expanded.example.org" },
	{ "R-DNS-14 secure alias in AAAA alone", .a = NO_ALIAS, .aaaa = ALIAS, .expanded = TLSA(GOOD),
	  .asked = "e", .outcome = DANE_USABLE, .base = END, .usable = GOOD },
	{ "R-DNS-14 nothing at its end: the original name", .a = ALIAS, .aaaa = NO_ALIAS, .expanded = NO_TLSA,
	  .original = TLSA(GOOD), .asked = "eo", .outcome = DANE_USABLE, .base = HOST, .usable = GOOD,
	  .names = HOST " example.org expanded.example.org" },
	{ "R-DNS-14 nothing at either end", .a = ALIAS, .aaaa = NO_ALIAS, .expanded = NO_TLSA,
	  .original = NO_TLSA, .asked = "eo", .outcome = DANE_ABSENT },
	{ "R-DNS-15 TLSA failed at the end: the original name is no substitute", .a = ALIAS, .aaaa = NO_ALIAS,
	  .expanded = LOST, .asked = "e", .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-15 TLSA bogus at the end", .a = ALIAS, .aaaa = NO_ALIAS,
	  .expanded = FORGED, .asked = "e", .outcome = DANE_FAILED, .reason = REASON_DNS_BOGUS },
	{ "R-DNS-07 nothing at the end, TLSA failed at the original name", .a = ALIAS, .aaaa = NO_ALIAS,
	  .expanded = NO_TLSA, .original = LOST, .asked = "eo", .outcome = DANE_FAILED,
	  .reason = REASON_DNS_FAILED },
	{ "R-DNS-13 families at the ends of different aliases: the alias changed", .a = ALIAS,
	  .aaaa = { SECURE, "1", "other.example.com" }, .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-12 insecure end, signed alias: TLSA at the original name", .a = PLAIN_ALIAS,
	  .aaaa = NO_PLAIN_ALIAS, .cname = { SECURE, END, NULL }, .original = TLSA(GOOD), .asked = "co",
	  .outcome = DANE_USABLE, .base = HOST, .usable = GOOD },
	{ "R-DNS-12 D-07 the insecure end's own TLSA is not asked", .a = PLAIN_ALIAS, .aaaa = LOST,
	  .cname = { SECURE, END, NULL }, .original = NO_TLSA, .asked = "co", .outcome = DANE_ABSENT },
	{ "R-DNS-11 R-DNS-12 insecure alias: TLSA not asked", .a = PLAIN_ALIAS, .aaaa = NO_PLAIN_ALIAS,
	  .cname = { INSECURE, END, NULL }, .asked = "c", .outcome = DANE_ABSENT },
	{ "R-DNS-12 signed alias, A lost: AAAA shows the alias", .a = LOST, .aaaa = PLAIN_ALIAS,
	  .cname = { SECURE, END, NULL }, .original = TLSA(GOOD), .asked = "co", .outcome = DANE_USABLE,
	  .base = HOST, .usable = GOOD },
	{ "R-DNS-07 CNAME probe failed", .a = PLAIN_ALIAS, .aaaa = NO_PLAIN_ALIAS, .cname = LOST, .asked = "c",
	  .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-07 CNAME probe bogus", .a = PLAIN_ALIAS, .aaaa = NO_PLAIN_ALIAS, .cname = FORGED, .asked = "c",
	  .outcome = DANE_FAILED, .reason = REASON_DNS_BOGUS },
	{ "R-DNS-13 CNAME probe finds no CNAME any more, secure", .a = PLAIN_ALIAS, .aaaa = NO_PLAIN_ALIAS,
	  .cname = { SECURE, NULL, NULL }, .asked = "c", .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-13 CNAME probe finds no CNAME any more, insecure", .a = PLAIN_ALIAS, .aaaa = NO_PLAIN_ALIAS,
	  .cname = { INSECURE, NULL, NULL }, .asked = "c", .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-07 signed alias, TLSA failed", .a = PLAIN_ALIAS, .aaaa = NO_PLAIN_ALIAS,
	  .cname = { SECURE, END, NULL }, .original = LOST, .asked = "co", .outcome = DANE_FAILED,
	  .reason = REASON_DNS_FAILED },

	/* TLSA answers */
	{ "R-DANE-01 usable", .a = ADDR, .aaaa = ADDR, .original = TLSA(GOOD), .asked = "o",
	  .outcome = DANE_USABLE, .base = HOST, .usable = GOOD,
	  .names = HOST " example.org expanded.example.org" },
	{ "R-DANE-03 securely denied", .a = ADDR, .aaaa = NO_ADDR, .original = NO_TLSA, .asked = "o",
	  .outcome = DANE_ABSENT },
	{ "R-DNS-07 D-02 forged denial of TLSA", .a = ADDR, .aaaa = NO_ADDR, .original = FORGED, .asked = "o",
	  .outcome = DANE_FAILED, .reason = REASON_DNS_BOGUS },
	{ "R-DNS-07 D-03 TLSA query dropped", .a = ADDR, .aaaa = NO_ADDR, .original = LOST, .asked = "o",
	  .outcome = DANE_FAILED, .reason = REASON_DNS_FAILED },
	{ "R-DNS-17 insecure TLSA counts as none", .a = ADDR, .aaaa = NO_ADDR,
	  .original = { INSECURE, GOOD, "tlsa.example.com" }, .asked = "o", .outcome = DANE_ABSENT },
	{ "R-DNS-17 insecure TLSA at the end: next base", .a = ALIAS, .aaaa = NO_ALIAS,
	  .expanded = { INSECURE, GOOD, NULL }, .original = TLSA(GOOD), .asked = "eo", .outcome = DANE_USABLE,
	  .base = HOST, .usable = GOOD },
	{ "R-DNS-17 insecurely denied", .a = ADDR, .aaaa = NO_ADDR, .original = { INSECURE, NULL, NULL },
	  .asked = "o", .outcome = DANE_ABSENT },
	{ "R-DNS-16 D-09 TLSA through a CNAME: the base domain stays", .a = ADDR, .aaaa = NO_ADDR,
	  .original = { SECURE, "2 0 1:32", "tlsa.example.com" }, .asked = "o", .outcome = DANE_USABLE,
	  .base = HOST, .usable = "2 0 1:32", .names = HOST " example.org expanded.example.org" },
	{ "R-DANE-02 T-15 only usages 0 and 1", .a = ADDR, .aaaa = NO_ADDR,
	  .original = TLSA("0 0 1:32, 1 1 1:32"), .asked = "o", .outcome = DANE_UNUSABLE, .base = HOST },
	{ "R-DANE-02 only an unknown matching type", .a = ADDR, .aaaa = NO_ADDR, .original = TLSA("3 1 7:32"),
	  .asked = "o", .outcome = DANE_UNUSABLE, .base = HOST },
	{ "R-DANE-05 T-17 private values, wrong lengths, garbage", .a = ADDR, .aaaa = NO_ADDR,
	  .original = TLSA("3 255 1:32, 3 1 255:32, 255 1 1:32, 3 1 1:33, 3 1 1:1, 3 1 2:32, 3 0 0:60"),
	  .asked = "o", .outcome = DANE_UNUSABLE, .base = HOST },
	{ "R-DANE-06 no association data", .a = ADDR, .aaaa = NO_ADDR, .original = TLSA("3 0 0:0, 3 1 1:0"),
	  .asked = "o", .outcome = DANE_UNUSABLE, .base = HOST },
	{ "R-DANE-02 unusable at the end: the original name is not asked", .a = ALIAS, .aaaa = NO_ALIAS,
	  .expanded = TLSA("0 0 1:32"), .asked = "e", .outcome = DANE_UNUSABLE, .base = END },
	{ "R-DANE-04 T-16 usage 1 beside usage 2 is dropped", .a = ADDR, .aaaa = NO_ADDR,
	  .original = TLSA("1 1 1:32, 2 0 1:32"), .asked = "o", .outcome = DANE_USABLE, .base = HOST,
	  .usable = "2 0 1:32" },
	{ "R-DANE-08 usable and unusable mixed", .a = ADDR, .aaaa = NO_ADDR,
	  .original = TLSA("3 2 1:32, 3 1 1:32"), .asked = "o", .outcome = DANE_USABLE, .base = HOST,
	  .usable = "3 1 1:32" },
	{ "R-DANE-16 T-18 SHA-512 of wrong length beside a good SHA-256", .a = ADDR, .aaaa = NO_ADDR,
	  .original = TLSA("3 1 2:32, 3 1 1:32"), .asked = "o", .outcome = DANE_USABLE, .base = HOST,
	  .usable = "3 1 1:32" },
	{ "R-TLSSEC-06 records are sorted", .a = ADDR, .aaaa = NO_ADDR,
	  .original = TLSA("3 1 2:64, 3 1 1:32, 2 1 1:32"), .asked = "o", .outcome = DANE_USABLE, .base = HOST,
	  .usable = "2 1 1:32, 3 1 1:32, 3 1 2:64" },

	/* reference identifiers */
	{ "R-DANE-11 T-12 insecure MX: the host's name alone", .a = ADDR, .aaaa = NO_ADDR, .mx = MX_INSECURE,
	  .original = TLSA(GOOD), .asked = "o", .outcome = DANE_USABLE, .base = HOST, .usable = GOOD,
	  .names = HOST },
	{ "R-DANE-11 insecure MX, secure alias: its end alone", .a = ALIAS, .aaaa = NO_ALIAS, .mx = MX_INSECURE,
	  .expanded = TLSA(GOOD), .asked = "e", .outcome = DANE_USABLE, .base = END, .usable = GOOD,
	  .names = END },
	{ "R-DANE-12 no MX, secure alias: its end and the original name", .a = ALIAS, .aaaa = NO_ALIAS,
	  .mx = FIXED, .expanded = TLSA(GOOD), .asked = "e", .outcome = DANE_USABLE, .base = END, .usable = GOOD,
	  .names = END " " HOST },
	{ "R-DANE-12 no MX, no alias: one name", .a = ADDR, .aaaa = NO_ADDR, .mx = FIXED,
	  .original = TLSA(GOOD), .asked = "o", .outcome = DANE_USABLE, .base = HOST, .usable = GOOD,
	  .names = HOST },
	{ "R-DANE-25 implicit MX of an insecure denial does not secure the domain", .a = ADDR, .aaaa = NO_ADDR,
	  .mx = IMPLICIT_INSECURE, .original = TLSA(GOOD), .asked = "o", .outcome = DANE_USABLE, .base = HOST,
	  .usable = GOOD, .names = HOST },
};
/* clang-format on */

/* ---- answers from specs ---- */

struct made {
	struct dns_answer answer;
	struct addr address;
	char name[DOMAIN_SIZE];
	struct dns_tlsa tlsa[8];
	uint8_t octets[128];
};

static void make_tlsa(struct made *made, const char *records)
{
	const char *at = records;
	unsigned usage, selector, matching, len;

	made->answer.tlsa = made->tlsa;
	while (at && sscanf(at, "%u %u %u:%u", &usage, &selector, &matching, &len) == 4) {
		assert_true(len <= sizeof made->octets);
		made->tlsa[made->answer.count++] = (struct dns_tlsa){
		    (uint8_t)usage, (uint8_t)selector, (uint8_t)matching, len, made->octets};
		at = strchr(at, ',');
		at = at ? at + 1 : NULL;
	}
}

static const struct dns_answer *make(
    struct made *made, const struct spec *spec, enum dns_type type, const char *question)
{
	struct dns_answer *answer = &made->answer;

	memset(made, 0, sizeof *made);
	memset(made->octets, 0xab, sizeof made->octets);
	answer->type = type;
	answer->state = spec->said == SECURE     ? DNS_SECURE
			: spec->said == INSECURE ? DNS_INSECURE
						 : DNS_FAILED;
	answer->bogus = spec->said == BOGUS;
	answer->busy = spec->said == BUSY;
	answer->via_cname = spec->end != NULL;
	snprintf(answer->question, sizeof answer->question, "%s", question);
	snprintf(answer->name, sizeof answer->name, "%s", spec->end ? spec->end : question);
	if (!spec->records)
		return answer;
	if (type == DNS_TLSA) {
		make_tlsa(made, spec->records);
		return answer;
	}
	answer->count = 1;
	answer->addresses = &made->address;
	if (type == DNS_CNAME)
		answer->names = &made->name;
	return answer;
}

/* ---- running a case ---- */

struct run {
	struct dane_answers answers;
	struct made a, aaaa, cname, expanded, original;
	char asked[8];
};

static void answer_step(struct run *run, const struct dane_case *c, enum dane_step step)
{
	const char *base = dane_base(&run->answers, step);

	assert_true(strlen(run->asked) < 3);
	switch (step) {
	case DANE_ASK_CNAME:
		strcat(run->asked, "c");
		assert_int_not_equal(c->cname.said, UNASKED);
		run->answers.cname = make(&run->cname, &c->cname, DNS_CNAME, HOST);
		break;
	case DANE_ASK_TLSA_EXPANDED:
		strcat(run->asked, "e");
		assert_string_equal(base, END);
		assert_int_not_equal(c->expanded.said, UNASKED);
		run->answers.tlsa_expanded =
		    make(&run->expanded, &c->expanded, DNS_TLSA, "_25._tcp." END);
		break;
	case DANE_ASK_TLSA_ORIGINAL:
		strcat(run->asked, "o");
		assert_string_equal(base, HOST);
		assert_int_not_equal(c->original.said, UNASKED);
		run->answers.tlsa_original =
		    make(&run->original, &c->original, DNS_TLSA, "_25._tcp." HOST);
		break;
	case DANE_DECIDED:
		break;
	}
}

static void start(struct run *run, const struct dane_case *c)
{
	bool is_mx = c->mx == MX_SECURE || c->mx == MX_INSECURE;

	memset(run, 0, sizeof *run);
	run->answers = (struct dane_answers){
	    .asks_tlsa = true,
	    .host = HOST,
	    .port = 25,
	    .mx_state = c->mx == MX_SECURE || c->mx == FIXED ? DNS_SECURE : DNS_INSECURE,
	    .is_mx = is_mx,
	    .next_hop_domain = is_mx ? "example.org" : HOST,
	    .expanded_domain = is_mx ? "expanded.example.org" : HOST,
	    .a = make(&run->a, &c->a, DNS_A, HOST),
	    .aaaa = make(&run->aaaa, &c->aaaa, DNS_AAAA, HOST),
	};
}

static void join_names(const struct dane_decision *decision, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < decision->name_count; i++)
		len += (size_t)snprintf(
		    out + len, size - len, "%s%s", i > 0 ? " " : "", decision->names[i]);
}

static void join_records(const struct tlsa_set *set, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < set->count; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%d %d %d:%zu", i > 0 ? ", " : "",
		    set->items[i].usage, set->items[i].selector, set->items[i].matching,
		    set->items[i].len);
}

static void check_decision(const struct dane_case *c, const struct dane_decision *decision)
{
	char names[1024] = "", records[256] = "";

	join_names(decision, names, sizeof names);
	join_records(&decision->tlsa, records, sizeof records);
	assert_int_equal(decision->outcome, c->outcome);
	assert_int_equal(decision->refusal.reason, c->reason);
	assert_string_equal(decision->base, c->base ? c->base : "");
	assert_string_equal(records, c->usable ? c->usable : "");
	if (c->names)
		assert_string_equal(names, c->names);
	assert_int_equal(decision->host_secure,
	    c->outcome == DANE_USABLE && (c->mx == MX_SECURE || c->mx == FIXED));
}

static void check_case(void **state)
{
	const struct dane_case *c = *state;
	struct dane_decision decision;
	enum dane_step step;
	struct run run;

	start(&run, c);
	while ((step = dane_next_step(&run.answers)) != DANE_DECIDED)
		answer_step(&run, c, step);
	assert_string_equal(run.asked, c->asked ? c->asked : "");
	dane_decide(&run.answers, &decision);
	check_decision(c, &decision);
	dane_decision_release(&decision);
}

/* ---- what no table row can show ---- */

/*
 * For each case that asks anything: a level that does not ask TLSA asks nothing and finds it
 * absent.
 */
static void check_other_levels(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dane_decision decision;
		struct run run;

		start(&run, &cases[i]);
		run.answers.asks_tlsa = false;
		assert_int_equal(dane_next_step(&run.answers), DANE_DECIDED);
		dane_decide(&run.answers, &decision);
		assert_int_equal(decision.outcome,
		    run.answers.a->count + run.answers.aaaa->count > 0 ? DANE_ABSENT
								       : cases[i].outcome);
		dane_decision_release(&decision);
	}
}

/*
 * Promise 1, over all cases: a failure in place of any answer that was used never ends in ABSENT
 * or UNUSABLE unless that family was merely dropped and the rest decides.
 */
static void check_no_downgrade(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dane_case worse = cases[i];
		struct spec *asked[] = {&worse.cname, &worse.expanded, &worse.original};

		for (size_t j = 0; j < 3; j++) {
			struct dane_decision decision;
			enum dane_step step;
			struct run run;

			worse = cases[i];
			if (asked[j]->said == UNASKED)
				continue;
			*asked[j] = (struct spec)FORGED;
			start(&run, &worse);
			while ((step = dane_next_step(&run.answers)) != DANE_DECIDED)
				answer_step(&run, &worse, step);
			dane_decide(&run.answers, &decision);
			assert_int_equal(decision.outcome, DANE_FAILED);
			dane_decision_release(&decision);
		}
	}
}

/* A host name of 253 octets exists; _25._tcp. before it does not, and is not asked. */
static void check_long_host(void **state)
{
	char host[DOMAIN_SIZE];
	struct made a, aaaa;
	struct dane_answers answers = {.asks_tlsa = true, .host = host, .port = 25, .is_mx = true};

	(void)state;
	for (size_t i = 0; i < DOMAIN_MAX; i++)
		host[i] = i % 50 == 49 ? '.' : 'a';
	host[DOMAIN_MAX] = '\0';
	answers.a = make(&a, &(struct spec)ADDR, DNS_A, host);
	answers.aaaa = make(&aaaa, &(struct spec)NO_ADDR, DNS_AAAA, host);
	assert_int_equal(dane_next_step(&answers), DANE_DECIDED);

	host[DOMAIN_MAX - strlen("_25._tcp.")] = '\0';
	answers.a = make(&a, &(struct spec)ADDR, DNS_A, host);
	answers.aaaa = make(&aaaa, &(struct spec)NO_ADDR, DNS_AAAA, host);
	assert_int_equal(dane_next_step(&answers), DANE_ASK_TLSA_ORIGINAL);
}

int main(void)
{
	enum { COUNT = sizeof cases / sizeof *cases };
	static const struct CMUnitTest others[] = {
	    {"levels that do not ask TLSA: absent, failures stay failures", check_other_levels,
		NULL, NULL, NULL},
	    {"R-DNS-07 any used answer replaced by a forged one: failed", check_no_downgrade, NULL,
		NULL, NULL},
	    {"R-DNS-32 a TLSA owner name longer than DNS allows is not asked", check_long_host,
		NULL, NULL, NULL},
	};
	struct CMUnitTest tests[COUNT + 3];

	for (size_t i = 0; i < COUNT; i++)
		tests[i] =
		    (struct CMUnitTest){cases[i].name, check_case, NULL, NULL, (void *)&cases[i]};
	memcpy(tests + COUNT, others, sizeof others);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
