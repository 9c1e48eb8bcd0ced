/*
 * serve.c - the service: binds, gives privileges away, builds the machine, listens, and ends in
 * order.
 *
 * Order of a start: configuration, descriptors, bind, drop privileges, the machine (policy store,
 * resolver, TLS, policy), listen. Each failure is one line that says why, and an exit code of
 * sysexits.h.
 */
#include "proxy/serve.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/sandbox.h"
#include "dnsval/resolver.h"
#include "policy/policy.h"
#include "proxy/admin.h"
#include "proxy/alarm.h"
#include "proxy/exception.h"
#include "proxy/intercept/intercept.h"
#include "proxy/listener.h"
#include "proxy/intercept/loop_test.h"
#include "proxy/machine.h"
#include "proxy/spool/notice.h"
#include "proxy/pool.h"
#include "proxy/privileges.h"
#include "proxy/spool/runner.h"
#include "proxy/smtp/smtp_client.h"
#include "proxy/transaction.h"
#include "proxy/version.h"
#include "proxy/worker_sandbox.h"
#include "tls/server.h"
#include "tls/socket.h"
#include "tls/stream.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* How long last replies may take to leave once everything else has ended. */
#define FAREWELL 1.0

static const char serve_usage[] =
    "danelaw serve [-c FILE] [-o section.key=value]\n"
    "\n"
    "Serves in the foreground until SIGTERM or SIGINT; a second one ends it at once.\n"
    "-t tests the configuration instead. Settings: see danelaw --help.\n";

struct service {
	struct machine machine;
	size_t listener_count;
	struct listener **listeners;
	struct tls_server **certificates; /* one for each listener; NULL: none */
	struct admin *admin;
	struct runner *runner;
	struct alarms *alarms;
	struct exceptions *exceptions;
	ev_signal on_term, on_int, on_hup;
	ev_timer patience, farewell;
	ev_prepare progress;
	int code; /* the program's exit code */
};

/* ---- starting ---- */

static void free_certificates(struct service *s)
{
	for (size_t i = 0; s->certificates && i < s->machine.conf->listener_count; i++)
		tls_server_free(&s->certificates[i]);
	free(s->certificates);
}

/* While we may still read what belongs to root. */
static bool load_certificates(struct service *s)
{
	char *error = NULL, *place;
	bool good = true;

	s->certificates = mem_zero(s->machine.conf->listener_count, sizeof *s->certificates);
	for (size_t i = 0; i < s->machine.conf->listener_count; i++) {
		const struct conf_listener *conf = &s->machine.conf->listeners[i];

		if (!conf->tls_certificate[0])
			continue;
		s->certificates[i] = tls_server_new(conf->tls_certificate, conf->tls_key, &error);
		if (s->certificates[i])
			continue;
		place = mem_printf("[listener %s] ", conf->name);
		good = machine_complain(place, &error);
		free(place);
	}
	return good;
}

static bool bind_listeners(struct service *s)
{
	char *error = NULL;

	s->listeners = mem_zero(s->machine.conf->listener_count, sizeof(struct listener *));
	for (size_t i = 0; i < s->machine.conf->listener_count; i++) {
		s->listeners[i] = listener_bind(&s->machine.conf->listeners[i], &error);
		if (!s->listeners[i])
			return machine_complain("", &error);
		listener_offer_tls(s->listeners[i], s->certificates[i]);
		s->listener_count++;
	}
	s->admin = admin_bind(s->machine.conf, &error);
	return s->admin || machine_complain("", &error);
}

static bool start_listeners(struct service *s)
{
	char *error = NULL;

	for (size_t i = 0; i < s->listener_count; i++) {
		if (!listener_start(s->listeners[i], &s->machine.proxy, &error))
			return machine_complain("", &error);
	}
	return admin_start(s->admin, &s->machine, &error) || machine_complain("", &error);
}

/* Mail would go in circles, and each turn would cost a connection: better none at all. */
static void on_loop_found(void *arg)
{
	struct service *s = arg;

	s->code = EX_UNAVAILABLE;
	ev_break(s->machine.proxy.loop, EVBREAK_ALL);
}

static void test_for_loops(struct service *s)
{
	bool intercepts = false;

	for (size_t i = 0; i < s->machine.conf->listener_count; i++)
		intercepts |= s->machine.conf->listeners[i].intercept != INTERCEPT_OFF;
	if (intercepts)
		s->machine.proxy.loop_test = loop_test_start(&s->machine.proxy, on_loop_found, s);
}

/* Linux before 5.17 wants CAP_NET_ADMIN for it, with which danelaw could change the network. Better
 * no start than one after which no mail can leave. */
