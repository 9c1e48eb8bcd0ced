/*
 * dsn_internal.h - what the files of dsn.c share: its three parts, and how text from strangers gets
 * into them.
 */
#ifndef PROXY_DSN_INTERNAL_H
#define PROXY_DSN_INTERNAL_H

#include "proxy/spool/dsn.h"

#include <stdio.h>

enum { DSN_DATE_SIZE = 40 };

/* "Mon, 23 Nov 2026 07:00:00 +0000" */
const char *dsn_date(time_t when, char out[DSN_DATE_SIZE]);

/* Whether the notice itself is internationalised mail: only where it must be, because its own
 * recipient cannot be written otherwise. */
bool dsn_is_utf8(const struct dsn *dsn);

/* The part for people; lines end in "\r\n" and are at most 72 columns long where words allow. */
void dsn_write_text(FILE *out, const struct dsn *dsn);

/* The part for programs (RFC 3464 section 2). */
void dsn_write_status(FILE *out, const struct dsn *dsn);

/* "5.1.1" of the recipient, in the class of the notice; "4.4.7" would say that we go on. */
const char *dsn_status(
    const struct dsn *dsn, const struct spool_recipient *recipient, char out[16]);

/* Whether the last words about the recipient are the next hop's own. */
bool dsn_is_next_hop(const struct spool_recipient *recipient);

/* What a reason code means, and who can mend it, in plain words. Never NULL. */
struct dsn_reason {
	const char *meaning, *remedy;
};
const struct dsn_reason *dsn_reason(enum reason reason);

#endif
