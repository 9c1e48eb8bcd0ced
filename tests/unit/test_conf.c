/*
 * test_conf.c - conf/conf.h: what is read, what is refused and where, and the sample file.
 */
#include "conf/conf.h"

#include "conf/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The configuration of a text (and its length, for NUL) and options; the report stays. */
static struct conf_report report;

static struct conf *load_octets(
    const char *text, size_t len, const char *const *options, size_t count)
{
	FILE *file = len ? fmemopen((void *)text, len, "r") : NULL;

	conf_report_free(&report);
	struct conf *conf = conf_load_file(file, "f", options, count, &report);

	if (file)
		fclose(file);
	return conf;
}

static struct conf *load(const char *text) { return load_octets(text, strlen(text), NULL, 0); }

static struct conf *load_good(const char *text)
{
	struct conf *conf = load(text);

	for (size_t i = 0; i < report.error_count; i++)
		print_message("%s\n", report.errors[i]);
	assert_non_null(conf);
	assert_int_equal(report.error_count, 0);
	return conf;
}

static void expect_error(const char *expected)
{
	print_message("expected: %s\n", expected);
	for (size_t i = 0; i < report.error_count; i++)
		print_message("     got: %s\n", report.errors[i]);
	assert_int_equal(report.error_count, 1);
	assert_int_equal(strncmp(report.errors[0], expected, strlen(expected)), 0);
}

static int forget_report(void **unused)
{
	(void)unused;
	conf_report_free(&report);
	return 0;
}

static void defaults(void **unused)
{
	struct conf *conf = load_good("");

	(void)unused;
	assert_int_equal(conf->listener_count, 1);
	assert_int_equal(conf->listeners[0].listen.count, 2);
	assert_true(conf->listeners[0].skip_missing_family);
	assert_int_equal(conf->listeners[0].clients.count, 2);
	assert_int_equal(conf->listeners[0].max_sessions, 10000);
	assert_int_equal(conf->dns.view_count, 1);
	assert_true(conf->dns.views[0].is_signed);
	assert_string_equal(conf->dns.probe_name, ".");
	assert_int_equal(conf->dns.probe_type, DNS_SOA);
	assert_int_equal(conf->policy.level, LEVEL_DANE);
	assert_int_equal(conf->policy.insecure_mx, LEVEL_DANE);
	assert_int_equal(conf->policy.fallback, LEVEL_MAY);
	assert_int_equal(conf->policy.min_tls, TLS_VERSION_1_2);
	assert_true(conf->policy.enforce);
	assert_true(conf->policy.mta_sts);
	assert_true(conf->mta_sts.fetch_timeout == 20);
	assert_false(conf->mta_sts.first_contact_defer);
	assert_false(conf->policy.next_hop.set);
	assert_true(conf->timeouts.data_end == 570);
	assert_int_equal(conf->limits.message_size, 50 << 20);
	assert_int_equal(conf->spool.retry.count, 5);
	assert_true(conf->spool.retry.items[4] == 4 * 3600);
	assert_true(conf->spool.lifetime == 5 * 86400);
	assert_string_equal(conf->spool.bounce_from, "");
	assert_int_equal(strncmp(conf->server.greeting_name, "danelaw", 7), 0);
	conf_free(&conf);
	assert_null(conf);
	conf_free(&conf);
}

static void forms(void **unused)
{
	struct conf *conf = load_good("\xef\xbb\xbf ; comment\r\n"
				      "\t# comment\r\n"
				      "  [listener a]  ; comment\r\n"
				      "  listen=192.0.2.1:25,[::1]:25 ; comment\r\n"
				      "\tclients = 10.0.0.0/8\r\n"
				      "clients += 192.168.0.0/16, fe80::/10 ::1\r\n"
				      "  max_sessions = 7\r\n"
				      "[ domain\t.B\xc3\xbc"
				      "cher.Example ]\r\n"
				      "reason = a;b # c\r\n"
				      "until = 2099-12-31\r\n"
				      "[spool]\nretry = 100ms,2h\nretry += 1s\n"
				      "bounce_from = Mail.Desk@B\xc3\xbc"
				      "cher.example");

	(void)unused;
	assert_int_equal(conf->listeners[0].listen.count, 2);
	assert_false(conf->listeners[0].skip_missing_family);
	assert_int_equal(conf->listeners[0].clients.count, 4);
	assert_int_equal(conf->listeners[0].max_sessions, 7);
	assert_string_equal(conf->domains[0].name, "xn--bcher-kva.example");
	assert_true(conf->domains[0].below);
	assert_string_equal(conf->domains[0].reason, "a;b # c");
	assert_int_equal(conf->domains[0].until, 4102444800);
	assert_int_equal(conf->spool.retry.count, 3);
	assert_true(conf->spool.retry.items[0] == 0.1 && conf->spool.retry.items[2] == 1);
	assert_string_equal(conf->spool.bounce_from, "Mail.Desk@xn--bcher-kva.example");
	conf_free(&conf);
}

