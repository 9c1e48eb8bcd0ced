/*
 * test_fetch.c - one HTTPS GET of a policy: what is taken, what is refused, who waits, and that
 * nothing of it is left behind (R-STS-07..12, -33, -35; catalogue S-01..S-05, S-14, S-15).
 */
#include "fake_dns.h"
#include "policy_host.h"

#include "conf/reap.h"
#include "policy/fetch_internal.h"
#include "policy/sts_policy.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define COUNT(a)    (sizeof(a) / sizeof *(a))
#define DOMAIN      "example.org"
#define POLICY_HOST "mta-sts." DOMAIN
#define HEAD        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define GOOD        HEAD "Content-Length: 15\r\n\r\nversion: STSv1\n"

/* What a fetch came to. */
struct told {
	struct fetch *fetch;
	size_t calls;
	bool in_call; /* a call of the interface is under way: nothing may be told */
	struct fetch_result result;
	char *body;
	void (*then)(struct told *told); /* done inside the callback */
};

static struct {
	struct ev_loop *loop;
	struct conf conf;
	struct cidr allowed;
	struct identity ca, identity;
	char ca_file[64];
	struct policy_host host;
	int listener;
	uint16_t port;
	pid_t server; /* 0: none */
	struct fetcher *fetcher;
} stage;

/* ---- the stage ---- */

static void write_ca(const char *path, const struct identity *ca)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(PEM_write_X509(file, ca->certificate));
	fclose(file);
}

static struct identity make_ca(const char *name)
{
	return make_identity(
	    &(struct identity_spec){.common_name = name, .constraints = "critical,CA:TRUE"}, NULL);
}

static int set_up_group(void **state)
{
	(void)state;
	stage.ca = make_ca("lab CA");
	stage.identity =
	    make_identity(&(struct identity_spec){.alt_names = "DNS:" POLICY_HOST}, &stage.ca);
	snprintf(stage.ca_file, sizeof stage.ca_file, "/tmp/danelaw-test-ca-%d", (int)getpid());
	write_ca(stage.ca_file, &stage.ca);
	return 0;
}

static int tear_down_group(void **state)
{
	(void)state;
	unlink(stage.ca_file);
	free_identity(&stage.identity);
	free_identity(&stage.ca);
	return 0;
}

static void say_host(const char *name, const char *ip)
{
	add_address(say(DNS_INSECURE, DNS_A, name), ip);
	say(DNS_INSECURE, DNS_AAAA, name);
}

static void make_fetcher(void)
{
	char *error = NULL;

	stage.fetcher = fetcher_new_on_port(stage.loop, &stage.conf, NULL, stage.port, &error);
	assert_null(error);
	assert_non_null(stage.fetcher);
}

static int set_up(void **state)
{
	(void)state;
	stage.loop = ev_loop_new(0);
	memset(&stage.conf, 0, sizeof stage.conf);
	assert_true(cidr_parse(&stage.allowed, "127.0.0.0/8"));
	stage.conf.policy.allow_addresses = (struct cidr_list){1, &stage.allowed};
	stage.conf.tls.ca_file = stage.ca_file;
	stage.host = (struct policy_host){.tls.identity = &stage.identity, .name = POLICY_HOST};
	stage.listener = listen_at("127.0.0.1", 0);
	stage.port = port_of(stage.listener);
	world_reset(stage.loop);
	make_fetcher();
	return 0;
}

static void stop_server(void)
{
	if (stage.server)
		stop_host(stage.server);
	stage.server = 0;
}

static int tear_down(void **state)
{
	(void)state;
	fetcher_free(&stage.fetcher);
	reap_now();
	assert_int_equal(in_flight, 0);
	ev_loop_destroy(stage.loop);
	stop_server();
	close(stage.listener);
	return 0;
}

static void serve_script(reply_script *script, const void *arg)
{
	stop_server();
	stage.host.script = script;
	stage.host.arg = arg;
	stage.server = start_host(&stage.host, stage.listener);
}

static void reply(SSL *ssl, const void *arg) { puts_text(ssl, arg); }

static void serve_text(const char *text)
{
	say_host(POLICY_HOST, "127.0.0.1");
	serve_script(reply, text);
}

