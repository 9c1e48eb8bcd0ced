/*
 * spool_file.h - how a message lies in its file. Pure, fuzzed.
 *
 *     danelaw-spool 1 HEADERLEN HEADERSUM BODYSIZE BODYSUM c8     one line of fixed length
 *     id ... sender ... to ...                                    the header (spool_text.h)
 *     Received: ...                                               the body as it goes to a next hop
 *
 * The line is written again when the body is complete ("c"): a file without it is the beginning of
 * a message, which must never go out.
 */
#ifndef PROXY_SPOOL_FILE_H
#define PROXY_SPOOL_FILE_H

#include "proxy/spool_message.h"

enum { SPOOL_FILE_LINE = 79, SPOOL_FILE_HEADER_MAX = 64 * 1024 * 1024 };

struct spool_file {
	uint32_t header_len;
	uint64_t header_sum;
	uint64_t body_size, body_sum; /* once complete */
	bool is_complete, has_8bit;
};

/*
 * FNV-1a: each step is one to one, so that a single changed octet always shows. It guards against
 * disks, not against people.
 */
#define SPOOL_SUM_START 0xcbf29ce484222325u
uint64_t spool_sum(uint64_t sum, const void *data, size_t len);

/* The line and the header of a file that begins; file: what the line says. free() releases. */
char *spool_file_begin(const struct spool_message *message, struct spool_file *file, size_t *len);
void spool_file_write_line(const struct spool_file *file, char line[SPOOL_FILE_LINE + 1]);

/* false: not a line of ours. */
bool spool_file_read_line(const char *line, size_t len, struct spool_file *file);

/* The envelope in the header of a file; size and has_8bit as the line says. NULL: not what we
 * wrote. */
struct spool_message *spool_file_read_header(
    const struct spool_file *file, const char *header, size_t len);

/* Octets before the body. */
static inline uint64_t spool_file_body_at(const struct spool_file *file)
{
	return SPOOL_FILE_LINE + (uint64_t)file->header_len;
}

#endif
