/*
 * fetch_response.c - whether a response of status 200 is the whole of a text/plain, as it was sent
 * (fetch_response.h). Headers are the server's text; what is missing or unknown is refused.
 */
#include "policy/fetch_response.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *header_of(CURL *easy, const char *name)
{
	struct curl_header *found;

	if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
		return NULL;
	return found->value;
}

/*
 * Where nothing but the end of the connection says where the policy ends, somebody on the way may
 * have chosen it, and max_age: 604800 becomes max_age: 6. libcurl 7.88 does not see the difference.
 */
static bool is_whole(CURL *easy, bool was_closed)
{
	return was_closed || header_of(easy, "Content-Length") ||
	       header_of(easy, "Transfer-Encoding");
}

/* Parameters are ignored. */
static bool is_text_plain(const char *type)
{
	static const char wanted[] = "text/plain";
	size_t len = type ? strcspn(type, "; \t") : 0;

	return len == strlen(wanted) && strncasecmp(type, wanted, len) == 0;
}

/* A coding that nobody asked for; the octets are then not the policy. */
static const char *unasked_coding(CURL *easy)
{
	static const struct {
		const char *header, *harmless;
	} rows[] = {{"Content-Encoding", "identity"}, {"Transfer-Encoding", "chunked"}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *value = header_of(easy, rows[i].header);

		if (value && strcasecmp(value, rows[i].harmless) != 0)
			return value;
	}
	return NULL;
}

bool fetch_response_check(CURL *easy, bool was_closed, char *why, size_t size)
{
	const char *coding = unasked_coding(easy);
	const char *type = header_of(easy, "Content-Type");

	if (!is_whole(easy, was_closed))
		snprintf(why, size, "the connection was cut inside the policy");
	else if (!is_text_plain(type))
		snprintf(why, size, "the content type is %s, not text/plain",
		    type && *type ? type : "missing");
	else if (coding)
		snprintf(why, size, "the response is encoded as %s, unasked", coding);
	else
		return true;
	return false;
}
