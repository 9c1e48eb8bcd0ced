/*
 * attempt.c - see attempt.h.
 *
 * At an address, an idle connection that fits, else a new one, and where TLS was optional and
 * failed a second new one in clear; the first that becomes ready ends the attempt. What fails is
 * remembered for the next message (setbacks.h).
 */
#include "proxy/attempt.h"

#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "proxy/hop.h"
#include "proxy/intercept/intercept.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "proxy/setbacks.h"
#include "proxy/smtp/smtp_client.h"

#include <ev.h>
#include <stdlib.h>
#include <string.h>

struct attempt {
	struct proxy *proxy;
	struct attempt_plan plan;
	attempt_fn *callback;
	void *arg;
	ev_timer turn; /* the first address is tried on a turn of its own */

	size_t address_count, address; /* index of the one under way */
	enum pool_room room;           /* that was found there */
	struct addr *addresses;
	struct pool_place place;
	struct smtp_client *client;
	bool is_reused, in_clear;
	bool is_full_handshake; /* a session could not be resumed, and is not offered again */

	struct attempt_failure failure; /* the last one */
};

static void try_address(struct attempt *a);
static void try_next_address(struct attempt *a);

/* ---- the end ---- */

static void release(void *object)
{
	struct attempt *a = object;

	free(a->addresses);
	free(a);
}

void attempt_cancel(struct attempt **attempt)
{
	struct attempt *a = *attempt;

	*attempt = NULL;
	if (!a)
		return;
	ev_timer_stop(a->proxy->loop, &a->turn);
	ev_clear_pending(a->proxy->loop, &a->turn);
	pool_leave(a->proxy->pool, &a->place);
	smtp_client_close(&a->client);
	reap_later(a->proxy->loop, a, release);
}

/* The connection moves to the owner; NULL: every address failed. */
static void finish(struct attempt *a)
{
	attempt_fn *callback = a->callback;
	void *arg = a->arg;
	struct attempt_result result = {
	    .client = a->client,
	    .is_reused = a->is_reused,
	    .in_clear = a->in_clear,
	    .failure = a->failure,
	};

	if (a->client)
		result.address = a->addresses[a->address];
	a->client = NULL;
	attempt_cancel(&a);
	callback(&result, arg);
}

static const struct addr *current_address(const struct attempt *a)
{
	return &a->addresses[a->address];
}

static void note_failure(struct attempt *a, const struct refusal *refusal)
{
	attempt_log(a->plan.session, LOG_LEVEL_INFO, "next-hop-failed", refusal);
	a->failure.has_address = true;
	a->failure.address = *current_address(a);
	a->failure.refusal = *refusal;
}

/* As an event, since the text holds a peer's words, which must not pass for a line of ours. */
void attempt_log(
    const char *session, enum log_level level, const char *event, const struct refusal *refusal)
{
	struct log_line line;

	log_begin(&line, level, event);
	log_value(&line, "session", session);
	log_value(&line, "reason", reason_code(refusal->reason));
	log_value(&line, "text", refusal->text);
	log_end(&line);
}

/* ---- an address ---- */

/* The address to leave with; NULL: our own. */
static const struct addr *source_of(const struct attempt *a)
{
	return a->plan.interception->keeps_source ? &a->plan.interception->source : NULL;
}

/* Those that did not greet a moment ago go last; the order is kept otherwise. */
static void take_addresses(struct attempt *a, const struct route *route)
{
	struct addr ordered[ROUTE_ADDR_MAX];
	size_t count =
	    intercept_order(a->plan.interception, route->addresses, route->address_count, ordered);

	a->addresses = mem_alloc((count ? count : 1) * sizeof *a->addresses);
	for (int dead = 0; dead < 2; dead++) {
		for (size_t i = 0; i < count; i++) {
			bool is_dead =
			    setbacks_is_dead(a->proxy->setbacks, &ordered[i], source_of(a));

			if (is_dead == dead)
				a->addresses[a->address_count++] = ordered[i];
		}
	}
}

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg);

static struct smtp_client_target target_of(const struct attempt *a)
{
	const struct interception *i = a->plan.interception;

	return (struct smtp_client_target){
	    .host = a->plan.route->host,
	    .address = current_address(a),
	    .rule = a->plan.rule,
	    .in_clear = a->in_clear,
	    .keeps_session = !a->plan.is_relaxed && !a->is_full_handshake,
	    .source = source_of(a),
	    .ehlo = i->keeps_source ? i->ehlo : NULL,
	};
}

static void connect_anew(struct attempt *a)
{
	struct smtp_client_target target = target_of(a);

	a->is_reused = false;
	pool_got_room(a->proxy->pool, &a->place);
	a->client = smtp_client_start(a->proxy, &target, on_client, a);
}

