/*
 * spool_queue.c - the loop's end of the socket to the disk process.
 *
 * A request stays in the queue until it is answered. When the disk process dies, the next one is
 * sent all of them again, in the same order: each may be done twice. Asking what is due goes one by
 * one, as the answer changes what the next question must leave out.
 */
#include "proxy/spool/spool_internal.h"

#include "conf/child.h"
#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/timer.h"
#include "proxy/spool/spool_dir.h"
#include "proxy/spool/spool_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

enum { READ_SIZE = 64 * 1024 };
static const double revive_least = 0.1, revive_most = 30;
static const double reopen_pause = 1; /* for a directory that cannot be used */

/* ---- requests ---- */

struct spool_request *spool_request_new(enum spool_word word, const char *id)
{
	struct spool_request *request = mem_zero(1, sizeof *request);

	request->frame.word = word;
	snprintf(request->frame.id, sizeof request->frame.id, "%s", id ? id : "");
	return request;
}

void spool_queue_add(struct spool *spool, struct spool_request *request)
{
	request->frame.serial = ++spool->serial;
	request->asked = clock_steady();
	DL_APPEND(spool->requests, request);
	ev_feed_event(spool->loop, &spool->kick, EV_CUSTOM);
}

void spool_queue_drop(struct spool *spool, struct spool_request **request)
{
	DL_DELETE(spool->requests, *request);
	free((*request)->payload);
	free(*request);
	*request = NULL;
}

double spool_queue_silence(const struct spool *spool)
{
	double now = clock_steady();

	for (const struct spool_request *r = spool->requests; r; r = r->next)
		if (r->is_sent)
			return now - r->sent;
		else if (!r->is_refused && r->not_before == 0)
			return now - r->asked; /* there is no room, or no disk process */
	return 0;
}

/* ---- sending ---- */

