/*
 * ub_log.c - where libunbound's own words go.
 *
 * Even at verbosity 0 the library writes errors and validation failures to stderr, with text of
 * name servers in them. Here they become lines of our log, escaped like every other. Its first
 * words are kept, because its return codes say "initialization failure" for everything. Called by
 * context.c.
 */
#include "dnsval/ub_log.h"

#include "conf/log.h"

#include <assert.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static FILE *stream;
static int target = -1;
static char first[512];

/* "[1700000000] libunbound[123:0] error: text": time and process are already in our log. */
static const char *skip_prefix(const char *line)
{
	const char *end = strchr(line, ']');
	const char *text = end ? strchr(end + 1, ']') : NULL;

	return text && text[1] == ' ' ? text + 2 : line;
}

static void take_line(const char *data, size_t len)
{
	char line[sizeof first];
	const char *text;

	snprintf(line, sizeof line, "%.*s", (int)len, data);
	text = skip_prefix(line);
	if (!first[0])
		snprintf(first, sizeof first, "%s", text);
	if (target < 0)
		log_debug("libunbound: %s", text);
	else
		dprintf(target, "%s\n", text);
}

static ssize_t on_write(void *cookie, const char *data, size_t size)
{
	(void)cookie;
	for (size_t at = 0; at < size;) {
		const char *newline = memchr(data + at, '\n', size - at);
		size_t len = newline ? (size_t)(newline - data) - at : size - at;

		if (len > 0)
			take_line(data + at, len);
		at += len + 1;
	}
	return (ssize_t)size;
}

FILE *ub_log_stream(void)
{
	if (!stream) {
		stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = on_write});
		assert(stream);
		setvbuf(stream, NULL, _IOLBF, 0);
	}
	return stream;
}

void ub_log_redirect(int fd) { target = fd; }

const char *ub_log_first(void) { return first; }

void ub_log_forget(void) { first[0] = '\0'; }
