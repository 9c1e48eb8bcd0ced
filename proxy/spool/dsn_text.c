/*
 * dsn_text.c - the part of a notice for people: to whom, what happened, who said what, what it
 * means, who can mend it.
 *
 * 72 columns; peers' words are quoted with what is no text taken out. Called by dsn.c.
 */
#include "proxy/spool/dsn_internal.h"

#include "proxy/smtp/smtp_text.h"

#include <string.h>

enum { WIDTH = 72, WORD_MAX = 400 };

/* One paragraph, its lines set in by so many blanks. */
static void paragraph(FILE *out, size_t indent, const char *text, size_t len)
{
	const char *end = text + len;
	size_t column = 0;

	for (;;) {
		while (text < end && *text == ' ')
			text++;
		if (text == end)
			break;
		const char *blank = memchr(text, ' ', (size_t)(end - text));
		size_t word = (size_t)((blank ? blank : end) - text);

		word = smtp_text_cut(text, word, WORD_MAX);
		if (column && column + 1 + word > WIDTH) {
			fputs("\r\n", out);
			column = 0;
		}
		if (column)
			fputc(' ', out);
		else
			fprintf(out, "%*s", (int)indent, "");
		column = (column ? column + 1 : indent) + word;
		fwrite(text, 1, word, out);
		text += word;
	}
	fputs("\r\n", out);
}

static void words(FILE *out, size_t indent, const char *text)
{
	paragraph(out, indent, text, strlen(text));
}

/* ---- what was said ---- */

static void reply(FILE *out, const struct outcome *last)
{
	char line[sizeof last->text + 8], text[sizeof last->text];
	const char *next = last->text;
	int code = last->code;

	do {
		size_t len = strcspn(next, "\n");

		smtp_text_filter(text, next, len, true);
		snprintf(line, sizeof line, "%d %.*s", code, (int)len, text);
		words(out, 6, line);
		next += len;
	} while (*next++);
}

static void how_long(FILE *out, const struct dsn *dsn, const struct spool_recipient *recipient)
{
	char since[DSN_DATE_SIZE], text[200];

	if (dsn->kind != DSN_FAILED || recipient->last.code / 100 == 5)
		return;
	if (recipient->must_bounce)
		snprintf(
		    text, sizeof text, "An administrator of this relay gave the message back.");
	else
		snprintf(text, sizeof text,
		    "It was tried again and again since %s, until now without success.",
		    dsn_date(dsn->message->arrived, since));
	words(out, 4, text);
}

static void who_said_what(FILE *out, const struct dsn *dsn, const struct spool_recipient *recipient)
{
	char text[sizeof recipient->last_hop + 100];
	char hop[sizeof recipient->last_hop];
	size_t len = strlen(recipient->last_hop);

	how_long(out, dsn, recipient);
	if (!outcome_is_known(&recipient->last))
		return;
	smtp_text_filter(hop, recipient->last_hop, len, false);
	if (!dsn_is_next_hop(recipient))
		snprintf(text, sizeof text, "This relay found%s%.*s:", len ? " with " : "",
		    (int)len, hop);
	else if (len)
		snprintf(text, sizeof text, "%.*s said:", (int)len, hop);
	else
		snprintf(text, sizeof text, "The next mail server said:");
	words(out, 4, text);
	reply(out, &recipient->last);
}

/* ---- recipients that fared alike stand together ---- */

static bool fared_alike(const struct spool_recipient *a, const struct spool_recipient *b)
{
	return a->last.code == b->last.code && a->must_bounce == b->must_bounce &&
	       !strcmp(a->last.text, b->last.text) && !strcmp(a->last_hop, b->last_hop);
}

static void recipient_line(FILE *out, const struct spool_recipient *recipient)
{
	char address[SMTP_PATH_MAX + 1];

	snprintf(address, sizeof address, "%s", recipient->address);
	smtp_text_filter(address, address, strlen(address), true);
	fprintf(out, "  <%s>\r\n", address);
}

static void write_recipients(FILE *out, const struct dsn *dsn)
{
	for (size_t i = 0; i < dsn->count; i++) {
		const struct spool_recipient *recipient = dsn->recipients[i];
		bool more = i + 1 < dsn->count && fared_alike(recipient, dsn->recipients[i + 1]);

		recipient_line(out, recipient);
		if (more)
			continue;
		who_said_what(out, dsn, recipient);
		fputs("\r\n", out);
	}
}

/* ---- what it means: each reason once ---- */

static void explain(FILE *out, enum reason reason)
{
	const struct dsn_reason *about = dsn_reason(reason);
	char text[1000];

	if (reason == REASON_NEXT_HOP)
		snprintf(text, sizeof text, "%s %s", about->meaning, about->remedy);
	else
		snprintf(text, sizeof text, "%s: %s %s", reason_code(reason), about->meaning,
		    about->remedy);
	words(out, 2, text);
	fputs("\r\n", out);
}

static void write_meanings(FILE *out, const struct dsn *dsn)
{
	bool is_told[REASON_COUNT] = {false};
	bool any = false;

	for (size_t i = 0; i < dsn->count; i++) {
		enum reason reason = dsn->recipients[i]->last.reason;

		if (!outcome_is_known(&dsn->recipients[i]->last) || reason == REASON_NONE ||
		    (unsigned)reason >= REASON_COUNT || is_told[reason])
			continue;
		is_told[reason] = true;
		if (!any)
			fputs("What this means, and who can mend it:\r\n\r\n", out);
		any = true;
		explain(out, reason);
	}
}

/* ---- the part ---- */

static void write_opening(FILE *out, const struct dsn *dsn)
{
	char text[DOMAIN_SIZE + 200], date[DSN_DATE_SIZE];

	snprintf(text, sizeof text, "This is the mail relay %s (danelaw).", dsn->reporting_mta);
	words(out, 0, text);
	snprintf(text, sizeof text, "It took your message on %s.",
	    dsn_date(dsn->message->arrived, date));
	words(out, 0, text);
	fputs("\r\n", out);
	switch (dsn->kind) {
	case DSN_FAILED:
		words(out, 0,
		    "Your message could NOT be delivered to the following, and will not be tried "
		    "again:");
		break;
	case DSN_DELAYED:
		snprintf(text, sizeof text,
		    "Your message is late. You need not do anything: it will be tried again "
		    "until %s, and you will be told if that fails. It is still on its way to:",
		    dsn_date(dsn->retry_until, date));
		words(out, 0, text);
		break;
	case DSN_RELAYED:
		words(out, 0,
		    "Your message was handed over to the next mail server, which will not "
		    "confirm its delivery, for:");
		break;
	}
	fputs("\r\n", out);
}

void dsn_write_text(FILE *out, const struct dsn *dsn)
{
	write_opening(out, dsn);
	write_recipients(out, dsn);
	write_meanings(out, dsn);
	if (dsn->headers)
		words(out, 0, "The headers of your message follow.");
}
