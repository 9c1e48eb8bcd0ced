/*
 * approach.c - tries the hosts of a destination in order until one is proven and ready (RFC 5321
 * section 5.1, RFC 7672 2.1.2). Each host's addresses are attempt.c's.
 *
 * A worse preference is never looked up while a better one is untried; equal ones are, but only for
 * ourselves among them, and nothing waits for that (policy/self.c). While other hosts remain,
 * one host gets at most a third of the time that is left (R-SMTP-34).
 */
#include "proxy/approach.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/timer.h"
#include "proxy/attempt.h"
#include "proxy/intercept/hint.h"
#include "proxy/intercept/intercept.h"
#include "proxy/proxy.h"
#include "proxy/smtp/smtp_client.h"

#include <assert.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

struct approach {
	struct proxy *proxy;
	enum approach_how how;
	enum pool_want want;
	const char *session; /* the delivery's, which outlives us, as is ... */
	const struct interception *interception;
	approach_fn *callback;
	void *arg;
	ev_timer total; /* [timeouts] rcpt */
	ev_timer host_share;

	struct destination_lookup *destination_lookup;
	struct destination *destination;
	struct hint_check *hint_check;   /* strict: before the first host */
	size_t host;                     /* index of the one under way */
	struct self_search *self_search; /* beside the host, among its equals */
	struct route_lookup *route_lookup;
	const struct route *route;
	struct attempt *attempt;
	struct tls_rule *relaxed_rule; /* TLS_MAY, for the second round of enforce = no */

	bool is_relaxed;
	enum reason would_refuse;
	bool may_relax; /* a route said enforce = no */

	struct attempt_failure failure; /* what the refusal will be, ... */
	uint16_t failed_preference;     /* ... and of which host */
	const struct route *failed_route;
};

static void try_next_host(struct approach *a);

/* ---- the end ---- */

static void stop(struct approach *a)
{
	ev_timer_stop(a->proxy->loop, &a->total);
	ev_timer_stop(a->proxy->loop, &a->host_share);
	destination_lookup_cancel(&a->destination_lookup);
	hint_check_cancel(&a->hint_check);
	self_search_cancel(&a->self_search);
	route_lookup_cancel(&a->route_lookup);
	attempt_cancel(&a->attempt);
}

static void release(void *object)
{
	struct approach *a = object;

	route_free(&a->route);
	route_free(&a->failed_route);
	destination_free(&a->destination);
	free(a->relaxed_rule);
	free(a);
}

void approach_cancel(struct approach **approach)
{
	struct approach *a = *approach;

	*approach = NULL;
	if (!a)
		return;
	stop(a);
	reap_later(a->proxy->loop, a, release);
}

void approach_result_release(struct approach_result *result)
{
	smtp_client_close(&result->client);
	route_free(&result->route);
	destination_free(&result->destination);
}

/* What the lookup of an MTA-STS policy met with, though it refused nothing. */
static void tell_notice(const struct approach *a)
{
	const struct refusal *notice = a->destination ? &a->destination->notice : NULL;

	if (notice && notice->reason != REASON_NONE)
		attempt_log(a->session, LOG_LEVEL_WARNING, "sts-notice", notice);
}

/* Everything that the caller may want moves into the result. */
static void finish(struct approach *a, struct approach_result *result)
{
	approach_fn *callback = a->callback;
	void *arg = a->arg;

	tell_notice(a);
	result->destination = a->destination;
	a->destination = NULL;
	result->is_relaxed = a->is_relaxed;
	result->would_refuse = a->would_refuse;
	approach_cancel(&a);
	callback(result, arg);
}

/* A policy in mode testing refuses nothing, and its owner wants to hear what it would refuse. */
static void tell_testing(const struct approach *a, const struct attempt_result *ready)
{
	struct refusal would_fail;

	if (route_explain_testing(
		a->route, &ready->address, smtp_client_proof(ready->client), &would_fail))
		attempt_log(a->session, LOG_LEVEL_WARNING, "sts-testing", &would_fail);
}

static void finish_ready(struct approach *a, const struct attempt_result *ready)
{
	struct approach_result result = {
	    .client = ready->client,
	    .route = a->route,
	    .address = ready->address,
	    .has_address = true,
	    .is_reused = ready->is_reused,
	    .may_be_kept = !a->is_relaxed && !ready->in_clear,
	};

	tell_testing(a, ready);
	a->route = NULL;
	finish(a, &result);
}

static void finish_refused(struct approach *a)
{
	struct approach_result result = {
	    .refusal = a->failure.refusal,
	    .route = a->failed_route,
	    .address = a->failure.address,
	    .has_address = a->failure.has_address,
	};

	a->failed_route = NULL;
	finish(a, &result);
}

static void refuse(struct approach *a, const struct refusal *refusal)
{
	a->failure.refusal = *refusal;
	finish_refused(a);
}

/* ---- what failed so far ---- */

static uint16_t preference(const struct approach *a)
{
	return a->destination->hosts[a->host].preference;
}

static bool has_failed(const struct approach *a)
{
	return a->failure.refusal.reason != REASON_NONE;
}

