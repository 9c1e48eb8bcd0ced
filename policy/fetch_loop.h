/*
 * fetch_loop.h - libcurl's multi socket interface on libev: no thread, nothing blocks (R-STS-35).
 * Knows sockets and timers, no HTTP; fetch_http.c owns the handles.
 */
#ifndef POLICY_FETCH_LOOP_H
#define POLICY_FETCH_LOOP_H

#include <curl/curl.h>

struct ev_loop;
struct fetch_loop;

/* A transfer has ended; not told inside a callback of libcurl. Removes the handle, which is still
 * the owner's; may remove and add any other, and free all. */
typedef void fetch_loop_fn(CURL *easy, CURLcode code);

struct fetch_loop *fetch_loop_new(struct ev_loop *loop, fetch_loop_fn *finished);
void fetch_loop_free(struct fetch_loop **transfers); /* every handle was removed */

void fetch_loop_add(struct fetch_loop *transfers, CURL *easy); /* nothing is told in here */
void fetch_loop_remove(struct fetch_loop *transfers, CURL *easy);

#endif
