/*
 * approach.c - tries hosts and addresses in order until one is proven and ready (RFC 5321
 * section 5.1, RFC 7672 2.1.2).
 *
 * - a destination has hosts, a host has addresses;
 * - at an address, an idle connection that fits, else a new one, and where TLS was optional and
 *   failed a second new one in clear; the first that becomes ready ends the search;
 * - else the next address; after the last one, the next host.
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
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "proxy/setbacks.h"
#include "proxy/smtp_client.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct approach {
	struct proxy *proxy;
	enum approach_how how;
	const char *session; /* the delivery's, which outlives us */
	approach_fn *callback;
	void *arg;
	ev_timer total; /* [timeouts] rcpt */
	ev_timer host_share;

	struct destination_lookup *destination_lookup;
	struct destination *destination;
	size_t host;                     /* index of the one under way */
	struct self_search *self_search; /* beside the host, among its equals */
	struct route_lookup *route_lookup;
	struct route *route;
	size_t address;               /* index of the one under way */
	struct tls_rule relaxed_rule; /* TLS_MAY, for the second round of enforce = no */
	struct smtp_client *client;
	bool is_reused, in_clear;

	bool is_relaxed;
	enum reason would_refuse;
	bool may_relax; /* a route said enforce = no */

	bool has_failed; /* what the refusal will be, and of which host */
	uint16_t failed_preference;
	struct refusal refusal;
	struct route *failed_route;
	struct addr failed_address;
	bool has_failed_address;
};

static void try_next_host(struct approach *a);
static void try_address(struct approach *a);
static void try_next_address(struct approach *a);

/* ---- the end ---- */

static void stop(struct approach *a)
{
	ev_timer_stop(a->proxy->loop, &a->total);
	ev_timer_stop(a->proxy->loop, &a->host_share);
	destination_lookup_cancel(&a->destination_lookup);
	self_search_cancel(&a->self_search);
	route_lookup_cancel(&a->route_lookup);
	smtp_client_close(&a->client);
}