/* inih's own limits: 49 octets of a section name, 197 of a line. */
static void long_names_and_values(void **unused)
{
	static const char name[] =
	    "a-rather-long-label-of-some-forty-five-octets.and-one-more.example";
	char text[8192] = "[policy]\nallow_addresses =";
	char *domain = mem_printf("\n[domain %s]\nlevel = may\n", name);

	(void)unused;
	for (int i = 0; i < 200; i++)
		snprintf(text + strlen(text), 32, " 10.%d.0.0/16", i);
	strcat(text, domain);
	struct conf *conf = load_good(text);

	assert_int_equal(conf->policy.allow_addresses.count, 200);
	assert_string_equal(conf->domains[0].name, name);
	free(domain);
	conf_free(&conf);
}

static void line_of(char *text, size_t len)
{
	memset(text, 'x', len);
	memcpy(text, "[domain a.org]\nreason = ", 24);
	text[len] = '\0';
}

static void longest_line(void **unused)
{
	char text[9000];
	const size_t header = strlen("[domain a.org]\n");

	(void)unused;
	line_of(text, header + 8192);
	struct conf *conf = load_good(text);

	assert_int_equal(strlen(conf->domains[0].reason), 8192 - strlen("reason = "));
	conf_free(&conf);
	line_of(text, header + 8193);
	assert_null(load(text));
	expect_error("f:2: line of more than 8192 octets");
}

