/*
 * machine.c - see machine.h.
 */
#include "proxy/machine.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "dnsval/probe.h"
#include "dnsval/resolver.h"
#include "policy/fetch.h"
#include "policy/mtasts.h"
#include "policy/policy.h"
#include "policy/store.h"
#include "proxy/duplicates.h"
#include "proxy/intercept/hint.h"
#include "proxy/intercept/intercept.h"
#include "proxy/metrics.h"
#include "proxy/middlebox.h"
#include "proxy/pool.h"
#include "proxy/setbacks.h"
#include "proxy/shared/shared.h"
#include "proxy/spool/spool.h"
#include "tls/ctx.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

bool machine_complain(const char *what, char **error)
{
	fprintf(stderr, "danelaw: %s%s\n", what, *error ? *error : "");
	free(*error);
	*error = NULL;
	return false;
}

/* libunbound remembers for a while what it could not get; mail should not wait for that when DNS is
 * back (R-DNS-37). */
static void on_probe(enum probe_state state, void *arg)
{
	struct machine *m = arg;

	if (state == PROBE_BROKEN)
		m->dns_was_broken = true;
	else if (m->dns_was_broken)
		resolver_renew(m->resolver);
}

static void on_answer(const struct dns_answer *answer, double seconds, void *arg)
{
	(void)seconds, (void)arg;
	metrics_count_lookup(answer);
}

static bool build_tls(struct machine *m)
{
	char *error = NULL;

	m->proxy.tls = tls_contexts_new(m->conf->tls.ca_file, &error);
	if (!m->proxy.tls)
		return machine_complain("cannot set up TLS: ", &error);
	return true;
}

static bool build_mtasts(struct machine *m)
{
	char *error = NULL;

	m->fetcher = fetcher_new(m->proxy.loop, m->conf, m->resolver, &error);
	if (!m->fetcher)
		return machine_complain("cannot set up HTTPS: ", &error);
	m->mtasts = mtasts_new(m->proxy.loop, m->conf, m->resolver, m->fetcher, m->store);
	if (m->use == MACHINE_LOOKS)
		mtasts_stop_refreshing(m->mtasts);
	mtasts_observe(m->mtasts, metrics_count_sts_fetch);
	return true;
}

/* The service of this configuration would be ourselves, as far as it can be told beforehand. */
static void own_configured(struct machine *m)
{
	struct addr *all = NULL;
	size_t total = 0;

	for (size_t i = 0; i < m->conf->listener_count; i++) {
		const struct conf_addrs *listen = &m->conf->listeners[i].listen;

		all = mem_resize(all, total + listen->count, sizeof *all);
		memcpy(all + total, listen->items, listen->count * sizeof *all);
		total += listen->count;
	}
	policy_set_own(m->proxy.policy, all, total);
	free(all);
}

static bool build(struct machine *m)
{
	if (!build_tls(m) || !build_mtasts(m))
		return false;
	m->probe = probe_new(m->proxy.loop, m->conf);
	probe_watch(m->probe, on_probe, m);
	m->proxy.policy = policy_new(m->proxy.loop, m->conf, m->resolver, m->probe, m->mtasts);
	if (m->use == MACHINE_LOOKS)
		own_configured(m);
	m->proxy.setbacks = setbacks_new();
	m->proxy.middlebox = middlebox_new();
	m->proxy.duplicates = duplicates_new(m->proxy.loop, m->proxy.spool,
	    shared_journal(m->proxy.shared), shared_secret(m->proxy.shared));
	m->proxy.pool = pool_new(&m->proxy);
	return true;
}

/* 78 where the resolver's settings are at fault: it tells what libunbound would only tell at the
 * first lookup. */
int machine_open(struct machine *m, struct ev_loop *loop, struct conf *conf)
{
	char *error = NULL;

	m->conf = conf;
	m->proxy.conf = conf;
	m->proxy.loop = loop;
	m->is_alone = !m->proxy.shared;
	if (m->is_alone)
		m->proxy.shared = shared_new();
	if (m->use == MACHINE_LOOKS)
		m->proxy.mark = intercept_mark_beside(conf);
	m->store = m->use == MACHINE_LOOKS ? store_open_reader(loop, conf) : store_open(loop, conf);
	if (m->use == MACHINE_SERVES)
		m->proxy.spool = spool_open(loop, conf);
	m->resolver = resolver_new(loop, conf, &error);
	if (!m->resolver) {
		machine_complain("", &error);
		return EX_CONFIG;
	}
	resolver_observe(m->resolver, on_answer, NULL);
	return build(m) ? EX_OK : EX_UNAVAILABLE;
}

void machine_close(struct machine *m)
{
	hint_watch_end(&m->proxy);
	pool_free(&m->proxy.pool);
	duplicates_free(&m->proxy.duplicates);
	spool_close(&m->proxy.spool);
	setbacks_free(&m->proxy.setbacks);
	middlebox_free(&m->proxy.middlebox);
	policy_free(&m->proxy.policy);
	mtasts_free(&m->mtasts);
	fetcher_free(&m->fetcher);
	store_close(&m->store);
	probe_free(&m->probe);
	resolver_free(&m->resolver);
	tls_contexts_free(&m->proxy.tls);
	reap_now();
	if (m->proxy.loop)
		ev_loop_destroy(m->proxy.loop);
	if (m->is_alone)
		shared_free(&m->proxy.shared);
	conf_free(&m->conf);
}
