/*
 * test_resolver.c - the real resolver and libunbound against a forwarder that is silent, late and
 * lying.
 *
 * The only trust anchor is one for signed.example, so that all other names are insecure. Secure
 * answers need signed zones: the lab has them.
 */
#include "dnsval/resolver.h"

#include "conf/conf.h"
#include "conf/mem.h"
#include "dns_server.h"

#include <ev.h>
#include <malloc.h>
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

/* One world for each test: server, configuration, resolver. */
static struct world {
	struct dns_server server;
	struct ev_loop *loop;
	struct addr forwarder;
	struct conf_dns_view views[4];
	struct conf_unbound_option options[2];
	struct conf conf;
	char anchor_file[64];
	struct resolver *resolver;
	unsigned calls;          /* of on_answer */
	bool inside;             /* dns_query_start() */
	struct dns_answer first; /* without its records */
	struct dns_answer last;
	struct dns_query *victim; /* cancelled by on_answer_cancel() */
} w;

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static struct conf_unbound_option option(const char *name, const char *value)
{
	return (struct conf_unbound_option){(char *)name, (char *)value, (char *)"f:1"};
}

/* What is counted is asked once, however long the machine lets the answer wait. */
static void ask_once(void)
{
	w.options[0] = option("infra-cache-min-rtt", "4000");
	w.conf.unbound_count = 1;
}

static int setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof w);
	w.loop = ev_loop_new(EVFLAG_AUTO);
	dns_server_start(&w.server);
	addr_parse_ip(&w.forwarder, "127.0.0.1", w.server.port);
	for (size_t i = 0; i < 4; i++)
		w.views[i].forward = (struct conf_addrs){1, &w.forwarder};
	strcpy(w.anchor_file, "/tmp/danelaw-test-anchor-XXXXXX");
	close(mkstemp(w.anchor_file));
	write_file(w.anchor_file, anchor_text);
	w.conf.dns.view_count = 1;
	w.conf.dns.views = w.views;
	w.conf.dns.timeout = 5;
	w.conf.dns.trust_anchor = w.anchor_file;
	w.conf.unbound = w.options;
	return 0;
}

static void start(void)
{
	char *error = NULL;

	w.resolver = resolver_new(w.loop, &w.conf, &error);
	if (error)
		print_error("%s\n", error);
	assert_non_null(w.resolver);
}

static int teardown(void **state)
{
	(void)state;
	resolver_free(&w.resolver);
	assert_null(w.resolver);
	dns_server_stop(&w.server);
	unlink(w.anchor_file);
	ev_loop_destroy(w.loop);
	return 0;
}

/* ---- asking and waiting ---- */

static void on_answer(const struct dns_answer *answer, void *arg)
{
	assert_false(w.inside);
	if (w.calls++ == 0)
		w.first = *answer;
	w.last = *answer;
	(void)arg;
	ev_break(w.loop, EVBREAK_ALL);
}

static struct dns_query *ask_with(const char *name, enum dns_type type, dns_query_fn *callback)
{
	w.inside = true;
	struct dns_query *query = dns_query_start(w.resolver, name, type, callback, NULL);

	w.inside = false;
	assert_non_null(query);
	return query;
}

static struct dns_query *ask(const char *name, enum dns_type type)
{
	return ask_with(name, type, on_answer);
}

static void on_time(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	*(bool *)timer->data = true;
	ev_break(loop, EVBREAK_ALL);
}

/* Runs the loop for that long, or until there were so many calls. */
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

static void wait_for(unsigned calls)
{
	run(10, calls);
	assert_int_equal(w.calls, calls);
}

/* ---- tests ---- */

static void test_merging(void **state)
{
	(void)state;
	ask_once();
	start();
	for (int i = 0; i < 50; i++)
		ask("late.example", DNS_A);
	ask("late.example", DNS_MX);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 2);
	wait_for(51);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 0);
	assert_int_equal(w.server.counts->late, 2);
}

static void test_never_inside(void **state)
{
	static const char *const names[] = {"host.example", "host.example", "localhost",
	    "mail.test", "1.168.192.in-addr.arpa", "a..b", "x.onion"};

	(void)state;
	ask_once();
	start();
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		ask(names[i], DNS_A);
		assert_int_equal(w.calls, i);
		wait_for(i + 1);
	}
	assert_int_equal(w.server.counts->udp, 1);
}

