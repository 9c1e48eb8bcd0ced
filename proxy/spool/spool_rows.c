/*
 * spool_rows.c - see spool_index.h: the messages and recipients in the index, written and read.
 */
#include "proxy/spool/spool_index_internal.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "proxy/spool/spool_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A row written later than this from now on comes from a clock that was wrong: its times say
 * nothing, and what waits on them might wait for years. */
enum { CLOCK_SLACK = 300 };

/* Seconds since their arrival in which messages count as the latest. */
enum { LATEST = 900 };

static enum spool_result refuse(enum spool_result result, const char *what, char why[SPOOL_WHY])
{
	snprintf(why, SPOOL_WHY, "%s", what);
	return result;
}

/* ---- writing ---- */

/* After a change of its recipients: when the message is due. */
static enum spool_result refresh(struct spool_index *index, const char *id, char why[SPOOL_WHY])
{
	return spool_index_run(index, why,
	    "UPDATE messages SET due = first, touched = ?2,"
	    " checksum = row_checksum(id, first, ?2, head)"
	    " FROM (SELECT min(next_try) AS first FROM recipients WHERE message = ?1)"
	    " WHERE id = ?1",
	    "ti", id, (int64_t)clock_wall());
}

static enum spool_result put_recipient(struct spool_index *index, const char *id,
    const struct spool_recipient *recipient, char why[SPOOL_WHY])
{
	char *state = spool_text_of_recipient(recipient);
	enum spool_result result = spool_index_run(index, why,
	    "INSERT INTO recipients VALUES"
	    " (?1, ?2, ?3, ?4, ?5, ?6, row_checksum(?1, ?2, ?3, ?4, ?5, ?6))",
	    "titiit", id, (int64_t)recipient->number, recipient->domain,
	    (int64_t)recipient->next_try, (int64_t)recipient->must_bounce, state);

	free(state);
	return result;
}

enum spool_result spool_index_put(
    struct spool_index *index, const struct spool_message *message, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_has(index, message->id, why);
	char *head;

	if (result != SPOOL_ABSENT)
		return result;
	head = spool_text_of_head(message);
	result = spool_index_run(
	    index, why, "INSERT INTO messages VALUES (?1, 0, 0, ?2, 0)", "tt", message->id, head);
	free(head);
	for (size_t i = 0; i < message->count && result == SPOOL_DONE; i++)
		result = put_recipient(index, message->id, &message->recipients[i], why);
	return result == SPOOL_DONE ? refresh(index, message->id, why) : result;
}

static enum spool_result drop_recipient(struct spool_index *index, const char *id,
    const struct spool_recipient *recipient, char why[SPOOL_WHY])
{
	return spool_index_run(index, why,
	    "DELETE FROM recipients WHERE message = ?1 AND number = ?2", "ti", id,
	    (int64_t)recipient->number);
}

#define NEXT   "CASE WHEN must_bounce AND NOT ?4 THEN 0 ELSE ?3 END"
#define BOUNCE "max(must_bounce, ?4)"

static enum spool_result update_recipient(struct spool_index *index, const char *id,
    const struct spool_recipient *recipient, char why[SPOOL_WHY])
{
	char *state = spool_text_of_recipient(recipient);
	enum spool_result result = spool_index_run(index, why,
	    "UPDATE recipients SET next_try = " NEXT ", must_bounce = " BOUNCE ", state = ?5,"
	    " checksum = row_checksum(message, number, domain, " NEXT ", " BOUNCE ", ?5)"
	    " WHERE message = ?1 AND number = ?2",
	    "tiiit", id, (int64_t)recipient->number, (int64_t)recipient->next_try,
	    (int64_t)recipient->must_bounce, state);

	free(state);
	return result;
}

