/*
 * spool_due.c - what the disk process gives out: messages that are due, each with a body that can
 * be read; what is damaged is mended from its file or set aside. Called by spool_disk.c.
 */
#include "proxy/spool/spool_disk_internal.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "proxy/spool/spool_dir.h"
#include "proxy/spool/spool_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DUE_MAX = 10000 };

static bool is_taken(const char *id, void *arg)
{
	const struct job *job = arg;

	return spool_wire_has_id(job->payload, job->request.size, id);
}

/* false: it is larger than what can be given. */
static bool give(struct job *job, const struct spool_message *message)
{
	struct spool_frame frame = {.word = SPOOL_DUE, .serial = job->request.serial};
	size_t len;
	char *text = spool_text_within(message, SPOOL_FRAME_MAX, &len);

	if (!text)
		return false;
	spool_disk_send(&frame, text, len);
	free(text);
	return true;
}

/* Its file is as the index says, and on its way into memory, as the loop will read it. */
static bool has_body(
    struct disk *disk, const struct spool_message *message, bool *is_damaged, char why[SPOOL_WHY])
{
	int fd = spool_dir_open_body(disk->care.directory, message, is_damaged, why);

	if (fd < 0)
		return false;
	posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
	close(fd);
	return true;
}

static void set_aside(struct disk *disk, const char *id, const char *reason)
{
	char text[SPOOL_WHY], why[SPOOL_WHY];

	snprintf(text, sizeof text, "%s", reason);
	if (spool_care_set_aside(&disk->care, id, text, why))
		return;
	snprintf(text, sizeof text,
	    "spool: message %s is damaged (%.80s) and cannot be set aside: "
	    "%.80s",
	    id, reason, why);
	spool_disk_tell(LOG_LEVEL_ERROR, text);
}

/* What the rows have lost is in the file. */
static void mend_or_set_aside(struct disk *disk, const char *id, const char *reason)
{
	if (!spool_care_mend(&disk->care, id, reason))
		set_aside(disk, id, reason);
}

/* One that cannot be read now is given, too: the runner puts it off, and others get their turn. */
static void give_one(struct disk *disk, struct job *job, const char *id)
{
	char why[SPOOL_WHY];
	struct spool_message *message;
	bool is_damaged = false, is_given = true;
	enum spool_result result = spool_index_get(disk->care.index, id, &message, why);

	if (result == SPOOL_DAMAGED)
		mend_or_set_aside(disk, id, why);
	else if (result == SPOOL_DONE && (has_body(disk, message, &is_damaged, why) || !is_damaged))
		is_given = give(job, message);
	if (is_damaged || !is_given)
		set_aside(disk, id, is_damaged ? why : "it is too large to be given out");
	spool_message_free(&message);
}

static enum spool_result look(struct disk *disk, struct job *job, char why[SPOOL_WHY])
{
	struct spool_due due = {.now = clock_wall(), .is_taken = is_taken, .arg = job};
	int64_t version = spool_index_version(disk->care.index);
	size_t count = 0;
	enum spool_result result = spool_index_count(disk->care.index, &count, why);

	job->reply.count = count;
	job->reply.is_changed = version != disk->version;
	disk->version = version;
	if (result != SPOOL_DONE || !disk->care.is_worker)
		return result;
	due.order = job->request.order;
	due.max = job->request.max < DUE_MAX ? job->request.max : DUE_MAX;
	due.ids = mem_zero(due.max, SPOOL_ID_SIZE);
	result = spool_index_due(disk->care.index, &due, why);
	for (size_t i = 0; i < due.count && result == SPOOL_DONE; i++)
		give_one(disk, job, due.ids[i]);
	free(due.ids);
	job->reply.next_due = due.next;
	return result;
}

/* A damaged row with a wrong time would wait for ever unseen. */
static void note_damaged(const char *id, const struct spool_message *message, void *arg)
{
	struct spool_due *damaged = arg;

	if (!message && damaged->count < damaged->max)
		snprintf(damaged->ids[damaged->count++], SPOOL_ID_SIZE, "%s", id);
}

static void check_rows(struct disk *disk)
{
	char why[SPOOL_WHY];
	struct spool_due damaged = {.max = DUE_MAX};

	damaged.ids = mem_zero(damaged.max, SPOOL_ID_SIZE);
	disk->must_check =
	    spool_index_each(disk->care.index, note_damaged, &damaged, why) != SPOOL_DONE;
	for (size_t i = 0; i < damaged.count; i++)
		mend_or_set_aside(disk, damaged.ids[i], "its rows in the index are damaged");
	free(damaged.ids);
}

/* The process that held the spool has ended, or there was none. */
static void take_over(struct disk *disk)
{
	disk->care.is_worker = true;
	disk->must_check = true;
	spool_index_close(&disk->care.index); /* to be checked once more */
	disk->version = -1;
}

void spool_due_ask(struct disk *disk, struct job *job)
{
	char why[SPOOL_WHY];
	enum spool_result result;

	if (job->request.is_worker && !disk->care.is_worker)
		take_over(disk);
	result = spool_care_open(&disk->care, why);
	if (result == SPOOL_DONE && disk->must_check)
		check_rows(disk);
	if (result == SPOOL_DONE)
		result = look(disk, job, why);
	if (result != SPOOL_DONE && result != SPOOL_BUSY)
		spool_care_after(&disk->care, result, why);
	spool_disk_answer(job, result == SPOOL_DONE || result == SPOOL_BUSY, why);
	spool_care_sweep(&disk->care, false);
}
