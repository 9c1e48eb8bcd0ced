/*
 * spool_job.c - see spool_job.h.
 */
#include "proxy/spool/spool_job.h"

#include "conf/conf.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 16384, ROOM = CHUNK + 3 /* the final dot must find its place, too */ };

enum state { ENVELOPE, DATA, BODY, FINAL, OVER };

struct spool_job {
	struct proxy *proxy;
	const struct spool_message *message;
	const struct spool_body *body;
	spool_job_fn *callback;
	void *arg;

	enum state state;
	struct envelope envelope; /* the message's, with what the body needs */
	size_t count;
	struct recipient *recipients;
	size_t *numbers; /* which of the message's */
	struct delivery *delivery;
	uint64_t sent; /* octets of the body */
	char damage[160];
};

/* ---- the body ---- */

static void stop_reading(struct spool_job *job, const char *what)
{
	struct outcome outcome;

	outcome_refuse_text(&outcome, REASON_SPOOL_FAILED,
	    "the message's file in the spool cannot be read: %s", what);
	delivery_abort(job->delivery, &outcome);
}

/* Octets read, at least one; 0: the job is over. An error may pass, and is no damage. */
static size_t read_chunk(struct spool_job *job, char *chunk)
{
	uint64_t left = job->message->size - job->sent;
	size_t wanted = left < CHUNK ? (size_t)left : CHUNK;
	ssize_t got;

	do
		got = pread(job->body->file, chunk, wanted, job->body->start + (off_t)job->sent);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return (size_t)got;
	if (got == 0)
		snprintf(job->damage, sizeof job->damage, "it is too short");
	stop_reading(job, got < 0 ? strerror(errno) : job->damage);
	return 0;
}

/* As much as the next hop has room for: it sets the pace. */
static void pump(struct spool_job *job)
{
	char chunk[CHUNK];

	while (delivery_is_writing(job->delivery) && delivery_room(job->delivery) >= ROOM) {
		if (job->sent == job->message->size) {
			job->state = FINAL;
			delivery_end(job->delivery, job->proxy->conf->timeouts.data_end);
			return;
		}
		size_t len = read_chunk(job, chunk);

		if (!len)
			return;
		delivery_write(job->delivery, chunk, len);
		job->sent += len;
	}
}

/* ---- the conversation ---- */

static bool is_envelope_decided(const struct spool_job *job)
{
	for (size_t i = 0; i < job->count; i++) {
		if (!outcome_is_known(&job->recipients[i].outcome))
			return false;
	}
	return true;
}

static enum state next_state(struct spool_job *job)
{
	switch (job->state) {
	case ENVELOPE:
		if (!is_envelope_decided(job))
			return ENVELOPE;
		if (!delivery_wants_message(job->delivery))
			return OVER;
		delivery_data(job->delivery);
		return DATA;
	case DATA:
		if (delivery_is_asking(job->delivery))
			return DATA;
		return delivery_is_writing(job->delivery) ? BODY : OVER;
	case BODY:
		return delivery_is_writing(job->delivery) ? BODY : OVER;
	case FINAL:
		return outcome_is_known(delivery_outcome(job->delivery)) ? OVER : FINAL;
	case OVER:
		break;
	}
	return OVER;
}

static void on_delivery(struct delivery *delivery, enum delivery_event event, void *arg)
{
	struct spool_job *job = arg;

	(void)delivery, (void)event;
	if (job->state == OVER)
		return;
	job->state = next_state(job);
	if (job->state == BODY) {
		pump(job);
		if (job->state == BODY && !delivery_is_writing(job->delivery))
			job->state = OVER; /* the file cannot be read */
	}
	if (job->state == OVER)
		job->callback(job, job->arg);
}

/* ---- beginning ---- */

static void add_recipient(struct spool_job *job, size_t n)
{
	const struct spool_recipient *from = &job->message->recipients[job->numbers[n]];
	struct recipient *r = &job->recipients[n];
	char text[SMTP_PATH_MAX + 1];
	size_t used;

	snprintf(text, sizeof text, "<%s>", from->address);
	if (smtp_parse_path(text, strlen(text), &used, &r->path).code) {
		outcome_refuse_text(
		    &r->outcome, REASON_BAD_ADDRESS, "<%s> is no address", from->address);
		return;
	}
	r->dsn.notify = from->dsn.notify;
	r->dsn.orcpt = from->dsn.orcpt ? mem_strdup(from->dsn.orcpt) : NULL;
	delivery_add_recipient(job->delivery, r);
}

struct spool_job *spool_job_start(struct proxy *proxy, const struct spool_message *message,
    const struct spool_body *body, const char *domain, const size_t *recipients, size_t count,
    spool_job_fn *callback, void *arg)
{
	struct spool_job *job = mem_zero(1, sizeof *job);

	job->proxy = proxy;
	job->message = message;
	job->body = body;
	job->callback = callback;
	job->arg = arg;
	/* Also the size is the declared one, as while the client waits: what lies in the file has
	 * stuffed dots, which count nowhere (RFC 1870 section 3). */
	job->envelope = message->envelope;
	if (message->has_8bit) /* not only where it was declared (R-SMTP-41) */
		job->envelope.body = SMTP_BODY_8BITMIME;
	job->count = count;
	job->numbers = mem_copy(recipients, count * sizeof *recipients);
	job->recipients = mem_zero(count, sizeof *job->recipients);
	job->delivery = delivery_new(proxy, message->session ? message->session : message->id,
	    &job->envelope, domain, POOL_SPOOL, on_delivery, job);
	for (size_t i = 0; i < count; i++)
		add_recipient(job, i);
	return job;
}

/* ---- the end ---- */

size_t spool_job_count(const struct spool_job *job) { return job->count; }
size_t spool_job_recipient(const struct spool_job *job, size_t n) { return job->numbers[n]; }

const struct outcome *spool_job_outcome(const struct spool_job *job, size_t n)
{
	const struct outcome *own = &job->recipients[n].outcome;

	return outcome_is_good(own) ? delivery_outcome(job->delivery) : own;
}

const char *spool_job_damage(const struct spool_job *job) { return job->damage; }
const struct delivery *spool_job_delivery(const struct spool_job *job) { return job->delivery; }
bool spool_job_is_past_dot(const struct spool_job *job) { return job->state == FINAL; }

void spool_job_cut(struct spool_job *job, const struct outcome *outcome)
{
	job->state = OVER;
	delivery_abort(job->delivery, outcome);
}

void spool_job_log(const struct spool_job *job, unsigned tries, time_t next_try)
{
	struct delivery_log log = {
	    .client = job->message->client,
	    .size = job->message->size,
	    .tries = tries,
	    .next_try = next_try,
	};

	delivery_log(job->delivery, &log);
}

static void release(void *object)
{
	struct spool_job *job = object;

	for (size_t i = 0; i < job->count; i++)
		free(job->recipients[i].dsn.orcpt);
	free(job->recipients);
	free(job->numbers);
	free(job);
}

void spool_job_free(struct spool_job **place)
{
	struct spool_job *job = *place;

	*place = NULL;
	if (!job)
		return;
	delivery_free(&job->delivery);
	reap_later(job->proxy->loop, job, release);
}
