/*
 * store.c - what waits to be written, and the writer that writes it (R-STS-22).
 *
 *     store_put() -> waiting, one change for each domain -> batch -> writer -> report
 *
 * One batch at a time; what comes meanwhile waits and is merged, so that a slow disk makes batches
 * larger and nothing else. A batch that failed, or whose writer died, goes back to those that wait,
 * unless a newer change of the domain has come. Called by mtasts.c; main owns it.
 */
#include "policy/store.h"

#include "conf/child.h"
#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/timer.h"
#include "policy/store_load.h"
#include "policy/store_writer.h"

#include <errno.h>
#include <ev.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The default function falls through between cases, which clang does not let pass. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

/* Octets: with a dead disk the oldest changes are forgotten beyond this. */
enum { WAITING_MAX = 64 * 1024 * 1024 };

/* In a row: another process that holds the file for a minute is trouble. */
enum { BUSY_MAX = 240 };

static const double busy_pause = 0.25;
static const double failed_pause = 10;
static const double revive_least = 1, revive_most = 60;
static const double farewell = 2;

struct change {
	UT_hash_handle hh;
	struct store_row *row;
};

struct store {
	struct ev_loop *loop;
	char *path;
	bool is_reader;         /* nothing below is used */
	struct change *waiting; /* by domain, oldest first */
	size_t waiting_size;
	unsigned busy_count;
	bool has_lost;    /* changes were forgotten; told once */
	bool has_trouble; /* told; the next success tells the end of it */

	pid_t writer; /* 0: dead, or none was made yet */
	ev_io socket;
	double revive_after;
	ev_timer timer; /* to try again, or to make a new writer */

	bool is_writing; /* a batch is with the writer */
	size_t batch_size, sent;
	struct store_batch_head *batch; /* head and rows, batch_size with the head */
	size_t heard;
	struct store_report report;
};

static void send_batch(struct store *store);

/* ---- what waits ---- */

static void forget(struct store *store, struct change *change)
{
	HASH_DEL(store->waiting, change);
	store->waiting_size -= change->row->size;
	free(change->row);
	free(change);
}

static struct change *find(struct store *store, const char *domain)
{
	struct change *change;

	HASH_FIND_STR(store->waiting, domain, change);
	return change;
}

static void bound(struct store *store)
{
	while (store->waiting_size > WAITING_MAX) {
		if (!store->has_lost)
			log_error("MTA-STS cache: %s has not been written for too long; policies "
				  "will be missing there after a restart",
			    store->path);
		store->has_lost = true;
		forget(store, store->waiting);
	}
}

/* The row is handed over. */
static void wait_for_writer(struct store *store, struct store_row *row)
{
	struct change *change = find(store, row->domain);

	if (change)
		forget(store, change);
	change = mem_zero(1, sizeof *change);
	change->row = row;
	HASH_ADD_KEYPTR(hh, store->waiting, row->domain, strlen(row->domain), change);
	store->waiting_size += row->size;
	bound(store);
}

/* ---- trouble ---- */

static void try_again_after(struct store *store, double seconds)
{
	timer_start(store->loop, &store->timer, seconds);
}

/* Once for each change of state: a full disk fails each batch. */
static void tell_trouble(struct store *store, const char *why)
{
	if (!store->has_trouble)
		log_error("MTA-STS cache: %s cannot be written: %s; mail goes on, but a restart "
			  "would forget policies",
		    store->path, why);
	store->has_trouble = true;
}

static void tell_recovery(struct store *store)
{
	if (store->has_trouble)
		log_info("MTA-STS cache: %s is written again", store->path);
	store->has_trouble = store->has_lost = false;
}

/* ---- a batch ---- */

static void fill_batch(struct store *store)
{
	char *at = (char *)(store->batch + 1);
	struct change *change, *next;

	HASH_ITER(hh, store->waiting, change, next)
	{
		size_t size = change->row->size;

		if (at + size > (char *)(store->batch + 1) + STORE_BATCH_MAX)
			break;
		memcpy(at, change->row, size);
		at += size;
		forget(store, change);
	}
	store->batch->size = (size_t)(at - (char *)(store->batch + 1));
	store->batch_size = sizeof *store->batch + store->batch->size;
	store->sent = store->heard = 0;
	store->is_writing = true;
}

