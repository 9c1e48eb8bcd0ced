/*
 * What a refusal means, from its text alone: who must mend what. Rows with a host are in the lab.
 */
#include "proxy/command/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define AT      "mx.example.org[192.0.2.25]:25"
#define TLSA_OF "_25._tcp.mx.example.org"

struct row {
	enum reason reason;
	const char *text, *says, *never; /* in `what` and `advice` together */
};

/* clang-format off */
static const struct row rows[] = {
	{ REASON_DANE_MISMATCH, AT " presented key sha256 ab.., " TLSA_OF " wants 3 1 1 5a..",
	  "wants 3 1 1 5a..|on the host itself|stands between", "5a..." },
	{ REASON_DANE_NO_STARTTLS, AT " does not offer STARTTLS, but", "must turn STARTTLS on", "454" },
	{ REASON_DANE_NO_STARTTLS, AT " answered STARTTLS with 454 4.7.0 later (only 220 begins TLS), but",
	  "key or certificate that cannot be loaded", "must turn STARTTLS on" },
	{ REASON_DANE_NO_STARTTLS, AT " answered STARTTLS with 250 ok (only 220 begins TLS), but",
	  "mangles", "must turn STARTTLS on" },
	{ REASON_DANE_NO_STARTTLS, AT " refused EHLO (502), and with it STARTTLS, but", "ESMTP",
	  "must turn STARTTLS on" },
	{ REASON_DANE_NO_STARTTLS, AT " answered STARTTLS before it was asked (STARTTLS injection), but",
	  AT " sent data ahead of the TLS handshake|another network|must be updated",
	  "must turn STARTTLS on" },
	{ REASON_DANE_NO_STARTTLS, AT " sent more than the reply before TLS (STARTTLS injection), but",
	  "sent data ahead", "must turn STARTTLS on" },
	{ REASON_TLS_HANDSHAKE, "TLS handshake with " AT " failed: data before the TLS handshake (STARTTLS injection)",
	  AT " sent data ahead|another network", "usual causes" },
	{ REASON_DANE_NO_STARTTLS, AT " answered STARTTLS with 500 sent more than the reply (only", "mangles",
	  "sent data ahead" }, /* a peer's words are not ours */
	{ REASON_STS_NO_STARTTLS, AT " does not offer STARTTLS, but", "mode none|new id|does not help",
	  "withdraw" },
	{ REASON_CONNECT_FAILED, AT ": connection refused", "No mail server listens", "does not answer" },
	{ REASON_CONNECT_FAILED, AT ": broke the protocol: not an SMTP reply: HTTP/1.1",
	  "HTTP/1.1|no mail server", "does not answer" },
	{ REASON_DNS_FAILED, "the TLSA lookup of " TLSA_OF " failed (SERVFAIL): try again later",
	  "dig " TLSA_OF " TLSA|but not for TLSA|firewall", "Nothing is known" },
	{ REASON_DNS_FAILED, "the TLSA lookup of " TLSA_OF " failed (there are too many TLSA records, more than 100)",
	  "does not help|old keys", "try again" },
	{ REASON_DNS_FAILED, "the TXT lookup of _mta-sts.example.org failed (SERVFAIL): try again later",
	  "whether example.org demands TLS|dig _mta-sts.example.org TXT", "Nothing is known" },
	{ REASON_DNS_FAILED, "the MX lookup of example.org failed (SERVFAIL): try again later",
	  "dig example.org MX", "Nothing is known" },
	{ REASON_DNS_FAILED, "the lookups of mx.example.org for example.org took longer than 5 s (dns.total), no answer to AAAA: try",
	  "drops|dig mx.example.org AAAA", "" },
	{ REASON_DNS_BOGUS, "the MX lookup of example.org failed DNSSEC validation: it came (no signatures from 192.0.2.3)",
	  "strips|another network|dig +dnssec +cd example.org MX", "Every validating" },
	{ REASON_DNS_BOGUS, "the MX lookup of a.org failed DNSSEC validation: x (DS hash mismatches key from 192.0.2.3 for key a.org.)",
	  "owner of the zone a.org must give the registrar|delv a.org MX", "sign it anew" },
	{ REASON_DNS_BOGUS, "the MX lookup of a.org failed DNSSEC validation: x (signature expired from 192.0.2.3)",
	  "sign it anew", "registrar" },
};
/* clang-format on */

