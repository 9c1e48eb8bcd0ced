/*
 * listener.c - accept, access control, limits (R-NET-01, -02, -13, -15).
 */
#include "proxy/listener.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/intercept/admission.h"
#include "proxy/metrics.h"
#include "proxy/proxy.h"
#include "proxy/session.h"
#include "proxy/tally.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

/* How long accepting pauses when descriptors have run out. */
#define ACCEPT_PAUSE 0.5

enum { ACCEPTS_A_TURN = 64, BACKLOG = 1024 };

struct socket {
	struct listener *listener;
	ev_io io;
};

struct listener {
	struct proxy *proxy;
	const struct conf_listener *conf;
	size_t count;
	struct addr *addresses;
	struct socket *sockets;
	struct admission *admission;
	struct tls_server *tls;
	int spare; /* given up to accept and refuse one client when descriptors have run out */
	ev_timer pause;
	size_t session_count;
	struct session *sessions;
	size_t seats; /* sessions, and those that have ended but hold their descriptor still */
	struct tally clients; /* seats of each; port 0 */
};

/* ---- binding ---- */

static int bind_one(const struct conf_listener *conf, const struct addr *address)
{
	int fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (address->sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if ((conf->intercept != INTERCEPT_TPROXY ||
		intercept_make_transparent(fd, address->sa.sa_family)) &&
	    !bind(fd, &address->sa, addr_len(address)))
		return fd;
	on = errno;
	close(fd);
	errno = on;
	return -1;
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

/* The port may have been 0: what the kernel gave is what counts. */
static void note_address(struct listener *l, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	if (!getsockname(fd, (struct sockaddr *)&ss, &len))
		addr_from_sockaddr(&l->addresses[l->count], (struct sockaddr *)&ss);
}

static void on_accept(struct ev_loop *loop, ev_io *w, int revents);
static void on_pause_over(struct ev_loop *loop, ev_timer *w, int revents);
static admission_fn on_admitted;

struct listener *listener_bind(const struct conf_listener *conf, char **error)
{
	struct listener *l = mem_zero(1, sizeof *l);
	char text[ADDR_TEXT];

	l->conf = conf;
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ev_init(&l->pause, on_pause_over);
	l->pause.data = l;
	l->addresses = mem_zero(conf->listen.count, sizeof *l->addresses);
	l->sockets = mem_zero(conf->listen.count, sizeof *l->sockets);
	for (size_t i = 0; i < conf->listen.count; i++) {
		const struct addr *address = &conf->listen.items[i];
		int fd = bind_one(conf, address);

		if (fd < 0 && conf->skip_missing_family && is_family_missing(errno) &&
		    conf->listen.count > 1)
			continue;
		if (fd < 0) {
			*error = mem_printf("[listener %s] cannot bind %s: %s%s", conf->name,
			    addr_bracketed(address, text), strerror(errno), bind_advice(errno));
			listener_free(&l);
			return NULL;
		}
		l->addresses[l->count] = *address;
		note_address(l, fd);
		l->sockets[l->count].listener = l;
		ev_io_init(&l->sockets[l->count].io, on_accept, fd, EV_READ);
		l->sockets[l->count].io.data = l;
		l->count++;
	}
	if (!l->count) {
		*error =
		    mem_printf("[listener %s] this host has none of its addresses", conf->name);
		listener_free(&l);
	}
	return l;
}

bool listener_start(struct listener *l, struct proxy *proxy, char **error)
{
	char text[ADDR_TEXT];

	l->proxy = proxy;
	l->admission = admission_new(proxy, l->conf, on_admitted, l);
	for (size_t i = 0; i < l->count; i++) {
		if (listen(l->sockets[i].io.fd, BACKLOG)) {
			*error = mem_printf("[listener %s] cannot listen on %s: %s%s",
			    l->conf->name, addr_bracketed(&l->addresses[i], text), strerror(errno),
			    bind_advice(errno));
			return false;
		}
		ev_io_start(proxy->loop, &l->sockets[i].io);
		log_info("listening on %s (listener %s)", addr_bracketed(&l->addresses[i], text),
		    l->conf->name);
	}
	return true;
}

/* ---- how many sessions a client has ---- */

static struct addr without_port(const struct addr *client)
{
	struct addr bare = *client;

	addr_set_port(&bare, 0);
	return bare;
}

static unsigned sessions_of(const struct listener *l, const struct addr *client)
{
	struct addr bare = without_port(client);

	return tally_get(&l->clients, &bare);
}

static void remember(struct listener *l, struct session *session)
{
	struct addr bare = without_port(&session->client);

	DL_APPEND(l->sessions, session);
	l->session_count++;
	metrics_session_began();
	l->seats++;
	tally_add(&l->clients, &bare);
}

void listener_forget(struct listener *l, struct session *session)
{
	DL_DELETE(l->sessions, session);
	l->session_count--;
	metrics_session_ended();
}

void listener_free_seat(struct listener *l, const struct addr *client)
{
	struct addr bare = without_port(client);

	l->seats--;
	tally_remove(&l->clients, &bare);
}

/* ---- accepting ---- */

static void refuse_overload(const struct listener *l, int fd, const struct addr *client,
    const char *limit, const char *words)
{
	char text[ADDR_TEXT];

	log_warning("client=%s refused: [listener %s] %s reached", addr_ip(client, text),
	    l->conf->name, limit);
	admission_turn_away(fd, REASON_OVERLOAD, words);
}

static void on_admitted(
    int fd, const struct addr *client, const struct interception *interception, void *arg)
{
	struct listener *l = arg;

	if (l->seats >= l->conf->max_sessions)
		refuse_overload(l, fd, client, "max_sessions", "too many sessions; try again soon");
	else if (sessions_of(l, client) >= l->conf->max_sessions_per_client)
		refuse_overload(l, fd, client, "max_sessions_per_client",
		    "too many sessions from your address; try again soon");
	else
		remember(l, session_new(l->proxy, l, l->conf, fd, client, interception));
}

static void start_sockets(struct listener *l)
{
	for (size_t i = 0; i < l->count; i++)
		ev_io_start(l->proxy->loop, &l->sockets[i].io);
}

static void stop_sockets(struct listener *l)
{
	for (size_t i = 0; i < l->count; i++)
		ev_io_stop(l->proxy->loop, &l->sockets[i].io);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	start_sockets(w->data);
}

/* A level-triggered socket that cannot be accepted from would spin: one client is told, then all
 * wait (R-NET-15). */
static void out_of_descriptors(struct listener *l, int fd)
{
	int client;

	log_error("out of descriptors: accepting pauses (raise the limit of open files, or lower "
		  "max_sessions)");
	close(l->spare);
	client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (client >= 0)
		admission_turn_away(client, REASON_OVERLOAD, "out of descriptors; try again soon");
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	stop_sockets(l);
	ev_timer_set(&l->pause, ACCEPT_PAUSE, 0.);
	ev_timer_start(l->proxy->loop, &l->pause);
}

static void on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
	struct listener *l = w->data;

	(void)loop, (void)revents;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof ss;
		struct addr client;
		int fd = accept4(w->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 &&
		    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
			out_of_descriptors(l, w->fd);
		if (fd < 0)
			return;
		if (addr_from_sockaddr(&client, (struct sockaddr *)&ss))
			admission_accept(l->admission, fd, &client);
		else
			close(fd);
	}
}

/* ---- the end ---- */

void listener_stop(struct listener *l)
{
	struct session *session, *next;

	ev_timer_stop(l->proxy->loop, &l->pause);
	stop_sockets(l);
	admission_free(&l->admission);
	for (size_t i = 0; i < l->count; i++) {
		close(l->sockets[i].io.fd);
		l->sockets[i].io.fd = -1;
	}
	DL_FOREACH_SAFE(l->sessions, session, next)
	session_shut_down(session);
}

void listener_cut(struct listener *l)
{
	struct session *session, *next;

	DL_FOREACH_SAFE(l->sessions, session, next)
	session_cut(session);
}

void listener_free(struct listener **listener)
{
	struct listener *l = *listener;

	if (!l)
		return;
	for (size_t i = 0; i < l->count; i++) {
		if (l->sockets[i].io.fd >= 0)
			close(l->sockets[i].io.fd);
	}
	if (l->spare >= 0)
		close(l->spare);
	admission_free(&l->admission);
	tally_release(&l->clients);
	free(l->addresses);
	free(l->sockets);
	free(l);
	*listener = NULL;
}

size_t listener_sessions(const struct listener *l) { return l->session_count; }

const struct addr *listener_addresses(const struct listener *l, size_t *count)
{
	*count = l->count;
	return l->addresses;
}

void listener_offer_tls(struct listener *l, struct tls_server *server) { l->tls = server; }
struct tls_server *listener_tls(const struct listener *l) { return l->tls; }

bool listener_is_crowded(const struct listener *l)
{
	return l->seats > (size_t)l->conf->max_sessions * 3 / 4;
}
