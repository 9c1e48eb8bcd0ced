/*
 * fetch_internal.h - what only the tests of fetch.h may choose.
 */
#ifndef POLICY_FETCH_INTERNAL_H
#define POLICY_FETCH_INTERNAL_H

#include "policy/fetch.h"

#include <stdint.h>

enum {
	FETCH_LOOKUPS_MAX = 50,  /* fetches that wait for the addresses of their host */
	FETCH_GETS_MAX = 50,     /* connections to policy hosts, ... */
	FETCH_GETS_PER_HOST = 5, /* ... and how many of them to one address */
	FETCH_WAITING_MAX = 5000 /* fetches in all; beyond that FETCH_BUSY at once */
};

/* As fetcher_new(); policy hosts listen at 443 (RFC 8461 3.3), a test's one may not. */
struct fetcher *fetcher_new_on_port(struct ev_loop *loop, const struct conf *conf,
    struct resolver *resolver, uint16_t port, char **error);

#endif
