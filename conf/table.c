/*
 * table.c - the one table of settings.
 *
 * Defaults are text and go through the same parsers as the file's values, so that the sample file
 * can be compared with them word by word. Limits that depend on other settings are in check.c;
 * defaults that depend on the machine are in derive.c and empty here.
 */
#include "conf/table.h"

#include <stdio.h>
#include <string.h>

static const struct value_choice protocols[] = {
    {"smtp", PROTOCOL_SMTP}, {"lmtp", PROTOCOL_LMTP}, {NULL, 0}};
static const struct value_choice deliveries[] = {
    {"fanout", DELIVERY_FANOUT},
    {"defer", DELIVERY_DEFER},
    {"queue", DELIVERY_QUEUE},
    {NULL, 0},
};
static const struct value_choice bare_newlines[] = {
    {"reject", BARE_NEWLINE_REJECT},
    {"normalize", BARE_NEWLINE_NORMALIZE},
    {NULL, 0},
};
static const struct value_choice long_lines[] = {
    {"pass", LONG_LINES_PASS},
    {"refuse", LONG_LINES_REFUSE},
    {NULL, 0},
};
static const struct value_choice intercepts[] = {
    {"off", INTERCEPT_OFF},
    {"redirect", INTERCEPT_REDIRECT},
    {"tproxy", INTERCEPT_TPROXY},
    {NULL, 0},
};
static const struct value_choice original_destinations[] = {
    {"hint", false}, {"strict", true}, {NULL, 0}};
static const struct value_choice levels[] = {
    {"none", LEVEL_NONE},
    {"may", LEVEL_MAY},
    {"encrypt", LEVEL_ENCRYPT},
    {"dane", LEVEL_DANE},
    {"dane-only", LEVEL_DANE_ONLY},
    {"secure", LEVEL_SECURE},
    {NULL, 0},
};
static const struct value_choice insecure_mx_levels[] = {
    {"dane", LEVEL_DANE},
    {"encrypt", LEVEL_ENCRYPT},
    {"may", LEVEL_MAY},
    {NULL, 0},
};
static const struct value_choice fallback_levels[] = {
    {"may", LEVEL_MAY},
    {"encrypt", LEVEL_ENCRYPT},
    {NULL, 0},
};
static const struct value_choice ip_choices[] = {
    {"any", IP_ANY},
    {"ipv4", IP_ONLY_V4},
    {"ipv6", IP_ONLY_V6},
    {"prefer-ipv4", IP_PREFER_V4},
    {"prefer-ipv6", IP_PREFER_V6},
    {NULL, 0},
};
static const struct value_choice first_contacts[] = {
    {"deliver", false}, {"defer", true}, {NULL, 0}};
static const struct value_choice tls_versions[] = {
    {"1.0", TLS_VERSION_1_0},
    {"1.1", TLS_VERSION_1_1},
    {"1.2", TLS_VERSION_1_2},
    {"1.3", TLS_VERSION_1_3},
    {NULL, 0},
};
static const struct value_choice log_targets[] = {
    {"stderr", LOG_TO_STDERR},
    {"syslog", LOG_TO_SYSLOG},
    {NULL, 0},
};
static const struct value_choice log_formats[] = {
    {"text", LOG_AS_TEXT}, {"json", LOG_AS_JSON}, {NULL, 0}};
static const struct value_choice log_levels[] = {
    {"error", LOG_LEVEL_ERROR},
    {"warning", LOG_LEVEL_WARNING},
    {"info", LOG_LEVEL_INFO},
    {"debug", LOG_LEVEL_DEBUG},
    {NULL, 0},
};

/* Where a value goes. */
#define IN_CONF(member)     HOME_CONF, offsetof(struct conf, member)
#define IN_LISTENER(member) HOME_LISTENER, offsetof(struct conf_listener, member)
#define IN_VIEW(member)     HOME_VIEW, offsetof(struct conf_dns_view, member)
#define IN_POLICY(member)   HOME_POLICY, offsetof(struct conf_policy, member)
#define IN_DOMAIN(member)   HOME_DOMAIN, offsetof(struct conf_domain, member)

/* Rules. A wait of zero would be no wait at all, so the shortest is a millisecond. */
#define WAIT                                                                                       \
	{                                                                                          \
		.least = 0.001, .most = 86400                                                      \
	}
#define NUMBER(l, m)                                                                               \
	{                                                                                          \
		.least = (l), .most = (m)                                                          \
	}
#define NUMBER_BY(l, m, b)                                                                         \
	{                                                                                          \
		.least = (l), .most = (m), .because = (b)                                          \
	}
#define ONE_OF(c)                                                                                  \
	{                                                                                          \
		.choices = (c)                                                                     \
	}
