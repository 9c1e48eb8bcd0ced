/*
 * dsn_status.c - message/delivery-status (RFC 3464 section 2), and its internationalised sister
 * (RFC 6533 section 4).
 *
 * Addresses and words come from strangers: nothing that is no printable character gets through, and
 * a field is folded before it is too long for a line of mail. Called by dsn.c.
 */
#include "proxy/spool/dsn_internal.h"

#include "conf/utf8.h"
#include "proxy/smtp/smtp_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { FOLD_AT = 76, WORD_MAX = 500 };

/* ---- fields ---- */

/* "Name: value", folded between words, and within a word that is too long for any line. */
static void field(FILE *out, const char *name, const char *value)
{
	size_t column = (size_t)fprintf(out, "%s:", name);

	while (*(value += strspn(value, " "))) {
		size_t word = strcspn(value, " ");

		if (word > WORD_MAX)
			word = smtp_text_cut(value, word, WORD_MAX);
		if (column + 1 + word > FOLD_AT) {
			fputs("\r\n", out);
			column = 0;
		}
		column += 1 + word;
		fprintf(out, " %.*s", (int)word, value);
		value += word;
	}
	fputs("\r\n", out);
}

static void date_field(FILE *out, const char *name, time_t when)
{
	char date[DSN_DATE_SIZE];

	field(out, name, dsn_date(when, date));
}

