/*
 * check_text.c - a check for people: the verdict first, then what to mend, then everything that was
 * seen.
 */
#include "proxy/command/check_print.h"

#include "policy/bogus.h"
#include "proxy/command/check_keys.h"
#include "proxy/command/page.h"

#include <stdio.h>
#include <string.h>

enum { MARGIN = 2, LABEL = 12, INNER = 4, INNER_LABEL = 14, DEEP = 16 };

/* ---- the verdict ---- */

static const char *delivery_words(const struct check_verdict *verdict)
{
	if (verdict->result == CHECK_AUTHENTICATED)
		return verdict->is_assumed ? "AUTHENTICATED, if the host proves it"
					   : "AUTHENTICATED";
	if (verdict->is_assumed)
		return verdict->is_encrypted ? "DELIVERED over TLS, not authenticated"
					     : "DELIVERED, not authenticated";
	return verdict->is_encrypted ? "DELIVERED over TLS, not authenticated"
				     : "DELIVERED IN CLEAR";
}

static enum page_style style_of(const struct check_verdict *verdict)
{
	static const enum page_style styles[] = {[CHECK_AUTHENTICATED] = PAGE_GOOD,
	    [CHECK_UNAUTHENTICATED] = PAGE_WARN,
	    [CHECK_REFUSED] = PAGE_BAD,
	    [CHECK_UNKNOWN] = PAGE_BAD};

	return styles[verdict->result];
}

void check_verdict_words(const struct check_verdict *verdict, char *out, size_t size)
{
	if (verdict->result == CHECK_REFUSED)
		snprintf(out, size, "%s (%s)",
		    check_is_held(&verdict->refusal) ? "HELD, not sent" : "REFUSED",
		    reason_code(verdict->refusal.reason));
	else if (verdict->result == CHECK_UNKNOWN)
		snprintf(out, size, "NOT KNOWN NOW (%s)", reason_code(verdict->refusal.reason));
	else if (verdict->would_refuse)
		snprintf(out, size, "DELIVERED in spite of %s, for enforce = no",
		    reason_code(verdict->would_refuse));
	else
		snprintf(out, size, "%s (policy %s)", delivery_words(verdict), verdict->policy);
}

static void print_verdict(
    const struct page *page, const struct check *check, const struct check_verdict *verdict)
{
	const char *name = check->name[0] ? check->name : check->given;
	struct check_words words;
	char title[128];

	check_verdict_words(verdict, title, sizeof title);
	page_text(page, 0, MARGIN, style_of(verdict), "%s: %s", name, title);
	if (verdict->refusal.reason == REASON_NONE)
		return;
	check_explain(check, &verdict->refusal, &words);
	page_text(page, MARGIN, MARGIN, PAGE_PLAIN, "%s", words.what);
	if (words.advice[0])
		page_text(page, MARGIN, MARGIN, PAGE_PLAIN, "%s", words.advice);
	if (words.test)
		page_command(page, INNER, words.test);
	if (check_is_held(&verdict->refusal) && !verdict->is_ourselves)
		page_text(page, MARGIN, MARGIN, PAGE_PLAIN,
		    "Until then mail waits at the client or in danelaw's spool and is tried "
		    "again.");
	check_words_release(&words);
}

/* ---- findings ---- */

static void print_records(const struct page *page, const char *caption, const char *lines)
{
	if (!lines)
		return;
	page_text(page, INNER, INNER, PAGE_DIM, "%s", caption);
	page_records(page, INNER + 2, lines);
}

/* The verdict told it, with who must mend it; what is left are records to publish. */
static bool is_of_verdict(const struct check_finding *finding, const struct check_verdict *verdict)
{
	static const struct {
		const char *code;
		enum reason reason;
	} same[] = {{"mismatch", REASON_DANE_MISMATCH}, {"sts-certificate", REASON_STS_CERTIFICATE},
	    {"sts-mx", REASON_STS_MX}, {"sts-out-of-step", REASON_STS_MX}};

	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		if (!strcmp(finding->code, same[i].code) &&
		    verdict->refusal.reason == same[i].reason &&
		    (!finding->host[0] || strstr(verdict->refusal.text, finding->host)))
			return true;
	return false;
}

