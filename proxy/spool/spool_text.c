/*
 * spool_text.c - see spool_text.h: the tables, and how a message is written by them.
 */
#include "proxy/spool/spool_text_fields.h"

#include "conf/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const body_names[] = {"undeclared", "7bit", "8bitmime", NULL};
static const char *const ret_names[] = {"unset", "full", "hdrs", NULL};

#define M(key, kind, member)                                                                       \
	{                                                                                          \
		key, kind, offsetof(struct spool_message, member), 0, NULL                         \
	}
#define R(key, kind, member)                                                                       \
	{                                                                                          \
		key, kind, offsetof(struct spool_recipient, member), 0, NULL                       \
	}
#define MS(key, member)                                                                            \
	{                                                                                          \
		key, KIND_CHARS, offsetof(struct spool_message, member),                           \
		    sizeof((struct spool_message *)NULL)->member, NULL                             \
	}
#define RS(key, member)                                                                            \
	{                                                                                          \
		key, KIND_CHARS, offsetof(struct spool_recipient, member),                         \
		    sizeof((struct spool_recipient *)NULL)->member, NULL                           \
	}
#define MN(key, member, names)                                                                     \
	{                                                                                          \
		key, KIND_NAME, offsetof(struct spool_message, member), 0, names                   \
	}

const struct spool_field spool_message_fields[] = {
    M("id", KIND_ID, id),
    M("arrived", KIND_TIME, arrived),
    M("session", KIND_STRING, session),
    MS("client", client),
    M("sender", KIND_PATH, envelope.sender),
    M("declared-size", KIND_SIZE, envelope.size),
    MN("body", envelope.body, body_names),
    M("smtputf8", KIND_FLAG, envelope.smtputf8),
    MN("ret", envelope.dsn.ret, ret_names),
    MS("envid", envelope.dsn.envid),
    M("8bit", KIND_FLAG, has_8bit),
    M("notice", KIND_FLAG, is_notice),
    M("size", KIND_SIZE, size),
    {NULL, 0, 0, 0, NULL},
};

const struct spool_field spool_recipient_fields[] = {
    R("to", KIND_ADDRESS, address),
    RS("domain", domain),
    R("number", KIND_COUNT, number),
    R("notify", KIND_COUNT, dsn.notify),
    R("orcpt", KIND_STRING, dsn.orcpt),
    R("done", KIND_FLAG, is_done),
    R("failed", KIND_FLAG, is_failed),
    R("must-bounce", KIND_FLAG, must_bounce),
    R("delay-told", KIND_FLAG, is_delay_told),
    R("tries", KIND_COUNT, tries),
    R("next-try", KIND_TIME, next_try),
    R("last-try", KIND_TIME, last_try),
    RS("last-hop", last_hop),
    R("code", KIND_CODE, last.code),
    R("reason", KIND_REASON, last.reason),
    RS("text", last.text),
    {NULL, 0, 0, 0, NULL},
};

/* ---- writing ---- */

static void write_text(FILE *out, const char *key, const char *value)
{
	fprintf(out, "%s ", key);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '\\')
			fputs("\\\\", out);
		else
			putc_unlocked(*value, out);
	}
	putc_unlocked('\n', out);
}

static void write_path(FILE *out, const char *key, const struct smtp_path *path)
{
	char text[SMTP_PATH_MAX + 3];

	snprintf(text, sizeof text, "<%s>", path->is_null ? "" : path->address);
	write_text(out, key, text);
}

static void write_number(FILE *out, const char *key, int64_t number)
{
	if (number)
		fprintf(out, "%s %" PRId64 "\n", key, number);
}

static void write_string(FILE *out, const char *key, const char *value)
{
	if (value && value[0])
		write_text(out, key, value);
}

static void write_field(FILE *out, const struct spool_field *f, const void *from)
{
	const char *at = (const char *)from + f->at;

	switch (f->kind) {
	case KIND_ID:
	case KIND_CHARS:
		write_string(out, f->key, at);
		break;
	case KIND_STRING:
		write_string(out, f->key, *(char *const *)at);
		break;
	case KIND_ADDRESS: /* begins a recipient: never left out */
		write_text(out, f->key, *(char *const *)at);
		break;
	case KIND_PATH:
		write_path(out, f->key, (const void *)at);
		break;
	case KIND_TIME:
		write_number(out, f->key, *(const time_t *)at);
		break;
	case KIND_SIZE:
		if (*(const uint64_t *)at)
			fprintf(out, "%s %" PRIu64 "\n", f->key, *(const uint64_t *)at);
		break;
	case KIND_COUNT:
		write_number(out, f->key, *(const unsigned *)at);
		break;
	case KIND_CODE:
		write_number(out, f->key, *(const int *)at);
		break;
	case KIND_FLAG:
		write_number(out, f->key, *(const bool *)at);
		break;
	case KIND_NAME:
		if (*(const unsigned *)at)
			write_text(out, f->key, f->names[*(const unsigned *)at]);
		break;
	case KIND_REASON:
		if (*(const enum reason *)at != REASON_NONE)
			write_text(out, f->key, reason_code(*(const enum reason *)at));
		break;
	}
}

static void write_fields(FILE *out, const struct spool_field *fields, const void *from)
{
	for (const struct spool_field *f = fields; f->key; f++)
		write_field(out, f, from);
}

struct text {
	FILE *out;
	char *data;
	size_t len;
};

static void begin(struct text *text)
{
	text->out = open_memstream(&text->data, &text->len);
	if (!text->out)
		mem_exhausted();
}

static char *finish(struct text *text, size_t *len)
{
	if (fclose(text->out) != 0)
		mem_exhausted();
	if (len)
		*len = text->len;
	return text->data;
}

char *spool_text_of_message(const struct spool_message *message, size_t *len)
{
	struct text text;

	begin(&text);
	write_fields(text.out, spool_message_fields, message);
	for (size_t i = 0; i < message->count; i++)
		write_fields(text.out, spool_recipient_fields, &message->recipients[i]);
	return finish(&text, len);
}

/* A copy of the recipients, but for what they point to. */
static char *text_of_shortened(const struct spool_message *message, size_t *len)
{
	enum { SHORT = 80 };
	struct spool_message copy = *message;
	char *text;

	copy.recipients =
	    mem_copy(message->recipients, message->count * sizeof *message->recipients);
	for (size_t i = 0; i < copy.count; i++) {
		copy.recipients[i].last.text[SHORT] = '\0';
		copy.recipients[i].last_hop[0] = '\0';
	}
	text = spool_text_of_message(&copy, len);
	free(copy.recipients);
	return text;
}

char *spool_text_within(const struct spool_message *message, size_t max, size_t *len)
{
	char *text = spool_text_of_message(message, len);

	if (*len <= max)
		return text;
	free(text);
	text = text_of_shortened(message, len);
	if (*len <= max)
		return text;
	free(text);
	return NULL;
}

char *spool_text_of_head(const struct spool_message *message)
{
	struct text text;

	begin(&text);
	write_fields(text.out, spool_message_fields, message);
	return finish(&text, NULL);
}

char *spool_text_of_recipient(const struct spool_recipient *recipient)
{
	struct text text;

	begin(&text);
	write_fields(text.out, spool_recipient_fields, recipient);
	return finish(&text, NULL);
}
