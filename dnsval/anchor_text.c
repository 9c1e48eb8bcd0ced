/*
 * anchor_text.c - DS and DNSKEY records from the text of a trust anchor file (RFC 4034, RFC 5011).
 *
 * Reads what dig, unbound-anchor, the distribution and libunbound itself write: one record in a
 * line, or in several within parentheses. Stricter than libunbound, which skips with a log line
 * what it cannot read, or cannot verify, and then calls every answer below that name insecure.
 * Pure.
 */
#include "conf/domain.h"
#include "conf/mem.h"
#include "dnsval/anchor.h"

#include <ctype.h>
#include <resolv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	RECORD_MAX = 8192,
	WORDS_MAX = 64,
	DNSKEY_ZONE = 0x0100,
	DNSKEY_REVOKED = 0x0080,
	DNSKEY_PROTOCOL = 3,
};

/* One record: its words without comments and parentheses, and what RFC 5011 notes in its comment.
 */
struct line {
	char text[RECORD_MAX]; /* the words, each ended by NUL */
	size_t used;
	size_t count;
	char *words[WORDS_MAX];
	int state;
	bool is_open; /* a parenthesis is */
	unsigned number;
};

/* libunbound's enum of RFC 5011 states (validator/autotrust.h), as its file has them. */
enum { STATE_VALID = 2, STATE_MISSING = 3 };

static bool is_supported(unsigned long algorithm)
{
	static const unsigned char known[] = {5, 7, 8, 10, 13, 14, 15, 16};

	return algorithm < 256 && memchr(known, (int)algorithm, sizeof known);
}

static size_t digest_size(unsigned long type)
{
	return type == 1 ? 20 : type == 2 ? 32 : type == 4 ? 48 : 0;
}

static bool read_number(const char *word, unsigned long max, unsigned long *number)
{
	char *end;

	if (!isdigit((unsigned char)word[0]))
		return false;
	*number = strtoul(word, &end, 10);
	return !*end && *number <= max;
}

/* The words from the first on, joined: base64 and hex may hold blanks. */
static char *join(const struct line *line, size_t first)
{
	char *joined = mem_strdup("");

	for (size_t i = first; i < line->count; i++) {
		char *more = mem_printf("%s%s", joined, line->words[i]);

		free(joined);
		joined = more;
	}
	return joined;
}

/* RFC 4034 appendix B; not for algorithm 1, which is not supported. */
static uint16_t key_tag(const uint8_t *rdata, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? rdata[i] : (uint32_t)rdata[i] << 8;
	return (uint16_t)(sum + (sum >> 16));
}

/* Each reader of RDATA gives NULL, or what is wrong; *skip where the record is not to be trusted.
 */

static const char *read_ds(const struct line *line, size_t at, struct anchor *anchor)
{
	unsigned long tag, algorithm, type;

	if (line->count < at + 4 || !read_number(line->words[at], 65535, &tag) ||
	    !read_number(line->words[at + 1], 255, &algorithm) ||
	    !read_number(line->words[at + 2], 255, &type))
		return "malformed DS record";
	if (!is_supported(algorithm) || !digest_size(type))
		return "DS record with an algorithm or digest that cannot be verified here";
	char *hex = join(line, at + 3);
	bool good = strlen(hex) == 2 * digest_size(type) &&
		    hex[strspn(hex, "0123456789abcdefABCDEF")] == '\0';

	if (good) {
		anchor->tag = (uint16_t)tag;
		anchor->record =
		    mem_printf("%s IN DS %lu %lu %lu %s", anchor->owner, tag, algorithm, type, hex);
	}
	free(hex);
	return good ? NULL : "malformed digest in a DS record";
}

static const char *read_dnskey(const struct line *line, size_t at, struct anchor *anchor)
{
	unsigned long flags, protocol, algorithm;
	uint8_t rdata[RECORD_MAX];

	if (line->count < at + 4 || !read_number(line->words[at], 65535, &flags) ||
	    !read_number(line->words[at + 1], 255, &protocol) ||
	    !read_number(line->words[at + 2], 255, &algorithm) || protocol != DNSKEY_PROTOCOL ||
	    !(flags & DNSKEY_ZONE))
		return "malformed DNSKEY record";
	if (flags & DNSKEY_REVOKED)
		return "DNSKEY record of a revoked key";
	if (!is_supported(algorithm))
		return "DNSKEY record with an algorithm that cannot be verified here";
	char *key = join(line, at + 3);
	int len = b64_pton(key, rdata + 4, sizeof rdata - 4);

	if (len > 0) {
		memcpy(rdata,
		    (uint8_t[]){
			(uint8_t)(flags >> 8), (uint8_t)flags, DNSKEY_PROTOCOL, (uint8_t)algorithm},
		    4);
		anchor->tag = key_tag(rdata, (size_t)len + 4);
		anchor->record =
		    mem_printf("%s IN DNSKEY %lu 3 %lu %s", anchor->owner, flags, algorithm, key);
	}
	free(key);
	return len > 0 ? NULL : "malformed key in a DNSKEY record";
}

