/*
 * test_probe.c - the probe, and the keeper of the root anchor, against a forwarder that signs
 * nothing.
 *
 * That everything works where zones are signed is the lab's to show. The root is asked for with an
 * anchor for signed.example alone (insecure), or with the real one (nothing fits it: failed).
 */
#include "dnsval/probe.h"

#include "conf/conf.h"
#include "conf/mem.h"
#include "dns_server.h"
#include "dnsval/resolver.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char anchor_text[] =
    "signed.example. IN DS 4711 13 2 "
    "683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16\n";

static struct world {
	struct dns_server server;
	struct ev_loop *loop;
	struct addr forwarder;
	struct conf_dns_view view;
	struct conf conf;
	char dir[64];
	char *anchor_file;
	char name[64];
	unsigned calls, changes;
	enum probe_state told;
	bool inside;
} w;

static char *path_of(const char *name) { return mem_printf("%s/%s", w.dir, name); }

static int setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof w);
	w.loop = ev_loop_new(EVFLAG_AUTO);
	dns_server_start(&w.server);
	addr_parse_ip(&w.forwarder, "127.0.0.1", w.server.port);
	w.view.forward = (struct conf_addrs){1, &w.forwarder};
	strcpy(w.dir, "/tmp/danelaw-test-probe-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	w.anchor_file = path_of("mine");
	FILE *file = fopen(w.anchor_file, "w");

	fputs(anchor_text, file);
	fclose(file);
	strcpy(w.name, "www.example");
	w.conf.dns.view_count = 1;
	w.conf.dns.views = &w.view;
	w.conf.dns.timeout = 5;
	w.conf.dns.trust_anchor = w.anchor_file;
	w.conf.dns.probe_name = w.name;
	w.conf.dns.probe_type = DNS_A;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {
	    "mine", "root.key", "root.key.seed", "root.key.lock", "root.key.draft"};

	(void)state;
	dns_server_stop(&w.server);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char *path = path_of(names[i]);

		unlink(path);
		free(path);
	}
	assert_int_equal(rmdir(w.dir), 0); /* nothing else was left behind */
	free(w.anchor_file);
	ev_loop_destroy(w.loop);
	return 0;
}

static void on_known(enum probe_state state, void *arg)
{
	(void)arg;
	assert_false(w.inside);
	w.told = state;
	w.calls++;
	ev_break(w.loop, EVBREAK_ALL);
}

static void on_change(enum probe_state state, void *arg)
{
	assert_ptr_equal(arg, &w);
	assert_int_not_equal(state, PROBE_PENDING);
	w.changes++;
}

static void on_time(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	*(bool *)timer->data = true;
	ev_break(loop, EVBREAK_ALL);
}

static void run(double seconds, unsigned calls)
{
	ev_timer limit;
	bool over = false;

	ev_timer_init(&limit, on_time, seconds, 0.);
	limit.data = &over;
	ev_now_update(w.loop);
	ev_timer_start(w.loop, &limit);
	while (w.calls < calls && !over)
		ev_run(w.loop, 0);
	ev_timer_stop(w.loop, &limit);
}

static struct probe_wait *wait_start(struct probe *probe)
{
	w.inside = true;
	struct probe_wait *wait = probe_wait_start(probe, on_known, NULL);

	w.inside = false;
	return wait;
}

static void test_off(void **state)
{
	struct probe *probe;
	struct probe_wait *wait;

	(void)state;
	w.name[0] = '\0';
	probe = probe_new(w.loop, &w.conf);
	assert_int_equal(probe_state(probe), PROBE_WORKING);
	assert_string_equal(probe_why(probe), "");
	wait_start(probe);
	wait = wait_start(probe);
	probe_wait_cancel(&wait);
	assert_null(wait);
	run(0.2, 2);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.told, PROBE_WORKING);
	assert_int_equal(w.server.counts->udp, 0);
	probe_free(&probe);
	assert_null(probe);
}

static void test_insecure(void **state)
{
	struct probe *probe = probe_new(w.loop, &w.conf);

	(void)state;
	probe_watch(probe, on_change, &w);
	assert_int_equal(probe_state(probe), PROBE_PENDING);
	assert_string_equal(probe_why(probe), "");
	wait_start(probe);
	wait_start(probe);
	run(10, 2);
	assert_int_equal(w.calls, 2);
	assert_int_equal(w.told, PROBE_BROKEN);
	assert_int_equal(probe_state(probe), PROBE_BROKEN);
	assert_int_equal(w.changes, 1);
	assert_non_null(strstr(probe_why(probe), "www.example A is insecure"));
	probe_free(&probe);
}

/* The setting as conf.c takes it; NULL where it does not. */
static struct conf *conf_with_type(const char *type)
{
	char *text = mem_printf("[dns]\ndnssec_probe = www.example %s\n", type);
	FILE *file = fmemopen(text, strlen(text), "r");
	struct conf_report report = {0};
	struct conf *conf = conf_load_file(file, "f", NULL, 0, &report);