#define NOT_EMPTY                                                                                  \
	{                                                                                          \
		.least = 1                                                                         \
	}
#define ANY                                                                                        \
	{                                                                                          \
		.least = 0                                                                         \
	}

/* clang-format off */
const struct setting settings[] = {
	{SECTION_SERVER,   "hostname",       &value_host, IN_CONF(server.hostname),      "", ANY},
	{SECTION_SERVER,   "greeting_name",  &value_host, IN_CONF(server.greeting_name), "", ANY},
	{SECTION_SERVER,   "user",           &value_text, IN_CONF(server.user),          "", ANY},
	{SECTION_SERVER,   "workers",        &value_workers, IN_CONF(server.workers), "auto", NUMBER(1, CONF_WORKERS_MAX)},
	{SECTION_SERVER,   "state_dir",      &value_text, IN_CONF(server.state_dir),     "", ANY},

	{SECTION_LISTENER, "listen",         &value_listen, IN_LISTENER(listen), "127.0.0.1:2525 [::1]:2525", NOT_EMPTY},
	{SECTION_LISTENER, "protocol",       &value_enum,   IN_LISTENER(protocol), "smtp", ONE_OF(protocols)},
	{SECTION_LISTENER, "clients",        &value_ranges, IN_LISTENER(clients), "127.0.0.0/8 ::1", NOT_EMPTY},
	{SECTION_LISTENER, "delivery",       &value_enum,   IN_LISTENER(delivery), "fanout", ONE_OF(deliveries)},
	{SECTION_LISTENER, "bare_newline",   &value_enum,   IN_LISTENER(bare_newline), "reject", ONE_OF(bare_newlines)},
	{SECTION_LISTENER, "long_lines",     &value_enum,   IN_LISTENER(long_lines), "pass", ONE_OF(long_lines)},
	{SECTION_LISTENER, "intercept",      &value_enum,   IN_LISTENER(intercept), "off", ONE_OF(intercepts)},
	{SECTION_LISTENER, "original_destination",
	                                     &value_either, IN_LISTENER(is_strict), "hint", ONE_OF(original_destinations)},
	{SECTION_LISTENER, "preserve_source", &value_yes_no, IN_LISTENER(preserve_source), "no", ANY},
	{SECTION_LISTENER, "passthrough",    &value_hosts,  IN_LISTENER(passthrough), "", ANY},
	{SECTION_LISTENER, "proxy_protocol", &value_ranges, IN_LISTENER(proxy_protocol), "", ANY},
	{SECTION_LISTENER, "tls_certificate", &value_text,  IN_LISTENER(tls_certificate), "", ANY},
	{SECTION_LISTENER, "tls_key",        &value_text,   IN_LISTENER(tls_key), "", ANY},
	{SECTION_LISTENER, "max_sessions",   &value_count,  IN_LISTENER(max_sessions), "10000", NUMBER(1, 1e6)},
	{SECTION_LISTENER, "max_sessions_per_client",
	                                     &value_count,  IN_LISTENER(max_sessions_per_client), "1000", NUMBER(1, 1e6)},

	{SECTION_DNS,      "forward",        &value_servers, IN_VIEW(forward), "", ANY},
	{SECTION_DNS,      "root_hints",     &value_text,    IN_CONF(dns.root_hints), "", ANY},
	{SECTION_DNS,      "trust_anchor",   &value_text,    IN_CONF(dns.trust_anchor), "", ANY},
	{SECTION_DNS,      "timeout",        &value_time,    IN_CONF(dns.timeout), "20s", WAIT},
	{SECTION_DNS,      "total",          &value_time,    IN_CONF(dns.total), "60s", WAIT},
	{SECTION_DNS,      "dnssec_probe",   &value_probe,   HOME_CONF, 0, ". SOA", ANY},
	{SECTION_DNS,      "dnssec_probe_bogus",
	                                     &value_host,    IN_CONF(dns.probe_bogus), "", ANY},
	{SECTION_DNS_VIEW, "forward",        &value_servers, IN_VIEW(forward), NULL, NOT_EMPTY},
	{SECTION_DNS_VIEW, "signed",         &value_yes_no,  IN_VIEW(is_signed), "yes", ANY},

	{SECTION_POLICY,   "level",          &value_enum,     IN_POLICY(level), "dane", ONE_OF(levels)},
	{SECTION_POLICY,   "insecure_mx",    &value_enum,     IN_POLICY(insecure_mx), "dane", ONE_OF(insecure_mx_levels)},
	{SECTION_POLICY,   "mta_sts",        &value_yes_no,   IN_POLICY(mta_sts), "yes", ANY},
	{SECTION_POLICY,   "fallback",       &value_enum,     IN_POLICY(fallback), "may", ONE_OF(fallback_levels)},
	{SECTION_POLICY,   "enforce",        &value_yes_no,   IN_POLICY(enforce), "yes", ANY},
	{SECTION_POLICY,   "allow_addresses", &value_ranges,  IN_POLICY(allow_addresses), "", ANY},
	{SECTION_POLICY,   "next_hop",       &value_next_hop, IN_POLICY(next_hop), "", ANY},
	{SECTION_POLICY,   "ip",             &value_enum,     IN_POLICY(ip), "any", ONE_OF(ip_choices)},
	{SECTION_POLICY,   "min_tls",        &value_enum,     IN_POLICY(min_tls), "1.2", ONE_OF(tls_versions)},
	{SECTION_DOMAIN,   "until",          &value_date,     IN_DOMAIN(until), NULL, ANY},
	{SECTION_DOMAIN,   "reason",         &value_text,     IN_DOMAIN(reason), "", ANY},

	{SECTION_TLS,      "ca_file",        &value_text, IN_CONF(tls.ca_file), "/etc/ssl/certs/ca-certificates.crt", ANY},

	{SECTION_MTA_STS,  "fetch_timeout",  &value_time,   IN_CONF(mta_sts.fetch_timeout), "20s", WAIT},
	{SECTION_MTA_STS,  "first_contact",  &value_either, IN_CONF(mta_sts.first_contact_defer), "deliver", ONE_OF(first_contacts)},

	{SECTION_TIMEOUTS, "rcpt",           &value_time, IN_CONF(timeouts.rcpt),        "240s", WAIT},
	{SECTION_TIMEOUTS, "connect",        &value_time, IN_CONF(timeouts.connect),     "30s",  WAIT},
	{SECTION_TIMEOUTS, "greeting",       &value_time, IN_CONF(timeouts.greeting),    "60s",  WAIT},
	{SECTION_TIMEOUTS, "handshake",      &value_time, IN_CONF(timeouts.handshake),   "30s",  WAIT},
	{SECTION_TIMEOUTS, "command",        &value_time, IN_CONF(timeouts.command),     "60s",  WAIT},
	{SECTION_TIMEOUTS, "data_start",     &value_time, IN_CONF(timeouts.data_start),  "110s", WAIT},
	{SECTION_TIMEOUTS, "data_block",     &value_time, IN_CONF(timeouts.data_block),  "170s", WAIT},
	{SECTION_TIMEOUTS, "data_end",       &value_time, IN_CONF(timeouts.data_end),    "570s", WAIT},
	{SECTION_TIMEOUTS, "idle_client",    &value_time, IN_CONF(timeouts.idle_client), "300s", WAIT},
	{SECTION_TIMEOUTS, "shutdown",       &value_time, IN_CONF(timeouts.shutdown),    "90s",  WAIT},

	{SECTION_LIMITS,   "message_size",   &value_size,  IN_CONF(limits.message_size), "50M",
	    NUMBER_BY(65536, 1099511627776.0, "64 KiB are always accepted (RFC 5321 4.5.3.1.7)")},
	{SECTION_LIMITS,   "recipients",     &value_count, IN_CONF(limits.recipients), "1000",
	    NUMBER_BY(100, 1e6, "100 are always accepted (RFC 5321 4.5.3.1.8)")},
	{SECTION_LIMITS,   "received_headers", &value_count, IN_CONF(limits.received_headers), "100", NUMBER(1, 1e4)},
	{SECTION_LIMITS,   "next_hop_connections", &value_count, IN_CONF(limits.next_hop_connections), "20", NUMBER(1, 1e5)},
	{SECTION_LIMITS,   "connection_messages", &value_count, IN_CONF(limits.connection_messages), "100", NUMBER(1, 1e6)},
	{SECTION_LIMITS,   "connection_idle", &value_time, IN_CONF(limits.connection_idle), "30s", NUMBER(0, 86400)},

	{SECTION_SPOOL,    "retry",          &value_times,   IN_CONF(spool.retry), "1m 5m 15m 1h 4h", NOT_EMPTY},
	{SECTION_SPOOL,    "lifetime",       &value_time,    IN_CONF(spool.lifetime), "5d", NUMBER(0.001, 30 * 86400)},
	{SECTION_SPOOL,    "bounce_from",    &value_mailbox, IN_CONF(spool.bounce_from), "", ANY},

	{SECTION_LOG,      "target",         &value_enum, IN_CONF(log.target), "stderr", ONE_OF(log_targets)},
	{SECTION_LOG,      "format",         &value_enum, IN_CONF(log.format), "text", ONE_OF(log_formats)},
	{SECTION_LOG,      "level",          &value_enum, IN_CONF(log.level), "info", ONE_OF(log_levels)},

	{SECTION_ADMIN,    "listen",         &value_listen, IN_CONF(admin.listen), "", ANY},
};
/* clang-format on */