/* ---- a fetch ---- */

static size_t count_entries(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	size_t count = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory)))
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

static void on_fetched(const struct fetch_result *result, void *arg)
{
	struct told *told = arg;

	assert_false(told->in_call);
	told->fetch = NULL;
	told->calls++;
	told->result = *result;
	if (result->outcome == FETCH_OK)
		told->body = mem_strndup(result->body, result->len);
	else
		assert_true(result->why[0] != '\0');
	if (told->then)
		told->then(told);
}

static void start(struct told *told, const char *domain, double timeout)
{
	told->in_call = true;
	told->fetch = fetch_start(stage.fetcher, domain, timeout, on_fetched, told);
	assert_non_null(told->fetch);
	told->in_call = false;
}

static void cancel(struct told *told)
{
	told->in_call = true;
	fetch_cancel(&told->fetch);
	assert_null(told->fetch);
	told->in_call = false;
}

static void await(const struct told *told)
{
	while (told->calls == 0) {
		ev_run(stage.loop, EVRUN_ONCE);
		assert_int_equal(count_entries("/proc/self/task"), 1);
	}
}

static void on_pause(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer, (void)events;
	ev_break(loop, EVBREAK_ONE);
}

static void run_for(double seconds)
{
	ev_timer timer;

	ev_now_update(stage.loop);
	ev_timer_init(&timer, on_pause, seconds, 0);
	ev_timer_start(stage.loop, &timer);
	ev_run(stage.loop, 0);
	ev_timer_stop(stage.loop, &timer);
}

static void expect(enum fetch_outcome outcome, const char *text)
{
	struct told told = {0};

	start(&told, DOMAIN, 20);
	await(&told);
	print_message("  %s\n", told.result.why);
	assert_int_equal(told.result.outcome, outcome);
	if (outcome == FETCH_OK)
		assert_string_equal(told.body, text);
	else
		assert_non_null(strstr(told.result.why, text));
	free(told.body);
	run_for(0);
	assert_int_equal(told.calls, 1);
}

/* ---- responses ---- */

