/*
 * relay.h - the body of a message on its way: from its source to every next hop that takes it, and
 * beside them into the spool.
 *
 * One scan serves all. The slowest next hop sets the pace; one that stalls or fails, or holds up
 * the others for too long in all, falls out and the others go on (R-SMTP-76). What is wrong with
 * the message itself ends it for all. The final dot is not sent here. A part of transaction.
 */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

#include "proxy/outcome.h"
#include "proxy/smtp/smtp_body.h"
#include "tls/fingerprint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf_listener;
struct delivery;
struct proxy;
struct received;
struct spool_draft;

/* Where the message comes from: the client's stream. Octets as on the wire of DATA. */
struct body_source {
	const char *(*peek)(void *arg, size_t *len); /* what is there now; len 0: nothing yet */
	void (*consume)(void *arg, size_t len);
	bool (*is_broken)(void *arg); /* whoever sends it is known to be gone */
	void *arg;
};

/* One of the next hops of a message. */
struct outlet {
	struct delivery *delivery;
	bool is_apart;   /* for one recipient who may have this message already */
	bool is_further; /* claimed from the pool */
	double held;     /* seconds that it alone kept the others waiting */
	struct outlet *next;
};
bool outlets_are_writing(const struct outlet *outlets); /* any of them */

/* What the next hops get later than the draft: as it goes to each. */
struct relay_tail {
	char *octets; /* NULL: none */
	size_t len;
};

/* Zeroed is empty. */
struct relay {
	struct outlet *outlets;    /* borrowed; NULL: the draft alone */
	struct spool_draft *draft; /* borrowed; NULL: none */
	struct smtp_body body;
	char *received;         /* our field; NULL once it is written */
	struct relay_tail tail; /* waits for relay_write_tail() */
	uint64_t written;       /* octets as they go to each next hop, with our Received field */
	uint64_t drained;       /* of a refused message, read for the sake of a clean reply */
	struct outcome refusal; /* of the message, for all; code 0: none */
	bool must_close;        /* and no further command from this client */
	bool is_over;           /* nothing more is taken from the source */
	struct fingerprint *fingerprint; /* of what the client sent */
	struct outlet *holder;           /* keeps all others waiting now; NULL: none */
	double held_since;               /* of the rough clock */
};

/*
 * outlets and draft stay the caller's. Our Received field leaves with the message's first octets.
 * With a draft the final dot waits for the disk, and the last octets before it wait, too, so that
 * all leave in one piece.
 */
void relay_begin(struct relay *relay, const struct proxy *proxy,
    const struct conf_listener *listener, const struct received *received);

enum relay_progress {
	RELAY_MOVING, /* to be called again when the source has more or a next hop has room */
	RELAY_ENDED,  /* the client's final dot was seen */
	RELAY_CUT,    /* nobody takes it any more, and too much of it follows */
};

/* Moves what can be moved now, to the end of the message and no octet further. */
enum relay_progress relay_pump(struct relay *relay, const struct body_source *source);

/* What is left of `patience` for the one that holds up all others; 0: nobody does. */
double relay_patience_left(const struct relay *relay, double patience);
/* That one falls out. */
void relay_drop_holder(struct relay *relay);

/* After RELAY_ENDED, and before the final dots. */
void relay_write_tail(struct relay *relay);

void relay_release(struct relay *relay);

#endif
