/*
 * fetch_loop.c - libcurl's multi socket interface on libev (fetch_loop.h).
 *
 * libcurl says which sockets and which one timer it wants watched (on_socket, on_timeout_wanted);
 * the loop calls act() for either, and afterwards finished transfers are taken from libcurl's
 * queue. So no easy handle is ever removed inside a callback of its own.
 */
#include "policy/fetch_loop.h"

#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/timer.h"

#include <assert.h>
#include <ev.h>
#include <stdlib.h>

struct fetch_loop {
	struct ev_loop *loop;
	CURLM *multi; /* NULL: freed, though a frame of ours may still be on the stack */
	ev_timer timer;
	fetch_loop_fn *finished;
};

static void tell_finished(struct fetch_loop *transfers)
{
	const CURLMsg *message;
	int left;

	while (transfers->multi && (message = curl_multi_info_read(transfers->multi, &left))) {
		assert(message->msg == CURLMSG_DONE);
		transfers->finished(message->easy_handle, message->data.result);
	}
}

static void act(struct fetch_loop *transfers, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(transfers->multi, fd, events, &running);
	tell_finished(transfers);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	act(io->data, io->fd,
	    (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)events;
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static ev_io *new_watcher(struct fetch_loop *transfers, curl_socket_t fd)
{
	ev_io *io = mem_zero(1, sizeof *io);

	ev_init(io, on_io);
	io->data = transfers;
	curl_multi_assign(transfers->multi, fd, io);
	return io;
}

/* Called while the descriptor is still open; its number may be another socket's a moment later. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct fetch_loop *transfers = arg;
	ev_io *io = socket_arg;

	(void)easy;
	if (io)
		ev_io_stop(transfers->loop, io);
	if (what == CURL_POLL_REMOVE) {
		curl_multi_assign(transfers->multi, fd, NULL);
		if (io)
			reap_later(transfers->loop, io, free);
		return 0;
	}
	if (!io)
		io = new_watcher(transfers, fd);
	ev_io_set(
	    io, fd, (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
	ev_io_start(transfers->loop, io);
	return 0;
}

/* 0: soon, but not in here, where libcurl may not be called; -1: no more. */
static int on_timeout_wanted(CURLM *multi, long milliseconds, void *arg)
{
	struct fetch_loop *transfers = arg;

	(void)multi;
	if (milliseconds < 0)
		ev_timer_stop(transfers->loop, &transfers->timer);
	else
		timer_start(transfers->loop, &transfers->timer, (double)milliseconds / 1000);
	return 0;
}

struct fetch_loop *fetch_loop_new(struct ev_loop *loop, fetch_loop_fn *finished)
{
	struct fetch_loop *transfers = mem_zero(1, sizeof *transfers);
	CURLM *multi = curl_multi_init();

	assert(multi);
	transfers->loop = loop;
	transfers->multi = multi;
	transfers->finished = finished;
	ev_init(&transfers->timer, on_timer);
	transfers->timer.data = transfers;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, transfers);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, transfers);
	return transfers;
}

void fetch_loop_free(struct fetch_loop **place)
{
	struct fetch_loop *transfers = *place;

	*place = NULL;
	curl_multi_cleanup(transfers->multi);
	transfers->multi = NULL;
	ev_timer_stop(transfers->loop, &transfers->timer);
	reap_later(transfers->loop, transfers, free);
}

void fetch_loop_add(struct fetch_loop *transfers, CURL *easy)
{
	curl_multi_add_handle(transfers->multi, easy);
}

void fetch_loop_remove(struct fetch_loop *transfers, CURL *easy)
{
	curl_multi_remove_handle(transfers->multi, easy);
}
