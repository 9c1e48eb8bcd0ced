/*
 * spool_file.c - see spool_file.h.
 */
#include "proxy/spool/spool_file.h"

#include "conf/mem.h"
#include "proxy/spool/spool_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[] = "danelaw-spool 1 ";
enum { MAGIC = sizeof magic - 1 };

uint64_t spool_sum(uint64_t sum, const void *data, size_t len)
{
	const unsigned char *octets = data;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ octets[i]) * 0x100000001b3u;
	return sum;
}

/* ---- writing ---- */

void spool_file_write_line(const struct spool_file *file, char line[SPOOL_FILE_LINE + 1])
{
	snprintf(line, SPOOL_FILE_LINE + 1,
	    "%s%08" PRIx32 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %c%c\n", magic,
	    file->header_len, file->header_sum, file->body_size, file->body_sum, (int)file->mark,
	    file->has_8bit ? '8' : '-');
}

char *spool_file_begin(const struct spool_message *message, struct spool_file *file, size_t *len)
{
	size_t header_len;
	char *header = spool_text_of_message(message, &header_len);
	char *data = mem_alloc(SPOOL_FILE_LINE + header_len + 1);

	*file = (struct spool_file){
	    .header_len = (uint32_t)header_len,
	    .header_sum = spool_sum(SPOOL_SUM_START, header, header_len),
	    .body_sum = SPOOL_SUM_START,
	    .mark = SPOOL_MARK_BEGUN,
	};
	spool_file_write_line(file, data);
	memcpy(data + SPOOL_FILE_LINE, header, header_len);
	free(header);
	*len = SPOOL_FILE_LINE + header_len;
	return data;
}

/* ---- reading ---- */

/* digits of them, lower case, and a blank. */
static bool take_hex(const char **at, int digits, uint64_t *out)
{
	static const char hex[] = "0123456789abcdef";

	*out = 0;
	for (int i = 0; i < digits; i++, ++*at) {
		const char *digit = **at ? strchr(hex, **at) : NULL;

		if (!digit)
			return false;
		*out = *out << 4 | (uint64_t)(digit - hex);
	}
	return *(*at)++ == ' ';
}

static bool take_flag(const char **at, char set, bool *out)
{
	char c = *(*at)++;

	*out = c == set;
	return c == set || c == '-';
}

static bool take_mark(const char **at, enum spool_mark *mark)
{
	char c = *(*at)++;

	*mark = (enum spool_mark)c;
	return c && strchr("-cpd", c);
}

bool spool_file_read_line(const char *line, size_t len, struct spool_file *file)
{
	const char *at = line + MAGIC;
	uint64_t header_len;

	if (len < SPOOL_FILE_LINE || memcmp(line, magic, MAGIC) != 0)
		return false;
	bool is_good = take_hex(&at, 8, &header_len) && take_hex(&at, 16, &file->header_sum) &&
		       take_hex(&at, 16, &file->body_size) && take_hex(&at, 16, &file->body_sum) &&
		       take_mark(&at, &file->mark) && take_flag(&at, '8', &file->has_8bit) &&
		       *at == '\n';

	file->header_len = (uint32_t)header_len;
	return is_good && header_len <= SPOOL_FILE_HEADER_MAX && file->body_size <= INT64_MAX / 2;
}

struct spool_message *spool_file_read_header(
    const struct spool_file *file, const char *header, size_t len)
{
	struct spool_message *message = NULL;

	if (len == file->header_len && spool_sum(SPOOL_SUM_START, header, len) == file->header_sum)
		message = spool_text_read(header, len);
	if (message) {
		message->size = file->body_size;
		message->has_8bit = file->has_8bit;
	}
	return message;
}
