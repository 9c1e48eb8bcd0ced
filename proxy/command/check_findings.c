/*
 * check_findings.c - what the owner of a destination could mend, whether or not mail suffers from
 * it today. Pure; each finding is a row of a test.
 *
 * A finding says what is so, whom it hurts, and what to do; where a TLSA record is wrong it is
 * shown as it stands in the zone, with the one that would be right.
 */
#include "proxy/command/check_findings.h"

#include "conf/mem.h"
#include "proxy/command/check_keys.h"
#include "tls/tlsa_make.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOON = 30 * 86400 }; /* within which an end is worth a word */

const char *check_severity_name(enum check_severity severity)
{
	static const char *const names[] = {
	    [CHECK_FAULT] = "fault", [CHECK_WARNING] = "warning", [CHECK_HINT] = "hint"};

	return names[severity];
}

struct check_finding *check_add_finding(struct check_findings *findings, const char *code,
    enum check_severity severity, const struct check_host *host, const char *format, ...)
{
	struct check_finding *finding;
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	findings->items = mem_resize(findings->items, findings->count + 1, sizeof *findings->items);
	finding = &findings->items[findings->count++];
	*finding =
	    (struct check_finding){.code = code, .severity = severity, .text = mem_strdup(text)};
	if (host)
		snprintf(finding->host, sizeof finding->host, "%s", host->route->host);
	return finding;
}

/* ---- zone file lines ---- */

static void append_line(char **lines, char *line)
{
	char *joined = *lines ? mem_printf("%s\n%s", *lines, line) : mem_strdup(line);

	free(*lines);
	free(line);
	*lines = joined;
}

static void append_record(char **lines, const struct check_host *host, const struct tlsa *record)
{
	append_line(lines, tlsa_zone_line(record, TLSA_PLAIN, host->tlsa_owner, 0));
}

/* The record for a key, unless it is published already: 3 1 1 outlives a renewed certificate. */
static void append_proposal(
    char **lines, const struct check_host *host, const struct check_key *key)
{
	struct tlsa_set set = {0};

	if (tls_certificate_record(&key->chain.items[0], 3, 1, 1, &set) &&
	    !check_is_published(host, &set.items[0]))
		append_record(lines, host, &set.items[0]);
	tlsa_set_release(&set);
}

static void append_unused(char **lines, const struct check_host *host)
{
	struct tlsa record;

	for (size_t i = 0; check_record(host, i, &record); i++)
		if (tlsa_is_usable(&record) && !check_is_live(host, &record))
			append_record(lines, host, &record);
}

/* ---- TLSA records that are missing, or protect nobody ---- */

static bool has_tlsa(const struct check_host *host, enum dns_state state)
{
	return host->tlsa && host->tlsa->state == state && host->tlsa->count > 0;
}

static bool is_signed(const struct check_host *host)
{
	return host->a && (host->a->state == DNS_SECURE || host->aaaa->state == DNS_SECURE);
}

static bool is_unsigned(const struct check_host *host)
{
	return host->a && host->a->state != DNS_SECURE && host->aaaa->state != DNS_SECURE &&
	       host->a->count + host->aaaa->count > 0;
}

static bool fails_tls(const struct check_host *host)
{
	for (size_t i = 0; i < host->address_count; i++)
		if (host->addresses[i].went_clear)
			return true;
	return false;
}

/* A record for a host whose TLS does not work would keep all mail away from it. */
static void find_no_tlsa(const struct check_host *host, struct check_findings *findings)
{
	struct check_finding *finding;
	struct check_keys keys;

	if (!is_signed(host) || !host->tlsa || host->tlsa->state != DNS_SECURE ||
	    host->tlsa->count > 0)
		return;
	check_list_keys(host, &keys);
	finding = check_add_finding(findings, "signed-no-tlsa", CHECK_HINT, host,
	    "The zone is signed, but there is no TLSA record: whoever sits on the way can take TLS "
	    "away and read this mail. %s",
	    fails_tls(host)           ? "TLS fails here; mend that first."
	    : keys.count > 0          ? "Publish one."
	    : check_was_reached(host) ? "The host offers no TLS; turn STARTTLS on first."
				      : "Make one with `danelaw tlsa CERTIFICATE` and publish it.");
	for (size_t i = 0; i < keys.count && !fails_tls(host); i++)
		append_proposal(&finding->right, host, keys.items[i]);
}

