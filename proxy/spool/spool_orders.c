/*
 * spool_orders.c - see spool_index.h: what an operator orders (danelaw queue), and what the
 * duplicate guard remembers.
 */
#include "proxy/spool/spool_index_internal.h"

#include "conf/clock.h"

#include <stdio.h>
#include <string.h>

/* ---- orders ---- */

static enum spool_result give_order(struct spool_index *index, const char *sql, const char *refresh,
    const char *which, size_t *count, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_run(index, why, sql, "t", which);

	*count = result == SPOOL_DONE ? (size_t)sqlite3_changes(index->handle) : 0;
	if (result == SPOOL_DONE && *count == 0) {
		snprintf(why, SPOOL_WHY, "no such message");
		return SPOOL_ABSENT;
	}
	return result == SPOOL_DONE
		   ? spool_index_run(index, why, refresh, "ti", which, (int64_t)clock_wall())
		   : result;
}

/* All of an order, or nothing. */
static enum spool_result order(struct spool_index *index, const char *sql, const char *refresh,
    const char *which, size_t *count, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_begin(index, why);

	*count = 0;
	if (result != SPOOL_DONE)
		return result;
	result = give_order(index, sql, refresh, which, count, why);
	if (result == SPOOL_DONE)
		return spool_index_end(index, why);
	spool_index_undo(index);
	return result;
}

#define RETRY                                                                                      \
	"UPDATE recipients SET next_try = 0,"                                                      \
	" checksum = row_checksum(message, number, domain, 0, must_bounce, state) WHERE "
#define GIVE_UP                                                                                    \
	"UPDATE recipients SET next_try = 0, must_bounce = 1,"                                     \
	" checksum = row_checksum(message, number, domain, 0, 1, state) WHERE "
#define DUE_NOW                                                                                    \
	"UPDATE messages SET due = 0, touched = ?2, checksum = row_checksum(id, 0, ?2, head) "     \
	"WHERE "

/* A damaged row stays one: an order must not make it look sound. */
#define SOUND " AND checksum IS " RECIPIENT_SUM

enum spool_result spool_index_retry(
    struct spool_index *index, const char *id, size_t *count, char why[SPOOL_WHY])
{
	return order(index, RETRY "message = ?1" SOUND, DUE_NOW "id = ?1", id, count, why);
}

enum spool_result spool_index_retry_domain(
    struct spool_index *index, const char *domain, size_t *count, char why[SPOOL_WHY])
{
	return order(index, RETRY "domain = ?1" SOUND,
	    DUE_NOW "id IN (SELECT message FROM recipients WHERE domain = ?1)", domain, count, why);
}

enum spool_result spool_index_bounce(
    struct spool_index *index, const char *id, size_t *count, char why[SPOOL_WHY])
{
	return order(index, GIVE_UP "message = ?1" SOUND, DUE_NOW "id = ?1", id, count, why);
}

/* ---- what was accepted ---- */

enum spool_result spool_index_remember(struct spool_index *index,
    const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_run(
	    index, why, "DELETE FROM remembered WHERE until <= ?1", "i", (int64_t)clock_wall());

	return result == SPOOL_DONE ? spool_index_run(index, why,
					  "INSERT OR REPLACE INTO remembered VALUES (?1, ?2)", "di",
					  digest, (int64_t)until)
				    : result;
}

enum spool_result spool_index_recall(
    struct spool_index *index, spool_memory_fn *each, void *arg, char why[SPOOL_WHY])
{
	sqlite3_stmt *statement = NULL;
	int code = spool_index_prepare(index, &statement,
	    "SELECT digest, until FROM remembered WHERE until > ?1", "i", (int64_t)clock_wall());

	if (code == SQLITE_OK)
		while ((code = sqlite3_step(statement)) == SQLITE_ROW)
			if (sqlite3_column_bytes(statement, 0) == SPOOL_DIGEST_SIZE)
				each(sqlite3_column_blob(statement, 0),
				    sqlite3_column_int64(statement, 1), arg);
	enum spool_result result = spool_index_explain(index, code, why);

	sqlite3_finalize(statement);
	return result;
}
