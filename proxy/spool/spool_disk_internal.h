/*
 * spool_disk_internal.h - shared by spool_disk.c (a turn of the disk process) and spool_due.c (what
 * it gives out).
 */
#ifndef PROXY_SPOOL_DISK_INTERNAL_H
#define PROXY_SPOOL_DISK_INTERNAL_H

#include "proxy/spool/spool_care.h"
#include "proxy/spool/spool_wire.h"

enum { SPOOL_TURN_MAX = 256 /* requests */ };

struct job {
	struct spool_frame request;
	const char *payload;
	struct spool_message *message;
	struct spool_frame reply;
	bool is_gone; /* settled, and nobody is left */
};

struct disk {
	struct spool_care care;
	int64_t version; /* of the index, as last seen */
	bool must_check; /* its rows, once it can be read */

	char *in; /* in_len octets came and are not done with */
	size_t in_len, in_size;
	struct job jobs[SPOOL_TURN_MAX];
	size_t count;
};

void spool_disk_send(struct spool_frame *frame, const void *payload, size_t size);
void spool_disk_tell(enum log_level level, const char *text); /* a line for the loop's log */
void spool_disk_answer(struct job *job, bool ok, const char *why);

/* SPOOL_ASK: gives out what is due, and says when more will be. */
void spool_due_ask(struct disk *disk, struct job *job);

#endif
