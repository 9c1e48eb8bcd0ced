/*
 * sockets.c - see sockets.h.
 */
#include "proxy/service/sockets.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/mem.h"
#include "tls/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

static const double in_use_patience = 1;

/* What listens on one address. */
struct place {
	struct addr wanted; /* as configured, where the port may be 0 */
	struct addr actual;
	bool is_transparent;
	bool is_new, is_used; /* of the present sockets_bind() */
	size_t count;
	int *fds;
	struct place *prev, *next;
};

struct sockets {
	struct place *places;
};

struct sockets *sockets_new(void) { return mem_zero(1, sizeof(struct sockets)); }

static void drop(struct sockets *sockets, struct place *place)
{
	DL_DELETE(sockets->places, place);
	for (size_t i = 0; i < place->count; i++) {
		if (place->fds[i] >= 0)
			close(place->fds[i]);
	}
	free(place->fds);
	free(place);
}

void sockets_free(struct sockets **sockets)
{
	struct place *place, *next;

	if (!*sockets)
		return;
	DL_FOREACH_SAFE((*sockets)->places, place, next)
	drop(*sockets, place);
	free(*sockets);
	*sockets = NULL;
}

static bool is_wanted(const struct place *place, const struct conf_listener *conf, size_t i)
{
	return addr_equal(&place->wanted, &conf->listen.items[i]) &&
	       place->is_transparent == (conf->intercept == INTERCEPT_TPROXY);
}

static struct place *find(const struct sockets *sockets, const struct conf_listener *conf, size_t i)
{
	struct place *place;

	DL_FOREACH(sockets->places, place)
	{
		if (is_wanted(place, conf, i))
			return place;
	}
	return NULL;
}

static bool is_named(const struct place *place, const struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		for (size_t j = 0; j < conf->listeners[i].listen.count; j++) {
			if (is_wanted(place, &conf->listeners[i], j))
				return true;
		}
	}
	return false;
}

static void append(struct place *place, int fd)
{
	place->fds = mem_resize(place->fds, place->count + 1, sizeof *place->fds);
	place->fds[place->count++] = fd;
}

/* ---- given by others ---- */

static int number(int fd, int level, int option)
{
	int value = 0;
	socklen_t len = sizeof value;

	return getsockopt(fd, level, option, &value, &len) ? 0 : value;
}

static bool is_transparent(int fd, const struct addr *address)
{
	return address->sa.sa_family == AF_INET6 ? number(fd, IPPROTO_IPV6, IPV6_TRANSPARENT)
						 : number(fd, IPPROTO_IP, IP_TRANSPARENT);
}

bool sockets_add(struct sockets *sockets, int fd)
{
	struct addr address;
	struct place *place;

	if (number(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM || !socket_local(fd, &address) ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, O_NONBLOCK)) {
		close(fd);
		return false;
	}
	DL_FOREACH(sockets->places, place)
	{
		if (addr_equal(&place->actual, &address))
			break;
	}
	if (!place) {
		place = mem_zero(1, sizeof *place);
		place->wanted = place->actual = address;
		place->is_transparent = is_transparent(fd, &address);
		DL_APPEND(sockets->places, place);
	}
	append(place, fd);
	return true;
}

int sockets_take(struct sockets *sockets, const struct addr *address)
{
	struct place *place;
	int fd;

	DL_FOREACH(sockets->places, place)
	{
		if (addr_equal(&place->actual, address))
			break;
	}
	if (!place)
		return -1;
	fd = place->fds[--place->count];
	if (!place->count)
		drop(sockets, place);
	return fd;
}

const struct addr *sockets_stray(const struct sockets *sockets, const struct conf *conf)
{
	const struct place *place;

	DL_FOREACH(sockets->places, place)
	{
		if (!is_named(place, conf))
			return &place->actual;
	}
	return NULL;
}

/* ---- binding ---- */

