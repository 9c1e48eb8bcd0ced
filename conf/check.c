/*
 * check.c - what must hold between settings, once all have their values.
 *
 * Above all the nesting of timeouts (R-SMTP-39): each wait for the next hop must end before the
 * client gives up its own (RFC 5321 4.5.3.2), or the client sends again what is already on its way.
 * Each complaint stands at the setting it is about, if that was written. Called by conf.c.
 */
#include "conf/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* Where a setting of a section without a name was written, else the file as a whole. */
static struct position where_is(const struct draft *draft, enum section_kind kind, const char *key)
{
	const struct draft_setting *setting = draft_find(draft, draft_section(draft, kind, 0), key);

	return setting ? setting->where : (struct position){0};
}

/* The same, of a section with a name; the section itself where the setting was not written. */
static struct position where_in(
    const struct draft *draft, const struct draft_section *section, const char *key)
{
	const struct draft_setting *setting = draft_find(draft, section, key);

	if (setting)
		return setting->where;
	return section ? section->where : (struct position){0};
}

/* ---- the user ---- */

static void check_user(const struct conf *conf, struct draft *draft)
{
	if (*conf->server.user && !getpwnam(conf->server.user))
		draft_error(draft, where_is(draft, SECTION_SERVER, "user"),
		    "user %.64s: there is no such user", conf->server.user);
}

/* What is kept must not lie where danelaw happened to be started. */
static void check_state_dir(const struct conf *conf, struct draft *draft)
{
	if (*conf->server.state_dir && conf->server.state_dir[0] != '/')
		draft_error(draft, where_is(draft, SECTION_SERVER, "state_dir"),
		    "state_dir: %.200s is not an absolute path", conf->server.state_dir);
}

/* ---- timeouts ---- */

static void check_client_waits(const struct conf *conf, struct draft *draft)
{
	const struct {
		const char *key;
		double ours, client;
		const char *rule;
	} waits[] = {
	    {"rcpt", conf->timeouts.rcpt, 300, "for the reply to RCPT, RFC 5321 4.5.3.2.3"},
	    {"data_start", conf->timeouts.data_start, 120,
		"for the reply to DATA, RFC 5321 4.5.3.2.4"},
	    {"data_block", conf->timeouts.data_block, 180,
		"for a block of data, RFC 5321 4.5.3.2.5"},
	    {"data_end", conf->timeouts.data_end, 600, "for the final reply, RFC 5321 4.5.3.2.6"},
	};

	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
		if (waits[i].ours >= waits[i].client)
			draft_error(draft, where_is(draft, SECTION_TIMEOUTS, waits[i].key),
			    "timeouts.%s must be below the %gs that a client waits %s",
			    waits[i].key, waits[i].client, waits[i].rule);
}

/* The inner wait is part of the outer one. */
struct nesting {
	enum section_kind section;
	const char *key;
	double wait;
	enum section_kind outer_section;
	const char *outer_key;
	double outer_wait;
};

static void check_nesting(struct draft *draft, const struct nesting *n)
{
	if (n->wait <= n->outer_wait)
		return;
	struct position where = where_is(draft, n->section, n->key);

	if (!where.line && !where.option)
		where = where_is(draft, n->outer_section, n->outer_key);
	draft_error(draft, where, "%s.%s (%gs) must not exceed %s.%s (%gs), of which it is a part",
	    section_pattern(n->section), n->key, n->wait, section_pattern(n->outer_section),
	    n->outer_key, n->outer_wait);
}

