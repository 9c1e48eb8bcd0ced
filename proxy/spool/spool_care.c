/*
 * spool_care.c - see spool_care.h.
 *
 * A file without a row and without its writer's lock tells by its mark (spool_file.h) what it is: a
 * message that we answer for and the index has lost is taken up again; one that is done, and a
 * draft, of which nobody was promised anything, go.
 */
#include "proxy/spool/spool_care.h"

#include "conf/aside.h"
#include "conf/clock.h"
#include "conf/mem.h"
#include "proxy/spool/spool_dir.h"
#include "proxy/spool/spool_text.h"

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

/* ---- the index ---- */

static enum spool_result set_index_aside(struct spool_care *care, char why[SPOOL_WHY])
{
	char *path = mem_printf("%s/index.sqlite", care->directory);
	char *aside = aside_name(path);
	bool moved = aside_move(path, aside) && spool_dir_sync(care->directory);

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

static enum spool_result open_checked(struct spool_care *care, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_open(&care->index, care->directory, SPOOL_MAKE, why);

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
	spool_index_close(&care->index);
	enum spool_result result = set_index_aside(care, why);

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

/* ---- one message ---- */

/* NULL: the file cannot say all that it should. */
static struct spool_message *read_whole(
    struct spool_care *care, const char *id, bool *is_damaged, char why[SPOOL_WHY])
{
	struct spool_file file;
	struct spool_message *message = spool_dir_read(care->directory, id, &file, is_damaged, why);

	if (!message ||
	    (message->count > 0 && spool_dir_check_body(care->directory, message, &file)))
		return message;
	snprintf(why, SPOOL_WHY, "its body is damaged");
	*is_damaged = true;
	spool_message_free(&message);
	return NULL;
}

static enum spool_result salvage(
    struct spool_care *care, const struct spool_message *message, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_begin(care->index, why);

	if (result == SPOOL_DONE)
		result = spool_index_salvage(care->index, message, why);
	if (result == SPOOL_DONE)
		return spool_index_end(care->index, why);
	spool_index_undo(care->index);
	return result;
}

bool spool_care_mend(struct spool_care *care, const char *id, const char *reason)
{
	char why[SPOOL_WHY];
	bool is_damaged;
	struct spool_message *message = read_whole(care, id, &is_damaged, why);
	bool done = message && salvage(care, message, why) == SPOOL_DONE;

	if (done)
		tell(care, LOG_LEVEL_ERROR,
		    "spool: message %s is damaged in the index (%s): made again from its file; "
		    "some of its recipients may get it twice",
		    id, reason);
	spool_message_free(&message);
	return done;
}

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
	size_t suspects;          /* no row, and no lock */
	size_t removed, taken_up; /* drafts, messages */
	bool has_failed;          /* the index: nothing of the taken up is stored */
};

static bool remove_file(const struct sweep *sweep, const char *id)
{
	char *path = mem_printf("%s/%s", sweep->care->directory, id);
	bool done = unlink(path) == 0;

	free(path);
	return done;
}

static void set_file_aside(struct sweep *sweep, const char *id, const char *reason)
{
	char why[SPOOL_WHY];

	if (spool_dir_set_aside(sweep->care->directory, id, reason, why))
		tell(sweep->care, LOG_LEVEL_ERROR,
		    "spool: message %s cannot be taken up again (%s): set aside as %s/damaged/%s",
		    id, reason, sweep->care->directory, id);
}

/* To all that it was accepted for: who has it already is not known any more. */
static void put_again(struct sweep *sweep, struct spool_message *message)
{
	char why[SPOOL_WHY];

	for (size_t i = 0; i < message->count; i++)
		message->recipients[i].number = SPOOL_NUMBER_AGAIN + (unsigned)i;
	if (spool_index_put(sweep->care->index, message, why) == SPOOL_DONE)
		sweep->taken_up++;
	else
		sweep->has_failed = true;
}

/* One that cannot be read now is looked at again later. */
static void take_up(struct sweep *sweep, const char *id)
{
	char why[SPOOL_WHY];
	bool is_damaged;
	struct spool_message *message = read_whole(sweep->care, id, &is_damaged, why);

	if (message)
		put_again(sweep, message);
	else if (is_damaged)
		set_file_aside(sweep, id, why);
	spool_message_free(&message);
}

/* Within a transaction: a commit for this file by a process that is just ending comes before, and
 * is seen, or after, and finds no file. */
static void judge_file(struct sweep *sweep, const char *id)
{
	char why[SPOOL_WHY];
	struct spool_file file;
	bool is_damaged = false;

	if (spool_index_has(sweep->care->index, id, why) != SPOOL_ABSENT)
		return;
	if (!spool_dir_read_line(sweep->care->directory, id, &file, &is_damaged, why)) {
		if (is_damaged)
			set_file_aside(sweep, id, why);
	} else if (file.mark == SPOOL_MARK_PROMISED) {
		take_up(sweep, id);
	} else if (remove_file(sweep, id) && file.mark != SPOOL_MARK_DONE) {
		sweep->removed++;
	}
}

static void with_suspect(struct sweep *sweep, const char *id, spool_dir_fn *what)
{
	char why[SPOOL_WHY];
	int fd;

	if (spool_index_has(sweep->care->index, id, why) == SPOOL_ABSENT &&
	    (fd = spool_dir_open(sweep->care->directory, id, O_RDONLY)) >= 0) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			what(id, sweep);
		close(fd);
	}
}

static void count_suspect(const char *id, void *arg)
{
	(void)id;
	((struct sweep *)arg)->suspects++;
}

static void judge_suspect(const char *id, void *arg) { judge_file(arg, id); }

static void look_at(const char *id, void *arg) { with_suspect(arg, id, count_suspect); }

static void decide(const char *id, void *arg) { with_suspect(arg, id, judge_suspect); }

/* All in one transaction, so that thousands of messages are not thousands of waits. */
static void judge_all(struct sweep *sweep)
{
	char why[SPOOL_WHY];
	struct spool_index *index = sweep->care->index;

	if (spool_index_begin(index, why) != SPOOL_DONE)
		return;
	spool_dir_each(sweep->care->directory, decide, sweep);
	if (sweep->has_failed)
		spool_index_undo(index);
	if (sweep->has_failed || spool_index_end(index, why) != SPOOL_DONE)
		sweep->taken_up = 0;
}

static void tell_sweep(const struct sweep *sweep)
{
	if (sweep->taken_up > 0)
		tell(sweep->care, LOG_LEVEL_ERROR,
		    "spool: the index had lost mail: %zu messages were taken up again from their "
		    "files, to all of their recipients: some may arrive twice",
		    sweep->taken_up);
	if (sweep->removed > 0)
		tell(sweep->care, LOG_LEVEL_INFO,
		    "spool: %zu drafts of processes that ended were removed: nobody had been "
		    "promised anything",
		    sweep->removed);
}

void spool_care_sweep(struct spool_care *care, bool now)
{
	struct sweep sweep = {.care = care};

	if (!care->is_worker || !care->index ||
	    (!now && clock_steady() < care->swept + sweep_pause))
		return;
	care->swept = clock_steady();
	spool_dir_each(care->directory, look_at, &sweep);
	if (sweep.suspects > 0)
		judge_all(&sweep);
	tell_sweep(&sweep);
}
