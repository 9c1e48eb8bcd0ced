/*
 * spool_wire.h - what the loop and the disk process say to each other: frames over a stream socket.
 * Pure, fuzzed.
 *
 * Both ends are the same program, one forked from the other, so a frame is its own encoding; what
 * follows it (a message, ids) is text. Used by spool*.c alone.
 */
#ifndef PROXY_SPOOL_WIRE_H
#define PROXY_SPOOL_WIRE_H

#include "proxy/spool/spool.h"

#include <stdint.h>

enum spool_word {
	/* requests, in order; each is answered by one SPOOL_REPLY with its serial */
	SPOOL_SYNC,      /* id */
	SPOOL_COMMIT,    /* id, deadline, is_synced; the message */
	SPOOL_TAKE_BACK, /* id: row and file go */
	SPOOL_DISCARD,   /* id: its file goes, it never had a row */
	SPOOL_SETTLE,    /* the message */
	SPOOL_SET_ASIDE, /* id, why */
	SPOOL_REMEMBER,  /* until; the digest */
	SPOOL_RECALL,    /* before its reply any number of SPOOL_MEMORY */
	SPOOL_ASK,       /* max, order, is_worker; ids that are taken. Before its reply SPOOL_DUE */
	/* answers */
	SPOOL_REPLY,  /* ok, why; to SPOOL_ASK also count, next_due, is_changed */
	SPOOL_DUE,    /* a message */
	SPOOL_MEMORY, /* until; a digest */
	SPOOL_LOG,    /* count: a log level; a line for the log */
	SPOOL_WORDS,
};

struct spool_frame {
	uint32_t word;
	uint32_t size; /* octets that follow */
	uint64_t serial;
	char id[SPOOL_ID_SIZE]; /* "": none */
	char why[SPOOL_WHY];
	uint64_t room;      /* in replies: octets that mail may take, 0: none */
	int32_t room_error; /* an errno: why the directory cannot be written; 0: it can; ENODEV:
			     * it is another one */
	double deadline;    /* clock_steady(), which is the same in both */
	int64_t until, next_due;
	uint64_t max, count;
	uint8_t order, ok, is_synced, is_worker, is_changed;
};

enum { SPOOL_FRAME_MAX = 64 * 1024 * 1024 };

enum spool_wire { SPOOL_WIRE_MORE, SPOOL_WIRE_DONE, SPOOL_WIRE_BAD };

/* The frame at the front of data, and what follows it, borrowed; *used octets in all. */
enum spool_wire spool_wire_next(
    const char *data, size_t len, struct spool_frame *frame, const char **payload, size_t *used);

/* A list of ids as one text: fixed width, a blank behind each. */
bool spool_wire_has_id(const char *ids, size_t len, const char *id);

#endif
