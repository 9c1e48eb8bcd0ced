/*
 * dsn.h - delivery status notifications (RFC 3464, RFC 3462, RFC 6522): the text. Pure.
 *
 * multipart/report of a part for people, one for programs, and the headers of the original. The
 * part for people says what our reason codes mean and who can mend it. Called by notice.c.
 */
#ifndef PROXY_DSN_H
#define PROXY_DSN_H

#include "proxy/spool/spool_message.h"

#include <stddef.h>
#include <time.h>

enum dsn_kind {
	DSN_FAILED,
	DSN_DELAYED, /* still trying */
	DSN_RELAYED, /* NOTIFY=SUCCESS, and the next hop knows no DSN (R-SMTP-54) */
};

struct dsn {
	enum dsn_kind kind;
	const char *from;          /* address of who signs; [spool] bounce_from */
	const char *reporting_mta; /* our host name */
	const char *id;            /* of the notice; for Message-ID and the boundary */
	time_t now;
	time_t retry_until; /* DSN_DELAYED */
	const struct spool_message *message;
	const struct spool_recipient *const
	    *recipients; /* of it, those that this notice is about */
	size_t count;
	const char *headers; /* of the original, CRLF lines, not dot-stuffed; NULL: not known */
	size_t headers_len;
};

/* The notice as it goes over the wire: dot-stuffed, CRLF, without the final dot. malloc'd. */
char *dsn_compose(const struct dsn *dsn, size_t *len);

#endif
