/*
 * spool_task.h - one message of the spool in work: what each of its recipients is about, and the
 * rounds in which results become notices and then truth on the disk.
 *
 * Results of several domains come when they come. One round at a time takes those that are there:
 * the sender is told of failures, of delays, of what was relayed, and only then the spool hears of
 * it all. What is cut short in between is tried or told again, never forgotten. Owner: runner.
 */
#ifndef PROXY_SPOOL_TASK_H
#define PROXY_SPOOL_TASK_H

#include "proxy/spool/spool.h"
#include "proxy/spool/spool_job.h"

#include <stdbool.h>
#include <stddef.h>

struct proxy;

enum spool_stage {
	STAGE_RESTS,   /* not due, or settled */
	STAGE_WAITS,   /* due; its domain's try is to begin */
	STAGE_TRIED,   /* a job has it */
	STAGE_CHANGED, /* something became of it; the next round stores that */
	STAGE_STORING, /* this round */
};

struct spool_task;

/* A round ended: the task may be over. Never from inside a call of this interface. */
typedef void spool_task_fn(struct spool_task *task, void *arg);

/* message: handed over. Those that are due wait; those that an operator gives back have failed. */
struct spool_task *spool_task_new(struct proxy *proxy, struct spool_message **message, time_t now,
    spool_task_fn *callback, void *arg);

const struct spool_message *spool_task_message(const struct spool_task *task);

/*
 * The domain of the first recipient that waits, from recipient *from on, which moves behind it;
 * NULL: none. May tell a domain more than once.
 */
const char *spool_task_next_domain(const struct spool_task *task, size_t *from);

/*
 * Begins a try of all that wait for this domain. NULL: the file cannot be read now, and all
 * that wait are put off; where it is damaged the task is over.
 */
struct spool_job *spool_task_try(
    struct spool_task *task, const char *domain, spool_job_fn *callback, void *arg);

/* What a job came to; it is logged and freed. */
void spool_task_take_result(struct spool_task *task, struct spool_job **job);

/* A job ends without result: its recipients wait for another day. Freed. */
void spool_task_drop_job(struct spool_task *task, struct spool_job **job);

/* All that wait are put off; a limit of ours is in the way. */
void spool_task_put_off(struct spool_task *task);

/* Nothing new: what waits stays in the spool as it is. */
void spool_task_stop(struct spool_task *task);

/* The spool gave the message once more, after a round had stored a part: kept until the task ends.
 * Handed over. */
void spool_task_take_again(struct spool_task *task, struct spool_message **message);

size_t spool_task_jobs(const struct spool_task *task);
bool spool_task_is_over(const struct spool_task *task); /* nothing waits, runs or is to be stored */

/* Gives the message back to the spool, or sets it aside; it stays there as last stored. NULL inside
 * is welcome. */
void spool_task_free(struct spool_task **task);

#endif
