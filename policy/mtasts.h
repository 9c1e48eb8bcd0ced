/*
 * mtasts.h - the MTA-STS policy of a domain: TXT record, cache, fetch, and who waits for what
 * (RFC 8461).
 *
 * A cached policy whose id equals the TXT's never waits. A changed id is fetched first, at most
 * [mta-sts] fetch_timeout, once per domain in 5 minutes; if that fails the cached policy applies. A
 * first contact waits at most fetch_timeout, then first_contact decides. A fetch whose asker has
 * gone finishes for the cache's sake. Decisions come from memory. Owner: main.
 */
#ifndef POLICY_MTASTS_H
#define POLICY_MTASTS_H

#include "policy/reason.h"
#include "policy/sts_policy.h"

struct conf;
struct ev_loop;
struct fetcher;
struct mtasts;
struct resolver;
struct store;
struct sts_lookup;

enum sts_state {
	STS_ABSENT, /* no policy, or mode none, or a first contact that failed under `deliver` */
	STS_POLICY, /* policy of mode testing or enforce */
	STS_DEFER,  /* refusal: TXT lookup failed with nothing cached (dns-failed, dns-bogus), or a
		       first contact that failed under `defer` (sts-fetch) */
};

struct sts_answer {
	enum sts_state state;
	struct sts_policy policy; /* STS_POLICY */
	bool is_cached;           /* STS_POLICY: fetched before, not for this answer, ... */
	char id[STS_ID_SIZE];     /* ... under this id of the record */
	struct refusal refusal;   /* STS_DEFER */
	/* Worth a warning though it refuses nothing: sts-fetch, sts-policy-invalid; else
	 * REASON_NONE */
	struct refusal notice;
	/* STS_ABSENT where there is neither a record nor a policy of earlier: when the record must
	 * be asked for again, of the steady clock; else 0 */
	double absent_until;
};

/* Loads the store. Freed before resolver, fetcher and store. */
struct mtasts *mtasts_new(struct ev_loop *loop, const struct conf *conf, struct resolver *resolver,
    struct fetcher *fetcher, struct store *store);
void mtasts_free(struct mtasts **mtasts);

/* For a command that only looks: from now on cached policies are not fetched again by themselves.
 */
void mtasts_stop_refreshing(struct mtasts *mtasts);

/* The answer is handed over: sts_answer_free(). domain: normal form, the next-hop domain
 * (R-STS-01). */
typedef void sts_lookup_fn(struct sts_answer *answer, void *arg);
struct sts_lookup *sts_lookup_start(
    struct mtasts *mtasts, const char *domain, sts_lookup_fn *callback, void *arg);
void sts_lookup_cancel(struct sts_lookup **lookup);
void sts_answer_free(struct sts_answer **answer);

/* What came of each fetch of a policy; one observer, from the loop. */
enum sts_fetched {
	STS_FETCHED,
	STS_FETCH_FAILED,
	STS_FETCH_CERTIFICATE, /* the policy host's */
	STS_FETCH_INVALID,     /* no policy in it */
	STS_FETCH_BUSY,        /* nothing was tried */
};
typedef void sts_fetched_fn(enum sts_fetched result);
void mtasts_observe(struct mtasts *mtasts, sts_fetched_fn *observer);

/* A host failed an enforced policy: the TXT is asked again so that the next mail sees a new id
 * (R-STS-30). */
void mtasts_recheck(struct mtasts *mtasts, const char *domain);

#endif