const size_t setting_count = sizeof settings / sizeof *settings;

const struct setting *setting_find(enum section_kind section, const char *key)
{
	for (size_t i = 0; i < setting_count; i++)
		if (settings[i].section == section && !strcmp(settings[i].key, key))
			return &settings[i];
	return section == SECTION_DOMAIN ? setting_find(SECTION_POLICY, key) : NULL;
}

bool conf_setting(size_t index, struct conf_setting *out)
{
	if (index >= setting_count)
		return false;
	*out = (struct conf_setting){
	    .section = section_pattern(settings[index].section),
	    .key = settings[index].key,
	    .fallback = settings[index].fallback ? settings[index].fallback : "",
	};
	return true;
}

/* ---- sections ---- */

static const char *const patterns[SECTION_COUNT] = {
    [SECTION_SERVER] = "server",
    [SECTION_LISTENER] = "listener NAME",
    [SECTION_DNS] = "dns",
    [SECTION_DNS_VIEW] = "dns DOMAIN",
    [SECTION_UNBOUND] = "unbound",
    [SECTION_POLICY] = "policy",
    [SECTION_DOMAIN] = "domain DOMAIN",
    [SECTION_TLS] = "tls",
    [SECTION_MTA_STS] = "mta-sts",
    [SECTION_TIMEOUTS] = "timeouts",
    [SECTION_LIMITS] = "limits",
    [SECTION_SPOOL] = "spool",
    [SECTION_LOG] = "log",
    [SECTION_ADMIN] = "admin",
};

