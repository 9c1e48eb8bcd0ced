/*
 * store_db.c - see store_db.h (R-STS-22).
 *
 * Each row carries a checksum over all its columns, because PRAGMA integrity_check looks at the
 * structure of the file alone: a changed octet within a text passes it. It is an SQL function, so
 * that writing, reading and dropping use one definition. The table is for people as well: times are
 * UTC texts, patterns stand as in the policy. Called by store.c and store_writer.c.
 */
#include "policy/store_db_internal.h"

#include "conf/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1 }; /* user_version */

/* SQLite keeps this text as it is, so that a damaged definition can be told from ours. */
#define TABLE                                                                                      \
	"CREATE TABLE policies (domain TEXT PRIMARY KEY, id TEXT, mode TEXT, mx TEXT, "            \
	"max_age INTEGER, fetched TEXT, expires TEXT, used TEXT, checksum TEXT) WITHOUT ROWID"

static const char prologue[] = "PRAGMA synchronous = NORMAL;"
			       "PRAGMA cell_size_check = ON;"
			       "PRAGMA trusted_schema = OFF;"
			       "PRAGMA temp_store = MEMORY;";

static const char creation[] = "PRAGMA journal_mode = WAL;"
			       "BEGIN IMMEDIATE;" TABLE ";"
			       "PRAGMA user_version = 1;"
			       "COMMIT;";

/*
 * Of two processes the one that fetched last is right, even if the other writes later, when mail
 * used the older policy. A time in the future comes from a clock that was wrong, and yields.
 */
static const char insertion[] =
    "INSERT INTO policies SELECT *, row_checksum(" COLUMNS ") FROM ("
    "SELECT ?1 AS domain, ?2 AS id, ?3 AS mode, ?4 AS mx, ?5 AS max_age,"
    " datetime(?6, 'unixepoch') AS fetched, datetime(?7, 'unixepoch') AS expires,"
    " date(?8, 'unixepoch') AS used) WHERE true "
    "ON CONFLICT (domain) DO UPDATE SET id = excluded.id, mode = excluded.mode, mx = excluded.mx,"
    " max_age = excluded.max_age, fetched = excluded.fetched, expires = excluded.expires,"
    " used = excluded.used, checksum = excluded.checksum "
    "WHERE excluded.fetched >= policies.fetched"
    " OR policies.fetched > datetime('now', '+1 hour')"
    " OR policies.checksum IS NOT row_checksum(policies.domain, policies.id, policies.mode,"
    " policies.mx, policies.max_age, policies.fetched, policies.expires, policies.used)";

/* ---- errors ---- */

static enum store_result judge(int code)
{
	if (code == SQLITE_IOERR_SHORT_READ)
		return STORE_DAMAGED;
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return STORE_DONE;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return STORE_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* our statements are constant: the table is not ours any more */
		return STORE_DAMAGED;
	default:
		return STORE_FAILED;
	}
}

enum store_result store_db_explain(struct store_db *db, int code, char why[STORE_WHY])
{
	enum store_result result = judge(code);

	if (result != STORE_DONE)
		snprintf(why, STORE_WHY, "%s",
		    db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code));
	return result;
}

static enum store_result refuse(enum store_result result, const char *what, char why[STORE_WHY])
{
	snprintf(why, STORE_WHY, "%s", what);
	return result;
}

enum store_result store_db_run(struct store_db *db, const char *sql, char why[STORE_WHY])
{
	return store_db_explain(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), why);
}

/* ---- the checksum ---- */

/*
 * FNV-1a: each step is one to one, so that a single changed octet always shows. It guards against
 * disks, not against people: who can write the file can write checksums.
 */
static uint64_t mix(uint64_t sum, const void *data, size_t len)
{
	const unsigned char *octets = data;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ octets[i]) * 0x100000001b3u;
	return sum;
}

