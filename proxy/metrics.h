/*
 * metrics.h - what was counted, and how it looks to Prometheus (interface section 5).
 *
 * Numbers of one process in one plain structure, which others may read and add up; whoever knows
 * that something happened says so with one call, from the loop. Every label has a bounded set of
 * values, whatever strangers do. Rendered for admin.c.
 */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include "dnsval/answer.h"
#include "policy/mtasts.h"
#include "policy/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct conf;

/* ---- mail ---- */

/* A line of the log about a delivery, in its words; NULL: "-". */
void metrics_count_message(const char *policy, const char *tls, const char *status);
void metrics_count_would_refuse(enum reason reason);
void metrics_observe_delivery(double seconds);

/* A reply of ours to a client; what a next hop refused is not ours to count. */
void metrics_count_refusal(enum reason reason);
void metrics_count_hint_mismatch(void);

/* ---- connections ---- */

void metrics_session_began(void);
void metrics_session_ended(void);
void metrics_next_hop_opened(void);
void metrics_next_hop_closed(void);
void metrics_count_handshake(bool resumed);

/* ---- questions ---- */

void metrics_count_lookup(const struct dns_answer *answer);
void metrics_count_sts_fetch(enum sts_fetched result);

/* ---- the spool ---- */

enum metrics_notice { METRICS_FAILED, METRICS_DELAYED, METRICS_RELAYED, METRICS_NOTICES };

/* status: as in the log, "sent", "deferred", ... */
void metrics_count_try(const char *status);
void metrics_count_notice(enum metrics_notice kind);
void metrics_set_spool_messages(size_t count);

/* ---- health ---- */

enum metrics_alarm {
	ALARM_CA_MISSING, /* the CA file cannot be used */
	ALARM_MIDDLEBOX,  /* something on our way takes STARTTLS out of what next hops offer */
	ALARM_DISK,       /* the spool takes no message */
	ALARM_ANCHOR,     /* the trust anchor cannot be kept up */
	METRICS_ALARMS,
};

void metrics_set_alarm(enum metrics_alarm alarm, bool is_on);
const char *metrics_alarm_name(enum metrics_alarm alarm); /* "ca-missing" */
void metrics_set_dnssec_working(bool is_working);

/* ---- several processes ---- */

enum { METRICS_SIZE = 16384 };

/* From here on this process counts in an area of METRICS_SIZE octets, zeroed at first and aligned
 * for any object; it alone writes there. It outlives all counting. */
void metrics_count_into(void *area);

/* Adds what another process counts in its area; what is true of one of them is true of the sum. */
void metrics_add(void *sum, const void *area);

/* The same of a process that has ended: its counters stay counted, what it had and was vanishes.
 * Clears the area. */
void metrics_retire(void *sum, void *area);

/* The page as Prometheus reads it; malloc'd. conf: for the exceptions that end; NULL:
 * without them. */
char *metrics_render(const struct conf *conf, time_t now, size_t *len);

#endif
