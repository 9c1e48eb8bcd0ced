/*
 * fetch_response.h - whether a response of status 200 is the whole of a text/plain, as it was sent
 * (RFC 8461 section 3.2; R-STS-11, -12).
 */
#ifndef POLICY_FETCH_RESPONSE_H
#define POLICY_FETCH_RESPONSE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

/* easy: a finished transfer. was_closed: the TLS close_notify has come. false: why is filled; it
 * holds the peer's text, not escaped. */
bool fetch_response_check(CURL *easy, bool was_closed, char *why, size_t size);

#endif
