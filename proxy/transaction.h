/*
 * transaction.h - one envelope and its message: from MAIL to what the client is told at its end.
 *
 * Holds the recipients in the client's order and a list of deliveries, one for each recipient
 * domain. How several domains are served is the listener's choice ([listener] delivery). It never
 * answers the client itself: it says that something changed, and the session asks what. Owner:
 * session; after the final dot was sent on and the client left, itself (R-SMTP-70).
 */
#ifndef PROXY_TRANSACTION_H
#define PROXY_TRANSACTION_H

#include "conf/conf.h"
#include "proxy/outcome.h"
#include "proxy/relay.h"
#include "proxy/smtp/smtp_parse.h"

#include <stdbool.h>
#include <stddef.h>

struct proxy;
struct transaction;
struct unheard;

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

/* Every further one is told to come in another transaction. */
void transaction_take_no_more(struct transaction *transaction);
bool transaction_has_accepted(const struct transaction *transaction); /* and said so */

/* The next recipient's outcome, once each, in the order of RCPT; NULL: none, or not known yet. */
const struct outcome *transaction_next_answer(struct transaction *transaction);
bool transaction_owes_answers(const struct transaction *transaction);
bool transaction_is_utf8(const struct transaction *transaction);

/* ---- the message ---- */

/* DATA, and nothing else, waits behind the RCPTs that are not answered yet: the next hops may be
 * asked for the message together with them. May be said again. */
void transaction_foresee_data(struct transaction *transaction);

/*
 * All answers given, at least one recipient accepted: asks the next hops for the message. false: no
 * recipient was accepted, nothing was done.
 */
bool transaction_data(struct transaction *transaction);

enum transaction_data {
	TRANSACTION_DATA_WAITING,
	TRANSACTION_DATA_GO,      /* 354 */
	TRANSACTION_DATA_REFUSED, /* transaction_next_final() */
};
enum transaction_data transaction_data_reply(const struct transaction *transaction);

/* Takes of the message what can be moved now, to its end and no octet further. To be called again
 * when the source has more or something changed. */
void transaction_pump(struct transaction *transaction, const struct body_source *source);

/* Whether the client's final dot was seen: nothing more is taken from the source. */
bool transaction_has_ended_body(const struct transaction *transaction);

/*
 * What the client is told for its final dot, or for a DATA that was refused: one reply; under LMTP
 * one for each recipient that it was told 250 for, in order (RFC 2033 4.2). Once each; NULL: not
 * known yet, or all were told.
 */
const struct outcome *transaction_next_final(struct transaction *transaction);
bool transaction_is_told(const struct transaction *transaction);    /* all of them */
bool transaction_must_close(const struct transaction *transaction); /* and then no command more */

/* After it was told all: who has the message, for the time until the client has heard it. Should
 * it not hear and bring the message again, nobody is to get it twice. */
void transaction_note_told(const struct transaction *transaction, struct unheard *unheard);

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
