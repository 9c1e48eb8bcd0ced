/*
 * fuzz_domain.c - names from clients, DNS and settings: one form, that stays what it is, and two
 * spellings of one name are one destination (R-DNS-31, D-21).
 */
#include "conf/domain.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_form(const char *name)
{
	size_t label = 0, len = strlen(name);

	assert(len > 0 && len <= DOMAIN_MAX && name[0] != '.' && name[len - 1] != '.');
	for (const char *c = name; *c; c++) {
		assert((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || strchr("-_.", *c));
		label = *c == '.' ? 0 : label + 1;
		assert(label <= 63 && (*c != '.' || c[1] != '.'));
	}
}

static void check_same(const char *name, const char *text, size_t len)
{
	char again[DOMAIN_SIZE];

	assert(domain_normalize(again, text, len) && !strcmp(again, name));
}

/* In capitals, and absolute. */
static void check_spellings(const char *name)
{
	char other[DOMAIN_SIZE + 1];
	size_t len = strlen(name);

	for (size_t i = 0; i <= len; i++)
		other[i] = (char)toupper((unsigned char)name[i]);
	check_same(name, name, len);
	check_same(name, other, len);
	other[len] = '.';
	check_same(name, other, len + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	char name[DOMAIN_SIZE], *copy;
	bool is_name = domain_normalize(name, text, size);

	assert(is_name == (name[0] != '\0'));
	if (is_name) {
		check_form(name);
		check_spellings(name);
		assert(!domain_is_below(name, name));
		assert(strchr(name, '.') == NULL || domain_is_below(name, strchr(name, '.') + 1));
	}
	copy = strndup(text, size);
	assert(copy);
	if (domain_is_mx_host(copy))
		assert(domain_is_host(copy) && domain_normalize(name, copy, strlen(copy)));
	free(copy);
	return 0;
}