/* In place. What xtext (RFC 3461 section 4) hides may be anything. */
static size_t decode_xtext(char *text)
{
	char *to = text, hex[3] = "";

	for (const char *from = text; *from; from++) {
		if (*from == '+' && isxdigit((unsigned char)from[1]) &&
		    isxdigit((unsigned char)from[2])) {
			memcpy(hex, from + 1, 2);
			*to++ = (char)strtoul(hex, NULL, 16);
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	return (size_t)(to - text);
}

/* ---- addresses ---- */

static bool is_ascii(const char *text)
{
	for (; *text; text++) {
		if (*text & 0x80)
			return false;
	}
	return true;
}

/* utf-8-addr-xtext (RFC 6533 section 3): in a 7-bit notice "\x{E9}" stands for a letter beyond
 * ASCII. */
static void escape_address(char *out, size_t size, const char *address)
{
	size_t len = 0, left = strlen(address);

	for (size_t used; left && len + 12 < size; address += used, left -= used) {
		uint32_t character = '?';

		used = utf8_decode(address, left, &character);
		if (!used)
			used = 1;
		len += (size_t)snprintf(out + len, size - len,
		    character > 126 || strchr("\\+=", (int)character) ? "\\x{%X}" : "%c",
		    (unsigned)character);
	}
	out[len] = '\0';
}

static void address_field(
    FILE *out, const char *name, const char *type, const char *address, bool utf8)
{
	char clean[SMTP_ORCPT_MAX + 8], escaped[4 * sizeof clean], value[sizeof escaped + 80];

	snprintf(clean, sizeof clean, "%s", address);
	smtp_text_filter(clean, clean, strlen(clean), true);
	snprintf(escaped, sizeof escaped, "%s", clean);
	if (!is_ascii(clean) && !utf8)
		escape_address(escaped, sizeof escaped, clean);
	snprintf(value, sizeof value, "%.60s; %s", is_ascii(clean) ? type : "utf-8", escaped);
	field(out, name, value);
}

/* ORCPT is "type;xtext", as the client gave it. */
static void original_recipient(FILE *out, const char *orcpt, bool utf8)
{
	char type[SMTP_ORCPT_MAX + 1], address[SMTP_ORCPT_MAX + 1];
	size_t type_len = strcspn(orcpt, ";");

	if (!orcpt[type_len] || type_len > 60)
		return;
	snprintf(type, sizeof type, "%.*s", (int)type_len, orcpt);
	smtp_text_filter(type, type, type_len, false);
	snprintf(address, sizeof address, "%s", orcpt + type_len + 1);
	address[decode_xtext(address)] = '\0';
	address_field(out, "Original-Recipient", type, address, utf8);
}

/* ---- what was said ---- */

/* Octets of an enhanced status of this class at the front of text; 0: none. */
static size_t status_len(const char *text, char class)
{
	size_t subject, detail;

	if (text[0] != class || text[1] != '.')
		return 0;
	subject = strspn(text + 2, "0123456789");
	if (subject < 1 || subject > 3 || text[2 + subject] != '.')
		return 0;
	detail = strspn(text + 3 + subject, "0123456789");
	if (detail < 1 || detail > 3 || !strchr(" \n", text[3 + subject + detail]))
		return 0;
	return 3 + subject + detail;
}

const char *dsn_status(const struct dsn *dsn, const struct spool_recipient *recipient, char out[16])
{
	const struct outcome *last = &recipient->last;
	bool is_failed = dsn->kind == DSN_FAILED;
	size_t len = status_len(last->text, is_failed ? '5' : '4');

	if (dsn->kind == DSN_RELAYED)
		return "2.1.9";
	if (is_failed && last->code / 100 == 4) /* for too long: what was said is no reason */
		return recipient->must_bounce ? "5.0.0" : "5.4.7";
	if (!outcome_is_known(last) || !len)
		return is_failed ? "5.0.0" : "4.0.0";
	snprintf(out, 16, "%.*s", (int)len, last->text);
	return out;
}

bool dsn_is_next_hop(const struct spool_recipient *recipient)
{
	return recipient->last.reason == REASON_NEXT_HOP || recipient->last.reason == REASON_NONE;
}

static void remote_mta(FILE *out, const struct spool_recipient *recipient)
{
	char host[sizeof recipient->last_hop], value[sizeof host + 8];
	size_t len = strcspn(recipient->last_hop, "[");

	if (!len)
		return;
	snprintf(host, sizeof host, "%.*s", (int)len, recipient->last_hop);
	smtp_text_filter(host, host, len, false);
	snprintf(value, sizeof value, "dns; %s", host);
	field(out, "Remote-MTA", value);
}

static void diagnostic_code(FILE *out, const struct spool_recipient *recipient, bool utf8)
{
	const struct outcome *last = &recipient->last;
	char text[sizeof last->text], value[sizeof text + 32];
	size_t len = strlen(last->text);

	if (!outcome_is_known(last))
		return;
	for (size_t i = 0; i <= len; i++)
		text[i] = last->text[i] == '\n' ? ' ' : last->text[i];
	smtp_text_filter(text, text, len, utf8);
	snprintf(value, sizeof value, "%s; %d %s",
	    dsn_is_next_hop(recipient) ? "smtp" : "X-danelaw", last->code, text);
	field(out, "Diagnostic-Code", value);
}

/* ---- the part ---- */

static void write_message_fields(FILE *out, const struct dsn *dsn)
{
	char envid[sizeof dsn->message->envelope.dsn.envid], mta[DOMAIN_SIZE + 8];

	snprintf(envid, sizeof envid, "%s", dsn->message->envelope.dsn.envid);
	if (envid[0]) {
		size_t len = decode_xtext(envid);

		envid[len] = '\0';
		smtp_text_filter(envid, envid, len, false);
		field(out, "Original-Envelope-Id", envid);
	}
	snprintf(mta, sizeof mta, "dns; %s", dsn->reporting_mta);
	field(out, "Reporting-MTA", mta);
	date_field(out, "Arrival-Date", dsn->message->arrived);
}

static void write_recipient_fields(
    FILE *out, const struct dsn *dsn, const struct spool_recipient *recipient)
{
	static const char *const actions[] = {
	    [DSN_FAILED] = "failed", [DSN_DELAYED] = "delayed", [DSN_RELAYED] = "relayed"};
	bool utf8 = dsn_is_utf8(dsn);
	char status[16];

	fputs("\r\n", out);
	if (recipient->dsn.orcpt)
		original_recipient(out, recipient->dsn.orcpt, utf8);
	address_field(out, "Final-Recipient", "rfc822", recipient->address, utf8);
	field(out, "Action", actions[dsn->kind]);
	field(out, "Status", dsn_status(dsn, recipient, status));
	remote_mta(out, recipient);
	diagnostic_code(out, recipient, utf8);
	if (recipient->last_try)
		date_field(out, "Last-Attempt-Date", recipient->last_try);
	if (dsn->kind == DSN_DELAYED)
		date_field(out, "Will-Retry-Until", dsn->retry_until);
}

void dsn_write_status(FILE *out, const struct dsn *dsn)
{
	write_message_fields(out, dsn);
	for (size_t i = 0; i < dsn->count; i++)
		write_recipient_fields(out, dsn, dsn->recipients[i]);
}