static void watch(struct spool *spool)
{
	int events = buf_len(&spool->out) ? EV_READ | EV_WRITE : EV_READ;
	int fd = spool->socket.fd;

	if (!ev_is_active(&spool->socket) ||
	    (spool->socket.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(spool->loop, &spool->socket);
	ev_io_set(&spool->socket, fd, events);
	ev_io_start(spool->loop, &spool->socket);
}

/* A disk process that is gone shows when its answer is read. */
static void flush(struct spool *spool)
{
	while (buf_len(&spool->out)) {
		ssize_t sent = send(
		    spool->socket.fd, buf_data(&spool->out), buf_len(&spool->out), MSG_NOSIGNAL);

		if (sent <= 0)
			break;
		buf_consume(&spool->out, (size_t)sent);
	}
	watch(spool);
}

static bool is_asking(const struct spool *spool)
{
	for (const struct spool_request *r = spool->requests; r; r = r->next)
		if (r->is_sent && r->frame.word == SPOOL_ASK)
			return true;
	return false;
}

/* false: it has to wait for room. */
static bool write_out(struct spool *spool, struct spool_request *request)
{
	if (request->frame.word == SPOOL_ASK)
		spool_fill_ask(spool, request);
	if (buf_room(&spool->out) < sizeof request->frame + request->frame.size)
		return false;
	buf_append(&spool->out, &request->frame, sizeof request->frame);
	buf_append(&spool->out, request->payload, request->frame.size);
	request->is_sent = true;
	request->written = spool->written;
	request->sent = clock_steady();
	return true;
}

static void send_on(struct spool *spool)
{
	double now = clock_steady();
	bool asking;

	if (!ev_is_active(&spool->socket))
		return;
	asking = is_asking(spool);
	for (struct spool_request *r = spool->requests; r; r = r->next) {
		if (r->is_sent || r->is_refused || r->not_before > now ||
		    (asking && r->frame.word == SPOOL_ASK))
			continue;
		if (!write_out(spool, r))
			break;
		asking |= r->frame.word == SPOOL_ASK;
	}
	flush(spool);
}

static void refuse_some(struct spool *spool)
{
	struct spool_request *request, *next;

	DL_FOREACH_SAFE(spool->requests, request, next)
	if (request->is_refused) {
		/* The callback may change the queue: from its front again, next turn. */
		if (next)
			ev_feed_event(spool->loop, &spool->kick, EV_CUSTOM);
		if (spool_hear_reply(spool, request, &request->frame))
			spool_queue_drop(spool, &request);
		return;
	}
}

static void on_kick(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct spool *spool = timer->data;

	(void)loop, (void)events;
	refuse_some(spool);
	send_on(spool);
}

/* ---- hearing ---- */

static struct spool_request *find(struct spool *spool, uint64_t serial)
{
	struct spool_request *request = spool->requests;

	while (request && request->frame.serial != serial)
		request = request->next;
	return request;
}

static void hear_log(const struct spool_frame *frame, const char *text)
{
	if (frame->count == LOG_LEVEL_ERROR)
		log_error("%.*s", (int)frame->size, text);
	else
		log_info("%.*s", (int)frame->size, text);
}

/* The request leaves the queue before its callback can change that. */
static void hear(struct spool *spool, const struct spool_frame *frame, const char *payload)
{
	struct spool_request *request = find(spool, frame->serial);

	if (frame->word == SPOOL_LOG) {
		hear_log(frame, payload);
	} else if (request && frame->word == SPOOL_REPLY) {
		spool->revive_after = revive_least;
		if (spool_hear_reply(spool, request, frame))
			spool_queue_drop(spool, &request);
	} else if (request) {
		spool_hear(spool, request, frame, payload);
	}
}

/* false: that is not our disk process any more. */
static bool hear_all(struct spool *spool)
{
	struct spool_frame frame;
	const char *payload;
	size_t used;

	for (;;) {
		switch (spool_wire_next(
		    buf_data(&spool->in), buf_len(&spool->in), &frame, &payload, &used)) {
		case SPOOL_WIRE_BAD:
			return false;
		case SPOOL_WIRE_MORE:
			return true;
		case SPOOL_WIRE_DONE:
			hear(spool, &frame, payload);
			buf_consume(&spool->in, used);
		}
	}
}

/* false: it is gone. */
static bool read_on(struct spool *spool)
{
	size_t room;
	char *at = buf_reserve(&spool->in, READ_SIZE, &room);
	ssize_t got = at ? read(spool->socket.fd, at, room) : 0;

	if (at)
		buf_commit(&spool->in, got > 0 ? (size_t)got : 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got <= 0)
		return false;
	return hear_all(spool);
}

/* ---- the disk process ---- */

static void let_go(struct spool *spool)
{
	struct spool_request *request;

	ev_io_stop(spool->loop, &spool->socket);
	close(spool->socket.fd);
	buf_consume(&spool->in, buf_len(&spool->in));
	buf_consume(&spool->out, buf_len(&spool->out));
	DL_FOREACH(spool->requests, request)
	request->is_sent = false;
}

static void try_again(struct spool *spool, double seconds)
{
	timer_start(spool->loop, &spool->revive, seconds);
}

static void on_death(struct spool *spool)
{
	let_go(spool);
	log_error("spool: the disk process ended; a new one follows in %g s", spool->revive_after);
	try_again(spool, spool->revive_after);
	spool->revive_after *= 2;
	if (spool->revive_after > revive_most)
		spool->revive_after = revive_most;
}

static void on_socket(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct spool *spool = watcher->data;

	(void)loop;
	if ((events & EV_READ) && !read_on(spool))
		on_death(spool);
	else
		send_on(spool);
}

/* The lock's descriptor is there before the child: both hold it. */
static bool open_lock(struct spool *spool, char why[SPOOL_WHY])
{
	char *path;

	if (spool->lock >= 0)
		return true;
	if (!spool_dir_make(spool->directory, why))
		return false;
	path = mem_printf("%s/lock", spool->directory);
	spool->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (spool->lock < 0)
		snprintf(why, SPOOL_WHY, "%.200s: %s", path, strerror(errno));
	free(path);
	return spool->lock >= 0;
}

static bool start_disk(struct spool *spool, char why[SPOOL_WHY])
{
	int fd;

	if (!open_lock(spool, why))
		return false;
	spool->disk = spool_disk_start(spool->directory, spool->lock, &fd);
	if (spool->disk < 0) {
		spool->disk = 0;
		snprintf(why, SPOOL_WHY, "no disk process: %s", strerror(errno));
		return false;
	}
	ev_io_set(&spool->socket, fd, EV_READ);
	ev_io_start(spool->loop, &spool->socket);
	return true;
}

static void revive(struct spool *spool)
{
	char why[SPOOL_WHY];

	child_bury(&spool->disk, "spool: the disk process");
	if (start_disk(spool, why)) {
		send_on(spool);
		return;
	}
	spool_tell_trouble(spool, why);
	try_again(spool, reopen_pause);
}

static void on_revive(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)events;
	revive(timer->data);
}

/* The lock is free as soon as the process that worked the spool off has ended. */
static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct spool *spool = timer->data;

	(void)loop, (void)events;
	if (!spool->is_worker && spool->lock >= 0)
		spool->is_worker = flock(spool->lock, LOCK_EX | LOCK_NB) == 0;
	spool_on_tick(spool);
	send_on(spool);
}

