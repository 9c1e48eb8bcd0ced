/*
 * fuzz_proxy_header.c - a PROXY header: what is taken lies within what came, needs no more of it,
 * and no beginning of it would have been taken for another.
 */
#include "proxy/intercept/proxy_header.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header header, again;
	const char *why = NULL;
	enum proxy_header_status status = proxy_header_parse(data, size, &header, &why);

	if (status == PROXY_HEADER_BAD)
		assert(why);
	if (status == PROXY_HEADER_MORE)
		assert(size < PROXY_HEADER_MAX);
	if (status != PROXY_HEADER_DONE)
		return 0;
	assert(header.len > 0 && header.len <= size && header.len <= PROXY_HEADER_MAX);
	assert(proxy_header_parse(data, header.len, &again, &why) == PROXY_HEADER_DONE);
	assert(again.len == header.len && again.has_source == header.has_source);
	assert(!header.has_source || addr_equal(&again.source, &header.source));
	assert(proxy_header_parse(data, header.len - 1, &again, &why) == PROXY_HEADER_MORE);
	return 0;
}
