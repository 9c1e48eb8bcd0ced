/*
 * approach.h - from a recipient domain to a proven next hop that is ready for MAIL.
 *
 * A request: the destination, its hosts in order of preference, each with its addresses in order;
 * an idle connection where one fits, else a new one; the first that becomes ready wins. What fails
 * is remembered, and the last failure of the best-preference host is the refusal (interface section
 * 3). Owner: delivery.
 */
#ifndef PROXY_APPROACH_H
#define PROXY_APPROACH_H

#include "policy/policy.h"
#include "policy/reason.h"
#include "proxy/pool.h"

#include <stdbool.h>

struct approach;
struct conf_policy;
struct interception;
struct proxy;
struct smtp_client;

struct approach_result {
	struct smtp_client *client; /* ready; NULL: refused */
	struct refusal refusal;     /* if refused */
	struct destination
	    *destination; /* never NULL once the MX step answered; NULL if time ran out before */
	const struct route
	    *route; /* of the client; else of the host that the refusal speaks of, or NULL */
	struct addr address; /* of that host, if has_address */
	bool has_address;
	bool is_reused;
	bool is_relaxed; /* enforce = no: delivered as `may`; would_refuse says why not otherwise */
	enum reason would_refuse;
	bool may_be_kept; /* the connection may serve later messages under route->rule */
};

/* The result and all in it is handed over; approach_result_release() where something is left in it.
 */
typedef void approach_fn(struct approach_result *result, void *arg);

enum approach_how {
	APPROACH_ANY,
	APPROACH_ANEW, /* no idle connection: one has just failed */
};

struct approach_task {
	const char *domain; /* normal form */
	enum approach_how how;
	enum pool_want want;
	/* Both must outlive the approach. */
	const char *session; /* for the log */
	const struct interception
	    *interception;                /* how the mail came; NULL: nothing depends on it */
	const struct conf_policy *policy; /* NULL: what is configured for the domain */
};

/* Bounded by [timeouts] rcpt as a whole. */
struct approach *approach_start(
    struct proxy *proxy, const struct approach_task *task, approach_fn *callback, void *arg);
void approach_cancel(struct approach **approach);
void approach_result_release(struct approach_result *result);

#endif