/* The row of a message without recipients leaves, and then nothing is left. */
static enum spool_result drop_if_empty(
    struct spool_index *index, const char *id, bool *is_gone, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_run(index, why,
	    "DELETE FROM messages WHERE id = ?1"
	    " AND NOT EXISTS (SELECT 1 FROM recipients WHERE message = ?1)",
	    "t", id);

	if (result == SPOOL_DONE)
		result = spool_index_has(index, id, why);
	*is_gone = result == SPOOL_ABSENT;
	return *is_gone ? SPOOL_DONE : result;
}

static enum spool_result settle_rows(struct spool_index *index, const struct spool_message *message,
    bool *is_gone, char why[SPOOL_WHY])
{
	enum spool_result result = SPOOL_DONE;

	for (size_t i = 0; i < message->count && result == SPOOL_DONE; i++) {
		const struct spool_recipient *r = &message->recipients[i];

		result = r->is_done ? drop_recipient(index, message->id, r, why)
				    : update_recipient(index, message->id, r, why);
	}
	if (result == SPOOL_DONE)
		result = drop_if_empty(index, message->id, is_gone, why);
	if (result == SPOOL_DONE && !*is_gone)
		result = refresh(index, message->id, why);
	return result;
}

/* Without a row nobody knows who else is to get it: its file says whether it is to be taken up
 * again. */
enum spool_result spool_index_settle(struct spool_index *index, const struct spool_message *message,
    bool *is_gone, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_has(index, message->id, why);

	*is_gone = false;
	if (result == SPOOL_DONE)
		return settle_rows(index, message, is_gone, why);
	return result == SPOOL_ABSENT ? SPOOL_DONE : result;
}

enum spool_result spool_index_remove(struct spool_index *index, const char *id, char why[SPOOL_WHY])
{
	enum spool_result result =
	    spool_index_run(index, why, "DELETE FROM recipients WHERE message = ?1", "t", id);

	return result == SPOOL_DONE
		   ? spool_index_run(index, why, "DELETE FROM messages WHERE id = ?1", "t", id)
		   : result;
}

/* ---- reading ---- */

enum spool_result spool_index_has(struct spool_index *index, const char *id, char why[SPOOL_WHY])
{
	sqlite3_stmt *statement = NULL;
	int code =
	    spool_index_prepare(index, &statement, "SELECT 1 FROM messages WHERE id = ?1", "t", id);

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	enum spool_result result = spool_index_explain(index, code, why);

	sqlite3_finalize(statement);
	return code == SQLITE_DONE ? refuse(SPOOL_ABSENT, "no such message", why) : result;
}

static const char *text_of(sqlite3_stmt *statement, int column)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);

	return text ? text : "";
}

/* NULL: SPOOL_ABSENT or SPOOL_DAMAGED, or it could not be read. */
static enum spool_result read_head(
    struct spool_index *index, const char *id, struct spool_message **message, char why[SPOOL_WHY])
{
	sqlite3_stmt *statement = NULL;
	int code = spool_index_prepare(index, &statement,
	    "SELECT head, checksum IS " MESSAGE_SUM " FROM messages WHERE id = ?1", "t", id);

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	enum spool_result result = spool_index_explain(index, code, why);

