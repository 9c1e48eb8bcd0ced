/*
 * spool_index.c - see spool_index.h: opening, checking, transactions, statements.
 *
 * synchronous FULL: what COMMIT has returned for is on the disk. The write-ahead log lets an
 * operator look while danelaw writes. Each message has a row with all that never changes, as text
 * (spool_text.h), and each recipient one with what became of it; columns beside the texts are what
 * is searched for or changed by orders, and count where a text says otherwise.
 */
#include "proxy/spool/spool_index_internal.h"

#include "conf/mem.h"
#include "proxy/spool/spool_file.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1, PATIENCE = 5000 /* ms */ };

/* SQLite keeps these texts as they are, so that a damaged definition can be told from ours. In
 * order of their names. */
static const char *const schema[] = {
    "CREATE TABLE messages (id TEXT PRIMARY KEY, due INTEGER, touched INTEGER, head TEXT, "
    "checksum INTEGER) WITHOUT ROWID",
    "CREATE INDEX messages_due ON messages (due)",
    "CREATE INDEX messages_touched ON messages (touched)",
    "CREATE TABLE recipients (message TEXT, number INTEGER, domain TEXT, next_try INTEGER, "
    "must_bounce INTEGER, state TEXT, checksum INTEGER, PRIMARY KEY (message, number)) "
    "WITHOUT ROWID",
    "CREATE TABLE remembered (digest BLOB PRIMARY KEY, until INTEGER) WITHOUT ROWID",
    "CREATE INDEX remembered_until ON remembered (until)",
};
enum { SCHEMA = sizeof schema / sizeof *schema };

static const char prologue[] = "PRAGMA synchronous = FULL;"
			       "PRAGMA cell_size_check = ON;"
			       "PRAGMA trusted_schema = OFF;"
			       "PRAGMA temp_store = MEMORY;";

/* ---- errors ---- */

static enum spool_result judge(int code)
{
	if (code == SQLITE_IOERR_SHORT_READ)
		return SPOOL_DAMAGED;
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return SPOOL_DONE;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return SPOOL_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* our statements are constant: the tables are not ours any more */
		return SPOOL_DAMAGED;
	default:
		return SPOOL_FAILED;
	}
}

static enum spool_result refuse(enum spool_result result, const char *what, char why[SPOOL_WHY])
{
	snprintf(why, SPOOL_WHY, "%s", what);
	return result;
}

enum spool_result spool_index_explain(struct spool_index *index, int code, char why[SPOOL_WHY])
{
	enum spool_result result = judge(code);

	if (result != SPOOL_DONE)
		refuse(result, index->handle ? sqlite3_errmsg(index->handle) : sqlite3_errstr(code),
		    why);
	return result;
}

/* ---- statements ---- */

static int bind(sqlite3_stmt *statement, const char *types, va_list args)
{
	int code = SQLITE_OK;

	for (int i = 1; *types && code == SQLITE_OK; i++, types++) {
		if (*types == 'i')
			code = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
		else if (*types == 't')
			code = sqlite3_bind_text(
			    statement, i, va_arg(args, const char *), -1, SQLITE_STATIC);
		else
			code = sqlite3_bind_blob(statement, i, va_arg(args, const void *),
			    SPOOL_DIGEST_SIZE, SQLITE_STATIC);
	}
	return code;
}

int spool_index_prepare(
    struct spool_index *index, sqlite3_stmt **statement, const char *sql, const char *types, ...)
{
	int code = sqlite3_prepare_v2(index->handle, sql, -1, statement, NULL);
	va_list args;

	va_start(args, types);
	if (code == SQLITE_OK)
		code = bind(*statement, types, args);
	va_end(args);
	return code;
}

enum spool_result spool_index_run(
    struct spool_index *index, char why[SPOOL_WHY], const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(index->handle, sql, -1, &statement, NULL);
	va_list args;

	va_start(args, types);
	if (code == SQLITE_OK)
		code = bind(statement, types, args);
	va_end(args);
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	enum spool_result result = spool_index_explain(index, code, why);

	sqlite3_finalize(statement);
	return result;
}

/* The first column of the first row as text; NULL: no row. free() releases. */
static enum spool_result ask(
    struct spool_index *index, const char *sql, char **text, char why[SPOOL_WHY])
{
	sqlite3_stmt *statement = NULL;
	int code = spool_index_prepare(index, &statement, sql, "");

	*text = NULL;
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW && sqlite3_column_text(statement, 0))
		*text = mem_strdup((const char *)sqlite3_column_text(statement, 0));
	enum spool_result result = spool_index_explain(index, code, why);

	sqlite3_finalize(statement);
	return result;
}

