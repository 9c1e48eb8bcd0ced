/*
 * lookup.c - one question to one resolver context: its deadline, and a callback that is never
 * early.
 *
 * libunbound calls back from deep inside itself, for a cached answer even before ub_resolve_event()
 * has returned, with a packet that its next call overwrites. So its callback only copies what it is
 * given, and feeds a watcher that delivers once the library's frames are gone. Called by
 * resolver.c, probe.c and rfc5011.c.
 */
#include "dnsval/lookup.h"

#include "conf/mem.h"
#include "conf/timer.h"
#include "dnsval/context.h"

#include <assert.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <unbound-event.h>

struct lookup {
	struct ev_loop *loop;
	struct context *context; /* NULL: nothing was asked */
	int id;                  /* the library's; meaningless unless is_asked */
	bool is_asked;
	char name[DOMAIN_SIZE];
	enum dns_type type;
	double timeout;
	ev_timer deadline;
	ev_timer turn; /* never started, only fed: delivers the answer */
	struct dns_answer *answer;
	lookup_fn *callback;
	void *arg;
};

static void release(struct lookup *lookup)
{
	ev_timer_stop(lookup->loop, &lookup->deadline);
	ev_clear_pending(lookup->loop, &lookup->turn); /* fed, it may be inactive and still run */
	if (lookup->context)
		context_leave(lookup->context);
	free(lookup);
}

static void deliver(struct lookup *lookup)
{
	struct dns_answer *answer = lookup->answer;
	lookup_fn *callback = lookup->callback;
	void *arg = lookup->arg;

	assert(answer && !lookup->is_asked);
	release(lookup);
	callback(answer, arg);
	dns_answer_free(&answer);
}

static void on_turn(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	deliver(w->data);
}

static void answered(struct lookup *lookup, struct dns_answer *answer)
{
	assert(!lookup->answer);
	lookup->answer = answer;
	ev_timer_stop(lookup->loop, &lookup->deadline);
	ev_feed_event(lookup->loop, &lookup->turn, EV_CUSTOM);
}

/* The packet lives in a buffer that the library's next answer overwrites: parse, that is copy, now.
 */
static void on_resolved(
    void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int was_ratelimited)
{
	struct lookup *lookup = arg;

	lookup->is_asked = false; /* ids are used again: forget this one first */
	if (was_ratelimited)
		answered(lookup, dns_answer_failed(lookup->name, lookup->type, "rate limited"));
	else
		answered(lookup, dns_answer_parse(lookup->name, lookup->type, rcode, sec, packet,
				     len > 0 ? (size_t)len : 0, why_bogus));
}

/* Marks the query inside the library, which lets its network work go on for the cache. */
static void withdraw(struct lookup *lookup)
{
	if (lookup->is_asked)
		ub_cancel(context_ub(lookup->context), lookup->id);
	lookup->is_asked = false;
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct lookup *lookup = w->data;
	char why[64];

	(void)loop, (void)revents;
	withdraw(lookup);
	snprintf(why, sizeof why, "no answer within %g s", lookup->timeout);
	lookup->answer = dns_answer_failed(lookup->name, lookup->type, why);
	deliver(lookup);
}

static struct lookup *new_lookup(
    struct ev_loop *loop, const char *name, enum dns_type type, lookup_fn *callback, void *arg)
{
	struct lookup *lookup = mem_zero(1, sizeof *lookup);

	lookup->loop = loop;
	lookup->type = type;
	lookup->callback = callback;
	lookup->arg = arg;
	snprintf(lookup->name, sizeof lookup->name, "%s", name);
	ev_init(&lookup->deadline, on_deadline);
	ev_init(&lookup->turn, on_turn);
	lookup->deadline.data = lookup->turn.data = lookup;
	return lookup;
}

/* R-DNS-32: about 280 octets leak in libunbound for each malformed name. */
static bool is_askable(const char *name)
{
	char normal[DOMAIN_SIZE];

	return strcmp(name, ".") == 0 ||
	       (domain_normalize(normal, name, strlen(name)) && strcmp(normal, name) == 0);
}

static void ask(struct lookup *lookup)
{
	/*
	 * The id is set before the callback can run. It is 0 for names that the library answers
	 * itself, and not 0 for cached ones that were answered all the same: only the flag counts.
	 */
	lookup->is_asked = true;
	int error = ub_resolve_event(context_ub(lookup->context), lookup->name, (int)lookup->type,
	    CLASS_IN, lookup, on_resolved, &lookup->id);

	if (error && lookup->is_asked) {
		lookup->is_asked = false;
		answered(lookup, dns_answer_failed(lookup->name, lookup->type, ub_strerror(error)));
	}
}

struct lookup *lookup_start(struct context *context, const char *name, enum dns_type type,
    double timeout, lookup_fn *callback, void *arg)
{
	struct lookup *lookup = new_lookup(context_loop(context), name, type, callback, arg);

	lookup->context = context;
	context_enter(context);
	if (!is_askable(name)) {
		answered(lookup, dns_answer_failed(name, type, "this is no domain name"));
		return lookup;
	}
	ask(lookup);
	if (lookup->is_asked) {
		lookup->timeout = timeout;
		timer_start(lookup->loop, &lookup->deadline, timeout);
	}
	return lookup;
}

struct lookup *lookup_answered(
    struct ev_loop *loop, struct dns_answer *answer, lookup_fn *callback, void *arg)
{
	struct lookup *lookup = new_lookup(loop, answer->question, answer->type, callback, arg);

	answered(lookup, answer);
	return lookup;
}

void lookup_cancel(struct lookup **lookup)
{
	if (!*lookup)
		return;
	withdraw(*lookup);
	dns_answer_free(&(*lookup)->answer);
	release(*lookup);
	*lookup = NULL;
}