	if (code == SQLITE_ROW && sqlite3_column_int(statement, 1))
		*message = spool_text_read(
		    text_of(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
	if (*message && strcmp((*message)->id, id) != 0)
		spool_message_free(message);
	if (code == SQLITE_ROW && !*message)
		result = refuse(SPOOL_DAMAGED, "its row in the index is damaged", why);
	else if (code == SQLITE_DONE)
		result = refuse(SPOOL_ABSENT, "no such message", why);
	sqlite3_finalize(statement);
	return result;
}

/* The columns count, not what the text says of the same. */
static bool add_recipient(struct spool_message *message, sqlite3_stmt *statement)
{
	if (!sqlite3_column_int(statement, 4) ||
	    !spool_text_add_recipient(
		message, text_of(statement, 3), (size_t)sqlite3_column_bytes(statement, 3)))
		return false;
	struct spool_recipient *r = &message->recipients[message->count - 1];

	r->number = (unsigned)sqlite3_column_int64(statement, 0);
	r->next_try = sqlite3_column_int64(statement, 1);
	r->must_bounce = sqlite3_column_int(statement, 2) != 0;
	return true;
}

enum spool_result spool_index_add_sound(
    struct spool_index *index, struct spool_message *message, size_t *damaged, char why[SPOOL_WHY])
{
	sqlite3_stmt *statement = NULL;
	int code = spool_index_prepare(index, &statement,
	    "SELECT number, next_try, must_bounce, state, checksum IS " RECIPIENT_SUM
	    " FROM recipients WHERE message = ?1 ORDER BY number",
	    "t", message->id);

	*damaged = 0;
	if (code == SQLITE_OK)
		while ((code = sqlite3_step(statement)) == SQLITE_ROW)
			*damaged += !add_recipient(message, statement);
	enum spool_result result = spool_index_explain(index, code, why);

	sqlite3_finalize(statement);
	return result;
}

static enum spool_result read_recipients(
    struct spool_index *index, struct spool_message *message, char why[SPOOL_WHY])
{
	size_t damaged;
	enum spool_result result = spool_index_add_sound(index, message, &damaged, why);

	if (result == SPOOL_DONE && damaged > 0)
		return refuse(SPOOL_DAMAGED, "the row of one of its recipients is damaged", why);
	if (result == SPOOL_DONE && message->count == 0)
		return refuse(SPOOL_DAMAGED, "it has lost its recipients", why);
	return result;
}

enum spool_result spool_index_get(
    struct spool_index *index, const char *id, struct spool_message **message, char why[SPOOL_WHY])
{
	enum spool_result result;

	*message = NULL;
	result = read_head(index, id, message, why);
	if (*message)
		result = read_recipients(index, *message, why);
	if (result != SPOOL_DONE)
		spool_message_free(message);
	return result;
}

static enum spool_result give_one(
    struct spool_index *index, const char *id, spool_index_fn *each, void *arg, char why[SPOOL_WHY])
{
	struct spool_message *message;
	enum spool_result result = spool_index_get(index, id, &message, why);

	if (result == SPOOL_DONE || result == SPOOL_DAMAGED)
		each(id, message, arg);
	spool_message_free(&message);
	return result == SPOOL_DAMAGED ? SPOOL_DONE : result;
}

static enum spool_result give_all(
    struct spool_index *index, spool_index_fn *each, void *arg, char why[SPOOL_WHY])
{
	sqlite3_stmt *statement = NULL;
	enum spool_result given = SPOOL_DONE;
	int code =
	    spool_index_prepare(index, &statement, "SELECT id FROM messages ORDER BY id", "");

	if (code == SQLITE_OK)
		while (given == SPOOL_DONE && (code = sqlite3_step(statement)) == SQLITE_ROW)
			given = give_one(index, text_of(statement, 0), each, arg, why);
	enum spool_result result =
	    given == SPOOL_DONE ? spool_index_explain(index, code, why) : given;

	sqlite3_finalize(statement);
	return result;
}

/* All of one moment, whatever others write meanwhile. */
enum spool_result spool_index_each(
    struct spool_index *index, spool_index_fn *each, void *arg, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_run(index, why, "BEGIN", "");

	if (result == SPOOL_DONE)
		result = give_all(index, each, arg, why);
	spool_index_undo(index);
	return result;
}

enum spool_result spool_index_count(struct spool_index *index, size_t *count, char why[SPOOL_WHY])
{
	sqlite3_stmt *statement = NULL;
	int code = spool_index_prepare(index, &statement, "SELECT count(*) FROM messages", "");

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW)
		*count = (size_t)sqlite3_column_int64(statement, 0);
	enum spool_result result = spool_index_explain(index, code, why);

	sqlite3_finalize(statement);
	return result;
}

/* ---- what is due ---- */

static bool is_new(const struct spool_due *due, const char *id)
{
	for (size_t i = 0; i < due->count; i++)
		if (strcmp(due->ids[i], id) == 0)
			return false;
	return !due->is_taken(id, due->arg);
}

/* One row of those in question; false: the answer is complete. */
static bool consider(struct spool_due *due, const char *id, time_t when)
{
	if (!is_new(due, id))
		return true;
	if (when > due->now || due->count == due->max) {
		due->next = when > 0 ? when : 1; /* 0 says none */
		return false;
	}
	snprintf(due->ids[due->count++], SPOOL_ID_SIZE, "%s", id);
	return true;
}

/* The statement may ask for what counts as future. */
static enum spool_result walk(struct spool_index *index, const char *sql, const char *types,
    struct spool_due *due, char why[SPOOL_WHY])
{
	sqlite3_stmt *statement = NULL;
	int64_t future = (int64_t)due->now + CLOCK_SLACK;
	bool go_on = true;
	int code = spool_index_prepare(index, &statement, sql, types, future);