static void print_finding(const struct page *page, const struct check_finding *finding,
    const struct check_verdict *verdict)
{
	static const enum page_style styles[] = {
	    [CHECK_FAULT] = PAGE_BAD, [CHECK_WARNING] = PAGE_WARN, [CHECK_HINT] = PAGE_BOLD};
	bool is_told = is_of_verdict(finding, verdict);

	if (is_told && !finding->wrong && !finding->right)
		return;
	page_gap(page);
	if (!is_told) {
		page_text(page, MARGIN, INNER, styles[finding->severity], "%s: %s%s%s",
		    check_severity_name(finding->severity), finding->code,
		    finding->host[0] ? ", " : "", finding->host);
		page_text(page, INNER, INNER, PAGE_PLAIN, "%s", finding->text);
	}
	print_records(page,
	    strcmp(finding->code, "tlsa-unusable") ? "in the zone now, and fits nothing:"
						   : "in the zone now, and of no use:",
	    finding->wrong);
	print_records(page,
	    finding->wrong ? "to be published, if the host's owner reads this key there:"
			   : "to be published:",
	    finding->right);
}

/* ---- what was seen ---- */

/* For people: "insecure" sounds like a fault, and is no more than a zone without DNSSEC. */
static const char *state_word(enum dns_state state)
{
	return state == DNS_INSECURE ? "unsigned" : dns_state_name(state);
}

static const char *answer_word(const struct dns_answer *answer)
{
	if (answer->state == DNS_FAILED)
		return answer->bogus ? "bogus" : "failed";
	return state_word(answer->state);
}

static void print_failed(const struct page *page, unsigned indent, const char *label,
    enum dns_state state, const char *why)
{
	char brief[256];

	if (state == DNS_FAILED)
		page_field(page, indent, indent + 10, label, PAGE_BAD, "lookup failed: %s",
		    bogus_brief(why, brief, sizeof brief));
}

static void print_mx(const struct page *page, const struct check *check)
{
	const struct destination *destination = check->destination;

	if (destination->is_fixed)
		page_field(page, MARGIN, LABEL, "MX", PAGE_PLAIN, "not asked, the host is given");
	else if (!destination->is_mx)
		page_field(page, MARGIN, LABEL, "MX", PAGE_PLAIN,
		    "none (%s): the domain is its own mail host",
		    state_word(destination->mx_state));
	for (size_t i = 0; destination->is_mx && i < destination->host_count; i++)
		page_field(page, MARGIN, LABEL, i == 0 ? "MX" : "",
		    destination->mx_state == DNS_SECURE ? PAGE_PLAIN : PAGE_WARN,
		    "%u %s (%s, TTL %u)", destination->hosts[i].preference,
		    destination->hosts[i].name, state_word(destination->mx_state), check->mx_ttl);
	if (destination->exception)
		page_field(page, MARGIN, LABEL, "exception", PAGE_WARN, "section [domain %s%s]%s%s",
		    destination->exception->below ? "." : "", destination->exception->name,
		    destination->exception->reason[0] ? ": " : "", destination->exception->reason);
}

static bool lacks_name(const struct check_host *host)
{
	for (size_t i = 0; i < host->address_count; i++)
		if (host->addresses[i].refusal.reason == REASON_DANE_NAME)
			return true;
	return false;
}

static const char *fit_words(const struct check_host *host, const struct tlsa *record)
{
	if (!tlsa_is_usable(record))
		return "unusable for SMTP";
	if (!check_is_live(host, record))
		return check_has_keys(host) ? "fits nothing" : "not compared";
	return record->usage == TLSA_USAGE_TA && lacks_name(host)
		   ? "the chain fits, the name does not"
		   : "fits";
}

static void print_tlsa(const struct page *page, const struct check_host *host)
{
	struct tlsa record;

	if (!host->tlsa)
		return;
	print_failed(page, INNER, "TLSA", host->tlsa->state, host->tlsa->why);
	if (host->tlsa->state == DNS_FAILED)
		return;
	if (host->tlsa->count == 0)
		page_field(page, INNER, INNER_LABEL, "TLSA", PAGE_PLAIN, "%s (none, %s)",
		    host->tlsa_owner, answer_word(host->tlsa));
	else
		page_field(page, INNER, INNER_LABEL, "TLSA", PAGE_PLAIN, "%s (%s, TTL %u)",
		    host->tlsa_owner, answer_word(host->tlsa), host->tlsa->ttl);
	for (size_t i = 0; check_record(host, i, &record); i++) {
		char brief[TLSA_TEXT];
		bool is_live = tlsa_is_usable(&record) && check_is_live(host, &record);

		page_field(page, INNER, INNER_LABEL, "",
		    is_live                ? PAGE_GOOD
		    : check_has_keys(host) ? PAGE_WARN
					   : PAGE_PLAIN,
		    "%s: %s", tlsa_brief(&record, brief), fit_words(host, &record));
	}
}

