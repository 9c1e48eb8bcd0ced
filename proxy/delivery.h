/*
 * delivery.h - one next hop of a message: its recipients, its connection, its result.
 *
 * All recipients of one domain share a delivery. It approaches the next hop when its first
 * recipient comes, tells each recipient's outcome, carries the body, and ends in one outcome for
 * the message. Owner: transaction. No event arrives inside a call of this interface.
 */
#ifndef PROXY_DELIVERY_H
#define PROXY_DELIVERY_H

#include "proxy/envelope.h"
#include "proxy/outcome.h"
#include "proxy/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct delivery;
struct proxy;

enum delivery_event {
	DELIVERY_RCPT,    /* some recipient's outcome became known */
	DELIVERY_DATA,    /* 354, or delivery_outcome() is known */
	DELIVERY_DRAINED, /* room for more of the message */
	DELIVERY_ENDED,   /* the outcome is known: of the final dot, or of a failure before it */
};
typedef void delivery_fn(struct delivery *delivery, enum delivery_event event, void *arg);

/* session, client: for the log, borrowed. domain: normal form. */
struct delivery *delivery_new(struct proxy *proxy, const char *session,
    const struct envelope *envelope, const char *domain, enum pool_want want, delivery_fn *callback,
    void *arg);

/*
 * Adds one; recipient stays the transaction's. Its outcome may be known at once, without event,
 * where the next hop was refused already.
 */
void delivery_add_recipient(struct delivery *delivery, struct recipient *recipient);

const char *delivery_domain(const struct delivery *delivery);
struct recipient *delivery_recipients(const struct delivery *delivery); /* a list */
bool delivery_is_live(
    const struct delivery *delivery); /* a recipient was accepted or is not decided yet */
bool delivery_wants_message(
    const struct delivery *delivery); /* a recipient was accepted and nothing failed since */
bool delivery_takes_8bit(const struct delivery *delivery);
/* Whether the next hop was handed the duties of RFC 3461; false: those of NOTIFY=SUCCESS are ours
 * (R-SMTP-54). Of the last next hop reached, also when the connection is gone. */
bool delivery_hop_knows_dsn(const struct delivery *delivery);

/* The client has sent its DATA behind the recipients, and will send the message if any of them is
 * accepted: no more of them come, and DATA need not wait for their replies. */
void delivery_foresee_data(struct delivery *delivery);
void delivery_data(struct delivery *delivery);
bool delivery_is_asking(const struct delivery *delivery);  /* DATA was sent, no reply yet */
bool delivery_is_writing(const struct delivery *delivery); /* 354 came, the message has not ended */
size_t delivery_room(const struct delivery *delivery);
void delivery_write(struct delivery *delivery, const void *data, size_t len);
void delivery_push(struct delivery *delivery, const void *data, size_t len); /* stream_push() */
/* The final dot; patience: seconds for the reply, of [timeouts] data_end. */
void delivery_end(struct delivery *delivery, double patience);

/* The message will not be completed (R-SMTP-69, -75): the connection is closed without a dot; this
 * is what its recipients came to. */
void delivery_abort(struct delivery *delivery, const struct outcome *outcome);

/* "mx1.example.org[192.0.2.25]:25": the host that was reached or tried last; "": none. */
void delivery_hop_text(const struct delivery *delivery, char *out, size_t size);

/* Of the message; code 0 until it ended. */
const struct outcome *delivery_outcome(const struct delivery *delivery);

/* The log line of interface section 4; nothing where there is nothing to tell (no recipient
 * refused, no message). */
struct delivery_log {
	const char *client; /* address text */
	uint64_t size;
	bool is_client_gone;
	unsigned tries;  /* with this one and the client's; 0: the client waits for it */
	time_t next_try; /* 0: none */
};
void delivery_log(const struct delivery *delivery, const struct delivery_log *log);
/* The same for recipients (a list) that were refused without a next hop. */
void delivery_log_refused(const struct proxy *proxy, const char *session,
    const struct envelope *envelope, const struct recipient *recipients,
    const struct delivery_log *log);

/* The connection goes to the pool where it may, else it is closed. NULL inside is welcome; the
 * pointer is cleared. */
void delivery_free(struct delivery **delivery);

#endif
