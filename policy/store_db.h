/*
 * store_db.h - the table of policies in its SQLite file: open, check, read, write.
 *
 * Everything blocks: for the writer's process, and for the program itself before it serves. Errors
 * come back as a result and one line, nothing is logged here.
 */
#ifndef POLICY_STORE_DB_H
#define POLICY_STORE_DB_H

#include "policy/store_row.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_db;

enum store_result {
	STORE_DONE,
	STORE_BUSY,    /* another process writes just now */
	STORE_FAILED,  /* full, read-only, no such directory, input/output error, a newer format */
	STORE_DAMAGED, /* not what we wrote: store_repair() */
};

enum { STORE_WHY = 256 };

/* Opens or makes the file, with our table in it. NULL unless STORE_DONE. */
enum store_result store_db_open(struct store_db **db, const char *path, char why[STORE_WHY]);

/* A file that cannot be written, for reading what is there. */
enum store_result store_db_open_reader(struct store_db **db, const char *path, char why[STORE_WHY]);
void store_db_close(struct store_db **db); /* NULL inside is welcome */

/* Whether the file at its path is another one now: set aside or removed by somebody. */
bool store_db_is_moved(const struct store_db *db);

/* Looks at every page: a damaged file is best known before it is used. */
enum store_result store_db_check(struct store_db *db, char why[STORE_WHY]);

/* All rows of a batch, `size` octets of them, in one transaction, or none. */
enum store_result store_db_write(
    struct store_db *db, const struct store_row *batch, size_t size, char why[STORE_WHY]);

/* is_sound: the row's checksum is right. In a row that is not, domain alone may be looked at. */
typedef void store_db_row_fn(const struct store_row *row, bool is_sound, void *arg);

/* Least recently used first. */
enum store_result store_db_read(
    struct store_db *db, store_db_row_fn *each, void *arg, char why[STORE_WHY]);
enum store_result store_db_drop_unsound(struct store_db *db, char why[STORE_WHY]);

/*
 * Whatever a damaged file still gives, in no order; a row may come twice. false: it gave nothing at
 * all.
 */
bool store_db_salvage(const char *path, store_db_row_fn *each, void *arg);

#endif
