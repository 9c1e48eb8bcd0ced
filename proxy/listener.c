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
#include "proxy/shared/shared.h"

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

/* Whatever a flood brings, those that are served have their turn in between. */
enum { ACCEPTS_A_TURN = 64, BACKLOG = 1024 };

/* Of max_sessions: the seats that are not for everybody, and how many each may have when no others
 * are left. */
enum { RESERVE_PART = 10, FEW_PART = 100 };

struct socket {
	struct addr address;
	ev_io io;
	struct socket *prev, *next;
};

struct listener {
	struct proxy *proxy;
	const struct conf_listener *conf;
	struct socket *sockets;
	struct admission *admission;
	struct tls_server *tls;
	int spare; /* given up to accept and refuse one client when descriptors have run out */
	ev_timer pause;
	size_t session_count;
	struct session *sessions;
	uint32_t kind; /* under which its seats are counted (counts.h): sessions, and those that
			  have ended but hold their descriptor still; of all workers */
};

static void on_accept(struct ev_loop *loop, ev_io *w, int revents);
static void on_pause_over(struct ev_loop *loop, ev_timer *w, int revents);
static admission_fn on_admitted;

/* ---- the beginning ---- */

/* By name, so that it is the same for every worker, of other settings too. FNV-1a. */
static uint32_t kind_of(const char *name)
{
	uint32_t hash = 2166136261U;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619U;
	return COUNT_LISTENER_FIRST + hash % (UINT32_MAX - COUNT_LISTENER_FIRST);
}

struct listener *listener_new(const struct conf_listener *conf)
{
	struct listener *l = mem_zero(1, sizeof *l);

	l->conf = conf;
	l->kind = kind_of(conf->name);
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ev_init(&l->pause, on_pause_over);
	l->pause.data = l;
	return l;
}

void listener_add_socket(struct listener *l, int fd, const struct addr *address)
{
	struct socket *socket = mem_zero(1, sizeof *socket);

	socket->address = *address;
	ev_io_init(&socket->io, on_accept, fd, EV_READ);
	socket->io.data = l;
	DL_APPEND(l->sockets, socket);
}

static void tell(const struct listener *l, const struct socket *socket)
{
	char text[ADDR_TEXT];

	if (l->proxy->is_spokesman)
		log_info("listening on %s (listener %s)", addr_bracketed(&socket->address, text),
		    l->conf->name);
}

bool listener_start(struct listener *l, struct proxy *proxy, char **error)
{
	struct socket *socket;
	char text[ADDR_TEXT];

	l->proxy = proxy;
	l->admission = admission_new(proxy, l->conf, on_admitted, l);
	DL_FOREACH(l->sockets, socket)
	{
		if (listen(socket->io.fd, BACKLOG)) {
			*error = mem_printf("[listener %s] cannot listen on %s: %s", l->conf->name,
			    addr_bracketed(&socket->address, text), strerror(errno));
			return false;
		}
		ev_io_start(proxy->loop, &socket->io);
		tell(l, socket);
	}
	return true;
}

/* ---- how many sessions there are, and how many a client has ---- */

static struct count_key key_of_all(const struct listener *l)
{
	return count_key(l->kind, NULL, NULL);
}

static struct count_key key_of_client(const struct listener *l, const struct addr *client)
{
	struct addr bare = *client;

	addr_set_port(&bare, 0);
	return count_key(l->kind, &bare, NULL);
}

static bool claim(struct listener *l, const struct count_key *key, unsigned most)
{
	return counts_claim(shared_counts(l->proxy->shared), l->proxy->seat, key, most);
}

static void give_back(struct listener *l, const struct count_key *key)
{
	counts_return(shared_counts(l->proxy->shared), l->proxy->seat, key);
}

static void remember(struct listener *l, struct session *session)
{
	DL_APPEND(l->sessions, session);
	l->session_count++;
	metrics_session_began();
}

void listener_forget(struct listener *l, struct session *session)
{
	DL_DELETE(l->sessions, session);
	l->session_count--;
	metrics_session_ended();
}

void listener_free_seat(struct listener *l, const struct addr *client)
{
	struct count_key all = key_of_all(l), one = key_of_client(l, client);

	give_back(l, &one);
	give_back(l, &all);
}

/* ---- accepting ---- */

/*
 * None takes all seats, whatever max_sessions_per_client allows: the last tenth is for clients that
 * hold hardly any (R-NET-13). The seat that is asked for is counted already.
 */
static unsigned most_for_one(const struct listener *l, const struct count_key *all)
{
	unsigned seats = l->conf->max_sessions, most = l->conf->max_sessions_per_client;
	unsigned few = seats / FEW_PART ? seats / FEW_PART : 1;
	bool is_scarce =
	    counts_get(shared_counts(l->proxy->shared), all) > seats - seats / RESERVE_PART;

	return is_scarce && few < most ? few : most;
}

static void on_admitted(
    int fd, const struct addr *client, const struct interception *interception, void *arg)
{
	struct listener *l = arg;
	struct count_key all = key_of_all(l), one = key_of_client(l, client);

	if (!claim(l, &all, l->conf->max_sessions)) {
		admission_refuse(l->admission, fd, client, REASON_OVERLOAD, "max_sessions reached",
		    "too many sessions; try again soon");
	} else if (!claim(l, &one, most_for_one(l, &all))) {
		give_back(l, &all);
		admission_refuse(l->admission, fd, client, REASON_OVERLOAD,
		    "max_sessions_per_client reached, or the few seats that are left are for "
		    "others",
		    "too many sessions from your address; try again soon");
	} else {
		remember(l, session_new(l->proxy, l, l->conf, fd, client, interception));
	}
}

static void start_sockets(struct listener *l)
{
	struct socket *socket;

	DL_FOREACH(l->sockets, socket)
	ev_io_start(l->proxy->loop, &socket->io);
}

static void stop_sockets(struct listener *l)
{
	struct socket *socket;

	DL_FOREACH(l->sockets, socket)
	ev_io_stop(l->proxy->loop, &socket->io);
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

static void close_sockets(struct listener *l)
{
	struct socket *socket, *next;

	DL_FOREACH_SAFE(l->sockets, socket, next)
	{
		close(socket->io.fd);
		DL_DELETE(l->sockets, socket);
		free(socket);
	}
}

void listener_stop(struct listener *l)
{
	ev_timer_stop(l->proxy->loop, &l->pause);
	stop_sockets(l);
	admission_free(&l->admission);
	close_sockets(l);
}

void listener_shut_down(struct listener *l)
{
	struct session *session, *next;

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
	close_sockets(l);
	if (l->spare >= 0)
		close(l->spare);
	admission_free(&l->admission);
	free(l);
	*listener = NULL;
}

size_t listener_sessions(const struct listener *l) { return l->session_count; }

void listener_offer_tls(struct listener *l, struct tls_server *server) { l->tls = server; }
struct tls_server *listener_tls(const struct listener *l) { return l->tls; }

bool listener_is_crowded(const struct listener *l)
{
	struct count_key all = key_of_all(l);

	return counts_get(shared_counts(l->proxy->shared), &all) >
	       (size_t)l->conf->max_sessions * 3 / 4;
}