static void test_builtin_zones(void **state)
{
	static const char *const names[] = {
	    "mail.test", "mail.invalid", "mail.onion", "mail.localhost", "mail.home.arpa"};

	(void)state;
	start();
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		ask(names[i], DNS_MX);
		wait_for(i + 1);
		assert_int_equal(w.last.state, DNS_INSECURE);
		assert_int_equal(w.last.count, 0);
	}
	assert_int_equal(w.server.counts->udp, 0);
}

static void test_deadline(void **state)
{
	double before = ev_time();

	(void)state;
	w.conf.dns.timeout = 0.5;
	start();
	ask("silent.example", DNS_TLSA);
	wait_for(1);
	assert_int_equal(w.last.state, DNS_FAILED);
	assert_false(w.last.bogus);
	assert_non_null(strstr(w.last.why, "within 0.5 s"));
	assert_true(ev_time() - before > 0.45 && ev_time() - before < 6);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 0);
	run(1, 2);
	assert_int_equal(w.calls, 1);
}

static void test_cancel(void **state)
{
	struct dns_query *query;

	(void)state;
	ask_once();
	start();
	query = ask("late.example", DNS_A);
	dns_query_cancel(&query);
	assert_null(query);
	dns_query_cancel(&query);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 1);
	for (int i = 0; i < 40 && resolver_lookups_in_flight(w.resolver); i++)
		run(0.2, 1);
	assert_int_equal(w.calls, 0);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 0);
	ask("late.example", DNS_A);
	wait_for(1);
	assert_int_equal(w.last.count, 1);
	assert_int_equal(w.server.counts->late, 1);
}

/* The answer is there, the callback not yet. */
static void test_cancel_answered(void **state)
{
	struct dns_query *query;

	(void)state;
	start();
	query = ask("mail.test", DNS_A);
	dns_query_cancel(&query);
	query = ask("a..b", DNS_A);
	dns_query_cancel(&query);
	run(0.1, 1);
	assert_int_equal(w.calls, 0);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 0);
}

static void on_answer_cancel(const struct dns_answer *answer, void *arg)
{
	on_answer(answer, arg);
	dns_query_cancel(&w.victim);
}

static void test_cancel_in_callback(void **state)
{
	(void)state;
	start();
	ask_with("late.example", DNS_A, on_answer_cancel);
	w.victim = ask("late.example", DNS_A);
	ask("late.example", DNS_A);
	wait_for(2);
	run(0.3, 3);
	assert_int_equal(w.calls, 2);
}

static void on_answer_ask(const struct dns_answer *answer, void *arg)
{
	on_answer(answer, arg);
	ask("late.example", DNS_A);
	ask("host.example", DNS_A);
}

static void test_start_in_callback(void **state)
{
	(void)state;
	ask_once();
	start();
	ask_with("late.example", DNS_A, on_answer_ask);
	wait_for(3);
	assert_int_equal(w.server.counts->late, 1);
}

static void test_free_alive(void **state)
{
	char name[64];

	(void)state;
	start();
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "silent%d.example", i);
		ask(name, DNS_A);
	}
	ask("mail.test", DNS_A);
	wait_for(1);
	run(0.2, 101);
	ask("mail.test", DNS_A);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 101);
	resolver_free(&w.resolver);
	run(0.2, 102);
	assert_int_equal(w.calls, 1);
}

static void test_lies(void **state)
{
	(void)state;
	start();
	ask("host.example", DNS_A);
	wait_for(1);
	assert_int_equal(w.last.state, DNS_INSECURE);
	assert_int_equal(w.last.count, 1);
	ask("nx.example", DNS_TLSA);
	wait_for(2);
	assert_int_equal(w.last.state, DNS_INSECURE);
	assert_true(w.last.nxdomain);
	ask("host.signed.example", DNS_A);
	wait_for(3);
	assert_int_equal(w.last.state, DNS_FAILED);
	assert_int_equal(w.last.count, 0);
	assert_true(w.last.bogus);
}