/* What failed waits once more; a newer change of the same domain stands. */
static void take_back_batch(struct store *store)
{
	const char *rows = (const char *)(store->batch + 1);

	for (size_t at = 0; store->is_writing && at < store->batch->size;) {
		const struct store_row *row = (const void *)(rows + at);

		if (!find(store, row->domain))
			wait_for_writer(store, mem_copy(row, row->size));
		at += row->size;
	}
	store->is_writing = false;
}

static void write_on(struct store *store)
{
	if (!store->writer || ev_is_active(&store->timer))
		return;
	if (!store->is_writing && store->waiting) {
		fill_batch(store);
		send_batch(store);
	}
}

static void hear_report(struct store *store)
{
	const struct store_report *report = &store->report;

	if (report->has_repaired)
		log_error("MTA-STS cache: %s %s", store->path, report->repair);
	if (report->result == STORE_DONE) {
		store->is_writing = false;
		store->revive_after = revive_least;
		store->busy_count = 0;
		tell_recovery(store);
		write_on(store);
		return;
	}
	take_back_batch(store);
	bool is_busy = report->result == STORE_BUSY;

	store->busy_count = is_busy ? store->busy_count + 1 : 0;
	if (!is_busy || store->busy_count >= BUSY_MAX)
		tell_trouble(store, report->why);
	try_again_after(store, is_busy ? busy_pause : failed_pause);
}

/* ---- the writer ---- */

static void watch(struct store *store, int events)
{
	int fd = store->socket.fd;

	if ((store->socket.events & (EV_READ | EV_WRITE)) == events && ev_is_active(&store->socket))
		return;
	ev_io_stop(store->loop, &store->socket);
	ev_io_set(&store->socket, fd, events);
	ev_io_start(store->loop, &store->socket);
}

static void let_writer_go(struct store *store)
{
	ev_io_stop(store->loop, &store->socket);
	close(store->socket.fd);
	take_back_batch(store);
}

static void on_writer_death(struct store *store)
{
	let_writer_go(store);
	log_error("MTA-STS cache: the process that writes %s ended; a new one follows in %g s",
	    store->path, store->revive_after);
	try_again_after(store, store->revive_after);
	store->revive_after *= 2;
	if (store->revive_after > revive_most)
		store->revive_after = revive_most;
}

static bool is_over(ssize_t done) { return done == 0 || (errno != EAGAIN && errno != EINTR); }

/* A writer that is gone shows when its report is read. */
static void send_batch(struct store *store)
{
	while (store->sent < store->batch_size) {
		ssize_t sent = send(store->socket.fd, (char *)store->batch + store->sent,
		    store->batch_size - store->sent, MSG_NOSIGNAL);

		if (sent <= 0)
			break;
		store->sent += (size_t)sent;
	}
	watch(store, store->sent < store->batch_size ? EV_READ | EV_WRITE : EV_READ);
}

/* false: the writer is gone. */
static bool read_report(struct store *store)
{
	ssize_t got = read(store->socket.fd, (char *)&store->report + store->heard,
	    sizeof store->report - store->heard);

	if (got <= 0)
		return !is_over(got);
	store->heard += (size_t)got;
	if (store->heard == sizeof store->report) {
		store->heard = 0;
		hear_report(store);
	}
	return true;
}

static void on_socket(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct store *store = watcher->data;

	(void)loop;
	if ((events & EV_READ) && !read_report(store))
		on_writer_death(store);
	else if ((events & EV_WRITE) && store->is_writing)
		send_batch(store);
}

static void start_writer(struct store *store)
{
	int fd;
	pid_t writer = store_writer_start(store->path, &fd);

	if (writer < 0) {
		tell_trouble(store, strerror(errno));
		try_again_after(store, store->revive_after);
		return;
	}
	store->writer = writer;
	ev_io_set(&store->socket, fd, EV_READ);
	ev_io_start(store->loop, &store->socket);
}

