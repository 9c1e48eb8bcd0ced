/*
 * explain_text.c - an explanation for people: the reply first, then how it came about.
 */
#include "proxy/command/explain.h"

#include "conf/conf.h"
#include "proxy/command/check_print.h"
#include "proxy/command/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 2, LABEL = 14, INNER = 4 };

/* What must be proven: "TLS, proven by a TLSA record". */
static const char *need_words(enum tls_need need)
{
	static const char *const words[] = {
	    [TLS_NONE] = "no TLS",
	    [TLS_MAY] = "TLS if it is offered, unproven",
	    [TLS_ENCRYPT] = "TLS, unproven",
	    [TLS_PKIX] = "TLS with a certificate of a trusted CA",
	    [TLS_DANE] = "TLS, proven by a TLSA record",
	};

	return words[need];
}

/* ---- the reply ---- */

/* An address may be refused before there is an approach. */
void explain_words(const struct explain *explain, struct check_words *words)
{
	const struct refusal *refusal = &explain->result.refusal,
			     none = {explain->outcome.reason, ""};

	check_explain(NULL, refusal->reason == explain->outcome.reason ? refusal : &none, words);
}

static const char *result_words(const struct explain *explain)
{
	static const char *const words[] = {[CHECK_AUTHENTICATED] = "AUTHENTICATED",
	    [CHECK_UNAUTHENTICATED] = "DELIVERED, not authenticated",
	    [CHECK_REFUSED] = "REFUSED",
	    [CHECK_UNKNOWN] = "DEFERRED, tried again later"};

	if (explain->verdict == CHECK_REFUSED && explain->outcome.code / 100 == 4)
		return "HELD, not sent";
	return words[explain->verdict];
}

static void print_reply(const struct page *page, const struct explain *explain)
{
	static const enum page_style styles[] = {[CHECK_AUTHENTICATED] = PAGE_GOOD,
	    [CHECK_UNAUTHENTICATED] = PAGE_WARN,
	    [CHECK_REFUSED] = PAGE_BAD,
	    [CHECK_UNKNOWN] = PAGE_BAD};
	struct check_words words;

	page_text(page, 0, MARGIN, styles[explain->verdict], "%s: %s", explain->given,
	    result_words(explain));
	if (explain->outcome.code)
		page_field(page, MARGIN, LABEL, "reply", PAGE_PLAIN, "%d %s", explain->outcome.code,
		    explain->outcome.text);
	else
		page_field(page, MARGIN, LABEL, "reply", PAGE_PLAIN,
		    "what %s says to the recipient, passed through", explain->result.route->host);
	explain_words(explain, &words);
	if (words.advice[0])
		page_field(page, MARGIN, LABEL, "advice", PAGE_PLAIN, "%s", words.advice);
	if (words.test)
		page_command(page, LABEL, words.test);
	check_words_release(&words);
	if (explain->result.is_relaxed)
		page_field(page, MARGIN, LABEL, "enforce = no", PAGE_WARN,
		    "%s would have refused it", reason_code(explain->result.would_refuse));
}

/* ---- what applies ---- */

static void print_exception(const struct page *page, const struct conf_domain *section)
{
	char until[CHECK_DATE] = "";

	if (section->until)
		check_date(section->until - 1, until);
	page_field(page, MARGIN, LABEL, "exception", PAGE_WARN, "[domain %s%s]%s%s%s%s",
	    section->below ? "." : "", section->name, until[0] ? ", until " : "", until,
	    section->reason[0] ? ", reason: " : "", section->reason);
}

static void print_settings(const struct page *page, const struct destination *destination)
{
	const struct conf_policy *conf = destination->conf;

	if (destination->exception)
		print_exception(page, destination->exception);
	page_field(page, MARGIN, LABEL, "settings", PAGE_PLAIN,
	    "level %s, insecure_mx %s, mta_sts %s, fallback %s, enforce %s",
	    conf_level_name(conf->level), conf_level_name(conf->insecure_mx),
	    conf->mta_sts ? "yes" : "no", conf_level_name(conf->fallback),
	    conf->enforce ? "yes" : "no");
	if (conf->next_hop.set)
		page_field(page, MARGIN, LABEL, "next_hop", PAGE_WARN,
		    "%s in place of the recipient's domain%s",
		    destination->next_hop[0] ? destination->next_hop : "an address",
		    destination->is_fixed ? ", without MX lookup" : "");
	page_field(page, MARGIN, LABEL, "hosts", PAGE_PLAIN, "%zu: %s, MX %s",
	    destination->host_count,
	    destination->host_count == 0 ? "none to deliver to"
	    : destination->is_fixed      ? "from next_hop"
	    : destination->is_mx         ? "from MX records"
					 : "the domain itself (no MX)",
	    dns_state_name(destination->mx_state));
	if (destination->notice.reason != REASON_NONE)
		page_field(page, MARGIN, LABEL, "MTA-STS", PAGE_WARN, "%s: %s",
		    reason_code(destination->notice.reason), destination->notice.text);
}