static void test_busy(void **state)
{
	char name[64];
	struct dns_query *query;

	(void)state;
	start();
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "silent%d.example", i);
		ask(name, DNS_A);
	}
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 2000);
	query = ask("host.example", DNS_A);
	dns_query_cancel(&query);
	ask("host.example", DNS_A);
	ask("silent7.example", DNS_A); /* shares a lookup */
	wait_for(1);
	assert_int_equal(w.last.state, DNS_FAILED);
	assert_true(w.last.busy);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 2000);
	ask("other.example", DNS_A);
}

static void test_malformed(void **state)
{
	static const char *const names[] = {"a..b", "", ".", ".a", "a b.example", "A.example",
	    "a.example.", "-a.example", "a\\000.example", "xn--.example",
	    "0123456789012345678901234567890123456789012345678901234567890123.example"};
	const unsigned count = sizeof names / sizeof names[0];
	unsigned calls = 0;

	(void)state;
	start();
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(names[i], ".") == 0)
			continue; /* the root is a name */
		ask(names[i], DNS_A);
		wait_for(++calls);
		assert_int_equal(w.last.state, DNS_FAILED);
		assert_string_equal(w.last.why, "this is no domain name");
	}
	size_t before = mallinfo2().uordblks;

	for (unsigned i = 0; i < 50000; i++) {
		ask(names[i % 2], DNS_A);
		wait_for(++calls);
	}
	assert_true(mallinfo2().uordblks < before + (64 << 10));
	assert_int_equal(w.server.counts->udp, 0);
}

/* It shares its first 253 octets with a name under way. */
static void test_too_long(void **state)
{
	char name[512] = "late";

	(void)state;
	ask_once();
	start();
	while (strlen(name) < 252)
		strcat(name, ".a");
	strcat(name, "a");
	assert_int_equal(strlen(name), 253);
	ask(name, DNS_A);
	strcat(name, "b.example");
	ask(name, DNS_A);
	wait_for(2);
	assert_int_equal(w.first.state, DNS_FAILED);
	assert_int_equal(w.last.state, DNS_INSECURE);
}

static void test_tcp(void **state)
{
	(void)state;
	start();
	ask("big.example", DNS_TLSA);
	wait_for(1);
	assert_int_equal(w.last.state, DNS_INSECURE);
	assert_int_equal(w.last.count, 100);
	assert_true(w.server.counts->tcp >= 1);
}

static void test_renew(void **state)
{
	(void)state;
	ask_once();
	start();
	ask("host.example", DNS_A);
	wait_for(1);
	ask("late.example", DNS_A);
	resolver_renew(w.resolver);
	assert_int_equal(resolver_lookups_in_flight(w.resolver), 1);
	ask("host.example", DNS_A);
	wait_for(3);
	assert_int_equal(w.server.counts->udp, 3);
	ask("silent.example", DNS_A);
	resolver_renew(w.resolver);
	resolver_renew(w.resolver);
}

static void test_views(void **state)
{
	(void)state;
	w.views[0].forward.count = 0;
	strcpy(w.views[1].name, "home.arpa");
	w.views[1].is_signed = true;
	strcpy(w.views[2].name, "inside.signed.example");
	strcpy(w.views[3].name, "corp.test");
	w.views[3].is_signed = true;
	w.conf.dns.view_count = 4;
	start();
	ask("host.home.arpa", DNS_A);
	wait_for(1);
	assert_int_equal(w.last.state, DNS_INSECURE);
	assert_int_equal(w.last.count, 1);
	ask("host.inside.signed.example", DNS_A);
	wait_for(2);
	assert_int_equal(w.last.state, DNS_INSECURE);
	assert_int_equal(w.last.count, 1);
	ask("a.corp.test", DNS_A);
	wait_for(3);
	assert_int_equal(w.last.count, 1);
	ask("other.test", DNS_A);
	wait_for(4);
	assert_true(w.last.nxdomain);
}

/* ---- start-up ---- */

static void refuse(const char *expected)
{
	char *error = NULL;

	assert_null(resolver_new(w.loop, &w.conf, &error));
	assert_non_null(error);
	print_message("  %s\n", error);
	assert_non_null(strstr(error, expected));
	free(error);
}

static void refuse_option(const char *name, const char *value, const char *expected)
{
	w.options[0] = option(name, value);
	w.conf.unbound_count = 1;
	refuse(expected);
	w.conf.unbound_count = 0;
}