static void mistakes(void **unused)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"[server]\nworkers = 65", "f:2: workers: "},
	    {"[server]\n\nhostname = a.b\nhostname = c.d", "f:4: hostname again (first in line 3)"},
	    {"[admit]\nlisten = 127.0.0.1:9125", "f:1: unknown section [admit]"},
	    {"[spoon]", "f:1: unknown section [spoon]"},
	    {"[policy] x\n", "f:1: text after the section header"},
	    {"[policy];x\n", "f:1: text after the section header"},
	    {"[policy\n", "f:1: section header without ]"},
	    {"[]\nx = y", "f:1: section header without a name"},
	    {"level = may", "f:1: setting before the first [section]"},
	    {"[policy]\nlevel", "f:2: neither"},
	    {"[policy]\nlevel: may", "f:2: neither"},
	    {"[policy]\n = may", "f:2: neither"},
	    {"[policy]\n += may", "f:2: value without a key"},
	    {"[policy]\nlevel ; = may", "f:2: neither"},
	    {"[policy]\nlevel = may # why", "f:2: level: may # why is not one of none may"},
	    {"[policy]\nlevel = ", "f:2: level: nothing is not one of"},
	    {"[policy]\nlevel += may", "f:2: level: += is for lists only"},
	    {"[policy]\nLevel = may", "f:2: unknown setting Level"},
	    {"[policy]\nenforce = true", "f:2: enforce: true is neither yes nor no"},
	    {"[policy]\nfallback = dane", "f:2: fallback: dane is not one of may encrypt"},
	    {"[policy]\nmta_sts = maybe", "f:2: mta_sts: maybe is neither yes nor no"},
	    {"[mta-sts]\nfirst_contact = never",
		"f:2: first_contact: never is not one of deliver defer"},
	    {"[policy]\nallow_addresses = 10.0.0.1/8", "f:2: allow_addresses: 10.0.0.1/8 is not"},
	    {"[policy]\nallow_addresses = 10.0.0.0/8\nallow_addresses += x",
		"f:3: allow_addresses: x is"},
	    {"[policy]\nnext_hop = 10.0.0.5", "f:2: next_hop: 10.0.0.5 is none of"},
	    {"[policy]\nnext_hop = [0.0.0.0]:25", "f:2: next_hop: "},
	    {"[policy]\nnext_hop = mx.example:0", "f:2: next_hop: "},
	    {"[policy]\nnext_hop = [mx.example", "f:2: next_hop: "},
	    {"[policy]\nuntil = 2027-01-31", "f:2: unknown setting until in [policy]"},
	    {"[domain a.org]\nuntil = 2027-02-29", "f:2: until: 2027-02-29 is not a date"},
	    {"[domain a.org]\nuntil = 27-1-1", "f:2: until: "},
	    {"[domain a..org]", "f:1: [domain a..org]: a..org is not a domain"},
	    {"[domain a.org]\n[domain A.ORG.]",
		"f:2: section [domain A.ORG.] again (first in line 1)"},
	    {"[domain]\n", "f:1: section [domain]: it is written [domain DOMAIN]"},
	    {"[listener]\n", "f:1: section [listener]: it is written [listener NAME]"},
	    {"[tls x]\n", "f:1: section [tls x]: it is written [tls]"},
	    {"[sever]\n", "f:1: unknown section [sever]; there are [server] [listener NAME]"},
	    {"[]\n", "f:1: section header without a name"},
	    {"[listener a b]\n", "f:1: [listener a b]: a b is not a name"},
	    {"[listener a]\nprotocol = uucp", "f:2: protocol: uucp is not one of smtp lmtp"},
	    {"[listener a]\ndelivery = later",
		"f:2: delivery: later is not one of fanout defer queue"},
	    {"[listener a]\nprotocol = lmtp\ndelivery = queue",
		"f:3: [listener a] delivery must be fanout where protocol is lmtp"},
	    {"[listener a]\nprotocol = lmtp\ndelivery = defer",
		"f:3: [listener a] delivery must be fanout where protocol is lmtp"},
	    {"[listener a]\nprotocol = lmtp\nlisten = 127.0.0.1:24 127.0.0.2:25",
		"f:3: [listener a] port 25 is not for lmtp"},
	    {"[listener a]\nlisten = 127.0.0.1", "f:2: listen: 127.0.0.1 is not"},
	    {"[listener a]\nlisten =", "f:2: listen: must name at least one"},
	    {"[listener a]\nclients =", "f:2: clients: must name at least one"},
	    {"[listener a]\nmax_sessions = 0", "f:2: max_sessions: must be from 1 to"},
	    {"[listener a]\nmax_sessions = 1e3", "f:2: max_sessions: 1e3 is not a whole number"},
	    {"[listener a]\n[listener b]\nlisten = [::1]:2525", "f:3: [::1]:2525 is already taken"},
	    {"[listener a]\nlisten = 0.0.0.0:26\nclients = ::1\n[listener b]\nlisten = "
	     "127.0.0.1:26",
		"f:5: [127.0.0.1]:26 is already taken by [listener a]"},
	    {"[listener a]\nlisten = [::1]:26\n[listener b]\nlisten = [::]:26\nclients = ::1",
		"f:4: [::]:26 is already taken by [listener a]"},
	    {"[listener a]\nlisten = 127.0.0.1:26 0.0.0.0:26\nclients = ::1",
		"f:2: [0.0.0.0]:26 is already taken by [listener a]"},
	    {"[admin]\nlisten = 127.0.0.1", "f:2: listen: 127.0.0.1 is not"},
	    {"[admin]\nlisten = 127.0.0.1:9125 127.0.0.1:2525",
		"f:2: [127.0.0.1]:2525 is already taken by [listener smarthost]"},
	    {"[dns]\nforward = 192.0.2.1:53", "f:2: forward: 192.0.2.1:53 is not"},
	    {"[dns]\nsigned = no", "f:2: unknown setting signed in [dns]"},
	    {"[dns]\ndnssec_probe = .", "f:2: dnssec_probe: nothing is not a type"},
	    {"[dns]\ntrust_anchor = /dev/null", "f:2: trust_anchor /dev/null: is empty"},
	    {"[dns]\nroot_hints = /nonexistent", "f:2: root_hints /nonexistent: No such"},
	    {"[dns corp.internal]\nsigned = no", "f:1: forward must be written"},
	    {"[dns corp.internal]\nforward = 10.0.0.53\ntimeout = 1s",
		"f:3: unknown setting timeout"},
	    {"[limits]\nmessage_size = 63K", "f:2: message_size: must be from 64K"},
	    {"[spool]\nretry = 1m 0s", "f:2: retry: must be from"},
	    {"[spool]\nretry = 1m often", "f:2: retry: often is not a time"},
	    {"[spool]\nretry = ,", "f:2: retry: must not be empty"},
	    {"[spool]\nretry = 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s",
		"f:2: retry: at most 20 times"},
	    {"[spool]\nlifetime = 0s", "f:2: lifetime: must be from"},
	    {"[spool]\nbounce_from = postmaster", "f:2: bounce_from: postmaster is not an address"},
	    {"[spool]\nbounce_from = a@b@example.org", "f:2: bounce_from: a@b@example.org is not"},
	    {"[spool]\nbounce_from = a b@example.org", "f:2: bounce_from: a b@example.org is not"},
	    {"[spool]\nbounce_from = a..b@example.org", "f:2: bounce_from: a..b@example.org is"},
	    {"[spool]\nbounce_from = a@[192.0.2.1]", "f:2: bounce_from: a@[192.0.2.1] is not"},
	    {"[spool]\nbounce_from = a@exa_\xff.org", "f:2: bounce_from: a@exa_"},
	    {"[limits]\nrecipients = 99", "f:2: recipients: must be from 100"},
	    {"[timeouts]\nconnect = 30", "f:2: connect: 30 is not a time"},
	    {"[timeouts]\nconnect = -1s", "f:2: connect: -1s is not a time"},
	    {"[timeouts]\nconnect = 0s", "f:2: connect: must be from 1ms"},
	    {"[timeouts]\nconnect = 1.5s", "f:2: connect: 1.5s is not a time"},
	    {"[timeouts]\nconnect = 999999999999d", "f:2: connect: must be from 1ms to 1d"},
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_null(load(cases[i].text));
		expect_error(cases[i].error);
	}
	assert_null(load_octets("[policy]\nle\0vel = may\n", 22, NULL, 0));
	expect_error("f:2: control character");
}

