/*
 * certificates.h - the certificates that clients of each [listener] are offered.
 *
 * Loaded by the supervisor while it may read what belongs to root; workers inherit them. Owner: the
 * supervisor, one set for each configuration.
 */
#ifndef PROXY_SERVICE_CERTIFICATES_H
#define PROXY_SERVICE_CERTIFICATES_H

#include <stdbool.h>
#include <stddef.h>

struct certificates;
struct conf;
struct tls_server;

/*
 * In the order of conf's listeners; conf must outlive it. before: those of the running service,
 * which must outlive it, too, or NULL: where the same files cannot be read any more, what was read
 * then is used on, with a warning. NULL: *error (malloc'd).
 */
struct certificates *certificates_load(
    const struct conf *conf, struct certificates *before, char **error);

/* What it had of those before it is its own from here on. */
void certificates_keep(struct certificates *certificates);
void certificates_free(struct certificates **certificates); /* NULL inside is welcome */

/* NULL: none is offered. */
struct tls_server *certificates_get(const struct certificates *certificates, size_t listener);

#endif