static bool take_mark(struct service *s)
{
	char *error;

	if (!intercept_marks(s->machine.conf))
		return true;
	s->machine.proxy.mark = INTERCEPT_MARK;
	if (socket_may_mark(INTERCEPT_MARK))
		return true;
	error = mem_printf("intercept = tproxy must mark its connections to mail hosts (SO_MARK), "
			   "which needs Linux 5.17 or later: %s",
	    strerror(errno));
	return machine_complain("", &error);
}

/* An MX host at one of our own ports is ourselves. */
static void tell_own_addresses(struct service *s)
{
	struct addr *all = NULL;
	size_t total = 0;

	for (size_t i = 0; i < s->listener_count; i++) {
		size_t count;
		const struct addr *some = listener_addresses(s->listeners[i], &count);

		all = mem_resize(all, total + count, sizeof *all);
		memcpy(all + total, some, count * sizeof *all);
		total += count;
	}
	policy_set_own(s->machine.proxy.policy, all, total);
	free(all);
}

static void tell_capacity(const struct conf *conf, size_t fit)
{
	size_t wanted = 0;

	for (size_t i = 0; i < conf->listener_count; i++)
		wanted += conf->listeners[i].max_sessions;
	log_info("descriptors for %zu sessions", fit);
	if (fit < wanted)
		log_warning(
		    "max_sessions asks for %zu sessions, the limit of open files allows %zu",
		    wanted, fit);
}

static void tell_name(const struct conf *conf)
{
	log_info(
	    "recipients without a domain (<postmaster>) are refused: there are no mailboxes here");
	if (!conf->server.hostname[0])
		log_warning("this host has no full name: next hops are greeted with an address "
			    "literal, which some refuse "
			    "(set [server] hostname)");
}

/* ---- ending ---- */

static size_t sessions_left(const struct service *s)
{
	size_t left = 0;

	for (size_t i = 0; i < s->listener_count; i++)
		left += listener_sessions(s->listeners[i]);
	return left;
}

/* Before the loop waits: a check after the waiting would miss what the last callback of a turn
 * ended, and the next turn may be far. */
static void on_progress(struct ev_loop *loop, ev_prepare *w, int revents)
{
	struct service *s = w->data;

	(void)revents;
	if (sessions_left(s) || s->machine.proxy.finals || s->machine.proxy.notices ||
	    !runner_is_idle(s->runner))
		return;
	if (!stream_is_any_finishing())
		ev_break(loop, EVBREAK_ALL);
	else if (!ev_is_active(&s->farewell))
		ev_timer_start(loop, &s->farewell);
}

/* A client that does not take its last reply does not hold us up. */
static void on_farewell_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)w, (void)revents;
	ev_break(loop, EVBREAK_ALL);
}

static void cut_all(struct service *s)
{
	log_warning("stopping now: %zu sessions are cut", sessions_left(s));
	transaction_cut_finals(&s->machine.proxy);
	for (size_t i = 0; i < s->listener_count; i++)
		listener_cut(s->listeners[i]);
	ev_break(s->machine.proxy.loop, EVBREAK_ALL);
}

static void on_patience_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	cut_all(w->data);
}

/* The first asks us to stop; a second one means at once. */
static void on_stop_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct service *s = w->data;

	(void)revents;
	if (s->machine.proxy.shutting_down) {
		cut_all(s);
		return;
	}
	log_info("stopping: %zu sessions may finish their message, for at most %g s",
	    sessions_left(s), s->machine.conf->timeouts.shutdown);
	s->machine.proxy.shutting_down = true;
	pool_drain(s->machine.proxy.pool);
	for (size_t i = 0; i < s->listener_count; i++)
		listener_stop(s->listeners[i]);
	runner_stop(s->runner);
	ev_timer_init(&s->patience, on_patience_over, s->machine.conf->timeouts.shutdown, 0.);
	s->patience.data = s;
	ev_timer_start(loop, &s->patience);
	ev_timer_init(&s->farewell, on_farewell_over, FAREWELL, 0.);
	ev_prepare_init(&s->progress, on_progress);
	s->progress.data = s;
	ev_prepare_start(loop, &s->progress);
}

/* A closed terminal or a habit of log rotation must not end the service. */
static void on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop, (void)w, (void)revents;
	log_info("SIGHUP is ignored: settings are read at start");
}

static void watch_signals(struct service *s)
{
	ev_signal_init(&s->on_hup, on_hangup, SIGHUP);
	ev_signal_start(s->machine.proxy.loop, &s->on_hup);
	ev_signal_init(&s->on_term, on_stop_signal, SIGTERM);
	ev_signal_init(&s->on_int, on_stop_signal, SIGINT);
	s->on_term.data = s->on_int.data = s;
	ev_signal_start(s->machine.proxy.loop, &s->on_term);
	ev_signal_start(s->machine.proxy.loop, &s->on_int);
}

