/*
 * queue_print.c - see queue_print.h.
 */
#include "proxy/command/queue_print.h"

#include "proxy/spool/dsn_internal.h"
#include "proxy/command/json_text.h"
#include "proxy/smtp/smtp_dsn.h"

#include <stdio.h>
#include <string.h>

/* ---- words ---- */

const char *queue_age(char out[QUEUE_AGE_SIZE], double seconds)
{
	static const struct {
		double seconds;
		const char *name;
	} units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
	size_t i = 0;
	unsigned long count;

	while (i < 3 && seconds < units[i].seconds)
		i++;
	count = seconds > 0 ? (unsigned long)(seconds / units[i].seconds) : 0;
	snprintf(out, QUEUE_AGE_SIZE, "%lu %s%s", count, units[i].name, count == 1 ? "" : "s");
	return out;
}

static const char *size_text(char out[32], uint64_t size)
{
	if (size < 1024)
		snprintf(out, 32, "%u octets", (unsigned)size);
	else if (size < 1048576)
		snprintf(out, 32, "%.1f KB", (double)size / 1024);
	else
		snprintf(out, 32, "%.1f MB", (double)size / 1048576);
	return out;
}

/* "" for 0. */
static const char *date_text(char out[32], time_t when)
{
	struct tm tm;

	if (!when || !gmtime_r(&when, &tm) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
		out[0] = '\0';
	return out;
}

/* What danelaw will do next; the words of "state" in JSON. */
static const char *state_word(const struct spool_recipient *r)
{
	if (r->is_failed)
		return "failed";
	return r->must_bounce ? "bounce" : "waiting";
}

static void plan(char out[128], const struct spool_recipient *r, time_t now)
{
	char age[QUEUE_AGE_SIZE];

	if (r->is_failed)
		snprintf(out, 128, "given up; the sender is told next");
	else if (r->must_bounce)
		snprintf(out, 128, "ordered to be given up; the sender is told next");
	else if (r->next_try <= now)
		snprintf(out, 128, "due now");
	else
		snprintf(out, 128, "next try in %s", queue_age(age, difftime(r->next_try, now)));
}

static void tries(char out[96], const struct spool_recipient *r, time_t now)
{
	char age[QUEUE_AGE_SIZE];

	if (!r->tries)
		snprintf(out, 96, "not tried from the spool yet");
	else
		snprintf(out, 96, "tried %u time%s, last %s ago", r->tries,
		    r->tries == 1 ? "" : "s", queue_age(age, difftime(now, r->last_try)));
}

/* The last reply on one line: "451 4.7.5 dane-mismatch: ..."; "": there was none. */
static void reply_text(char *out, size_t size, const struct outcome *last)
{
	out[0] = '\0';
	if (!outcome_is_known(last))
		return;
	snprintf(out, size, "%d %s", last->code, last->text);
	for (char *c = out; *c; c++) {
		if (*c == '\n')
			*c = ' ';
	}
}

/* A reason code of ours; else the reply is the next hop's, or there is none. */
static bool is_ours(const struct spool_recipient *r)
{
	return outcome_is_known(&r->last) && r->last.reason != REASON_NONE &&
	       r->last.reason != REASON_NEXT_HOP;
}

static const char *sender_text(const struct spool_message *m)
{
	return m->envelope.sender.address[0] ? m->envelope.sender.address : "";
}

/* ---- for people ---- */

enum { REPLY_SHOWN = 200 }; /* of a reply, in the list */

static void print_recipient_line(
    const struct page *page, const struct spool_recipient *r, time_t now)
{
	char next[128], reply[sizeof r->last.text + 8];

	plan(next, r, now);
	page_text(page, 2, 6, PAGE_PLAIN, "to <%s>: %s", r->address, next);
	reply_text(reply, sizeof reply, &r->last);
	if (strlen(reply) > REPLY_SHOWN)
		page_text(page, 6, 6, PAGE_DIM, "%.*s... (`queue show` has all of it)", REPLY_SHOWN,
		    reply);
	else if (reply[0])
		page_text(page, 6, 6, PAGE_DIM, "%s", reply);
}

void queue_print_entry(const struct page *page, const struct spool_message *m, time_t now)
{
	char age[QUEUE_AGE_SIZE], size[32];

	page_text(page, 0, 2, PAGE_BOLD, "%s  %s, %s, %sfrom <%s>", m->id,
	    queue_age(age, difftime(now, m->arrived)), size_text(size, m->size),
	    m->is_notice ? "a notice " : "", sender_text(m));
	for (size_t i = 0; i < m->count; i++)
		print_recipient_line(page, &m->recipients[i], now);
}

enum { LABELS = 14 }; /* columns of the labels */

static void print_origin(const struct page *page, const struct spool_message *m, time_t now)
{
	char date[32], age[QUEUE_AGE_SIZE];

	page_field(page, 0, LABELS, "Message", PAGE_BOLD, "%s", m->id);
	page_field(page, 0, LABELS, "Arrived", PAGE_PLAIN, "%s, %s ago",
	    date_text(date, m->arrived), queue_age(age, difftime(now, m->arrived)));
	if (m->is_notice)
		page_field(page, 0, LABELS, "Origin", PAGE_PLAIN, "a notice of danelaw's own");
	else
		page_field(page, 0, LABELS, "Origin", PAGE_PLAIN, "client %s, session %s",
		    m->client, m->session ? m->session : "-");
}

static void print_envelope(const struct page *page, const struct spool_message *m)
{
	char size[32], dsn[SMTP_DSN_MAIL_SIZE];

	page_field(page, 0, LABELS, "Sender", PAGE_PLAIN, "<%s>", sender_text(m));
	page_field(page, 0, LABELS, "Size", PAGE_PLAIN, "%s%s%s", size_text(size, m->size),
	    m->has_8bit ? ", 8-bit" : "", m->envelope.smtputf8 ? ", SMTPUTF8" : "");
	smtp_dsn_mail_text(dsn, &m->envelope.dsn);
	if (dsn[0])
		page_field(page, 0, LABELS, "Asked for", PAGE_PLAIN, "%s", dsn + 1);
}

static void print_last(const struct page *page, const struct spool_recipient *r)
{
	char reply[sizeof r->last.text + 8];

	if (r->last_hop[0])
		page_field(page, 2, LABELS, "Last host", PAGE_PLAIN, "%s", r->last_hop);
	reply_text(reply, sizeof reply, &r->last);
	if (reply[0])
		page_field(page, 2, LABELS, "Last reply", PAGE_WARN, "%s", reply);
	if (is_ours(r))
		page_field(page, 2, LABELS, "Meaning", PAGE_PLAIN, "%s %s",
		    dsn_reason(r->last.reason)->meaning, dsn_reason(r->last.reason)->remedy);
}

static void print_recipient(const struct page *page, const struct spool_recipient *r, time_t now)
{
	char next[128], past[96], dsn[SMTP_DSN_RCPT_SIZE];

	plan(next, r, now);
	tries(past, r, now);
	page_gap(page);
	page_field(page, 0, LABELS, "Recipient", PAGE_BOLD, "<%s>", r->address);
	page_field(page, 2, LABELS, "State", PAGE_PLAIN, "%s; %s", past, next);
	print_last(page, r);
	smtp_dsn_rcpt_text(dsn, &r->dsn);
	if (dsn[0])
		page_field(page, 2, LABELS, "Asked for", PAGE_PLAIN, "%s", dsn + 1);
	if (r->is_delay_told)
		page_field(page, 2, LABELS, "Told", PAGE_PLAIN, "the sender knows of the delay");
}

void queue_print_message(
    const struct page *page, const struct spool_message *m, const char *headers, time_t now)
{
	print_origin(page, m, now);
	print_envelope(page, m);
	for (size_t i = 0; i < m->count; i++)
		print_recipient(page, &m->recipients[i], now);
	page_gap(page);
	while (*headers) {
		size_t len = strcspn(headers, "\n");

		page_text(page, 0, 4, PAGE_PLAIN, "%.*s", (int)len, headers);
		headers += len + (headers[len] != '\0');
	}
}

/* ---- for programs ---- */

static json_t *date_json(time_t when)
{
	char text[32];

	return json_text(date_text(text, when));
}

static json_t *recipient_json(const struct spool_recipient *r)
{
	char reply[sizeof r->last.text + 8], notify[SMTP_NOTIFY_SIZE];
	json_t *object = json_object();

	reply_text(reply, sizeof reply, &r->last);
	json_put(object, "address", json_text(r->address));
	json_put(object, "domain", json_text(r->domain));
	json_put(object, "state", json_text(state_word(r)));
	json_put(object, "tries", json_integer(r->tries));
	json_put(object, "last_try", date_json(r->last_try));
	json_put(object, "next_try", date_json(r->next_try));
	json_put(object, "last_hop", json_text(r->last_hop));
	json_put(object, "reply", json_text(reply));
	json_put(object, "reason", is_ours(r) ? json_text(reason_code(r->last.reason)) : NULL);
	json_put(
	    object, "meaning", is_ours(r) ? json_text(dsn_reason(r->last.reason)->meaning) : NULL);
	json_put(object, "notify", json_text(smtp_dsn_notify_text(notify, r->dsn.notify)));
	json_put(object, "orcpt", json_text(r->dsn.orcpt));
	json_put(object, "is_delay_told", json_boolean(r->is_delay_told));
	return object;
}

static json_t *ret_json(enum smtp_ret ret)
{
	return json_text(ret == SMTP_RET_FULL ? "FULL" : ret == SMTP_RET_HDRS ? "HDRS" : NULL);
}

json_t *queue_json(const struct spool_message *m)
{
	json_t *object = json_object(), *recipients = json_array();

	json_put(object, "id", json_text(m->id));
	json_put(object, "arrived", date_json(m->arrived));
	json_put(object, "sender", json_string(sender_text(m)));
	json_put(object, "client", json_text(m->client));
	json_put(object, "session", json_text(m->session));
	json_put(object, "size", json_integer((json_int_t)m->size));
	json_put(object, "is_notice", json_boolean(m->is_notice));
	json_put(object, "has_8bit", json_boolean(m->has_8bit));
	json_put(object, "smtputf8", json_boolean(m->envelope.smtputf8));
	json_put(object, "ret", ret_json(m->envelope.dsn.ret));
	json_put(object, "envid", json_text(m->envelope.dsn.envid));
	for (size_t i = 0; i < m->count; i++)
		json_array_append_new(recipients, recipient_json(&m->recipients[i]));
	json_put(object, "recipients", recipients);
	return object;
}
