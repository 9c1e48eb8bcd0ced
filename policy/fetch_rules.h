/*
 * fetch_rules.h - the options of libcurl that hold for every fetch: no redirect, proxy, cookie,
 * cache, decompression, file or variable of the user, no connection or session used again (RFC 8461
 * section 3.3; R-STS-08, -11, -33, S-14).
 */
#ifndef POLICY_FETCH_RULES_H
#define POLICY_FETCH_RULES_H

#include <curl/curl.h>

/* Not CURLE_OK: this libcurl lacks one of them. */
CURLcode fetch_rules_set(CURL *easy);

#endif
