/*
 * worker.c - see worker.h.
 *
 *     starts -> serves -> leaves -> ends        a new worker has taken its place
 *                   \--> stops ----^            the service ends
 *
 * Each failure of a start is one line that says why, and an exit code of sysexits.h.
 */
#include "proxy/service/worker.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/sandbox.h"
#include "dnsval/probe.h"
#include "dnsval/resolver.h"
#include "policy/policy.h"
#include "proxy/alarm.h"
#include "proxy/duplicates.h"
#include "proxy/exception.h"
#include "proxy/intercept/intercept.h"
#include "proxy/intercept/loop_test.h"
#include "proxy/listener.h"
#include "proxy/machine.h"
#include "proxy/pool.h"
#include "proxy/service/certificates.h"
#include "proxy/service/sockets.h"
#include "proxy/shared/shared.h"
#include "proxy/smtp/smtp_client.h"
#include "proxy/spool/notice.h"
#include "proxy/spool/runner.h"
#include "proxy/transaction.h"
#include "proxy/worker_sandbox.h"
#include "tls/stream.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* How long last replies may take to leave once everything else has ended. */
#define FAREWELL 1.0
/* The loop test is over by then. */
#define PROVEN    1.2
#define HEARTBEAT 0.5

/* Of the time for sessions to finish, what those between messages may have, which a client's pool
 * of connections may use for more of them. */
static const double unhurried = 2. / 3;

struct worker {
	const struct worker_order *order;
	struct seat *seat;
	struct machine machine;
	size_t listener_count;
	struct listener **listeners;
	struct runner *runner;
	struct alarms *alarms;
	struct exceptions *exceptions;
	ev_signal on_leave, on_stop, on_cut;
	ev_timer heartbeat, proven, hurry, patience, farewell;
	ev_prepare progress;
	bool is_leaving;
	int code;
};

/* ---- how it is ---- */

static void ring(const struct worker *w)
{
	static const uint64_t once = 1;

	if (write(w->order->bell, &once, sizeof once) < 0)
		log_debug("the supervisor has not heard all bells yet");
}

static void say(struct worker *w, enum worker_state state)
{
	shared_say(&w->seat->state, state);
	ring(w);
}

/* Why is there before the word is; who reads both in the moment of a change sees an old reason. */
static void say_dnssec(struct worker *w)
{
	static const enum worker_dnssec words[] = {
	    [PROBE_PENDING] = DNSSEC_PENDING,
	    [PROBE_WORKING] = DNSSEC_WORKING,
	    [PROBE_BROKEN] = DNSSEC_BROKEN,
	};
	enum probe_state state = probe_state(w->machine.probe);

	if (state == PROBE_BROKEN)
		snprintf(w->seat->dnssec_why, sizeof w->seat->dnssec_why, "%s",
		    probe_why(w->machine.probe));
	shared_say(&w->seat->dnssec, words[state]);
	metrics_set_dnssec_working(state == PROBE_WORKING);
}

static void on_heartbeat(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct worker *w = timer->data;

	(void)loop, (void)revents;
	shared_say(&w->seat->heartbeat, w->seat->heartbeat + 1);
	say_dnssec(w);
	duplicates_count(w->machine.proxy.duplicates); /* hears what the others have told */
}

/* ---- starting ---- */

static void take_socket(int fd, const struct addr *address, void *arg)
{
	listener_add_socket(arg, fd, address);
}

static void make_listeners(struct worker *w)
{
	const struct worker_order *order = w->order;

	w->listeners = mem_zero(order->conf->listener_count, sizeof(struct listener *));
	for (size_t i = 0; i < order->conf->listener_count; i++) {
		const struct conf_listener *conf = &order->conf->listeners[i];
		struct listener *l = listener_new(conf);

		sockets_each(order->sockets, conf, order->slot, order->workers, take_socket, l);
		listener_offer_tls(l, certificates_get(order->certificates, i));
		w->listeners[w->listener_count++] = l;
	}
}

static bool start_listeners(struct worker *w)
{
	char *error = NULL;

	for (size_t i = 0; i < w->listener_count; i++) {
		if (!listener_start(w->listeners[i], &w->machine.proxy, &error))
			return machine_complain("", &error);
	}
	return true;
}

struct addresses {
	size_t count;
	struct addr *items;
};

static void add_address(int fd, const struct addr *address, void *arg)
{
	struct addresses *all = arg;

	(void)fd;
	if (all->count && addr_equal(&all->items[all->count - 1], address))
		return;
	all->items = mem_resize(all->items, all->count + 1, sizeof *all->items);
	all->items[all->count++] = *address;
}