static void revive(struct store *store)
{
	child_bury(&store->writer, "MTA-STS cache: the process that writes it");
	start_writer(store);
	write_on(store);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct store *store = timer->data;

	(void)loop, (void)events;
	if (ev_is_active(&store->socket))
		write_on(store);
	else
		revive(store);
}

/* ---- changes ---- */

void store_put(struct store *store, const struct sts_entry *entry)
{
	if (store->is_reader)
		return;
	wait_for_writer(store, store_row_new(entry));
	write_on(store);
}

void store_delete(struct store *store, const char *domain)
{
	if (store->is_reader)
		return;
	wait_for_writer(store, store_row_delete(domain));
	write_on(store);
}

/* ---- opening, loading, closing ---- */

struct store *store_open_reader(struct ev_loop *loop, const struct conf *conf)
{
	struct store *store = mem_zero(1, sizeof *store);

	store->loop = loop;
	store->path = mem_printf("%s/mta-sts.sqlite", conf->server.state_dir);
	store->is_reader = true;
	ev_init(&store->socket, on_socket);
	ev_init(&store->timer, on_timer);
	store->socket.data = store->timer.data = store;
	return store;
}

struct store *store_open(struct ev_loop *loop, const struct conf *conf)
{
	struct store *store = store_open_reader(loop, conf);

	store->is_reader = false;
	store->batch = mem_alloc(sizeof *store->batch + STORE_BATCH_MAX);
	store->revive_after = revive_least;
	start_writer(store);
	return store;
}

void store_load(struct store *store, store_entry_fn *each, void *arg)
{
	char why[STORE_WHY];

	if (store->is_reader)
		store_file_look(store->path, each, arg);
	else if (store_file_load(store->path, each, arg, why) != STORE_DONE)
		tell_trouble(store, why);
}

/* Once the loop has ended: the same steps, driven by poll(). false: nothing more can be done. */
static bool last_step(struct store *store, double seconds)
{
	struct pollfd socket = {.fd = store->socket.fd, .events = POLLIN};
	bool is_busy = ev_is_active(&store->timer) && store->report.result == STORE_BUSY;

	if (ev_is_active(&store->timer) && !is_busy)
		return false;
	if (is_busy) {
		poll(NULL, 0, 50);
		ev_timer_stop(store->loop, &store->timer);
		write_on(store);
		return true;
	}
	if (store->sent < store->batch_size)
		socket.events |= POLLOUT;
	poll(&socket, 1, (int)(seconds * 1000) + 1);
	send_batch(store);
	return !(socket.revents & (POLLIN | POLLHUP | POLLERR)) || read_report(store);
}

static void write_last(struct store *store, double deadline)
{
	ev_timer_stop(store->loop, &store->timer);
	if (!ev_is_active(&store->socket))
		revive(store);
	write_on(store);
	while ((store->is_writing || store->waiting) && clock_steady() < deadline)
		if (!last_step(store, deadline - clock_steady()))
			break;
	if (store->is_writing || store->waiting)
		log_error("MTA-STS cache: %s could not be written to its end", store->path);
}

/* It moves its log into the file, then ends; one that a disk holds ends by itself later. */
static void await_writer(struct store *store, double deadline)
{
	while (store->writer && clock_steady() < deadline &&
	       waitpid(store->writer, NULL, WNOHANG) == 0)
		poll(NULL, 0, 2);
}

void store_close(struct store **store)
{
	struct store *s = *store;
	struct change *change, *next;

	if (!s)
		return;
	double deadline = clock_steady() + farewell;

	if (s->is_writing || s->waiting)
		write_last(s, deadline);
	if (ev_is_active(&s->socket))
		let_writer_go(s);
	ev_timer_stop(s->loop, &s->timer);
	await_writer(s, deadline);
	HASH_ITER(hh, s->waiting, change, next) { forget(s, change); }
	free(s->batch);
	free(s->path);
	free(s);
	*store = NULL;
}
