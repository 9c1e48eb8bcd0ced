/*
 * smtp_body.h - the message on its way: end of data, CR/LF discipline, limits. Pure, fuzzed.
 *
 * Dot-stuffing is the same on both sides, so the octets pass as they came; the scanner looks for
 * the one true end (CR LF . CR LF), for bare CR and bare LF (SMTP smuggling: R-SMTP-21..25), for
 * NUL, 8-bit octets and long lines, and counts octets and Received fields. The octets that could be
 * part of the end are held back until it is known: a final dot leaves only by the caller's hand
 * (R-SMTP-75).
 */
#ifndef PROXY_SMTP_BODY_H
#define PROXY_SMTP_BODY_H

#include "conf/conf.h"
#include "proxy/smtp/smtp_header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SMTP_BODY_ROOM_MIN = 8 };

enum smtp_body_flaw {
	BODY_FINE,
	BODY_BARE_NEWLINE,
	BODY_NUL,
	BODY_LONG_LINE, /* over 1000 octets with CRLF, without a stuffed dot; only where refused */
	BODY_TOO_LARGE,
	BODY_TOO_MANY_HOPS, /* Received fields over the limit */
	BODY_OWN_LOOP,      /* our own Received field more than 3 times */
};

struct smtp_body {
	/* set by smtp_body_init */
	enum bare_newline bare_newline;
	enum long_lines long_lines;
	uint64_t size_limit; /* 0: none */
	unsigned received_limit;

	/* results */
	enum smtp_body_flaw flaw; /* the first; nothing is passed after it */
	bool ended;               /* CR LF . CR LF was seen */
	bool has_8bit;            /* an octet >= 0x80 was seen */
	bool has_message_id;      /* the header has such a field */
	bool normalized; /* a bare LF became CR LF: signatures may be broken, worth a log line */
	uint64_t size;   /* octets of the message: with CRLFs, without stuffed dots and end */
	unsigned received, own_received;

	/* the scanner's own */
	int state;
	size_t line_len; /* as size, of this line */
	struct smtp_header header;
};

/* own_mark as received_mark() makes it; "": not looked for. */
void smtp_body_init(struct smtp_body *body, const struct conf_listener *listener,
    uint64_t size_limit, unsigned received_limit, const char *own_mark);

/* What one call passes on: first octets of the input, then those of the spare place, which are not
 * in the input as they must leave. */
struct smtp_body_passed {
	size_t taken; /* octets of the input that were consumed */
	const char *in_place;
	size_t in_place_len, spare_len;
};

/*
 * Takes octets from in[0..len) and says what may be passed on (dot-stuffed, as needed on the wire):
 * at most `room` octets, at least SMTP_BODY_ROOM_MIN. spare has room for as many of them as must be
 * written anew, and for SMTP_BODY_ROOM_MIN at least. All octets are taken, unless either place was
 * full, or in-place octets can follow those of the spare place (call again), or the end was reached
 * (octets after it are commands and stay, R-SMTP-26). With a flaw nothing more is passed on, octets
 * are still taken up to the end. When ended is set without flaw the stream that was passed ends in
 * CRLF (or is empty), and ".\r\n" is all that is missing. in and spare do not overlap.
 */
struct smtp_body_passed smtp_body_scan(struct smtp_body *body, const char *in, size_t len,
    size_t room, char *spare, size_t spare_size);

#endif
