/*
 * smtp_parse.h - SMTP commands and paths from clients (RFC 5321 section 4.1). Pure, fuzzed.
 *
 * Strict where leniency has been an attack (bare CR and LF, NUL, controls), literal otherwise:
 * local-parts are passed octet by octet and never re-quoted or interpreted (R-SMTP-10, -11).
 */
#ifndef PROXY_SMTP_PARSE_H
#define PROXY_SMTP_PARSE_H

#include "conf/domain.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SMTP_COMMAND_MAX = 2048, /* octets with CRLF (R-SMTP-05) */
	SMTP_LOCAL_MAX = 64,
	SMTP_PATH_MAX = 256, /* with <> */
};

/* ---- lines ---- */

enum smtp_line {
	SMTP_LINE_MORE, /* no complete line yet */
	SMTP_LINE_DONE, /* *line_len octets of text, *consumed with CRLF */
	SMTP_LINE_LONG, /* over the maximum: answer 500 once, smtp_skip_line */
	SMTP_LINE_BARE, /* bare CR or bare LF: answer and close (R-SMTP-07) */
};
/*
 * Looks for a line at the front of in[0..len). A CR at the very end is SMTP_LINE_MORE. *consumed
 * is 0 unless DONE.
 */
enum smtp_line smtp_next_line(
    const char *in, size_t len, size_t max, size_t *line_len, size_t *consumed);

/*
 * Throws away an over-long line, uninterpreted, up to its CRLF: *consumed octets may go. false: its
 * end is still to come (a CR at the very end stays).
 */
bool smtp_skip_line(const char *in, size_t len, size_t *consumed);

/*
 * Whether the first octets of a connection are no SMTP: a TLS hello or other binary, HTTP, SSH, a
 * PROXY header (R-SMTP-03). To be asked while the first line is incomplete; false: it may be, or
 * too little to tell.
 */
bool smtp_looks_foreign(const char *in, size_t len);

/* ---- commands ---- */

enum smtp_verb {
	SMTP_HELO,
	SMTP_EHLO,
	SMTP_LHLO, /* RFC 2033 4.1 */
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_QUIT,
	SMTP_VRFY,
	SMTP_EXPN,
	SMTP_HELP,
	SMTP_BDAT,
	SMTP_AUTH,
	SMTP_STARTTLS,
	SMTP_ETRN,
	SMTP_TURN,
	SMTP_XCLIENT,
	SMTP_XFORWARD,
	SMTP_OTHER_PROTOCOL, /* HTTP, PROXY, a TLS hello, ...: one 421 and close (R-SMTP-03) */
	SMTP_UNKNOWN,
};

struct smtp_path {
	bool is_null;    /* <> */
	bool is_utf8;    /* holds octets >= 0x80 (valid UTF-8), perhaps in its source route only */
	bool has_domain; /* false: <Postmaster> or a null path */
	bool is_literal; /* domain is [..] */
	char address[SMTP_PATH_MAX + 1]; /* without <> and without source route; as it came */
	size_t local_len;                /* octets of address before the @ */
	char domain[DOMAIN_SIZE];        /* normal form; "" for literals and without domain */
};

enum smtp_body_type { SMTP_BODY_UNDECLARED, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

/* The DSN extension (RFC 3461); values are validated, and passed on as they came (R-SMTP-53). */
enum smtp_ret { SMTP_RET_UNSET, SMTP_RET_FULL, SMTP_RET_HDRS };
enum smtp_notify { /* a set; 0: not given */
	SMTP_NOTIFY_NEVER = 1,
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8,
};
enum { SMTP_ENVID_MAX = 100, SMTP_ORCPT_MAX = 500 };

struct smtp_dsn_mail {
	enum smtp_ret ret;
	char envid[SMTP_ENVID_MAX + 1]; /* xtext; "": not given */
};
struct smtp_dsn_rcpt {
	unsigned notify;
	char *orcpt; /* "rfc822;" and xtext, as it came; NULL: not given. Owned: free() */
};

struct smtp_command {
	enum smtp_verb verb;
	char argument[SMTP_COMMAND_MAX + 1]; /* EHLO and HELO name; text of others */
	struct smtp_path path;               /* MAIL and RCPT */
	bool has_size;
	uint64_t size; /* more than fits: UINT64_MAX */
	enum smtp_body_type body;
	bool smtputf8;
	struct smtp_dsn_mail dsn_mail;
	struct smtp_dsn_rcpt dsn_rcpt; /* owned: smtp_command_release() */
};

/* What is wrong with a command: a reply to give as it is; code 0: nothing. */
struct smtp_error {
	int code;
	const char *status; /* "5.5.4" */
	const char *text;   /* static; begins with a reason code where there is one */
	bool close;         /* and then close the connection */
};

/* What was agreed with this client. */
struct smtp_agreed {
	bool smtputf8; /* octets >= 0x80 in RCPT (MAIL carries its own parameter); else 553 5.6.7 */
	bool dsn;      /* DSN was offered; else its parameters are 555 5.5.4 (R-SMTP-52) */
};

/*
 * One line without CRLF. The verb is set even where the rest is wrong. command, also that of an
 * error, ends with smtp_command_release().
 */
struct smtp_error smtp_parse_command(
    const char *line, size_t len, struct smtp_agreed agreed, struct smtp_command *command);
void smtp_command_release(struct smtp_command *command);

/* ---- paths (smtp_path.c) ---- */

/*
 * A reverse-path or forward-path at the front of text[0..len), "<" to ">", *used octets. <> and a
 * path without domain are for the caller to judge. Octets >= 0x80 are validated here, and allowed
 * or not by the caller.
 */
struct smtp_error smtp_parse_path(
    const char *text, size_t len, size_t *used, struct smtp_path *path);

#endif
