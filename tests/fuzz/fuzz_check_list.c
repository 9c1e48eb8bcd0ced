/*
 * fuzz_check_list.c - logs of mail servers, which `danelaw check` reads and which hold whatever
 * strangers wrote into envelopes: only domains in normal form come out, each once.
 */
#include "proxy/command/check_list.h"

#include "conf/domain.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct check_list list = {0};
	char normal[DOMAIN_SIZE];
	FILE *file;

	if (size == 0)
		return 0;
	file = fmemopen((void *)(uintptr_t)data, size, "r");
	assert(file);
	check_list_read(&list, file);
	fclose(file);
	for (size_t i = 0; i < list.count; i++) {
		assert(domain_normalize(normal, list.names[i], strlen(list.names[i])));
		assert(!strcmp(normal, list.names[i]) && domain_is_mx_host(normal));
		for (size_t j = 0; j < i; j++)
			assert(strcmp(list.names[i], list.names[j]) != 0);
	}
	check_list_release(&list);
	return 0;
}
