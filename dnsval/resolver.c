/*
 * resolver.c - start and cancel one validated query; identical ones under way share one lookup.
 *
 * A query is somebody's wish, a flight is the one lookup that serves all equal wishes (R-DNS-44). A
 * flight ends when its lookup does, never because its askers left. When trust anchors change, or
 * DNS comes back after an outage, a new context takes over and the old one goes after its last
 * lookup. Called by policy/.
 */
#include "dnsval/resolver.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "dnsval/anchor.h"
#include "dnsval/context.h"
#include "dnsval/lookup.h"
#include "dnsval/rfc5011.h"

#include <assert.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* The default function falls through between cases, which clang does not let pass. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

enum { FLIGHTS_MAX = 2000 };

static const double anchor_interval = 3600;

/* "TLSA _25._tcp.mx.example.org"; with room, so that what is too long can equal no name. */
enum { QUESTION_SIZE = DOMAIN_SIZE + 16 };

struct dns_query {
	TAILQ_ENTRY(dns_query) entry;
	struct flight *flight;
	dns_query_fn *callback;
	void *arg;
};

struct flight {
	UT_hash_handle hh;
	LIST_ENTRY(flight) entry;
	struct resolver *resolver;
	char question[QUESTION_SIZE];
	struct lookup *lookup;
	ev_tstamp started;
	bool is_refused; /* for the limit; in the list only, never shared */
	TAILQ_HEAD(, dns_query) askers;
};

/* Replaced, but with lookups under way. */
struct retired {
	LIST_ENTRY(retired) entry;
	struct context *context;
};

struct resolver {
	struct ev_loop *loop;
	const struct conf *conf;
	struct context *context;
	struct anchors *anchors;
	struct rfc5011 *keeper;
	ev_timer anchor_timer; /* another process may keep the file */
	resolver_anchor_fn *anchor_watch;
	void *anchor_arg;
	char *not_kept, *not_read; /* what is wrong with the root anchor; NULL: nothing */
	struct flight *shared;     /* by question */
	LIST_HEAD(, flight) flights;
	LIST_HEAD(, retired) retired;
	unsigned generation;
	resolver_observer_fn *observer;
	void *observer_arg;
};

/* ---- a flight ---- */

static void log_answer(const struct flight *flight, const struct dns_answer *answer)
{
	struct log_line line;

	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	log_begin(&line, LOG_LEVEL_DEBUG, "lookup");
	log_value(&line, "name", answer->question);
	log_value(&line, "type", dns_type_name(answer->type));
	log_value(&line, "state", dns_state_name(answer->state));
	log_number(&line, "count", (int64_t)answer->count);
	log_value(&line, "end", answer->name);
	log_number(&line, "ms", (int64_t)((ev_time() - flight->started) * 1e3));
	log_value(&line, "why", answer->why);
	log_end(&line);
}

/* Context deletion is allowed here: lookups call back from the loop, not from inside the library.
 */
static void free_retired(struct resolver *resolver)
{
	struct retired *one = LIST_FIRST(&resolver->retired);

	while (one) {
		struct retired *next = LIST_NEXT(one, entry);

		if (context_lookups(one->context) == 0) {
			LIST_REMOVE(one, entry);
			context_free(&one->context);
			free(one);
		}
		one = next;
	}
}

/* Nobody finds it any more: an equal question asked from a callback is a new flight. */
static void unlist(struct flight *flight)
{
	LIST_REMOVE(flight, entry);
	if (!flight->is_refused)
		HASH_DEL(flight->resolver->shared, flight);
}

/* A callback may start queries, and cancel others of this flight. */
static void on_answer(const struct dns_answer *answer, void *arg)
{
	struct flight *flight = arg;
	struct dns_query *query;

	flight->lookup = NULL;
	unlist(flight);
	log_answer(flight, answer);
	if (flight->resolver->observer)
		flight->resolver->observer(
		    answer, ev_time() - flight->started, flight->resolver->observer_arg);
	free_retired(flight->resolver);
	while ((query = TAILQ_FIRST(&flight->askers))) {
		dns_query_fn *callback = query->callback;
		void *callback_arg = query->arg;

		TAILQ_REMOVE(&flight->askers, query, entry);
		free(query);
		callback(answer, callback_arg);
	}
	free(flight);
}

static struct flight *new_flight(struct resolver *resolver)
{
	struct flight *flight = mem_zero(1, sizeof *flight);

	flight->resolver = resolver;
	flight->started = ev_time();
	TAILQ_INIT(&flight->askers);
	LIST_INSERT_HEAD(&resolver->flights, flight, entry);
	return flight;
}

static struct flight *refuse(struct resolver *resolver, const char *name, enum dns_type type)
{
	struct flight *flight = new_flight(resolver);
	struct dns_answer *answer = dns_answer_failed(name, type, "too many lookups are under way");

	answer->busy = true;
	flight->is_refused = true;
	flight->lookup = lookup_answered(resolver->loop, answer, on_answer, flight);
	return flight;
}

static struct flight *find_or_start(struct resolver *resolver, const char *name, enum dns_type type)
{
	char question[QUESTION_SIZE];
	struct flight *flight;