/* Replies and close_notify of the last turn get a moment to leave. */
static void last_turns(struct ev_loop *loop)
{
	for (int i = 0; i < 3; i++)
		ev_run(loop, EVRUN_NOWAIT);
}

static void tear_down(struct service *s)
{
	struct proxy *proxy = &s->machine.proxy;

	loop_test_free(&proxy->loop_test);
	notices_end(proxy);
	runner_free(&s->runner);
	alarms_free(&s->alarms);
	exceptions_free(&s->exceptions);
	if (proxy->pool)
		pool_drain(proxy->pool);
	if (proxy->loop)
		last_turns(proxy->loop);
	smtp_client_close_late(proxy);
	stream_close_finishing(); /* before the listeners, which count them */
	for (size_t i = 0; i < s->listener_count; i++)
		listener_free(&s->listeners[i]);
	free(s->listeners);
	free_certificates(s);
	admin_free(&s->admin);
	reap_now();
	machine_close(&s->machine);
	log_close();
}

/* ---- serving ---- */

/* Nothing that needs more may come after it. */
static bool shut_in(const struct conf *conf)
{
	char *error = NULL;

	if (!worker_sandbox_enter(conf, &error))
		return machine_complain("", &error);
	sandbox_log();
	return true;
}

static int prepare(struct service *s)
{
	struct conf *conf = s->machine.conf;
	char *error = NULL;
	size_t fit = privileges_raise_descriptors();
	int code;

	if (!load_certificates(s))
		return EX_CONFIG;
	if (!bind_listeners(s))
		return EX_UNAVAILABLE;
	if (!privileges_drop(conf, &error)) {
		machine_complain("", &error);
		return EX_CONFIG;
	}
	if (!take_mark(s))
		return EX_UNAVAILABLE;
	code = machine_open(&s->machine, ev_default_loop(0), conf);
	if (code != EX_OK)
		return code;
	tell_name(conf);
	tell_capacity(conf, fit);
	tell_own_addresses(s);
	watch_signals(s); /* whoever is served may ask us to stop */
	if (!start_listeners(s))
		return EX_UNAVAILABLE;
	test_for_loops(s);
	s->runner = runner_new(&s->machine.proxy);
	s->alarms = alarms_new(&s->machine);
	s->exceptions = exceptions_new(&s->machine.proxy);
	resolver_keep_anchor(s->machine.resolver, alarm_on_anchor, NULL);
	return shut_in(conf) ? EX_OK : EX_UNAVAILABLE;
}

static int serve(struct conf *conf)
{
	struct service s = {.machine.conf = conf};

	log_open(conf->log.target, conf->log.format, conf->log.level);
	log_info("danelaw %s (%s) starts", danelaw_version, danelaw_commit);
	s.code = prepare(&s);
	if (s.code == EX_OK) {
		ev_run(s.machine.proxy.loop, 0);
		log_info("stopped");
	}
	tear_down(&s);
	return s.code;
}

/* -t: everything that a start would refuse before it opens a socket; nothing is written. */
static int test(const struct command_line *line, struct conf *conf)
{
	char *error = NULL;
	struct service certificates = {.machine.conf = conf};
	struct ev_loop *loop = ev_loop_new(0);
	struct resolver *resolver;
	int code = EX_OK;

	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	resolver = resolver_new(loop, conf, &error);
	if (!resolver) {
		machine_complain("", &error);
		code = EX_CONFIG;
	} else if (!line->path && access(CONF_DEFAULT_PATH, F_OK)) {
		fputs("danelaw: there is no " CONF_DEFAULT_PATH
		      ": the built-in defaults were tested\n",
		    stderr);
	}
	if (!load_certificates(&certificates))
		code = EX_CONFIG;
	free_certificates(&certificates);
	resolver_free(&resolver);
	reap_now();
	ev_loop_destroy(loop);
	conf_free(&conf);
	return code;
}

/* danelaw alone serves, too: then there is no name, and nothing behind it. */
int serve_command(struct command_line *line)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	struct conf *conf;
	int option;

	while ((option = command_line_next(line, "t", longs)) != -1) {
		if (option == 'h') {
			fputs(serve_usage, stdout);
			return EX_OK;
		}
		if (option != 't')
			return EX_USAGE;
		line->test_only = true;
	}
	if (optind < line->argc) {
		fprintf(stderr, "danelaw: serve takes no argument: %s\ntry: danelaw --help\n",
		    line->argv[optind]);
		return EX_USAGE;
	}
	conf = command_line_conf(line);
	if (!conf)
		return EX_CONFIG;
	return line->test_only ? test(line, conf) : serve(conf);
}
