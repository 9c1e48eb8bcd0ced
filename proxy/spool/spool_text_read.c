/*
 * spool_text_read.c - see spool_text.h: what was written is read by the same tables, and nothing
 * else is taken.
 */
#include "proxy/spool/spool_text_fields.h"

#include "conf/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines ---- */

struct reader {
	const char *at, *end;
};

/* The value of the next line, unescaped, where the line has this key. free() releases; NULL: it has
 * not; *garbled: it is nothing that we wrote. */
static char *take_value(struct reader *in, const char *key, bool *garbled)
{
	size_t len = strlen(key), left = (size_t)(in->end - in->at);
	const char *end;
	char *value, *to;

	if (left <= len || memcmp(in->at, key, len) != 0 || in->at[len] != ' ')
		return NULL;
	end = memchr(in->at, '\n', left);
	if (!end)
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

static bool read_value(const struct spool_field *f, char **value, void *to)
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

static bool read_fields(struct reader *in, const struct spool_field *fields, void *to)
{
	bool garbled = false;

	for (const struct spool_field *f = fields; f->key && !garbled; f++) {
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

	if (!read_fields(in, spool_recipient_fields, &r) || !r.address) {
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
	bool is_good = read_fields(&in, spool_message_fields, message) && message->id[0] &&
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
