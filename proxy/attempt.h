/*
 * attempt.h - the addresses of one host, in order, until one is ready for MAIL.
 *
 * A request: a route in, a proven connection or the last failure out. Owner: approach.
 */
#ifndef PROXY_ATTEMPT_H
#define PROXY_ATTEMPT_H

#include "conf/log.h"
#include "policy/policy.h"
#include "policy/reason.h"
#include "proxy/pool.h"

#include <stdbool.h>

struct attempt;
struct interception;
struct proxy;
struct smtp_client;

/* All that it points to must outlive the attempt. */
struct attempt_plan {
	const char *session;  /* for the log */
	const char *next_hop; /* domain; of the pool's key */
	const struct route *route;
	const struct tls_rule *rule; /* what each connection must prove: the route's, or less */
	const struct interception *interception; /* how the mail came */
	bool is_anew;                            /* no idle connection */
	bool is_relaxed; /* less than the policy asks (enforce = no): no TLS session is kept */
	enum pool_want want;
	const struct destination_host *further; /* hosts that are tried after this one */
	size_t further_count;
};

struct attempt_failure {
	struct refusal refusal; /* REASON_NONE: nothing failed yet */
	bool has_address;
	struct addr address;
};

struct attempt_result {
	struct smtp_client *client; /* ready, handed over; NULL: every address failed */
	struct addr address;        /* of the client */
	bool is_reused;
	bool in_clear; /* TLS was optional, and failed */
	struct attempt_failure failure;
};

/* Exactly one callback, on a later turn. The result is borrowed, but for the client. */
typedef void attempt_fn(const struct attempt_result *result, void *arg);

struct attempt *attempt_start(
    struct proxy *proxy, const struct attempt_plan *plan, attempt_fn *callback, void *arg);
void attempt_cancel(struct attempt **attempt);

/* For who cancels it: what to tell of the wait that was too long; and what had failed before. */
void attempt_overdue(const struct attempt *attempt, struct attempt_failure *failure);
const struct attempt_failure *attempt_last_failure(const struct attempt *attempt);

/* One line about something that failed, as an event. */
void attempt_log(
    const char *session, enum log_level level, const char *event, const struct refusal *refusal);

#endif
