/*
 * introduction.c - see introduction.h. The header is looked at where it lies (MSG_PEEK) and taken
 * only when its length is known, so that the session finds its client's first octet first. Until
 * then the kernel wakes us for each further octet alone (SO_RCVLOWAT): what lies there already
 * would keep the loop busy.
 */
#include "proxy/intercept/introduction.h"

#include "conf/mem.h"
#include "conf/reap.h"
#include "conf/timer.h"
#include "proxy/intercept/proxy_header.h"

#include <errno.h>
#include <ev.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE 5.0

struct introduction {
	struct ev_loop *loop;
	introduction_fn *callback;
	void *arg;
	ev_io io;
	ev_timer patience;
	struct addr balancer;
	size_t seen;
};

static void end(struct introduction *i)
{
	ev_io_stop(i->loop, &i->io);
	ev_timer_stop(i->loop, &i->patience);
	reap_later(i->loop, i, free);
}

void introduction_cancel(struct introduction **introduction)
{
	struct introduction *i = *introduction;

	*introduction = NULL;
	if (!i)
		return;
	close(i->io.fd);
	end(i);
}

static void await_octets(int fd, size_t count)
{
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){(int)count}, sizeof(int));
}

static void finish(struct introduction *i, const struct addr *client, const char *why)
{
	await_octets(i->io.fd, 1);
	end(i);
	i->callback(i, i->io.fd, client, why, i->arg);
}

static void accept_header(struct introduction *i, const struct proxy_header *header)
{
	char taken[PROXY_HEADER_MAX];

	if (recv(i->io.fd, taken, header->len, 0) == (ssize_t)header->len)
		finish(i, header->has_source ? &header->source : &i->balancer, NULL);
	else
		finish(i, NULL, "the connection broke");
}

/* The peer's FIN wakes us, too, whatever octets are awaited. */
static bool is_over(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLRDHUP};

	return poll(&poller, 1, 0) == 1;
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct introduction *i = w->data;
	char data[PROXY_HEADER_MAX];
	struct proxy_header header;
	const char *why;
	ssize_t len = recv(w->fd, data, sizeof data, MSG_PEEK);

	(void)loop, (void)revents;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= (ssize_t)i->seen) {
		if (is_over(w->fd))
			finish(i, NULL, "the connection ended before its PROXY header did");
		return;
	}
	i->seen = (size_t)len;
	switch (proxy_header_parse(data, i->seen, &header, &why)) {
	case PROXY_HEADER_DONE:
		accept_header(i, &header);
		break;
	case PROXY_HEADER_MORE:
		await_octets(w->fd, i->seen + 1);
		break;
	case PROXY_HEADER_BAD:
		finish(i, NULL, why);
		break;
	}
}

static void on_patience_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	finish(w->data, NULL, "no PROXY header came within 5 s");
}

struct introduction *introduction_start(
    struct ev_loop *loop, int fd, const struct addr *balancer, introduction_fn *callback, void *arg)
{
	struct introduction *i = mem_zero(1, sizeof *i);

	i->loop = loop;
	i->callback = callback;
	i->arg = arg;
	i->balancer = *balancer;
	ev_io_init(&i->io, on_readable, fd, EV_READ);
	ev_init(&i->patience, on_patience_over);
	i->io.data = i->patience.data = i;
	ev_io_start(loop, &i->io);
	timer_start(loop, &i->patience, PATIENCE);
	return i;
}

const struct addr *introduction_balancer(const struct introduction *i) { return &i->balancer; }