void check_date(time_t when, char out[CHECK_DATE])
{
	struct tm tm;

	if (!gmtime_r(&when, &tm) || !strftime(out, CHECK_DATE, "%Y-%m-%d", &tm))
		snprintf(out, CHECK_DATE, "?");
}

static void join_names(const struct tls_certificate *c, char *out, size_t size)
{
	size_t len = 0;

	snprintf(out, size, "none");
	for (size_t i = 0; i < c->name_count && len + 1 < size; i++)
		len +=
		    (size_t)snprintf(out + len, size - len, "%s%s", i > 0 ? " " : "", c->names[i]);
}

static void print_key(
    const struct page *page, const struct check_host *host, const struct check_key *key)
{
	const struct tls_certificate *leaf = &key->chain.items[0];
	char from[CHECK_DATE], until[CHECK_DATE], names[512];

	check_date(leaf->not_before, from);
	check_date(leaf->not_after, until);
	join_names(leaf, names, sizeof names);
	page_field(page, INNER, INNER_LABEL, "key", PAGE_PLAIN, "%s, as TLSA 3 1 1 %s", leaf->key,
	    leaf->key_digest);
	page_field(page, INNER, INNER_LABEL, "", PAGE_PLAIN, "%s, valid %s to %s", leaf->subject,
	    from, until);
	page_field(page, INNER, INNER_LABEL, "", PAGE_PLAIN, "names: %s", names);
	for (size_t i = 0; i < key->chain.count; i++)
		page_field(page, INNER, INNER_LABEL, "", PAGE_DIM, "%s %s",
		    i == 0 ? "issued by" : "sent:",
		    i == 0 ? leaf->issuer : key->chain.items[i].subject);
	page_field(page, INNER, INNER_LABEL, "", PAGE_DIM, "to a CA check: %s%s",
	    key->proof.report[0] ? key->proof.report : "valid for this host",
	    host->route->rule.need == TLS_DANE ? " (not asked by DANE)" : "");
}

static const char *address_words(const struct check_address *address)
{
	if (address->outcome == CHECK_NOT_TRIED)
		return "not connected to";
	if (address->outcome == CHECK_FAILED)
		return reason_code(address->refusal.reason);
	if (address->is_verified)
		return "authenticated";
	return address->is_encrypted ? "TLS, not authenticated" : "in clear";
}

/* Said once already, at the top. */
static bool is_told(const struct refusal *refusal, const struct check_verdict *verdict)
{
	return strcmp(refusal->text, verdict->refusal.text) == 0;
}

static void print_tls(const struct page *page, const struct check_address *address)
{
	const struct tls_proof *proof = &address->proof;

	if (proof->protocol[0])
		page_field(page, INNER, INNER_LABEL, "", PAGE_PLAIN, "%s %s%s%s", proof->protocol,
		    proof->cipher, proof->matched[0] ? ", proven by TLSA " : "", proof->matched);
	else if (address->key_count > 0)
		page_field(page, INNER, INNER_LABEL, "", PAGE_PLAIN, "%s %s, seen without checks",
		    address->keys[0].proof.protocol, address->keys[0].proof.cipher);
}

static void print_address(const struct page *page, const struct check_host *host,
    const struct check_address *address, const struct check_verdict *verdict)
{
	char text[ADDR_TEXT];

	page_field(page, INNER, INNER_LABEL,
	    address->address.sa.sa_family == AF_INET ? "A" : "AAAA",
	    address->outcome == CHECK_FAILED ? PAGE_BAD
	    : address->is_verified           ? PAGE_GOOD
					     : PAGE_PLAIN,
	    "%s: %s", addr_ip(&address->address, text), address_words(address));
	if (address->outcome == CHECK_FAILED && !is_told(&address->refusal, verdict))
		page_field(page, INNER, INNER_LABEL, "", PAGE_PLAIN, "%s", address->refusal.text);
	if (address->went_clear)
		page_field(page, INNER, INNER_LABEL, "", PAGE_WARN, "TLS failed: %s",
		    address->tls_failure.text);
	print_tls(page, address);
	for (size_t i = 0; i < address->key_count; i++)
		print_key(page, host, &address->keys[i]);
}