/* An MX host at one of our own ports is ourselves. */
static void tell_own_addresses(struct worker *w)
{
	struct addresses all = {0};

	sockets_every(w->order->sockets, add_address, &all);
	policy_set_own(w->machine.proxy.policy, all.items, all.count);
	free(all.items);
}

/* Mail would go in circles, and each turn would cost a connection: better none at all. */
static void on_loop_found(void *arg)
{
	struct worker *w = arg;

	w->code = EX_UNAVAILABLE;
	say(w, WORKER_GIVES_UP);
	ev_break(w->machine.proxy.loop, EVBREAK_ALL);
}

static void on_proven(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)revents;
	say(timer->data, WORKER_SERVES);
}

/* While no other worker could accept what the test sends: it is served meanwhile, but the others
 * wait for the word. */
static void begin_to_serve(struct worker *w)
{
	struct proxy *proxy = &w->machine.proxy;

	if (!w->order->is_first || !intercept_is_used(w->order->conf)) {
		say(w, WORKER_SERVES);
		return;
	}
	proxy->loop_test = loop_test_start(proxy, on_loop_found, w);
	ev_timer_init(&w->proven, on_proven, PROVEN, 0.);
	w->proven.data = w;
	ev_timer_start(proxy->loop, &w->proven);
}

/* Nothing that needs more may come after it. */
static bool shut_in(const struct worker_order *order)
{
	char *error = NULL;

	if (!worker_sandbox_enter(order->conf, &error))
		return machine_complain("", &error);
	if (order->slot == 0)
		sandbox_log();
	return true;
}

static int prepare(struct worker *w, struct ev_loop *loop)
{
	const struct worker_order *order = w->order;
	struct proxy *proxy = &w->machine.proxy;
	int code;

	proxy->shared = order->shared;
	proxy->seat = order->seat;
	proxy->is_spokesman = order->slot == 0;
	if (intercept_marks(order->conf))
		proxy->mark = INTERCEPT_MARK;
	metrics_count_into(w->seat->metrics);
	make_listeners(w);
	code = machine_open(&w->machine, loop, order->conf);
	if (code != EX_OK)
		return code;
	policy_keep_decisions(proxy->policy);
	tell_own_addresses(w);
	if (!start_listeners(w))
		return EX_UNAVAILABLE;
	w->runner = runner_new(proxy);
	w->alarms = alarms_new(&w->machine);
	if (order->slot == 0)
		w->exceptions = exceptions_new(proxy);
	if (order->slot == 0)
		resolver_keep_anchor(w->machine.resolver, alarm_on_anchor, NULL);
	else
		resolver_follow_anchor(w->machine.resolver);
	w->heartbeat.data = w;
	ev_timer_init(&w->heartbeat, on_heartbeat, 0., HEARTBEAT);
	ev_timer_start(loop, &w->heartbeat);
	if (!shut_in(order))
		return EX_UNAVAILABLE;
	begin_to_serve(w);
	return EX_OK;
}

/* ---- ending ---- */

static size_t sessions_left(const struct worker *w)
{
	size_t left = 0;

	for (size_t i = 0; i < w->listener_count; i++)
		left += listener_sessions(w->listeners[i]);
	return left;
}

/* Before the loop waits: a check after the waiting would miss what the last callback of a turn
 * ended, and the next turn may be far. */
static void on_progress(struct ev_loop *loop, ev_prepare *prepare, int revents)
{
	struct worker *w = prepare->data;

	(void)revents;
	if (sessions_left(w) || w->machine.proxy.finals || w->machine.proxy.notices ||
	    !runner_is_idle(w->runner))
		return;
	if (!stream_is_any_finishing())
		ev_break(loop, EVBREAK_ALL);
	else if (!ev_is_active(&w->farewell))
		ev_timer_start(loop, &w->farewell);
}

/* A client that does not take its last reply does not hold us up. */
static void on_farewell_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer, (void)revents;
	ev_break(loop, EVBREAK_ALL);
}

static void cut_all(struct worker *w)
{
	log_warning("stopping now: %zu sessions are cut", sessions_left(w));
	transaction_cut_finals(&w->machine.proxy);
	for (size_t i = 0; i < w->listener_count; i++)
		listener_cut(w->listeners[i]);
	ev_break(w->machine.proxy.loop, EVBREAK_ALL);
}

static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)revents;
	cut_all(timer->data);
}

