/*
 * body_writer.h - what a scan of the body passes on: octets of the input where they stand, and
 * behind them some that were written anew. A part of smtp_body.
 */
#ifndef PROXY_SMTP_BODY_WRITER_H
#define PROXY_SMTP_BODY_WRITER_H

#include <stddef.h>

struct body_writer {
	const char *in, *seen; /* the input, and how far it may be passed on from */
	const char *in_place;  /* what leaves from there ... */
	size_t in_place_len;
	char *spare; /* ... and what leaves behind it */
	size_t spare_len, spare_size;
	size_t room;
};

/* What may still be put. */
size_t body_room(const struct body_writer *writer);

/* len at most body_room(). */
void body_put(struct body_writer *writer, const char *octets, size_t len);
void body_put_text(struct body_writer *writer, char c); /* neither CR nor LF: the process ends */
void body_put_newline(struct body_writer *writer);

#endif