/* Types and lengths count too: "a", "bc" is not "ab", "c". */
static void row_checksum(sqlite3_context *context, int count, sqlite3_value **values)
{
	uint64_t sum = SPOOL_SUM_START;

	for (int i = 0; i < count; i++) {
		int type = sqlite3_value_type(values[i]);
		const void *data = sqlite3_value_text(values[i]);
		int len = sqlite3_value_bytes(values[i]);

		sum = spool_sum(sum, &type, sizeof type);
		sum = spool_sum(sum, &len, sizeof len);
		sum = spool_sum(sum, data, (size_t)len);
	}
	sqlite3_result_int64(context, (sqlite3_int64)sum);
}

/* ---- transactions ---- */

enum spool_result spool_index_begin(struct spool_index *index, char why[SPOOL_WHY])
{
	return spool_index_run(index, why, "BEGIN IMMEDIATE", "");
}

enum spool_result spool_index_end(struct spool_index *index, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_run(index, why, "COMMIT", "");

	if (result != SPOOL_DONE)
		spool_index_undo(index);
	return result;
}

void spool_index_undo(struct spool_index *index)
{
	if (!sqlite3_get_autocommit(index->handle))
		sqlite3_exec(index->handle, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- opening ---- */

static void remember_file(struct spool_index *index)
{
	struct stat status;

	if (stat(index->path, &status) == 0) {
		index->device = status.st_dev;
		index->inode = status.st_ino;
	}
}

bool spool_index_is_moved(const struct spool_index *index)
{
	struct stat status;

	return stat(index->path, &status) < 0 || status.st_dev != index->device ||
	       status.st_ino != index->inode;
}

static enum spool_result connect_file(
    struct spool_index *index, const char *name, int flags, char why[SPOOL_WHY])
{
	int code = sqlite3_open_v2(name, &index->handle, flags, NULL);

	if (code != SQLITE_OK)
		return spool_index_explain(index, code, why);
	remember_file(index);
	sqlite3_extended_result_codes(index->handle, 1);
	sqlite3_busy_timeout(index->handle, PATIENCE); /* nobody waits here but who may */
	code = sqlite3_create_function(index->handle, "row_checksum", -1,
	    SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, row_checksum, NULL, NULL);
	return spool_index_explain(index, code, why);
}

static char *all_of_schema(void)
{
	char *all = mem_strdup("");

	for (size_t i = 0; i < SCHEMA; i++) {
		char *longer = mem_printf("%s%s;", all, schema[i]);

		free(all);
		all = longer;
	}
	return all;
}

/* A changed octet in page 1 can leave a file that opens, but is not ours any more. */
static enum spool_result judge_schema(const char *found, int version, char why[SPOOL_WHY])
{
	char *ours = all_of_schema();
	bool is_ours = strcmp(found, ours) == 0;

	free(ours);
	if (is_ours && version == FORMAT)
		return SPOOL_DONE;
	if (!is_ours && version > FORMAT)
		return refuse(SPOOL_FAILED, "a newer version of danelaw wrote it", why);
	return refuse(SPOOL_DAMAGED, "its tables are not those that danelaw made", why);
}

/* Both questions in one transaction: another process may make the tables between them. */
static enum spool_result verify_schema(struct spool_index *index, bool *is_new, char why[SPOOL_WHY])
{
	char *found = NULL, *version = NULL;
	enum spool_result result = spool_index_run(index, why, "BEGIN", "");

	if (result == SPOOL_DONE)
		result = ask(index,
		    "SELECT group_concat(sql || ';', '') FROM (SELECT sql FROM sqlite_master"
		    " WHERE sql IS NOT NULL ORDER BY name)",
		    &found, why);
	if (result == SPOOL_DONE)
		result = ask(index, "PRAGMA user_version", &version, why);
	spool_index_undo(index);
	*is_new = result == SPOOL_DONE && !found && version && strcmp(version, "0") == 0;
	if (result == SPOOL_DONE && !*is_new)
		/* NOLINTNEXTLINE(cert-err34-c): no number is 0, and that no version of ours */
		result = judge_schema(found ? found : "", version ? atoi(version) : 0, why);
	free(found);
	free(version);
	return result;
}

static enum spool_result make_schema(struct spool_index *index, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_run(index, why, "PRAGMA journal_mode = WAL", "");

	if (result == SPOOL_DONE)
		result = spool_index_begin(index, why);
	for (size_t i = 0; i < SCHEMA && result == SPOOL_DONE; i++)
		result = spool_index_run(index, why, schema[i], "");
	if (result == SPOOL_DONE)
		result = spool_index_run(index, why, "PRAGMA user_version = 1", "");
	if (result == SPOOL_DONE)
		return spool_index_end(index, why);
	spool_index_undo(index);
	return result;
}

/* The header holds "written by a newer SQLite, read only" as well; a permission it is not then. */
static enum spool_result verify_writable(struct spool_index *index, char why[SPOOL_WHY])
{
	if (sqlite3_db_readonly(index->handle, "main") != 1)
		return SPOOL_DONE;
	return access(index->path, W_OK) == 0 ? refuse(SPOOL_DAMAGED, "its header is damaged", why)
					      : refuse(SPOOL_FAILED, "it cannot be written", why);
}

static enum spool_result prepare(
    struct spool_index *index, enum spool_mode mode, char why[SPOOL_WHY])
{
	bool is_new = false;
	enum spool_result result = spool_index_explain(
	    index, sqlite3_exec(index->handle, prologue, NULL, NULL, NULL), why);

	if (result == SPOOL_DONE)
		result = verify_schema(index, &is_new, why);
	if (result == SPOOL_DONE && is_new)
		result = mode == SPOOL_MAKE ? make_schema(index, why)
					    : refuse(SPOOL_ABSENT, "it is empty", why);
	if (result == SPOOL_DONE && mode != SPOOL_READ)
		result = verify_writable(index, why);
	return result;
}

/* Who has no right to make the files beside it cannot read it but by promising that nobody writes.
 */
static enum spool_result connect_reader(struct spool_index *index, char why[SPOOL_WHY])
{
	enum spool_result result = connect_file(index, index->path, SQLITE_OPEN_READONLY, why);
	char *found, *uri;

	if (result == SPOOL_DONE)
		result = ask(index, "PRAGMA user_version", &found, why);
	else
		found = NULL;
	free(found);
	if (result != SPOOL_FAILED)
		return result;
	sqlite3_close(index->handle);
	uri = mem_printf("file:%s?immutable=1", index->path);
	result = connect_file(index, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, why);
	free(uri);
	return result;
}

static enum spool_result connect_writer(
    struct spool_index *index, enum spool_mode mode, char why[SPOOL_WHY])
{
	return connect_file(index, index->path,
	    SQLITE_OPEN_READWRITE | (mode == SPOOL_MAKE ? SQLITE_OPEN_CREATE : 0), why);
}

enum spool_result spool_index_open(
    struct spool_index **index, const char *directory, enum spool_mode mode, char why[SPOOL_WHY])
{
	struct spool_index *new = mem_zero(1, sizeof *new);
	enum spool_result result;

	new->path = mem_printf("%s/index.sqlite", directory);
	if (mode != SPOOL_MAKE && access(new->path, F_OK) < 0)
		result =
		    refuse(errno == ENOENT ? SPOOL_ABSENT : SPOOL_FAILED, strerror(errno), why);
	else
		result =
		    mode == SPOOL_READ ? connect_reader(new, why) : connect_writer(new, mode, why);
	if (result == SPOOL_DONE)
		result = prepare(new, mode, why);
	if (result != SPOOL_DONE)
		spool_index_close(&new);
	*index = new;
	return result;
}

void spool_index_close(struct spool_index **index)
{
	if (!*index)
		return;
	sqlite3_close((*index)->handle);
	free((*index)->path);
	free(*index);
	*index = NULL;
}

/* A recipient whose row names no message belongs to one that would never know. */
static enum spool_result check_owners(struct spool_index *index, char why[SPOOL_WHY])
{
	char *stray;
	enum spool_result result = ask(index,
	    "SELECT message FROM recipients WHERE message NOT IN (SELECT id FROM messages) LIMIT 1",
	    &stray, why);

	if (result == SPOOL_DONE && stray)
		result = refuse(SPOOL_DAMAGED, "a recipient has lost its message", why);
	free(stray);
	return result;
}

enum spool_result spool_index_check(struct spool_index *index, char why[SPOOL_WHY])
{
	char *verdict;
	enum spool_result result = ask(index, "PRAGMA integrity_check(1)", &verdict, why);

	if (result == SPOOL_DONE && (!verdict || strcmp(verdict, "ok") != 0))
		result = refuse(SPOOL_DAMAGED, verdict ? verdict : "it cannot be checked", why);
	free(verdict);
	return result == SPOOL_DONE ? check_owners(index, why) : result;
}

int64_t spool_index_version(struct spool_index *index)
{
	char why[SPOOL_WHY], *version;
	int64_t number = 0;

	if (ask(index, "PRAGMA data_version", &version, why) == SPOOL_DONE && version)
		number = atoll(version); /* NOLINT(cert-err34-c): SQLite's own number */
	free(version);
	return number;
}
