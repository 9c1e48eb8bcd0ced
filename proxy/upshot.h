/*
 * upshot.h - what a message with several next hops came to as a whole. Pure.
 *
 * A client of SMTP hears one reply for all its recipients. It is good only if every recipient has
 * the message, or if danelaw keeps it for those who have not (R-SMTP-65, -68). Called by
 * transaction_final.c.
 */
#ifndef PROXY_UPSHOT_H
#define PROXY_UPSHOT_H

#include "proxy/outcome.h"

#include <stddef.h>

enum upshot {
	UPSHOT_OPEN,     /* some outcome is not known yet */
	UPSHOT_ACCEPTED, /* by all */
	UPSHOT_REFUSED,  /* by all: for good, for now, or not known */
	UPSHOT_MIXED,
};

/* outcomes: of all recipients that the client was told 250 for, at least one. */
enum upshot upshot_of(const struct outcome *const *outcomes, size_t count);

/*
 * The one that a client should hear if it is to hear of no more than one: what may have been
 * delivered and is not known before what it must keep and send again, that before what is refused
 * for good, that before what was accepted; the first of its kind.
 */
const struct outcome *upshot_worst(const struct outcome *const *outcomes, size_t count);

#endif