static void all_mistakes_in_order(void **unused)
{
	static const char *const expected[] = {
	    "f:2: ", "f:3: ", "f:5: ", "f:7: ", "f:8: ", "-o nope: "};
	static const char text[] = "[timeouts]\nrcpt = 400s\nconnect = x\n[server]\njunk\n"
				   "[policy]\n  level = no\n[unknown]\nx = y\n";

	(void)unused;
	assert_null(load_octets(text, strlen(text), (const char *const[]){"nope"}, 1));
	assert_int_equal(report.error_count, COUNT(expected));
	for (size_t i = 0; i < COUNT(expected); i++)
		assert_int_equal(strncmp(report.errors[i], expected[i], strlen(expected[i])), 0);
}

static void timeouts_nest(void **unused)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"rcpt = 299s", NULL},
	    {"rcpt = 5m", "f:2: timeouts.rcpt must be below the 300s"},
	    {"data_start = 119s", NULL},
	    {"data_start = 2m", "f:2: timeouts.data_start must be below the 120s"},
	    {"data_block = 179s", NULL},
	    {"data_block = 180s", "f:2: timeouts.data_block must be below the 180s"},
	    {"data_end = 599s", NULL},
	    {"data_end = 10m", "f:2: timeouts.data_end must be below the 600s"},
	    {"connect = 240s", NULL},
	    {"connect = 241s", "f:2: timeouts.connect (241s) must not exceed timeouts.rcpt (240s)"},
	    {"greeting = 241s", "f:2: timeouts.greeting"},
	    {"handshake = 241s", "f:2: timeouts.handshake"},
	    {"command = 241s", "f:2: timeouts.command"},
	    {"rcpt = 59s\ngreeting = 1s\ncommand = 1s", "f:2: dns.total (60s)"},
	    {"idle_client = 100ms", NULL},
	    {"[dns]\ntimeout = 61s", "f:3: dns.timeout (61s) must not exceed dns.total"},
	    {"[dns]\ntotal = 241s", "f:3: dns.total (241s) must not exceed timeouts.rcpt"},
	    {"[mta-sts]\nfetch_timeout = 240s", NULL},
	    {"[mta-sts]\nfetch_timeout = 241s",
		"f:3: mta-sts.fetch_timeout (241s) must not exceed timeouts.rcpt"},
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *text = mem_printf("[timeouts]\n%s\n", cases[i].text);
		struct conf *conf = load(text);

		assert_int_equal(conf == NULL, cases[i].error != NULL);
		if (cases[i].error)
			expect_error(cases[i].error);
		conf_free(&conf);
		free(text);
	}
}

