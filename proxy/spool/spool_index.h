/*
 * spool_index.h - the index of the spool: which messages there are, and what is true of each
 * recipient. SQLite in state_dir/spool/index.sqlite; the only user of SQLite in proxy/.
 *
 * Everything blocks: for the disk process (spool_disk.h), and for `danelaw queue`, which may give
 * orders while danelaw runs and while it does not. A row carries a checksum over all its columns,
 * as a changed octet inside a text passes SQLite's own check. Errors come back as a result and one
 * line; nothing is logged here.
 */
#ifndef PROXY_SPOOL_INDEX_H
#define PROXY_SPOOL_INDEX_H

#include "proxy/spool/spool.h"

struct spool_index;

enum spool_result {
	SPOOL_DONE,
	SPOOL_ABSENT,  /* no such file, no such message */
	SPOOL_BUSY,    /* another process writes just now */
	SPOOL_FAILED,  /* full, read-only, no right, input/output error, a newer format */
	SPOOL_DAMAGED, /* not what we wrote */
};

enum spool_mode {
	SPOOL_MAKE,   /* the disk process: made where there is none; SPOOL_BUSY at once */
	SPOOL_CHANGE, /* an operator's orders: waits up to 5 s for others that write */
	SPOOL_READ,   /* to look at it: changes nothing */
};

/* directory: state_dir/spool. NULL unless SPOOL_DONE. */
enum spool_result spool_index_open(
    struct spool_index **index, const char *directory, enum spool_mode mode, char why[SPOOL_WHY]);
void spool_index_close(struct spool_index **index); /* NULL inside is welcome */

/* ---- looking ---- */

/* In order of arrival. message: borrowed, NULL: the row is damaged, danelaw will set it aside. */
typedef void spool_index_fn(const char *id, const struct spool_message *message, void *arg);
enum spool_result spool_index_each(
    struct spool_index *index, spool_index_fn *each, void *arg, char why[SPOOL_WHY]);

/* message: the caller's. SPOOL_DAMAGED: this row alone. */
enum spool_result spool_index_get(
    struct spool_index *index, const char *id, struct spool_message **message, char why[SPOOL_WHY]);

enum spool_result spool_index_count(struct spool_index *index, size_t *count, char why[SPOOL_WHY]);

/* ---- orders of an operator: danelaw notices within a second or two ---- */

/* *count: recipients that it concerns; none: SPOOL_ABSENT. All of a message's are tried again now.
 */
enum spool_result spool_index_retry(
    struct spool_index *index, const char *id, size_t *count, char why[SPOOL_WHY]);

/* domain: in normal form. */
enum spool_result spool_index_retry_domain(
    struct spool_index *index, const char *domain, size_t *count, char why[SPOOL_WHY]);

/* All of its recipients are given up; the sender is told. */
enum spool_result spool_index_bounce(
    struct spool_index *index, const char *id, size_t *count, char why[SPOOL_WHY]);

/* ---- the disk process alone ---- */

/* Another file is at its place now: set aside or removed by somebody. */
bool spool_index_is_moved(const struct spool_index *index);

/* Looks at every page, as a damaged file is best known before it is used. */
enum spool_result spool_index_check(struct spool_index *index, char why[SPOOL_WHY]);

/* Changes when another process has written. */
int64_t spool_index_version(struct spool_index *index);

/* What is written between begin and end is on the disk after SPOOL_DONE of end, or nothing of it
 * after undo. Everything below but looking belongs in between. */
enum spool_result spool_index_begin(struct spool_index *index, char why[SPOOL_WHY]);
enum spool_result spool_index_end(struct spool_index *index, char why[SPOOL_WHY]);
void spool_index_undo(struct spool_index *index);

/* Recipients with numbers of their own. A message that is there already stays as it is. */
enum spool_result spool_index_put(
    struct spool_index *index, const struct spool_message *message, char why[SPOOL_WHY]);

/* is_gone: nobody is left, the message has left the index. An order to bounce that came meanwhile
 * stands, and is due at once. */
enum spool_result spool_index_settle(struct spool_index *index, const struct spool_message *message,
    bool *is_gone, char why[SPOOL_WHY]);
enum spool_result spool_index_remove(
    struct spool_index *index, const char *id, char why[SPOOL_WHY]);

/*
 * Makes the damaged rows of a message again: those of its recipients that are sound stay; where one
 * is not, all those in its file that have no sound row are added, as nobody knows which it was.
 */
enum spool_result spool_index_salvage(
    struct spool_index *index, const struct spool_message *from_file, char why[SPOOL_WHY]);

/* Numbers of recipients that come from a file again: none of the rows that were lost had them, so
 * that what is still being settled for one of those hits nobody else's. */
enum { SPOOL_NUMBER_AGAIN = 1000000000 };

/* SPOOL_DONE or SPOOL_ABSENT, or it could not be found out. */
enum spool_result spool_index_has(struct spool_index *index, const char *id, char why[SPOOL_WHY]);

/* What is stored of a damaged one, for people. free() releases. */
char *spool_index_dump(struct spool_index *index, const char *id);

struct spool_due {
	time_t now;
	bool (*is_taken)(const char *id, void *arg);
	void *arg;
	enum spool_order order;
	size_t max;

	/* the answer: at most max, in order, and when another one will be; 0: none */
	size_t count;
	char (*ids)[SPOOL_ID_SIZE]; /* the caller's, room for max */
	time_t next;
};
enum spool_result spool_index_due(
    struct spool_index *index, struct spool_due *due, char why[SPOOL_WHY]);

/* Also forgets what is over. */
enum spool_result spool_index_remember(struct spool_index *index,
    const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until, char why[SPOOL_WHY]);
enum spool_result spool_index_recall(
    struct spool_index *index, spool_memory_fn *each, void *arg, char why[SPOOL_WHY]);

#endif
