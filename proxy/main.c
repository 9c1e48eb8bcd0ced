/*
 * main.c - the command line, and the one place that builds the long-lived objects and hands them to
 * each other.
 *
 * Order of a start: configuration, descriptors, bind, drop privileges, policy store (which forks),
 * resolver (never before a change of process or user), TLS, policy, listen. Each failure is one
 * line that says why, and an exit code of sysexits.h.
 */
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "dnsval/probe.h"
#include "dnsval/resolver.h"
#include "policy/fetch.h"
#include "policy/mtasts.h"
#include "policy/policy.h"
#include "policy/store.h"
#include "proxy/listener.h"
#include "proxy/pool.h"
#include "proxy/privileges.h"
#include "proxy/proxy.h"
#include "proxy/setbacks.h"
#include "proxy/smtp_client.h"
#include "proxy/transaction.h"
#include "tls/ctx.h"
#include "tls/stream.h"
#include "version.h"

#include <ev.h>
#include <getopt.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unbound.h>

static const char usage[] =
    "danelaw: delivers plain SMTP over STARTTLS proven by DANE or MTA-STS\n"
    "\n"
    "  danelaw [serve]           serve in the foreground\n"
    "  danelaw -t                test the configuration: exit 0, or 78 with FILE:LINE: message\n"
    "  danelaw -V, --version     versions of danelaw and of the libraries it runs with\n"
    "  danelaw -h, --help        this\n"
    "\n"
    "  -c FILE                   configuration (default " CONF_DEFAULT_PATH ";\n"
    "                            without that file built-in defaults:\n"
    "                            a smarthost on port 2525 for this host)\n"
    "  -o section.key=value      replaces a setting of the file; may be repeated, the last wins\n"
    "\n"
    "exit: 0 fine; 64 usage; 69 cannot bind or start; 70 our bug; 78 configuration\n";

/* How long last replies may take to leave once everything else has ended. */
#define FAREWELL 1.0

struct arguments {
	const char *path;
	const char **options;
	size_t option_count;
	bool test_only;
};

struct service {
	struct proxy proxy;
	struct conf *conf;
	struct store *store;
	struct resolver *resolver;
	struct probe *probe;
	bool dns_was_broken;
	struct fetcher *fetcher;
	struct mtasts *mtasts;
	size_t listener_count;
	struct listener **listeners;
	ev_signal on_term, on_int, on_hup;
	ev_timer patience, farewell;
	ev_prepare progress;
};

/* ---- the command line ---- */

static void print_version(void)
{
	printf("danelaw %s (%s)\n%s\nlibunbound %s\nlibev %d.%d\n", DANELAW_VERSION, DANELAW_COMMIT,
	    OpenSSL_version(OPENSSL_VERSION), ub_version(), ev_version_major(), ev_version_minor());
	printf("libcurl %s\nSQLite %s\n", fetch_library_version(), store_library_version());
}

/* Returns -1 to go on, else the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = {{"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int option;

	a->options = mem_zero((size_t)argc, sizeof *a->options);
	while ((option = getopt_long(argc, argv, "c:o:tVh", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			a->path = optarg;
			break;
		case 'o':
			a->options[a->option_count++] = optarg;
			break;
		case 't':
			a->test_only = true;
			break;
		case 'V':
			print_version();
			return EX_OK;
		case 'h':
			fputs(usage, stdout);
			return EX_OK;
		default:
			fputs("try: danelaw --help\n", stderr);
			return EX_USAGE;
		}
	}
	if (optind < argc && strcmp(argv[optind], "serve") == 0)
		optind++;
	if (optind < argc) {
		fprintf(
		    stderr, "danelaw: unknown command: %s\ntry: danelaw --help\n", argv[optind]);
		return EX_USAGE;
	}
	return -1;
}

/* ---- starting ---- */

static bool complain(const char *what, char **error)
{
	fprintf(stderr, "danelaw: %s%s\n", what, *error ? *error : "");
	free(*error);
	*error = NULL;
	return false;
}

