/*
 * hint.c - see hint.h. Called by approach.c once the destination is known.
 */
#include "proxy/intercept/hint.h"

#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/intercept/intercept.h"
#include "proxy/metrics.h"
#include "proxy/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* Further ones would only be a load on the resolver. */
enum { WATCHED_MAX = 500 };

struct hint_check {
	struct proxy *proxy;
	char session[32];
	struct addr original;
	char domain[DOMAIN_SIZE];
	struct address_search *search;
	hint_fn *callback; /* NULL: watched, and among proxy->hints */
	void *arg;
	struct hint_check *prev, *next;
};

bool hint_applies(const struct interception *interception, const struct destination *destination)
{
	return interception->listener && !destination->conf->next_hop.set;
}

void hint_check_cancel(struct hint_check **check)
{
	struct hint_check *c = *check;

	*check = NULL;
	if (!c)
		return;
	if (!c->callback)
		DL_DELETE(c->proxy->hints, c);
	address_search_cancel(&c->search);
	free(c);
}

static const char *list(const struct address_search_result *result, char *out, size_t size)
{
	char text[ADDR_TEXT];
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < result->shown_count; i++)
		len += (size_t)snprintf(
		    out + len, size - len, "%s%s", i ? "," : "", addr_ip(&result->shown[i], text));
	return result->shown_count ? out : "none";
}

static void tell_mismatch(const struct hint_check *c, const struct address_search_result *result)
{
	char text[ADDR_TEXT], listed[ADDRESS_SEARCH_SHOWN * (ADDR_TEXT + 1)];
	struct log_line line;

	log_begin(&line, LOG_LEVEL_WARNING, "hint-mismatch");
	log_value(&line, "session", c->session);
	log_value(&line, "domain", c->domain);
	log_value(&line, "original", addr_ip(&c->original, text));
	log_value(&line, "validated", list(result, listed, sizeof listed));
	log_end(&line);
	metrics_count_hint_mismatch();
}

/* Where a lookup failed it may still be one: that is no mismatch to count, but no proof either. */
static void judge(
    const struct hint_check *c, const struct address_search_result *result, struct refusal *refusal)
{
	char text[ADDR_TEXT];

	*refusal = (struct refusal){.reason = REASON_NONE};
	if (result->is_found)
		return;
	if (result->failure.reason != REASON_NONE) {
		*refusal = result->failure;
		return;
	}
	if (result->is_complete)
		tell_mismatch(c, result);
	refusal_set(refusal, REASON_HINT_MISMATCH,
	    "your host connected to %s, which is %s of %s: its resolver may be stale or deceived",
	    addr_ip(&c->original, text),
	    result->is_complete ? "the address of no MX host"
				: "not known to be the address of an MX host",
	    c->domain);
}

static void on_search(const struct address_search_result *result, void *arg)
{
	struct hint_check *c = arg;
	hint_fn *callback = c->callback;
	void *owner = c->arg;
	struct refusal refusal;

	c->search = NULL;
	judge(c, result, &refusal);
	hint_check_cancel(&c);
	if (callback)
		callback(refusal.reason == REASON_NONE ? NULL : &refusal, owner);
}

struct hint_check *hint_check_start(struct proxy *proxy, const char *session,
    const struct interception *interception, const struct destination *destination,
    hint_fn *callback, void *arg)
{
	struct hint_check *c = mem_zero(1, sizeof *c);

	c->proxy = proxy;
	c->original = interception->original;
	snprintf(c->session, sizeof c->session, "%s", session);
	snprintf(c->domain, sizeof c->domain, "%s", destination->domain);
	c->callback = callback;
	c->arg = arg;
	c->search = address_search_start(proxy->policy, destination, &c->original, on_search, c);
	return c;
}

void hint_watch(struct proxy *proxy, const char *session, const struct interception *interception,
    const struct destination *destination)
{
	struct hint_check *c;
	size_t count;

	DL_COUNT(proxy->hints, c, count);
	if (count >= WATCHED_MAX)
		return;
	c = hint_check_start(proxy, session, interception, destination, NULL, NULL);
	DL_APPEND(proxy->hints, c);
}

void hint_watch_end(struct proxy *proxy)
{
	struct hint_check *c, *next;

	DL_FOREACH_SAFE(proxy->hints, c, next)
	hint_check_cancel(&c);
}