static void check_timeouts(const struct conf *conf, struct draft *draft)
{
	const double rcpt = conf->timeouts.rcpt;
	const struct nesting nestings[] = {
	    {SECTION_TIMEOUTS, "connect", conf->timeouts.connect, SECTION_TIMEOUTS, "rcpt", rcpt},
	    {SECTION_TIMEOUTS, "greeting", conf->timeouts.greeting, SECTION_TIMEOUTS, "rcpt", rcpt},
	    {SECTION_TIMEOUTS, "handshake", conf->timeouts.handshake, SECTION_TIMEOUTS, "rcpt",
		rcpt},
	    {SECTION_TIMEOUTS, "command", conf->timeouts.command, SECTION_TIMEOUTS, "rcpt", rcpt},
	    {SECTION_DNS, "timeout", conf->dns.timeout, SECTION_DNS, "total", conf->dns.total},
	    {SECTION_DNS, "total", conf->dns.total, SECTION_TIMEOUTS, "rcpt", rcpt},
	    {SECTION_MTA_STS, "fetch_timeout", conf->mta_sts.fetch_timeout, SECTION_TIMEOUTS,
		"rcpt", rcpt},
	};

	check_client_waits(conf, draft);
	for (size_t i = 0; i < sizeof nestings / sizeof *nestings; i++)
		check_nesting(draft, &nestings[i]);
}

/* ---- listeners ---- */

/* The default lets local clients in; who else may send is never guessed, or this is an open relay.
 */
static void check_clients(
    const struct conf_listener *listener, struct draft *draft, const struct draft_section *section)
{
	char text[ADDR_TEXT];

	if (draft_find(draft, section, "clients"))
		return;
	if (listener->intercept != INTERCEPT_OFF) {
		draft_error(draft, where_in(draft, section, "intercept"),
		    "clients must be written in [listener %s]: it takes connections that are meant "
		    "for others",
		    listener->name);
		return;
	}
	for (size_t i = 0; i < listener->listen.count; i++) {
		if (addr_is_loopback(&listener->listen.items[i]))
			continue;
		draft_error(draft, where_in(draft, section, "listen"),
		    "clients must be written in [listener %s]: %s is not a loopback address",
		    listener->name, addr_bracketed(&listener->listen.items[i], text));
		return;
	}
}

/* What only a connection that was meant for somebody else can have. */
static void check_interception(
    const struct conf_listener *listener, struct draft *draft, const struct draft_section *section)
{
	bool is_queue = listener->delivery == DELIVERY_QUEUE;
	const struct {
		const char *key;
		bool is_wrong;
		const char *needs;
	} rules[] = {
	    {"original_destination", listener->is_strict && listener->intercept == INTERCEPT_OFF,
		"strict needs intercept = redirect or tproxy"},
	    {"passthrough", listener->passthrough.count && listener->intercept == INTERCEPT_OFF,
		"needs intercept = redirect or tproxy"},
	    {"original_destination", listener->is_strict && is_queue,
		"strict and delivery = queue exclude each other: what is queued is danelaw's own to route"},
	    {"passthrough", listener->passthrough.count && is_queue,
		"and delivery = queue exclude each other: what is queued goes to the recipient's own host"},
	    {"preserve_source", listener->preserve_source && is_queue,
		"and delivery = queue exclude each other: what is queued leaves with danelaw's own address"},
	    {"preserve_source",
		listener->preserve_source && listener->intercept != INTERCEPT_TPROXY,
		"needs intercept = tproxy"},
	    {"proxy_protocol",
		listener->proxy_protocol.count && listener->intercept != INTERCEPT_OFF,
		"and intercept exclude each other: a load balancer connects to danelaw itself"},
	};

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i].is_wrong)
			draft_error(draft, where_in(draft, section, rules[i].key), "%s %s",
			    rules[i].key, rules[i].needs);
}

static void check_passthrough_ports(
    const struct conf_listener *listener, struct draft *draft, const struct draft_section *section)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < listener->passthrough.count; i++)
		if (addr_port(&listener->passthrough.items[i]) != 25)
			draft_warning(draft, where_in(draft, section, "passthrough"),
			    "passthrough %s: the rules of danelaw nft take connections to port 25 "
			    "alone",
			    addr_bracketed(&listener->passthrough.items[i], text));
}

/* A next hop that the operator names is nobody's MX host, so that there is nothing to compare. */
static void check_strict(const struct conf *conf, const struct conf_listener *listener,
    struct draft *draft, const struct draft_section *section)
{
	struct position where = where_in(draft, section, "original_destination");

