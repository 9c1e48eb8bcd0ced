/*
 * spool_care.c - see spool_care.h.
 *
 * A file without a row is a draft, and its writer holds a lock on it; without the lock that writer
 * is dead, and nobody was promised anything: the file goes. But where the index was lost, such a
 * file may be a message that we answer for. Then a file `rescue` is made before anything else, and
 * until all are seen to, complete messages are taken up again.
 */
#include "proxy/spool_care.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "proxy/spool_dir.h"
#include "proxy/spool_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const double sweep_pause = 60;

/* Rows made again have numbers that none of the lost ones had: what is still being settled for a
 * lost row must not hit another recipient's. */
enum { RESCUE_NUMBER = 1000000000 };

static void tell(struct spool_care *care, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(struct spool_care *care, enum log_level level, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	care->tell(level, text);
}

/* ---- the mark of a lost index ---- */

static bool has_file(const struct spool_care *care, const char *name)
{
	char *path = mem_printf("%s/%s", care->directory, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static enum spool_result mark_rescue(struct spool_care *care, char why[SPOOL_WHY])
{
	char *path = mem_printf("%s/rescue", care->directory);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	bool done = fd >= 0 && spool_dir_sync(care->directory);

	if (!done)
		snprintf(why, SPOOL_WHY, "%.200s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(path);
	return done ? SPOOL_DONE : SPOOL_FAILED;
}

static void unmark_rescue(struct spool_care *care)
{
	char *path = mem_printf("%s/rescue", care->directory);

	unlink(path);
	free(path);
}

/* ---- the index ---- */

static bool move_with_suffix(const char *from, const char *to, const char *suffix)
{
	char *source = mem_printf("%s%s", from, suffix);
	char *target = mem_printf("%s%s", to, suffix);
	bool moved = rename(source, target) == 0 || (errno == ENOENT && suffix[0]);

	free(source);
	free(target);
	return moved;
}

static char *name_aside(const char *path)
{
	char stamp[32];
	time_t now = clock_wall();
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
	char *name = mem_printf("%s.damaged-%s", path, stamp);

	for (unsigned i = 2; access(name, F_OK) == 0; i++) {
		free(name);
		name = mem_printf("%s.damaged-%s.%u", path, stamp, i);
	}
	return name;
}

/* The index itself last: a log that stays behind would be applied to the new one. */
static enum spool_result set_index_aside(struct spool_care *care, char why[SPOOL_WHY])
{
	char *path = mem_printf("%s/index.sqlite", care->directory);
	char *aside = name_aside(path);
	bool moved = move_with_suffix(path, aside, "-wal") &&
		     move_with_suffix(path, aside, "-shm") && move_with_suffix(path, aside, "") &&
		     spool_dir_sync(care->directory);

	if (moved)
		tell(care, LOG_LEVEL_ERROR,
		    "spool: the index was damaged (%.200s): set aside as %s, and made again from "
		    "the message files",
		    why, aside);
	else
		snprintf(
		    why, SPOOL_WHY, "a damaged index cannot be set aside: %s", strerror(errno));
	free(path);
	free(aside);
	return moved ? SPOOL_DONE : SPOOL_FAILED;
}

static void note_file(const char *id, void *arg)
{
	(void)id;
	*(bool *)arg = true;
}

/* Before an index is made: files that are there already had another one. */
static enum spool_result prepare_new(struct spool_care *care, char why[SPOOL_WHY])
{
	bool has_messages = false;

	if (has_file(care, "index.sqlite") || has_file(care, "rescue"))
		return SPOOL_DONE;
	if (!spool_dir_each(care->directory, note_file, &has_messages)) {
		snprintf(why, SPOOL_WHY, "%.200s: %s", care->directory, strerror(errno));
		return SPOOL_FAILED;
	}
	if (!has_messages)
		return SPOOL_DONE;
	tell(care, LOG_LEVEL_ERROR,
	    "spool: the index %s/index.sqlite is lost, and made again from the message files",
	    care->directory);
	return mark_rescue(care, why);
}

static enum spool_result open_checked(struct spool_care *care, char why[SPOOL_WHY])
{
	enum spool_result result = prepare_new(care, why);

	if (result == SPOOL_DONE)
		result = spool_index_open(&care->index, care->directory, SPOOL_MAKE, why);
	if (result == SPOOL_DONE)
		result = spool_index_check(care->index, why);
	if (result == SPOOL_DONE && !spool_dir_sync(care->directory)) {
		snprintf(why, SPOOL_WHY, "%.200s: %s", care->directory, strerror(errno));
		result = SPOOL_FAILED;
	}
	if (result != SPOOL_DONE)
		spool_index_close(&care->index);
	return result;
}

static enum spool_result repair(struct spool_care *care, char why[SPOOL_WHY])
{
	char fault[SPOOL_WHY];
	enum spool_result result;

	memcpy(fault, why, sizeof fault);
	spool_index_close(&care->index);
	result = mark_rescue(care, why);
	if (result == SPOOL_DONE) {
		memcpy(why, fault, sizeof fault);
		result = set_index_aside(care, why);
	}
	return result == SPOOL_DONE ? open_checked(care, why) : result;
}

/* Others wait for who works the spool off: only he can tell a new spool from a lost index. */
enum spool_result spool_care_open(struct spool_care *care, char why[SPOOL_WHY])
{
	enum spool_result result;

	if (care->index && spool_index_is_moved(care->index))
		spool_index_close(&care->index);
	if (care->index)
		return SPOOL_DONE;
	if (!spool_dir_make(care->directory, why))
		return SPOOL_FAILED;
	if (!care->is_worker)
		return spool_index_open(&care->index, care->directory, SPOOL_CHANGE, why);
	result = open_checked(care, why);
	if (result == SPOOL_DAMAGED)
		result = repair(care, why);
	if (result == SPOOL_DONE)
		spool_care_sweep(care, true);
	return result;
}

/* After an input/output error only a new connection can be relied on. */
bool spool_care_after(struct spool_care *care, enum spool_result result, char why[SPOOL_WHY])
{
	if (result == SPOOL_FAILED || (result == SPOOL_DAMAGED && !care->is_worker))
		spool_index_close(&care->index);
	if (result != SPOOL_DAMAGED || !care->is_worker || repair(care, why) != SPOOL_DONE)
		return false;
	spool_care_sweep(care, true);
	return true;
}

/* ---- setting aside ---- */

static enum spool_result drop_row(struct spool_care *care, const char *id, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_begin(care->index, why);

	if (result == SPOOL_DONE)
		result = spool_index_remove(care->index, id, why);
	if (result == SPOOL_DONE)
		return spool_index_end(care->index, why);
	spool_index_undo(care->index);
	return result;
}

bool spool_care_set_aside(
    struct spool_care *care, const char *id, const char *reason, char why[SPOOL_WHY])
{
	char *rows = spool_index_dump(care->index, id);
	char *text = mem_printf("%s\n\nWhat the index says:\n%s", reason, rows);
	bool done = spool_dir_set_aside(care->directory, id, text, why) &&
		    drop_row(care, id, why) == SPOOL_DONE;

	if (done)
		tell(care, LOG_LEVEL_ERROR,
		    "spool: message %s is damaged (%s) and was not delivered to all its "
		    "recipients: set aside as %s/damaged/%s, and what is known of it as %s.txt",
		    id, reason, care->directory, id, id);
	free(rows);
	free(text);
	return done;
}

/* ---- files without a row ---- */

struct sweep {
	struct spool_care *care;
	bool is_rescue;
	size_t removed, taken_up, undone;
};

static void remove_file(struct sweep *sweep, const char *id)
{
	char *path = mem_printf("%s/%s", sweep->care->directory, id);

	if (unlink(path) == 0)
		sweep->removed++;
	free(path);
}

static bool set_file_aside(struct sweep *sweep, const char *id, const char *reason)
{
	char why[SPOOL_WHY];
	bool done = spool_dir_set_aside(sweep->care->directory, id, reason, why);

	if (done)
		tell(sweep->care, LOG_LEVEL_ERROR,
		    "spool: message %s cannot be taken up again (%s): set aside as %s/damaged/%s",
		    id, reason, sweep->care->directory, id);
	return done;
}

/* To all that it was accepted for: who has it already is not known any more. */
static bool put_again(struct sweep *sweep, struct spool_message *message)
{
	char why[SPOOL_WHY];

	for (size_t i = 0; i < message->count; i++)
		message->recipients[i].number = RESCUE_NUMBER + (unsigned)i;
	if (spool_index_put(sweep->care->index, message, why) != SPOOL_DONE)
		return false;
	sweep->taken_up++;
	return true;
}

/* false: it cannot be read or written now. */
static bool take_up(struct sweep *sweep, const char *id)
{
	char why[SPOOL_WHY];
	bool is_damaged = false, done = true;
	struct spool_file file;
	struct spool_message *message =
	    spool_dir_read(sweep->care->directory, id, &file, &is_damaged, why);

	if (message && !file.is_complete)
		remove_file(sweep, id);
	else if (message && message->count > 0 &&
		 spool_dir_check_body(sweep->care->directory, message, &file))
		done = put_again(sweep, message);
	else if (message || is_damaged)
		done = set_file_aside(sweep, id, message ? "its body is damaged" : why);
	else
		done = false;
	spool_message_free(&message);
	return done;
}

/*
 * Within a transaction: a commit for this file by a process that is just ending comes before, and
 * is seen, or after, and finds no file.
 */
static void judge_file(struct sweep *sweep, const char *id)
{
	char why[SPOOL_WHY];
	struct spool_index *index = sweep->care->index;

	if (!sweep->is_rescue && spool_index_begin(index, why) != SPOOL_DONE)
		return;
	if (spool_index_has(index, id, why) == SPOOL_ABSENT) {
		if (!sweep->is_rescue)
			remove_file(sweep, id);
		else if (!take_up(sweep, id))
			sweep->undone++;
	}
	if (!sweep->is_rescue)
		spool_index_undo(index);
}

/* A locked file may have been committed to the lost index, with its writer still to let go. */
static void sweep_file(const char *id, void *arg)
{
	struct sweep *sweep = arg;
	char why[SPOOL_WHY];
	char *path = mem_printf("%s/%s", sweep->care->directory, id);
	int fd;

	if (spool_index_has(sweep->care->index, id, why) == SPOOL_ABSENT &&
	    (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) >= 0) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			judge_file(sweep, id);
		else
			sweep->undone++;
		close(fd);
	}
	free(path);
}

/* All in one transaction, so that thousands of messages are not thousands of waits. */
static void rescue(struct sweep *sweep)
{
	char why[SPOOL_WHY];
	struct spool_index *index = sweep->care->index;

	if (spool_index_begin(index, why) != SPOOL_DONE)
		return;
	if (!spool_dir_each(sweep->care->directory, sweep_file, sweep))
		sweep->undone++;
	if (spool_index_end(index, why) != SPOOL_DONE)
		return;
	if (sweep->taken_up > 0)
		tell(sweep->care, LOG_LEVEL_ERROR,
		    "spool: %zu messages were taken up again from their files, to all of their "
		    "recipients: some may arrive twice",
		    sweep->taken_up);
	if (sweep->undone == 0)
		unmark_rescue(sweep->care);
}

void spool_care_sweep(struct spool_care *care, bool now)
{
	struct sweep sweep = {.care = care};

	if (!care->is_worker || !care->index ||
	    (!now && clock_steady() < care->swept + sweep_pause))
		return;
	care->swept = clock_steady();
	sweep.is_rescue = has_file(care, "rescue");
	if (sweep.is_rescue)
		rescue(&sweep);
	else
		spool_dir_each(care->directory, sweep_file, &sweep);
	if (sweep.removed > 0)
		tell(care, LOG_LEVEL_INFO,
		    "spool: %zu drafts of processes that ended were removed: nobody had been "
		    "promised anything",
		    sweep.removed);
}
