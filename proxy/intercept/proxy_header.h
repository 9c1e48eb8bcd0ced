/*
 * proxy_header.h - the header in which a load balancer says whose connection it passes on (the
 * PROXY protocol of HAProxy, versions 1 and 2; R-NET-12). Pure, fuzzed.
 */
#ifndef PROXY_PROXY_HEADER_H
#define PROXY_PROXY_HEADER_H

#include "conf/addr.h"

#include <stdbool.h>
#include <stddef.h>

/* Version 2: 16 octets, then addresses and options, of which we take no more than 4 KiB. */
enum { PROXY_HEADER_MAX = 16 + 4096 };

struct proxy_header {
	size_t len;         /* what follows it is the client's */
	bool has_source;    /* else the connection speaks for itself: LOCAL, UNKNOWN, UNSPEC */
	struct addr source; /* the client, with its port */
};

enum proxy_header_status {
	PROXY_HEADER_DONE,
	PROXY_HEADER_MORE, /* a good beginning */
	PROXY_HEADER_BAD,  /* *why in words */
};

enum proxy_header_status proxy_header_parse(
    const void *data, size_t len, struct proxy_header *out, const char **why);

#endif
