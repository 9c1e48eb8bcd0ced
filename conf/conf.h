/*
 * conf.h - every setting, read once from INI into one constant structure.
 *
 * One table in table.c names each setting, its type, its default and where it goes; the sample file
 * is compared with it by a test. Times are seconds, sizes octets. The reader gives back every
 * mistake with FILE:LINE, not only the first. Owner: main; const for everybody else, for as long as
 * any session lives.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "conf/addr.h"
#include "conf/dns_type.h"
#include "conf/domain.h"
#include "conf/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum level { LEVEL_NONE, LEVEL_MAY, LEVEL_ENCRYPT, LEVEL_DANE, LEVEL_DANE_ONLY, LEVEL_SECURE };
enum ip_choice { IP_ANY, IP_ONLY_V4, IP_ONLY_V6, IP_PREFER_V4, IP_PREFER_V6 };
enum tls_version { TLS_VERSION_1_0, TLS_VERSION_1_1, TLS_VERSION_1_2, TLS_VERSION_1_3 };
enum protocol { PROTOCOL_SMTP, PROTOCOL_LMTP };
enum delivery_mode { DELIVERY_FANOUT, DELIVERY_DEFER, DELIVERY_QUEUE };
enum bare_newline { BARE_NEWLINE_REJECT, BARE_NEWLINE_NORMALIZE };
enum long_lines { LONG_LINES_PASS, LONG_LINES_REFUSE };
enum intercept { INTERCEPT_OFF, INTERCEPT_REDIRECT, INTERCEPT_TPROXY };

enum { CONF_TIMES_MAX = 20, CONF_WORKERS_MAX = 64 };

struct conf_times {
	size_t count;
	double items[CONF_TIMES_MAX];
};

struct conf_addrs {
	size_t count;
	struct addr *items;
};

/* next_hop = host | host:port (MX lookup) | [host]:port (none) | [10.0.0.5]:25 | [IPv6:...]:25 */
struct conf_next_hop {
	bool set;
	bool lookup_mx;
	bool is_address;
	char host[DOMAIN_SIZE]; /* unless is_address */
	struct addr address;    /* if is_address, with port */
	uint16_t port;
};

struct conf_policy {
	enum level level;
	enum level insecure_mx; /* LEVEL_DANE, LEVEL_ENCRYPT or LEVEL_MAY */
	enum level fallback;    /* LEVEL_MAY or LEVEL_ENCRYPT */
	bool mta_sts;           /* asked where DANE is proven absent, at level dane */
	bool enforce;
	struct cidr_list allow_addresses;
	struct conf_next_hop next_hop;
	enum ip_choice ip;
	enum tls_version min_tls;
};

/* [domain example.org], or [domain .example.org] for all below it; [domain 192.0.2.7] for a
 * passthrough host, whose name is then as addr_ip() writes it */
struct conf_domain {
	char name[DOMAIN_SIZE]; /* without the leading dot */
	bool below;
	struct conf_policy policy; /* [policy] with what this section changes */
	time_t until;              /* end of the last day, UTC; 0: no end */
	char *reason;              /* "" where none was given */
};

struct conf_listener {
	char *name;
	struct conf_addrs listen;
	bool skip_missing_family; /* `listen` was not written: [::1] only where IPv6 exists */
	enum protocol protocol;
	enum delivery_mode delivery;
	struct cidr_list clients;
	enum bare_newline bare_newline;
	enum long_lines long_lines;
	enum intercept intercept;
	bool is_strict;       /* original_destination = strict */
	bool preserve_source; /* tproxy alone */
	struct conf_addrs passthrough;
	struct cidr_list proxy_protocol;
	char *tls_certificate, *tls_key; /* both, or "": no STARTTLS for clients */
	unsigned max_sessions;
	unsigned max_sessions_per_client;
};

/* [dns] has name ""; [dns NAME] is a view for NAME and all below it */
struct conf_dns_view {
	char name[DOMAIN_SIZE];
	struct conf_addrs forward; /* port 53 unless @port was given */
	bool is_signed;
};

/* A line of [unbound], already checked against what must not be weakened */
struct conf_unbound_option {
	char *name;
	char *value;
	char *where; /* "FILE:LINE" */
};

struct conf {
	struct {
		char *hostname; /* "": address literal of the connection */
		char *greeting_name;
		char *user; /* "": default; danelaw if it exists, else nobody */
		unsigned workers;
		char *state_dir;
	} server;

	size_t listener_count;
	struct conf_listener *listeners;

	struct {
		size_t view_count; /* views[0] is [dns] itself */
		struct conf_dns_view *views;
		char *root_hints;   /* "": built in */
		char *trust_anchor; /* "": the distribution's root key, else built in; RFC 5011 */
		double timeout;
		double total;
		char *probe_name;         /* "": off; "." is the root */
		enum dns_type probe_type; /* unless off */
		char *probe_bogus;        /* "": not tested */
	} dns;

	size_t unbound_count;
	struct conf_unbound_option *unbound;

	struct conf_policy policy;
	size_t domain_count;
	struct conf_domain *domains;

	struct {
		char *ca_file;
	} tls;

	struct {
		double fetch_timeout; /* while a client waits */
		bool first_contact_defer;
	} mta_sts;

	struct {
		double rcpt, connect, greeting, handshake, command;
		double data_start, data_block, data_end;
		double idle_client, shutdown;
	} timeouts;

	struct {
		uint64_t message_size;
		unsigned recipients;
		unsigned received_headers;
		unsigned next_hop_connections;
		unsigned connection_messages;
		double connection_idle;
	} limits;

	struct {
		struct conf_times retry; /* waits between tries; the last one repeats */
		double lifetime;
		char *bounce_from; /* "": postmaster at our name */
	} spool;

	struct {
		enum log_target target;
		enum log_format format;
		enum log_level level;
	} log;

	struct {
		struct conf_addrs listen; /* none: off */
	} admin;
};

/* What is wrong, and what an operator should know all the same; "FILE:LINE: message" each. */
struct conf_report {
	size_t error_count, warning_count;
	char **errors, **warnings;
};

#define CONF_DEFAULT_PATH "/etc/danelaw/danelaw.conf"

/*
 * Reads path; NULL: CONF_DEFAULT_PATH if it is there, else the built-in defaults. Then the options
 * ("section.key=value", in order). NULL if there was any error. The caller frees both results.
 */
struct conf *conf_load(
    const char *path, const char *const *options, size_t option_count, struct conf_report *report);

/* The same from an open file; name is FILE in the report. file NULL: the built-in defaults. */
struct conf *conf_load_file(FILE *file, const char *name, const char *const *options,
    size_t option_count, struct conf_report *report);
void conf_free(struct conf **conf);
void conf_report_free(struct conf_report *report);

/*
 * What applies to a destination: the section of exactly this name, else that of the longest name it
 * lies below, else [policy]; a section whose `until` has passed does not count. *section is the
 * section used, or NULL.
 */
const struct conf_policy *conf_policy_for(
    const struct conf *conf, const char *domain, time_t now, const struct conf_domain **section);

/* Whether a destination under policy could get mail that it would not under defaults. */
bool conf_policy_is_weaker(const struct conf_policy *policy, const struct conf_policy *defaults);

const char *conf_level_name(enum level level);

/* The rows of the table, for who compares it with a document. false: no row of that index. */
struct conf_setting {
	const char *section; /* "server", "listener NAME", "domain DOMAIN" */
	const char *key;
	const char *fallback; /* the default as it would be written; "" for none */
};
bool conf_setting(size_t index, struct conf_setting *out);

#endif
