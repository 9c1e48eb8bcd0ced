/*
 * delivery_record.c - one delivery as one line of the log (interface section 4).
 *
 * Always the same keys in the same order. What was refused, weakened or never proven is a warning.
 * The line and the metrics tell the same. Called when a transaction ends.
 */
#include "proxy/delivery_record.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "proxy/approach.h"
#include "proxy/exception.h"
#include "proxy/metrics.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* The log cuts a value at 2 KiB; escapes take room, too. */
enum { TO_SIZE = 1500 };

/*
 * What there is to tell of a recipient: its refusal, else the message's outcome; NULL: it was
 * accepted, but no message followed, and nothing was sent.
 */
static const struct outcome *told(const struct delivery_record *d, const struct recipient *r)
{
	if (!outcome_is_good(&r->outcome))
		return outcome_is_known(&r->outcome) ? &r->outcome : NULL;
	return outcome_is_known(d->outcome) ? d->outcome : NULL;
}

/* What the line as a whole tells: of the message where there was one, else of the first refusal. */
static const struct outcome *line_outcome(const struct delivery_record *d)
{
	const struct outcome *first = NULL;

	for (const struct recipient *r = d->recipients; r; r = r->next) {
		const struct outcome *outcome = told(d, r);

		if (outcome == d->outcome)
			return outcome;
		first = first ? first : outcome;
	}
	return first;
}

/*
 * A quoted local part may hold what separates recipients here; it must not read as further ones.
 */
static void write_address(char *out, size_t size, const char *address)
{
	size_t len = 0;

	for (; *address && len + 5 < size; address++)
		len += (size_t)snprintf(
		    out + len, size - len, strchr("<>,", *address) ? "\\x%02x" : "%c", *address);
}

/* As many as fit from the first on; returns the next one, for another line, or NULL. */
static const struct recipient *recipients_text(const struct delivery_record *d,
    const struct recipient *first, const struct outcome *line, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (const struct recipient *r = first; r; r = r->next) {
		const struct outcome *own = told(d, r);
		char address[4 * SMTP_PATH_MAX + 8] = "";
		bool differs = own && strcmp(outcome_status(own), outcome_status(line)) != 0;

		if (!own)
			continue;
		write_address(address, sizeof address, r->path.address);
		if (len && size - len < strlen(address) + sizeof ",<>:deferred")
			return r;
		len += (size_t)snprintf(out + len, size - len, "%s<%s>%s%s", len ? "," : "",
		    address, differs ? ":" : "", differs ? outcome_status(own) : "");
	}
	return NULL;
}

/* A long list goes on in lines of its own: the log knows every recipient. */
static void log_more_recipients(const struct delivery_record *d, const struct recipient *next,
    const struct outcome *outcome, enum log_level level)
{
	struct log_line line;
	char to[TO_SIZE];

	while (next) {
		next = recipients_text(d, next, outcome, to, sizeof to);
		log_begin(&line, level, "delivery-more");
		log_value(&line, "session", d->session);
		log_value(&line, "domain", d->domain);
		log_value(&line, "to", to);
		log_value(&line, "status", outcome_status(outcome));
		log_end(&line);
	}
}

static const char *tls_word(const struct delivery_record *d)
{
	if (!d->is_encrypted)
		return "cleartext";
	return d->proof->verified && d->hop->route && d->hop->route->secures_domain &&
		       !d->hop->is_relaxed
		   ? "verified"
		   : "encrypted";
}

static const char *policy_word(const struct delivery_record *d)
{
	if (d->hop->is_relaxed)
		return "may";
	if (d->hop->route && d->hop->route->policy_label)
		return d->hop->route->policy_label;
	return d->hop->destination ? conf_level_name(d->hop->destination->conf->level) : NULL;
}

static void log_hop(struct log_line *line, const struct delivery_record *d)
{
	const struct approach_result *hop = d->hop;
	char mx[DOMAIN_SIZE + ADDR_TEXT] = "", address[ADDR_TEXT] = "";

	if (hop->has_address)
		addr_bracketed(&hop->address, address);
	if (hop->route)
		snprintf(mx, sizeof mx, "%s%s", hop->route->host, address);
	log_value(line, "mx", mx);
	log_value(line, "policy", policy_word(d));
	log_value(line, "mx_dnssec",
	    hop->destination ? dns_state_name(hop->destination->mx_state) : NULL);
}

