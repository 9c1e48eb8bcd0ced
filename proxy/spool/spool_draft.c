/*
 * spool_draft.c - a message that is being written: its file, and the lock that says so.
 *
 *     new -> write ... -> sync (all is on the disk) -> commit (it is ours)
 *
 * An error of the file stays one: after a failed fsync() the next one may well succeed, without the
 * octets that were lost.
 */
#include "proxy/spool/spool_internal.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "proxy/spool/spool_file.h"
#include "proxy/spool/spool_text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A tick of the spool before the 60 s that the header promises. */
static const double patience = 58;

struct spool_draft {
	struct spool *spool;
	char id[SPOOL_ID_SIZE];
	int fd; /* -1: none */
	struct spool_file file;
	char error[SPOOL_WHY];
	bool is_synced;
	bool is_committed;
	bool may_be_committed; /* asked for, and not heard that it was not */
	bool is_taken_back;    /* row and file go, in this order */

	struct spool_request *request; /* under way */
	spool_draft_fn *callback;
	void *arg;
};

static bool fail(struct spool_draft *draft, const char *what)
{
	if (!draft->error[0])
		snprintf(draft->error, sizeof draft->error, "%s", what);
	return false;
}

/* ---- the file ---- */

/* Between open() and flock() it looks like a dead process's, and may be removed. -1: errno. */
static int open_locked(const char *path)
{
	struct stat status;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &status) == 0 && status.st_nlink > 0)
		return fd;
	close(fd);
	unlink(path);
	errno = EAGAIN;
	return -1;
}

static bool open_file(struct spool_draft *draft)
{
	char *path = mem_printf("%s/%s", draft->spool->directory, draft->id);

	for (int tries = 0; tries < 3 && draft->fd < 0; tries++) {
		draft->fd = open_locked(path);
		if (draft->fd < 0 && errno != EAGAIN)
			break;
	}
	free(path);
	return draft->fd >= 0 || fail(draft, strerror(errno));
}

static bool write_all(struct spool_draft *draft, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t written = write(draft->fd, data, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return fail(draft, strerror(errno));
		draft->spool->written += (uint64_t)written;
		data += written;
		len -= (size_t)written;
	}
	return true;
}

/* What is written must be readable again, or it could never be settled. */
static bool write_header(struct spool_draft *draft, const struct spool_message *message)
{
	size_t len;
	char *begin = spool_file_begin(message, &draft->file, &len);
	struct spool_message *again =
	    spool_text_read(begin + SPOOL_FILE_LINE, draft->file.header_len);
	bool done = again && len < SPOOL_FRAME_MAX;

	if (!done)
		fail(draft, "its envelope cannot be stored");
	spool_message_free(&again);
	done = done && open_file(draft) && write_all(draft, begin, len);
	free(begin);
	return done;
}

struct spool_draft *spool_draft_new(
    struct spool *spool, const struct spool_message *message, char why[SPOOL_WHY])
{
	struct spool_draft *draft;

	if (!spool_is_ready(spool, why))
		return NULL;
	draft = mem_zero(1, sizeof *draft);
	draft->spool = spool;
	draft->fd = -1;
	memcpy(draft->id, message->id, sizeof draft->id);
	if (write_header(draft, message))
		return draft;
	memcpy(why, draft->error, SPOOL_WHY);
	spool_draft_free(&draft);
	return NULL;
}

static bool has_high(const unsigned char *data, size_t len)
{
	unsigned char all = 0;

	for (size_t i = 0; i < len; i++)
		all |= data[i];
	return all & 0x80;
}

/* Mail may fill the disk, but for the reserve. */
static bool has_room(struct spool_draft *draft)
{
	char why[SPOOL_WHY];

	return spool_has_room(draft->spool, why) || fail(draft, why);
}

bool spool_draft_write(struct spool_draft *draft, const void *data, size_t len)
{
	assert(draft->file.mark == SPOOL_MARK_BEGUN);
	if (draft->error[0] || !has_room(draft) || !write_all(draft, data, len))
		return false;
	draft->file.body_size += len;
	draft->file.body_sum = spool_sum(draft->file.body_sum, data, len);
	draft->file.has_8bit |= has_high(data, len);
	return true;
}

const char *spool_draft_error(const struct spool_draft *draft) { return draft->error; }

