/*
 * spool_settle.c - whoever was given a message tells what became of it: written until the disk
 * takes it, given back, or set aside; and the body, while it is being worked on.
 */
#include "proxy/spool/spool_internal.h"

#include "proxy/spool/spool_dir.h"
#include "proxy/spool/spool_text.h"

#include <errno.h>
#include <stdio.h>

/* The earliest of those that are not done. */
static time_t next_try_of(const struct spool_message *message)
{
	time_t next = 0;
	bool any = false;

	for (size_t i = 0; i < message->count; i++) {
		const struct spool_recipient *r = &message->recipients[i];

		if (r->is_done || (any && r->next_try >= next))
			continue;
		next = r->next_try;
		any = true;
	}
	return any && next == 0 ? 1 : next; /* at once; 0 is never */
}

static struct spool_request *new_lasting(enum spool_word word, const char *id)
{
	struct spool_request *request = spool_request_new(word, id);

	request->is_lasting = true;
	return request;
}

static void make_aside(struct spool_request *request, const char *why)
{
	request->frame.word = SPOOL_SET_ASIDE;
	snprintf(request->frame.why, sizeof request->frame.why, "%s", why);
}

void spool_settle(
    struct spool *spool, struct spool_message **message, spool_draft_fn *callback, void *arg)
{
	struct spool_request *request = new_lasting(SPOOL_SETTLE, (*message)->id);
	size_t len;

	request->payload = spool_text_within(*message, SPOOL_FRAME_MAX, &len);
	if (request->payload)
		request->frame.size = (uint32_t)len;
	else
		make_aside(request, "what became of it is too large to be stored");
	request->next_try = next_try_of(*message);
	request->on_done = callback;
	request->arg = arg;
	spool_message_free(message);
	spool_queue_add(spool, request);
}

void spool_give_back(struct spool *spool, struct spool_message **message)
{
	spool_let_go(spool, (*message)->id);
	spool_message_free(message);
}

void spool_set_aside(struct spool *spool, struct spool_message **message, const char *why)
{
	struct spool_request *request = new_lasting(SPOOL_SET_ASIDE, (*message)->id);

	make_aside(request, why);
	spool_message_free(message);
	spool_queue_add(spool, request);
}

int spool_open_body(
    struct spool *spool, const struct spool_message *message, bool *is_damaged, char why[SPOOL_WHY])
{
	bool is_gone = false;
	int fd = spool_dir_open_body(spool->directory, message, &is_gone, why), error = errno;

	if (is_gone && !spool_dir_is_there(spool->directory, spool->lock, why))
		is_gone = false;
	if (is_damaged)
		*is_damaged = is_gone;
	errno = error;
	return fd;
}
