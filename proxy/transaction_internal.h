/*
 * transaction_internal.h - shared by transaction.c (DATA, the body, the end),
 * transaction_rcpt.c (recipients and their answers), transaction_final.c (from the client's final
 * dot to what it is told) and transaction_spool.c (what danelaw keeps).
 */
#ifndef PROXY_TRANSACTION_INTERNAL_H
#define PROXY_TRANSACTION_INTERNAL_H

#include "proxy/delivery.h"
#include "proxy/duplicates.h"
#include "proxy/intercept/intercept.h"
#include "proxy/proxy.h"
#include "proxy/relay.h"
#include "proxy/spool/spool.h"
#include "proxy/transaction.h"

#include <ev.h>

/* Named after what we wait for. */
enum state {
	ENVELOPE, /* recipients, and their next hops' answers */
	DATA,     /* the next hops' replies to DATA */
	BODY,     /* the client's message */
	SYNC,     /* the disk, before our final dots */
	FINAL,    /* the replies to our final dots */
	COMMIT,   /* the disk, before we promise anything */
	ENDED,    /* the client, to be told */
};

struct transaction {
	struct proxy *proxy;
	char session[32];
	unsigned message;
	struct addr client, local;
	char client_text[ADDR_TEXT];
	char *helo;
	bool is_esmtp, is_tls;
	const struct conf_listener *listener;
	struct interception interception;
	transaction_fn *callback; /* NULL: the client is gone, and we own ourselves */
	void *arg;

	enum state state;
	struct envelope envelope;
	size_t recipient_count;
	struct recipient **recipients;
	size_t answered;
	size_t surplus; /* further RCPTs that wait for their refusal: they come last and cost no
			   memory */
	size_t refused_surplus;
	bool is_full; /* every further RCPT is surplus */
	bool foresees_data;
	struct outlet *outlets;
	size_t outlet_count;

	struct relay relay;
	struct spool_draft *draft; /* NULL: nothing touches the disk */
	char id[SPOOL_ID_SIZE];    /* of the draft */
	time_t arrived;
	unsigned char body_print[FINGERPRINT_SIZE];
	double dot_seen; /* of the rough clock: the client's final dot */
	size_t known;    /* recipients from the first on whose outcome is known */

	struct outcome outcome; /* of the message as a whole */
	bool is_told_each;      /* LMTP, and the client has sent the message */
	size_t told;            /* replies, or recipients looked at */
	ev_timer patience; /* ENVELOPE: for a queueing client's answer; BODY: for the slowest next
			      hop; COMMIT: for the disk */

	struct transaction *prev, *next; /* FINAL: among proxy->finals */
};

/* Borrows from both. */
static inline struct duplicate_key transaction_duplicate_key(
    const struct transaction *t, struct recipient *r)
{
	return (struct duplicate_key){
	    t->client_text, t->envelope.sender.address, r->path.address, &r->who};
}

static inline bool is_queueing(const struct transaction *t)
{
	return t->listener->delivery == DELIVERY_QUEUE;
}
static inline bool is_lmtp(const struct transaction *t)
{
	return t->listener->protocol == PROTOCOL_LMTP;
}

/* ---- transaction_rcpt.c ---- */

/* Its next hop is let go; the outlet itself stays. */
void outlet_let_go(struct transaction *t, struct outlet *outlet);

/* ---- transaction.c ---- */

/* Logs, and ends what is left; memory goes when the loop turns. */
void transaction_close(struct transaction *t);
void transaction_on_delivery(struct delivery *delivery, enum delivery_event event, void *arg);
void transaction_set_patience(struct transaction *t, double seconds);

/* ---- transaction_final.c ---- */

/* The message is over, or nobody takes it (any more). */
void final_begin(struct transaction *t);
/* What the deliveries came to, once all is known: the client's answer, or a commit before it. */
void final_decide(struct transaction *t);
/* The same for the whole message, with no regard to deliveries that had a say. */
void final_end(struct transaction *t, const struct outcome *outcome);
/* A delivery ended. */
void final_on_delivery(struct transaction *t, const struct delivery *d);
/* The client has left while the final reply is waited for: the duplicate guard knows until then. */
void final_orphan(const struct transaction *t);
/* Who has the message though the client will not know: for the duplicate guard. */
void final_remember_accepted(const struct transaction *t);
/* The same where the client left before it was told what is known already. */
void final_remember_untold(const struct transaction *t);

/* ---- transaction_spool.c ---- */

/* A draft for all that was promised. false: *refusal. */
bool keep_begin(struct transaction *t, struct outcome *refusal);
/* All recipients that the client was told 250 for and that have not got the message. */
void keep_commit(struct transaction *t);
void keep_on_patience_over(struct transaction *t);

#endif
