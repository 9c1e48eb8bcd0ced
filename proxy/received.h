/*
 * received.h - the one field that we add (RFC 5321 section 4.4; R-SMTP-44..46). Pure.
 */
#ifndef PROXY_RECEIVED_H
#define PROXY_RECEIVED_H

#include "conf/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct received {
	const char *helo; /* as the client said it; sanitised here */
	const struct addr *client;
	const char *by;        /* our host name, or an address literal */
	const char *session;   /* unique id, at most 64 octets */
	bool esmtp, utf8, tls; /* with ESMTP, ESMTPS, SMTP, UTF8SMTP or UTF8SMTPS (RFC 3848) ... */
	bool lmtp;             /* ... or LMTP for SMTP */
	const char *recipient; /* the only one, as smtp_path.address, or NULL */
	time_t when;
};

enum { RECEIVED_SIZE = 2048 };

/*
 * "Received: from ... (...)\r\n\tby ... (danelaw) with ... id ...\r\n\tfor <...>; date\r\n" with a
 * final NUL. Returns the length. Lines below 998. What cannot be said safely is replaced (HELO) or
 * left out (recipient).
 */
size_t received_format(char out[RECEIVED_SIZE], const struct received *received);

/* Marks such a field as ours, for loop detection: "by NAME (danelaw)". DOMAIN_SIZE + 30 suffice. */
void received_mark(char *out, size_t size, const char *by);

#endif
