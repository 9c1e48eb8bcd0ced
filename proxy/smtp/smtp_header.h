/*
 * smtp_header.h - the header section on its way: counts Received fields (R-SMTP-47), finds a
 * Message-ID. Pure.
 */
#ifndef PROXY_SMTP_HEADER_H
#define PROXY_SMTP_HEADER_H

#include "conf/domain.h"

#include <stdbool.h>
#include <stddef.h>

enum smtp_header_event {
	HEADER_NOTHING,
	HEADER_RECEIVED,   /* the name of a Received field is complete */
	HEADER_OWN,        /* that field holds own_mark; at most once for each field */
	HEADER_MESSAGE_ID, /* the name of a Message-ID field is complete */
};

/* A part of smtp_body. A zeroed one is not ready: smtp_header_init. */
struct smtp_header {
	char own_mark[DOMAIN_SIZE + 32]; /* with a blank before each word; "": not looked for */
	size_t mark_len;
	int state;
	bool in_received; /* and its mark was not seen yet */
	bool after_blank; /* a run of white space and folds counts as one blank */
	size_t match;     /* octets of the field name, then of own_mark, that fit so far */
	size_t id_match;  /* the same for the name Message-ID */
};

/* own_mark: words with single blanks, at most DOMAIN_SIZE + 30 octets; "": not looked for. */
void smtp_header_init(struct smtp_header *header, const char *own_mark);

/* Until the first empty line, or the first line that is neither a field nor a continuation. */
bool smtp_header_is_open(const struct smtp_header *header);

/* Nothing up to the end of this line matters: the octets before it need not be told. */
bool smtp_header_skips_line(const struct smtp_header *header);

/* How many of the octets that come next belong to the name of a field that is none of those looked
 * for: they need not be told. */
size_t smtp_header_skips_name(const struct smtp_header *header, const char *in, size_t len);

/* One octet of content (no stuffed dot), '\n' for the end of a line. Only while it is open. */
enum smtp_header_event smtp_header_octet(struct smtp_header *header, char c);

#endif
