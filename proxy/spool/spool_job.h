/*
 * spool_job.h - one try of one message of the spool at one domain: the same delivery as live mail,
 * with the body from a file.
 *
 * It changes nothing in the message: the runner asks what each recipient came to. Owner: runner.
 */
#ifndef PROXY_SPOOL_JOB_H
#define PROXY_SPOOL_JOB_H

#include "proxy/delivery.h"
#include "proxy/spool/spool_message.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct proxy;
struct spool_job;

/* Borrowed for the life of the job; file is read by position, so that jobs can share it. */
struct spool_body {
	int file;
	off_t start; /* of the first octet */
};

/* It is over: every outcome is known. Once, never from inside a call of this interface. */
typedef void spool_job_fn(struct spool_job *job, void *arg);

/*
 * message: borrowed for the life of the job; recipients: those that go, count > 0, all of this
 * domain, copied.
 */
struct spool_job *spool_job_start(struct proxy *proxy, const struct spool_message *message,
    const struct spool_body *body, const char *domain, const size_t *recipients, size_t count,
    spool_job_fn *callback, void *arg);

/* The result for the n-th of those recipients, and which of the message's it is. */
size_t spool_job_count(const struct spool_job *job);
size_t spool_job_recipient(const struct spool_job *job, size_t n);
const struct outcome *spool_job_outcome(const struct spool_job *job, size_t n);

/* Whether the file was not what it must be; "" or why. Nothing was delivered then. */
const char *spool_job_damage(const struct spool_job *job);

const struct delivery *spool_job_delivery(const struct spool_job *job);
bool spool_job_is_past_dot(const struct spool_job *job);

/* Ends it now, with outcome for whoever has none; no callback. */
void spool_job_cut(struct spool_job *job, const struct outcome *outcome);

/* The line of the log: tries and next_try as in delivery_log. */
void spool_job_log(const struct spool_job *job, unsigned tries, time_t next_try);

void spool_job_free(struct spool_job **job); /* NULL inside is welcome */

#endif
