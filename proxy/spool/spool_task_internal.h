/*
 * spool_task_internal.h - shared by spool_task.c (what each recipient is about) and spool_round.c
 * (what became of it is told and stored).
 */
#ifndef PROXY_SPOOL_TASK_INTERNAL_H
#define PROXY_SPOOL_TASK_INTERNAL_H

#include "proxy/spool/spool_task.h"

struct progress {
	enum spool_stage stage;
	bool owes_relayed;
	bool is_told_of; /* the notice on its way speaks of it */
};

struct spool_task {
	struct proxy *proxy;
	spool_task_fn *callback;
	void *arg;

	struct spool_message *message;
	struct spool_message *again;
	bool is_ours; /* the spool will not give it out until it hears of it */
	struct progress *progress;
	struct spool_body body;
	size_t jobs;
	char damage[160];

	bool in_round;
	size_t step; /* of the round: what comes next */
	const struct spool_recipient **about;
};

/* Whose message it is, for the log. */
const char *spool_task_session(const struct spool_task *task);

/* An event of the log about one recipient. */
void spool_task_log(const struct spool_task *task, const char *event,
    const struct spool_recipient *recipient, const char *why);

/* A round for what has changed, unless one is under way: that goes on by itself. */
void spool_round_begin(struct spool_task *task);

#endif
