/*
 * check_change.c - one domain of a list in one line: what would change for it under level dane, and
 * what all those lines come to.
 *
 * Without danelaw mail goes over TLS where it is offered, and nothing is proven.
 */
#include "proxy/command/check_print.h"

#include "proxy/command/page.h"

#include <stdio.h>

/* clang-format off */
static const struct {
	const char *name;
	enum page_style style;
	const char *words; /* behind a number of domains */
} changes[CHANGE_COUNT] = {
	[CHANGE_AUTHENTICATED] = { "authenticated", PAGE_GOOD,
	                           "would be authenticated, by DANE or MTA-STS" },
	[CHANGE_NONE]          = { "unchanged", PAGE_PLAIN, "get what they get today" },
	[CHANGE_REFUSED]       = { "REFUSED", PAGE_BAD,
	                           "would be refused: their owners have something to mend" },
	[CHANGE_DEAD]          = { "undeliverable", PAGE_DIM, "take no mail, with or without DANE" },
	[CHANGE_UNKNOWN]       = { "unknown", PAGE_WARN, "could not be judged now" },
};
/* clang-format on */

/* What only a sender that asks for proof refuses. */
static bool is_of_policy(enum reason reason)
{
	return reason_is_tls(reason) || reason == REASON_DNS_BOGUS;
}

static enum check_change change_of(const struct check_verdict *verdict)
{
	switch (verdict->result) {
	case CHECK_AUTHENTICATED:
		return CHANGE_AUTHENTICATED;
	case CHECK_UNAUTHENTICATED:
		return CHANGE_NONE;
	case CHECK_REFUSED:
		return is_of_policy(verdict->refusal.reason) ? CHANGE_REFUSED : CHANGE_DEAD;
	case CHECK_UNKNOWN:
		return CHANGE_UNKNOWN;
	}
	return CHANGE_UNKNOWN;
}

void check_print_change(const struct page *page, struct check_tally *tally,
    const struct check *check, const struct check_verdict *verdict)
{
	enum check_change change = change_of(verdict);
	const char *detail =
	    verdict->refusal.reason ? reason_code(verdict->refusal.reason)
	    : verdict->would_refuse ? reason_code(verdict->would_refuse)
	    : change == CHANGE_NONE && !verdict->is_encrypted && !verdict->is_assumed
		? "in clear"
		: verdict->policy;

	tally->of[change]++;
	page_field(page, 0, 15, changes[change].name, changes[change].style, "%-17s %s", detail,
	    check->name[0] ? check->name : check->given);
}

void check_print_tally(const struct page *page, const struct check_tally *tally)
{
	size_t total = 0;

	for (size_t i = 0; i < CHANGE_COUNT; i++)
		total += tally->of[i];
	page_gap(page);
	page_text(page, 0, 2, PAGE_BOLD, "Under level dane, of %zu domains:", total);
	for (size_t i = 0; i < CHANGE_COUNT; i++)
		if (tally->of[i])
			page_text(page, 2, 8, changes[i].style, "%5zu %s", tally->of[i],
			    changes[i].words);
	if (tally->of[CHANGE_REFUSED])
		page_text(page, 0, 2, PAGE_PLAIN,
		    "danelaw check DOMAIN tells who must mend what; until then an exception "
		    "([domain "
		    "DOMAIN] level = may, with until and reason) lets mail through.");
}