static bool reuse(struct attempt *a)
{
	struct smtp_client_target target = target_of(a);

	if (a->plan.is_anew)
		return false;
	a->client = pool_take(a->proxy->pool, a->plan.next_hop, &target);
	if (!a->client)
		return false;
	a->is_reused = true;
	pool_got_room(a->proxy->pool, &a->place);
	smtp_client_set_owner(a->client, on_client, a);
	/*
	 * Nothing is asked first. The last envelope ended with a reply and the connection was quiet
	 * since, so MAIL may follow; if it died unnoticed the delivery replaces it in silence
	 * (R-SMTP-81).
	 */
	if (smtp_client_is_ready(a->client))
		finish(a);
	return true;
}

/* What failed may have been asked for under another host's name, which is nobody's business here.
 */
static void note_known(struct attempt *a, const struct refusal *known)
{
	const char *host = a->plan.route->host;
	char text[ADDR_TEXT];
	struct refusal refusal = *known;

	if (!strstr(known->text, host))
		refusal_set(&refusal, known->reason,
		    "%s%s: this address failed a moment ago, it will be tried again soon", host,
		    addr_bracketed(current_address(a), text));
	note_failure(a, &refusal);
}

static void refuse_busy(const struct attempt *a, struct refusal *busy)
{
	const char *host = a->plan.route->host;
	char text[ADDR_TEXT];

	addr_bracketed(current_address(a), text);
	if (a->room == POOL_BACKED_OFF)
		refusal_set(busy, REASON_BUSY,
		    "%s%s said 421 lately, and gets fewer connections for a while; try again soon",
		    host, text);
	else if (a->room == POOL_TURNED_AWAY)
		refusal_set(busy, REASON_CONNECT_FAILED,
		    "%s%s said 421 a moment ago; this address will be tried again soon", host,
		    text);
	else if (a->room == POOL_PROVIDER_FULL)
		refusal_set(busy, REASON_BUSY,
		    "%s%s: the hosts of %s have as many connections as a provider may, %d times "
		    "[limits] next_hop_connections; try again soon",
		    host, text, pool_hop_provider(host), PROVIDER_SHARE);
	else
		refusal_set(busy, REASON_BUSY,
		    "%s%s has as many connections as [limits] next_hop_connections allows; "
		    "try again soon",
		    host, text);
}

static void note_busy(struct attempt *a)
{
	struct refusal busy;

	refuse_busy(a, &busy);
	note_failure(a, &busy);
}

/* On a turn of its own: the call may come from inside of anything. */
static void on_call(void *arg)
{
	struct attempt *a = arg;

	ev_feed_event(a->proxy->loop, &a->turn, EV_TIMER);
}

static bool is_of_one_provider(const struct attempt *a)
{
	const char *provider = pool_hop_provider(a->plan.route->host);

	for (size_t i = 0; i < a->plan.further_count; i++) {
		if (strcmp(pool_hop_provider(a->plan.further[i].name), provider) != 0)
			return false;
	}
	return true;
}

/* Another address may have room, or another host. Not where all of them are one provider's, which
 * is full: then the best of them is waited for. */
static bool may_have_room_elsewhere(const struct attempt *a)
{
	if (a->room == POOL_PROVIDER_FULL && is_of_one_provider(a))
		return false;
	return a->address + 1 < a->address_count || a->plan.further_count > 0;
}

/* What an address said to one client that keeps its own is not for others to wait behind. */
static bool may_wait(const struct attempt *a)
{
	return a->room != POOL_TURNED_AWAY && !(a->room == POOL_BACKED_OFF && source_of(a)) &&
	       (a->plan.want == POOL_WAITS || a->plan.want == POOL_SPOOL);
}

static bool stand_in_queue(struct attempt *a, const struct pool_hop *hop)
{
	if (!may_wait(a) || may_have_room_elsewhere(a))
		return false;
	a->place.is_of_spool = a->plan.want == POOL_SPOOL;
	return pool_queue_up(a->proxy->pool, &a->place, hop, a->room);
}

/* Whoever waits for room goes first, but for who was called out of the queue. */
static enum pool_room awaited_room(const struct attempt *a)
{
	return a->place.is_called
		   ? POOL_ROOM
		   : pool_awaited_room(a->proxy->pool, current_address(a), a->plan.route->host);
}

static void connect_or_wait(struct attempt *a)
{
	struct pool_hop hop = pool_hop_of(current_address(a), a->plan.route->host);

	if (a->room == POOL_ROOM)
		a->room = pool_find_room(
		    a->proxy->pool, &hop, source_of(a), a->plan.want, a->place.is_called);
	if (a->room == POOL_ROOM) {
		connect_anew(a);
	} else if (!stand_in_queue(a, &hop)) {
		note_busy(a);
		try_next_address(a);
	}
}

static void try_address(struct attempt *a)
{
	const struct refusal *known;

	if (a->address >= a->address_count) {
		finish(a);
		return;
	}
	a->in_clear = a->is_full_handshake = false;
	a->room = awaited_room(a);
	if (a->room == POOL_ROOM && reuse(a))
		return;
	known = setbacks_find(a->proxy->setbacks, current_address(a), source_of(a), a->plan.rule);
	if (known) {
		note_known(a, known);
		try_next_address(a);
	} else {
		connect_or_wait(a);
	}
}

