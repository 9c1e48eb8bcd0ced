/*
 * spool_file.h - how a message lies in its file. Pure, fuzzed.
 *
 *     danelaw-spool 1 HEADERLEN HEADERSUM BODYSIZE BODYSUM c8     one line of fixed length
 *     id ... sender ... to ...                                    the header (spool_text.h)
 *     Received: ...                                               the body as it goes to a next hop
 *
 * A letter near the end of the line, one octet at a fixed place, says how far the message has come.
 * Each is on the disk before the next step, so that neither the index nor its log can lose what was
 * promised: a file without a row in the index tells by itself what it is.
 *
 *     -  begun       the beginning of a message, which must never go out
 *     c  complete    the body is there; nobody was promised anything
 *                    (the row is on the disk)
 *     p  promised    only then the client hears 250
 *     d  done        nobody is left, or it was taken back
 *                    (the row goes, on the disk; then the file)
 *
 * Without a row "p" is a message that the index has lost: it is taken up again from its file; all
 * others go. Ended at any point between two of these steps: c with a row is worked off, though its
 * client may come again; p with a row is a message like any other; d with a row is one whose end
 * was not stored, tried once more as ever; d without a row is removed, so that a file that outlives
 * its row is no second copy. No change of a single bit makes one letter of another.
 */
#ifndef PROXY_SPOOL_FILE_H
#define PROXY_SPOOL_FILE_H

#include "proxy/spool/spool_message.h"

enum { SPOOL_FILE_LINE = 79, SPOOL_FILE_MARK_AT = 76, SPOOL_FILE_HEADER_MAX = 64 * 1024 * 1024 };

enum spool_mark {
	SPOOL_MARK_BEGUN = '-',
	SPOOL_MARK_COMPLETE = 'c',
	SPOOL_MARK_PROMISED = 'p',
	SPOOL_MARK_DONE = 'd',
};

struct spool_file {
	uint32_t header_len;
	uint64_t header_sum;
	uint64_t body_size, body_sum; /* once complete */
	enum spool_mark mark;
	bool has_8bit;
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