	if (!listener->is_strict)
		return;
	if (conf->policy.next_hop.set)
		draft_warning(draft, where,
		    "original_destination strict is without effect where [policy] next_hop applies");
	for (size_t i = 0; i < conf->domain_count; i++) {
		const struct draft_section *domain = draft_section(draft, SECTION_DOMAIN, i);

		if (conf->domains[i].policy.next_hop.set && draft_find(draft, domain, "next_hop"))
			draft_warning(draft, where,
			    "original_destination strict is without effect where [domain %s] "
			    "next_hop applies",
			    domain->name);
	}
}

static void check_certificate(
    const struct conf_listener *listener, struct draft *draft, const struct draft_section *section)
{
	bool has_certificate = *listener->tls_certificate, has_key = *listener->tls_key;

	if (has_certificate != has_key)
		draft_error(draft,
		    where_in(draft, section, has_certificate ? "tls_certificate" : "tls_key"),
		    "[listener %s] has %s: tls_certificate and tls_key go together",
		    listener->name,
		    has_certificate ? "tls_certificate, but no tls_key"
				    : "tls_key, but no tls_certificate");
}

/* Somebody's firewall may make it right; but nobody should find out by being listed as an open
 * relay. */
static void check_open_relay(
    const struct conf_listener *listener, struct draft *draft, const struct draft_section *section)
{
	if (cidr_list_is_everybody(&listener->clients, AF_INET) ||
	    cidr_list_is_everybody(&listener->clients, AF_INET6))
		draft_warning(draft, where_in(draft, section, "clients"),
		    "[listener %s] clients: anybody may send mail through this listener "
		    "(an open relay) unless a firewall prevents it",
		    listener->name);
}

/* Whether an address of this listener stands before the n-th, or in an earlier listener, that
 * leaves it nothing: the kernel would let both listen, and share connections out by chance. */
static const char *listed_before(const struct conf *conf, size_t index, size_t n)
{
	const struct addr *a = &conf->listeners[index].listen.items[n];

	for (size_t i = 0; i <= index; i++) {
		const struct conf_addrs *listen = &conf->listeners[i].listen;

		for (size_t k = 0; k < (i == index ? n : listen->count); k++)
			if (addr_overlaps(&listen->items[k], a))
				return conf->listeners[i].name;
	}
	return NULL;
}

static const char *listed_in(const struct conf *conf, const struct addr *a)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_addrs *listen = &conf->listeners[i].listen;

		for (size_t k = 0; k < listen->count; k++)
			if (addr_overlaps(&listen->items[k], a))
				return conf->listeners[i].name;
	}
	return NULL;
}

/* RFC 2033 5: LMTP on port 25 would be taken for SMTP. Its clients hear of each recipient, so there
 * is nothing to defer and nothing to keep for them. */
static void check_lmtp(
    const struct conf_listener *listener, struct draft *draft, const struct draft_section *section)
{
	if (listener->protocol != PROTOCOL_LMTP)
		return;
	if (listener->delivery != DELIVERY_FANOUT)
		draft_error(draft, where_in(draft, section, "delivery"),
		    "[listener %s] delivery must be fanout where protocol is lmtp", listener->name);
	for (size_t i = 0; i < listener->listen.count; i++)
		if (addr_port(&listener->listen.items[i]) == 25) {
			draft_error(draft, where_in(draft, section, "listen"),
			    "[listener %s] port 25 is not for lmtp (RFC 2033 section 5)",
			    listener->name);
			return;
		}
}

static void check_listeners(const struct conf *conf, struct draft *draft)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_listener *listener = &conf->listeners[i];
		const struct draft_section *section = draft_section(draft, SECTION_LISTENER, i);

		check_clients(listener, draft, section);
		check_open_relay(listener, draft, section);
		check_interception(listener, draft, section);
		check_passthrough_ports(listener, draft, section);
		check_strict(conf, listener, draft, section);
		check_certificate(listener, draft, section);
		check_lmtp(listener, draft, section);
		for (size_t n = 0; n < listener->listen.count; n++) {
			const char *other = listed_before(conf, i, n);

			if (other)
				draft_error(draft, where_in(draft, section, "listen"),
				    "%s is already taken by [listener %s]",
				    addr_bracketed(&listener->listen.items[n], text), other);
		}
	}
}