/* SO_REUSEPORT would let a second danelaw take half of the first one's clients. */
static bool is_free(const struct addr *address, bool transparent)
{
	int fd = socket_bind(address, transparent, false);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static bool wait_until_free(const struct addr *address, bool transparent)
{
	double until = clock_steady() + in_use_patience;

	while (!is_free(address, transparent)) {
		if (errno != EADDRINUSE || clock_steady() > until)
			return false;
		usleep(20000);
	}
	return true;
}

/* The port may be 0: the first socket finds one, the others take the same. false: errno. */
static bool bind_place(struct place *place, unsigned workers)
{
	if (!wait_until_free(&place->wanted, place->is_transparent))
		return false;
	place->actual = place->wanted;
	for (unsigned i = 0; i < workers; i++) {
		int fd = socket_bind(&place->actual, place->is_transparent, true);

		if (fd < 0)
			return false;
		append(place, fd);
		if (!socket_local(fd, &place->actual))
			return false;
	}
	return true;
}

static bool is_family_missing(int error)
{
	return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

/* What a person can do about it. */
static const char *bind_advice(int error)
{
	switch (error) {
	case EPERM:
		return "; intercept = tproxy needs root at start, or the capability CAP_NET_RAW";
	case EADDRINUSE:
		return "; another program has this port: stop it, or name another port in `listen`";
	case EACCES:
		return "; ports below 1024 need root at start, or the capability "
		       "CAP_NET_BIND_SERVICE";
	case EADDRNOTAVAIL:
		return "; this host does not have that address";
	case EAFNOSUPPORT:
		return "; this host has no such address family";
	}
	return "";
}

static void explain(const struct conf_listener *conf, const struct addr *address, char **error)
{
	char text[ADDR_TEXT];
	int why = errno;

	*error = mem_printf("[listener %s] cannot bind %s: %s%s", conf->name,
	    addr_bracketed(address, text), strerror(why), bind_advice(why));
}

/* In *bound whether there is such an address here. false: errno. */
static bool bind_address(struct sockets *sockets, const struct conf_listener *conf, size_t i,
    unsigned workers, bool *bound)
{
	struct place *place = mem_zero(1, sizeof *place);

	place->wanted = conf->listen.items[i];
	place->is_transparent = conf->intercept == INTERCEPT_TPROXY;
	place->is_new = place->is_used = true;
	DL_APPEND(sockets->places, place);
	*bound = bind_place(place, workers);
	if (*bound)
		return true;
	int why = errno;

	drop(sockets, place);
	errno = why;
	return conf->skip_missing_family && is_family_missing(why) && conf->listen.count > 1;
}

/* One that is there. false: errno; it is another listener's, too. */
static bool take_place(
    struct sockets *sockets, const struct conf_listener *conf, size_t i, bool *is_bound)
{
	struct place *place = find(sockets, conf, i);

	*is_bound = place != NULL;
	errno = EADDRINUSE;
	if (place && place->is_used)
		return false;
	if (place)
		place->is_used = true;
	return true;
}

static bool bind_listener(
    struct sockets *sockets, const struct conf_listener *conf, unsigned workers, char **error)
{
	size_t bound = 0;

	for (size_t i = 0; i < conf->listen.count; i++) {
		bool is_bound = false;

		if (!take_place(sockets, conf, i, &is_bound) ||
		    (!is_bound && !bind_address(sockets, conf, i, workers, &is_bound))) {
			explain(conf, &conf->listen.items[i], error);
			return false;
		}
		bound += is_bound;
	}
	if (!bound)
		*error =
		    mem_printf("[listener %s] this host has none of its addresses", conf->name);
	return bound > 0;
}

static void settle(struct sockets *sockets, bool keep)
{
	struct place *place, *next;

	DL_FOREACH_SAFE(sockets->places, place, next)
	{
		if (place->is_new && !keep)
			drop(sockets, place);
		else
			place->is_new = place->is_used = false;
	}
}

bool sockets_bind(struct sockets *sockets, const struct conf *conf, unsigned workers, char **error)
{
	bool good = true;

	for (size_t i = 0; good && i < conf->listener_count; i++)
		good = bind_listener(sockets, &conf->listeners[i], workers, error);
	settle(sockets, good);
	return good;
}

size_t sockets_trim(struct sockets *sockets, const struct conf *conf)
{
	struct place *place, *next;
	size_t closed = 0;

	DL_FOREACH_SAFE(sockets->places, place, next)
	{
		if (is_named(place, conf))
			continue;
		drop(sockets, place);
		closed++;
	}
	return closed;
}

/* ---- for workers ---- */

/*
 * After a reload there may be more or fewer workers than sockets: then some serve several, or
 * several serve one.
 */
static bool is_served(size_t socket, size_t count, unsigned slot, unsigned workers)
{
	return socket % workers == slot || (slot >= count && socket == slot % count);
}

void sockets_each(const struct sockets *sockets, const struct conf_listener *listener,
    unsigned slot, unsigned workers, sockets_fn *each, void *arg)
{
	for (size_t i = 0; i < listener->listen.count; i++) {
		const struct place *place = find(sockets, listener, i);

		for (size_t j = 0; place && j < place->count; j++) {
			if (is_served(j, place->count, slot, workers))
				each(place->fds[j], &place->actual, arg);
		}
	}
}

/* Whether any listener of conf has it for this slot. */
static bool is_kept(const struct place *place, size_t socket, const struct conf *conf,
    unsigned slot, unsigned workers)
{
	return is_named(place, conf) && is_served(socket, place->count, slot, workers);
}

void sockets_retain(
    struct sockets *sockets, const struct conf *conf, unsigned slot, unsigned workers)
{
	struct place *place;

	DL_FOREACH(sockets->places, place)
	{
		for (size_t i = 0; i < place->count; i++) {
			if (is_kept(place, i, conf, slot, workers))
				continue;
			close(place->fds[i]);
			place->fds[i] = -1;
		}
	}
}

void sockets_every(const struct sockets *sockets, sockets_fn *each, void *arg)
{
	const struct place *place;

	DL_FOREACH(sockets->places, place)
	{
		for (size_t i = 0; i < place->count; i++)
			each(place->fds[i], &place->actual, arg);
	}
}
