/*
 * wire.h - what OpenSSL writes, on its way to the socket: a BIO that gathers the records of one
 * call, so that they leave together in one write. Its one user is channel_tls.c.
 *
 * OpenSSL writes each record by itself, and a send() of 16 KiB costs about as much as one of 64.
 * What the kernel does not take is kept, and leaves before anything that follows. Whatever OpenSSL
 * writes while nothing is gathered (handshake, alerts, key updates) goes to the socket at once.
 */
#ifndef TLS_WIRE_H
#define TLS_WIRE_H

#include "tls/buf.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bio_st BIO;

/* The most octets that are gathered, and so the most that are kept for one connection. */
enum { WIRE_GATHER_MAX = 4 * (16384 + 256) };

enum wire_outcome { WIRE_DONE, WIRE_FULL, WIRE_FAILED /* errno */ };

/* Zeroed and with its descriptor set it is ready. */
struct wire {
	int fd;
	struct buf rest; /* what the kernel has not taken */
};

void wire_init(struct wire *wire, int fd);
void wire_release(struct wire *wire); /* the rest is lost */

/* For SSL_set0_wbio(), which owns it then; the wire must outlive it. NULL: out of memory. */
BIO *wire_bio(struct wire *wire);

/* Between the two all that is written is gathered. The rest must be empty, and nothing of another
 * wire be gathered. */
void wire_begin(struct wire *wire);
bool wire_has_room(void); /* for one more record */
/* The record that is written next is likely the last: it leaves at once, behind what was gathered,
 * without being copied. */
void wire_expect_last(void);
enum wire_outcome wire_end(struct wire *wire);

/* Once more with what was kept. */
enum wire_outcome wire_flush(struct wire *wire);

#endif
