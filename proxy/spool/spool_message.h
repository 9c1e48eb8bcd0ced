/*
 * spool_message.h - a message that danelaw answers for: its envelope, and each recipient that is
 * not done with.
 *
 * The same structure goes into the index, through the socket to the disk process, and to whoever
 * works on it. Times are of the wall clock: they outlive restarts. Owner: whoever got it;
 * spool_message_free().
 */
#ifndef PROXY_SPOOL_MESSAGE_H
#define PROXY_SPOOL_MESSAGE_H

#include "proxy/envelope.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { SPOOL_ID_SIZE = 32 };

struct spool_recipient {
	char *address; /* as the client spelled it; smtp_parse_path() takes it apart again */
	char domain[DOMAIN_SIZE];
	struct smtp_dsn_rcpt dsn;
	unsigned number; /* the spool's own: which of the message's rows it is */

	bool is_done; /* delivered, or its sender was told: leaves the index with the next update */
	bool is_failed;      /* for good, or for too long: the sender is still to be told */
	bool must_bounce;    /* an operator's order (danelaw queue bounce) */
	bool is_delay_told;  /* the notice after 4 hours went out */
	unsigned tries;      /* with the one while the client waited */
	time_t next_try;     /* not before */
	time_t last_try;     /* 0: none yet */
	struct outcome last; /* of the last try; code 0: none yet */
	char
	    last_hop[DOMAIN_SIZE + 64]; /* "mx1.example.org[192.0.2.25]:25"; "": none was reached */
};

struct spool_message {
	char id[SPOOL_ID_SIZE]; /* a file name, too; sorts by arrival */
	time_t arrived;
	char *session;   /* the client's, for the log; a notice has its own */
	char client[64]; /* address text; "": a notice of ours */
	struct envelope envelope;
	bool has_8bit;  /* the body holds octets >= 0x80 */
	bool is_notice; /* a DSN of ours */
	uint64_t size;  /* octets of the body as it goes to a next hop, dot-stuffed, without the
			   final dot */
	size_t count;
	struct spool_recipient *recipients;
};

void spool_message_free(struct spool_message **message); /* NULL inside is welcome */

#endif
