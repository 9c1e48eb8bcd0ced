/*
 * notice.h - tells a sender what became of a message, by mail: composes the notice (dsn.h) and puts
 * it into the spool like any other message, with the null sender.
 *
 * Never for a message with the null sender, and never against NOTIFY (RFC 3461 4.1). Called by the
 * runner, and by transactions that owe a "relayed" notice.
 */
#ifndef PROXY_NOTICE_H
#define PROXY_NOTICE_H

#include "proxy/spool/dsn.h"
#include "proxy/spool/spool.h"

struct proxy;

/* Whether a notice of this kind is owed for the recipient. */
bool notice_is_owed(const struct spool_message *message, const struct spool_recipient *recipient,
    enum dsn_kind kind);

/*
 * One notice about the recipients named, which must be owed one. The headers are read from the
 * message's file where it is in the spool. ok: it is on the disk. Exactly one callback, on a later
 * turn; callback NULL: trouble is logged and that is all.
 */
void notice_send(struct proxy *proxy, enum dsn_kind kind, const struct spool_message *message,
    const struct spool_recipient *const *recipients, size_t count, spool_draft_fn *callback,
    void *arg);

/* At the end of the program: those under way end without callback. */
void notices_end(struct proxy *proxy);

#endif
