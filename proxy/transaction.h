/*
 * transaction.h - one envelope and its message: from MAIL to the reply to the final dot.
 *
 * Holds the recipients in the client's order and a list of deliveries, one for each recipient
 * domain. At present a transaction carries one domain (452 for a second); several need no new
 * shape. It never answers the client itself: it says that something changed, and the session asks
 * what. Owner: session; after the final dot was sent on and the client left, itself (R-SMTP-70).
 */
#ifndef PROXY_TRANSACTION_H
#define PROXY_TRANSACTION_H

#include "conf/conf.h"
#include "proxy/outcome.h"
#include "proxy/smtp_parse.h"

#include <stdbool.h>
#include <stddef.h>

struct proxy;
struct transaction;

/* Whose mail it is; copied. */
struct transaction_origin {
	const char *session; /* id for the log */
	unsigned message;    /* number within the session; with it the id in Received is unique */
	const struct addr *client;
	const struct addr *local; /* our end of the connection */
	const char *helo;
	bool is_esmtp, is_tls;
	const struct conf_listener *listener; /* borrowed: lives as long as conf */
	const struct interception *interception;
};

/* Something changed: ask. Never called from inside a call of this interface. */
typedef void transaction_fn(void *arg);

struct transaction *transaction_new(struct proxy *proxy, const struct transaction_origin *origin,
    const struct smtp_command *mail, transaction_fn *callback, void *arg);

/* ---- recipients ---- */

/* Takes the recipient of RCPT (copied), whatever it will come to; the answer is told by
 * transaction_next_answer(), in order. */
void transaction_add_recipient(struct transaction *transaction, const struct smtp_command *rcpt);

/* The next recipient's outcome, once each, in the order of RCPT; NULL: none, or not known yet. */
const struct outcome *transaction_next_answer(struct transaction *transaction);
bool transaction_owes_answers(const struct transaction *transaction);
bool transaction_is_utf8(const struct transaction *transaction);

/* ---- the message ---- */

/* Where the message comes from: the client's stream now; a file of a spool would do as well. Octets
 * as on the wire of DATA. */
struct body_source {
	const char *(*peek)(void *arg, size_t *len); /* what is there now; len 0: nothing yet */
	void (*consume)(void *arg, size_t len);
	bool (*is_broken)(void *arg); /* whoever sends it is known to be gone */
	void *arg;
};

/*
 * All answers given, at least one recipient accepted: asks the next hops for the message. false: no
 * recipient was accepted, nothing was done.
 */
bool transaction_data(struct transaction *transaction);

enum transaction_data {
	TRANSACTION_DATA_WAITING,
	TRANSACTION_DATA_GO,      /* 354 */
	TRANSACTION_DATA_REFUSED, /* transaction_outcome() */
};
enum transaction_data transaction_data_reply(const struct transaction *transaction);

/*
 * Moves what can be moved now, from the source to the next hops, to the end of the message and no
 * octet further. To be called again when the source has more or something changed.
 */
void transaction_pump(struct transaction *transaction, const struct body_source *source);

/* Whether the client's final dot was seen: nothing more is taken from the source. */
bool transaction_has_ended_body(const struct transaction *transaction);

/* For the client's final dot (or DATA); code 0: not known yet. must_close: and no further command
 * from this client. */
const struct outcome *transaction_outcome(const struct transaction *transaction, bool *must_close);

/*
 * Ends it: RSET, QUIT, a new EHLO, the client's disappearance, or after the outcome was told. A
 * message whose final dot went out is waited for and logged; anything else ends without a dot. NULL
 * inside is welcome; the pointer is cleared.
 */
void transaction_leave(struct transaction **transaction, const char *why);

/* Shutdown will not wait longer: what is past its final dot ends, and is logged, as
 * outcome-unknown. */
void transaction_cut_finals(struct proxy *proxy);

#endif
