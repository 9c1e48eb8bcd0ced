/*
 * spool.c - see spool.h: the loop's side; what is asked, what is taken, and what the disk
 * process says.
 *
 * The index is the store: here are only the requests under way and the ids of messages that were
 * given out.
 */
#include "proxy/spool/spool_internal.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/spool/spool_dir.h"
#include "proxy/spool/spool_text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/time.h>
#include <utlist.h>

/* The duplicate guard does without what cannot be written. */
enum { MEMORIES_MAX = 10000 };

static const double opening = 5, farewell = 2; /* seconds that may be waited for */
static const double silence_max = 30;          /* then the disk counts as hung */
static const double retry_most = 60;

/* ---- trouble ---- */

void spool_tell_trouble(struct spool *spool, const char *why)
{
	if (!spool->has_trouble)
		log_error("spool: %s cannot be used: %s; mail that needs it is deferred",
		    spool->directory, why);
	spool->has_trouble = true;
	spool->is_usable = false;
	snprintf(spool->why, sizeof spool->why, "%s", why);
}

static void tell_recovery(struct spool *spool)
{
	if (spool->has_trouble)
		log_info("spool: %s can be used again", spool->directory);
	spool->has_trouble = false;
	spool->is_usable = true;
}

/* ---- what is taken ---- */

static struct spool_taken *find_taken(const struct spool *spool, const char *id)
{
	struct spool_taken *taken;

	HASH_FIND_STR(spool->taken, id, taken);
	return taken;
}

static void take(struct spool *spool, const char *id)
{
	struct spool_taken *taken = mem_zero(1, sizeof *taken);

	memcpy(taken->id, id, sizeof taken->id);
	HASH_ADD_STR(spool->taken, id, taken);
}

void spool_let_go(struct spool *spool, const char *id)
{
	struct spool_taken *taken = find_taken(spool, id);

	if (!taken)
		return;
	HASH_DEL(spool->taken, taken);
	free(taken);
}

/* ---- when something is due ---- */

static void change(struct spool *spool)
{
	if (spool->on_change)
		spool->on_change(spool->change_arg);
}

static void note_due(struct spool *spool, time_t when)
{
	if (spool->next_due && spool->next_due <= when)
		return;
	spool->next_due = when;
	change(spool);
}

time_t spool_next_due(const struct spool *spool) { return spool->next_due; }

void spool_watch(struct spool *spool, void (*on_change)(void *arg), void *arg)
{
	spool->on_change = on_change;
	spool->change_arg = arg;
}

/* ---- asking ---- */

/* What is taken is known here alone, and at the moment of sending. */
void spool_fill_ask(struct spool *spool, struct spool_request *request)
{
	enum { WIDTH = SPOOL_ID_LEN + 1 };
	struct spool_taken *taken, *next;
	char *at;

	free(request->payload);
	request->frame.size = HASH_COUNT(spool->taken) * WIDTH;
	request->frame.is_worker = spool->is_worker;
	request->payload = at = mem_alloc(request->frame.size);
	HASH_ITER(hh, spool->taken, taken, next)
	{
		memcpy(at, taken->id, SPOOL_ID_LEN);
		at[SPOOL_ID_LEN] = ' ';
		at += WIDTH;
	}
}

static struct spool_request *add_ask(struct spool *spool, size_t max)
{
	struct spool_request *request = spool_request_new(SPOOL_ASK, NULL);

	request->frame.max = max;
	spool_queue_add(spool, request);
	return request;
}

void spool_ask_due(
    struct spool *spool, enum spool_order order, size_t max, spool_due_fn *callback, void *arg)
{
	struct spool_request *request = add_ask(spool, max);

	request->frame.order = order;
	request->on_due = callback;
	request->arg = arg;
}

/* Also tells whether the disk process is there, and what others have done to the index. */
static void poll_index(struct spool *spool)
{
	for (const struct spool_request *r = spool->requests; r; r = r->next)
		if (r->frame.word == SPOOL_ASK)
			return;
	add_ask(spool, 0);
}

