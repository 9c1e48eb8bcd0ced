/*
 * smtp_dsn.h - the parameters of the DSN extension (RFC 3461 sections 4.1 to 4.4, RFC 6533 section
 * 3): read, and written again. Pure, fuzzed.
 *
 * A value is passed on as it came (R-SMTP-53), so it is judged by the strictest reader behind us:
 * xtext that decodes to a line end would let a sender write header fields of other people's
 * notices.
 */
#ifndef PROXY_SMTP_DSN_H
#define PROXY_SMTP_DSN_H

#include "proxy/smtp/smtp_parse.h"

#include <stdbool.h>
#include <stddef.h>

/* Each reads the value of one parameter. NULL: fine; else what is wrong, for a 501 5.5.4. */
const char *smtp_dsn_read_ret(const char *value, size_t len, enum smtp_ret *ret);
const char *smtp_dsn_read_envid(const char *value, size_t len, char envid[SMTP_ENVID_MAX + 1]);
const char *smtp_dsn_read_notify(const char *value, size_t len, unsigned *notify);
/* utf-8 address types may hold octets >= 0x80; the caller allows them or not. *orcpt: free(). */
const char *smtp_dsn_read_orcpt(const char *value, size_t len, char **orcpt);

enum {
	SMTP_DSN_MAIL_SIZE = SMTP_ENVID_MAX + 32,
	SMTP_DSN_RCPT_SIZE = SMTP_ORCPT_MAX + 64,
};

/* What goes behind the path of MAIL or RCPT: " RET=HDRS ENVID=x"; "" where nothing was given.
 * Return out. */
const char *smtp_dsn_mail_text(char out[SMTP_DSN_MAIL_SIZE], const struct smtp_dsn_mail *dsn);
const char *smtp_dsn_rcpt_text(char out[SMTP_DSN_RCPT_SIZE], const struct smtp_dsn_rcpt *dsn);

/* The keywords of NOTIFY, "SUCCESS,DELAY"; "" for an empty set. Returns out. */
enum { SMTP_NOTIFY_SIZE = 32 };
const char *smtp_dsn_notify_text(char out[SMTP_NOTIFY_SIZE], unsigned notify);

#endif
