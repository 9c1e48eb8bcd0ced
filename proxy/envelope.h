/*
 * envelope.h - what MAIL and RCPT say (RFC 5321 section 3.3, RFC 3461): from the client, or from
 * the spool.
 */
#ifndef PROXY_ENVELOPE_H
#define PROXY_ENVELOPE_H

#include "proxy/duplicates.h"
#include "proxy/outcome.h"
#include "proxy/smtp/smtp_parse.h"

#include <stdbool.h>
#include <stdint.h>

struct delivery;
struct interception;

/* Shared by all deliveries of a message; its transaction or spool job owns it. */
struct envelope {
	struct smtp_path sender;
	uint64_t size; /* declared; 0: not */
	enum smtp_body_type body;
	bool smtputf8;
	struct smtp_dsn_mail dsn;                /* RET and ENVID */
	const struct interception *interception; /* how it came; NULL: from the spool */
};

struct recipient {
	struct smtp_path path;
	struct smtp_dsn_rcpt dsn; /* NOTIFY and ORCPT; owned */
	struct outcome outcome;   /* of its RCPT; later the message's */
	struct duplicate_who who;
	struct delivery *delivery;
	struct recipient *next; /* of the same delivery */
	bool is_logged;         /* in a line of the log already */
	bool is_promised;       /* the client was told 250 */
	bool is_known;          /* it has this message, or will: nothing is queued for it again */
	double came;            /* of the rough clock */
};

#endif
