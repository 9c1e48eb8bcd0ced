/*
 * outcome.c - replies for clients, from refusals of ours and from replies of next hops.
 *
 * A next hop's code and text are kept. What is changed is what would mean something else on this
 * connection: a 421 speaks of the connection to the next hop, not of the client's.
 */
#include "proxy/outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void outcome_refuse(struct outcome *outcome, const struct refusal *refusal)
{
	outcome->code = reason_reply(refusal->reason);
	outcome->reason = refusal->reason;
	snprintf(outcome->text, sizeof outcome->text, "%s %s: %s", reason_status(refusal->reason),
	    reason_code(refusal->reason), refusal->text);
}

void outcome_refuse_text(struct outcome *outcome, enum reason reason, const char *format, ...)
{
	struct refusal refusal = {.reason = reason};
	va_list ap;

	va_start(ap, format);
	vsnprintf(refusal.text, sizeof refusal.text, format, ap);
	va_end(ap);
	outcome_refuse(outcome, &refusal);
}

static void keep(struct outcome *outcome, int code, const struct smtp_reply *reply)
{
	size_t len = strnlen(reply->text, sizeof outcome->text - 1);

	outcome->code = code;
	outcome->reason = code / 100 == 2 ? REASON_NONE : REASON_NEXT_HOP;
	memcpy(outcome->text, reply->text, len);
	outcome->text[len] = '\0';
	/* A class that we changed (552 to 452) must not be contradicted by the enhanced status
	 * behind it. */
	if (outcome->text[0] >= '2' && outcome->text[0] <= '5' && outcome->text[1] == '.')
		outcome->text[0] = (char)('0' + code / 100);
}

/* The next hop gives up its connection: for the client that is a lost one, to be tried again. */
static bool is_going_away(struct outcome *outcome, const struct smtp_reply *reply, const char *host)
{
	char words[256];

	if (reply->code != 421 && reply->code != 221)
		return false;
	outcome_refuse_text(outcome, REASON_CONNECTION_LOST, "%s closed the connection: %d %s",
	    host, reply->code, smtp_reply_first_line(reply, words, sizeof words));
	return true;
}

/* A reply that no server may give at this point; nothing follows from it but that the mail stays
 * where it is. */
static void refuse_nonsense(
    struct outcome *outcome, const struct smtp_reply *reply, const char *host, const char *to)
{
	char words[256];

	outcome_refuse_text(outcome, REASON_CONNECTION_LOST,
	    "%s answered %s with %d %s, against the protocol", host, to, reply->code,
	    smtp_reply_first_line(reply, words, sizeof words));
}

void outcome_of_rcpt(struct outcome *outcome, const struct smtp_reply *reply, const char *host)
{
	if (is_going_away(outcome, reply, host))
		return;
	if (reply->code / 100 == 3)
		refuse_nonsense(outcome, reply, host, "RCPT");
	else
		keep(outcome, reply->code == 552 ? 452 : reply->code, reply);
}

/* "5.7.1 no" becomes "5.7.1 MAIL refused by mx1.example.org: no"; without a status it stays
 * without. */
static void prefix_words(char *out, size_t size, const struct smtp_reply *reply, const char *host)
{
	size_t status = strspn(reply->text, "0123456789.");

	if (status < 5 || reply->text[status] != ' ')
		status = 0;
	snprintf(out, size, "%.*s%sMAIL refused by %s: %.700s", (int)(status & 15), reply->text,
	    status ? " " : "", host, reply->text + status + (status != 0));
}

void outcome_of_mail(struct outcome *outcome, const struct smtp_reply *reply, const char *host)
{
	if (is_going_away(outcome, reply, host))
		return;
	if (reply->code / 100 < 4) {
		refuse_nonsense(outcome, reply, host, "MAIL");
		return;
	}
	outcome->code = reply->code; /* 552 too: to MAIL it speaks of the size */
	outcome->reason = REASON_NEXT_HOP;
	prefix_words(outcome->text, sizeof outcome->text, reply, host);
}

void outcome_of_final(struct outcome *outcome, const struct smtp_reply *reply, const char *host)
{
	if (is_going_away(outcome, reply, host))
		return;
	if (reply->code / 100 == 3)
		refuse_nonsense(outcome, reply, host, "the final dot");
	else
		keep(outcome, reply->code / 100 == 2 ? 250 : reply->code, reply);
}

const char *outcome_status(const struct outcome *outcome)
{
	if (outcome->reason == REASON_OUTCOME_UNKNOWN)
		return "unknown";
	if (outcome_is_good(outcome))
		return "sent";
	return outcome->code / 100 == 5 ? "refused" : "deferred";
}