/* The last failure of the best preference is the one to tell; the log has them all. */
static void keep_failure(struct approach *a, const struct attempt_failure *failure)
{
	if (failure->refusal.reason == REASON_NONE)
		return;
	if (has_failed(a) && preference(a) > a->failed_preference)
		return;
	a->failure = *failure;
	a->failed_preference = preference(a);
	route_free(&a->failed_route);
}

static void note_failure(struct approach *a, const struct attempt_failure *failure)
{
	attempt_log(a->session, LOG_LEVEL_INFO, "next-hop-failed", &failure->refusal);
	keep_failure(a, failure);
}

/* Of a host that came to no attempt. */
static void note_refusal(struct approach *a, const struct refusal *refusal)
{
	note_failure(a, &(struct attempt_failure){.refusal = *refusal});
}

/* The route of the host that is told of is kept for the log; it leaves us when the next host's turn
 * comes. */
static void leave_route(struct approach *a)
{
	if (a->route && has_failed(a) && a->failed_preference == preference(a)) {
		route_free(&a->failed_route);
		a->failed_route = a->route;
		a->route = NULL;
	}
	route_free(&a->route);
}

/* enforce = no: what was refused for TLS reasons alone is tried again as `may`, and reported. */
static bool relax(struct approach *a)
{
	if (a->is_relaxed || !a->may_relax || !reason_is_tls(a->failure.refusal.reason))
		return false;
	a->is_relaxed = true;
	a->would_refuse = a->failure.refusal.reason;
	a->host = 0;
	a->destination->address_count = 0; /* the second round looks at the same addresses again */
	return true;
}

static void hosts_exhausted(struct approach *a)
{
	if (relax(a))
		try_next_host(a);
	else
		finish_refused(a);
}

/* ---- hosts ---- */

static void on_route(const struct route *route, void *arg);
static void on_self(const struct refusal *refusal, void *arg);

static void share_time(struct approach *a)
{
	double left = ev_timer_remaining(a->proxy->loop, &a->total);

	if (a->host + 1 < a->destination->host_count)
		timer_start(a->proxy->loop, &a->host_share, left / 3);
	else
		ev_timer_stop(a->proxy->loop, &a->host_share);
}

/* Once for each preference. */
static void look_for_self(struct approach *a)
{
	const struct destination_host *host = &a->destination->hosts[a->host];

	if (a->host > 0 && host[-1].preference == host->preference)
		return;
	self_search_cancel(&a->self_search);
	a->self_search = self_search_start(a->proxy->policy, a->destination, a->host, on_self, a);
}

/* What was decided a moment ago may be dialled, and leads to an attempt, which ends on a later
 * turn: no callback comes from here. */
static void take_route(struct approach *a)
{
	const struct route *kept = route_find_kept(a->proxy->policy, a->destination, a->host);

	assert(!kept || (kept->verdict == POLICY_CONNECT && !kept->is_self));
	if (kept)
		on_route(kept, a);
	else
		a->route_lookup =
		    route_lookup_start(a->proxy->policy, a->destination, a->host, on_route, a);
}

static void try_next_host(struct approach *a)
{
	if (a->host >= a->destination->host_count) {
		hosts_exhausted(a);
		return;
	}
	timer_refresh(a->proxy->loop);
	share_time(a);
	look_for_self(a);
	take_route(a);
}

static void leave_host(struct approach *a)
{
	leave_route(a);
	a->host++;
	try_next_host(a);
}

/* Ourselves in the list: this preference and all worse ones would only bring the mail back (RFC
 * 5321 5.1). */
static void discard_from_here(struct approach *a, const struct refusal *refusal)
{
	if (!has_failed(a))
		note_refusal(a, refusal);
	leave_route(a);
	a->host = a->destination->host_count;
	hosts_exhausted(a);
}

/* The host under way is not ourselves, but we are its equal. */
static void on_self(const struct refusal *refusal, void *arg)
{
	struct approach *a = arg;

	a->self_search = NULL;
	if (!refusal)
		return;
	route_lookup_cancel(&a->route_lookup);
	if (a->attempt)
		keep_failure(a, attempt_last_failure(a->attempt));
	attempt_cancel(&a->attempt);
	route_free(&a->route);
	discard_from_here(a, refusal);
}

static void try_addresses(struct approach *a);

/* In the second round of enforce = no also a host that policy refused for TLS reasons. */
static bool is_dialled(const struct approach *a, const struct route *route)
{
	return route->verdict == POLICY_CONNECT || (a->is_relaxed && route_may_be_relaxed(route));
}

static void on_route(const struct route *route, void *arg)
{
	struct approach *a = arg;

	a->route_lookup = NULL;
	a->route = route;
	if (route->is_self) {
		discard_from_here(a, &route->refusal);
		return;
	}
	a->may_relax |= route->may_report_only;
	if (!is_dialled(a, route)) {
		note_refusal(a, &route->refusal);
		leave_host(a);
		return;
	}
	try_addresses(a);
}

/* ---- addresses of one host ---- */

/* What this connection must prove: the route's rule, or in the second round of enforce = no that of
 * `may`. */