/* Types and lengths count too: "a", "bc" is not "ab", "c". */
static void row_checksum(sqlite3_context *context, int count, sqlite3_value **values)
{
	uint64_t sum = 0xcbf29ce484222325u;
	char text[17];

	for (int i = 0; i < count; i++) {
		int type = sqlite3_value_type(values[i]);
		const void *data = sqlite3_value_text(values[i]);
		int len = sqlite3_value_bytes(values[i]);

		sum = mix(sum, &type, sizeof type);
		sum = mix(sum, &len, sizeof len);
		sum = mix(sum, data, (size_t)len);
	}
	snprintf(text, sizeof text, "%016llx", (unsigned long long)sum);
	sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

/* ---- opening ---- */

static void remember_file(struct store_db *db)
{
	struct stat status;

	if (stat(db->path, &status) == 0) {
		db->device = status.st_dev;
		db->inode = status.st_ino;
	}
}

bool store_db_is_moved(const struct store_db *db)
{
	struct stat status;

	return stat(db->path, &status) < 0 || status.st_dev != db->device ||
	       status.st_ino != db->inode;
}

enum store_result store_db_connect(struct store_db *db, int flags, char why[STORE_WHY])
{
	int code = sqlite3_open_v2(db->path, &db->handle, flags, NULL);

	if (code != SQLITE_OK)
		return store_db_explain(db, code, why);
	remember_file(db);
	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_busy_timeout(db->handle, 0); /* who may wait tries again by himself */
	code = sqlite3_create_function(db->handle, "row_checksum", 8,
	    SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, row_checksum, NULL, NULL);
	return store_db_explain(db, code, why);
}

/* The first column of the first row as text; NULL: no row. free() releases. */
static enum store_result ask(struct store_db *db, const char *sql, char **text, char why[STORE_WHY])
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);

	*text = NULL;
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW && sqlite3_column_text(statement, 0))
		*text = mem_strdup((const char *)sqlite3_column_text(statement, 0));
	enum store_result result = store_db_explain(db, code, why);

	sqlite3_finalize(statement);
	return result;
}

/* A changed octet in page 1 can leave a file that opens, but is not ours any more. */
static enum store_result judge_table(const char *table, int version, char why[STORE_WHY])
{
	if (table && strcmp(table, TABLE) == 0 && version == FORMAT)
		return STORE_DONE;
	if (table && strcmp(table, TABLE) != 0 && version > FORMAT)
		return refuse(STORE_FAILED, "a newer version of danelaw wrote it", why);
	return refuse(STORE_DAMAGED, "its table is not the one that danelaw made", why);
}

/* Both questions in one transaction: another process may make the table between them. */
static enum store_result verify_table(struct store_db *db, bool *is_new, char why[STORE_WHY])
{
	char *table = NULL, *version = NULL;
	enum store_result result = store_db_run(db, "BEGIN", why);

	if (result == STORE_DONE)
		result =
		    ask(db, "SELECT sql FROM sqlite_master WHERE name = 'policies'", &table, why);
	if (result == STORE_DONE)
		result = ask(db, "PRAGMA user_version", &version, why);
	sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	*is_new = result == STORE_DONE && !table && version && strcmp(version, "0") == 0;
	if (result == STORE_DONE && !*is_new)
		/* NOLINTNEXTLINE(cert-err34-c): no number is 0, and that no version of ours */
		result = judge_table(table, version ? atoi(version) : 0, why);
	free(table);
	free(version);
	return result;
}

/* The header holds "written by a newer SQLite, read only" as well; a permission it is not then. */
static enum store_result verify_writable(struct store_db *db, char why[STORE_WHY])
{
	if (sqlite3_db_readonly(db->handle, "main") == 1)
		return access(db->path, W_OK) == 0
			   ? refuse(STORE_DAMAGED, "its header is damaged", why)
			   : refuse(STORE_FAILED, "it cannot be written", why);
	enum store_result result = store_db_run(db, "BEGIN IMMEDIATE", why);

	return result == STORE_DONE ? store_db_run(db, "ROLLBACK", why) : result;
}

/* Of two processes that start together one comes second, and finds the table made. */
static enum store_result make_table(struct store_db *db, char why[STORE_WHY])
{
	char why_unmade[STORE_WHY];
	bool is_new;
	enum store_result made = store_db_run(db, creation, why_unmade);

	if (made == STORE_DONE)
		return made;
	sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	enum store_result result = verify_table(db, &is_new, why);

	return result == STORE_DONE && is_new
		   ? refuse(made == STORE_DAMAGED ? STORE_FAILED : made, why_unmade, why)
		   : result;
}

static enum store_result prepare(struct store_db *db, char why[STORE_WHY])
{
	bool is_new = false;
	enum store_result result = store_db_run(db, prologue, why);

	if (result == STORE_DONE)
		result = verify_table(db, &is_new, why);
	if (result == STORE_DONE && is_new)
		result = make_table(db, why);
	return result == STORE_DONE ? verify_writable(db, why) : result;
}

struct store_db *store_db_new(const char *path)
{
	struct store_db *db = mem_zero(1, sizeof *db);

	db->path = mem_strdup(path);
	return db;
}