static void try_next_address(struct attempt *a)
{
	pool_leave(a->proxy->pool, &a->place);
	a->address++;
	try_address(a);
}

/* ---- what the connection says ---- */

/* On a fresh connection (R-TLSSEC-15). */
static void give_tls_up(struct attempt *a, const struct smtp_client_failure *failure)
{
	struct refusal refusal;

	refusal_set(&refusal, REASON_TLS_HANDSHAKE,
	    "%s: %s; TLS was optional here, trying in clear", smtp_client_name(a->client),
	    failure->text);
	attempt_log(a->plan.session, LOG_LEVEL_WARNING, "tls-given-up", &refusal);
	smtp_client_close(&a->client);
	a->in_clear = true;
	connect_anew(a);
}

/* 421 in place of service is no failure of the address but of the moment: while it serves others of
 * our connections, there is something to wait for (backoff.h). */
static void on_421(struct attempt *a)
{
	struct pool_hop hop = *smtp_client_hop(a->client);
	struct refusal refusal;

	hop_explain(a->plan.route, a->client, &refusal);
	note_failure(a, &refusal);
	smtp_client_close(&a->client);
	a->room =
	    pool_serves(a->proxy->pool, &hop, source_of(a)) ? POOL_BACKED_OFF : POOL_TURNED_AWAY;
	if (!stand_in_queue(a, &hop))
		try_next_address(a);
}

static void on_failed(struct attempt *a)
{
	const struct smtp_client_failure *failure = smtp_client_failure(a->client);
	struct refusal refusal;

	if (a->is_reused) { /* it died while idle: replaced in silence (R-SMTP-81) */
		smtp_client_close(&a->client);
		connect_or_wait(a);
		return;
	}
	if (smtp_client_said_421(a->client)) {
		on_421(a);
		return;
	}
	if (failure->stage == STAGE_TLS && smtp_client_offered_session(a->client) &&
	    !a->is_full_handshake) {
		smtp_client_close(&a->client);
		a->is_full_handshake = true;
		connect_anew(a);
		return;
	}
	if (failure->stage == STAGE_TLS && a->plan.rule->need == TLS_MAY && !a->in_clear) {
		give_tls_up(a, failure);
		return;
	}
	hop_explain(a->plan.route, a->client, &refusal);
	if (failure->stage == STAGE_TLS)
		route_recheck_sts(a->proxy->policy, a->plan.route);
	if (failure->reason != REASON_BUSY)
		setbacks_add(a->proxy->setbacks, current_address(a), source_of(a), a->plan.rule,
		    failure->stage == STAGE_CONNECT, &refusal);
	note_failure(a, &refusal);
	smtp_client_close(&a->client);
	try_next_address(a);
}

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg)
{
	struct attempt *a = arg;

	(void)client, (void)reply;
	if (event == CLIENT_READY)
		finish(a);
	else if (event == CLIENT_FAILED)
		on_failed(a);
}

/* ---- the beginning, and what it is at ---- */

/* Families are never mixed: a host is not reached from an address of the other one. */
static void note_no_address(struct attempt *a)
{
	struct refusal *refusal = &a->failure.refusal;
	bool is_v4 = a->plan.interception->source.sa.sa_family == AF_INET;

	refusal_set(refusal, REASON_NO_ADDRESS,
	    "%s has no %s address, and mail of this client leaves with its own %s address "
	    "([listener] preserve_source)",
	    a->plan.route->host, is_v4 ? "IPv4" : "IPv6", is_v4 ? "IPv4" : "IPv6");
	attempt_log(a->plan.session, LOG_LEVEL_INFO, "next-hop-failed", refusal);
}

static void on_turn(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct attempt *a = w->data;

	(void)loop, (void)revents;
	if (a->address_count == 0 && a->plan.interception->keeps_source)
		note_no_address(a);
	try_address(a);
}

struct attempt *attempt_start(
    struct proxy *proxy, const struct attempt_plan *plan, attempt_fn *callback, void *arg)
{
	struct attempt *a = mem_zero(1, sizeof *a);

	a->proxy = proxy;
	a->plan = *plan;
	a->callback = callback;
	a->arg = arg;
	a->place.call = on_call;
	a->place.arg = a;
	take_addresses(a, plan->route);
	ev_init(&a->turn, on_turn);
	a->turn.data = a;
	ev_feed_event(proxy->loop, &a->turn, EV_TIMER);
	return a;
}

void attempt_overdue(const struct attempt *a, struct attempt_failure *failure)
{
	*failure = a->failure;
	failure->has_address = a->client != NULL;
	if (a->place.is_queued) {
		refuse_busy(a, &failure->refusal);
		return;
	}
	if (a->client)
		failure->address = *current_address(a);
	refusal_set(&failure->refusal, REASON_CONNECT_FAILED,
	    "%s took too long (%s); the mail stays with you and may be tried again",
	    a->client ? smtp_client_name(a->client) : a->plan.route->host,
	    a->client ? smtp_client_state(a->client) : "routing");
}

const struct attempt_failure *attempt_last_failure(const struct attempt *a) { return &a->failure; }