static void clients_must_be_written(void **unused)
{
	struct conf *conf;

	(void)unused;
	assert_null(load("[listener a]\nlisten = 127.0.0.1:26 0.0.0.0:25\n"));
	expect_error("f:2: clients must be written in [listener a]");
	assert_null(load("[listener a]\nlisten = [::]:25\n"));
	expect_error("f:2: clients must be written in [listener a]");
	assert_null(
	    load("[listener a]\nlisten = 127.0.0.1:25\n[listener b]\nlisten = 10.0.0.1:25\n"));
	expect_error("f:4: clients must be written in [listener b]");
	conf = load_good("[listener a]\nlisten = 127.9.9.9:25 [::1]:25 [::ffff:127.0.0.1]:26\n");
	assert_int_equal(conf->listeners[0].clients.count, 2);
	conf_free(&conf);
	conf = load_good("[listener a]\nlisten = 0.0.0.0:25\nclients = 10.0.0.0/8\n");
	assert_int_equal(conf->listeners[0].clients.count, 1);
	conf_free(&conf);
}

static void options_replace(void **unused)
{
	static const char text[] = "[policy]\nlevel = dane-only\nallow_addresses = 10.0.0.0/8 ::1\n"
				   "[unbound]\nverbosity = 1\nverbosity = 2\n";
	static const char *const options[] = {
	    "policy.level=encrypt",
	    "policy.level=may",
	    "domain .example.org.level=none",
	    "domain .example.org.reason=a=b",
	    "policy.allow_addresses=192.168.0.0/16",
	    "unbound.verbosity=3",
	    "listener x.listen=127.0.0.1:26",
	};

	(void)unused;
	struct conf *conf = load_octets(text, strlen(text), options, COUNT(options));

	assert_non_null(conf);
	assert_int_equal(conf->policy.level, LEVEL_MAY);
	assert_int_equal(conf->policy.allow_addresses.count, 1);
	assert_string_equal(conf->domains[0].name, "example.org");
	assert_true(conf->domains[0].below);
	assert_int_equal(conf->domains[0].policy.level, LEVEL_NONE);
	assert_string_equal(conf->domains[0].reason, "a=b");
	assert_int_equal(conf->unbound_count, 1);
	assert_string_equal(conf->unbound[0].value, "3");
	assert_string_equal(conf->listeners[0].name, "x");
	conf_free(&conf);
}

static void bad_options(void **unused)
{
	static const struct {
		const char *option, *error;
	} cases[] = {
	    {"policy.level", "-o policy.level: is not section.key=value"},
	    {"level=may", "-o level: is not section.key=value"},
	    {".level=may", "-o .level: is not"},
	    {"policy.=may", "-o policy.: is not"},
	    {"policy.level=weak", "-o policy.level: level: weak is not one of"},
	    {"policy.level=may\n", "-o policy.level: is not"},
	    {"polixy.level=may", "-o polixy.level: unknown section [polixy]"},
	    {"policy.lefel=may", "-o policy.lefel: unknown setting lefel"},
	    {"timeouts.rcpt=300s", "-o timeouts.rcpt: timeouts.rcpt must be below"},
	    {"unbound.val-permissive-mode=yes",
		"-o unbound.val-permissive-mode: val-permissive-mode is"},
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_null(load_octets("", 0, &cases[i].option, 1));
		expect_error(cases[i].error);
	}
}

