/*
 * outcome.h - what became of a recipient or a message: the reply that the client gets, and its
 * reason code.
 *
 * Either the next hop's own words, passed through, or our refusal in one line (interface section
 * 3).
 */
#ifndef PROXY_OUTCOME_H
#define PROXY_OUTCOME_H

#include "policy/reason.h"
#include "proxy/smtp/smtp_reply.h"

#include <stdbool.h>
#include <stddef.h>

struct outcome {
	int code;           /* of the reply; 0: not known yet */
	enum reason reason; /* REASON_NONE: accepted; REASON_NEXT_HOP: its own refusal */
	char text[1024];    /* with the enhanced status; lines separated by '\n' */
};

void outcome_refuse(struct outcome *outcome, const struct refusal *refusal);
void outcome_refuse_text(struct outcome *outcome, enum reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The next hop's reply to RCPT: 421 becomes 451 4.4.2, 552 becomes 452 (R-SMTP-59). */
void outcome_of_rcpt(struct outcome *outcome, const struct smtp_reply *reply, const char *host);

/* To MAIL, given as the reply to each RCPT, with words that say so (R-SMTP-58). */
void outcome_of_mail(struct outcome *outcome, const struct smtp_reply *reply, const char *host);

/* To DATA or to the final dot: any 2xx becomes 250 (R-SMTP-77), 421 becomes 451. */
void outcome_of_final(struct outcome *outcome, const struct smtp_reply *reply, const char *host);

static inline bool outcome_is_known(const struct outcome *o) { return o->code != 0; }
static inline bool outcome_is_good(const struct outcome *o) { return o->code / 100 == 2; }

/* "sent", "deferred", "refused", "unknown" (interface section 4). */
const char *outcome_status(const struct outcome *outcome);

#endif
