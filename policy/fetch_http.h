/*
 * fetch_http.h - HTTPS GETs on the loop: libcurl's multi socket interface on libev. The half of
 * fetch.h that knows libcurl and HTTP; names, limits and deadlines are fetch.c's.
 *
 * What libcurl would do of its own accord is off: resolving, redirects, proxies, caches, cookies,
 * decompression, files of the user, connections used again (R-STS-07..12, -33).
 */
#ifndef POLICY_FETCH_HTTP_H
#define POLICY_FETCH_HTTP_H

#include "conf/addr.h"
#include "policy/fetch.h"

struct http;
struct http_get;

/* ca_file: the only trust anchors. NULL: *error (malloc'd). */
struct http *http_new(struct ev_loop *loop, const char *ca_file, char **error);
void http_free(struct http **http); /* cancels what is under way */

struct http_request {
	const char *host; /* SNI, Host, and the DNS-ID demanded */
	const char *path;
	const struct addr *addresses; /* with port, one and the same; nothing else is dialled */
	size_t address_count;
	double timeout; /* seconds; bounds what one address may take of it, too */
};

/* As fetch_start(), but that the caller keeps the deadline: a drip may go on for ever. */
struct http_get *http_get_start(
    struct http *http, const struct http_request *request, fetch_fn *callback, void *arg);
void http_get_cancel(struct http_get **get);

#endif
