/* danelaw nft: from settings to rules and routing, as text. What the kernel makes of them: the lab.
 */
#include "proxy/command/nft_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REDIRECT "[listener a]\nintercept = redirect\n"
#define TPROXY   "[listener a]\nintercept = tproxy\n"
#define ANY      "listen = 0.0.0.0:2526 [::]:2526\n"
#define BOTH     "clients = 10.0.0.0/8 2001:db8::/32\n"

static struct conf *load(const char *ini)
{
	struct conf_report report = {0};
	FILE *file = fmemopen((void *)(uintptr_t)ini, strlen(ini), "r");
	struct conf *conf = conf_load_file(file, "f", NULL, 0, &report);

	if (!conf)
		fail_msg("%s", report.errors[0]);
	conf_report_free(&report);
	fclose(file);
	return conf;
}

struct row {
	const char *what, *ini;
	bool fail_open;
	const char *has[3], *lacks[3];
};

/* clang-format off */
static const struct row rows[] = {
	{"wildcard: redirect to a port", REDIRECT ANY BOTH, false,
	    {"ip saddr @clients4_1 tcp dport 25 counter redirect to :2526\n",
	     "ip6 saddr @clients6_1 tcp dport 25 counter redirect to :2526\n",
	     "meta skuid 9106 accept  # danelaw\n"},
	    {"tproxy", "down_1", "ip -4 rule"}},
	{"an address: exactly there", REDIRECT "listen = 10.0.0.5:2526 [fd00::5]:2527\n" BOTH, false,
	    {"counter dnat ip to 10.0.0.5:2526\n", "counter dnat ip6 to [fd00::5]:2527\n"},
	    {"redirect to"}},
	{"loopback and another: each path its own", REDIRECT "listen = 127.0.0.1:1025 10.0.0.5:2526\n" BOTH, true,
	    {"dnat ip to 10.0.0.5:2526\n", "dnat ip to 127.0.0.1:1025\n", "tcp dport 1025 add @down_1 "},
	    {"dnat ip6"}},
	{"fail open: the absence is learnt", REDIRECT ANY BOTH, true,
	    {"set down_1", "meta nfproto @down_1 counter accept\n", "# While danelaw does not run connections pass"},
	    {"refused (--fail closed)", "reject"}},
	{"tproxy, closed", TPROXY ANY BOTH, false,
	    {"tproxy ip to :2526 meta mark set meta mark & 0xfffff000 | 0x2ee counter accept\n", "counter reject with tcp reset\n",
	     "#   ip -6 route add local default dev lo table 750\n"},
	    {"type nat", "socket mark", "0x2ee lookup"}},
	{"tproxy, open", TPROXY "listen = 127.0.0.1:2526 [::1]:2526\n" BOTH, true,
	    {"tproxy ip to 127.0.0.1:2526 ", "tproxy ip6 to [::1]:2526 ", "clients6_1 counter accept\n"},
	    {"reject with"}},
	{"the source is kept: answers come back", TPROXY ANY BOTH "preserve_source = yes\n", false,
	    {"socket transparent 1 socket mark & 0xfff == 0x2ed meta mark set meta mark & 0xfffff000 | 0x2ee accept\n",
	     "meta mark & 0xfff == 0x2ed accept\n"},
	    {NULL}},
	{"closed: what no address can take is refused", REDIRECT "listen = 127.0.0.1:2526\n" BOTH, false,
	    {"chain forwarded {\n\t\ttype filter hook forward priority filter", "\t\tip6 saddr @clients6_1 jump spare6_1\n"
	     "\t\tip6 saddr @clients6_1 tcp dport 25 tcp flags & (syn | ack) == syn counter reject with tcp reset\n",
	     "chain leaving {\n\t\ttype filter hook output priority filter"}, {NULL}},
	{"of ranges within ranges the outer one", REDIRECT ANY "clients = 10.1.0.0/16 10.0.0.0/8 10.0.0.0/8 10.2.0.1\n", false,
	    {"elements = {\n\t\t\t10.0.0.0/8\n\t\t}"}, {"clients6_1"}},
	{"what policies and passthrough ask for", REDIRECT ANY BOTH "passthrough = 192.168.0.7 [fd00::7]:25\n"
	    "[policy]\nallow_addresses = 172.16.0.0/12\n[domain example.org]\nallow_addresses = 127.0.0.9\n", false,
	    {"set asked4_1 {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = {\n"
	     "\t\t\t172.16.0.0/12, 127.0.0.9, 192.168.0.7\n"}, {"192.168.0.7, fd00"}},
	{"clients' own networks are left alone", REDIRECT ANY BOTH, false,
	    {"ip daddr @lan4 accept\n\t\tip daddr @clients4_1 accept\n"}, {NULL}},
	{"but not where they are everybody", REDIRECT ANY "clients = 0.0.0.0/0\n", false,
	    {"ip daddr @lan4 accept\n\t}"}, {"ip daddr @clients"}},
	{"nor where they are everybody in two halves", REDIRECT ANY "clients = 0.0.0.0/1 128.0.0.0/1\n", false,
	    {"ip daddr @lan4 accept\n\t}"}, {"ip daddr @clients"}},
	{"listeners that do not intercept do not count", "[listener smarthost]\nlisten = 127.0.0.1:25\n"
	    REDIRECT ANY BOTH "[listener b]\nintercept = tproxy\nlisten = 0.0.0.0:2527\nclients = 172.16.0.1\n", false,
	    {"@clients4_1 tcp dport 25 counter redirect to :2526", "@clients4_2 tcp dport 25 tproxy ip to :2527",
	     "meta mark & 0xfff == 0x2ee accept"}, {"smarthost", "clients4_3"}},
};
/* clang-format on */