static const struct tls_rule *current_rule(struct approach *a)
{
	if (!a->is_relaxed)
		return &a->route->rule;
	if (!a->relaxed_rule)
		a->relaxed_rule = mem_zero(1, sizeof *a->relaxed_rule);
	a->relaxed_rule->need = TLS_MAY;
	a->relaxed_rule->min_version = a->route->rule.min_version;
	memcpy(a->relaxed_rule->sni, a->route->rule.sni, sizeof a->relaxed_rule->sni);
	return a->relaxed_rule;
}

static void on_attempt(const struct attempt_result *result, void *arg)
{
	struct approach *a = arg;

	a->attempt = NULL;
	if (result->client) {
		finish_ready(a, result);
		return;
	}
	keep_failure(a, &result->failure);
	leave_host(a);
}

static void try_addresses(struct approach *a)
{
	struct attempt_plan plan = {
	    .session = a->session,
	    .next_hop = a->destination->next_hop,
	    .route = a->route,
	    .rule = current_rule(a),
	    .interception = a->interception,
	    .is_anew = a->how == APPROACH_ANEW || a->is_relaxed,
	    .is_relaxed = a->is_relaxed,
	    .want = a->want,
	    .further = &a->destination->hosts[a->host + 1],
	    .further_count = a->destination->host_count - a->host - 1,
	};

	a->attempt = attempt_start(a->proxy, &plan, on_attempt, a);
}

/* ---- time ---- */

static void overdue(const struct approach *a, struct attempt_failure *failure)
{
	*failure = (struct attempt_failure){0};
	if (a->attempt) {
		attempt_overdue(a->attempt, failure);
		return;
	}
	refusal_set(&failure->refusal, REASON_CONNECT_FAILED,
	    "%s took too long (%s); the mail stays with you and may be tried again",
	    a->destination ? a->destination->hosts[a->host].name : "the next hop",
	    a->destination ? "looking up addresses, TLSA and MTA-STS"
			   : "looking up the destination");
}

static void on_total(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct approach *a = w->data;
	struct attempt_failure failure;

	(void)loop, (void)revents;
	overdue(a, &failure);
	if (!a->destination) {
		refuse(a, &failure.refusal);
		return;
	}
	note_failure(a, &failure);
	leave_route(a);
	finish_refused(a);
}

static void on_host_share(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct approach *a = w->data;
	struct attempt_failure failure;

	(void)loop, (void)revents;
	overdue(a, &failure);
	note_failure(a, &failure);
	route_lookup_cancel(&a->route_lookup);
	attempt_cancel(&a->attempt);
	leave_host(a);
}

/* ---- the destination ---- */

static void on_hint(const struct refusal *refusal, void *arg)
{
	struct approach *a = arg;

	a->hint_check = NULL;
	if (refusal)
		refuse(a, refusal);
	else
		try_next_host(a);
}

/* Only strict mail waits for what is found (R-NET-09). */
static bool awaits_hint(struct approach *a)
{
	if (!hint_applies(a->interception, a->destination))
		return false;
	if (a->interception->listener->is_strict)
		a->hint_check = hint_check_start(
		    a->proxy, a->session, a->interception, a->destination, on_hint, a);
	else if (a->how == APPROACH_ANY)
		hint_watch(a->proxy, a->session, a->interception, a->destination);
	return a->hint_check != NULL;
}

static void on_destination(struct destination *destination, void *arg)
{
	struct approach *a = arg;

	a->destination_lookup = NULL;
	a->destination = destination;
	if (destination->verdict != POLICY_CONNECT)
		refuse(a, &destination->refusal);
	else if (!awaits_hint(a))
		try_next_host(a);
}

static void look_up_domain(struct approach *a, const char *domain)
{
	struct destination *kept = destination_find_kept(a->proxy->policy, domain);

	assert(!kept || (kept->verdict == POLICY_CONNECT && kept->host_count > 0));
	if (kept)
		on_destination(kept, a);
	else
		a->destination_lookup =
		    destination_lookup_start(a->proxy->policy, domain, on_destination, a);
}

struct approach *approach_start(
    struct proxy *proxy, const struct approach_task *task, approach_fn *callback, void *arg)
{
	static const struct interception none;
	struct approach *a = mem_zero(1, sizeof *a);

	a->proxy = proxy;
	a->session = task->session;
	a->how = task->how;
	a->want = task->want;
	a->interception = task->interception ? task->interception : &none;
	a->callback = callback;
	a->arg = arg;
	ev_init(&a->total, on_total);
	timer_start(proxy->loop, &a->total, proxy->conf->timeouts.rcpt);
	ev_init(&a->host_share, on_host_share);
	a->total.data = a->host_share.data = a;
	if (task->policy)
		a->destination_lookup = destination_lookup_start_under(
		    proxy->policy, task->domain, task->policy, on_destination, a);
	else if (a->interception->passthrough)
		a->destination_lookup = destination_lookup_start_fixed(
		    proxy->policy, task->domain, &a->interception->original, on_destination, a);
	else
		look_up_domain(a, task->domain);
	return a;
}
