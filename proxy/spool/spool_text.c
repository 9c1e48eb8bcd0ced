/*
 * spool_text.c - see spool_text.h.
 *
 * One table for a message and one for a recipient name each key, its kind and its place; writing
 * and reading follow the same rows.
 */
#include "proxy/spool/spool_text.h"

#include "conf/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind {
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

struct field {
	const char *key;
	enum kind kind;
	size_t at;
	size_t size;              /* of KIND_CHARS */
	const char *const *names; /* of KIND_NAME; NULL ends them */
};

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

static const struct field message_fields[] = {
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

static const struct field recipient_fields[] = {
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

static void write_field(FILE *out, const struct field *f, const void *from)
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

static void write_fields(FILE *out, const struct field *fields, const void *from)
{
	for (const struct field *f = fields; f->key; f++)
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
		mem_alloc(SIZE_MAX); /* ends the process, with its usual words */
}

static char *finish(struct text *text, size_t *len)
{
	if (fclose(text->out) != 0)
		mem_alloc(SIZE_MAX);
	if (len)
		*len = text->len;
	return text->data;
}

char *spool_text_of_message(const struct spool_message *message, size_t *len)
{
	struct text text;

	begin(&text);
	write_fields(text.out, message_fields, message);
	for (size_t i = 0; i < message->count; i++)
		write_fields(text.out, recipient_fields, &message->recipients[i]);
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
	write_fields(text.out, message_fields, message);
	return finish(&text, NULL);
}

char *spool_text_of_recipient(const struct spool_recipient *recipient)
{
	struct text text;

	begin(&text);
	write_fields(text.out, recipient_fields, recipient);
	return finish(&text, NULL);
}

/* ---- reading ---- */

struct reader {
	const char *at, *end;
};

/* The value of the next line, unescaped, where the line has this key. free() releases; NULL: it has
 * not; *garbled: it is nothing that we wrote. */
static char *take_value(struct reader *in, const char *key, bool *garbled)
{
	size_t len = strlen(key);
	const char *end = memchr(in->at, '\n', (size_t)(in->end - in->at));
	char *value, *to;

	if (!end || (size_t)(end - in->at) <= len || memcmp(in->at, key, len) != 0 ||
	    in->at[len] != ' ')
		return NULL;
	value = to = mem_alloc((size_t)(end - in->at));
	for (const char *c = in->at + len + 1; c < end; c++) {
		bool escaped = *c == '\\';

		c += escaped;
		*garbled |= !*c || (escaped && *c != 'n' && *c != '\\');
		*to++ = escaped && *c == 'n' ? '\n' : *c;
	}
	*to = '\0';
	in->at = end + 1;
	return value;
}

/* ---- values ---- */

static bool read_number(const char *value, int64_t least, int64_t most, int64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoll(value, &end, 10);
	return end != value && !*end && errno == 0 && *out >= least && *out <= most;
}

static bool read_size(const char *value, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(value, &end, 10);
	return end != value && !*end && errno == 0 && value[0] != '-';
}

static bool read_name(const char *value, const char *const *names, unsigned *out)
{
	for (*out = 0; names[*out]; ++*out)
		if (strcmp(value, names[*out]) == 0)
			return true;
	return false;
}

/* A code of another version keeps its text, which is what counts. */
static enum reason read_reason(const char *value)
{
	for (enum reason reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
		if (strcmp(value, reason_code(reason)) == 0)
			return reason;
	return REASON_NEXT_HOP;
}

static bool read_path(const char *value, struct smtp_path *path)
{
	size_t used;

	return smtp_parse_path(value, strlen(value), &used, path).code == 0 &&
	       used == strlen(value);
}

static bool is_address(const char *value)
{
	struct smtp_path path;
	char text[SMTP_PATH_MAX + 3];
	int len = snprintf(text, sizeof text, "<%s>", value);

	return len > 2 && (size_t)len < sizeof text && read_path(text, &path);
}

static bool read_chars(const char *value, char *out, size_t size)
{
	size_t len = strlen(value);

	if (len >= size)
		return false;
	memcpy(out, value, len + 1);
	return true;
}

/* value: handed over. */
static bool read_string(char **value, char **out)
{
	*out = *value;
	*value = NULL;
	return true;
}

static bool read_value(const struct field *f, char **value, void *to)
{
	char *at = (char *)to + f->at;
	int64_t number;
	bool is_good;

	switch (f->kind) {
	case KIND_ID:
		return spool_is_id(*value) && read_chars(*value, at, SPOOL_ID_SIZE);
	case KIND_CHARS:
		return read_chars(*value, at, f->size);
	case KIND_STRING:
		return read_string(value, (char **)at);
	case KIND_ADDRESS:
		return is_address(*value) && read_string(value, (char **)at);
	case KIND_PATH:
		return read_path(*value, (struct smtp_path *)at);
	case KIND_SIZE:
		return read_size(*value, (uint64_t *)at);
	case KIND_NAME:
		return read_name(*value, f->names, (unsigned *)at);
	case KIND_REASON:
		*(enum reason *)at = read_reason(*value);
		return true;
	case KIND_TIME:
		is_good = read_number(*value, INT64_MIN, INT64_MAX, &number);
		*(time_t *)at = number;
		return is_good;
	case KIND_COUNT:
		is_good = read_number(*value, 0, UINT32_MAX, &number);
		*(unsigned *)at = (unsigned)number;
		return is_good;
	case KIND_CODE:
		is_good = read_number(*value, 200, 599, &number);
		*(int *)at = (int)number;
		return is_good;
	case KIND_FLAG:
		is_good = read_number(*value, 0, 1, &number);
		*(bool *)at = number == 1;
		return is_good;
	}
	return false;
}

static bool read_fields(struct reader *in, const struct field *fields, void *to)
{
	bool garbled = false;

	for (const struct field *f = fields; f->key && !garbled; f++) {
		char *value = take_value(in, f->key, &garbled);

		if (value && !garbled)
			garbled = !read_value(f, &value, to);
		free(value);
	}
	return !garbled;
}

static bool read_recipient(struct reader *in, struct spool_message *message)
{
	struct spool_recipient r = {0};

	if (!read_fields(in, recipient_fields, &r) || !r.address) {
		free(r.address);
		free(r.dsn.orcpt);
		return false;
	}
	if ((message->count & (message->count - 1)) == 0) /* room doubles at each power of two */
		message->recipients = mem_resize(message->recipients,
		    message->count ? message->count * 2 : 1, sizeof *message->recipients);
	message->recipients[message->count++] = r;
	return true;
}

bool spool_text_add_recipient(struct spool_message *message, const char *text, size_t len)
{
	struct reader in = {text, text + len};

	if (!read_recipient(&in, message))
		return false;
	if (in.at == in.end)
		return true;
	struct spool_recipient *last = &message->recipients[--message->count];

	free(last->address);
	free(last->dsn.orcpt);
	return false;
}

struct spool_message *spool_text_read(const char *text, size_t len)
{
	struct spool_message *message = mem_zero(1, sizeof *message);
	struct reader in = {text, text + len};
	const struct smtp_path *sender = &message->envelope.sender;
	bool is_good = read_fields(&in, message_fields, message) && message->id[0] &&
		       (sender->is_null || sender->address[0]);

	if (!message->session)
		message->session = mem_strdup("");
	while (is_good && in.at < in.end)
		is_good = read_recipient(&in, message);
	if (!is_good)
		spool_message_free(&message);
	return message;
}

/* "0641c3b5d2a91f-5f0c2d7e91aa": microseconds, and chance. */
bool spool_is_id(const char *text)
{
	return strlen(text) == SPOOL_ID_LEN && strspn(text, "0123456789abcdef") == 14 &&
	       text[14] == '-' && strspn(text + 15, "0123456789abcdef") == 12;
}
