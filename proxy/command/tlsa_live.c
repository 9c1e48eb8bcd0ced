/*
 * tlsa_live.c - the certificates that a server shows after STARTTLS: what `danelaw tlsa --connect`
 * has in place of a file. Nothing is proven here, which is told.
 *
 *   addresses of the host -> the first that answers: one handshake as it comes, then one that
 *   only the other kind of key can answer, since a server may have an RSA and an ECDSA certificate
 */
#include "proxy/command/tlsa_job.h"

#include "conf/conf.h"
#include "conf/escape.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "dnsval/resolver.h"
#include "proxy/intercept/intercept.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "proxy/shared/shared.h"
#include "proxy/smtp/smtp_client.h"
#include "tls/chain.h"
#include "tls/ctx.h"
#include "tls/stream.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct live {
	struct proxy proxy;
	struct resolver *resolver;
	struct tlsa_job *job;
	const char *host; /* a name, or the text of an address */
	uint16_t port;
	struct dns_query *queries[2];
	size_t address_count, at;
	struct addr addresses[2 * DNS_ADDR_MAX];
	struct smtp_client *client;
	struct tls_rule rule;
	int code;
};

static void start_client(struct live *l);

static void finish(struct live *l, int code)
{
	l->code = code;
	ev_break(l->proxy.loop, EVBREAK_ALL);
}

static void complain(const char *who, const char *what)
{
	char text[640];

	escape(text, sizeof text, ESCAPE_TEXT, what, strlen(what), NULL);
	fprintf(stderr, "danelaw tlsa: %s: %s\n", who, text);
}

/* ---- the handshakes ---- */

static bool take_certificates(struct live *l, struct tls_chain *chain)
{
	struct tlsa_source *source = tlsa_source_new();
	bool good = chain->count > 0;

	for (size_t i = 0; good && i < chain->count; i++)
		good = tlsa_source_add_certificate(
		    source, chain->items[i].der, chain->items[i].der_len);
	if (good)
		tlsa_job_add(l->job, mem_strdup(smtp_client_name(l->client)), source, false);
	else
		tlsa_source_free(&source);
	return good;
}

/* Which handshake comes after this one; TLS_ANY_KEY: none. */
static enum tls_key_choice other_kind(const struct live *l, const struct tls_chain *chain)
{
	if (l->rule.key_choice != TLS_ANY_KEY || chain->count == 0)
		return TLS_ANY_KEY;
	if (chain->items[0].is_rsa)
		return TLS_ONLY_ECDSA;
	return chain->items[0].is_ecdsa ? TLS_ONLY_RSA : TLS_ANY_KEY;
}

static void on_ready(struct live *l)
{
	struct tls_chain chain = {0};

	smtp_client_chain(l->client, &chain);
	if (!take_certificates(l, &chain)) {
		complain(smtp_client_name(l->client), "showed no certificate that can be read");
		finish(l, EX_UNAVAILABLE);
	}
	l->rule.key_choice = other_kind(l, &chain);
	tls_chain_release(&chain);
	smtp_client_close(&l->client);
	if (l->rule.key_choice == TLS_ANY_KEY)
		finish(l, l->code);
	else
		start_client(l);
}

/* A server that has but one kind of key refuses the handshake that wants the other. */
static void on_failed(struct live *l)
{
	const struct smtp_client_failure *failure = smtp_client_failure(l->client);
	bool is_second = l->rule.key_choice != TLS_ANY_KEY;

	if (!is_second || failure->stage != STAGE_TLS)
		complain(smtp_client_name(l->client), failure->text);
	if (is_second && failure->stage != STAGE_TLS)
		complain(
		    "warning", "so it is not known whether the server has another certificate");
	smtp_client_close(&l->client);
	if (is_second)
		finish(l, l->code);
	else if (++l->at < l->address_count)
		start_client(l);
	else
		finish(l, EX_UNAVAILABLE);
}

