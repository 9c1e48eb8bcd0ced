/*
 * ub_conf.c - our configuration in libunbound's terms.
 *
 * Two tables, what we set and what must still hold after the operator's [unbound] options; and the
 * views of [dns], turned into forward zones. Each step gives false with *error set, and names the
 * setting. Called by context.c.
 */
#include "dnsval/ub_conf.h"

#include "conf/conf.h"
#include "conf/mem.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unbound.h>
#include <unistd.h>

struct option {
	const char *name;
	const char *value;
};

static const struct option settings[] = {
    /* The default of 2 streams at once makes lookups over TCP fail each other. */
    {"outgoing-num-tcp", "64"},
    /* Source ports at once: entropy against spoofed answers. */
    {"outgoing-range", "1024"},
    {"edns-buffer-size", "1232"},
    {"msg-cache-size", "16m"},
    {"rrset-cache-size", "32m"},
    {"key-cache-size", "8m"},
    {"neg-cache-size", "4m"},
    /* After an outage mail must flow within 30 s (R-DNS-37): servers are not given up for long. */
    {"infra-keep-probing", "yes"},
    {"infra-host-ttl", "30"},
    {"harden-algo-downgrade", "no"},
    {"harden-referral-path", "no"},
    {"use-caps-for-id", "no"},
    /*
     * Additional data is never used here (R-DNS-21). To prove it, the library rests after each 8
     * signatures, longer each time: an MX answer with 60 signed hosts would take 1.5 s, one with
     * 130 would take 5 s.
     */
    {"val-clean-additional", "no"},
    /* CVE-2026-44621: any other value lets a flood of stray answers abort the process. */
    {"unwanted-reply-threshold", "0"},
    {"verbosity", "0"},
    /* Without it no why_bogus text; reading a configuration text lowers it. */
    {"val-log-level", "2"},
};