static void test_options(void **state)
{
	(void)state;
	refuse_option("no-such-option", "yes", "[unbound] no-such-option");
	refuse_option("outgoing-range", "none", "[unbound] outgoing-range");
	refuse_option("module-config", "iterator", "[unbound] module-config");
	refuse_option("val-permissive-mode", "yes", "[unbound] val-permissive-mode");
	refuse_option("harden-dnssec-stripped", "no", "[unbound] harden-dnssec-stripped");
	refuse_option("harden-glue", "no", "[unbound] harden-glue");
	refuse_option("harden-below-nxdomain", "no", "[unbound] harden-below-nxdomain");
	refuse_option("serve-expired", "yes", "[unbound] serve-expired");
	refuse_option("cache-min-ttl", "60", "[unbound] cache-min-ttl");
	refuse_option("cache-max-negative-ttl", "7200", "[unbound] cache-max-negative-ttl");
	refuse_option("val-bogus-ttl", "600", "[unbound] val-bogus-ttl");
	refuse_option("unwanted-reply-threshold", "9", "[unbound] unwanted-reply-threshold");
	refuse_option("tls-cert-bundle", "/nonexistent", "libunbound cannot start");
	w.options[0] = option("local-zone", "\"shut.example.\" refuse");
	w.options[1] = option("do-not-query-localhost", "no");
	w.conf.unbound_count = 2;
	start();
	ask("host.shut.example", DNS_A);
	wait_for(1);
	assert_int_equal(w.last.state, DNS_FAILED);
	assert_int_equal(w.server.counts->udp, 0);
}

static void test_files(void **state)
{
	char missing[] = "/nonexistent";

	(void)state;
	w.conf.dns.root_hints = missing;
	refuse("[dns] root_hints: /nonexistent");
	w.conf.dns.root_hints = NULL;
	w.conf.dns.trust_anchor = missing;
	refuse("[dns] trust_anchor: /nonexistent");
	w.conf.dns.trust_anchor = w.anchor_file;
	write_file(w.anchor_file, "");
	refuse("no DS or DNSKEY");
	write_file(w.anchor_file, "; nothing\n\n");
	refuse("no DS or DNSKEY");
	write_file(w.anchor_file, "signed.example. IN A 192.0.2.1\n");
	refuse(":1: neither a DS nor a DNSKEY");
}

/* D-23: without network, too; what fails is each lookup. */
static void test_no_network(void **state)
{
	(void)state;
	addr_set_port(&w.forwarder, 9); /* nobody */
	start();
	ask("host.example", DNS_A);
	wait_for(1);
	assert_int_equal(w.last.state, DNS_FAILED);
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, setup, teardown, NULL                                              \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST("R-DNS-44: equal lookups are merged", test_merging),
	    TEST("C.2: no callback inside the start, cached or built in", test_never_inside),
	    TEST("D-22: built-in zones", test_builtin_zones),
	    TEST("R-DNS-43 D-20: deadline", test_deadline),
	    TEST("cancel: no callback, the cache is filled", test_cancel),
	    TEST("cancel between answer and callback", test_cancel_answered),
	    TEST("cancel inside a callback of the same lookup", test_cancel_in_callback),
	    TEST("start inside a callback", test_start_in_callback),
	    TEST("F-07: free with lookups under way", test_free_alive),
	    TEST("R-DNS-35 R-DNS-36 D-05 D-06: AD is not believed", test_lies),
	    TEST("R-DNS-44: busy", test_busy),
	    TEST("R-DNS-32: malformed names leak nothing", test_malformed),
	    TEST("R-DNS-32: too long a name shares no lookup", test_too_long),
	    TEST("D-15: 100 TLSA over TCP", test_tcp),
	    TEST("R-DNS-37: renewed with lookups under way", test_renew),
	    TEST("views over built-in zones, signed = no", test_views),
	    TEST("R-DNS-36 R-DNS-41 R-DNS-42: options that may not be weakened", test_options),
	    TEST("D-23: files", test_files),
	    TEST("no network", test_no_network),
	};

	signal(SIGPIPE, SIG_IGN);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("resolver", tests, NULL, NULL);
}