static void on_ourselves(struct live *l)
{
	complain(smtp_client_name(l->client),
	    "this danelaw itself answered, since the rules of this network intercept the "
	    "connection; run this as root or as danelaw's own user");
	smtp_client_close(&l->client);
	finish(l, EX_UNAVAILABLE);
}

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg)
{
	(void)reply;
	if (smtp_client_met_ourselves(client))
		on_ourselves(arg);
	else if (event == CLIENT_READY)
		on_ready(arg);
	else
		on_failed(arg);
}

static void start_client(struct live *l)
{
	struct smtp_client_target target = {
	    .host = l->rule.sni, .address = &l->addresses[l->at], .rule = &l->rule};

	l->client = smtp_client_start(&l->proxy, &target, on_client, l);
}

/* ---- the addresses ---- */

static void on_addresses(const struct dns_answer *answer, struct live *l)
{
	if (answer->state == DNS_FAILED)
		complain(answer->question, answer->why);
	for (size_t i = 0; answer->state != DNS_FAILED && i < answer->count; i++) {
		l->addresses[l->address_count] = answer->addresses[i];
		addr_set_port(&l->addresses[l->address_count++], l->port);
	}
	if (l->queries[0] || l->queries[1])
		return;
	if (l->address_count > 0) {
		start_client(l);
		return;
	}
	complain(l->host, "no address could be found");
	finish(l, EX_UNAVAILABLE);
}

static void on_ipv4(const struct dns_answer *answer, void *arg)
{
	struct live *l = arg;

	l->queries[0] = NULL;
	on_addresses(answer, l);
}

static void on_ipv6(const struct dns_answer *answer, void *arg)
{
	struct live *l = arg;

	l->queries[1] = NULL;
	on_addresses(answer, l);
}

static void start(struct live *l)
{
	if (addr_parse_ip(&l->addresses[0], l->host, l->port)) {
		l->address_count = 1;
		start_client(l);
		return;
	}
	snprintf(l->rule.sni, sizeof l->rule.sni, "%s", l->host);
	l->queries[0] = dns_query_start(l->resolver, l->host, DNS_A, on_ipv4, l);
	l->queries[1] = dns_query_start(l->resolver, l->host, DNS_AAAA, on_ipv6, l);
}

/* ---- what that needs ---- */

static bool open_live(struct live *l, const struct conf *conf, char **error)
{
	l->proxy.loop = ev_loop_new(0);
	l->proxy.conf = conf;
	l->proxy.mark = intercept_mark_beside(conf);
	l->proxy.tls = tls_contexts_new(conf->tls.ca_file, error);
	if (!l->proxy.tls)
		return false;
	l->proxy.shared = shared_new();
	l->proxy.pool = pool_new(&l->proxy);
	l->resolver = resolver_new(l->proxy.loop, conf, error);
	return l->resolver != NULL;
}

/* A QUIT that nobody waits for may leave, no more. */
static void close_live(struct live *l)
{
	ev_run(l->proxy.loop, EVRUN_NOWAIT);
	stream_close_finishing();
	pool_free(&l->proxy.pool);
	resolver_free(&l->resolver);
	tls_contexts_free(&l->proxy.tls);
	tls_rule_release(&l->rule);
	reap_now();
	ev_loop_destroy(l->proxy.loop);
	shared_free(&l->proxy.shared);
}

int tlsa_live_add(struct tlsa_job *job, const struct conf *conf, const char *host, uint16_t port)
{
	struct live l = {.job = job,
	    .host = host,
	    .port = port,
	    .code = EX_OK,
	    /* cppcheck-suppress ctunullpointer ; with --connect there is a configuration */
	    .rule = {.need = TLS_ENCRYPT, .min_version = conf->policy.min_tls}};
	char *error = NULL;

	if (open_live(&l, conf, &error)) {
		start(&l);
		ev_run(l.proxy.loop, 0); /* each step has a timer of its own */
	} else {
		complain("--connect", error);
		free(error);
		l.code = EX_CONFIG;
	}
	close_live(&l);
	return l.code;
}
