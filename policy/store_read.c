/*
 * store_read.c - the rows of a policy store: all of a sound file, what there is of a damaged one.
 *
 * Called by store_load.c and store_repair.c.
 */
#include "policy/store_db_internal.h"

#include "conf/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELECTION                                                                                  \
	"SELECT domain, id, mode, mx, max_age, strftime('%s', fetched), strftime('%s', expires),"  \
	" strftime('%s', used), checksum IS row_checksum(" COLUMNS ") FROM policies "

static bool read_mode(const char *name, enum sts_mode *mode)
{
	for (*mode = STS_MODE_NONE; *mode <= STS_MODE_ENFORCE; (*mode)++)
		if (strcmp(name, sts_mode_name(*mode)) == 0)
			return true;
	return false;
}

/* Never NULL, whatever a damaged row holds. */
static const char *text_of(sqlite3_stmt *statement, int column)
{
	const unsigned char *text = sqlite3_column_text(statement, column);

	return text ? (const char *)text : "";
}

static bool fill_row(sqlite3_stmt *statement, struct store_row *row)
{
	int domain_len, id_len;

	domain_len = snprintf(row->domain, sizeof row->domain, "%s", text_of(statement, 0));
	id_len = snprintf(row->id, sizeof row->id, "%s", text_of(statement, 1));
	row->max_age = (uint32_t)sqlite3_column_int64(statement, 4);
	row->fetched = sqlite3_column_int64(statement, 5);
	row->expires = sqlite3_column_int64(statement, 6);
	row->used = sqlite3_column_int64(statement, 7);
	return sqlite3_column_int(statement, 8) && domain_len < (int)sizeof row->domain &&
	       id_len < (int)sizeof row->id && read_mode(text_of(statement, 2), &row->mode);
}

static void give_row(sqlite3_stmt *statement, store_db_row_fn *each, void *arg)
{
	const char *mx = text_of(statement, 3);
	size_t mx_len = strnlen(mx, STS_BODY_MAX);
	struct store_row *row = mem_zero(1, store_row_size(mx_len));

	row->size = store_row_size(mx_len);
	memcpy(row->mx, mx, mx_len);
	bool is_sound = fill_row(statement, row);

	each(row, is_sound, arg);
	free(row);
}

static int read_rows(sqlite3_stmt *statement, store_db_row_fn *each, void *arg)
{
	int code;

	while ((code = sqlite3_step(statement)) == SQLITE_ROW)
		give_row(statement, each, arg);
	return code;
}

enum store_result store_db_read(
    struct store_db *db, store_db_row_fn *each, void *arg, char why[STORE_WHY])
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(
	    db->handle, SELECTION "ORDER BY policies.used", -1, &statement, NULL);

	if (code == SQLITE_OK)
		code = read_rows(statement, each, arg);
	enum store_result result = store_db_explain(db, code, why);

	sqlite3_finalize(statement);
	return result;
}

enum store_result store_db_drop_unsound(struct store_db *db, char why[STORE_WHY])
{
	return store_db_run(
	    db, "DELETE FROM policies WHERE checksum IS NOT row_checksum(" COLUMNS ")", why);
}

/* ---- salvaging ---- */

/*
 * A damaged page ends a walk. Walked in both directions through every pair of leading characters,
 * the table loses little more than what stood on that page.
 */
static void salvage_slice(
    sqlite3 *handle, const char *sql, const char *begin, store_db_row_fn *each, void *arg)
{
	char end[] = {begin[0], begin[1], (char)0x7f, '\0'};
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) == SQLITE_OK) {
		sqlite3_bind_text(statement, 1, begin, -1, SQLITE_STATIC);
		sqlite3_bind_text(statement, 2, end, -1, SQLITE_STATIC);
		read_rows(statement, each, arg);
	}
	sqlite3_finalize(statement);
}

static void salvage_slices(sqlite3 *handle, store_db_row_fn *each, void *arg)
{
	static const char characters[] = "-.0123456789_abcdefghijklmnopqrstuvwxyz";

	for (const char *first = characters; *first; first++)
		for (const char *second = characters; *second; second++) {
			char begin[] = {*first, *second, '\0'};

			salvage_slice(handle,
			    SELECTION "WHERE domain >= ?1 AND domain < ?2 ORDER BY domain", begin,
			    each, arg);
			salvage_slice(handle,
			    SELECTION "WHERE domain >= ?1 AND domain < ?2 ORDER BY domain DESC",
			    begin, each, arg);
		}
}

struct harvest {
	size_t count;
	store_db_row_fn *each;
	void *arg;
};

static void count_row(const struct store_row *row, bool is_sound, void *arg)
{
	struct harvest *harvest = arg;

	harvest->count += is_sound;
	harvest->each(row, is_sound, harvest->arg);
}

bool store_db_salvage(const char *path, store_db_row_fn *each, void *arg)
{
	struct harvest harvest = {.each = each, .arg = arg};
	struct store_db *db = store_db_new(path);
	char why[STORE_WHY];

	if (store_db_connect(db, SQLITE_OPEN_READWRITE, why) == STORE_DONE)
		salvage_slices(db->handle, count_row, &harvest);
	store_db_close(&db);
	return harvest.count > 0;
}