enum store_result store_db_open(struct store_db **db, const char *path, char why[STORE_WHY])
{
	*db = store_db_new(path);
	enum store_result result =
	    store_db_connect(*db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, why);

	if (result == STORE_DONE)
		result = prepare(*db, why);
	if (result != STORE_DONE)
		store_db_close(db);
	return result;
}

static enum store_result open_to_read(
    struct store_db **db, const char *name, int flags, char why[STORE_WHY])
{
	bool is_new;

	*db = store_db_new(name);
	enum store_result result = store_db_connect(*db, SQLITE_OPEN_READONLY | flags, why);

	if (result == STORE_DONE)
		result = verify_table(*db, &is_new, why);
	if (result == STORE_DONE && is_new)
		result = refuse(STORE_FAILED, "it is empty", why);
	if (result != STORE_DONE)
		store_db_close(db);
	return result;
}

/* A danelaw that serves has what is new in the log beside the file. */
static bool has_log(const char *path)
{
	char *log = mem_printf("%s-wal", path);
	bool is_there = access(log, F_OK) == 0;

	free(log);
	return is_there;
}

/* Where there is no log, or no right to the files beside it, the file is read as if nobody wrote:
 * then nothing is made there. */
enum store_result store_db_open_reader(struct store_db **db, const char *path, char why[STORE_WHY])
{
	char *uri;

	if (has_log(path) && open_to_read(db, path, 0, why) == STORE_DONE)
		return STORE_DONE;
	uri = mem_printf("file:%s?immutable=1", path);

	enum store_result result = open_to_read(db, uri, SQLITE_OPEN_URI, why);

	free(uri);
	return result;
}

void store_db_close(struct store_db **db)
{
	if (!*db)
		return;
	sqlite3_close(((*db)->handle));
	free((*db)->path);
	free(*db);
	*db = NULL;
}

enum store_result store_db_check(struct store_db *db, char why[STORE_WHY])
{
	char *verdict;
	enum store_result result = ask(db, "PRAGMA quick_check(1)", &verdict, why);

	if (result == STORE_DONE && (!verdict || strcmp(verdict, "ok") != 0))
		result = refuse(STORE_DAMAGED, verdict ? verdict : "it cannot be checked", why);
	free(verdict);
	return result;
}

/* ---- writing ---- */

static int bind_row(sqlite3_stmt *statement, const struct store_row *row)
{
	const char *texts[] = {row->domain, row->id, sts_mode_name(row->mode), row->mx};
	const time_t times[] = {row->fetched, row->expires, row->used};
	int code = sqlite3_bind_int64(statement, 5, row->max_age);

	for (int i = 0; i < 4 && code == SQLITE_OK; i++)
		code = sqlite3_bind_text(statement, i + 1, texts[i], -1, SQLITE_STATIC);
	for (int i = 0; i < 3 && code == SQLITE_OK; i++)
		code = sqlite3_bind_int64(statement, i + 6, times[i]);
	return code;
}

static int write_row(sqlite3_stmt *put, sqlite3_stmt *delete, const struct store_row *row)
{
	sqlite3_stmt *statement = row->is_delete ? delete : put;
	int code = row->is_delete ? sqlite3_bind_text(statement, 1, row->domain, -1, SQLITE_STATIC)
				  : bind_row(statement, row);

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	sqlite3_reset(statement);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int write_rows(sqlite3 *handle, const struct store_row *batch, size_t size)
{
	sqlite3_stmt *put = NULL, *delete = NULL;
	int code = sqlite3_prepare_v2(handle, insertion, -1, &put, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(
		    handle, "DELETE FROM policies WHERE domain = ?1", -1, &delete, NULL);
	for (size_t at = 0; at < size && code == SQLITE_OK;) {
		const struct store_row *row = (const void *)((const char *)batch + at);

		code = write_row(put, delete, row);
		at += row->size;
	}
	sqlite3_finalize(put);
	sqlite3_finalize(delete);
	return code;
}

enum store_result store_db_write(
    struct store_db *db, const struct store_row *batch, size_t size, char why[STORE_WHY])
{
	enum store_result result = store_db_run(db, "BEGIN IMMEDIATE", why);

	if (result != STORE_DONE)
		return result;
	result = store_db_explain(db, write_rows(db->handle, batch, size), why);
	if (result == STORE_DONE)
		result = store_db_run(db, "COMMIT", why);
	if (result != STORE_DONE)
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	return result;
}

const char *store_library_version(void) { return sqlite3_libversion(); }
