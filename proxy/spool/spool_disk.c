/*
 * spool_disk.c - see spool_disk.h.
 *
 *     requests that wait -> each new file, the directory once -> one transaction, before whose end
 *     those that are done are marked -> those that are promised are marked -> unlink -> answers
 *
 * What has come while the disk was busy goes in one turn, so that a slow disk makes larger turns
 * and nothing else. Nothing is remembered between turns that the loop does not know as well: when
 * this process dies, another one is given the same requests again, and each may be done twice.
 */
#include "proxy/spool/spool_disk.h"

#include "conf/child.h"
#include "conf/clock.h"
#include "conf/mem.h"
#include "proxy/spool/spool_dir.h"
#include "proxy/spool/spool_disk_internal.h"
#include "proxy/spool/spool_text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024 };

/* Its row goes, and then its file. */
static bool is_leaving(const struct job *job)
{
	return job->request.word == SPOOL_TAKE_BACK || job->is_gone;
}

/* ---- the socket ---- */

/* The loop has ended. What it asked for before is done nevertheless: what was delivered must not be
 * delivered again. */
static bool is_alone;

static void send_all(const void *data, size_t len)
{
	const char *at = data;

	while (len > 0 && !is_alone) {
		ssize_t sent = send(CHILD_SOCKET, at, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		is_alone = sent <= 0;
		if (is_alone)
			break;
		at += sent;
		len -= (size_t)sent;
	}
}

void spool_disk_send(struct spool_frame *frame, const void *payload, size_t size)
{
	frame->size = (uint32_t)size;
	send_all(frame, sizeof *frame);
	send_all(payload, size);
}

void spool_disk_tell(enum log_level level, const char *text)
{
	struct spool_frame frame = {.word = SPOOL_LOG, .count = level};

	spool_disk_send(&frame, text, strlen(text));
}

static void make_room(struct disk *disk)
{
	if (disk->in_size - disk->in_len >= READ_SIZE)
		return;
	disk->in_size = disk->in_len + 2 * (size_t)READ_SIZE;
	disk->in = mem_resize(disk->in, disk->in_size, 1);
}

/* false: nothing (more) is there, or the loop's end is closed. */
static bool read_some(struct disk *disk, int flags)
{
	ssize_t got;

	make_room(disk);
	do
		got = recv(
		    CHILD_SOCKET, disk->in + disk->in_len, disk->in_size - disk->in_len, flags);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return false;
	disk->in_len += (size_t)got;
	return true;
}

/* ---- jobs ---- */

void spool_disk_answer(struct job *job, bool ok, const char *why)
{
	job->reply.ok = ok;
	snprintf(job->reply.why, sizeof job->reply.why, "%s", ok ? "" : why);
}

static void add_job(struct disk *disk, const struct spool_frame *frame, const char *payload)
{
	struct job *job = &disk->jobs[disk->count++];

	*job = (struct job){.request = *frame, .payload = payload};
	job->reply.word = SPOOL_REPLY;
	job->reply.serial = frame->serial;
	spool_disk_answer(job, true, NULL);
	if (frame->word != SPOOL_COMMIT && frame->word != SPOOL_SETTLE)
		return;
	job->message = spool_text_read(payload, frame->size);
	if (!job->message)
		spool_disk_answer(job, false, "it cannot be written so that it can be read again");
}

/* Octets of whole frames, at most a turn of them. */
static size_t take_jobs(struct disk *disk)
{
	struct spool_frame frame;
	const char *payload;
	size_t at = 0, used;

	disk->count = 0;
	while (disk->count < SPOOL_TURN_MAX) {
		enum spool_wire wire =
		    spool_wire_next(disk->in + at, disk->in_len - at, &frame, &payload, &used);

		assert(wire != SPOOL_WIRE_BAD);
		if (wire == SPOOL_WIRE_MORE)
			break;
		add_job(disk, &frame, payload);
		at += used;
	}
	return at;
}

static bool is_for_index(const struct job *job)
{
	enum spool_word word = job->request.word;

	if (word == SPOOL_COMMIT || word == SPOOL_SETTLE)
		return job->message != NULL;
	return word == SPOOL_TAKE_BACK || word == SPOOL_REMEMBER;
}

/* ---- files ---- */

static bool must_sync(const struct job *job)
{
	return job->request.word == SPOOL_SYNC ||
	       (job->request.word == SPOOL_COMMIT && !job->request.is_synced);
}

static void sync_files(struct disk *disk)
{
	bool any = false;

	for (size_t i = 0; i < disk->count; i++)
		if (must_sync(&disk->jobs[i])) {
			if (!spool_dir_sync_file(disk->care.directory, disk->jobs[i].request.id))
				spool_disk_answer(&disk->jobs[i], false, strerror(errno));
			any = true;
		}
	if (!any || spool_dir_sync(disk->care.directory))
		return;
	for (size_t i = 0; i < disk->count; i++)
		if (must_sync(&disk->jobs[i]))
			spool_disk_answer(&disk->jobs[i], false, strerror(errno));
}

static const char *id_of(const struct job *job)
{
	return job->message ? job->message->id : job->request.id;
}

/* One that cannot be marked is at worst delivered once more, should it outlive its row. */
static void mark_done(struct disk *disk)
{
	for (size_t i = 0; i < disk->count; i++)
		if (is_leaving(&disk->jobs[i]))
			spool_dir_mark(
			    disk->care.directory, id_of(&disk->jobs[i]), SPOOL_MARK_DONE);
	for (size_t i = 0; i < disk->count; i++)
		if (is_leaving(&disk->jobs[i]))
			spool_dir_sync_file(disk->care.directory, id_of(&disk->jobs[i]));
}

static bool is_committed(const struct job *job)
{
	return job->request.word == SPOOL_COMMIT && job->reply.ok;
}

/* A file that is gone was worked off already by another process, or set aside. */
static void promise(struct job *job, bool done)
{
	if (!done && errno != ENOENT)
		spool_disk_answer(job, false, strerror(errno));
}

/* All begin before the first is waited for. */
static void mark_promised(struct disk *disk)
{
	const char *directory = disk->care.directory;

	for (size_t i = 0; i < disk->count; i++) {
		struct job *job = &disk->jobs[i];

		if (is_committed(job))
			promise(job, spool_dir_mark(directory, id_of(job), SPOOL_MARK_PROMISED));
	}
	for (size_t i = 0; i < disk->count; i++) {
		struct job *job = &disk->jobs[i];

		if (is_committed(job))
			promise(job, spool_dir_sync_file(directory, id_of(job)));
	}
}

static void remove_file(struct disk *disk, struct job *job)
{
	enum spool_word word = job->request.word;
	char *path;

	if (!job->reply.ok || !(word == SPOOL_DISCARD || is_leaving(job)))
		return;
	path = mem_printf("%s/%s", disk->care.directory, id_of(job));
	unlink(path); /* one that stays is removed later, by its mark */
	free(path);
}

/* ---- the index ---- */

/* Past its deadline the client has been told that we did not take it. */
static enum spool_result commit_message(struct disk *disk, struct job *job, char why[SPOOL_WHY])
{
	bool is_damaged;
	int fd;

	if (!job->reply.ok)
		return SPOOL_DONE;
	if (is_alone || clock_steady() > job->request.deadline) {
		spool_disk_answer(job, false, "too late");
		return SPOOL_DONE;
	}
	fd = spool_dir_open_body(disk->care.directory, job->message, &is_damaged, job->reply.why);
	if (fd < 0) {
		job->reply.ok = false;
		return SPOOL_DONE;
	}
	close(fd);
	return spool_index_put(disk->care.index, job->message, why);
}

static enum spool_result apply(struct disk *disk, struct job *job, char why[SPOOL_WHY])
{
	const struct spool_frame *request = &job->request;

	switch ((enum spool_word)request->word) {
	case SPOOL_COMMIT:
		return commit_message(disk, job, why);
	case SPOOL_TAKE_BACK:
		return spool_index_remove(disk->care.index, request->id, why);
	case SPOOL_SETTLE:
		return spool_index_settle(disk->care.index, job->message, &job->is_gone, why);
	default:
		assert(request->word == SPOOL_REMEMBER && request->size == SPOOL_DIGEST_SIZE);
		return spool_index_remember(
		    disk->care.index, (const unsigned char *)job->payload, request->until, why);
	}
}

static enum spool_result write_index(struct disk *disk, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_begin(disk->care.index, why);

	if (result != SPOOL_DONE)
		return result;
	for (size_t i = 0; i < disk->count && result == SPOOL_DONE; i++)
		if (is_for_index(&disk->jobs[i]))
			result = apply(disk, &disk->jobs[i], why);
	if (result == SPOOL_DONE) {
		mark_done(disk);
		return spool_index_end(disk->care.index, why);
	}
	spool_index_undo(disk->care.index);
	return result;
}

/* Written to a file that was set aside in the meantime, it is written once more. */
static enum spool_result write_index_for_good(struct disk *disk, char why[SPOOL_WHY])
{
	enum spool_result result = spool_care_open(&disk->care, why);

	if (result == SPOOL_DONE)
		result = write_index(disk, why);
	if (result == SPOOL_DONE && spool_index_is_moved(disk->care.index)) {
		result = spool_care_open(&disk->care, why);
		if (result == SPOOL_DONE)
			result = write_index(disk, why);
	}
	return result;
}

static bool has_index_jobs(const struct disk *disk)
{
	for (size_t i = 0; i < disk->count; i++)
		if (is_for_index(&disk->jobs[i]))
			return true;
	return false;
}

static void update_index(struct disk *disk)
{
	char why[SPOOL_WHY];
	enum spool_result result;

	if (!has_index_jobs(disk))
		return;
	result = write_index_for_good(disk, why);
	if (result != SPOOL_DONE && spool_care_after(&disk->care, result, why))
		result = write_index_for_good(disk, why);
	for (size_t i = 0; i < disk->count && result != SPOOL_DONE; i++)
		if (is_for_index(&disk->jobs[i])) {
			spool_disk_answer(&disk->jobs[i], false, why);
			disk->jobs[i].is_gone = false;
		}
}

/* ---- the rest ---- */

static void give_memory(const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until, void *arg)
{
	struct job *job = arg;
	struct spool_frame frame = {
	    .word = SPOOL_MEMORY, .serial = job->request.serial, .until = until};

	spool_disk_send(&frame, digest, SPOOL_DIGEST_SIZE);
}

static void recall(struct disk *disk, struct job *job)
{
	char why[SPOOL_WHY];
	enum spool_result result = spool_care_open(&disk->care, why);

	if (result == SPOOL_DONE)
		result = spool_index_recall(disk->care.index, give_memory, job, why);
	spool_disk_answer(job, result == SPOOL_DONE, why);
}

static void set_aside_by_order(struct disk *disk, struct job *job)
{
	char why[SPOOL_WHY];
	bool done = spool_care_open(&disk->care, why) == SPOOL_DONE &&
		    spool_care_set_aside(&disk->care, job->request.id, job->request.why, why);

	spool_disk_answer(job, done, why);
}

static bool is_single(const struct job *job)
{
	enum spool_word word = job->request.word;

	return word == SPOOL_SET_ASIDE || word == SPOOL_RECALL || word == SPOOL_ASK;
}

static void do_single(struct disk *disk, struct job *job)
{
	if (is_alone && job->request.word != SPOOL_SET_ASIDE)
		return;
	if (job->request.word == SPOOL_SET_ASIDE)
		set_aside_by_order(disk, job);
	else if (job->request.word == SPOOL_RECALL)
		recall(disk, job);
	else
		spool_due_ask(disk, job);
}

/* The loop itself never asks a disk that may hang. */
static void report_room(struct disk *disk)
{
	int error;
	uint64_t room = spool_dir_room(disk->care.directory, &error);

	for (size_t i = 0; i < disk->count; i++) {
		disk->jobs[i].reply.room = room;
		disk->jobs[i].reply.room_error = error;
	}
}

/* Nothing can be done, nor known: neither the index nor a file is missing. */
static void refuse_turn(struct disk *disk, const char *why)
{
	for (size_t i = 0; i < disk->count; i++) {
		struct job *job = &disk->jobs[i];

		spool_disk_answer(job, false, why);
		job->reply.room_error = ENODEV;
		spool_disk_send(&job->reply, NULL, 0);
		spool_message_free(&job->message);
	}
}

/* What was committed is told before it can be given out. */
static void take_turn(struct disk *disk)
{
	char why[SPOOL_WHY];

	if (!spool_dir_is_there(disk->care.directory, CHILD_KEPT, why)) {
		refuse_turn(disk, why);
		return;
	}
	sync_files(disk);
	update_index(disk);
	mark_promised(disk);
	report_room(disk);
	for (size_t i = 0; i < disk->count; i++) {
		struct job *job = &disk->jobs[i];

		if (is_single(job))
			continue;
		remove_file(disk, job);
		spool_disk_send(&job->reply, NULL, 0);
		spool_message_free(&job->message);
	}
	for (size_t i = 0; i < disk->count; i++) {
		if (!is_single(&disk->jobs[i]))
			continue;
		do_single(disk, &disk->jobs[i]);
		spool_disk_send(&disk->jobs[i].reply, NULL, 0);
	}
}

static void serve(const char *directory)
{
	struct disk *disk = mem_zero(1, sizeof *disk);

	disk->care.directory = directory;
	disk->care.tell = spool_disk_tell;
	while (read_some(disk, 0)) {
		size_t used;

		while (read_some(disk, MSG_DONTWAIT) && disk->in_len < 16 * (size_t)READ_SIZE)
			;
		while ((used = take_jobs(disk)) > 0) {
			take_turn(disk);
			disk->in_len -= used;
			memmove(disk->in, disk->in + used, disk->in_len);
		}
	}
	spool_index_close(&disk->care.index);
	free(disk->in);
	free(disk);
}

pid_t spool_disk_start(const char *directory, int lock, int *fd)
{
	return child_start("danelaw-spool", serve, directory, lock, fd);
}