static struct conf *load_conf(const struct arguments *a)
{
	struct conf_report report = {0};
	struct conf *conf = conf_load(a->path, a->options, a->option_count, &report);

	for (size_t i = 0; i < report.error_count; i++)
		fprintf(stderr, "%s\n", report.errors[i]);
	for (size_t i = 0; i < report.warning_count; i++)
		fprintf(stderr, "%s\n", report.warnings[i]);
	conf_report_free(&report);
	return conf;
}

static bool bind_listeners(struct service *s)
{
	char *error = NULL;

	s->listeners = mem_zero(s->conf->listener_count, sizeof(struct listener *));
	for (size_t i = 0; i < s->conf->listener_count; i++) {
		s->listeners[i] = listener_bind(&s->conf->listeners[i], &error);
		if (!s->listeners[i])
			return complain("", &error);
		s->listener_count++;
	}
	return true;
}

static bool start_listeners(struct service *s)
{
	char *error = NULL;

	for (size_t i = 0; i < s->listener_count; i++) {
		if (!listener_start(s->listeners[i], &s->proxy, &error))
			return complain("", &error);
	}
	return true;
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
	policy_set_own(s->proxy.policy, all, total);
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

/* libunbound remembers for a while what it could not get; mail should not wait for that when DNS is
 * back (R-DNS-37). */
static void on_probe(enum probe_state state, void *arg)
{
	struct service *s = arg;

	if (state == PROBE_BROKEN)
		s->dns_was_broken = true;
	else if (s->dns_was_broken)
		resolver_renew(s->resolver);
}

static bool build_tls(struct service *s)
{
	char *error = NULL;

	s->proxy.tls = tls_contexts_new(s->conf->tls.ca_file, &error);
	if (!s->proxy.tls)
		return complain("cannot set up TLS: ", &error);
	if (tls_contexts_ca_error(s->proxy.tls)[0])
		log_error("%s: no MTA-STS policy can be fetched, and destinations under one that "
			  "enforces or under level secure are refused until it is there",
		    tls_contexts_ca_error(s->proxy.tls));
	return true;
}

static bool build_mtasts(struct service *s)
{
	char *error = NULL;

	s->fetcher = fetcher_new(s->proxy.loop, s->conf, s->resolver, &error);
	if (!s->fetcher)
		return complain("cannot set up HTTPS: ", &error);
	s->mtasts = mtasts_new(s->proxy.loop, s->conf, s->resolver, s->fetcher, s->store);
	return true;
}

static bool build(struct service *s)
{
	s->proxy.conf = s->conf;
	if (!build_tls(s) || !build_mtasts(s))
		return false;
	s->probe = probe_new(s->proxy.loop, s->conf);
	probe_watch(s->probe, on_probe, s);
	s->proxy.policy = policy_new(s->proxy.loop, s->conf, s->resolver, s->probe, s->mtasts);
	s->proxy.setbacks = setbacks_new();
	s->proxy.pool = pool_new(&s->proxy);
	return true;
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
	if (sessions_left(s) || s->proxy.finals)
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
	transaction_cut_finals(&s->proxy);
	for (size_t i = 0; i < s->listener_count; i++)
		listener_cut(s->listeners[i]);
	ev_break(s->proxy.loop, EVBREAK_ALL);
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
	if (s->proxy.shutting_down) {
		cut_all(s);
		return;
	}
	log_info("stopping: %zu sessions may finish their message, for at most %g s",
	    sessions_left(s), s->conf->timeouts.shutdown);
	s->proxy.shutting_down = true;
	pool_drain(s->proxy.pool);
	for (size_t i = 0; i < s->listener_count; i++)
		listener_stop(s->listeners[i]);
	ev_timer_init(&s->patience, on_patience_over, s->conf->timeouts.shutdown, 0.);
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
	ev_signal_start(s->proxy.loop, &s->on_hup);
	ev_signal_init(&s->on_term, on_stop_signal, SIGTERM);
	ev_signal_init(&s->on_int, on_stop_signal, SIGINT);
	s->on_term.data = s->on_int.data = s;
	ev_signal_start(s->proxy.loop, &s->on_term);
	ev_signal_start(s->proxy.loop, &s->on_int);
}

/* Replies and close_notify of the last turn get a moment to leave. */
static void last_turns(struct ev_loop *loop)
{
	for (int i = 0; i < 3; i++)
		ev_run(loop, EVRUN_NOWAIT);
}

static void tear_down(struct service *s)
{
	if (s->proxy.pool)
		pool_drain(s->proxy.pool);
	if (s->proxy.loop)
		last_turns(s->proxy.loop);
	smtp_client_close_late(&s->proxy);
	stream_close_finishing(); /* before the listeners, which count them */
	for (size_t i = 0; i < s->listener_count; i++)
		listener_free(&s->listeners[i]);
	free(s->listeners);
	reap_now();
	pool_free(&s->proxy.pool);
	setbacks_free(&s->proxy.setbacks);
	policy_free(&s->proxy.policy);
	mtasts_free(&s->mtasts);
	fetcher_free(&s->fetcher);
	store_close(&s->store);
	probe_free(&s->probe);
	resolver_free(&s->resolver);
	tls_contexts_free(&s->proxy.tls);
	reap_now();
	if (s->proxy.loop)
		ev_loop_destroy(s->proxy.loop);
	conf_free(&s->conf);
	log_close();
}

/* ---- serving ---- */

/* 78 where the resolver's settings are at fault: it tells what libunbound would only tell at the
 * first lookup. */
static int prepare(struct service *s)
{
	char *error = NULL;
	size_t fit = privileges_raise_descriptors();

	if (!bind_listeners(s))
		return EX_UNAVAILABLE;
	if (!privileges_drop(s->conf, &error)) {
		complain("", &error);
		return EX_CONFIG;
	}
	s->proxy.loop = ev_default_loop(0);
	s->store = store_open(s->proxy.loop, s->conf);
	s->resolver = resolver_new(s->proxy.loop, s->conf, &error);
	if (!s->resolver) {
		complain("", &error);
		return EX_CONFIG;
	}
	if (!build(s))
		return EX_UNAVAILABLE;
	tell_name(s->conf);
	tell_capacity(s->conf, fit);
	tell_own_addresses(s);
	if (!start_listeners(s))
		return EX_UNAVAILABLE;
	resolver_keep_anchor(s->resolver);
	return EX_OK;
}

static int serve(struct conf *conf)
{
	struct service s = {.conf = conf};
	int code;

	log_open(conf->log.target, conf->log.format, conf->log.level);
	log_info("danelaw %s (%s) starts", DANELAW_VERSION, DANELAW_COMMIT);
	code = prepare(&s);
	if (code == EX_OK) {
		watch_signals(&s);
		ev_run(s.proxy.loop, 0);
		log_info("stopped");
	}
	tear_down(&s);
	return code;
}

/* -t: everything that a start would refuse before it opens a socket; nothing is written. */
static int test(struct conf *conf)
{
	char *error = NULL;
	struct ev_loop *loop = ev_loop_new(0);
	struct resolver *resolver;
	int code = EX_OK;

	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	resolver = resolver_new(loop, conf, &error);
	if (!resolver) {
		complain("", &error);
		code = EX_CONFIG;
	}
	resolver_free(&resolver);
	reap_now();
	ev_loop_destroy(loop);
	conf_free(&conf);
	return code;
}

int main(int argc, char **argv)
{
	struct arguments arguments = {0};
	int code = parse_arguments(argc, argv, &arguments);
	struct conf *conf;

	if (code < 0) {
		signal(SIGPIPE, SIG_IGN); /* before any library may write to a socket (R-NET-17) */
		tls_library_init();
		conf = load_conf(&arguments);
		if (!conf)
			code = EX_CONFIG;
		else
			code = arguments.test_only ? test(conf) : serve(conf);
	}
	free(arguments.options);
	return code;
}
