/*
 * loop_test.c - see loop_test.h. 192.0.2.1 and 2001:db8::1 are documentation addresses (RFC 5737,
 * RFC 3849): nobody answers there, and where there is no route the test has nothing to say.
 */
#include "proxy/intercept/loop_test.h"

#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/proxy.h"
#include "tls/stream.h"

#include <ev.h>
#include <stdlib.h>

#define PATIENCE 1.0

struct probe {
	struct stream *stream;
	struct addr near, far;
	bool is_bound;
};

struct loop_test {
	struct proxy *proxy;
	loop_test_fn *callback;
	void *arg;
	ev_timer patience, verdict;
	struct probe probes[2];
};

static void stop(struct loop_test *test)
{
	for (size_t i = 0; i < 2; i++)
		stream_close(&test->probes[i].stream);
	ev_timer_stop(test->proxy->loop, &test->patience);
}

void loop_test_free(struct loop_test **test)
{
	if (!*test)
		return;
	stop(*test);
	ev_clear_pending((*test)->proxy->loop, &(*test)->verdict);
	free(*test);
	*test = NULL;
}

static void on_stream(struct stream *stream, enum stream_event event, void *arg)
{
	(void)stream, (void)event, (void)arg;
}

static void on_patience_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct loop_test *test = w->data;

	(void)loop, (void)revents;
	if (test->probes[0].is_bound || test->probes[1].is_bound)
		log_debug("our own connections are not intercepted");
	else
		log_warning("whether our own connections would be intercepted could not be "
			    "tested: none could leave this host (%s)",
		    stream_error(test->probes[0].stream));
	stop(test);
}

static void on_verdict(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct loop_test *test = w->data;

	(void)loop, (void)revents;
	test->callback(test->arg);
}

static void dial(struct loop_test *test, struct probe *probe, const char *ip)
{
	struct socket_origin origin = {.mark = test->proxy->mark};

	addr_parse_ip(&probe->far, ip, 25);
	probe->stream = stream_connect(test->proxy->loop, &probe->far, &origin, on_stream, test);
	probe->is_bound = stream_local(probe->stream, &probe->near);
}

struct loop_test *loop_test_start(struct proxy *proxy, loop_test_fn *callback, void *arg)
{
	struct loop_test *test = mem_zero(1, sizeof *test);

	test->proxy = proxy;
	test->callback = callback;
	test->arg = arg;
	ev_timer_init(&test->patience, on_patience_over, PATIENCE, 0.);
	ev_init(&test->verdict, on_verdict);
	test->patience.data = test->verdict.data = test;
	ev_timer_start(proxy->loop, &test->patience);
	dial(test, &test->probes[0], "192.0.2.1");
	dial(test, &test->probes[1], "2001:db8::1");
	return test;
}

bool loop_test_hears(struct loop_test *test, const struct addr *client, const struct addr *original)
{
	for (size_t i = 0; test && i < 2; i++) {
		const struct probe *probe = &test->probes[i];

		if (!probe->is_bound || !addr_equal(&probe->near, client) ||
		    !addr_equal(&probe->far, original))
			continue;
		ev_feed_event(test->proxy->loop, &test->verdict, EV_TIMER);
		return true;
	}
	return false;
}
