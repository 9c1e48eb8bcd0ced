/*
 * sockets.h - the sockets that the service listens on: bound by the supervisor, inherited by
 * workers.
 *
 * For each address there is a socket of its own for each worker slot (SO_REUSEPORT), so that
 * workers do not wake each other; one that systemd gave is shared by all. None is closed while its
 * address is served: closing one of several would reset the connections that wait in it. So a
 * worker that ends leaves its sockets to its successor. Owner: the supervisor.
 */
#ifndef PROXY_SERVICE_SOCKETS_H
#define PROXY_SERVICE_SOCKETS_H

#include "conf/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct conf;
struct conf_listener;
struct sockets;

struct sockets *sockets_new(void);
void sockets_free(struct sockets **sockets); /* closes them all */

/* One that was bound by somebody else; fd is handed over. false: it listens to no address of ours
 * that can be told, and was closed. */
bool sockets_add(struct sockets *sockets, int fd);

/*
 * Binds what conf names and is not there yet, for so many workers. Nothing accepts yet. false:
 * *error (malloc'd) says which and why, and nothing has changed. Waits up to a second where an
 * address is in use: the workers of a supervisor that was killed may be about to end.
 */
bool sockets_bind(struct sockets *sockets, const struct conf *conf, unsigned workers, char **error);

/* Closes what conf does not name. Returns how many addresses that were. */
size_t sockets_trim(struct sockets *sockets, const struct conf *conf);

/* Takes one out that was given for this address: the caller's now. -1: there is none. */
int sockets_take(struct sockets *sockets, const struct addr *address);

/* An address that was given and that no listener names; NULL: there is none. */
const struct addr *sockets_stray(const struct sockets *sockets, const struct conf *conf);

/* Those that a worker in this slot of so many serves for a listener, each with the real address. */
typedef void sockets_fn(int fd, const struct addr *address, void *arg);
void sockets_each(const struct sockets *sockets, const struct conf_listener *listener,
    unsigned slot, unsigned workers, sockets_fn *each, void *arg);

/* In a worker: closes what it does not serve. */
void sockets_retain(
    struct sockets *sockets, const struct conf *conf, unsigned slot, unsigned workers);

/* All of them; fd is -1 where a worker has closed it. */
void sockets_every(const struct sockets *sockets, sockets_fn *each, void *arg);

#endif