/* R-DNS-36, -41, -42: these are the library's defaults, and nobody's to weaken. */
static const struct option invariants[] = {
    {"module-config", "validator iterator"},
    {"val-permissive-mode", "no"},
    {"harden-dnssec-stripped", "yes"},
    {"harden-glue", "yes"},
    {"harden-below-nxdomain", "yes"},
    {"serve-expired", "no"},
    {"cache-min-ttl", "0"},
    {"cache-max-negative-ttl", "3600"},
    {"val-bogus-ttl", "60"},
    {"qname-minimisation", "yes"},
    {"aggressive-nsec", "yes"},
    {"unwanted-reply-threshold", "0"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool set(struct ub_ctx *ub, const char *name, const char *value, char **error)
{
	int code = ub_ctx_set_option(ub, name, value);

	if (code)
		*error =
		    mem_printf("libunbound refuses \"%s: %s\": %s", name, value, ub_strerror(code));
	return code == 0;
}

static bool apply_settings(struct ub_ctx *ub, char **error)
{
	for (size_t i = 0; i < COUNT(settings); i++)
		if (!set(ub, settings[i].name, settings[i].value, error))
			return false;
	return true;
}

static bool check_invariants(struct ub_ctx *ub, char **error)
{
	for (size_t i = 0; i < COUNT(invariants); i++) {
		char *value = NULL;
		int code = ub_ctx_get_option(ub, invariants[i].name, &value);
		bool holds = code == 0 && strcmp(value, invariants[i].value) == 0;

		if (!holds)
			*error = mem_printf("[unbound] %s must be \"%s\", and is \"%s\"",
			    invariants[i].name, invariants[i].value,
			    code ? ub_strerror(code) : value);
		free(value);
		if (!holds)
			return false;
	}
	return true;
}

/* ---- the network ---- */

static bool any_forwarder(const struct conf *conf, bool (*has)(const struct addr *))
{
	for (size_t i = 0; i < conf->dns.view_count; i++)
		for (size_t j = 0; j < conf->dns.views[i].forward.count; j++)
			if (has(&conf->dns.views[i].forward.items[j]))
				return true;
	return false;
}

static bool is_ipv6(const struct addr *a) { return a->sa.sa_family == AF_INET6; }

static bool reaches_ipv6(const struct sockaddr *sa)
{
	if (!sa || sa->sa_family != AF_INET6)
		return false;
	const struct in6_addr *in6 = &((const struct sockaddr_in6 *)sa)->sin6_addr;

	return !IN6_IS_ADDR_LOOPBACK(in6) && !IN6_IS_ADDR_LINKLOCAL(in6);
}

static bool host_has_ipv6(void)
{
	struct ifaddrs *all;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *one = all; one && !found; one = one->ifa_next)
		found = reaches_ipv6(one->ifa_addr);
	freeifaddrs(all);
	return found;
}

static bool set_network(struct ub_ctx *ub, const struct conf *conf, char **error)
{
	bool ipv6 = host_has_ipv6() || any_forwarder(conf, is_ipv6);

	/* The library drops queries to 127.0.0.0/8 without a word. */
	return set(ub, "do-ip6", ipv6 ? "yes" : "no", error) &&
	       (!any_forwarder(conf, addr_is_loopback) ||
		   set(ub, "do-not-query-localhost", "no", error));
}

/* ---- views ---- */

static void forwarder_text(const struct addr *a, char *out, size_t size)
{
	char ip[ADDR_TEXT];

	snprintf(out, size, "%s@%u", addr_ip(a, ip), (unsigned)addr_port(a));
}

static bool forward_root(struct ub_ctx *ub, const struct conf_dns_view *view, char **error)
{
	char text[ADDR_TEXT + 8];

	for (size_t i = 0; i < view->forward.count; i++) {
		forwarder_text(&view->forward.items[i], text, sizeof text);
		int code = ub_ctx_set_fwd(ub, text);

		if (code) {
			*error = mem_printf("[dns] forward = %s: %s", text, ub_strerror(code));
			return false;
		}
	}
	return true;
}

static char *forward_zone_text(const struct conf_dns_view *view)
{
	char *text = mem_printf("forward-zone:\n\tname: \"%s\"\n", view->name);
	char address[ADDR_TEXT + 8];

	for (size_t i = 0; i < view->forward.count; i++) {
		forwarder_text(&view->forward.items[i], address, sizeof address);
		char *more = mem_printf("%s\tforward-addr: %s\n", text, address);

		free(text);
		text = more;
	}
	return text;
}

/* Forward zones exist only in the library's configuration language, read only from a file. */
static bool read_config(struct ub_ctx *ub, const char *text, char **error)
{
	char path[64];
	int fd = memfd_create("danelaw-view", MFD_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int code = written ? ub_ctx_config(ub, path) : UB_READFILE;

	if (fd >= 0)
		close(fd);
	if (code)
		*error = mem_printf("cannot hand a forward zone to libunbound: %s",
		    written ? ub_strerror(code) : strerror(errno));
	return code == 0;
}

/*
 * Built-in zones of the library (home.arpa, 10.in-addr.arpa, test, ...) would answer for a view of
 * that name, or below it, instead of its forwarders.
 */
static bool add_view(struct ub_ctx *ub, const struct conf_dns_view *view, char **error)
{
	char *local = mem_printf("%s. transparent", view->name);
	char *forward = view->forward.count > 0 ? forward_zone_text(view) : NULL;
	bool good = set(ub, "local-zone", local, error) &&
		    (!forward || read_config(ub, forward, error)) &&
		    (view->is_signed || set(ub, "domain-insecure", view->name, error));

	if (!good) {
		char *cause = *error;

		*error = mem_printf("[dns %s]: %s", view->name, cause);
		free(cause);
	}
	free(forward);
	free(local);
	return good;
}

static bool add_views(struct ub_ctx *ub, const struct conf *conf, char **error)
{
	if (conf->dns.view_count > 0 && !forward_root(ub, &conf->dns.views[0], error))
		return false;
	for (size_t i = 1; i < conf->dns.view_count; i++)
		if (!add_view(ub, &conf->dns.views[i], error))
			return false;
	return true;
}

/* ---- files, and the operator's own options ---- */

static bool set_root_hints(struct ub_ctx *ub, const char *file, char **error)
{
	if (!file || !file[0])
		return true;
	if (access(file, R_OK) < 0) {
		*error = mem_printf("[dns] root_hints: %s: %s", file, strerror(errno));
		return false;
	}
	return set(ub, "root-hints", file, error);
}

/* In unbound.conf a value may be quoted, and the name of a local-zone is; here quotes are octets.
 */
static char *without_quotes(const char *name, const char *value)
{
	size_t len = strlen(value);
	char *bare = mem_strdup(value);

	if (strcmp(name, "local-zone") == 0) {
		char *to = bare;

		for (const char *from = value; *from; from++)
			if (*from != '"')
				*to++ = *from;
		*to = '\0';
	} else if (len >= 2 && strchr("\"'", value[0]) && value[len - 1] == value[0]) {
		memmove(bare, bare + 1, len - 2);
		bare[len - 2] = '\0';
	}
	return bare;
}

static bool add_raw_options(struct ub_ctx *ub, const struct conf *conf, char **error)
{
	for (size_t i = 0; i < conf->unbound_count; i++) {
		const struct conf_unbound_option *raw = &conf->unbound[i];
		char *value = without_quotes(raw->name, raw->value);
		int code = ub_ctx_set_option(ub, raw->name, value);

		free(value);
		if (code) {
			*error = mem_printf("%s: [unbound] %s = %s: unknown option or bad value",
			    raw->where, raw->name, raw->value);
			return false;
		}
	}
	return true;
}

bool ub_conf_apply(struct ub_ctx *ub, const struct conf *conf, char **error)
{
	/* Views first: reading a configuration text resets options. */
	return add_views(ub, conf, error) && apply_settings(ub, error) &&
	       set_network(ub, conf, error) && set_root_hints(ub, conf->dns.root_hints, error) &&
	       add_raw_options(ub, conf, error) && check_invariants(ub, error);
}