static void raw_options(void **unused)
{
	static const char *const refused[] = {
	    "module-config = iterator",
	    "val-permissive-mode = yes",
	    "val-override-date = -1",
	    "val-bogus-ttl = 0",
	    "harden-dnssec-stripped = no",
	    "harden-glue = no",
	    "harden-below-nxdomain = no",
	    "serve-expired = yes",
	    "serve-expired-ttl = 1",
	    "cache-min-ttl = 60",
	    "trust-anchor = x",
	    "trust-anchor-file = x",
	    "auto-trust-anchor-file = x",
	    "trusted-keys-file = x",
	    "dlv-anchor = x",
	    "dlv-anchor-file = x",
	    "root-hints = x",
	    "use-syslog = yes",
	    "logfile = x",
	    "username = x",
	    "chroot = x",
	    "tls-upstream = yes",
	    "ssl-upstream = yes",
	    "Module-Config = iterator",
	    "module-config\x20x = y",
	    "val-nsec3-keysize-iterations = 1 0",
	    "verbosity =",
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(refused); i++) {
		char *text = mem_printf("[unbound]\n%s\n", refused[i]);

		print_message("%s\n", refused[i]);
		assert_null(load(text));
		expect_error("f:2: ");
		free(text);
	}
	struct conf *conf =
	    load_good("[unbound]\ndomain-insecure = a.example\ndomain-insecure = b.example\n"
		      "tls-upstream = yes\ntls-cert-bundle = /x\n");

	assert_int_equal(conf->unbound_count, 4);
	assert_string_equal(conf->unbound[1].name, "domain-insecure");
	assert_string_equal(conf->unbound[1].value, "b.example");
	assert_string_equal(conf->unbound[1].where, "f:3");
	assert_int_equal(report.warning_count, 2);
	assert_int_equal(strncmp(report.warnings[0], "f:2: domain-insecure", 20), 0);
	conf_free(&conf);
}

static void next_hops(void **unused)
{
	static const struct {
		const char *text, *host;
		bool lookup_mx;
		unsigned port;
	} cases[] = {
	    {"Relay.Example", "relay.example", true, 25},
	    {"relay.example:2525", "relay.example", true, 2525},
	    {"[relay.example]", "relay.example", false, 25},
	    {"[relay.example]:2525", "relay.example", false, 2525},
	    {"[10.0.0.5]:26", NULL, false, 26},
	    {"[10.0.0.5]", NULL, false, 25},
	    {"[IPv6:2001:db8::1]:26", NULL, false, 26},
	    {"[2001:db8::1]:26", NULL, false, 26},
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *text = mem_printf("[policy]\nnext_hop = %s\n", cases[i].text);
		struct conf *conf = load_good(text);
		const struct conf_next_hop *hop = &conf->policy.next_hop;

		assert_true(hop->set);
		assert_int_equal(hop->lookup_mx, cases[i].lookup_mx);
		assert_int_equal(hop->port, cases[i].port);
		assert_int_equal(hop->is_address, cases[i].host == NULL);
		if (cases[i].host)
			assert_string_equal(hop->host, cases[i].host);
		else
			assert_int_equal(addr_port(&hop->address), cases[i].port);
		conf_free(&conf);
		free(text);
	}
}

static void servers(void **unused)
{
	struct conf *conf =
	    load_good("[dns]\nforward = 192.0.2.53 192.0.2.54@5353, 2001:db8::1@54\n"
		      "dnssec_probe = off\n[dns Corp.Internal]\nforward=10.0.0.53\nsigned=no\n");

	(void)unused;
	assert_int_equal(conf->dns.views[0].forward.count, 3);
	assert_int_equal(addr_port(&conf->dns.views[0].forward.items[0]), 53);
	assert_int_equal(addr_port(&conf->dns.views[0].forward.items[1]), 5353);
	assert_int_equal(addr_port(&conf->dns.views[0].forward.items[2]), 54);
	assert_string_equal(conf->dns.probe_name, "");
	assert_int_equal(conf->dns.view_count, 2);
	assert_string_equal(conf->dns.views[1].name, "corp.internal");
	assert_false(conf->dns.views[1].is_signed);
	conf_free(&conf);
}