	snprintf(question, sizeof question, "%s %s", dns_type_name(type), name);
	HASH_FIND_STR(resolver->shared, question, flight);
	if (flight)
		return flight;
	if (HASH_COUNT(resolver->shared) >= FLIGHTS_MAX)
		return refuse(resolver, name, type);
	flight = new_flight(resolver);
	memcpy(flight->question, question, sizeof question);
	HASH_ADD_STR(resolver->shared, question, flight);
	flight->lookup = lookup_start(
	    resolver->context, name, type, resolver->conf->dns.timeout, on_answer, flight);
	return flight;
}

/* ---- queries ---- */

struct dns_query *dns_query_start(struct resolver *resolver, const char *name, enum dns_type type,
    dns_query_fn *callback, void *arg)
{
	struct dns_query *query = mem_zero(1, sizeof *query);

	query->callback = callback;
	query->arg = arg;
	query->flight = find_or_start(resolver, name, type);
	TAILQ_INSERT_TAIL(&query->flight->askers, query, entry);
	return query;
}

void dns_query_cancel(struct dns_query **query)
{
	if (!*query)
		return;
	TAILQ_REMOVE(&(*query)->flight->askers, *query, entry);
	free(*query);
	*query = NULL;
}

void resolver_observe(struct resolver *resolver, resolver_observer_fn *observer, void *arg)
{
	resolver->observer = observer;
	resolver->observer_arg = arg;
}

size_t resolver_lookups_in_flight(const struct resolver *resolver)
{
	return HASH_COUNT(resolver->shared);
}

/* ---- the resolver ---- */

void resolver_renew(struct resolver *resolver)
{
	char *error = NULL;
	struct context *fresh =
	    context_new(resolver->loop, resolver->conf, resolver->anchors, &error);

	if (!fresh) {
		log_error("the resolver goes on with its old state: %s", error);
		free(error);
		return;
	}
	struct retired *old = mem_zero(1, sizeof *old);

	old->context = resolver->context;
	LIST_INSERT_HEAD(&resolver->retired, old, entry);
	resolver->context = fresh;
	resolver->generation++;
	free_retired(resolver);
}

unsigned resolver_generation(const struct resolver *resolver) { return resolver->generation; }

static void tell_anchor(const struct resolver *resolver)
{
	const char *why = resolver->not_read ? resolver->not_read : resolver->not_kept;

	if (resolver->anchor_watch)
		resolver->anchor_watch(why ? why : "", resolver->anchor_arg);
}

static void refresh_anchors(struct resolver *resolver)
{
	char *error = NULL;
	bool changed = anchors_refresh(&resolver->anchors, resolver->conf, &error);

	free(resolver->not_read);
	resolver->not_read = error;
	tell_anchor(resolver);
	if (!changed)
		return;
	anchors_log(resolver->anchors);
	resolver_renew(resolver);
}

static void on_anchor_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	refresh_anchors(w->data);
}

static void on_kept(bool is_refreshed, const char *why, void *arg)
{
	struct resolver *resolver = arg;

	free(resolver->not_kept);
	resolver->not_kept = why[0] ? mem_strdup(why) : NULL;
	if (is_refreshed)
		refresh_anchors(resolver);
	else
		tell_anchor(resolver);
}

void resolver_keep_anchor(struct resolver *resolver, resolver_anchor_fn *watch, void *arg)
{
	assert(!resolver->keeper);
	resolver->anchor_watch = watch;
	resolver->anchor_arg = arg;
	resolver->keeper = rfc5011_new(resolver->loop, resolver->conf, on_kept, resolver);
	if (resolver->keeper)
		ev_timer_again(resolver->loop, &resolver->anchor_timer);
}

void resolver_follow_anchor(struct resolver *resolver)
{
	ev_timer_again(resolver->loop, &resolver->anchor_timer);
}

struct resolver *resolver_new(struct ev_loop *loop, const struct conf *conf, char **error)
{
	struct anchors *anchors = anchors_load(conf, error);
	struct context *context = anchors ? context_new(loop, conf, anchors, error) : NULL;

	if (!context) {
		anchors_free(&anchors);
		return NULL;
	}
	struct resolver *resolver = mem_zero(1, sizeof *resolver);

	resolver->loop = loop;
	resolver->conf = conf;
	resolver->context = context;
	resolver->anchors = anchors;
	LIST_INIT(&resolver->flights);
	LIST_INIT(&resolver->retired);
	ev_timer_init(&resolver->anchor_timer, on_anchor_timer, 0., anchor_interval);
	resolver->anchor_timer.data = resolver;
	anchors_log(anchors);
	return resolver;
}

static void drop_flight(struct flight *flight)
{
	struct dns_query *query;

	unlist(flight);
	while ((query = TAILQ_FIRST(&flight->askers))) {
		TAILQ_REMOVE(&flight->askers, query, entry);
		free(query);
	}
	lookup_cancel(&flight->lookup);
	free(flight);
}

void resolver_free(struct resolver **resolver)
{
	struct resolver *r = *resolver;
	struct flight *flight;

	if (!r)
		return;
	rfc5011_free(&r->keeper);
	ev_timer_stop(r->loop, &r->anchor_timer);
	while ((flight = LIST_FIRST(&r->flights)))
		drop_flight(flight);
	free_retired(r);
	context_free(&r->context);
	anchors_free(&r->anchors);
	free(r->not_kept);
	free(r->not_read);
	free(r);
	*resolver = NULL;
}
