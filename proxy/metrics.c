/*
 * metrics.c - see metrics.h: the numbers, and the one table that names them.
 *
 * A family is an array of cells, its labels are the array's dimensions; what is rendered follows
 * from the table alone. Format: Prometheus text exposition 0.0.4.
 */
#include "proxy/metrics.h"

#include "conf/conf.h"
#include "proxy/version.h"

#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- labels ---- */

static const char *const policies[] = {"-", "none", "may", "encrypt", "dane", "half-dane",
    "dane-unusable", "dane-only", "secure", "sts:enforce", "sts:testing"};
static const char *const tls_words[] = {"-", "verified", "encrypted", "cleartext"};
static const char *const statuses[] = {"-", "sent", "deferred", "refused", "unknown"};
static const char *const yes_no[] = {"no", "yes"};
static const char *const dns_names[] = {
    "A", "AAAA", "MX", "TLSA", "TXT", "CNAME", "NS", "SOA", "DS", "DNSKEY"};
static const char *const dns_states[] = {"secure", "insecure", "bogus", "failed"};
static const char *const fetch_results[] = {
    [STS_FETCHED] = "ok",
    [STS_FETCH_FAILED] = "failed",
    [STS_FETCH_CERTIFICATE] = "certificate",
    [STS_FETCH_INVALID] = "invalid",
    [STS_FETCH_BUSY] = "busy",
};
static const char *const notices[] = {
    [METRICS_FAILED] = "failed",
    [METRICS_DELAYED] = "delayed",
    [METRICS_RELAYED] = "relayed",
};
static const char *const alarms[] = {
    [ALARM_CA_MISSING] = "ca-missing",
    [ALARM_MIDDLEBOX] = "middlebox",
    [ALARM_DISK] = "disk",
    [ALARM_ANCHOR] = "anchor",
};

static const char *reason_value(size_t i) { return reason_code((enum reason)i); }

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Upper bounds of the histogram's buckets, in seconds; one more has none. */
static const double bounds[] = {.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800};
enum { BUCKETS = COUNT(bounds) + 1 };

/* ---- the numbers ---- */

struct metrics {
	uint64_t messages[COUNT(policies)][COUNT(tls_words)][COUNT(statuses)];
	uint64_t refusals[REASON_COUNT];
	uint64_t would_refuse[REASON_COUNT];
	uint64_t sessions, sessions_total;
	uint64_t next_hop_connections;
	uint64_t handshakes[COUNT(yes_no)];
	uint64_t lookups[COUNT(dns_names)][COUNT(dns_states)];
	uint64_t fetches[COUNT(fetch_results)];
	uint64_t hint_mismatches;
	uint64_t deliveries[BUCKETS];
	uint64_t delivery_microseconds;
	uint64_t spool_messages;
	uint64_t tries[COUNT(statuses)];
	uint64_t notices[METRICS_NOTICES];
	uint64_t alarms[METRICS_ALARMS];
	uint64_t dnssec_working;
};

static_assert(sizeof(struct metrics) <= METRICS_SIZE, "an area has room for it");

static struct metrics own;
static struct metrics *metrics = &own;

void metrics_count_into(void *area) { metrics = area; }

/* ---- the table ---- */

/* Of several processes gauges add up like counters, and what is true of one is true of all. */
enum kind { COUNTER, GAUGE, STATE };
enum { LABELS_MAX = 3 };

struct label {
	const char *name;
	size_t count;
	const char *const *values;
	const char *(*value)(size_t i); /* where there is no array */
};

struct family {
	const char *name;
	enum kind kind;
	size_t offset;  /* of its first cell in struct metrics */
	bool is_sparse; /* cells that are 0 are left out */
	struct label labels[LABELS_MAX];
	const char *help;
};

#define CELLS(member) offsetof(struct metrics, member)
#define LABEL(name, array)                                                                         \
	{                                                                                          \
		name, COUNT(array), array, NULL                                                    \
	}
#define REASONS                                                                                    \
	{                                                                                          \
		"reason", REASON_COUNT, NULL, reason_value                                         \
	}

