/*
 * spool_text_fields.h - what spool_text.c writes and spool_text_read.c reads: one table for a
 * message and one for a recipient, of each key, its kind and its place.
 */
#ifndef PROXY_SPOOL_TEXT_FIELDS_H
#define PROXY_SPOOL_TEXT_FIELDS_H

#include "proxy/spool/spool_text.h"

enum spool_kind {
	KIND_ID,
	KIND_TIME,
	KIND_SIZE,
	KIND_COUNT,  /* unsigned */
	KIND_FLAG,   /* bool */
	KIND_NAME,   /* an enum with names */
	KIND_CODE,   /* of a reply */
	KIND_REASON, /* by its code, as numbers change between versions */
	KIND_CHARS,  /* an array within the structure */
	KIND_STRING, /* char * */
	KIND_PATH,
	KIND_ADDRESS, /* char *, a path without <> */
};

struct spool_field {
	const char *key;
	enum spool_kind kind;
	size_t at;
	size_t size;              /* of KIND_CHARS */
	const char *const *names; /* of KIND_NAME; NULL ends them */
};

/* In the order of the lines; a key NULL ends them. */
extern const struct spool_field spool_message_fields[];
extern const struct spool_field spool_recipient_fields[];

#endif
