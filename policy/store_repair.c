/*
 * store_repair.c - see store_repair.h.
 *
 * Page 1 holds the header and the table's definition, and a changed octet there hides all entries
 * at once. Both are always the same, so that page 1 of a new file can take its place. Called by
 * store.c at start and by store_writer.c.
 */
#include "policy/store_repair.h"

#include "conf/aside.h"
#include "conf/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE_IN_PAGES = 28, SIZE_LEN = 4 }; /* places in the header */

enum { BATCH_MAX = 256 * 1024, BUSY_TRIES = 100 };

static bool is_at(int fd, const char *path)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_dev == there.st_dev &&
	       ours.st_ino == there.st_ino;
}

/* ---- copying ---- */

struct copy {
	struct store_db *to;
	size_t size;
	char batch[BATCH_MAX];
};

/* Another process may write into the new file already. */
static void flush(struct copy *copy)
{
	static const struct timespec pause = {.tv_nsec = 10L * 1000 * 1000};
	char why[STORE_WHY];

	for (int tries = 0; copy->size > 0 && tries < BUSY_TRIES; tries++) {
		if (store_db_write(copy->to, (const void *)copy->batch, copy->size, why) !=
		    STORE_BUSY)
			copy->size = 0;
		else
			nanosleep(&pause, NULL);
	}
	copy->size = 0;
}

static void copy_row(const struct store_row *row, bool is_sound, void *arg)
{
	struct copy *copy = arg;

	if (!is_sound)
		return;
	if (copy->size + row->size > BATCH_MAX)
		flush(copy);
	memcpy(copy->batch + copy->size, row, row->size);
	copy->size += row->size;
}

/* As a file just made has it, but for its size, which SQLite then takes from the file itself. */
static bool read_first_page(const char *path, unsigned char page[PAGE])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool got = fd >= 0 && read(fd, page, PAGE) == PAGE;

	if (fd >= 0)
		close(fd);
	memset(page + SIZE_IN_PAGES, 0, SIZE_LEN);
	return got;
}

static bool replace_first_page(const char *path, const unsigned char page[PAGE])
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && pwrite(fd, page, PAGE, 0) == PAGE;

	if (fd >= 0)
		close(fd);
	return done;
}

static void copy_rows(const char *aside, struct store_db *fresh, const unsigned char page[PAGE])
{
	struct copy *copy = mem_alloc(sizeof *copy);

	copy->to = fresh;
	copy->size = 0;
	if (!store_db_salvage(aside, copy_row, copy) && replace_first_page(aside, page))
		store_db_salvage(aside, copy_row, copy);
	flush(copy);
	free(copy);
}

static void count_row(const struct store_row *row, bool is_sound, void *arg)
{
	(void)row;
	*(size_t *)arg += is_sound;
}

/* Closed in between: the first page is in the file, not in the log, once the last one leaves. */
static enum store_result make_new(
    const char *path, const char *aside, size_t *count, char why[STORE_WHY])
{
	unsigned char page[PAGE];
	struct store_db *db;
	enum store_result result = store_db_open(&db, path, why);

	store_db_close(&db);
	if (result == STORE_DONE && read_first_page(path, page))
		result = store_db_open(&db, path, why);
	if (!db)
		return result;
	copy_rows(aside, db, page);
	result = store_db_read(db, count_row, count, why);
	store_db_close(&db);
	return result;
}

static enum store_result replace(const char *path, char why[STORE_WHY])
{
	char *aside = aside_name(path);
	char fault[STORE_WHY / 4];
	size_t count = 0;
	enum store_result result = STORE_FAILED;

	snprintf(fault, sizeof fault, "%s", why);
	if (aside_move(path, aside))
		result = make_new(path, aside, &count, why);
	else
		snprintf(why, STORE_WHY, "a damaged file (%s) cannot be set aside: %s", fault,
		    strerror(errno));
	if (result == STORE_DONE)
		snprintf(why, STORE_WHY,
		    "was damaged (%s): set aside as %.96s, %zu entries were saved", fault,
		    strrchr(aside, '/') + 1, count);
	free(aside);
	return result;
}

enum store_result store_repair(const char *path, char why[STORE_WHY])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum store_result result;

	if (fd < 0 && errno != ENOENT) {
		snprintf(why, STORE_WHY, "%s", strerror(errno));
		return STORE_FAILED;
	}
	if (fd >= 0)
		flock(fd, LOCK_EX);
	if (fd >= 0 && is_at(fd, path)) {
		result = replace(path, why);
	} else {
		snprintf(why, STORE_WHY, "was damaged; another process repaired it");
		result = STORE_DONE;
	}
	if (fd >= 0)
		close(fd);
	return result;
}
