/*
 * admin.c - see admin.h.
 *
 * The sockets are ours and libmicrohttpd gets accepted ones: left to accept by itself it spins when
 * descriptors run out (R-NET-15), and its own time limit only counts silence, so that an octet now
 * and then would hold a place for ever.
 */
#include "proxy/admin.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/timer.h"
#include "proxy/service/health.h"
#include "proxy/service/sockets.h"
#include "tls/socket.h"

#include <errno.h>
#include <ev.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	VISITS_MAX = 16,
	REQUEST_MAX = 8192, /* octets of a request line with its header */
	ACCEPTS_A_TURN = 16,
	BACKLOG = 128,
	SILENCE = 5, /* seconds */
};
static const double visit_seconds = 10; /* of a connection, from accept to close */
static const double accept_pause = 0.5; /* when descriptors have run out */

/* One connection; lives as long as libmicrohttpd has it. */
struct visit {
	struct admin *admin;
	int fd; /* libmicrohttpd's */
	ev_timer deadline;
};

struct admin {
	const struct health *health;
	struct ev_loop *loop;
	size_t socket_count;
	struct addr *addresses;
	ev_io *sockets;
	ev_timer pause;
	struct MHD_Daemon *daemon;
	ev_io work;
	ev_timer later; /* what libmicrohttpd wants to look at again */
	unsigned visits;
};

/* ---- the pages ---- */

struct page {
	unsigned status;
	const char *type;
	char *text; /* malloc'd */
	size_t len;
};

static void text_page(struct page *page, unsigned status, char *text)
{
	*page = (struct page){status, "text/plain; charset=utf-8", text, strlen(text)};
}

static void show_metrics(struct admin *a, struct page *page)
{
	page->status = MHD_HTTP_OK;
	page->type = "text/plain; version=0.0.4; charset=utf-8";
	page->text = health_metrics(a->health, &page->len);
}

static void show_health(struct admin *a, struct page *page)
{
	(void)a;
	text_page(page, MHD_HTTP_OK, mem_strdup("alive\n"));
}

static void show_readiness(struct admin *a, struct page *page)
{
	char why[HEALTH_WHY];

	if (health_is_ready(a->health, why))
		text_page(page, MHD_HTTP_OK, mem_strdup("ready\n"));
	else
		text_page(page, MHD_HTTP_SERVICE_UNAVAILABLE, mem_printf("%s\n", why));
}

static const struct {
	const char *path;
	void (*show)(struct admin *a, struct page *page);
} pages[] = {
    {"/metrics", show_metrics},
    {"/healthz", show_health},
    {"/readyz", show_readiness},
};

static void find_page(struct admin *a, const char *path, struct page *page)
{
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
		if (!strcmp(pages[i].path, path)) {
			pages[i].show(a, page);
			return;
		}
	}
	text_page(page, MHD_HTTP_NOT_FOUND, mem_strdup("/metrics, /healthz or /readyz\n"));
}

/* ---- requests ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, const struct page *page)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(page->len, page->text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result done = MHD_NO;

	if (!response) {
		free(page->text);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, "Content-Type", page->type) &&
	    MHD_add_response_header(response, "Cache-Control", "no-store") &&
	    MHD_add_response_header(response, "Connection", "close") &&
	    (page->status != MHD_HTTP_METHOD_NOT_ALLOWED ||
		MHD_add_response_header(response, "Allow", "GET, HEAD")))
		done = MHD_queue_response(connection, page->status, response);
	MHD_destroy_response(response);
	return done;
}

/* Answered when the header is there: a body is never waited for. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
    const char *method, const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct page page;

	(void)version, (void)upload, (void)upload_size, (void)state;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		text_page(&page, MHD_HTTP_METHOD_NOT_ALLOWED, mem_strdup("GET or HEAD\n"));
	else
		find_page(arg, path, &page);
	return answer(connection, &page);
}

/* ---- connections ---- */

/* libmicrohttpd then sees an end, and closes. */
static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct visit *visit = w->data;

	(void)loop, (void)revents;
	shutdown(visit->fd, SHUT_RDWR);
}

static void begin_visit(struct admin *a, struct MHD_Connection *connection, void **place)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct visit *visit = mem_zero(1, sizeof *visit);

	visit->admin = a;
	visit->fd = info->connect_fd;
	ev_timer_init(&visit->deadline, on_deadline, visit_seconds, 0.);
	visit->deadline.data = visit;
	ev_timer_start(a->loop, &visit->deadline);
	a->visits++;
	*place = visit;
}

static void end_visit(struct admin *a, void **place)
{
	struct visit *visit = *place;

	*place = NULL;
	if (!visit)
		return;
	ev_timer_stop(a->loop, &visit->deadline);
	a->visits--;
	free(visit);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **place,
    enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		begin_visit(arg, connection, place);
	else
		end_visit(arg, place);
}

static void work(struct admin *a)
{
	MHD_UNSIGNED_LONG_LONG milliseconds;

	MHD_run(a->daemon);
	if (MHD_get_timeout(a->daemon, &milliseconds) == MHD_YES)
		timer_start(a->loop, &a->later, (double)milliseconds / 1000);
	else
		ev_timer_stop(a->loop, &a->later);
}