static bool is_passed_through(const struct conf *conf, const struct addr *host)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_addrs *hosts = &conf->listeners[i].passthrough;

		for (size_t k = 0; k < hosts->count; k++)
			if (addr_equal_ip(&hosts->items[k], host))
				return true;
	}
	return false;
}

/* [domain 192.0.2.7]: addresses are destinations only as passthrough hosts. */
static void check_passthrough_policies(const struct conf *conf, struct draft *draft)
{
	for (size_t i = 0; i < conf->domain_count; i++) {
		const struct draft_section *section = draft_section(draft, SECTION_DOMAIN, i);
		struct addr host;

		if (!addr_parse_ip(&host, section->name, 0))
			continue;
		if (!is_passed_through(conf, &host))
			draft_error(draft, section->where,
			    "[domain %s]: no listener has that address in passthrough",
			    section->name);
		else if (draft_find(draft, section, "next_hop"))
			draft_error(draft, where_in(draft, section, "next_hop"),
			    "next_hop: a passthrough host is the next hop itself");
	}
}

/* What it shows is no secret between friends, but nobody is asked who they are. */
static void check_admin(const struct conf *conf, struct draft *draft)
{
	const struct conf_addrs *listen = &conf->admin.listen;
	char text[ADDR_TEXT];

	for (size_t i = 0; i < listen->count; i++) {
		const char *other = listed_in(conf, &listen->items[i]);

		addr_bracketed(&listen->items[i], text);
		if (other)
			draft_error(draft, where_is(draft, SECTION_ADMIN, "listen"),
			    "%s is already taken by [listener %s]", text, other);
		else if (!addr_is_loopback(&listen->items[i]))
			draft_warning(draft, where_is(draft, SECTION_ADMIN, "listen"),
			    "[admin] %s is no loopback address: whoever reaches it can read the "
			    "metrics, unless a firewall prevents it",
			    text);
	}
}

/* ---- DNS ---- */

static void check_file(struct draft *draft, const char *key, const char *path)
{
	char octet;

	if (!*path)
		return;
	/* A FIFO would block, and an empty anchor file makes everything insecure in silence. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, &octet, 1);

	if (n <= 0)
		draft_error(draft, where_is(draft, SECTION_DNS, key), "%s %.200s: %s", key, path,
		    n < 0 ? strerror(errno) : "is empty");
	if (fd >= 0)
		close(fd);
}

static void check_views(const struct conf *conf, struct draft *draft)
{
	for (size_t i = 1; i < conf->dns.view_count; i++) {
		const struct draft_section *section = draft_section(draft, SECTION_DNS_VIEW, i - 1);

		if (!draft_find(draft, section, "forward"))
			draft_error(draft, section->where, "forward must be written in [dns %s]",
			    section->name);
	}
}

/* ---- exceptions that end ---- */

enum { DAY = 86400, NOTICE = 7 * DAY };

static void check_exceptions(const struct conf *conf, struct draft *draft, time_t now)
{
	for (size_t i = 0; i < conf->domain_count; i++) {
		const struct draft_section *section = draft_section(draft, SECTION_DOMAIN, i);
		const struct draft_setting *until = draft_find(draft, section, "until");
		time_t end = conf->domains[i].until;

		if (!until || !end || end - now > NOTICE)
			continue;
		if (end <= now)
			draft_warning(draft, until->where,
			    "[domain %s] ended on %.10s and no longer applies", section->name,
			    until->value);
		else
			draft_warning(draft, until->where, "[domain %s] ends on %.10s",
			    section->name, until->value);
	}
}

void check_conf(const struct conf *conf, struct draft *draft, time_t now)
{
	check_user(conf, draft);
	check_state_dir(conf, draft);
	check_listeners(conf, draft);
	check_passthrough_policies(conf, draft);
	check_admin(conf, draft);
	check_file(draft, "root_hints", conf->dns.root_hints);
	check_file(draft, "trust_anchor", conf->dns.trust_anchor);
	check_views(conf, draft);
	check_timeouts(conf, draft);
	check_exceptions(conf, draft, now);
}
