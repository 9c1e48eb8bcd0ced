/*
 * fuzz_addr.c - addresses, ports and ranges as text: literals in envelopes and PROXY headers,
 * settings. What is taken reads the same again, and no spelling makes a special address public.
 */
#include "conf/addr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_classes(const struct addr *a)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (a->sa.sa_family == AF_INET) {
		const uint8_t *ip = (const uint8_t *)&a->in.sin_addr;

		assert(ip[0] != 127 || (addr_is_loopback(a) && addr_classify(a) != ADDR_PUBLIC));
		assert(ip[0] != 10 || addr_classify(a) != ADDR_PUBLIC);
		assert(ip[0] != 0 || addr_classify(a) != ADDR_PUBLIC);
		assert(ip[0] < 224 || addr_classify(a) != ADDR_PUBLIC);
	} else {
		assert(a->sa.sa_family == AF_INET6);
		assert(memcmp(&a->in6.sin6_addr, mapped, sizeof mapped) != 0);
		assert(a->in6.sin6_addr.s6_addr[0] != 0 || addr_classify(a) != ADDR_PUBLIC);
	}
}

static void check_address(const struct addr *a)
{
	char text[ADDR_TEXT];
	struct addr again;

	check_classes(a);
	assert(addr_parse_ip(&again, addr_ip(a, text), addr_port(a)) && addr_equal(a, &again));
	assert(addr_port(a) == 0 || a->sa.sa_family == AF_INET ||
	       (addr_parse(&again, addr_bracketed(a, text), 0) && addr_equal(a, &again)));
	assert(strlen(addr_literal(a, text)) < ADDR_TEXT);
}

/* A range holds its first address, and nothing of the other family. */
static void check_range(const struct cidr *range)
{
	struct addr first, other;
	static const uint8_t zero[16];

	assert(range->prefix <= (range->family == AF_INET ? 32 : 128));
	addr_from_bytes(&first, range->family, range->bytes, 25);
	addr_from_bytes(&other, range->family == AF_INET ? AF_INET6 : AF_INET, zero, 25);
	assert(first.sa.sa_family != range->family || cidr_contains(range, &first));
	assert(!cidr_contains(range, &other));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	struct cidr range;
	struct addr a;
	uint16_t port;

	assert(text);
	if (addr_parse_ip(&a, text, 25))
		check_address(&a);
	if (addr_parse(&a, text, 0)) {
		assert(addr_port(&a));
		check_address(&a);
	}
	if (cidr_parse(&range, text))
		check_range(&range);
	if (addr_parse_port(text, &port))
		assert(port == strtoul(text, NULL, 10));
	free(text);
	return 0;
}