static void find_unsigned_tlsa(const struct check_host *host, struct check_findings *findings)
{
	if (has_tlsa(host, DNS_INSECURE))
		check_add_finding(findings, "unsigned-tlsa", CHECK_WARNING, host,
		    "There are TLSA records, but the zone is not signed with DNSSEC, so that no "
		    "sender may use them: they protect nobody. Sign the zone and publish its DS "
		    "record at the parent.");
}

/* ---- TLSA records that no sender uses ---- */

/* RFC 7672 3.1: usages 0 and 1 say nothing to a mail server; the rest does not exist, or cannot be
 * what it says it is. */
static void tell_unusable(const struct tlsa *record, char *out, size_t size)
{
	if (record->usage != TLSA_USAGE_TA && record->usage != TLSA_USAGE_EE)
		snprintf(out, size, "of usage %d, and only 2 and 3 count in SMTP", record->usage);
	else if (record->selector > 1)
		snprintf(out, size, "of selector %d, which does not exist", record->selector);
	else if (record->matching > 2)
		snprintf(out, size, "of matching type %d, which does not exist", record->matching);
	else
		snprintf(out, size, "malformed: its data are not what %d %d %d says", record->usage,
		    record->selector, record->matching);
}

static void find_unusable(const struct check_host *host, struct check_findings *findings)
{
	struct check_finding *finding;
	struct check_keys keys;
	struct tlsa record;
	char *wrong = NULL, why[96], last[96] = "";

	for (size_t i = 0; check_record(host, i, &record); i++) {
		if (tlsa_is_usable(&record))
			continue;
		tell_unusable(&record, why, sizeof why);
		memcpy(last, why, sizeof last);
		append_record(&wrong, host, &record);
	}
	if (!wrong)
		return;
	finding = check_add_finding(findings, "tlsa-unusable", CHECK_WARNING, host,
	    "A TLSA record protects nobody here: it is %s (RFC 6698 2.1, RFC 7672 3.1). %s", last,
	    check_usable_count(host)
		? "Remove it."
		: "Because of it senders demand TLS, but cannot prove the host. "
		  "In its place publish the 3 1 1 record of the host's key, read "
		  "on the host itself (`danelaw tlsa`).");
	finding->wrong = wrong;
	check_list_keys(host, &keys);
	for (size_t i = 0; i < keys.count && check_usable_count(host) == 0; i++)
		append_proposal(&finding->right, host, keys.items[i]);
}

/* ---- TLSA records that do not fit ---- */

static bool is_mismatch(const struct check_address *address)
{
	return address->refusal.reason == REASON_DANE_MISMATCH;
}

static const char *mismatch_words(const struct check_host *host, bool has_wrong, bool has_right)
{
	if (check_names_authorities_only(host))
		return "Records of usage 2 name an authority, which the server must send along, "
		       "the root included: mend its chain file, or publish a record for the key.";
	if (has_right)
		return "Its owner must read the key on the host itself, not from here, where "
		       "somebody may stand between; if it is the one below, publish its record, "
		       "and remove what fits nothing unless it is for a key still to come.";
	if (has_wrong)
		return "The right record is there, but senders heed only the strongest digest of a "
		       "kind: remove the record that fits nothing.";
	return "Ask its owner to compare records and certificate.";
}

static void explain_mismatch(const struct check_host *host, const struct check_address *address,
    struct check_findings *findings)
{
	struct check_finding *finding;
	char text[ADDR_TEXT], *wrong = NULL, *right = NULL;

	append_unused(&wrong, host);
	for (size_t i = 0; i < address->key_count; i++)
		append_proposal(&right, host, &address->keys[i]);
	finding = check_add_finding(findings, "mismatch", CHECK_FAULT, host,
	    "%s presents a certificate that the TLSA records do not name: senders that use DANE "
	    "hold back their mail. %s",
	    addr_ip(&address->address, text), mismatch_words(host, wrong != NULL, right != NULL));
	finding->wrong = wrong;
	finding->right = right;
}

