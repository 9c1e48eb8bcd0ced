/*
 * lookup.h - one question to one resolver context: its deadline, and a callback that is never
 * early.
 *
 * What the resolver, the probe and the keeper of the root anchor share. It hides what surprises
 * about libunbound's event API: cached answers come back before the call returns, packets are
 * overwritten, nothing ever times out, and each malformed name leaks. Owner: who started it, until
 * its callback.
 */
#ifndef DNSVAL_LOOKUP_H
#define DNSVAL_LOOKUP_H

#include "dnsval/answer.h"

struct context;
struct ev_loop;
struct lookup;

/* The answer is borrowed for the time of the call; the lookup is gone already. */
typedef void lookup_fn(const struct dns_answer *answer, void *arg);

/*
 * Asks for a name in normal form, or "." for the root; anything else is DNS_FAILED without being
 * asked (R-DNS-32). Exactly one callback, from the loop, never from inside this call and never from
 * inside libunbound, so that it may even free the context. Never NULL.
 */
struct lookup *lookup_start(struct context *context, const char *name, enum dns_type type,
    double timeout, lookup_fn *callback, void *arg);

/* One whose answer, which is handed over, is known without asking: too busy. */
struct lookup *lookup_answered(
    struct ev_loop *loop, struct dns_answer *answer, lookup_fn *callback, void *arg);

/* No callback after this. NULL inside is welcome; the pointer is cleared. */
void lookup_cancel(struct lookup **lookup);

#endif
