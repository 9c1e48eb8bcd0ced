/*
 * json_text.c - see json_text.h. Used by check and explain.
 */
#include "proxy/command/json_text.h"

#include "conf/escape.h"
#include "conf/mem.h"

#include <stdlib.h>
#include <string.h>

json_t *json_text(const char *text)
{
	json_t *value;
	size_t len, size;
	char *clean;

	if (!text || !*text)
		return json_null();
	value = json_string(text);
	if (value)
		return value;
	len = strlen(text);
	size = 4 * len + 1;
	clean = mem_alloc(size);
	escape(clean, size, ESCAPE_TEXT, text, len, NULL);
	value = json_string(clean);
	free(clean);
	return value;
}

void json_put(json_t *object, const char *key, json_t *value)
{
	json_object_set_new(object, key, value ? value : json_null());
}

void json_print(FILE *out, json_t *document)
{
	json_dumpf(document, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putc('\n', out);
	json_decref(document);
}