static void text_follows_settings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct conf *conf = load(rows[i].ini);
		struct nft_choice choice = {rows[i].fail_open, "danelaw", 9106};
		char *text = nft_rules(conf, &choice);

		for (size_t k = 0; k < 3 && rows[i].has[k]; k++)
			if (!strstr(text, rows[i].has[k]))
				fail_msg("%s: lacks %s:\n%s", rows[i].what, rows[i].has[k], text);
		for (size_t k = 0; k < 3 && rows[i].lacks[k]; k++)
			if (strstr(text, rows[i].lacks[k]))
				fail_msg("%s: has %s:\n%s", rows[i].what, rows[i].lacks[k], text);
		free(text);
		conf_free(&conf);
	}
}

/* Whoever forges a client's DNS chooses the destination: none that leads out may be left alone. */
static void only_a_lan_is_left_alone(void **state)
{
	static const char lan[] = "\t\t\t10.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12,\n"
				  "\t\t\t192.168.0.0/16, 224.0.0.0/4\n\t\t}\n\t}\n";
	static const char *const lead_out[] = {"100.64.0.0", "192.88.99.0", "192.0.0.0",
	    "198.18.0.0", "240.0.0.0", "2001::/", "2002::", "2001:db8::/32", "::/3", "64:ff9b"};
	struct conf *conf = load(REDIRECT ANY "clients = 10.0.0.0/8 fd00::/8\n");
	struct nft_choice choice = {.user = "danelaw"};
	char *text = nft_rules(conf, &choice);

	(void)state;
	assert_non_null(strstr(text, lan));
	assert_non_null(strstr(text, "\t\t\t::1, fc00::/7, fe80::/10, ff00::/8\n\t\t}\n\t}\n"));
	for (size_t i = 0; i < sizeof lead_out / sizeof *lead_out; i++)
		if (strstr(text, lead_out[i]))
			fail_msg("%s:\n%s", lead_out[i], text);
	free(text);
	conf_free(&conf);
}

static void routing_is_for_tproxy_alone(void **state)
{
	struct conf *redirect = load(REDIRECT ANY BOTH), *tproxy = load(TPROXY ANY BOTH);
	char *none = nft_routing(redirect), *script = nft_routing(tproxy);

	(void)state;
	assert_null(strstr(none, "ip "));
	assert_ptr_equal(strstr(script, "#!/bin/sh\n"), script);
	assert_non_null(strstr(script, "rule add fwmark 0x2ee/0xfff lookup 750\n"));
	assert_non_null(strstr(script, "route replace local default dev lo table 750\n"));
	free(none);
	free(script);
	conf_free(&redirect);
	conf_free(&tproxy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-NET-05: rules follow the settings", text_follows_settings, NULL, NULL, NULL},
	    {"R-NET-05: only a LAN is left alone", only_a_lan_is_left_alone, NULL, NULL, NULL},
	    {"R-NET-04: routing", routing_is_for_tproxy_alone, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
