/*
 * resolver.h - start and cancel one validated query. The only user of libunbound.
 *
 * Validation happens in this process (R-DNS-35): full recursion, or forwarders that are believed no
 * more than the wire. Identical lookups under way are merged; each has its own deadline (R-DNS-43,
 * -44). A lookup whose askers have all left finishes for the cache. Owner: main.
 */
#ifndef DNSVAL_RESOLVER_H
#define DNSVAL_RESOLVER_H

#include "dnsval/answer.h"

#include <stddef.h>

struct conf;
struct ev_loop;
struct resolver;
struct dns_query;

/*
 * Makes the context from [dns] and [unbound] and makes a first lookup without network, because
 * libunbound reports some bad options only then. NULL: *error (malloc'd) names the setting; the
 * program ends with 78. Must be called in the final process: after any fork and after privileges
 * were dropped.
 */
struct resolver *resolver_new(struct ev_loop *loop, const struct conf *conf, char **error);

/* Cancels what is under way; no callback runs. Not from inside a callback of its own. */
void resolver_free(struct resolver **resolver);

/* After each attempt, from the loop. why: what the operator must mend about the root anchor
 * (R-DNS-39), borrowed; "": nothing. */
typedef void resolver_anchor_fn(const char *why, void *arg);

/*
 * For the long-running program alone: keeps the root anchor up by RFC 5011 in state_dir, where
 * [dns] trust_anchor is not set. Sub-commands leave the files alone.
 */
void resolver_keep_anchor(struct resolver *resolver, resolver_anchor_fn *watch, void *arg);

/* For the other processes of that program: reads hourly what the one that keeps it up has written,
 * since a key roll concerns them as well. */
void resolver_follow_anchor(struct resolver *resolver);

/*
 * Begins with an empty cache; lookups under way end where they are. For when DNS works again after
 * an outage (probe_watch): libunbound does not ask for a key that it could not get for 60 s.
 */
void resolver_renew(struct resolver *resolver);

/* Another number: it began anew since, or trusts other anchors. What was made of answers that came
 * before then is not to be kept. */
unsigned resolver_generation(const struct resolver *resolver);

/* The answer is const and borrowed for the time of the call. */
typedef void dns_query_fn(const struct dns_answer *answer, void *arg);

/*
 * Asks for an absolute name in normal form (domain.h; a TLSA owner name like
 * "_25._tcp.mx.example.org" too; one that got too long, or is malformed, is DNS_FAILED). Exactly
 * one callback, never from inside this call; the query is gone when it runs. Above the limit of
 * lookups in flight the answer is DNS_FAILED with busy set (R-DNS-44). Never NULL.
 */
struct dns_query *dns_query_start(struct resolver *resolver, const char *name, enum dns_type type,
    dns_query_fn *callback, void *arg);

/* No callback after this. NULL inside is welcome; the pointer is cleared. */
void dns_query_cancel(struct dns_query **query);

/*
 * For who shows what was asked: each answer, in the order in which they came, before its askers
 * hear of it; seconds since it was asked. One observer; NULL: none any more.
 */
typedef void resolver_observer_fn(const struct dns_answer *answer, double seconds, void *arg);
void resolver_observe(struct resolver *resolver, resolver_observer_fn *observer, void *arg);

/* For start-up messages and tests. */
size_t resolver_lookups_in_flight(const struct resolver *resolver);

#endif
