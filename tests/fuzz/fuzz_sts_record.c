/*
 * fuzz_sts_record.c - TXT records through the MTA-STS record parser. Input: records, each ended by
 * a line feed; an octet 0xff there says that the answer was cut. An id that comes out must be what
 * RFC 8461 section 3.1 allows (R-STS-02, R-STS-04).
 */
#include "policy/sts_policy.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_id(const char *id)
{
	size_t len = strlen(id);

	assert(len >= 1 && len < STS_ID_SIZE);
	for (size_t i = 0; i < len; i++)
		assert(isascii((unsigned char)id[i]) && isalnum((unsigned char)id[i]));
}

static size_t split(const char *data, size_t size, struct dns_text *records)
{
	size_t count = 0;

	while (size > 0 && count < DNS_TXT_MAX) {
		const char *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		records[count++] = (struct dns_text){len, data};
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_text records[DNS_TXT_MAX];
	struct dns_answer txt = {.type = DNS_TXT, .state = DNS_INSECURE, .text = records};
	char id[STS_ID_SIZE];
	const char *why = NULL;

	txt.cut = size > 0 && data[0] == 0xff;
	txt.count = split((const char *)data, size, records);
	if (sts_record_parse(&txt, id, &why) == STS_RECORD_VALID)
		check_id(id);
	else
		assert(id[0] == '\0');
	return 0;
}