/* ---- opening and closing ---- */

void spool_queue_open(struct spool *spool)
{
	buf_init(&spool->in, SPOOL_FRAME_MAX + READ_SIZE);
	buf_init(&spool->out, SPOOL_FRAME_MAX + READ_SIZE);
	spool->lock = -1;
	spool->revive_after = revive_least;
	ev_init(&spool->socket, on_socket);
	ev_timer_init(&spool->tick, on_tick, 0., 1.);
	ev_init(&spool->revive, on_revive);
	ev_init(&spool->kick, on_kick);
	spool->socket.data = spool->tick.data = spool->revive.data = spool->kick.data = spool;
	revive(spool);
	on_tick(spool->loop, &spool->tick, 0);
	ev_timer_again(spool->loop, &spool->tick);
}

static void step(struct spool *spool, double seconds)
{
	struct pollfd socket = {.fd = spool->socket.fd, .events = POLLIN};
	int ms = (int)(seconds * 1000) + 1;

	refuse_some(spool);
	send_on(spool);
	if (!ev_is_active(&spool->socket)) {
		poll(NULL, 0, ms < 100 ? ms : 100);
		revive(spool);
		return;
	}
	if (buf_len(&spool->out))
		socket.events |= POLLOUT;
	if (poll(&socket, 1, ms < 100 ? ms : 100) > 0 && socket.revents != POLLOUT &&
	    !read_on(spool))
		on_death(spool);
}

/* No disk process can be had, and the operator must act first. */
static bool is_hopeless(const struct spool *spool)
{
	return !ev_is_active(&spool->socket) && spool->has_trouble;
}

/* Outside the loop: at start, and once it has ended. */
void spool_queue_run(struct spool *spool, const struct spool_request *request, double seconds)
{
	double deadline = clock_steady() + seconds;
	uint64_t serial = request ? request->frame.serial : 0;

	while (spool->requests && (!serial || find(spool, serial)) && clock_steady() < deadline &&
	       !is_hopeless(spool))
		step(spool, deadline - clock_steady());
}

/* One that a disk holds ends by itself later. */
static void await_disk(struct spool *spool, double deadline)
{
	while (spool->disk && clock_steady() < deadline && waitpid(spool->disk, NULL, WNOHANG) == 0)
		poll(NULL, 0, 2);
}

void spool_queue_close(struct spool *spool, double seconds)
{
	double deadline = clock_steady() + seconds;

	spool_queue_run(spool, NULL, seconds);
	if (spool->requests)
		log_error("spool: %s could not be written to its end", spool->directory);
	if (ev_is_active(&spool->socket))
		let_go(spool);
	await_disk(spool, deadline);
	while (spool->requests) {
		struct spool_request *first = spool->requests;

		spool_queue_drop(spool, &first);
	}
	ev_timer_stop(spool->loop, &spool->tick);
	ev_timer_stop(spool->loop, &spool->revive);
	ev_clear_pending(spool->loop, &spool->kick);
	buf_release(&spool->in);
	buf_release(&spool->out);
	if (spool->lock >= 0)
		close(spool->lock);
}