static void on_work(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop, (void)revents;
	work(w->data);
}

static void on_later(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	work(w->data);
}

/* ---- accepting ---- */

static void on_pause_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct admin *a = w->data;

	(void)revents;
	for (size_t i = 0; i < a->socket_count; i++)
		ev_io_start(loop, &a->sockets[i]);
}

static void pause_accepting(struct admin *a)
{
	for (size_t i = 0; i < a->socket_count; i++)
		ev_io_stop(a->loop, &a->sockets[i]);
	ev_timer_set(&a->pause, accept_pause, 0.);
	ev_timer_start(a->loop, &a->pause);
}

/* The descriptor is libmicrohttpd's from the call on, also where it refuses it. */
static void admit(struct admin *a, int fd, const struct sockaddr_storage *address, socklen_t len)
{
	if (a->visits >= VISITS_MAX)
		close(fd);
	else if (MHD_add_connection(a->daemon, fd, (const struct sockaddr *)address, len) !=
		 MHD_YES)
		log_debug("admin: a connection was not taken: %s", strerror(errno));
}

/* A few in a turn of the loop: mail has its turn in between. */
static void on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
	struct admin *a = w->data;

	(void)loop, (void)revents;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage address;
		socklen_t len = sizeof address;
		int fd =
		    accept4(w->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 &&
		    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
			pause_accepting(a);
		if (fd < 0)
			break;
		admit(a, fd, &address, len);
	}
	work(a);
}

/* ---- the beginning ---- */

struct admin *admin_bind(const struct conf *conf, struct sockets *given, char **error)
{
	const struct conf_addrs *listen = &conf->admin.listen;
	struct admin *a = mem_zero(1, sizeof *a);
	char text[ADDR_TEXT];

	a->addresses = mem_copy(listen->items, listen->count * sizeof *a->addresses);
	a->sockets = mem_zero(listen->count, sizeof *a->sockets);
	for (size_t i = 0; i < listen->count; i++) {
		int fd = sockets_take(given, &listen->items[i]);

		if (fd < 0)
			fd = socket_bind(&listen->items[i], false, false);
		if (fd < 0) {
			*error = mem_printf("[admin] cannot bind %s: %s",
			    addr_bracketed(&listen->items[i], text), strerror(errno));
			admin_free(&a);
			return NULL;
		}
		ev_io_init(&a->sockets[i], on_accept, fd, EV_READ);
		a->sockets[i].data = a;
		a->socket_count++;
	}
	return a;
}

static bool start_daemon(struct admin *a)
{
	const union MHD_DaemonInfo *info;

	/* clang-format off */
	a->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
	    on_request, a,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, a,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)VISITS_MAX,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MAX,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1,
	    MHD_OPTION_END);
	/* clang-format on */
	info = a->daemon ? MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		return false;
	ev_io_init(&a->work, on_work, info->epoll_fd, EV_READ);
	ev_init(&a->later, on_later);
	ev_init(&a->pause, on_pause_over);
	a->work.data = a->later.data = a->pause.data = a;
	ev_io_start(a->loop, &a->work);
	return true;
}

bool admin_start(struct admin *a, struct ev_loop *loop, const struct health *health, char **error)
{
	char text[ADDR_TEXT];

	a->health = health;
	a->loop = loop;
	if (!a->socket_count)
		return true;
	if (!start_daemon(a)) {
		*error = mem_printf("[admin] cannot serve HTTP: %s", strerror(errno));
		return false;
	}
	for (size_t i = 0; i < a->socket_count; i++) {
		addr_bracketed(&a->addresses[i], text);
		if (listen(a->sockets[i].fd, BACKLOG)) {
			*error =
			    mem_printf("[admin] cannot listen on %s: %s", text, strerror(errno));
			return false;
		}
		ev_io_start(a->loop, &a->sockets[i]);
		log_info("metrics and health on http://%s", text);
	}
	return true;
}

bool admin_is_bound_to(const struct admin *a, const struct conf *conf)
{
	const struct conf_addrs *listen = &conf->admin.listen;
	bool same = a->socket_count == listen->count;

	for (size_t i = 0; same && i < listen->count; i++)
		same = addr_equal(&a->addresses[i], &listen->items[i]);
	return same;
}

void admin_each_socket(
    const struct admin *a, void (*each)(int fd, const struct addr *address, void *arg), void *arg)
{
	for (size_t i = 0; i < a->socket_count; i++)
		each(a->sockets[i].fd, &a->addresses[i], arg);
}

const char *admin_library_version(void) { return MHD_get_version(); }

/* ---- the end ---- */

static void stop_daemon(struct admin *a)
{
	ev_io_stop(a->loop, &a->work);
	ev_timer_stop(a->loop, &a->later);
	ev_timer_stop(a->loop, &a->pause);
	MHD_stop_daemon(a->daemon);
}

void admin_free(struct admin **admin)
{
	struct admin *a = *admin;

	*admin = NULL;
	if (!a)
		return;
	for (size_t i = 0; i < a->socket_count; i++) {
		if (a->loop)
			ev_io_stop(a->loop, &a->sockets[i]);
		close(a->sockets[i].fd);
	}
	if (a->daemon)
		stop_daemon(a);
	free(a->sockets);
	free(a->addresses);
	free(a);
}
