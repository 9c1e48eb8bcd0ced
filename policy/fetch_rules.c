/*
 * fetch_rules.c - what libcurl may not do of its own accord (fetch_rules.h). Everything is said
 * aloud, also what is the default of this version.
 */
#include "policy/fetch_rules.h"

#include <stddef.h>

enum { BUFFER_SIZE = 16 * 1024 };

static const struct {
	CURLoption option;
	long value;
} numbers[] = {
    {CURLOPT_NOSIGNAL, 1},
    {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
    {CURLOPT_HTTP09_ALLOWED, 0},
    {CURLOPT_FOLLOWLOCATION, 0},
    {CURLOPT_NETRC, CURL_NETRC_IGNORED},
    {CURLOPT_HSTS_CTRL, 0}, /* alt-svc is off unless asked for, and cannot be unasked */
    {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
    {CURLOPT_SSL_VERIFYPEER, 1},
    {CURLOPT_SSL_VERIFYHOST, 2},
    {CURLOPT_SSL_SESSIONID_CACHE, 0}, /* a resumed session shows no certificate */
    {CURLOPT_FRESH_CONNECT, 1},
    {CURLOPT_FORBID_REUSE, 1},
    {CURLOPT_BUFFERSIZE, BUFFER_SIZE},
};

/* NULL unsets a path that was built in; "" as proxy is none, also against the environment. */
static const struct {
	CURLoption option;
	const char *value;
} texts[] = {
    {CURLOPT_PROTOCOLS_STR, "https"},
    {CURLOPT_REDIR_PROTOCOLS_STR, "https"},
    {CURLOPT_PROXY, ""},
    {CURLOPT_NOPROXY, "*"},
    {CURLOPT_CAINFO, NULL},
    {CURLOPT_CAPATH, NULL},
    {CURLOPT_ACCEPT_ENCODING, NULL},
    {CURLOPT_USERAGENT, "danelaw"},
};

CURLcode fetch_rules_set(CURL *easy)
{
	CURLcode code = CURLE_OK;

	for (size_t i = 0; !code && i < sizeof numbers / sizeof *numbers; i++)
		code = curl_easy_setopt(easy, numbers[i].option, numbers[i].value);
	for (size_t i = 0; !code && i < sizeof texts / sizeof *texts; i++)
		code = curl_easy_setopt(easy, texts[i].option, texts[i].value);
	return code;
}
