/*
 * reason.h - the stable reason codes, and what each means to a client (interface section 3).
 *
 * One table: code, SMTP reply, enhanced status. Names are a contract with users: log, metrics and
 * sub-commands show the same ones.
 */
#ifndef POLICY_REASON_H
#define POLICY_REASON_H

#include <stdbool.h>

enum reason {
	REASON_NONE,
	REASON_DNS_BOGUS,
	REASON_DNS_FAILED,
	REASON_NO_SUCH_DOMAIN,
	REASON_NO_MAIL_HOST,
	REASON_ADDRESS_LITERAL,
	REASON_NULL_MX,
	REASON_BAD_ADDRESS,
	REASON_NO_ADDRESS,
	REASON_MX_LOOP,
	REASON_CONNECT_FAILED,
	REASON_CONNECTION_LOST,
	REASON_OUTCOME_UNKNOWN,
	REASON_DANE_NO_STARTTLS,
	REASON_TLS_NOT_OFFERED,
	REASON_TLS_HANDSHAKE,
	REASON_DANE_MISMATCH,
	REASON_DANE_NAME,
	REASON_DANE_EXPIRED,
	REASON_DANE_CHAIN,
	REASON_DANE_REQUIRED,
	REASON_PKIX_CERTIFICATE, /* level secure */
	REASON_STS_MX,
	REASON_STS_CERTIFICATE,
	REASON_STS_NO_STARTTLS,
	REASON_STS_FETCH, /* refuses under first_contact = defer alone; else a warning */
	REASON_HINT_MISMATCH,
	REASON_ONE_DOMAIN,
	REASON_TOO_MANY_RECIPIENTS,
	REASON_NOT_ALLOWED,
	REASON_TOO_LARGE,
	REASON_MAIL_LOOP,
	REASON_BARE_NEWLINE,
	REASON_BAD_CONTENT,
	REASON_NO_8BITMIME,
	REASON_NO_SMTPUTF8,
	REASON_BUSY,
	REASON_IDLE,
	REASON_OVERLOAD,
	REASON_SHUTDOWN,
	REASON_SPOOL_FAILED,
	REASON_NEXT_HOP,  /* the next hop's own refusal, passed through; log only: `-` */
	REASON_DUPLICATE, /* delivered before: 250, and nothing is sent */
	/* never refuse by themselves */
	REASON_STS_POLICY_INVALID,
	REASON_MIDDLEBOX,
	REASON_COUNT,
};

const char *reason_code(enum reason reason);   /* "dane-mismatch"; REASON_NONE and _NEXT_HOP: "-" */
int reason_reply(enum reason reason);          /* 451 */
const char *reason_status(enum reason reason); /* "4.7.5" */
bool reason_is_tls(enum reason reason); /* 4.7.4 or 4.7.5: what enforce = no turns into delivery */

/*
 * A refusal in the making: the code, and one line for a mail administrator (host, record, seen,
 * wanted, what to do). The text is without code and status; it may hold peers' text, which is
 * filtered where it leaves.
 */
struct refusal {
	enum reason reason;
	char text[448];
};
void refusal_set(struct refusal *refusal, enum reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