static void release(void *object)
{
	struct approach *a = object;

	route_free(&a->route);
	route_free(&a->failed_route);
	destination_free(&a->destination);
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

/* As an event, since the text holds a peer's words, which must not pass for a line of ours. */
static void log_refusal(const struct approach *a, enum log_level level, const char *event,
    const struct refusal *refusal)
{
	struct log_line line;

	log_begin(&line, level, event);
	log_value(&line, "session", a->session);
	log_value(&line, "reason", reason_code(refusal->reason));
	log_value(&line, "text", refusal->text);
	log_end(&line);
}

/* What the lookup of an MTA-STS policy met with, though it refused nothing. */
static void tell_notice(const struct approach *a)
{
	const struct refusal *notice = a->destination ? &a->destination->notice : NULL;

	if (notice && notice->reason != REASON_NONE)
		log_refusal(a, LOG_LEVEL_WARNING, "sts-notice", notice);
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
static void tell_testing(const struct approach *a)
{
	struct refusal would_fail;

	if (route_explain_testing(a->route, &a->route->addresses[a->address],
		smtp_client_proof(a->client), &would_fail))
		log_refusal(a, LOG_LEVEL_WARNING, "sts-testing", &would_fail);
}

static void finish_ready(struct approach *a)
{
	struct approach_result result = {
	    .client = a->client,
	    .route = a->route,
	    .address = a->route->addresses[a->address],
	    .has_address = true,
	    .is_reused = a->is_reused,
	    .may_be_kept = !a->is_relaxed && !a->in_clear,
	};

	tell_testing(a);
	a->client = NULL;
	a->route = NULL;
	finish(a, &result);
}

static void finish_refused(struct approach *a)
{
	struct approach_result result = {
	    .refusal = a->refusal,
	    .route = a->failed_route,
	    .address = a->failed_address,
	    .has_address = a->has_failed_address,
	};

	a->failed_route = NULL;
	finish(a, &result);
}

static void refuse(struct approach *a, const struct refusal *refusal)
{
	a->refusal = *refusal;
	finish_refused(a);
}

/* ---- what failed so far ---- */

static uint16_t preference(const struct approach *a)
{
	return a->destination->hosts[a->host].preference;
}

/* The last failure of the best preference is the one to tell; the log has them all. */
static void note_failure(
    struct approach *a, const struct refusal *refusal, const struct addr *address)
{
	log_refusal(a, LOG_LEVEL_INFO, "next-hop-failed", refusal);
	if (a->has_failed && preference(a) > a->failed_preference)
		return;
	a->has_failed = true;
	a->failed_preference = preference(a);
	a->refusal = *refusal;
	a->has_failed_address = address != NULL;
	if (address)
		a->failed_address = *address;
	route_free(&a->failed_route);
}

/* The route of the host that is told of is kept for the log; it leaves us when the next host's turn
 * comes. */
static void leave_route(struct approach *a)
{
	if (a->route && a->has_failed && a->failed_preference == preference(a)) {
		route_free(&a->failed_route);
		a->failed_route = a->route;
		a->route = NULL;
	}
	route_free(&a->route);
}

/* enforce = no: what was refused for TLS reasons alone is tried again as `may`, and reported. */
static bool relax(struct approach *a)
{
	if (a->is_relaxed || !a->may_relax || !reason_is_tls(a->refusal.reason))
		return false;
	a->is_relaxed = true;
	a->would_refuse = a->refusal.reason;
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

static void on_route(struct route *route, void *arg);
static void on_self(const struct refusal *refusal, void *arg);

static void share_time(struct approach *a)
{
	double left = ev_timer_remaining(a->proxy->loop, &a->total);

	ev_timer_stop(a->proxy->loop, &a->host_share);
	if (a->host + 1 >= a->destination->host_count)
		return;
	ev_timer_set(&a->host_share, left / 3, 0.);
	ev_timer_start(a->proxy->loop, &a->host_share);
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

static void try_next_host(struct approach *a)
{
	if (a->host >= a->destination->host_count) {
		hosts_exhausted(a);
		return;
	}
	ev_now_update(a->proxy->loop);
	share_time(a);
	look_for_self(a);
	a->route_lookup =
	    route_lookup_start(a->proxy->policy, a->destination, a->host, on_route, a);
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
	if (!a->has_failed)
		note_failure(a, refusal, NULL);
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
	smtp_client_close(&a->client);
	route_free(&a->route);
	discard_from_here(a, refusal);
}

static void order_addresses(struct approach *a);

/* In the second round of enforce = no also a host that policy refused for TLS reasons. */
static bool is_dialled(const struct approach *a, const struct route *route)
{
	return route->verdict == POLICY_CONNECT || (a->is_relaxed && route_may_be_relaxed(route));
}

static void on_route(struct route *route, void *arg)
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
		note_failure(a, &route->refusal, NULL);
		leave_host(a);
		return;
	}
	order_addresses(a);
	a->address = 0;
	try_address(a);
}

/* ---- addresses of one host ---- */

/* Those that did not greet a moment ago go last; the order is kept otherwise. */
static void order_addresses(struct approach *a)
{
	struct addr dead[ROUTE_ADDR_MAX];
	size_t alive_count = 0, dead_count = 0;

	for (size_t i = 0; i < a->route->address_count; i++) {
		if (setbacks_is_dead(a->proxy->setbacks, &a->route->addresses[i]))
			dead[dead_count++] = a->route->addresses[i];
		else
			a->route->addresses[alive_count++] = a->route->addresses[i];
	}
	memcpy(a->route->addresses + alive_count, dead, dead_count * sizeof *dead);
}

static const struct addr *current_address(const struct approach *a)
{
	return &a->route->addresses[a->address];
}

/* What this connection must prove: the route's rule, or in the second round of enforce = no that of
 * `may`. */
static const struct tls_rule *current_rule(struct approach *a)
{
	if (!a->is_relaxed)
		return &a->route->rule;
	a->relaxed_rule =
	    (struct tls_rule){.need = TLS_MAY, .min_version = a->route->rule.min_version};
	memcpy(a->relaxed_rule.sni, a->route->rule.sni, sizeof a->relaxed_rule.sni);
	return &a->relaxed_rule;
}

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg);

static void connect_anew(struct approach *a)
{
	struct smtp_client_target target = {
	    .host = a->route->host,
	    .address = current_address(a),
	    .rule = current_rule(a),
	    .in_clear = a->in_clear,
	};

	a->is_reused = false;
	a->client = smtp_client_start(a->proxy, &target, on_client, a);
}

static bool reuse(struct approach *a)
{
	if (a->how == APPROACH_ANEW || a->is_relaxed || a->in_clear)
		return false;
	a->client = pool_take(
	    a->proxy->pool, a->destination->next_hop, current_address(a), current_rule(a));
	if (!a->client)
		return false;
	a->is_reused = true;
	smtp_client_set_owner(a->client, on_client, a);
	smtp_client_reset(a->client);
	return true;
}

/* What failed may have been asked for under another host's name, which is nobody's business here.
 */
static void note_known(struct approach *a, const struct refusal *known)
{
	char text[ADDR_TEXT];
	struct refusal refusal = *known;

	if (!strstr(known->text, a->route->host))
		refusal_set(&refusal, known->reason,
		    "%s%s: this address failed a moment ago, it will be tried again soon",
		    a->route->host, addr_bracketed(current_address(a), text));
	note_failure(a, &refusal, current_address(a));
}

static void try_address(struct approach *a)
{
	const struct refusal *known;
	struct refusal busy;

	if (a->address >= a->route->address_count) {
		leave_host(a);
		return;
	}
	a->in_clear = false;
	if (reuse(a))
		return;
	known = setbacks_find(a->proxy->setbacks, current_address(a), current_rule(a));
	if (known) {
		note_known(a, known);
		try_next_address(a);
	} else if (!pool_has_room(a->proxy->pool, current_address(a))) {
		refusal_set(&busy, REASON_BUSY,
		    "%s has as many connections as [limits] next_hop_connections allows; "
		    "try again soon",
		    a->route->host);
		note_failure(a, &busy, current_address(a));
		try_next_address(a);
	} else {
		connect_anew(a);
	}
}

static void try_next_address(struct approach *a)
{
	a->address++;
	try_address(a);
}

/* ---- what the connection says ---- */

static void explain_tls(
    struct approach *a, const struct smtp_client_failure *failure, struct refusal *refusal)
{
	const struct tls_proof *proof = smtp_client_proof(a->client);
	struct tls_proof given_up;

	/* No verdict of the handshake's own: it did not end in time, or broke after it. */
	if (proof && proof->failure == TLS_FINE) {
		given_up = *proof;
		given_up.failure = TLS_FAIL_HANDSHAKE;
		snprintf(given_up.text, sizeof given_up.text, "%.255s", failure->text);
		proof = &given_up;
	}
	route_explain_tls(
	    a->route, current_address(a), proof ? NULL : failure->text, proof, refusal);
	route_recheck_sts(a->proxy->policy, a->route);
}

static void on_failed(struct approach *a)
{
	const struct smtp_client_failure *failure = smtp_client_failure(a->client);
	struct refusal refusal;

	if (a->is_reused) { /* it died while idle: replaced in silence (R-SMTP-81) */
		smtp_client_close(&a->client);
		connect_anew(a);
		return;
	}
	if (failure->stage == STAGE_TLS && current_rule(a)->need == TLS_MAY && !a->in_clear) {
		refusal_set(&refusal, REASON_TLS_HANDSHAKE,
		    "%s: %s; TLS was optional here, trying in clear", smtp_client_name(a->client),
		    failure->text);
		log_refusal(a, LOG_LEVEL_WARNING, "tls-given-up", &refusal);
		smtp_client_close(&a->client);
		a->in_clear = true; /* on a fresh connection (R-TLSSEC-15) */
		connect_anew(a);
		return;
	}
	if (failure->stage == STAGE_TLS)
		explain_tls(a, failure, &refusal);
	else
		refusal_set(&refusal, failure->reason, "%s: %s", smtp_client_name(a->client),
		    failure->text);
	setbacks_add(a->proxy->setbacks, current_address(a), current_rule(a),
	    failure->stage == STAGE_CONNECT, &refusal);
	note_failure(a, &refusal, current_address(a));
	smtp_client_close(&a->client);
	try_next_address(a);
}

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg)
{
	struct approach *a = arg;

	(void)client, (void)reply;
	if (event == CLIENT_READY)
		finish_ready(a);
	else if (event == CLIENT_FAILED)
		on_failed(a);
}

