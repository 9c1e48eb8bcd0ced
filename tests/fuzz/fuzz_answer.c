/*
 * fuzz_answer.c - a wire-format answer through the parser, as each record type.
 *
 * The first octet chooses the type, the next the library's verdict; the rest is the packet. The
 * question is always "a.example", except that "." is asked for SOA. Whatever is returned is read to
 * its last octet.
 */
#include "dnsval/answer.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum dns_type types[] = {
    DNS_A, DNS_CNAME, DNS_SOA, DNS_MX, DNS_TXT, DNS_AAAA, DNS_DNSKEY, DNS_TLSA, DNS_NS, DNS_DS};

static unsigned sum;

static void touch(const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += ((const uint8_t *)data)[i];
}

static void check_name(const char *name)
{
	char normal[DOMAIN_SIZE];

	assert(domain_normalize(normal, name, strlen(name)) && strcmp(normal, name) == 0);
}

static void check_mx(const struct dns_answer *answer)
{
	assert(answer->count <= DNS_MX_MAX);
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_mx *mx = &answer->mx[i];

		assert(i == 0 || mx[-1].preference <= mx->preference);
		if (answer->count > 1 || mx->exchange[0])
			check_name(mx->exchange);
	}
}

static void check_records(const struct dns_answer *answer)
{
	switch (answer->type) {
	case DNS_A:
	case DNS_AAAA:
		assert(answer->count <= DNS_ADDR_MAX);
		touch(answer->addresses, answer->count * sizeof *answer->addresses);
		break;
	case DNS_CNAME:
		assert(answer->count <= 1);
		if (answer->count)
			check_name(answer->names[0]);
		break;
	case DNS_MX:
		check_mx(answer);
		break;
	case DNS_TXT:
		assert(answer->count <= DNS_TXT_MAX);
		for (size_t i = 0; i < answer->count; i++)
			touch(answer->text[i].data, answer->text[i].len);
		break;
	case DNS_TLSA:
		assert(answer->count <= DNS_TLSA_MAX);
		for (size_t i = 0; i < answer->count; i++)
			touch(answer->tlsa[i].data, answer->tlsa[i].len);
		break;
	case DNS_NS:
	case DNS_SOA:
	case DNS_DS:
	case DNS_DNSKEY:
		break;
	}
}

static void check(const struct dns_answer *answer, int sec)
{
	static const enum dns_state states[] = {DNS_INSECURE, DNS_FAILED, DNS_SECURE, DNS_FAILED};

	assert(answer->state == DNS_FAILED || answer->state == states[sec]);
	assert((answer->state == DNS_FAILED) == (answer->why[0] != '\0'));
	assert(answer->state != DNS_FAILED || (!answer->count && !answer->nxdomain));
	assert(!answer->nxdomain || !answer->count);
	assert(answer->ttl <= 604800);
	if (strcmp(answer->name, ".") != 0)
		check_name(answer->name);
	check_records(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	enum dns_type type = types[data[0] % (sizeof types / sizeof types[0])];
	int sec = data[1] & 3;
	struct dns_answer *answer = dns_answer_parse(type == DNS_SOA ? "." : "a.example", type, 0,
	    sec, data + 2, size - 2, sec == 1 ? "validation failure" : NULL);

	check(answer, sec);
	dns_answer_free(&answer);
	return 0;
}