static char *read_owner(const char *word)
{
	char name[DOMAIN_SIZE];

	if (strcmp(word, ".") == 0)
		return mem_strdup(".");
	return domain_normalize(name, word, strlen(word)) ? mem_printf("%s.", name) : NULL;
}

/* OWNER [TTL] [IN] TYPE RDATA, TTL and class in either order (RFC 1035 section 5.1). */
static const char *read_record(const struct line *line, struct anchor *anchor)
{
	size_t at = 1;
	unsigned long ttl;

	anchor->owner = read_owner(line->words[0]);
	if (!anchor->owner)
		return "a record must begin with the name it is for";
	while (at < line->count && at <= 2 &&
	       (strcasecmp(line->words[at], "IN") == 0 ||
		   read_number(line->words[at], UINT32_MAX, &ttl)))
		at++;
	if (at < line->count && strcasecmp(line->words[at], "DS") == 0)
		return read_ds(line, at + 1, anchor);
	if (at < line->count && strcasecmp(line->words[at], "DNSKEY") == 0)
		return read_dnskey(line, at + 1, anchor);
	return "neither a DS nor a DNSKEY record";
}

/* RFC 5011 section 4: a pending key is not trusted yet, a missing one still is. */
static bool is_trusted(const struct line *line)
{
	return line->state == STATE_VALID || line->state == STATE_MISSING;
}

static void note_state(struct line *line, const char *comment, size_t len)
{
	static const char mark[] = ";;state=";
	const char *found = memmem(comment, len, mark, sizeof mark - 1);

	if (found && found + sizeof mark - 1 < comment + len)
		line->state = found[sizeof mark - 1] - '0';
}

static bool add_word(struct line *line, const char *word, size_t len)
{
	if (line->count == WORDS_MAX || len >= sizeof line->text - line->used)
		return false;
	line->words[line->count++] = line->text + line->used;
	memcpy(line->text + line->used, word, len);
	line->used += len;
	line->text[line->used++] = '\0';
	return true;
}

/* Words of one line of text into the record; false: too long, or parentheses that do not match. */
static bool split(struct line *line, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t start = i;

		if (text[i] == ';') {
			note_state(line, text + i, len - i);
			return true;
		}
		if (text[i] == '(' || text[i] == ')') {
			if (line->is_open == (text[i] == '('))
				return false;
			line->is_open = !line->is_open;
			i++;
		} else if (isspace((unsigned char)text[i])) {
			i++;
		} else {
			while (i < len && text[i] && !strchr(" \t\r\n\f\v;()", text[i]))
				i++;
			if (i == start || !add_word(line, text + start, i - start))
				return false;
		}
	}
	return true;
}

static void begin_record(struct line *line)
{
	line->used = line->count = 0;
	line->state = STATE_VALID; /* files that RFC 5011 does not keep have none */
	line->is_open = false;
}

static const char *take_record(struct line *line, struct anchors *anchors)
{
	struct anchor anchor = {0};
	const char *wrong;

	if (line->count == 0 || !is_trusted(line))
		return NULL;
	wrong = read_record(line, &anchor);
	if (wrong) {
		free(anchor.owner);
		return wrong;
	}
	anchors->items = mem_resize(anchors->items, anchors->count + 1, sizeof anchor);
	anchors->items[anchors->count++] = anchor;
	return NULL;
}

static const char *take_line(
    struct line *line, const char *text, size_t len, struct anchors *anchors)
{
	bool is_first = !line->is_open;
	const char *wrong;

	line->number++;
	if (!split(line, text, len))
		return "not a record in zone-file form";
	/* RFC 1035 means the name of the line before; guessing one could leave the root unsigned.
	 */
	if (is_first && line->count > 0 && isspace((unsigned char)text[0]))
		return "a record must begin with the name it is for";
	if (line->is_open)
		return NULL;
	wrong = take_record(line, anchors);
	begin_record(line);
	return wrong;
}

struct anchors *anchors_parse(const char *text, size_t len, const char *source, char **error)
{
	struct anchors *anchors = mem_zero(1, sizeof *anchors);
	struct line *line = mem_zero(1, sizeof *line);
	const char *wrong = NULL;

	anchors->source = mem_strdup(source);
	begin_record(line);
	while (len > 0 && !wrong) {
		const char *newline = memchr(text, '\n', len);
		size_t taken = newline ? (size_t)(newline - text) + 1 : len;

		wrong = take_line(line, text, taken, anchors);
		text += taken;
		len -= taken;
	}
	if (!wrong && line->is_open)
		wrong = "a parenthesis is not closed";
	if (wrong)
		*error = mem_printf("%s:%u: %s", source, line->number, wrong);
	else if (anchors->count == 0)
		*error = mem_printf("%s: no DS or DNSKEY record to trust", source);
	if (wrong || anchors->count == 0)
		anchors_free(&anchors);
	free(line);
	return anchors;
}