const char *section_pattern(enum section_kind kind)
{
	return patterns[kind];
}

/* Letters, digits, '-' and '_': it stands in log lines. */
static bool parse_listener_name(const char *text, char name[DOMAIN_SIZE + 1])
{
	static const char allowed[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return text[strspn(text, allowed)] == '\0' &&
	       snprintf(name, DOMAIN_SIZE, "%s", text) < DOMAIN_SIZE;
}

static bool parse_section_name(enum section_kind kind, const char *text, char name[DOMAIN_SIZE + 1])
{
	bool dotted = kind == SECTION_DOMAIN && *text == '.';
	struct addr address;

	if (kind == SECTION_LISTENER)
		return parse_listener_name(text, name);
	if (kind == SECTION_DOMAIN && addr_parse_ip(&address, text, 0))
		return addr_ip(&address, name) != NULL;
	*name = '.';
	return domain_normalize(name + dotted, text + dotted, strlen(text + dotted));
}

static bool find_kind(const char *word, size_t len, bool named, enum section_kind *kind)
{
	for (size_t i = 0; i < SECTION_COUNT; i++) {
		const char *pattern = patterns[i];

		if (strncmp(pattern, word, len) != 0 || pattern[len] != (named ? ' ' : '\0'))
			continue;
		*kind = (enum section_kind)i;
		return true;
	}
	return false;
}

/* Another number of words than this section has, or a name that nobody knows. */
static void explain_unknown(const char *title, size_t len, char why[VALUE_WHY])
{
	size_t used;

	for (size_t i = 0; i < SECTION_COUNT; i++) {
		const char *pattern = patterns[i];

		if (strncmp(pattern, title, len) != 0 || !strchr(" ", pattern[len]))
			continue;
		snprintf(why, VALUE_WHY, "section [%.80s]: it is written [%s]", title, pattern);
		return;
	}
	used = (size_t)snprintf(why, VALUE_WHY, "unknown section [%.80s]; there are", title);
	for (size_t i = 0; i < SECTION_COUNT && used < VALUE_WHY; i++)
		used += (size_t)snprintf(why + used, VALUE_WHY - used, " [%s]", patterns[i]);
}

bool section_parse(const char *title, enum section_kind *kind, char name[DOMAIN_SIZE + 1],
		   char why[VALUE_WHY])
{
	size_t len = strcspn(title, " \t");
	const char *rest = title + len + strspn(title + len, " \t");

	name[0] = '\0';
	if (!find_kind(title, len, *rest != '\0', kind)) {
		explain_unknown(title, len, why);
		return false;
	}
	if (!*rest || parse_section_name(*kind, rest, name))
		return true;
	snprintf(why, VALUE_WHY, "[%.80s]: %.80s is not a %s", title, rest,
		 *kind == SECTION_LISTENER ? "name (letters, digits, - and _)" : "domain");
	return false;
}