static void responses(void **state)
{
	static const struct {
		const char *reply;
		enum fetch_outcome outcome;
		const char *text;
	} rows[] = {
	    {GOOD, FETCH_OK, "version: STSv1\n"},
	    {HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", FETCH_OK,
		"abcde"},
	    {HEAD "\r\nabc", FETCH_OK, "abc"}, /* ends with close_notify */
	    {HEAD "Content-Length: 0\r\n\r\n", FETCH_OK, ""},
	    {"HTTP/1.1 103 Hints\r\n\r\n" GOOD, FETCH_OK, "version: STSv1\n"},
	    {"HTTP/1.0 200 OK\r\ncontent-type: TEXT/Plain ; charset=utf-8; x=y\r\n\r\nabc",
		FETCH_OK, "abc"},

	    {"HTTP/1.1 301 Moved\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
		FETCH_FAILED, "HTTP status 301"},
	    {"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", FETCH_FAILED,
		"HTTP status 302"},
	    {"HTTP/1.1 307 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n",
		FETCH_FAILED, "HTTP status 307"},
	    {"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
		FETCH_FAILED, "HTTP status 404"},
	    {"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", FETCH_FAILED, "HTTP status 500"},
	    {"HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\n\r\n", FETCH_FAILED,
		"HTTP status 204"},
	    {"HTTP/1.1 206 Partial\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
		FETCH_FAILED, "HTTP status 206"},
	    {"HTTP/1.1 304 Not Modified\r\n\r\n", FETCH_FAILED, "HTTP status 304"},
	    {"HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
		FETCH_FAILED, "HTTP status 401"},

	    {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nabc",
		FETCH_FAILED, "the content type is text/html"},
	    {"HTTP/1.1 200 OK\r\nContent-Type: text/plainish\r\nContent-Length: 3\r\n\r\nabc",
		FETCH_FAILED, "the content type is text/plainish"},
	    {"HTTP/1.1 200 OK\r\nContent-Type:\r\nContent-Length: 3\r\n\r\nabc", FETCH_FAILED,
		"the content type is"},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", FETCH_FAILED,
		"the content type is missing"},
	    {HEAD "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", FETCH_FAILED,
		"encoded as gzip"},
	    {HEAD "Content-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", FETCH_OK, "abc"},
	    {HEAD "Transfer-Encoding: gzip\r\n\r\nabc", FETCH_FAILED, ""},

	    {HEAD "Content-Length: 4\r\n\r\nabc", FETCH_FAILED, ""},
	    {HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", FETCH_FAILED, ""},
	    {HEAD, FETCH_FAILED, ""},
	    {"", FETCH_FAILED, ""},
	    {"version: STSv1\n", FETCH_FAILED, ""}, /* HTTP/0.9 */
	    {"220 mx.example.org ESMTP\r\n", FETCH_FAILED, ""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		print_message("row %zu\n", i);
		world_reset(stage.loop);
		serve_text(rows[i].reply);
		expect(rows[i].outcome, rows[i].text);
	}
}

/* TCP ends, TLS does not: anybody on the way could have cut it (R-TLSSEC-12). */
static void cut_off(SSL *ssl, const void *arg)
{
	(void)arg;
	puts_text(ssl, HEAD "\r\nversion: STSv1\n");
	shutdown(SSL_get_fd(ssl), SHUT_WR);
	usleep(100000);
}

static void truncated(void **state)
{
	(void)state;
	say_host(POLICY_HOST, "127.0.0.1");
	serve_script(cut_off, NULL);
	expect(FETCH_FAILED, POLICY_HOST);
}

static void put_sized(SSL *ssl, const void *arg)
{
	const size_t *size = arg;
	char *body = mem_alloc(*size);

	memset(body, 'x', *size);
	puts_text(ssl, HEAD "\r\n");
	put(ssl, body, *size);
	free(body);
}

static void sizes(void **state)
{
	static const size_t fits = STS_BODY_MAX, exceeds = STS_BODY_MAX + 1;
	struct told told = {0};

	(void)state;
	say_host(POLICY_HOST, "127.0.0.1");
	serve_script(put_sized, &fits);
	start(&told, DOMAIN, 20);
	await(&told);
	assert_int_equal(told.result.outcome, FETCH_OK);
	assert_int_equal(told.result.len, STS_BODY_MAX);
	free(told.body);
	serve_script(put_sized, &exceeds);
	expect(FETCH_FAILED, "the policy is larger than 65536 octets");
}

/* What a script repeats after its beginning, for as long as the client stays. */
struct endless {
	const char *head, *again;
	useconds_t pause;
};

static void put_endless(SSL *ssl, const void *arg)
{
	const struct endless *endless = arg;

	puts_text(ssl, endless->head);
	while (puts_text(ssl, endless->again))
		if (endless->pause)
			usleep(endless->pause);
}

static void serve_endless(const struct endless *endless)
{
	say_host(POLICY_HOST, "127.0.0.1");
	serve_script(put_endless, endless);
}

static void endless_responses(void **state)
{
	static const struct {
		struct endless endless;
		const char *why;
	} rows[] = {
	    {{HEAD "Transfer-Encoding: chunked\r\n\r\n", "10\r\n0123456789abcdef\r\n", 0},
		"larger than 65536 octets"},
	    {{HEAD "\r\n", "0123456789abcdef", 0}, "larger than 65536 octets"},
	    {{HEAD, "X-Header: 0123456789abcdef\r\n", 0}, "headers are larger"},
	    {{"", "HTTP/1.1 100 Continue\r\n\r\n", 0}, "headers are larger"},
	    {{HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-Trailer: 0123456789\r\n", 0},
		"headers are larger"},
	    {{HEAD "X-Long: ", "0123456789abcdef", 0}, ""},
	    {{"HTTP/1.1 404 Not Found\r\n\r\n", "0123456789abcdef", 1000}, "HTTP status 404"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		world_reset(stage.loop);
		serve_endless(&rows[i].endless);
		expect(FETCH_FAILED, rows[i].why);
	}
}

static void drips(void **state)
{
	static const struct endless rows[] = {
	    {HEAD "\r\n", "x", 10000},
	    {HEAD "X-Drip: ", "x", 10000},
	    {HEAD "Transfer-Encoding: chunked\r\n\r\n1;", "x", 10000},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct told told = {0};

		world_reset(stage.loop);
		serve_endless(&rows[i]);
		start(&told, DOMAIN, 0.3);
		await(&told);
		assert_int_equal(told.result.outcome, FETCH_FAILED);
		assert_string_equal(told.result.why, POLICY_HOST ": no policy within 0.3 s");
	}
}

/* ---- certificates ---- */

static void serve_identity(const struct identity_spec *spec, const struct identity *issuer)
{
	static struct identity made;

	free_identity(&made);
	made = (struct identity){0};
	stage.host.tls.identity = NULL;
	if (!spec)
		return;
	made = make_identity(spec, issuer);
	stage.host.tls.identity = &made;
	world_reset(stage.loop);
	serve_text(GOOD);
}

static void certificates(void **state)
{
	static const struct {
		struct identity_spec spec;
		bool is_self_signed;
		enum fetch_outcome outcome;
		const char *text;
	} rows[] = {
	    {{.alt_names = "DNS:" POLICY_HOST}, false, FETCH_OK, "version: STSv1\n"},
	    {{.alt_names = "DNS:other.example, DNS:MTA-STS.Example.org"}, false, FETCH_OK,
		"version: STSv1\n"},
	    {{.alt_names = "DNS:*." DOMAIN}, false, FETCH_OK, "version: STSv1\n"},
	    {{.common_name = POLICY_HOST}, false, FETCH_CERTIFICATE, "hostname mismatch"},
	    {{.common_name = POLICY_HOST, .alt_names = "email:a@example.org"}, false,
		FETCH_CERTIFICATE, "hostname mismatch"},
	    {{.common_name = POLICY_HOST, .alt_names = "DNS:" DOMAIN}, false, FETCH_CERTIFICATE,
		"hostname mismatch"},
	    {{.alt_names = "DNS:mta-*." DOMAIN}, false, FETCH_CERTIFICATE, "hostname mismatch"},
	    {{.alt_names = "DNS:*.org"}, false, FETCH_CERTIFICATE, "hostname mismatch"},
	    {{.alt_names = "IP:127.0.0.1"}, false, FETCH_CERTIFICATE, "hostname mismatch"},
	    {{.alt_names = "DNS:" POLICY_HOST, .first_day = -9, .last_day = -2}, false,
		FETCH_CERTIFICATE, "expired"},
	    {{.alt_names = "DNS:" POLICY_HOST, .first_day = 2, .last_day = 9}, false,
		FETCH_CERTIFICATE, "not yet valid"},
	    {{.alt_names = "DNS:" POLICY_HOST}, true, FETCH_CERTIFICATE, "self-signed"},
	    {{.alt_names = "DNS:" POLICY_HOST, .sha1 = true}, false, FETCH_CERTIFICATE, ""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		print_message("row %zu\n", i);
		serve_identity(&rows[i].spec, rows[i].is_self_signed ? NULL : &stage.ca);
		expect(rows[i].outcome, rows[i].text);
	}
	serve_identity(NULL, NULL);
}

static void another_ca(void **state)
{
	struct identity other = make_ca("another CA");

	(void)state;
	serve_identity(&(struct identity_spec){.alt_names = "DNS:" POLICY_HOST}, &other);
	expect(FETCH_CERTIFICATE, "unable to get local issuer certificate");
	serve_identity(NULL, NULL);
	free_identity(&other);
}

static void old_tls(void **state)
{
	(void)state;
	stage.host.tls.max_version = TLS1_1_VERSION;
	serve_text(GOOD);
	expect(FETCH_FAILED, "");
	world_reset(stage.loop);
	stage.host.tls.max_version = TLS1_2_VERSION;
	serve_text(GOOD);
	expect(FETCH_OK, "version: STSv1\n");
}

static void renew_fetcher(void)
{
	fetcher_free(&stage.fetcher);
	make_fetcher();
}

static void no_ca_file(void **state)
{
	(void)state;
	stage.conf.tls.ca_file = (char[]){"/nonexistent/ca.pem"};
	renew_fetcher();
	serve_text(GOOD);
	expect(FETCH_FAILED, "/nonexistent/ca.pem: No such file or directory");
}

/* ---- the environment ---- */

static void make_home(char *home)
{
	FILE *file;
	char *path;

	assert_non_null(mkdtemp(home));
	path = mem_printf("%s/.netrc", home);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "machine " POLICY_HOST " login a password b\n");
	fclose(file);
	free(path);
}

static void remove_home(const char *home)
{
	char *path = mem_printf("%s/.netrc", home);

	unlink(path);
	rmdir(home);
	free(path);
}

static void environment(void **state)
{
	static const char *const proxies[] = {
	    "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
	const char *old_home = getenv("HOME");
	char *kept = mem_strdup(old_home ? old_home : "/");
	char home[] = "/tmp/danelaw-test-home-XXXXXX";

	(void)state;
	make_home(home);
	setenv("HOME", home, 1);
	for (size_t i = 0; i < COUNT(proxies); i++)
		setenv(proxies[i], "http://127.0.0.1:1", 1);
	renew_fetcher();
	serve_text(GOOD);
	expect(FETCH_OK, "version: STSv1\n");
	for (size_t i = 0; i < COUNT(proxies); i++)
		unsetenv(proxies[i]);
	setenv("HOME", kept, 1);
	remove_home(home);
	free(kept);
}

/* Whoever may set the variable does not become a trust anchor. */
static void environment_ca(void **state)
{
	struct identity other = make_ca("another CA");
	char path[sizeof stage.ca_file + sizeof "-other"];

	(void)state;
	snprintf(path, sizeof path, "%s-other", stage.ca_file);
	write_ca(path, &other);
	setenv("SSL_CERT_FILE", stage.ca_file, 1);
	setenv("SSL_CERT_DIR", "/tmp", 1);
	setenv("CURL_CA_BUNDLE", stage.ca_file, 1);
	stage.conf.tls.ca_file = path;
	renew_fetcher();
	serve_text(GOOD);
	expect(FETCH_CERTIFICATE, "unable to get local issuer certificate");
	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");
	unsetenv("CURL_CA_BUNDLE");
	unlink(path);
	free_identity(&other);
}

/* ---- addresses ---- */

static void special_addresses(void **state)
{
	static const struct {
		const char *allowed, *ip, *why;
	} rows[] = {
	    {"192.0.2.0/24", "127.0.0.1", "127.0.0.1 is not public"},
	    {"192.0.2.0/24", "10.0.0.1", "10.0.0.1 is not public"},
	    {"192.0.2.0/24", "169.254.169.254", "169.254.169.254 is not public"},
	    {"0.0.0.0/0", "0.0.0.0", "0.0.0.0 cannot be the address of a host"},
	    {"0.0.0.0/0", "224.0.0.1", "224.0.0.1 cannot be the address of a host"},
	    {"0.0.0.0/0", "255.255.255.255", "255.255.255.255 cannot be the address of a host"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		world_reset(stage.loop);
		assert_true(cidr_parse(&stage.allowed, rows[i].allowed));
		say_host(POLICY_HOST, rows[i].ip);
		expect(FETCH_FAILED, rows[i].why);
	}
}

static void allowed_for_the_domain(void **state)
{
	struct conf_domain section = {.name = DOMAIN};
	struct cidr own;

	(void)state;
	assert_true(cidr_parse(&own, "127.0.0.1"));
	assert_true(cidr_parse(&stage.allowed, "192.0.2.0/24"));
	section.policy.allow_addresses = (struct cidr_list){1, &own};
	stage.conf.domain_count = 1;
	stage.conf.domains = &section;
	serve_text(GOOD);
	expect(FETCH_OK, "version: STSv1\n");
}

static void next_address(void **state)
{
	struct said *a = say(DNS_INSECURE, DNS_A, POLICY_HOST);

	(void)state;
	add_address(add_address(add_address(a, "10.0.0.1"), "127.0.0.9"), "127.0.0.1");
	say(DNS_FAILED, DNS_AAAA, POLICY_HOST);
	serve_script(reply, GOOD);
	expect(FETCH_OK, "version: STSv1\n");
}

static void one_family(void **state)
{
	(void)state;
	add_address(say(DNS_INSECURE, DNS_AAAA, POLICY_HOST), "::1");
	add_address(say(DNS_INSECURE, DNS_A, POLICY_HOST), "127.0.0.1");
	stage.conf.policy.ip = IP_ONLY_V4;
	serve_script(reply, GOOD);
	expect(FETCH_OK, "version: STSv1\n");
}

static void no_address(void **state)
{
	(void)state;
	say(DNS_INSECURE, DNS_A, POLICY_HOST)->answer.nxdomain = true;
	say(DNS_SECURE, DNS_AAAA, POLICY_HOST);
	expect(FETCH_FAILED, "it has no address");
	world_reset(stage.loop);
	say(DNS_INSECURE, DNS_A, POLICY_HOST);
	say_bogus(DNS_AAAA, POLICY_HOST);
	expect(FETCH_FAILED, "the AAAA lookup failed (signature expired)");
	world_reset(stage.loop);
	say(DNS_FAILED, DNS_A, POLICY_HOST)->answer.busy = true;
	say(DNS_FAILED, DNS_AAAA, POLICY_HOST)->answer.busy = true;
	expect(FETCH_BUSY, "lookup failed");
}

static void nobody_listens(void **state)
{
	(void)state;
	say_host(POLICY_HOST, "127.0.0.9");
	expect(FETCH_FAILED, POLICY_HOST);
}

/* The addresses of a fetch go with it: the next one dials what DNS says then. */
static void addresses_are_not_kept(void **state)
{
	(void)state;
	serve_text(GOOD);
	expect(FETCH_OK, "version: STSv1\n");
	world_reset(stage.loop);
	say_host(POLICY_HOST, "127.0.0.9");
	expect(FETCH_FAILED, POLICY_HOST);
}

/* ---- time, and ends before the end ---- */

static void silent_resolver(void **state)
{
	struct told told = {0};

	(void)state;
	say(DNS_INSECURE, DNS_A, POLICY_HOST)->silent = true;
	say(DNS_INSECURE, DNS_AAAA, POLICY_HOST);
	start(&told, DOMAIN, 0.2);
	await(&told);
	assert_int_equal(told.result.outcome, FETCH_FAILED);
	assert_string_equal(told.result.why, POLICY_HOST ": no address within 0.2 s");
}

/* The kernel takes the connection; nobody ever says hello. */
static void silent_host(void **state)
{
	struct told told = {0};

	(void)state;
	say_host(POLICY_HOST, "127.0.0.1");
	start(&told, DOMAIN, 0.2);
	await(&told);
	assert_int_equal(told.result.outcome, FETCH_FAILED);
	assert_string_equal(told.result.why, POLICY_HOST ": no policy within 0.2 s");
}

static const struct endless dripping = {HEAD "\r\n", "x", 2000};

/* The loop has turned `turns` times: from the lookups through the handshake into the body. */
static void turn(struct told *told, size_t turns)
{
	start(told, DOMAIN, 20);
	for (size_t i = 0; i < turns; i++)
		ev_run(stage.loop, EVRUN_ONCE);
	assert_int_equal(told->calls, 0);
}

static void cancel_everywhere(void **state)
{
	size_t descriptors = count_entries("/proc/self/fd");

	(void)state;
	serve_endless(&dripping);
	for (size_t turns = 0; turns < 30; turns++) {
		struct told told = {0};

		turn(&told, turns);
		cancel(&told);
		run_for(0.005);
		assert_int_equal(told.calls, 0);
		assert_int_equal(in_flight, 0);
		assert_int_equal(count_entries("/proc/self/fd"), descriptors);
	}
	fetch_cancel(&(struct fetch *){NULL});
}

static void free_everywhere(void **state)
{
	(void)state;
	serve_endless(&dripping);
	for (size_t turns = 0; turns < 30; turns++) {
		struct told told = {0};

		turn(&told, turns);
		fetcher_free(&stage.fetcher);
		run_for(0.005);
		assert_int_equal(told.calls, 0);
		assert_int_equal(in_flight, 0);
		make_fetcher();
	}
}

static struct told four[4];

static void cancel_others(struct told *told)
{
	(void)told;
	for (size_t i = 0; i < COUNT(four); i++)
		fetch_cancel(&four[i].fetch);
}

static void free_fetcher(struct told *told)
{
	(void)told;
	fetcher_free(&stage.fetcher);
}

static void restart(struct told *told)
{
	told->then = NULL;
	free(told->body);
	start(told, DOMAIN, 20);
}

static size_t calls_of_four(void)
{
	size_t sum = 0;

	for (size_t i = 0; i < COUNT(four); i++)
		sum += four[i].calls;
	return sum;
}

/* Whoever is told first does it. */
static void run_deed(void (*deed)(struct told *), size_t calls)
{
	memset(four, 0, sizeof four);
	for (size_t i = 0; i < COUNT(four); i++) {
		four[i].then = deed;
		start(&four[i], DOMAIN, 20);
	}
	for (int i = 0; i < 400 && calls_of_four() < calls; i++)
		run_for(0.05);
	run_for(0.2); /* and nobody else is told */
	for (size_t i = 0; i < COUNT(four); i++)
		free(four[i].body);
	assert_int_equal(calls_of_four(), calls);
}

static void inside_the_callback(void **state)
{
	(void)state;
	serve_text(GOOD);
	run_deed(cancel_others, 1);
	run_deed(restart, 2 * COUNT(four));
	run_deed(free_fetcher, 1);
	assert_null(stage.fetcher);
}

/* ---- many at once ---- */

/* Connections that the kernel took for us; kept open, as a host that says nothing would. */
static int taken[200];
static size_t taken_count;

static size_t take_connections(int listener)
{
	int fd;

	fcntl(listener, F_SETFL, O_NONBLOCK);
	while ((fd = accept(listener, NULL, NULL)) >= 0)
		taken[taken_count++] = fd;
	return taken_count;
}

/* Runs until there are so many, and a while longer. */
static size_t await_connections(int listener, size_t count)
{
	for (int i = 0; i < 200 && take_connections(listener) < count; i++)
		run_for(0.05);
	run_for(0.1);
	return take_connections(listener);
}

static void close_connections(void)
{
	while (taken_count > 0)
		close(taken[--taken_count]);
}

static struct told crowd[FETCH_WAITING_MAX + 1];

static void start_crowd(size_t count, const char *domain)
{
	memset(crowd, 0, sizeof crowd);
	for (size_t i = 0; i < count; i++)
		start(&crowd[i], domain, 30);
}

static void per_address(void **state)
{
	struct told impatient = {0};

	(void)state;
	say_host(POLICY_HOST, "127.0.0.1");
	start_crowd(FETCH_GETS_PER_HOST + 3, DOMAIN);
	assert_int_equal(
	    await_connections(stage.listener, FETCH_GETS_PER_HOST), FETCH_GETS_PER_HOST);
	cancel(&crowd[0]);
	assert_int_equal(
	    await_connections(stage.listener, FETCH_GETS_PER_HOST + 1), FETCH_GETS_PER_HOST + 1);
	start(&impatient, DOMAIN, 0.1);
	await(&impatient);
	assert_int_equal(impatient.result.outcome, FETCH_BUSY);
	close_connections();
}

static void over_all_addresses(void **state)
{
	enum { HOSTS = FETCH_GETS_MAX / FETCH_GETS_PER_HOST + 2 };
	int listeners[HOSTS];
	size_t count = 0;

	(void)state;
	memset(crowd, 0, sizeof crowd);
	for (int i = 0; i < HOSTS; i++) {
		char *ip = mem_printf("127.0.1.%d", i + 1);
		char *name = mem_printf("mta-sts.a%d.example", i);

		listeners[i] = listen_at(ip, stage.port);
		say_host(name, ip);
		for (int j = 0; j < FETCH_GETS_PER_HOST; j++)
			start(&crowd[count++], name + strlen("mta-sts."), 30);
		free(name);
		free(ip);
	}
	for (int turn = 0; turn < 200 && taken_count < FETCH_GETS_MAX; turn++) {
		run_for(0.05);
		for (int i = 0; i < HOSTS; i++)
			take_connections(listeners[i]);
	}
	run_for(0.1);
	for (int i = 0; i < HOSTS; i++) {
		take_connections(listeners[i]);
		close(listeners[i]);
	}
	assert_int_equal(taken_count, FETCH_GETS_MAX);
	close_connections();
}

static void slow_host_beside(void **state)
{
	int slow = listen_at("127.0.0.2", stage.port);

	(void)state;
	say_host("mta-sts.slow.example", "127.0.0.2");
	serve_text(GOOD);
	start_crowd(1000, "slow.example");
	assert_int_equal(await_connections(slow, FETCH_GETS_PER_HOST), FETCH_GETS_PER_HOST);
	expect(FETCH_OK, "version: STSv1\n"); /* sooner than the slow host's time is over */
	assert_int_equal(take_connections(slow), FETCH_GETS_PER_HOST);
	close_connections();
	close(slow);
}

static void many_served(void **state)
{
	size_t served = 0;

	(void)state;
	serve_text(GOOD);
	start_crowd(60, DOMAIN);
	for (size_t i = 0; i < 60; i++) {
		await(&crowd[i]);
		served += crowd[i].result.outcome == FETCH_OK;
		free(crowd[i].body);
	}
	assert_int_equal(served, 60);
}

static void one_too_many(void **state)
{
	struct told *last = &crowd[FETCH_WAITING_MAX];

	(void)state;
	say(DNS_INSECURE, DNS_A, POLICY_HOST)->silent = true;
	say(DNS_INSECURE, DNS_AAAA, POLICY_HOST)->silent = true;
	start_crowd(FETCH_WAITING_MAX + 1, DOMAIN);
	await(last);
	assert_int_equal(last->result.outcome, FETCH_BUSY);
	assert_int_equal(in_flight, 2 * FETCH_LOOKUPS_MAX);
	for (size_t i = 0; i < FETCH_WAITING_MAX; i++)
		assert_int_equal(crowd[i].calls, 0);
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, set_up, tear_down, NULL                                            \
	}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		TEST("R-STS-07 R-STS-08 R-STS-12 S-01 S-02 responses", responses),
		TEST("R-TLSSEC-12 an end without close_notify", truncated),
		TEST("R-STS-11 S-03 64 KiB, and an octet more", sizes),
		TEST("R-STS-11 S-03 endless bodies, headers, interim responses", endless_responses),
		TEST("R-STS-11 S-03 drips end at the deadline", drips),
		TEST("R-STS-09 S-04 certificates", certificates),
		TEST("R-STS-09 S-04 a CA that is not ours", another_ca),
		TEST("R-STS-33 TLS 1.1 is refused", old_tls),
		TEST("R-STS-09 no CA file, no policy", no_ca_file),
		TEST("R-STS-08 S-14 proxies and .netrc", environment),
		TEST("R-STS-09 S-14 trust anchors from the environment", environment_ca),
		TEST("R-STS-10 S-05 special addresses", special_addresses),
		TEST("R-STS-10 allow_addresses of the domain", allowed_for_the_domain),
		TEST("R-DNS-10 the next address is tried", next_address),
		TEST("ip = ipv4", one_family),
		TEST("R-STS-10 no address", no_address),
		TEST("nobody listens", nobody_listens),
		TEST("R-STS-10 addresses are not kept", addresses_are_not_kept),
		TEST("R-STS-11 a silent resolver", silent_resolver),
		TEST("R-STS-11 a silent host", silent_host),
		TEST("R-STS-35 cancel at every stage", cancel_everywhere),
		TEST("R-STS-35 the fetcher goes at every stage", free_everywhere),
		TEST("R-STS-35 starting, cancelling, freeing inside the callback", inside_the_callback),
		TEST("S-15 at most five to one address", per_address),
		TEST("S-15 at most fifty in all", over_all_addresses),
		TEST("S-15 a slow host does not hold up others", slow_host_beside),
		TEST("S-15 who waits is served", many_served),
		TEST("S-15 beyond the limit: busy at once", one_too_many),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
