/*
 * fetch_http.c - HTTPS GETs on the loop (fetch_http.h, RFC 8461 section 3.3).
 *
 * First what libcurl asks of us during a transfer, then its options, then the judgement of what
 * came back. A callback of libcurl only says no; the transfer ends in on_finished() or by a cancel.
 */
#include "policy/fetch_http.h"

#include "conf/mem.h"
#include "conf/reap.h"
#include "policy/fetch_loop.h"
#include "policy/fetch_response.h"
#include "policy/fetch_rules.h"
#include "policy/sts_policy.h"
#include "tls/ctx.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* Octets of all headers, interim responses and trailers included. */
enum { HEADER_MAX = 16 * 1024 };

struct http {
	struct ev_loop *loop;
	struct fetch_loop *transfers;
	struct tls_contexts *tls;
	struct http_get *gets;
};

struct http_get {
	struct http_get *prev, *next;
	struct http *http;
	CURL *easy;
	CURLSH *names; /* its own cache of names, so that the addresses go with the transfer */
	struct curl_slist *resolve;
	fetch_fn *callback;
	void *arg;
	char host[DOMAIN_SIZE];
	struct addr *addresses;
	size_t address_count;
	size_t header_octets;
	bool has_headers; /* the empty line has come */
	bool was_closed;  /* close_notify has come */
	size_t len;
	char *body;
	const char *cut; /* why a callback of ours ended the transfer */
	char error[CURL_ERROR_SIZE];
};

/* ---- what libcurl asks of us during a transfer ---- */

static long status_of(const struct http_get *get)
{
	long status = 0;

	curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

/* Counted here, as MAXFILESIZE of this version ignores a length that nobody announced. */
static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_get *get = arg;
	size_t len = size * count;

	if (status_of(get) != 200)
		return 0;
	if (len > STS_BODY_MAX - get->len) {
		get->cut = "the policy is larger than 65536 octets";
		return 0;
	}
	if (!get->body)
		get->body = mem_alloc(STS_BODY_MAX);
	memcpy(get->body + get->len, data, len);
	get->len += len;
	return len;
}

/*
 * A line at a time: interim responses, the response, the trailers. libcurl takes a connection that
 * ends inside the headers for an empty body.
 */
static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct http_get *get = arg;
	size_t len = size * count;

	get->header_octets += len;
	if (get->header_octets > HEADER_MAX) {
		get->cut = "the HTTP headers are larger than 16384 octets";
		return 0;
	}
	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
		get->has_headers = false;
	else if (len <= 2)
		get->has_headers = true;
	return len;
}

/* The last gate before connect(): only what passed the address filter (R-STS-10). */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	const struct http_get *get = arg;
	struct addr wanted;

	if (purpose != CURLSOCKTYPE_IPCXN || !addr_from_sockaddr(&wanted, &address->addr))
		return CURL_SOCKET_BAD;
	for (size_t i = 0; i < get->address_count; i++)
		if (addr_equal(&get->addresses[i], &wanted))
			return socket(
			    address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	return CURL_SOCKET_BAD;
}

/* It has the addresses. If it looked for any, that would be in a thread, and in /etc/hosts. */
static int on_resolve(void *state, void *reserved, void *arg)
{
	(void)state, (void)reserved, (void)arg;
	return 1;
}

static CURLcode on_tls(CURL *easy, void *ssl_ctx, void *arg)
{
	struct http_get *get = arg;
	bool done = tls_contexts_lend(get->http->tls, ssl_ctx, get->host, &get->was_closed);

	(void)easy;
	return done ? CURLE_OK : CURLE_SSL_CERTPROBLEM;
}

/* ---- what a transfer is told ---- */

/* "host:443:192.0.2.1,[2001:db8::1]" */
static struct curl_slist *resolve_list(const struct http_get *get)
{
	char *text = mem_printf("%s:%u:", get->host, addr_port(&get->addresses[0]));
	struct curl_slist *list;

	for (size_t i = 0; i < get->address_count; i++) {
		const struct addr *address = &get->addresses[i];
		bool is_v6 = address->sa.sa_family == AF_INET6;
		char ip[ADDR_TEXT];
		char *longer = mem_printf("%s%s%s%s%s", text, i > 0 ? "," : "", is_v6 ? "[" : "",
		    addr_ip(address, ip), is_v6 ? "]" : "");

		free(text);
		text = longer;
	}
	list = curl_slist_append(NULL, text);
	free(text);
	return list;
}

static void set_callbacks(struct http_get *get)
{
	CURL *easy = get->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, get);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, get->error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, get);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, get);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, get);
	curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
	curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
	curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, get);
}

/*
 * libcurl gives each address a share of the connect timeout; its default of 300 s would leave a
 * second address no turn behind a silent one. A second more than the caller's deadline, which says
 * why.
 */
static void set_target(struct http_get *get, const struct http_request *request)
{
	CURL *easy = get->easy;
	char *url = mem_printf("https://%s%s", get->host, request->path);
	long milliseconds = (long)(request->timeout * 1000) + 1000;

	get->resolve = resolve_list(get);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PORT, (long)addr_port(&get->addresses[0]));
	curl_easy_setopt(easy, CURLOPT_SHARE, get->names);
	curl_easy_setopt(easy, CURLOPT_RESOLVE, get->resolve);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds);
	free(url);
}

