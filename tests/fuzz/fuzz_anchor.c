/*
 * fuzz_anchor.c - files of trust anchors: one of the operator's, and the one that RFC 5011 keeps.
 * A key too much would prove everything; what is taken is said again by its records alone.
 */
#include "dnsval/anchor.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *write_again(const struct anchors *anchors, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	assert(out);
	for (size_t i = 0; i < anchors->count; i++)
		fprintf(out, "%s\n", anchors->items[i].record);
	assert(fclose(out) == 0);
	return text;
}

static void check_record(const struct anchor *anchor)
{
	size_t len = strlen(anchor->owner);

	assert(len > 0 && anchor->owner[len - 1] == '.');
	assert(!strncmp(anchor->record, anchor->owner, len));
	assert(!strncmp(anchor->record + len, " IN DS ", 7) ||
	       !strncmp(anchor->record + len, " IN DNSKEY ", 11));
	for (const char *c = anchor->record; *c; c++)
		assert(*c >= ' ' && *c < 0x7f && *c != ';' && *c != '(');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *error = NULL, *text;
	struct anchors *anchors = anchors_parse((const char *)data, size, "fuzz", &error), *again;
	size_t len;

	assert(!anchors == (error != NULL));
	free(error);
	if (!anchors)
		return 0;
	assert(anchors->count > 0);
	for (size_t i = 0; i < anchors->count; i++)
		check_record(&anchors->items[i]);
	text = write_again(anchors, &len);
	again = anchors_parse(text, len, "fuzz", &error);
	assert(again && anchors_equal(anchors, again));
	for (size_t i = 0; i < anchors->count; i++)
		assert(anchors->items[i].tag == again->items[i].tag);
	free(text);
	anchors_free(&again);
	anchors_free(&anchors);
	return 0;
}