	conf_report_free(&report);
	fclose(file);
	free(text);
	return conf;
}

static void probe_with_type(const char *type)
{
	struct conf *conf = conf_with_type(type);
	char expected[64];

	assert_non_null(conf);
	w.calls = 0;
	w.conf.dns.probe_type = conf->dns.probe_type;
	conf_free(&conf);
	struct probe *probe = probe_new(w.loop, &w.conf);

	wait_start(probe);
	run(10, 1);
	snprintf(expected, sizeof expected, "www.example %s is insecure", type);
	assert_non_null(strstr(probe_why(probe), expected));
	probe_free(&probe);
}

/* Whatever type the setting takes is asked for, its records are read, and it has a name. */
static void test_types(void **state)
{
	size_t count = 0;

	(void)state;
	for (; dns_types[count].name; count++)
		probe_with_type(dns_types[count].name);
	assert_int_equal(count, 10);
	assert_null(conf_with_type("RRSIG"));
}

/* Forged answers fail at once, so three tries take two pauses. */
static void test_failed(void **state)
{
	double before = ev_time();
	struct probe *probe;

	(void)state;
	strcpy(w.name, "www.signed.example");
	probe = probe_new(w.loop, &w.conf);
	wait_start(probe);
	run(4, 1);
	assert_int_equal(w.calls, 0);
	assert_int_equal(probe_state(probe), PROBE_PENDING);
	run(20, 1);
	assert_int_equal(w.told, PROBE_BROKEN);
	assert_true(ev_time() - before > 9);
	assert_non_null(strstr(probe_why(probe), "www.signed.example A: validation failure"));
	probe_free(&probe);
}

static void test_free_alive(void **state)
{
	struct probe *probe;

	(void)state;
	strcpy(w.name, "silent.example");
	probe = probe_new(w.loop, &w.conf);
	probe_watch(probe, on_change, &w);
	wait_start(probe);
	for (int i = 0; i < 100 && !w.server.counts->udp; i++)
		run(0.1, 1);
	assert_true(w.server.counts->udp > 0);
	probe_free(&probe);
	run(0.2, 1);
	assert_int_equal(w.calls + w.changes, 0);
}

/* ---- the keeper ---- */

static char trouble[512];
static unsigned reports;

static void on_anchor(const char *why, void *arg)
{
	(void)arg;
	reports++;
	snprintf(trouble, sizeof trouble, "%s", why);
}

static void await_reports(unsigned count)
{
	for (int i = 0; i < 300 && reports < count; i++)
		run(0.1, 1);
	assert_int_equal(reports, count);
}

static struct resolver *keep(const char *state_dir)
{
	char *error = NULL;

	reports = 0;
	w.conf.dns.trust_anchor = NULL;
	w.conf.server.state_dir = (char *)state_dir;
	struct resolver *resolver = resolver_new(w.loop, &w.conf, &error);

	assert_null(error);
	resolver_keep_anchor(resolver, on_anchor, NULL);
	return resolver;
}

static bool exists(const char *name)
{
	char *path = path_of(name);
	bool found = access(path, F_OK) == 0;

	free(path);
	return found;
}

/* Nothing that the forwarder says proves a key, so the copy stays the seed's. */
static void test_keeper(void **state)
{
	struct resolver *first = keep(w.dir), *second = keep(w.dir);

	(void)state;
	await_reports(2); /* one has the lock */
	assert_string_equal(trouble, "");
	assert_true(exists("root.key"));
	assert_true(exists("root.key.seed"));
	assert_true(exists("root.key.lock"));
	assert_false(exists("root.key.draft"));
	resolver_free(&second);
	resolver_free(&first);
}

static void test_keeper_ended(void **state)
{
	struct resolver *resolver = keep(w.dir);

	(void)state;
	run(0.02, 1);
	resolver_free(&resolver);
	assert_false(exists("root.key.draft"));
}

static void test_keeper_nowhere(void **state)
{
	struct resolver *resolver = keep("/nonexistent");

	(void)state;
	await_reports(1);
	assert_non_null(strstr(trouble, "cannot keep up /nonexistent/root.key"));
	resolver_free(&resolver);
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, setup, teardown, NULL                                              \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST("R-DNS-37: off", test_off),
	    TEST("R-DNS-37: insecure is broken at once", test_insecure),
	    TEST("R-DNS-37: each type that the setting takes", test_types),
	    TEST("R-DNS-37: failed is broken after three tries", test_failed),
	    TEST("free with an attempt under way", test_free_alive),
	    TEST("R-DNS-39: the copy in state_dir", test_keeper),
	    TEST("R-DNS-39: ended with the child at work", test_keeper_ended),
	    TEST("R-DNS-39 F-02: no state_dir to write to", test_keeper_nowhere),
	};

	signal(SIGPIPE, SIG_IGN);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_WARNING);
	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