static bool holds(const struct check_words *words, const char *text, size_t len)
{
	char part[128];

	assert_true(len < sizeof part);
	memcpy(part, text, len);
	part[len] = '\0';
	return strstr(words->what, part) || strstr(words->advice, part) ||
	       (words->test && strstr(words->test, part));
}

static void judge_row(const struct row *row)
{
	struct refusal refusal;
	struct check_words words;

	refusal_set(&refusal, row->reason, "%s", row->text);
	check_explain(NULL, &refusal, &words);
	for (const char *at = row->says; *at;) {
		size_t len = strcspn(at, "|");

		if (!holds(&words, at, len))
			fail_msg("%s: no %.*s in: %s %s", row->text, (int)len, at, words.what,
			    words.advice);
		at += len + (at[len] == '|');
	}
	if (row->never[0] && holds(&words, row->never, strlen(row->never)))
		fail_msg("%s: %s in: %s %s", row->text, row->never, words.what, words.advice);
	check_words_release(&words);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		judge_row(&rows[i]);
}

/* ---- certificates that an MTA-STS policy does not take ---- */

static void judge_certificate(const char *report, size_t names, const char *says)
{
	static char text[] = "mx.example.org[192.0.2.25]:25 is not what the policy wants";
	static char issuer[] = "CN = Some CA", name[] = "other.example.org", *name_list[] = {name};
	struct tls_certificate leaf = {.issuer = issuer,
	    .names = name_list,
	    .name_count = names,
	    .not_before = 1700000000,
	    .not_after = 1700086400};
	struct route route = {.sts_domain = "example.org", .host = "mx.example.org"};
	struct check_address address = {.key_count = 1};
	struct check_host host = {.route = &route, .address_count = 1, .addresses = &address};
	struct check check = {.host_count = 1, .hosts = &host};
	struct check_words words;

	address.keys[0].chain.count = 1;
	address.keys[0].chain.items = &leaf;
	snprintf(address.keys[0].proof.report, sizeof address.keys[0].proof.report, "%s", report);
	refusal_set(&address.refusal, REASON_STS_CERTIFICATE, "%s", text);
	check_explain(&check, &address.refusal, &words);
	if (!strstr(words.what, says))
		fail_msg("%s: no %s in: %s", report, says, words.what);
	assert_non_null(strstr(words.advice, "mx.example.org"));
	check_words_release(&words);
}

static void test_certificates(void **state)
{
	(void)state;
	judge_certificate("X509_V_ERR_CERT_HAS_EXPIRED: x", 1, " expired on 2023-11-15");
	judge_certificate("X509_V_ERR_CERT_NOT_YET_VALID: x", 1, " is not valid before 2023-11-14");
	judge_certificate("X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: x", 1, " is self-signed");
	judge_certificate("X509_V_ERR_HOSTNAME_MISMATCH: x", 0, " has no subjectAltName");
	judge_certificate("X509_V_ERR_HOSTNAME_MISMATCH: x", 1,
	    " is for other.example.org, not for mx.example.org");
	judge_certificate("X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: x", 1,
	    " leads to no trusted CA (issued by CN = Some CA");
	judge_certificate("X509_V_ERR_CA_MD_TOO_WEAK: the digest is weak", 1,
	    " is not trusted (the digest is weak)");
}

static void test_held(void **state)
{
	const struct refusal held = {.reason = REASON_DNS_BOGUS},
			     refused = {.reason = REASON_NULL_MX};

	(void)state;
	assert_true(check_is_held(&held));
	assert_false(check_is_held(&refused));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"who must mend what", test_rows, NULL, NULL, NULL},
	    {"what is wrong with a certificate", test_certificates, NULL, NULL, NULL},
	    {"4xx waits, 5xx bounces", test_held, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