/* ---- time ---- */

static const char *phase(const struct approach *a)
{
	if (a->destination_lookup)
		return "looking up the destination";
	if (a->route_lookup)
		return "looking up addresses, TLSA and MTA-STS";
	return a->client ? smtp_client_state(a->client) : "routing";
}

static void overdue(const struct approach *a, struct refusal *refusal)
{
	const char *host = a->client        ? smtp_client_name(a->client)
			   : a->destination ? a->destination->hosts[a->host].name
					    : "the next hop";

	refusal_set(refusal, REASON_CONNECT_FAILED,
	    "%s took too long (%s); the mail stays with you and may be tried again", host,
	    phase(a));
}

static void on_total(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct approach *a = w->data;
	struct refusal refusal;

	(void)loop, (void)revents;
	overdue(a, &refusal);
	if (!a->destination) {
		refuse(a, &refusal);
		return;
	}
	note_failure(a, &refusal, a->client ? current_address(a) : NULL);
	leave_route(a);
	finish_refused(a);
}

static void on_host_share(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct approach *a = w->data;
	struct refusal refusal;

	(void)loop, (void)revents;
	overdue(a, &refusal);
	note_failure(a, &refusal, a->client ? current_address(a) : NULL);
	route_lookup_cancel(&a->route_lookup);
	smtp_client_close(&a->client);
	leave_host(a);
}

static void on_destination(struct destination *destination, void *arg)
{
	struct approach *a = arg;

	a->destination_lookup = NULL;
	a->destination = destination;
	if (destination->verdict == POLICY_CONNECT)
		try_next_host(a);
	else
		refuse(a, &destination->refusal);
}

struct approach *approach_start(struct proxy *proxy, const char *domain, enum approach_how how,
    const char *session, approach_fn *callback, void *arg)
{
	struct approach *a = mem_zero(1, sizeof *a);

	a->proxy = proxy;
	a->session = session;
	a->how = how;
	a->callback = callback;
	a->arg = arg;
	ev_now_update(proxy->loop);
	ev_timer_init(&a->total, on_total, proxy->conf->timeouts.rcpt, 0.);
	ev_timer_start(proxy->loop, &a->total);
	ev_init(&a->host_share, on_host_share);
	a->total.data = a->host_share.data = a;
	a->destination_lookup = destination_lookup_start(proxy->policy, domain, on_destination, a);
	return a;
}
