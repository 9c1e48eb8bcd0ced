/*
 * fuzz_path.c - a path: what is accepted can be put between <> again and means the same.
 */
#include "proxy/smtp/smtp_parse.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clean(const struct smtp_path *path)
{
	for (const char *c = path->address; *c; c++)
		assert((unsigned char)*c >= 0x20 && *c != 0x7f);
	for (const char *c = path->domain; *c; c++)
		assert((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || strchr("-_.", *c));
}

/* What goes upstream must be read there as it was read here. */
static void check_again(const struct smtp_path *path)
{
	struct smtp_path again;
	char text[SMTP_PATH_MAX + 3];
	size_t used;
	int len = snprintf(text, sizeof text, "<%s>", path->address);

	assert(len > 0 && len <= SMTP_PATH_MAX);
	assert(smtp_parse_path(text, (size_t)len, &used, &again).code == 0 && used == (size_t)len);
	assert(!strcmp(again.address, path->address) && !strcmp(again.domain, path->domain));
	assert(again.local_len == path->local_len && again.has_domain == path->has_domain);
	assert(again.is_null == path->is_null && again.is_literal == path->is_literal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_path path;
	size_t used;
	struct smtp_error error = smtp_parse_path((const char *)data, size, &used, &path);

	assert(used <= size);
	if (error.code) {
		assert((error.code == 501 || error.code == 553) && error.status && error.text);
		return 0;
	}
	assert(data[0] == '<' && data[used - 1] == '>');
	assert(path.is_null == !path.address[0]);
	assert(path.has_domain == (path.local_len < strlen(path.address)));
	assert((path.domain[0] != '\0') == (path.has_domain && !path.is_literal));
	assert(path.local_len <= SMTP_LOCAL_MAX);
	check_clean(&path);
	check_again(&path);
	return 0;
}