static void policy_for_a_domain(void **unused)
{
	static const struct {
		const char *domain;
		enum level level;
	} cases[] = {
	    {"other.example", LEVEL_ENCRYPT},
	    {"example.org", LEVEL_MAY},
	    {"a.example.org", LEVEL_DANE_ONLY},
	    {"x.a.example.org", LEVEL_DANE_ONLY},
	    {"b.example.org", LEVEL_NONE},
	    {"x.b.example.org", LEVEL_SECURE},
	    {"badexample.org", LEVEL_ENCRYPT},
	    {"over.example.org", LEVEL_DANE_ONLY},
	};
	const struct conf_domain *section;
	/* [policy] after the domains: they inherit it all the same. */
	struct conf *conf =
	    load_good("[domain .example.org]\nlevel = dane-only\nallow_addresses += ::1\n"
		      "[domain example.org]\nlevel = may\nallow_addresses = 127.0.0.1\n"
		      "[domain b.example.org]\nlevel = none\n"
		      "[domain .b.example.org]\nlevel = secure\n"
		      "[domain over.example.org]\nlevel = none\nuntil = 2020-02-29\n"
		      "[policy]\nlevel = encrypt\nmin_tls = 1.3\nallow_addresses = 10.0.0.0/8\n");

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct conf_policy *policy =
		    conf_policy_for(conf, cases[i].domain, time(NULL), &section);

		print_message("%s\n", cases[i].domain);
		assert_int_equal(policy->level, cases[i].level);
		assert_int_equal(section == NULL, cases[i].level == LEVEL_ENCRYPT);
		assert_int_equal(policy->min_tls, TLS_VERSION_1_3);
	}
	assert_int_equal(conf->domains[0].policy.allow_addresses.count, 2);
	assert_int_equal(conf->domains[1].policy.allow_addresses.count, 1);
	/* To the end of the last day, UTC: 2020-03-01 is 1583020800. */
	assert_int_equal(
	    conf_policy_for(conf, "over.example.org", 1583020799, &section)->level, LEVEL_NONE);
	assert_int_equal(conf_policy_for(conf, "over.example.org", 1583020800, &section)->level,
	    LEVEL_DANE_ONLY);
	conf_free(&conf);
}

static void exceptions_end_with_a_warning(void **unused)
{
	char soon[16], later[16];
	time_t now = time(NULL), in_5_days = now + 5 * 86400, in_9_days = now + 9 * 86400;

	(void)unused;
	strftime(soon, sizeof soon, "%Y-%m-%d", gmtime(&in_5_days));
	strftime(later, sizeof later, "%Y-%m-%d", gmtime(&in_9_days));
	char *text = mem_printf("[domain a.org]\nuntil = 2020-01-01\n[domain b.org]\nuntil = %s\n"
				"[domain c.org]\nuntil = %s\n",
	    soon, later);
	struct conf *conf = load_good(text);

	assert_int_equal(report.warning_count, 2);
	assert_int_equal(
	    strncmp(report.warnings[0], "f:2: [domain a.org] ended on 2020-01-01", 39), 0);
	assert_int_equal(strncmp(report.warnings[1], "f:4: [domain b.org] ends on", 27), 0);
	conf_free(&conf);
	free(text);
}

static void files(void **unused)
{
	char folder[] = "/tmp/danelaw-test-conf-XXXXXX", *path, *words;
	struct conf *conf;

	(void)unused;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/fifo", folder);
	words = mem_printf("%s: is not a regular file", path);
	conf_report_free(&report);
	assert_null(conf_load("tests", NULL, 0, &report));
	expect_error("tests: Is a directory");
	conf_report_free(&report);
	assert_null(conf_load("/nonexistent.conf", NULL, 0, &report));
	expect_error("/nonexistent.conf: No such file");
	assert_int_equal(mkfifo(path, 0600), 0);
	conf_report_free(&report);
	assert_null(conf_load(path, NULL, 0, &report));
	expect_error(words);
	unlink(path);
	rmdir(folder);
	free(words);
	free(path);
	conf_report_free(&report);
	conf = conf_load("packaging/danelaw.conf", NULL, 0, &report);
	assert_non_null(conf);
	assert_int_equal(report.warning_count, 0);
	conf_free(&conf);
}

static void admin_addresses(void **unused)
{
	struct conf *conf = load_good("[admin]\nlisten = 127.0.0.1:9125 [::1]:9125");

	(void)unused;
	assert_int_equal(conf->admin.listen.count, 2);
	assert_int_equal(report.warning_count, 0);
	conf_free(&conf);
	conf = load_good("[admin]\nlisten = 192.0.2.1:9125");
	assert_int_equal(report.warning_count, 1);
	assert_int_equal(
	    strncmp(report.warnings[0], "f:2: [admin] [192.0.2.1]:9125 is no loopback", 44), 0);
	conf_free(&conf);
	conf = load_good("");
	assert_int_equal(conf->admin.listen.count, 0);
	conf_free(&conf);
}

