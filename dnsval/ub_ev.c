/*
 * ub_ev.c - lets libunbound run inside our libev loop.
 *
 * libunbound asks for events through a table of functions; each of its events
 * becomes one ev_io and one ev_timer here. See unbound-event.h for the contract,
 * and unbound's util/mini_event.c for what it takes for granted. Called by context.c.
 */
#include "dnsval/ub_ev.h"

#include "conf/mem.h"

#include <ev.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unbound-event.h>

struct base {
	struct ub_event_base ub; /* first: libunbound holds a pointer to it */
	struct ev_loop *loop;
};

struct event {
	struct ub_event ub; /* first, likewise */
	struct ev_loop *loop;
	ev_io io;
	ev_timer timer;
	short bits; /* UB_EV_* it waits for */
	void (*cb)(int fd, short bits, void *arg);
	void *arg;
};

static void stop(struct event *e)
{
	ev_io_stop(e->loop, &e->io);
	ev_timer_stop(e->loop, &e->timer);
}

static void fire(struct event *e, short bits)
{
	if (!(e->bits & UB_EV_PERSIST))
		stop(e);
	else if (ev_is_active(&e->timer))
		ev_timer_again(e->loop, &e->timer);
	e->cb(e->io.fd, bits, e->arg); /* may free e: nothing may follow */
}

static void on_io(struct ev_loop *loop, ev_io *w, int revents)
{
	int bits = (revents & EV_READ ? UB_EV_READ : 0) | (revents & EV_WRITE ? UB_EV_WRITE : 0);

	(void)loop;
	fire(w->data, (short)bits);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	fire(w->data, UB_EV_TIMEOUT);
}

static int event_del(struct ub_event *ub)
{
	stop((struct event *)ub);
	return 0;
}

static int event_add(struct ub_event *ub, struct timeval *tv)
{
	struct event *e = (struct event *)ub;
	int mask = (e->bits & UB_EV_READ ? EV_READ : 0) | (e->bits & UB_EV_WRITE ? EV_WRITE : 0);

	stop(e);
	if (mask && e->io.fd < 0)
		return -1; /* libev would abort the process */
	if (mask) {
		ev_io_set(&e->io, e->io.fd, mask);
		ev_io_start(e->loop, &e->io);
	}
	if (tv && e->bits & UB_EV_TIMEOUT) {
		double after = (double)tv->tv_sec + (double)tv->tv_usec / 1e6;

		/*
		 * libev counts from the start of this turn of the loop. After a long callback
		 * that lies in the past, and a retransmission timer would fire before the
		 * server had its time. Zero is real: the library defers each send that way.
		 */
		if (after > 0)
			ev_now_update(e->loop);
		ev_timer_set(&e->timer, after, after);
		ev_timer_start(e->loop, &e->timer);
	}
	return 0;
}

static int timer_add(struct ub_event *ub, struct ub_event_base *base,
    void (*cb)(int, short, void *), void *arg, struct timeval *tv)
{
	struct event *e = (struct event *)ub;

	(void)base;
	e->cb = cb;
	e->arg = arg;
	e->bits |= UB_EV_TIMEOUT;
	return event_add(ub, tv);
}

static void event_free(struct ub_event *ub)
{
	event_del(ub);
	free(ub);
}

static void add_bits(struct ub_event *ub, short bits) { ((struct event *)ub)->bits |= bits; }

static void del_bits(struct ub_event *ub, short bits)
{
	((struct event *)ub)->bits &= (short)~bits;
}

static void set_fd(struct ub_event *ub, int fd) { ev_io_set(&((struct event *)ub)->io, fd, 0); }

/* clang-format off */
/* Signals and Windows sockets: the daemon unbound(8) uses them, libunbound never does. */
static int no_signal_add(struct ub_event *ub, struct timeval *tv)
{
	(void)ub, (void)tv;
	return -1;
}

static int no_signal_del(struct ub_event *ub)            { (void)ub; return -1; }
static void no_winsock(struct ub_event *ub)              { (void)ub; }
static void no_wouldblock(struct ub_event *ub, int bits) { (void)ub, (void)bits; }

static struct ub_event_vmt event_methods = {
	.add_bits = add_bits, .del_bits = del_bits, .set_fd = set_fd, .free = event_free,
	.add = event_add, .del = event_del, .add_timer = timer_add, .del_timer = event_del,
	.add_signal = no_signal_add, .del_signal = no_signal_del,
	.winsock_unregister_wsaevent = no_winsock, .winsock_tcp_wouldblock = no_wouldblock,
};
/* clang-format on */

static struct ub_event *event_new(
    struct ub_event_base *ub, int fd, short bits, void (*cb)(int, short, void *), void *arg)
{
	struct event *e = mem_zero(1, sizeof *e);

	e->ub = (struct ub_event){UB_EVENT_MAGIC, &event_methods};
	e->loop = ((struct base *)ub)->loop;
	e->bits = bits;
	e->cb = cb;
	e->arg = arg;
	ev_io_init(&e->io, on_io, fd, 0);
	ev_init(&e->timer, on_timer);
	e->io.data = e->timer.data = e;
	return &e->ub;
}

/* libunbound calls none of these for ub_resolve_event(); we run the loop. */
/* clang-format off */
static void no_free(struct ub_event_base *ub)    { (void)ub; }
static int no_dispatch(struct ub_event_base *ub) { (void)ub; return -1; }
/* clang-format on */

static int no_exit(struct ub_event_base *ub, struct timeval *tv)
{
	(void)ub, (void)tv;
	return -1;
}

static struct ub_event *no_signal(
    struct ub_event_base *ub, int fd, void (*cb)(int, short, void *), void *arg)
{
	(void)ub, (void)fd, (void)cb, (void)arg;
	return NULL;
}

static struct ub_event *no_wsaevent(
    struct ub_event_base *ub, void *event, void (*cb)(int, short, void *), void *arg)
{
	(void)ub, (void)event, (void)cb, (void)arg;
	return NULL;
}

static struct ub_event_base_vmt base_methods = {
    .free = no_free,
    .dispatch = no_dispatch,
    .loopexit = no_exit,
    .new_event = event_new,
    .new_signal = no_signal,
    .winsock_register_wsaevent = no_wsaevent,
};

struct ub_event_base *ub_ev_new(struct ev_loop *loop)
{
	struct base *b = mem_zero(1, sizeof *b);

	b->ub = (struct ub_event_base){UB_EVENT_MAGIC, &base_methods};
	b->loop = loop;
	return &b->ub;
}

void ub_ev_free(struct ub_event_base **base)
{
	free(*base);
	*base = NULL;
}