/* clang-format off */
static const struct family families[] = {
	{ "danelaw_messages_total", COUNTER, CELLS(messages), true,
	  { LABEL("policy", policies), LABEL("tls", tls_words), LABEL("status", statuses) },
	  "Recipient domains of messages, by what was demanded, proven and the result." },
	{ "danelaw_refusals_total", COUNTER, CELLS(refusals), true, { REASONS },
	  "Refusals told to clients, by reason code." },
	{ "danelaw_would_refuse_total", COUNTER, CELLS(would_refuse), true, { REASONS },
	  "Deliveries that only enforce = no let pass, by reason code." },
	{ "danelaw_sessions", GAUGE, CELLS(sessions), false, { {0} },
	  "Clients that are connected now." },
	{ "danelaw_sessions_total", COUNTER, CELLS(sessions_total), false, { {0} },
	  "Clients that were admitted." },
	{ "danelaw_next_hop_connections", GAUGE, CELLS(next_hop_connections), false, { {0} },
	  "Connections to next hops, idle ones included." },
	{ "danelaw_handshakes_total", COUNTER, CELLS(handshakes), false, { LABEL("resumed", yes_no) },
	  "TLS handshakes with next hops that were completed." },
	{ "danelaw_dns_lookups_total", COUNTER, CELLS(lookups), true,
	  { LABEL("type", dns_names), LABEL("state", dns_states) },
	  "DNS lookups by type and outcome of validation; cached answers count." },
	{ "danelaw_sts_fetches_total", COUNTER, CELLS(fetches), false, { LABEL("result", fetch_results) },
	  "Fetches of MTA-STS policies." },
	{ "danelaw_hint_mismatches_total", COUNTER, CELLS(hint_mismatches), false, { {0} },
	  "Intercepted connections whose destination is no MX address of the recipient's domain." },
	{ "danelaw_spool_messages", STATE, CELLS(spool_messages), false, { {0} },
	  "Messages that danelaw answers for." },
	{ "danelaw_spool_tries_total", COUNTER, CELLS(tries), true, { LABEL("status", statuses) },
	  "Tries of recipient domains from the spool, by result." },
	{ "danelaw_spool_notices_total", COUNTER, CELLS(notices), false, { LABEL("kind", notices) },
	  "Delivery status notifications made." },
	{ "danelaw_alarm", STATE, CELLS(alarms), false, { LABEL("what", alarms) },
	  "Whether the operator must act." },
	{ "danelaw_dnssec_working", STATE, CELLS(dnssec_working), false, { {0} },
	  "Whether names that must validate do." },
};
/* clang-format on */

/* ---- counting ---- */

/* A word that is not of the list counts as the first one. */
static size_t find(const char *const *words, size_t count, const char *word)
{
	for (size_t i = 0; word && i < count; i++) {
		if (!strcmp(words[i], word))
			return i;
	}
	return 0;
}

#define FIND(array, word) find(array, COUNT(array), word)

void metrics_count_message(const char *policy, const char *tls, const char *status)
{
	metrics->messages[FIND(policies, policy)][FIND(tls_words, tls)][FIND(statuses, status)]++;
}

static bool is_ours(enum reason reason)
{
	return reason != REASON_NONE && reason != REASON_NEXT_HOP && reason < REASON_COUNT;
}

void metrics_count_would_refuse(enum reason reason)
{
	if (is_ours(reason))
		metrics->would_refuse[reason]++;
}

void metrics_count_refusal(enum reason reason)
{
	if (is_ours(reason))
		metrics->refusals[reason]++;
}

void metrics_observe_delivery(double seconds)
{
	size_t bucket = 0;

	if (seconds < 0)
		seconds = 0;
	while (bucket < COUNT(bounds) && seconds > bounds[bucket])
		bucket++;
	metrics->deliveries[bucket]++;
	metrics->delivery_microseconds += (uint64_t)(seconds * 1e6);
}

void metrics_count_hint_mismatch(void) { metrics->hint_mismatches++; }

void metrics_session_began(void)
{
	metrics->sessions++;
	metrics->sessions_total++;
}

void metrics_session_ended(void) { metrics->sessions--; }
void metrics_next_hop_opened(void) { metrics->next_hop_connections++; }
void metrics_next_hop_closed(void) { metrics->next_hop_connections--; }
void metrics_count_handshake(bool resumed) { metrics->handshakes[resumed]++; }

void metrics_count_lookup(const struct dns_answer *answer)
{
	const char *state = answer->bogus ? "bogus" : dns_state_name(answer->state);

	metrics->lookups[FIND(dns_names, dns_type_name(answer->type))][FIND(dns_states, state)]++;
}

void metrics_count_sts_fetch(enum sts_fetched result) { metrics->fetches[result]++; }
void metrics_count_try(const char *status) { metrics->tries[FIND(statuses, status)]++; }
void metrics_count_notice(enum metrics_notice kind) { metrics->notices[kind]++; }
void metrics_set_spool_messages(size_t count) { metrics->spool_messages = count; }
void metrics_set_alarm(enum metrics_alarm alarm, bool is_on) { metrics->alarms[alarm] = is_on; }
const char *metrics_alarm_name(enum metrics_alarm alarm) { return alarms[alarm]; }
void metrics_set_dnssec_working(bool is_working) { metrics->dnssec_working = is_working; }

/* ---- several processes ---- */

static size_t count_cells(const struct family *f)
{
	size_t count = 1;

	for (const struct label *l = f->labels; l < f->labels + LABELS_MAX && l->name; l++)
		count *= l->count;
	return count;
}