	if (code == SQLITE_OK)
		while (go_on && (code = sqlite3_step(statement)) == SQLITE_ROW)
			go_on = consider(
			    due, text_of(statement, 0), sqlite3_column_int64(statement, 1));
	enum spool_result result = spool_index_explain(index, code, why);

	sqlite3_finalize(statement);
	return result;
}

/* An id begins with the time of arrival. Those that were tried already and wait are passed by. */
static enum spool_result walk_latest(
    struct spool_index *index, struct spool_due *due, char why[SPOOL_WHY])
{
	char least[SPOOL_ID_SIZE];
	sqlite3_stmt *statement = NULL;
	int code;

	snprintf(least, sizeof least, "%014llx", ((unsigned long long)due->now - LATEST) * 1000000);
	code = spool_index_prepare(index, &statement,
	    "SELECT id FROM messages WHERE id > ?1 AND due <= ?2 ORDER BY id DESC", "ti", least,
	    (int64_t)due->now);
	if (code == SQLITE_OK)
		while (due->count < due->max && (code = sqlite3_step(statement)) == SQLITE_ROW)
			consider(due, text_of(statement, 0), 1);
	enum spool_result result = spool_index_explain(index, code, why);

	sqlite3_finalize(statement);
	return result;
}

enum spool_result spool_index_due(
    struct spool_index *index, struct spool_due *due, char why[SPOOL_WHY])
{
	enum spool_result result;

	due->count = 0;
	due->next = 0;
	if (due->order == SPOOL_LATEST) {
		result = walk_latest(index, due, why);
		due->max = due->count; /* what follows says when another one will be */
		if (result != SPOOL_DONE)
			return result;
	}
	result = walk(index, "SELECT id, 1 FROM messages WHERE touched > ?1", "i", due, why);
	if (result == SPOOL_DONE && !due->next)
		result = walk(index, "SELECT id, due FROM messages ORDER BY due", "", due, why);
	return result;
}

/* ---- people ---- */

static void dump_rows(struct spool_index *index, FILE *out, const char *sql, const char *id)
{
	sqlite3_stmt *statement = NULL;

	if (spool_index_prepare(index, &statement, sql, "t", id) == SQLITE_OK)
		while (sqlite3_step(statement) == SQLITE_ROW)
			fprintf(out, "%s\n", text_of(statement, 0));
	sqlite3_finalize(statement);
}

char *spool_index_dump(struct spool_index *index, const char *id)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return mem_strdup("");
	dump_rows(index, out, "SELECT head FROM messages WHERE id = ?1", id);
	dump_rows(
	    index, out, "SELECT state FROM recipients WHERE message = ?1 ORDER BY number", id);
	if (fclose(out) == 0)
		return text;
	free(text);
	return mem_strdup("");
}
