/*
 * store_writer.c - see store_writer.h.
 *
 * fsync() may take seconds on a disk that others keep busy, and SQLite calls it when it likes. The
 * writer is a child without exec: it holds nothing of its parent's but standard error, where a
 * failed allocation says its last words. Orders to stop go to the parent; the writer writes what it
 * was given first.
 */
#include "policy/store_writer.h"

#include "conf/child.h"
#include "conf/mem.h"
#include "policy/store_repair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the socket ---- */

static bool read_all(void *out, size_t len)
{
	char *at = out;

	while (len > 0) {
		ssize_t got = read(CHILD_SOCKET, at, len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		len -= (size_t)got;
	}
	return true;
}

static bool send_report(const struct store_report *report)
{
	const char *at = (const char *)report;
	size_t len = sizeof *report;

	while (len > 0) {
		ssize_t sent = send(CHILD_SOCKET, at, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		at += sent;
		len -= (size_t)sent;
	}
	return true;
}

/* ---- writing ---- */

static enum store_result try_write(
    const char *path, struct store_db **db, const void *batch, size_t size, char why[STORE_WHY])
{
	if (*db && store_db_is_moved(*db))
		store_db_close(db);
	enum store_result result = *db ? STORE_DONE : store_db_open(db, path, why);

	if (result == STORE_DONE)
		result = store_db_write(*db, batch, size, why);
	/* After an input/output error only a new connection can be relied on. */
	if (result == STORE_FAILED || result == STORE_DAMAGED)
		store_db_close(db);
	return result;
}

static void write_batch(const char *path, struct store_db **db, const void *batch, size_t size,
    struct store_report *report)
{
	memset(report, 0, sizeof *report);
	report->result = try_write(path, db, batch, size, report->why);
	if (report->result != STORE_DAMAGED)
		return;
	memcpy(report->repair, report->why, sizeof report->repair);
	report->result = store_repair(path, report->repair);
	report->has_repaired = report->result == STORE_DONE;
	if (report->has_repaired)
		report->result = try_write(path, db, batch, size, report->why);
	else
		memcpy(report->why, report->repair, sizeof report->why);
}

static void serve(const char *path)
{
	void *batch = mem_alloc(STORE_BATCH_MAX);
	struct store_db *db = NULL;
	struct store_batch_head head;
	struct store_report report;

	while (read_all(&head, sizeof head) && head.size <= STORE_BATCH_MAX &&
	       read_all(batch, (size_t)head.size)) {
		write_batch(path, &db, batch, (size_t)head.size, &report);
		if (!send_report(&report))
			break;
	}
	store_db_close(&db);
	free(batch);
}

pid_t store_writer_start(const char *path, int *fd)
{
	return child_start("danelaw-store", serve, path, -1, fd);
}