static void find_mismatch(const struct check_host *host, struct check_findings *findings)
{
	for (size_t i = 0; i < host->address_count; i++) {
		if (!is_mismatch(&host->addresses[i]))
			continue;
		explain_mismatch(host, &host->addresses[i], findings);
		return; /* the other addresses' story is the same, and each has its own line */
	}
}

/* Usage 2, and the server does not send the authority (RFC 7671 5.2.2). */
static void find_authority_not_sent(const struct check_host *host, struct check_findings *findings)
{
	struct check_keys keys;
	struct tlsa record;
	char brief[TLSA_TEXT];

	check_list_keys(host, &keys);
	for (size_t i = 0; keys.count > 0 && check_record(host, i, &record); i++) {
		if (record.usage != TLSA_USAGE_TA || !tlsa_is_usable(&record) ||
		    check_is_live(host, &record))
			continue;
		check_add_finding(findings, "ca-not-sent", CHECK_WARNING, host,
		    "The TLSA record %s names an authority that is not in the chain which the "
		    "server sends: it proves nothing. Add that CA's certificate to the server's "
		    "chain file, the root included, or publish a 3 1 1 record in its place.",
		    tlsa_brief(&record, brief));
	}
}

static bool fits_any(const struct check_host *host, const struct check_key *key)
{
	struct tlsa record;

	for (size_t i = 0; check_record(host, i, &record); i++)
		if (tlsa_is_usable(&record) && tls_chain_find(&key->chain, &record) >= 0)
			return true;
	return false;
}

static void find_other_key(const struct check_host *host, struct check_findings *findings)
{
	struct check_finding *finding;
	struct check_keys keys;
	const struct check_key *fit = NULL, *unfit = NULL;

	check_list_keys(host, &keys);
	for (size_t i = 0; i < keys.count; i++)
		*(fits_any(host, keys.items[i]) ? &fit : &unfit) = keys.items[i];
	if (!fit || !unfit || fit->chain.items[0].is_rsa == unfit->chain.items[0].is_rsa)
		return;
	finding = check_add_finding(findings, "key-without-record", CHECK_FAULT, host,
	    "The server has two certificates, and only the one with the %s key is named by a TLSA "
	    "record: senders to whom it shows the other one (%s) hold back their mail. Publish a "
	    "record for that key too:",
	    fit->chain.items[0].key, unfit->chain.items[0].key);
	append_proposal(&finding->right, host, unfit);
}

/* ---- roll-over ---- */

static void tell_records(const struct check_host *host, bool live, char *out, size_t size)
{
	struct tlsa record;
	size_t len = 0;

	snprintf(out, size, "none");
	for (size_t i = 0; check_record(host, i, &record); i++) {
		char brief[TLSA_TEXT];

		if (tlsa_is_usable(&record) && check_is_live(host, &record) == live &&
		    len + TLSA_TEXT + 2 < size)
			len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "",
			    tlsa_brief(&record, brief));
	}
}

static void find_roll_over(const struct check_host *host, struct check_findings *findings)
{
	size_t usable = check_usable_count(host);
	bool names_ca = check_names_authorities_only(host);
	char live[400], idle[400];
	struct check_keys keys;

	check_list_keys(host, &keys);
	if (usable == 0 || keys.count == 0)
		return;
	tell_records(host, true, live, sizeof live);
	tell_records(host, false, idle, sizeof idle);
	if (usable == 1 && strcmp(live, "none") != 0)
		check_add_finding(findings, "one-record", CHECK_HINT, host,
		    "There is one TLSA record (%s): %s stops. Before that, publish a second one "
		    "for the next %s and wait for twice the TTL; `danelaw tlsa` prints both and "
		    "the steps.",
		    live,
		    names_ca ? "the day the certificate comes from another CA, mail"
			     : "the day the key changes, mail",
		    names_ca ? "CA" : "key");
	else if (usable > 1)
		check_add_finding(findings, "several-records", CHECK_HINT, host,
		    "Of several TLSA records these are live: %s; not in use now: %s%s", live, idle,
		    strcmp(idle, "none") != 0 ? " (the next key's, or an old one to remove)."
					      : ".");
}

