/*
 * spool_text.h - a message of the spool as lines of text, "key value", in a fixed order: the header
 * of its file, what goes through the socket to the disk process, and the texts in the index. Pure,
 * fuzzed.
 *
 *     id 0641c3b5d2a91f-5f0c2d7e91aa
 *     arrived 1763881012
 *     sender <a@example.net>
 *     to b@example.org
 *     domain example.org
 *
 * A key with its default value is left out. "to" begins a recipient. Within a value a line feed is
 * written \n, a backslash \\.
 */
#ifndef PROXY_SPOOL_TEXT_H
#define PROXY_SPOOL_TEXT_H

#include "proxy/spool/spool_message.h"

/* free() releases; *len octets and a NUL. */
char *spool_text_of_message(const struct spool_message *message, size_t *len);

/* At most max octets: what the last tries said is shortened where that is needed. NULL: it is
 * larger without that. */
char *spool_text_within(const struct spool_message *message, size_t max, size_t *len);

char *spool_text_of_head(const struct spool_message *message); /* without recipients */
char *spool_text_of_recipient(const struct spool_recipient *recipient);

/* NULL: this is not what we wrote. */
struct spool_message *spool_text_read(const char *text, size_t len);

/* One recipient more; false, and nothing changed: this is not what we wrote. */
bool spool_text_add_recipient(struct spool_message *message, const char *text, size_t len);

/* Whether text has the form of an id: such a file name leads nowhere else. */
enum { SPOOL_ID_LEN = 27 };
bool spool_is_id(const char *text);

#endif
