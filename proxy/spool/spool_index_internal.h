/*
 * spool_index_internal.h - what the files of the index share about a connection; nobody else
 * includes it, or SQLite.
 */
#ifndef PROXY_SPOOL_INDEX_INTERNAL_H
#define PROXY_SPOOL_INDEX_INTERNAL_H

#include "proxy/spool/spool_index.h"

#include <sqlite3.h>
#include <sys/types.h>

struct spool_index {
	sqlite3 *handle;
	char *path;
	dev_t device;
	ino_t inode;
};

/* What a code of SQLite means; why: only where that is not SPOOL_DONE. */
enum spool_result spool_index_explain(struct spool_index *index, int code, char why[SPOOL_WHY]);

/*
 * A statement with its values bound: types has a letter for each, t text, i int64_t, d a digest.
 * Texts are borrowed until sqlite3_finalize(). A code of SQLite.
 */
int spool_index_prepare(
    struct spool_index *index, sqlite3_stmt **statement, const char *sql, const char *types, ...);

/* The same for one that gives no rows; run to its end. */
enum spool_result spool_index_run(
    struct spool_index *index, char why[SPOOL_WHY], const char *sql, const char *types, ...);

/* Adds the recipients whose rows are sound; *damaged: how many are not. */
enum spool_result spool_index_add_sound(
    struct spool_index *index, struct spool_message *message, size_t *damaged, char why[SPOOL_WHY]);

/* All that the checksums are over. */
#define MESSAGE_SUM   "row_checksum(id, due, touched, head)"
#define RECIPIENT_SUM "row_checksum(message, number, domain, next_try, must_bounce, state)"

#endif