static bool complete(struct spool_draft *draft)
{
	char line[SPOOL_FILE_LINE + 1];

	if (draft->error[0] || draft->file.mark == SPOOL_MARK_COMPLETE)
		return !draft->error[0];
	draft->file.mark = SPOOL_MARK_COMPLETE;
	spool_file_write_line(&draft->file, line);
	return pwrite(draft->fd, line, SPOOL_FILE_LINE, 0) == SPOOL_FILE_LINE ||
	       fail(draft, strerror(errno));
}

/* ---- the requests ---- */

static void take_back(struct spool_draft *draft)
{
	struct spool_request *request = spool_request_new(SPOOL_TAKE_BACK, draft->id);

	request->is_lasting = true;
	spool_queue_add(draft->spool, request);
	draft->may_be_committed = false;
	draft->is_taken_back = true;
}

static void on_done(bool ok, const char *why, void *arg)
{
	struct spool_draft *draft = arg;
	bool is_commit = draft->request->frame.word == SPOOL_COMMIT;

	draft->request = NULL;
	if (!ok)
		fail(draft, why);
	draft->is_synced |= ok;
	draft->is_committed |= ok && is_commit;
	draft->callback(ok, ok ? "" : draft->error, draft->arg);
}

/* One that has failed already is told so on a later turn, like any other. */
static void start(
    struct spool_draft *draft, struct spool_request *request, spool_draft_fn *callback, void *arg)
{
	assert(!draft->request && !draft->is_committed);
	draft->request = request;
	draft->callback = callback;
	draft->arg = arg;
	request->on_done = on_done;
	request->arg = draft;
	request->is_refused = !complete(draft);
	memcpy(request->frame.why, draft->error, sizeof request->frame.why);
	request->frame.deadline = clock_steady() + patience;
	spool_queue_add(draft->spool, request);
}

void spool_draft_sync(struct spool_draft *draft, spool_draft_fn *callback, void *arg)
{
	start(draft, spool_request_new(SPOOL_SYNC, draft->id), callback, arg);
}

/* As the file has it, and with numbers for its recipients. */
static char *encode(struct spool_draft *draft, const struct spool_message *message, size_t *len)
{
	struct spool_message stored = *message;
	char *text;

	stored.size = draft->file.body_size;
	stored.has_8bit = draft->file.has_8bit;
	stored.recipients =
	    mem_copy(message->recipients, message->count * sizeof *message->recipients);
	for (size_t i = 0; i < stored.count; i++)
		stored.recipients[i].number = (unsigned)i;
	text = spool_text_within(&stored, SPOOL_FRAME_MAX, len);
	free(stored.recipients);
	return text;
}

static time_t first_try(const struct spool_message *message)
{
	time_t first = message->recipients[0].next_try;

	for (size_t i = 1; i < message->count; i++)
		if (message->recipients[i].next_try < first)
			first = message->recipients[i].next_try;
	return first ? first : 1;
}

void spool_draft_commit(struct spool_draft *draft, const struct spool_message *message,
    spool_draft_fn *callback, void *arg)
{
	struct spool_request *request = spool_request_new(SPOOL_COMMIT, draft->id);
	size_t len;

	assert(message->count > 0 && strcmp(message->id, draft->id) == 0);
	request->payload = encode(draft, message, &len);
	if (request->payload)
		request->frame.size = (uint32_t)len;
	else
		fail(draft, "its envelope is too large");
	request->frame.is_synced = draft->is_synced;
	request->next_try = first_try(message);
	draft->may_be_committed = !draft->error[0];
	start(draft, request, callback, arg);
}

/* The disk may be in the middle of it: what it then completes is undone right after. */
void spool_draft_expire(struct spool *spool, struct spool_request *request)
{
	struct spool_draft *draft = request->arg;

	assert(draft->request == request);
	if (draft->may_be_committed)
		take_back(draft);
	on_done(false, "the disk did not answer in time", draft);
	spool_queue_drop(spool, &request);
}

static void discard(struct spool_draft *draft)
{
	if (draft->may_be_committed)
		take_back(draft);
	else if (!draft->is_taken_back)
		spool_queue_add(draft->spool, spool_request_new(SPOOL_DISCARD, draft->id));
}

void spool_draft_free(struct spool_draft **draft)
{
	struct spool_draft *d = *draft;

	if (!d)
		return;
	if (d->request)
		spool_queue_drop(d->spool, &d->request);
	if (!d->is_committed && d->fd >= 0)
		discard(d);
	if (d->fd >= 0)
		close(d->fd);
	free(d);
	*draft = NULL;
}
