/*
 * json_text.h - texts of strangers as JSON strings, and the shape in which documents are printed.
 */
#ifndef PROXY_JSON_TEXT_H
#define PROXY_JSON_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* What is no UTF-8 is escaped octet by octet. NULL and "": null. */
json_t *json_text(const char *text);

/* Sets a new value under a key; a value that could not be made is null. */
void json_put(json_t *object, const char *key, json_t *value);

/* ASCII alone, so that no terminal sees a control; ends in a newline. The document is released. */
void json_print(FILE *out, json_t *document);

#endif
