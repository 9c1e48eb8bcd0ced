/*
 * context.c - one libunbound context, made from the configuration and checked.
 *
 * libunbound accepts much that it only refuses, or silently weakens, at the first lookup; so one
 * that needs no network is made here, before anybody depends on it. Called by resolver.c, probe.c
 * and rfc5011.c.
 */
#include "dnsval/context.h"

#include "conf/conf.h"
#include "conf/mem.h"
#include "conf/sandbox.h"
#include "dnsval/anchor.h"
#include "dnsval/answer.h"
#include "dnsval/ub_conf.h"
#include "dnsval/ub_ev.h"
#include "dnsval/ub_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <unbound-event.h>

enum { DNS_PORT = 53 };

struct context {
	struct ev_loop *loop;
	struct ub_event_base *base;
	struct ub_ctx *ub;
	size_t lookups;
};

static bool add_anchors(struct context *context, const struct anchors *anchors, char **error)
{
	for (size_t i = 0; i < anchors->count; i++) {
		int code = ub_ctx_add_ta(context->ub, anchors->items[i].record);

		if (code) {
			*error = mem_printf(
			    "[dns] trust_anchor: %s: %s", anchors->source, ub_strerror(code));
			return false;
		}
	}
	return true;
}

static bool keep_anchor(struct context *context, const char *file, char **error)
{
	int code = ub_ctx_add_ta_autr(context->ub, file);

	if (code)
		*error = mem_printf("%s: %s", file, ub_strerror(code));
	return code == 0;
}

static void on_first(
    void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int was_ratelimited)
{
	(void)rcode, (void)packet, (void)len, (void)sec, (void)why_bogus, (void)was_ratelimited;
	*(bool *)arg = true;
}

/* From a built-in zone, so at once and without network; nothing can be set afterwards. */
static bool make_first_lookup(struct context *context, char **error)
{
	bool answered = false;
	int id;

	ub_log_forget();
	int code =
	    ub_resolve_event(context->ub, "localhost", DNS_A, CLASS_IN, &answered, on_first, &id);

	if (code)
		*error = mem_printf("[dns], [unbound]: libunbound cannot start: %s%s%s",
		    ub_strerror(code), ub_log_first()[0] ? ": " : "", ub_log_first());
	else if (!answered)
		ub_cancel(context->ub, id);
	return code == 0;
}

static struct context *make(struct ev_loop *loop, const struct conf *conf,
    const struct anchors *anchors, const char *kept_file, char **error)
{
	struct context *context = mem_zero(1, sizeof *context);

	context->loop = loop;
	context->base = ub_ev_new(loop);
	context->ub = ub_ctx_create_ub_event(context->base);
	if (!context->ub)
		*error = mem_strdup("libunbound makes no context: out of memory or random numbers");
	if (context->ub)
		ub_ctx_debugout(context->ub, ub_log_stream());
	if (context->ub && ub_conf_apply(context->ub, conf, error) &&
	    (anchors ? add_anchors(context, anchors, error)
		     : keep_anchor(context, kept_file, error)) &&
	    make_first_lookup(context, error))
		return context;
	context_free(&context);
	return NULL;
}

struct context *context_new(
    struct ev_loop *loop, const struct conf *conf, const struct anchors *anchors, char **error)
{
	return make(loop, conf, anchors, NULL, error);
}

struct context *context_new_keeping(
    struct ev_loop *loop, const struct conf *conf, const char *anchor_file, char **error)
{
	return make(loop, conf, NULL, anchor_file, error);
}

void context_let_in(struct sandbox *sandbox, const struct conf *conf)
{
	sandbox_let_connect(sandbox, DNS_PORT); /* what UDP is too small for */
	for (size_t i = 0; i < conf->dns.view_count; i++)
		for (size_t j = 0; j < conf->dns.views[i].forward.count; j++)
			sandbox_let_connect(
			    sandbox, addr_port(&conf->dns.views[i].forward.items[j]));
	if (conf->dns.root_hints && conf->dns.root_hints[0])
		sandbox_let_read_anew(sandbox, conf->dns.root_hints);
	for (size_t i = 0; i < conf->unbound_count; i++)
		if (strcmp(conf->unbound[i].name, "tls-cert-bundle") == 0)
			sandbox_let_read_anew(sandbox, conf->unbound[i].value);
}

void context_free(struct context **context)
{
	if (!*context)
		return;
	assert((*context)->lookups == 0); /* else their callbacks would run inside the delete */
	ub_ctx_delete((*context)->ub);
	ub_ev_free(&(*context)->base);
	free(*context);
	*context = NULL;
}

struct ev_loop *context_loop(const struct context *context) { return context->loop; }

struct ub_ctx *context_ub(const struct context *context) { return context->ub; }

void context_enter(struct context *context) { context->lookups++; }

void context_leave(struct context *context)
{
	assert(context->lookups > 0);
	context->lookups--;
}

size_t context_lookups(const struct context *context) { return context->lookups; }
