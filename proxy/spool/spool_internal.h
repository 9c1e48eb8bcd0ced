/*
 * spool_internal.h - what spool.c, spool_settle.c, spool_queue.c and spool_draft.c share: the side
 * of the loop.
 */
#ifndef PROXY_SPOOL_INTERNAL_H
#define PROXY_SPOOL_INTERNAL_H

#include "proxy/spool/spool.h"
#include "proxy/spool/spool_wire.h"
#include "tls/buf.h"

#include <ev.h>
#include <sys/types.h>

/* The default function falls through between cases, which clang does not let pass. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

struct spool_request {
	struct spool_frame frame;
	char *payload; /* frame.size octets */
	bool is_sent;
	bool is_refused;   /* not for the disk: the callback says frame.why */
	bool is_lasting;   /* tried again until it succeeds, as somebody was promised something */
	double not_before; /* clock_steady() */
	double asked, sent;
	unsigned tries;
	uint64_t written; /* by drafts, when this was sent */
	time_t next_try;  /* of the message, once this is done; 0: never */

	/* one of them, or none */
	spool_draft_fn *on_done;
	spool_due_fn *on_due;
	spool_memory_fn *on_memory;
	void *arg;

	struct spool_request *prev, *next;
};

struct spool_taken {
	UT_hash_handle hh;
	char id[SPOOL_ID_SIZE];
};

struct spool {
	struct ev_loop *loop;
	char *directory;
	int lock;       /* -1: not open yet */
	bool is_worker; /* the lock is ours */

	pid_t disk; /* 0: none */
	ev_io socket;
	struct buf in, out;
	ev_timer tick;
	ev_timer revive;
	double revive_after;
	ev_timer kick; /* only fed: what was asked in a turn goes out together at its end */

	struct spool_request *requests; /* in order */
	size_t waiting_memories;
	uint64_t serial;
	struct spool_taken *taken;

	bool is_usable;
	char why[SPOOL_WHY]; /* it is not */
	bool has_trouble;    /* told */
	uint64_t written;    /* octets, by all drafts */
	uint64_t room;       /* as last reported, and what had been written when that was asked */
	uint64_t written_before;
	int room_error;
	size_t count;
	time_t next_due;
	void (*on_change)(void *arg);
	void *change_arg;
};

/* ---- spool_queue.c ---- */

/* A new one, to be filled in and then put into the queue; payload is handed over. */
struct spool_request *spool_request_new(enum spool_word word, const char *id);
void spool_queue_add(struct spool *spool, struct spool_request *request);
void spool_queue_drop(struct spool *spool, struct spool_request **request); /* no callback */

void spool_queue_open(struct spool *spool);
/* Blocks until the request has been answered, or none is left where it is NULL. */
void spool_queue_run(struct spool *spool, const struct spool_request *request, double seconds);
void spool_queue_close(struct spool *spool, double seconds);

/* The disk process has not answered for so long, in seconds. */
double spool_queue_silence(const struct spool *spool);

/* ---- spool.c ---- */

/* SPOOL_DUE and SPOOL_MEMORY. */
void spool_hear(struct spool *spool, struct spool_request *request, const struct spool_frame *frame,
    const char *payload);
/* false: the request stays in the queue, to be sent again. */
bool spool_hear_reply(
    struct spool *spool, struct spool_request *request, const struct spool_frame *frame);
void spool_fill_ask(struct spool *spool, struct spool_request *request);
void spool_on_tick(struct spool *spool);
void spool_tell_trouble(struct spool *spool, const char *why);
/* The message may be given out again. */
void spool_let_go(struct spool *spool, const char *id);

/* Whether more than the reserve is free, as far as known. */
bool spool_has_room(const struct spool *spool, char why[SPOOL_WHY]);

/* ---- spool_draft.c ---- */

/* It was not answered in time. */
void spool_draft_expire(struct spool *spool, struct spool_request *request);

#endif
