/*
 * fetch.h - one HTTPS GET of a policy text, on the loop (RFC 8461 sections 3.2, 3.3). The only user
 * of libcurl.
 *
 * No thread, no redirect, no decompression, nothing from environment or files; addresses come from
 * our resolver and pass the address filter; the certificate must carry the name as a DNS-ID
 * (R-STS-07..12, -33, -35, S-01..05, S-14). Owner: main.
 */
#ifndef POLICY_FETCH_H
#define POLICY_FETCH_H

#include <stddef.h>

struct conf;
struct ev_loop;
struct fetch;
struct fetcher;
struct resolver;

/* NULL: *error (malloc'd). Call after privileges were dropped. */
struct fetcher *fetcher_new(
    struct ev_loop *loop, const struct conf *conf, struct resolver *resolver, char **error);
void fetcher_free(struct fetcher **fetcher); /* cancels what is under way; no callback */

enum fetch_outcome {
	FETCH_OK,
	FETCH_FAILED, /* no address, not reachable, timed out, not 200, too large, wrong type */
	FETCH_CERTIFICATE, /* the policy host's certificate (sts-webpki-invalid) */
	FETCH_BUSY,        /* too many fetches under way; nothing was tried */
};

struct fetch_result {
	enum fetch_outcome outcome;
	const char *body; /* FETCH_OK; len <= STS_BODY_MAX */
	size_t len;
	char why[256]; /* otherwise: what a person should know; holds peers' text, not escaped */
};

/* The result is const and borrowed for the time of the call; the fetch is gone already. */
typedef void fetch_fn(const struct fetch_result *result, void *arg);

/*
 * GET https://mta-sts.DOMAIN/.well-known/mta-sts.txt within timeout seconds, names included.
 * Exactly one callback, never from inside this call. Never NULL.
 */
struct fetch *fetch_start(
    struct fetcher *fetcher, const char *domain, double timeout, fetch_fn *callback, void *arg);
void fetch_cancel(struct fetch **fetch); /* no callback after this; NULL inside is welcome */

const char *fetch_library_version(void); /* of libcurl, at run time: "7.88.1" */

#endif
