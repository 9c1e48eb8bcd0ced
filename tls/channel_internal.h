/*
 * channel_internal.h - shared by channel.c (in clear) and channel_tls.c.
 */
#ifndef TLS_CHANNEL_INTERNAL_H
#define TLS_CHANNEL_INTERNAL_H

#include "tls/channel.h"

/* ---- channel.c ---- */

void channel_note(struct channel *channel, const char *words); /* a failure; copied */
enum channel_outcome channel_fail_errno(struct channel *channel, int error);

/* ---- channel_tls.c, where channel->tls is not NULL ---- */

enum channel_outcome channel_tls_read(
    struct channel *channel, void *data, size_t size, size_t *len);
enum channel_outcome channel_tls_write(
    struct channel *channel, const struct iovec *pieces, size_t count, size_t *len);
enum channel_outcome channel_tls_shutdown(struct channel *channel); /* says close_notify */
void channel_tls_close(struct channel *channel); /* the same, at once or not at all */
void channel_tls_release(struct channel *channel);

#endif