/* ---- the decision ---- */

static void print_rule(const struct page *page, const struct tls_rule *rule)
{
	for (size_t i = 0; i < rule->tlsa.count; i++) {
		char brief[TLSA_TEXT];

		page_field(page, MARGIN, LABEL, i == 0 ? "TLSA" : "", PAGE_PLAIN, "%s",
		    tlsa_brief(&rule->tlsa.items[i], brief));
	}
	for (size_t i = 0; i < rule->name_count; i++)
		page_field(page, MARGIN, LABEL, i == 0 ? "names" : "", PAGE_PLAIN, "%s%s",
		    rule->names[i], rule->names_below && i == 0 ? ", or a name below" : "");
}

static void print_decision(const struct page *page, const struct explain *explain)
{
	const struct route *route = explain->result.route;

	if (!route)
		return;
	page_field(page, MARGIN, LABEL, "host", PAGE_PLAIN, "%s, preference %u",
	    route->host[0] ? route->host : "the address of next_hop", route->preference);
	page_field(page, MARGIN, LABEL, "decision", PAGE_PLAIN, "policy %s: %s",
	    route->policy_label,
	    route->verdict == POLICY_CONNECT ? need_words(route->rule.need) : "not connected to");
	if (route->sts_mode != STS_MODE_NONE)
		page_field(page, MARGIN, LABEL, "MTA-STS", PAGE_PLAIN, "policy of %s, mode %s",
		    route->sts_domain, sts_mode_name(route->sts_mode));
	print_rule(page, &route->rule);
	if (explain->is_ready)
		page_field(page, MARGIN, LABEL, "connection", PAGE_PLAIN, "%s%s%s%s%s",
		    explain->is_encrypted ? explain->proof.protocol : "in clear",
		    explain->is_encrypted ? " " : "", explain->proof.cipher,
		    explain->proof.matched[0] ? ", proven by TLSA " : "", explain->proof.matched);
}

/* ---- the lookups ---- */

static const char *state_words(const struct trace_row *row)
{
	if (row->is_bogus)
		return "bogus";
	return dns_state_name(row->state);
}

static void print_lookup(
    const struct page *page, const struct conf *conf, size_t number, const struct trace_row *row)
{
	char *command = explain_lookup_command(conf, row), label[24];

	snprintf(label, sizeof label, "%2zu.", number);
	page_field(page, 0, INNER, label, row->state == DNS_FAILED ? PAGE_BAD : PAGE_BOLD,
	    "%s %s: %s, TTL %u, %.0f ms", dns_type_name(row->type), row->name, state_words(row),
	    row->ttl, row->seconds * 1000);
	if (row->end)
		page_text(page, INNER, INNER, PAGE_PLAIN, "alias of %s", row->end);
	page_text(page, INNER, INNER, PAGE_PLAIN, "%s",
	    row->state == DNS_FAILED ? row->why
	    : row->count             ? row->data
	    : row->is_missing        ? "the name does not exist"
				     : "no such record");
	page_command(page, INNER, command);
	free(command);
}

static void print_commands(const struct page *page, const struct explain *explain)
{
	const struct approach_result *result = &explain->result;
	char *command;

	command = explain_fetch_command(result);
	if (command) {
		page_gap(page);
		page_text(page, 0, 0, PAGE_BOLD, "The MTA-STS policy, fetched:");
		page_command(page, INNER, command);
		free(command);
	}
	if (!result->route || !result->has_address)
		return;
	page_gap(page);
	page_text(page, 0, 0, PAGE_BOLD, "The connection, repeated:");
	command = explain_tls_command(explain->conf, result);
	page_command(page, INNER, command);
	free(command);
}

void explain_print_text(const struct page *page, const struct explain *explain)
{
	const struct destination *destination = explain->result.destination;

	print_reply(page, explain);
	if (destination) {
		page_gap(page);
		print_settings(page, destination);
		print_decision(page, explain);
	}
	page_gap(page);
	if (explain->trace.count > 0)
		page_text(page, 0, 0, PAGE_BOLD, "Lookups, in order:");
	for (size_t i = 0; i < explain->trace.count; i++)
		print_lookup(page, explain->conf, i + 1, &explain->trace.rows[i]);
	print_commands(page, explain);
}