static void log_tls(struct log_line *line, const struct delivery_record *d)
{
	log_value(line, "tls", d->was_ready ? tls_word(d) : NULL);
	log_value(line, "tlsa", d->proof->matched);
	log_value(line, "protocol", d->proof->protocol);
	log_value(line, "cipher", d->proof->cipher);
	log_value(line, "reused", d->hop->is_reused ? "yes" : "no");
}

static int64_t milliseconds(double seconds) { return (int64_t)(seconds * 1000 + 0.5); }

static void log_times(struct log_line *line, const struct delivery_record *d)
{
	log_number(line, "dns_ms",
	    milliseconds(d->hop->destination ? d->hop->destination->dns_seconds : 0));
	log_number(line, "tls_ms", milliseconds(d->tls_seconds));
	log_number(line, "total_ms", milliseconds(d->total_seconds));
}

static void log_result(
    struct log_line *line, const struct delivery_record *d, const struct outcome *outcome)
{
	char reply[sizeof outcome->text + 8];

	snprintf(reply, sizeof reply, "%d %.*s", outcome->code, (int)strcspn(outcome->text, "\n"),
	    outcome->text);
	log_value(line, "status", outcome_status(outcome));
	log_value(line, "reason", reason_code(outcome->reason));
	log_value(
	    line, "would_refuse", d->hop->would_refuse ? reason_code(d->hop->would_refuse) : NULL);
	log_value(line, "reply", reply);
}

/* What only mail of the spool has. */
static void log_spool(struct log_line *line, const struct delivery_record *d)
{
	char when[sizeof "2027-01-31T00:00:00Z"] = "";
	struct tm tm;

	if (!d->tries && !d->next_try)
		return;
	if (d->next_try && gmtime_r(&d->next_try, &tm))
		strftime(when, sizeof when, "%FT%TZ", &tm);
	log_number(line, "tries", d->tries);
	if (d->next_try)
		log_value(line, "next_try", when);
}

/* Refused, weakened or unproven is worth a warning; a level below what the default asks was
 * somebody's decision. */
static enum log_level line_level(const struct delivery_record *d, const struct outcome *outcome)
{
	if (!outcome_is_good(outcome) || d->hop->would_refuse)
		return LOG_LEVEL_WARNING;
	return d->is_encrypted ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
}

static void count(const struct delivery_record *d, const struct outcome *outcome)
{
	metrics_count_message(
	    policy_word(d), d->was_ready ? tls_word(d) : NULL, outcome_status(outcome));
	metrics_count_would_refuse(d->hop->would_refuse);
	if (d->tries)
		metrics_count_try(outcome_status(outcome));
	if (outcome == d->outcome) /* of a message */
		metrics_observe_delivery(d->total_seconds);
}

static void write_line(
    const struct delivery_record *d, const struct outcome *outcome, enum log_level level)
{
	const struct recipient *more;
	char from[SMTP_PATH_MAX + 3], to[TO_SIZE];
	struct log_line line;

	snprintf(from, sizeof from, "<%s>", d->envelope->sender.address);
	more = recipients_text(d, d->recipients, outcome, to, sizeof to);
	log_begin(&line, level, "delivery");
	log_value(&line, "session", d->session);
	log_value(&line, "client", d->client);
	log_value(&line, "from", from);
	log_value(&line, "to", to);
	log_hop(&line, d);
	log_tls(&line, d);
	log_number(&line, "size", (int64_t)d->size);
	log_times(&line, d);
	log_result(&line, d, outcome);
	log_spool(&line, d);
	log_end(&line);
	log_more_recipients(d, more, outcome, level);
}

void delivery_record_write(const struct delivery_record *d)
{
	const struct outcome *outcome = line_outcome(d);

	if (!outcome)
		return;
	count(d, outcome);
	exception_log_use(d->session, d->domain,
	    d->hop->destination ? d->hop->destination->exception : NULL, d->defaults);
	if (log_wants(line_level(d, outcome)))
		write_line(d, outcome, line_level(d, outcome));
	if (d->is_client_gone)
		log_warning("session=%s the client left before it heard of this outcome; if it "
			    "tries again, expect a duplicate",
		    d->session);
}