static void find_expiry(const struct check_host *host, time_t now, struct check_findings *findings)
{
	struct check_keys keys;
	struct tlsa record;

	check_list_keys(host, &keys);
	for (size_t i = 0; check_record(host, i, &record); i++) {
		for (size_t k = 0; k < keys.count; k++) {
			time_t end = keys.items[k]->chain.items[0].not_after;

			if (record.usage != TLSA_USAGE_EE || record.selector != 0 ||
			    tls_chain_find(&keys.items[k]->chain, &record) < 0 || end - now > SOON)
				continue;
			check_add_finding(findings, "selector-0-expiry", CHECK_WARNING, host,
			    "The TLSA record has selector 0, which names this very certificate, "
			    "and "
			    "that %s %lld days: the renewed one will not fit. Publish its record "
			    "first, or use selector 1 and keep the key.",
			    end < now ? "expired before" : "ends in",
			    llabs((long long)(end - now)) / 86400);
			return;
		}
	}
}

/* ---- half-signed ---- */

static void find_half_signed(
    const struct check *check, const struct check_host *host, struct check_findings *findings)
{
	const struct destination *destination = check->destination;

	if (!destination->is_mx)
		return;
	if (destination->mx_state == DNS_INSECURE && has_tlsa(host, DNS_SECURE))
		check_add_finding(findings, "unsigned-mx", CHECK_WARNING, host,
		    "This host is signed and has TLSA records, but the MX record of %s that names "
		    "it is not signed: whoever forges that sends the mail elsewhere. The owner of "
		    "%s should sign the zone.",
		    destination->next_hop, destination->next_hop);
	if (destination->mx_state == DNS_SECURE && is_unsigned(host))
		check_add_finding(findings, "unsigned-host", CHECK_WARNING, host,
		    "%s is signed, but this MX host is not, so that DANE is impossible. Whoever "
		    "runs the host should sign its zone and publish TLSA records.",
		    destination->next_hop);
}

/* ---- all ---- */

/* The most urgent first; else in the order in which they were found. */
static void sort(struct check_findings *findings)
{
	for (size_t i = 1; i < findings->count; i++) {
		struct check_finding finding = findings->items[i];
		size_t at = i;

		for (; at > 0 && findings->items[at - 1].severity > finding.severity; at--)
			findings->items[at] = findings->items[at - 1];
		findings->items[at] = finding;
	}
}

/* A host that mail does not reach has worse troubles than what a hint is about. */
static void find_hints(const struct check *check, size_t index, struct check_findings *findings)
{
	const struct check_host *host = &check->hosts[index];

	if (check_judge_host(check, index).result > CHECK_UNAUTHENTICATED)
		return;
	find_no_tlsa(host, findings);
	if (has_tlsa(host, DNS_SECURE))
		find_roll_over(host, findings);
}

static void find_wrong_records(
    const struct check_host *host, time_t now, struct check_findings *findings)
{
	if (!has_tlsa(host, DNS_SECURE))
		return;
	find_unusable(host, findings);
	find_mismatch(host, findings);
	find_other_key(host, findings);
	find_authority_not_sent(host, findings);
	find_expiry(host, now, findings);
}

void check_find(const struct check *check, time_t now, struct check_findings *findings)
{
	for (size_t i = 0; i < check->host_count; i++) {
		const struct check_host *host = &check->hosts[i];

		find_unsigned_tlsa(host, findings);
		find_half_signed(check, host, findings);
		find_wrong_records(host, now, findings);
		find_hints(check, i, findings);
	}
	check_find_sts(check, findings);
	sort(findings);
}

void check_findings_release(struct check_findings *findings)
{
	for (size_t i = 0; i < findings->count; i++) {
		free(findings->items[i].text);
		free(findings->items[i].wrong);
		free(findings->items[i].right);
	}
	free(findings->items);
	*findings = (struct check_findings){0};
}
