/*
 * store_db_internal.h - what store_db.c and store_read.c share about a connection; nobody else
 * includes it, or SQLite.
 */
#ifndef POLICY_STORE_DB_INTERNAL_H
#define POLICY_STORE_DB_INTERNAL_H

#include "policy/store_db.h"

#include <sqlite3.h>
#include <sys/types.h>

struct store_db {
	sqlite3 *handle;
	char *path;
	dev_t device;
	ino_t inode;
};

/* All that the checksum is over. */
#define COLUMNS "domain, id, mode, mx, max_age, fetched, expires, used"

struct store_db *store_db_new(const char *path);
enum store_result store_db_connect(struct store_db *db, int flags, char why[STORE_WHY]);
enum store_result store_db_run(struct store_db *db, const char *sql, char why[STORE_WHY]);

/* What a code of SQLite means; why: only where that is not STORE_DONE. */
enum store_result store_db_explain(struct store_db *db, int code, char why[STORE_WHY]);

#endif