/* ---- the end of a transfer ---- */

static void release_get(void *object)
{
	struct http_get *get = object;

	free(get->addresses);
	free(get->body);
	free(get);
}

/* Not inside a callback of libcurl. */
static void end_get(struct http_get *get)
{
	struct http *http = get->http;

	DL_DELETE(http->gets, get);
	fetch_loop_remove(http->transfers, get->easy);
	curl_easy_cleanup(get->easy);
	curl_share_cleanup(get->names);
	curl_slist_free_all(get->resolve);
	reap_later(http->loop, get, release_get);
}

__attribute__((format(printf, 3, 4))) static void fail(
    struct fetch_result *result, const struct http_get *get, const char *format, ...)
{
	size_t len = (size_t)snprintf(result->why, sizeof result->why, "%.100s: ", get->host);
	va_list args;

	result->outcome = FETCH_FAILED;
	va_start(args, format);
	vsnprintf(result->why + len, sizeof result->why - len, format, args);
	va_end(args);
}

static void explain_error(const struct http_get *get, CURLcode code, struct fetch_result *result)
{
	const char *ca_error = tls_contexts_ca_error(get->http->tls);

	if (get->cut)
		fail(result, get, "%s", get->cut);
	else if (code == CURLE_PEER_FAILED_VERIFICATION && *ca_error)
		fail(result, get, "%s", ca_error);
	else
		fail(result, get, "%s", get->error[0] ? get->error : curl_easy_strerror(code));
	if (code == CURLE_PEER_FAILED_VERIFICATION && !*ca_error)
		result->outcome = FETCH_CERTIFICATE;
}

static void judge_response(const struct http_get *get, struct fetch_result *result)
{
	char why[128];

	if (!get->has_headers)
		fail(result, get, "the connection ended inside the headers");
	else if (!fetch_response_check(get->easy, get->was_closed, why, sizeof why))
		fail(result, get, "%s", why);
	else
		*result = (struct fetch_result){
		    .outcome = FETCH_OK, .body = get->body ? get->body : "", .len = get->len};
}

static void conclude(struct http_get *get, CURLcode code)
{
	struct fetch_result result = {.outcome = FETCH_FAILED};
	fetch_fn *callback = get->callback;
	void *arg = get->arg;
	long status = status_of(get);

	if (status != 0 && status != 200 && !get->cut)
		fail(&result, get, "HTTP status %ld, not 200", status);
	else if (code)
		explain_error(get, code, &result);
	else
		judge_response(get, &result);
	end_get(get);
	callback(&result, arg);
}

static void on_finished(CURL *easy, CURLcode code)
{
	struct http_get *get;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &get);
	conclude(get, code);
}

/* ---- making and freeing ---- */

/* So that a libcurl which lacks an option is found at start. */
static char *try_rules(void)
{
	CURL *easy = curl_easy_init();
	CURLcode code = easy ? fetch_rules_set(easy) : CURLE_OUT_OF_MEMORY;

	curl_easy_cleanup(easy);
	return code ? mem_printf("libcurl: %s", curl_easy_strerror(code)) : NULL;
}

/* curl_global_init() reads openssl.cnf unless tls_library_init() came first (R-TLSSEC-16). */
struct http *http_new(struct ev_loop *loop, const char *ca_file, char **error)
{
	struct tls_contexts *tls;
	struct http *http;

	tls_library_init();
	curl_global_init(CURL_GLOBAL_DEFAULT);
	*error = try_rules();
	tls = *error ? NULL : tls_contexts_new(ca_file, error);
	if (!tls) {
		curl_global_cleanup();
		return NULL;
	}
	http = mem_zero(1, sizeof *http);
	http->loop = loop;
	http->tls = tls;
	http->transfers = fetch_loop_new(loop, on_finished);
	return http;
}

void http_free(struct http **place)
{
	struct http *http = *place;

	if (!http)
		return;
	*place = NULL;
	while (http->gets)
		end_get(http->gets);
	fetch_loop_free(&http->transfers);
	tls_contexts_free(&http->tls);
	curl_global_cleanup();
	reap_later(http->loop, http, free);
}

static void make_handles(struct http_get *get)
{
	CURLcode code;

	get->easy = curl_easy_init();
	get->names = curl_share_init();
	assert(get->easy && get->names);
	code = fetch_rules_set(get->easy);
	assert(!code);
	curl_share_setopt(get->names, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	set_callbacks(get);
}

struct http_get *http_get_start(
    struct http *http, const struct http_request *request, fetch_fn *callback, void *arg)
{
	struct http_get *get = mem_zero(1, sizeof *get);

	assert(request->address_count > 0);
	get->http = http;
	get->callback = callback;
	get->arg = arg;
	snprintf(get->host, sizeof get->host, "%s", request->host);
	get->address_count = request->address_count;
	get->addresses =
	    mem_copy(request->addresses, request->address_count * sizeof *request->addresses);
	make_handles(get);
	set_target(get, request);
	DL_APPEND(http->gets, get);
	fetch_loop_add(http->transfers, get->easy);
	return get;
}

void http_get_cancel(struct http_get **get)
{
	if (*get)
		end_get(*get);
	*get = NULL;
}

const char *fetch_library_version(void) { return curl_version_info(CURLVERSION_NOW)->version; }