/* From here on whoever finishes a message hears that it was the last. */
static void shut_down(struct worker *w)
{
	w->machine.proxy.shutting_down = true;
	pool_drain(w->machine.proxy.pool);
	for (size_t i = 0; i < w->listener_count; i++)
		listener_shut_down(w->listeners[i]);
}

static void on_hurry(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)revents;
	shut_down(timer->data);
}

static void wait_for_sessions(struct worker *w, struct ev_loop *loop)
{
	ev_timer_init(&w->patience, on_patience_over, w->order->conf->timeouts.shutdown, 0.);
	ev_timer_init(&w->farewell, on_farewell_over, FAREWELL, 0.);
	ev_prepare_init(&w->progress, on_progress);
	w->patience.data = w->progress.data = w;
	ev_timer_start(loop, &w->patience);
	ev_prepare_start(loop, &w->progress);
}

static void accept_no_more(struct worker *w)
{
	w->is_leaving = true;
	for (size_t i = 0; i < w->listener_count; i++)
		listener_stop(w->listeners[i]);
	runner_stop(w->runner);
	wait_for_sessions(w, w->machine.proxy.loop);
	say(w, WORKER_LEAVES);
}

static void on_leave(struct ev_loop *loop, ev_signal *signal, int revents)
{
	struct worker *w = signal->data;

	(void)revents;
	if (w->is_leaving)
		return;
	log_info("replaced: %zu sessions may finish, for at most %g s", sessions_left(w),
	    w->order->conf->timeouts.shutdown);
	accept_no_more(w);
	ev_timer_init(&w->hurry, on_hurry, w->order->conf->timeouts.shutdown * unhurried, 0.);
	w->hurry.data = w;
	ev_timer_start(loop, &w->hurry);
}

/* The service manager may tell each process what the supervisor tells us, too: once is enough. */
static void on_stop(struct ev_loop *loop, ev_signal *signal, int revents)
{
	struct worker *w = signal->data;

	(void)loop, (void)revents;
	if (w->machine.proxy.shutting_down)
		return;
	log_info("stopping: %zu sessions may finish their message, for at most %g s",
	    sessions_left(w), w->order->conf->timeouts.shutdown);
	shut_down(w);
	if (!w->is_leaving)
		accept_no_more(w);
}

static void on_cut(struct ev_loop *loop, ev_signal *signal, int revents)
{
	(void)loop, (void)revents;
	cut_all(signal->data);
}

static void watch(struct worker *w, struct ev_loop *loop, ev_signal *watcher,
    void (*callback)(struct ev_loop *, ev_signal *, int), int number)
{
	ev_signal_init(watcher, callback, number);
	watcher->data = w;
	ev_signal_start(loop, watcher);
}

/* What the terminal sends to all is the supervisor's to hear. */
static void watch_signals(struct worker *w, struct ev_loop *loop)
{
	sigset_t none;

	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	watch(w, loop, &w->on_leave, on_leave, WORKER_LEAVE);
	watch(w, loop, &w->on_stop, on_stop, WORKER_STOP);
	watch(w, loop, &w->on_cut, on_cut, WORKER_CUT);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Replies and close_notify of the last turn get a moment to leave. */
static void last_turns(struct ev_loop *loop)
{
	for (int i = 0; i < 3; i++)
		ev_run(loop, EVRUN_NOWAIT);
}

static void tear_down(struct worker *w, struct ev_loop *loop)
{
	struct proxy *proxy = &w->machine.proxy;

	loop_test_free(&proxy->loop_test);
	notices_end(proxy);
	runner_free(&w->runner);
	alarms_free(&w->alarms);
	exceptions_free(&w->exceptions);
	if (proxy->pool)
		pool_drain(proxy->pool);
	last_turns(loop);
	smtp_client_close_late(proxy);
	stream_close_finishing(); /* before the listeners, which count them */
	for (size_t i = 0; i < w->listener_count; i++)
		listener_free(&w->listeners[i]);
	free(w->listeners);
	reap_now();
	machine_close(&w->machine);
	log_close();
}

int worker_run(const struct worker_order *order)
{
	struct worker w = {.order = order, .seat = shared_seat(order->shared, order->seat)};
	struct ev_loop *loop = ev_loop_new(0);

	log_open(order->conf->log.target, order->conf->log.format, order->conf->log.level);
	watch_signals(&w, loop);
	w.code = prepare(&w, loop);
	if (w.code == EX_OK)
		ev_run(loop, 0);
	tear_down(&w, loop);
	return w.code;
}
