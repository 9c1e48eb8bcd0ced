/*
 * smtp_client.h - the conversation with one address of a next hop (RFC 5321, RFC 3207).
 *
 * Two parts: the approach, a script from the TCP connection to a proven, ready next hop; then any
 * number of envelopes with their messages. What must be proven is decided before (policy/) and
 * checked at one gate: no state that can send MAIL is entered unless tls_rule_is_met(). Owner:
 * approach, then delivery or pool, never two of them. No event arrives inside a call of this
 * interface, none after smtp_client_close().
 */
#ifndef PROXY_SMTP_CLIENT_H
#define PROXY_SMTP_CLIENT_H

#include "conf/addr.h"
#include "policy/reason.h"
#include "proxy/smtp/smtp_reply.h"
#include "tls/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct envelope;
struct pool_hop;
struct proxy;
struct recipient;
struct smtp_client;
struct tls_chain;

enum smtp_client_event {
	CLIENT_READY,        /* proven, and ready for an envelope; also after smtp_client_reset() */
	CLIENT_MAIL_REFUSED, /* reply: to MAIL; no RCPT needs to be asked any more */
	CLIENT_RCPT,         /* reply: to one RCPT, in the order of smtp_client_rcpt() */
	CLIENT_DATA,         /* reply: to DATA; 354: write the message now */
	CLIENT_DRAINED,      /* there is room for more of the message */
	CLIENT_EARLY, /* reply: 4xx or 5xx in the middle of the message; nothing more may be written
		       */
	CLIENT_FINAL, /* reply: to the final dot */
	CLIENT_FAILED, /* the last event: see smtp_client_failure() */
};

typedef void smtp_client_fn(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg);

struct smtp_client_target {
	const char *host; /* for texts, "" for an address; copied */
	const struct addr *address;
	const struct tls_rule *rule; /* copied */
	bool in_clear; /* do not ask for TLS though the rule would: second try of TLS_MAY */
	/* Its TLS session may be resumed later, and it may resume one: not where less is asked
	 * than the destination's policy asks (enforce = no). */
	bool keeps_session;
	const struct addr *source; /* to leave with, port 0; NULL: any. Copied, and so is ... */
	const char *ehlo;          /* ... our name; NULL: [server] hostname */
};

/* Connects and carries the approach through. Never NULL. */
struct smtp_client *smtp_client_start(struct proxy *proxy, const struct smtp_client_target *target,
    smtp_client_fn *callback, void *arg);

/* The connection changes hands. */
void smtp_client_set_owner(struct smtp_client *client, smtp_client_fn *callback, void *arg);

enum smtp_client_stage {
	STAGE_CONNECT, /* no greeting came: the address is dead or refuses to serve */
	STAGE_TLS,     /* STARTTLS missing or refused, handshake or proof failed, injection */
	STAGE_SESSION, /* anything later */
};
struct smtp_client_failure {
	enum smtp_client_stage stage;
	enum reason reason; /* connect-failed, connection-lost, outcome-unknown; busy: our own want
			       of descriptors or memory; STAGE_TLS: REASON_NONE */
	char text[320];
};
const struct smtp_client_failure *smtp_client_failure(const struct smtp_client *client);

/* It is leaving (RFC 5321 3.8). */
bool smtp_client_said_421(const struct smtp_client *client);

/* It was greeted with our own greeting_name: whatever was dialled, danelaw has answered. */
bool smtp_client_met_ourselves(const struct smtp_client *client);

/* What the second EHLO offered, where there was TLS (R-TLSSEC-03). From CLIENT_READY on. */
const struct smtp_offer *smtp_client_offer(const struct smtp_client *client);
const struct tls_proof *smtp_client_proof(const struct smtp_client *client); /* NULL: in clear */
/* A TLS session was to be resumed: where that failed, a new connection makes a full handshake. */
bool smtp_client_offered_session(const struct smtp_client *client);
/* The certificates that the next hop sent, after a completed handshake; with keeps_session, its own
 * alone. chain holds nothing yet. */
void smtp_client_chain(const struct smtp_client *client, struct tls_chain *chain);
const struct addr *smtp_client_address(const struct smtp_client *client);
const struct pool_hop *smtp_client_hop(const struct smtp_client *client);
/* The name that it was greeted with on behalf of a client, and the address; "" and NULL: our own.
 */
const char *smtp_client_ehlo(const struct smtp_client *client);
const struct addr *smtp_client_source(const struct smtp_client *client);
const char *smtp_client_name(
    const struct smtp_client *client); /* "mx1.example.org[192.0.2.25]:25" */
const char *smtp_client_state(const struct smtp_client *client); /* what we wait for, for texts */
unsigned smtp_client_messages(
    const struct smtp_client *client); /* envelopes begun on this connection */
double smtp_client_tls_seconds(const struct smtp_client *client);

/* ---- one envelope; only after CLIENT_READY ---- */

/* size: to declare in place of the envelope's own; 0: none. Parameters go out only where they are
 * offered; addresses and DSN's values as they came. */
void smtp_client_mail(struct smtp_client *client, const struct envelope *envelope, uint64_t size);
/* May follow at once; pipelined where that is offered (R-SMTP-30). */
void smtp_client_rcpt(struct smtp_client *client, const struct recipient *recipient);
/* After at least one RCPT got 2xx and none is outstanding. */
void smtp_client_data(struct smtp_client *client);
/*
 * No further RCPT follows, and the message will whatever some of them are answered: DATA leaves
 * with the RCPTs where that is offered, and CLIENT_DATA may come before smtp_client_data(). Where
 * nobody was accepted nothing is told of it (R-SMTP-31).
 */
void smtp_client_foresee_data(struct smtp_client *client);

/* The message, dot-stuffed, without its end; len <= smtp_client_room(). After 354. */
void smtp_client_write(struct smtp_client *client, const void *data, size_t len);
void smtp_client_push(struct smtp_client *client, const void *data, size_t len); /* stream_push() */
size_t smtp_client_room(const struct smtp_client *client);
/* ".\r\n": the one place in the program that sends it. patience: seconds for the final reply. */
void smtp_client_end(struct smtp_client *client, double patience);

/*
 * Ends what is left of an envelope, for the pool. false: something is under way or went wrong, it
 * cannot be kept. true: it is ready again, or a CLIENT_READY follows.
 */
bool smtp_client_park(struct smtp_client *client);

/* The next envelope may begin at once: the last one ended with a reply, and nothing was said since.
 */
bool smtp_client_is_ready(const struct smtp_client *client);

/* QUIT where the conversation allows it, never a final dot (R-SMTP-69). NULL inside is welcome; the
 * pointer is cleared. */
void smtp_client_close(struct smtp_client **client);

/*
 * After outcome-unknown: nobody waits any more, but a late reply is worth a line in the log
 * (possible duplicate). Takes the client over; it ends by itself after another [timeouts] data_end.
 */
void smtp_client_await_late_reply(struct smtp_client **client, const char *session);
/* Those of them that are left when the program ends. */
void smtp_client_close_late(struct proxy *proxy);

#endif