/* "A secure, AAAA none (secure)" */
static void print_families(const struct page *page, const struct check_host *host)
{
	const struct dns_answer *answers[] = {host->a, host->aaaa};
	char words[2][32];

	for (size_t i = 0; i < 2; i++)
		snprintf(words[i], sizeof words[i],
		    answers[i]->count == 0 && answers[i]->state != DNS_FAILED ? "none (%s)" : "%s",
		    answer_word(answers[i]));
	page_field(
	    page, INNER, INNER_LABEL, "DNS", PAGE_PLAIN, "A %s, AAAA %s", words[0], words[1]);
}

static void print_host(const struct page *page, const struct check *check, size_t index,
    const struct check_verdict *of_domain)
{
	const struct check_host *host = &check->hosts[index];
	struct check_verdict verdict = check_judge_host(check, index);
	char words[128];

	check_verdict_words(&verdict, words, sizeof words);
	page_text(page, MARGIN, INNER, style_of(&verdict), "%s: %s",
	    host->route->host[0] ? host->route->host : "next_hop", words);
	if (host->route->verdict != POLICY_CONNECT && !is_told(&host->route->refusal, of_domain))
		page_text(page, INNER, INNER, PAGE_PLAIN, "%s", host->route->refusal.text);
	if (host->a)
		print_families(page, host);
	print_tlsa(page, host);
	for (size_t i = 0; i < host->address_count; i++)
		print_address(page, host, &host->addresses[i], of_domain);
}

static void print_sts(const struct page *page, const struct check_sts *sts)
{
	const struct sts_answer *answer = sts->answer;

	print_failed(page, MARGIN, "MTA-STS", sts->txt.state, sts->txt.why);
	for (size_t i = 0; i < sts->txt.count; i++)
		page_field(page, MARGIN, LABEL, "MTA-STS", PAGE_PLAIN, "%s (%s)", sts->txt.texts[i],
		    state_word(sts->txt.state));
	if (sts->txt.state != DNS_FAILED && sts->txt.count == 0)
		page_field(page, MARGIN, LABEL, "MTA-STS", PAGE_PLAIN, "no record (%s)",
		    state_word(sts->txt.state));
	if (!answer)
		return;
	if (answer->state == STS_POLICY) {
		page_field(page, MARGIN, LABEL, "", PAGE_PLAIN, "policy (%s): mode %s, max_age %u",
		    answer->is_cached ? "kept from before" : "fetched now",
		    sts_mode_name(answer->policy.mode), answer->policy.max_age);
		for (size_t i = 0; i < answer->policy.mx_count; i++)
			page_field(
			    page, MARGIN, LABEL, "", PAGE_PLAIN, "mx: %s", answer->policy.mx[i]);
	} else if (sts->record == STS_RECORD_VALID) {
		page_field(page, MARGIN, LABEL, "", PAGE_WARN, "no policy applies%s%s",
		    answer->notice.reason ? ": " : " (mode none)", answer->notice.text);
	}
}

static void print_tlsrpt(const struct page *page, const struct check_txt *txt)
{
	print_failed(page, MARGIN, "TLSRPT", txt->state, txt->why);
	for (size_t i = 0; i < txt->count; i++)
		page_field(page, MARGIN, LABEL, "TLSRPT", PAGE_PLAIN, "%s", txt->texts[i]);
	if (txt->state != DNS_FAILED && txt->count == 0)
		page_field(page, MARGIN, LABEL, "TLSRPT", PAGE_PLAIN, "no record");
}

void check_print_text(const struct page *page, const struct check *check,
    const struct check_verdict *verdict, const struct check_findings *findings)
{
	print_verdict(page, check, verdict);
	for (size_t i = 0; i < findings->count; i++)
		print_finding(page, &findings->items[i], verdict);
	page_gap(page);
	if (!check->destination || check->destination->verdict != POLICY_CONNECT)
		return;
	print_mx(page, check);
	if (check->sts.txt.was_asked)
		print_sts(page, &check->sts);
	if (check->tlsrpt.was_asked)
		print_tlsrpt(page, &check->tlsrpt);
	for (size_t i = 0; i < check->host_count; i++) {
		page_gap(page);
		print_host(page, check, i, verdict);
	}
	page_gap(page);
}