static void machine_defaults(void **unused)
{
	static const char *const options[] = {"server.hostname=Mail.Example.ORG"};
	struct conf *conf;

	(void)unused;
	setenv("STATE_DIRECTORY", "/run/x:/run/y", 1);
	conf = load_octets("", 0, options, 1);
	assert_string_equal(conf->server.hostname, "mail.example.org");
	assert_string_equal(conf->server.greeting_name, "danelaw.mail.example.org");
	assert_string_equal(conf->server.state_dir, "/run/x");
	conf_free(&conf);
	unsetenv("STATE_DIRECTORY");
}

/* ---- the sample file ---- */

static bool find_row(const char *section, const char *key, struct conf_setting *row)
{
	for (size_t i = 0; conf_setting(i, row); i++) {
		size_t word = strcspn(row->section, " ");
		bool named = row->section[word] != '\0';
		bool fits = !strncmp(section, row->section, word) &&
			    (section[word] == ' ' || !section[word]) &&
			    (section[word] != '\0') == named;

		if (fits && !strcmp(row->key, key))
			return true;
	}
	return false;
}

/* "#key = value" of the sample is a row's default; it is counted, so that none can be missing. */
static void compare_line(const char *section, char *line, size_t *compared)
{
	char *equals = strstr(line, " =");
	struct conf_setting row;

	if (line[0] != '#' || !equals || line[1] == ' ' || !strcmp(section, "unbound"))
		return;
	*equals = '\0';
	char *value = equals + 2 + strspn(equals + 2, " ");

	print_message("[%s] %s = %s\n", section, line + 1, value);
	assert_true(find_row(section, line + 1, &row));
	assert_string_equal(value, row.fallback);
	(*compared)++;
}

static void sample_file(void **unused)
{
	FILE *file = fopen("packaging/danelaw.conf", "r");
	char line[512], section[64] = "";
	size_t compared = 0, rows = 0;
	struct conf_setting row;

	(void)unused;
	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = '\0';
		assert_true(line[0] == '#' || line[0] == '[' || !line[0]);
		if (sscanf(line, "[%63[^]]]", section) != 1 &&
		    sscanf(line, "#[%63[^]]]", section) != 1)
			compare_line(section, line, &compared);
	}
	fclose(file);
	while (conf_setting(rows, &row))
		rows++;
	assert_int_equal(compared, rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"conf: defaults", defaults, NULL, forget_report, NULL},
	    {"conf: the forms a file may have", forms, NULL, forget_report, NULL},
	    {"conf: long names and values arrive whole", long_names_and_values, NULL, forget_report,
		NULL},
	    {"conf: lines to 8192 octets", longest_line, NULL, forget_report, NULL},
	    {"conf: each mistake at its line", mistakes, NULL, forget_report, NULL},
	    {"conf: every mistake, in order", all_mistakes_in_order, NULL, forget_report, NULL},
	    {"R-SMTP-39: timeouts nest", timeouts_nest, NULL, forget_report, NULL},
	    {"conf: clients must be written", clients_must_be_written, NULL, forget_report, NULL},
	    {"conf: options replace", options_replace, NULL, forget_report, NULL},
	    {"conf: bad options", bad_options, NULL, forget_report, NULL},
	    {"R-DNS-36 R-DNS-41: raw options", raw_options, NULL, forget_report, NULL},
	    {"conf: next hops", next_hops, NULL, forget_report, NULL},
	    {"conf: resolvers and views", servers, NULL, forget_report, NULL},
	    {"conf: policy for a domain", policy_for_a_domain, NULL, forget_report, NULL},
	    {"conf: exceptions end", exceptions_end_with_a_warning, NULL, forget_report, NULL},
	    {"conf: [admin] off, on, and open to others", admin_addresses, NULL, forget_report,
		NULL},
	    {"conf: files", files, NULL, forget_report, NULL},
	    {"conf: what the machine says", machine_defaults, NULL, forget_report, NULL},
	    {"conf: the sample file is the table", sample_file, NULL, forget_report, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