static void hear_index(struct spool *spool, const struct spool_frame *frame)
{
	if (!frame->ok) {
		spool_tell_trouble(spool, frame->why);
		return;
	}
	time_t before = spool->next_due;

	tell_recovery(spool);
	spool->count = frame->count;
	spool->next_due = frame->next_due;
	if (frame->is_changed || (frame->next_due && (!before || frame->next_due < before)))
		change(spool);
}

/* ---- what the disk process says ---- */

/* Its commit came too late, or nobody waited for it: it will be gone in a moment. */
static bool is_taken_back(const struct spool *spool, const char *id)
{
	for (const struct spool_request *r = spool->requests; r; r = r->next)
		if (r->frame.word == SPOOL_TAKE_BACK && strcmp(r->frame.id, id) == 0)
			return true;
	return false;
}

/* One that is wanted no more, or was given out already, is as good as never given. */
static void hear_due(
    struct spool *spool, struct spool_request *request, const char *text, size_t len)
{
	struct spool_message *message = spool_text_read(text, len);

	if (!message) {
		log_error("spool: the disk process gave a message that cannot be read");
		return;
	}
	if (!request->on_due || find_taken(spool, message->id) ||
	    is_taken_back(spool, message->id)) {
		spool_message_free(&message);
		return;
	}
	take(spool, message->id);
	request->on_due(message, request->arg);
}

void spool_hear(struct spool *spool, struct spool_request *request, const struct spool_frame *frame,
    const char *payload)
{
	if (frame->word == SPOOL_DUE)
		hear_due(spool, request, payload, frame->size);
	else if (frame->word == SPOOL_MEMORY && frame->size == SPOOL_DIGEST_SIZE &&
		 request->on_memory)
		request->on_memory((const unsigned char *)payload, frame->until, request->arg);
}

/* Told once for each request; it goes on until the disk takes it. */
static void try_later(struct spool_request *request, const char *why)
{
	double pause = request->tries < 6 ? 1 << request->tries : retry_most;

	if (request->tries++ == 0)
		log_error("spool: what became of message %s cannot be written: %s; tried again "
			  "until it can",
		    request->frame.id, why);
	request->is_sent = false;
	request->not_before = clock_steady() + pause;
}

static void hear_settled(struct spool *spool, struct spool_request *request)
{
	if (request->tries > 0)
		log_info("spool: what became of message %s is written now", request->frame.id);
	if (request->frame.word == SPOOL_TAKE_BACK)
		return;
	spool_let_go(spool, request->frame.id);
	if (request->next_try == 0 && spool->count > 0)
		spool->count--;
	else if (request->next_try)
		note_due(spool, request->next_try);
}

static void hear_room(
    struct spool *spool, const struct spool_request *request, const struct spool_frame *frame)
{
	spool->room = frame->room;
	spool->room_error = frame->room_error;
	spool->written_before = request->written;
}

bool spool_hear_reply(
    struct spool *spool, struct spool_request *request, const struct spool_frame *frame)
{
	if (request->is_sent)
		hear_room(spool, request, frame);
	if (!frame->ok && request->is_lasting) {
		try_later(request, frame->why);
		return false;
	}
	if (request->is_lasting)
		hear_settled(spool, request);
	else if (request->frame.word == SPOOL_REMEMBER)
		spool->waiting_memories--;
	else if (request->frame.word == SPOOL_ASK)
		hear_index(spool, frame);
	if (request->on_done)
		request->on_done(frame->ok, frame->why, request->arg);
	if (request->on_due)
		request->on_due(NULL, request->arg);
	if (request->frame.word == SPOOL_COMMIT && frame->ok) {
		spool->count++;
		note_due(spool, request->next_try);
	}
	return true;
}

static void expire_drafts(struct spool *spool)
{
	struct spool_request *request, *next;
	double now = clock_steady();

	DL_FOREACH_SAFE(spool->requests, request, next)
	if (request->frame.deadline > 0 && request->frame.deadline <= now) {
		/* One in a turn: its callback may change the queue. */
		spool_draft_expire(spool, request);
		ev_feed_event(spool->loop, &spool->tick, EV_CUSTOM);
		return;
	}
}

void spool_on_tick(struct spool *spool)
{
	expire_drafts(spool);
	poll_index(spool);
}

