/*
 * disk.h - a spool in memory in place of proxy/spool/: commits count as proof, and the disk fails
 * where the script says so.
 *
 *   - fine   r not ready   n no file   w writes fail   s sync fails   S sync is never answered
 *   c commit fails   C commit is never answered ("at most 60 s": spool.h)
 */
#ifndef TESTS_SESSION_DISK_H
#define TESTS_SESSION_DISK_H

#include "clock.h"
#include "proof.h"

#include "proxy/spool/spool.h"

#define DISK_PATIENCE 58.0

static char disk_fault;

struct spool_draft {
	struct text text;
	bool has_failed, is_busy;
	bool is_notice; /* of danelaw's own, for a sender: nobody's confirmed message */
	bool commits, is_ok;
	struct text recipients; /* their addresses, one a line */
	spool_draft_fn *callback;
	void *arg;
	ev_timer timer;
};

bool spool_is_ready(struct spool *spool, char why[SPOOL_WHY])
{
	(void)spool;
	snprintf(why, SPOOL_WHY, "the disk is full");
	return disk_fault != 'r';
}

void spool_make_id(struct spool *spool, char id[SPOOL_ID_SIZE])
{
	static unsigned long count;

	(void)spool;
	snprintf(id, SPOOL_ID_SIZE, "%014lx-fuzz", ++count);
}

static inline void note_committed(const struct spool_draft *d)
{
	size_t rest;
	const char *message = skip_received(d->text.data, d->text.len, &rest);
	const char *end, *at = d->recipients.data;
	char address[ADDRESS];

	for (; *at; at = end + 1) {
		end = strchr(at, '\n');
		take_address(address, at, (size_t)(end - at));
		note_taken(address, text_sum(message, rest));
	}
}

static void on_disk(struct ev_loop *l, ev_timer *timer, int events)
{
	struct spool_draft *d = timer->data;

	(void)l, (void)events;
	d->is_busy = false;
	d->has_failed |= !d->is_ok;
	if (d->commits && d->is_ok && !d->is_notice)
		note_committed(d);
	d->callback(d->is_ok, d->is_ok ? "" : "the disk failed", d->arg);
}

struct spool_draft *spool_draft_new(
    struct spool *spool, const struct spool_message *message, char why[SPOOL_WHY])
{
	struct spool_draft *d;

	assert(message->id[0]);
	if (!spool_is_ready(spool, why) || disk_fault == 'n')
		return NULL;
	d = mem_zero(1, sizeof *d);
	ev_init(&d->timer, on_disk);
	d->timer.data = d;
	d->is_notice = message->is_notice;
	return d;
}

bool spool_draft_write(struct spool_draft *d, const void *data, size_t len)
{
	assert(!d->is_busy);
	d->has_failed |= disk_fault == 'w';
	if (!d->has_failed)
		text_add(&d->text, data, len);
	return !d->has_failed;
}

const char *spool_draft_error(const struct spool_draft *d)
{
	return d->has_failed ? "the disk failed" : "";
}

static inline void ask_disk(struct spool_draft *d, spool_draft_fn *callback, void *arg, char fails)
{
	bool is_late = disk_fault == (fails ^ ('a' ^ 'A'));

	assert(!d->is_busy && !d->commits);
	d->is_busy = true;
	d->is_ok = !d->has_failed && disk_fault != fails && !is_late;
	d->callback = callback;
	d->arg = arg;
	ev_timer_set(&d->timer, is_late ? DISK_PATIENCE : 0., 0.);
	ev_timer_start(loop, &d->timer);
}

void spool_draft_sync(struct spool_draft *d, spool_draft_fn *callback, void *arg)
{
	ask_disk(d, callback, arg, 's');
}

void spool_draft_commit(
    struct spool_draft *d, const struct spool_message *message, spool_draft_fn *callback, void *arg)
{
	assert(message->count > 0);
	for (size_t i = 0; i < message->count; i++) {
		const char *address = message->recipients[i].address;

		text_add(&d->recipients, "<", 1);
		text_add(&d->recipients, address, strlen(address));
		text_add(&d->recipients, ">\n", 2);
	}
	ask_disk(d, callback, arg, 'c');
	d->commits = true;
}

void spool_draft_free(struct spool_draft **draft)
{
	struct spool_draft *d = *draft;

	*draft = NULL;
	if (!d)
		return;
	ev_timer_stop(loop, &d->timer);
	text_clear(&d->text);
	text_clear(&d->recipients);
	free(d);
}

size_t spool_count(const struct spool *spool)
{
	(void)spool;
	return 0;
}

/* Nothing is worked off here, so no notice quotes what was stored. */
int spool_open_body(
    struct spool *spool, const struct spool_message *message, bool *is_damaged, char why[SPOOL_WHY])
{
	(void)spool, (void)message, (void)is_damaged, (void)why;
	abort();
}

void spool_remember(
    struct spool *spool, const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until)
{
	(void)spool, (void)digest, (void)until;
}

void spool_recall(struct spool *spool, spool_memory_fn *each, void *arg)
{
	(void)spool, (void)each, (void)arg;
}

#endif