static uint64_t *cells_of(const struct metrics *m, const struct family *f)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): the const is the caller's */
	return (uint64_t *)(uintptr_t)((const char *)m + f->offset);
}

/* The other process may be counting. */
static uint64_t look(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }

static void add_cell(uint64_t *sum, const uint64_t *cell, enum kind kind)
{
	uint64_t value = look(cell);

	if (kind != STATE)
		*sum += value;
	else if (value > *sum)
		*sum = value;
}

static void add(struct metrics *sum, const struct metrics *part, bool is_dead)
{
	for (const struct family *f = families; f < families + COUNT(families); f++) {
		uint64_t *to = cells_of(sum, f);
		const uint64_t *from = cells_of(part, f);

		for (size_t i = 0; i < count_cells(f) && (f->kind == COUNTER || !is_dead); i++)
			add_cell(&to[i], &from[i], f->kind);
	}
	for (size_t i = 0; i < BUCKETS; i++)
		add_cell(&sum->deliveries[i], &part->deliveries[i], COUNTER);
	add_cell(&sum->delivery_microseconds, &part->delivery_microseconds, COUNTER);
}

void metrics_add(void *sum, const void *area) { add(sum, area, false); }

void metrics_retire(void *sum, void *area)
{
	add(sum, area, true);
	memset(area, 0, sizeof(struct metrics));
}

/* ---- rendering ---- */

static void write_head(FILE *out, const char *name, const char *kind, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static const char *label_value(const struct label *label, size_t i)
{
	return label->values ? label->values[i] : label->value(i);
}

/* The last label's value changes with each cell. */
static void write_cell(FILE *out, const struct family *f, size_t cell, uint64_t value)
{
	size_t below = 1;

	for (const struct label *l = f->labels; l < f->labels + LABELS_MAX && l->name; l++)
		below *= l->count;
	fputs(f->name, out);
	for (size_t i = 0; i < LABELS_MAX && f->labels[i].name; i++) {
		const struct label *l = &f->labels[i];

		below /= l->count;
		fprintf(out, "%s%s=\"%s\"", i ? "," : "{", l->name,
		    label_value(l, cell / below % l->count));
	}
	fprintf(out, "%s %" PRIu64 "\n", f->labels[0].name ? "}" : "", value);
}

static void write_family(FILE *out, const struct family *f)
{
	const uint64_t *cells = cells_of(metrics, f);
	size_t count = count_cells(f);

	write_head(out, f->name, f->kind == COUNTER ? "counter" : "gauge", f->help);
	for (size_t i = 0; i < count; i++) {
		if (cells[i] || !f->is_sparse)
			write_cell(out, f, i, cells[i]);
	}
}

static void write_histogram(FILE *out)
{
	static const char name[] = "danelaw_delivery_seconds";
	uint64_t count = 0;

	write_head(out, name, "histogram",
	    "From the first recipient of a domain to the next hop's last word on the message.");
	for (size_t i = 0; i < COUNT(bounds); i++) {
		count += metrics->deliveries[i];
		fprintf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[i], count);
	}
	count += metrics->deliveries[COUNT(bounds)];
	fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
	fprintf(out, "%s_sum %.6f\n", name, (double)metrics->delivery_microseconds / 1e6);
	fprintf(out, "%s_count %" PRIu64 "\n", name, count);
}

/* Below 0: it is over. A domain in normal form needs no escapes. */
static void write_exceptions(FILE *out, const struct conf *conf, time_t now)
{
	static const char name[] = "danelaw_exception_expires_seconds";

	write_head(out, name, "gauge", "Until a [domain] section ends that has an `until`.");
	for (size_t i = 0; conf && i < conf->domain_count; i++) {
		const struct conf_domain *d = &conf->domains[i];

		if (d->until)
			fprintf(out, "%s{domain=\"%s%s\"} %" PRId64 "\n", name, d->below ? "." : "",
			    d->name, (int64_t)(d->until - now));
	}
}

static void write_build(FILE *out)
{
	write_head(out, "danelaw_build_info", "gauge", "Always 1.");
	fprintf(out, "danelaw_build_info{version=\"%s\",commit=\"%s\"} 1\n", danelaw_version,
	    danelaw_commit);
}

char *metrics_render(const struct conf *conf, time_t now, size_t *len)
{
	char *page = NULL;
	FILE *out = open_memstream(&page, len);

	if (!out)
		abort(); /* as conf/mem.h does without memory */
	for (const struct family *f = families; f < families + COUNT(families); f++)
		write_family(out, f);
	write_histogram(out);
	write_exceptions(out, conf, now);
	write_build(out);
	if (fclose(out))
		abort();
	return page;
}