/* ---- whether it is ready ---- */

/* A report that is a second old does not know what was written since. */
bool spool_has_room(const struct spool *spool, char why[SPOOL_WHY])
{
	if (spool->room_error == ENODEV)
		spool_dir_say_gone(spool->directory, why);
	else if (spool->room_error)
		snprintf(
		    why, SPOOL_WHY, "%.200s: %s", spool->directory, strerror(spool->room_error));
	else if (spool->written - spool->written_before >= spool->room)
		snprintf(why, SPOOL_WHY, "the disk of %.200s is full", spool->directory);
	else
		return true;
	return false;
}

bool spool_is_ready(struct spool *spool, char why[SPOOL_WHY])
{
	double silence = spool_queue_silence(spool);

	if (!spool->is_usable)
		snprintf(why, SPOOL_WHY, "%s", spool->why);
	else if (!ev_is_active(&spool->socket))
		snprintf(why, SPOOL_WHY, "the disk process has ended");
	else if (silence > silence_max)
		snprintf(why, SPOOL_WHY, "the disk has not answered for %.0f s", silence);
	else
		return spool_has_room(spool, why);
	return false;
}

void spool_make_id(struct spool *spool, char id[SPOOL_ID_SIZE])
{
	struct timeval now;
	uint64_t chance;

	(void)spool;
	gettimeofday(&now, NULL);
	while (getrandom(&chance, sizeof chance, 0) != sizeof chance)
		;
	snprintf(id, SPOOL_ID_SIZE, "%014llx-%012llx",
	    ((unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_usec) &
		0xffffffffffffff,
	    (unsigned long long)(chance & 0xffffffffffff));
}

size_t spool_count(const struct spool *spool) { return spool->count; }

void spool_forget(struct spool *spool, const void *arg)
{
	struct spool_request *request;

	DL_FOREACH(spool->requests, request)
	if (request->arg == arg) {
		request->on_done = NULL;
		request->on_due = NULL;
	}
}

/* ---- the duplicate guard ---- */

void spool_remember(
    struct spool *spool, const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until)
{
	struct spool_request *request;

	if (spool->waiting_memories >= MEMORIES_MAX)
		return;
	request = spool_request_new(SPOOL_REMEMBER, NULL);
	request->payload = mem_copy(digest, SPOOL_DIGEST_SIZE);
	request->frame.size = SPOOL_DIGEST_SIZE;
	request->frame.until = until;
	spool->waiting_memories++;
	spool_queue_add(spool, request);
}

void spool_recall(struct spool *spool, spool_memory_fn *each, void *arg)
{
	struct spool_request *request = spool_request_new(SPOOL_RECALL, NULL);

	request->on_memory = each;
	request->arg = arg;
	spool_queue_add(spool, request);
	spool_queue_run(spool, request, opening);
	DL_FOREACH(spool->requests, request)
	request->on_memory = NULL;
}

/* ---- opening and closing ---- */

struct spool *spool_open(struct ev_loop *loop, const struct conf *conf)
{
	struct spool *spool = mem_zero(1, sizeof *spool);

	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, not an end */
	spool->loop = loop;
	spool->directory = spool_dir_path(conf);
	snprintf(spool->why, sizeof spool->why, "it is being opened");
	spool_queue_open(spool);
	if (ev_is_active(&spool->socket))
		spool_queue_run(spool, spool->requests, opening);
	return spool;
}

static void forget_all(struct spool *spool)
{
	struct spool_request *request, *next;

	spool->on_change = NULL;
	DL_FOREACH_SAFE(spool->requests, request, next)
	{
		request->on_done = NULL;
		request->on_due = NULL;
		if (request->frame.word == SPOOL_ASK && !request->is_sent)
			spool_queue_drop(spool, &request);
	}
}

void spool_close(struct spool **spool)
{
	struct spool *s = *spool;
	struct spool_taken *taken, *next;

	if (!s)
		return;
	forget_all(s);
	spool_queue_close(s, farewell);
	HASH_ITER(hh, s->taken, taken, next)
	{
		HASH_DEL(s->taken, taken);
		free(taken);
	}
	free(s->directory);
	free(s);
	*spool = NULL;
}
