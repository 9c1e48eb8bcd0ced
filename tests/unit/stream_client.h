/*
 * stream_client.h - a stream under test with a record of what it was told, and the words that
 * scripted peers use. Included by the test programs of streams.
 */
#ifndef TESTS_STREAM_CLIENT_H
#define TESTS_STREAM_CLIENT_H

#include "tls/ctx.h"
#include "tls/stream.h"
#include "tls_peer.h"

#include "conf/mem.h"
#include "conf/reap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ev.h>

/* Not libev's default loop: that one reaps child processes, which the tests wait for. */
static struct ev_loop *loop;
static struct tls_contexts *contexts;
static struct identity identity;
static struct server server = {.identity = &identity};

/* ---- our side: a stream, and what was told about it ---- */

struct client {
	struct stream *stream;
	char events[64]; /* one letter each, in order: C S R D F */
	size_t taken;    /* octets consumed */
	bool in_call;    /* a call of the interface is under way: nothing may be told */
	enum stream_event close_at;
	bool closes, keeps_input;
	char text[128]; /* of what was consumed, the start */
	char error[256];
};

static const char letters[] = {[STREAM_CONNECTED] = 'C',
    [STREAM_SECURED] = 'S',
    [STREAM_READABLE] = 'R',
    [STREAM_DRAINED] = 'D',
    [STREAM_FAILED] = 'F'};

static inline void take(struct client *client)
{
	size_t len, start = client->taken;
	const char *data = stream_input(client->stream, &len);

	for (size_t i = 0; i < len && start + i < sizeof(client->text) - 1; i++)
		client->text[start + i] = data[i];
	client->taken += len;
	stream_consume(client->stream, len);
}

static inline void on_stream(struct stream *stream, enum stream_event event, void *arg)
{
	struct client *client = arg;
	size_t count = strlen(client->events);

	assert_false(client->in_call);
	assert_ptr_equal(stream, client->stream);
	assert_true(count < sizeof(client->events) - 1);
	client->events[count] = letters[event];
	if (event == STREAM_FAILED)
		snprintf(client->error, sizeof(client->error), "%s", stream_error(stream));
	if (event == STREAM_READABLE && !client->keeps_input)
		take(client);
	if (client->closes && event == client->close_at)
		stream_close(&client->stream);
	ev_break(loop, EVBREAK_ONE);
}

static inline void on_timeout(struct ev_loop *of, ev_timer *timer, int events)
{
	(void)events;
	*(bool *)timer->data = true;
	ev_break(of, EVBREAK_ONE);
}

/* Turns the loop until the condition holds; a loaded machine under a sanitizer has its time. */
#define RUN_UNTIL(condition) RUN_CLIENT_UNTIL(&client, condition)
#define RUN_CLIENT_UNTIL(of, condition)                                                            \
	do {                                                                                       \
		bool late_ = false;                                                                \
		ev_timer timer_;                                                                   \
		ev_timer_init(&timer_, on_timeout, 24, 0);                                         \
		timer_.data = &late_;                                                              \
		ev_now_update(loop);                                                               \
		ev_timer_start(loop, &timer_);                                                     \
		while (!(condition) && !late_)                                                     \
			ev_run(loop, EVRUN_ONCE);                                                  \
		ev_timer_stop(loop, &timer_);                                                      \
		if (late_ && !(condition))                                                         \
			fail_msg("not in time: %s (events %s)", #condition, (of)->events);         \
	} while (0)

/* Lets the loop turn for a while: for what must not happen. */
static inline void idle(double seconds)
{
	bool late = false;
	ev_timer timer;

	ev_timer_init(&timer, on_timeout, seconds, 0);
	timer.data = &late;
	ev_now_update(loop);
	ev_timer_start(loop, &timer);
	while (!late)
		ev_run(loop, EVRUN_ONCE);
}

static inline bool has(const struct client *client, enum stream_event event)
{
	return strchr(client->events, letters[event]) != NULL;
}

static inline void begin(struct client *client, const struct peer *peer)
{
	client->in_call = true;
	client->stream = stream_adopt(loop, peer->fd, on_stream, client);
	client->in_call = false;
}

static inline void secure(struct client *client)
{
	struct tls_rule rule = {.need = TLS_ENCRYPT};

	client->in_call = true;
	stream_start_tls(client->stream, contexts, &rule, NULL);
	client->in_call = false;
}

static inline void send_text(struct client *client, const char *text)
{
	client->in_call = true;
	assert_true(stream_write(client->stream, text, strlen(text)));
	client->in_call = false;
}

/* The script has come to its end; the loop turns meanwhile, as the script may wait for us. */
static inline void await_peer(const struct peer *peer, const struct client *client)
{
	siginfo_t info;

	for (int i = 0; i < 2400; i++) {
		info.si_pid = 0;
		assert_int_equal(
		    waitid(P_PID, (id_t)peer->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
		if (info.si_pid)
			break;
		idle(0.01);
	}
	if (!info.si_pid)
		fail_msg("the peer does not end (events %s)", client->events);
	assert_true(peer_ended_well(peer));
}

static inline void end(struct client *client, const struct peer *peer)
{
	stream_close(&client->stream);
	assert_null(client->stream);
	reap_now();
	assert_true(peer_ended_well(peer));
}

/* ---- their side: scripts ---- */

static inline void put(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(2);
}

static inline void expect(int fd, const char *text)
{
	char got[256];
	size_t len = 0;

	while (len < strlen(text)) {
		ssize_t n = recv(fd, got + len, sizeof(got) - len, 0);

		if (n <= 0)
			_exit(3);
		len += (size_t)n;
	}
	if (len != strlen(text) || memcmp(got, text, len) != 0)
		_exit(4);
}

static inline void expect_eof(int fd)
{
	char octet;

	if (recv(fd, &octet, 1, 0) > 0)
		_exit(5);
}

static inline SSL *secured(int fd)
{
	SSL *ssl = server_accept(fd, &server);

	if (!ssl)
		_exit(6);
	return ssl;
}

static inline void put_tls(SSL *ssl, const char *text)
{
	if (SSL_write(ssl, text, (int)strlen(text)) <= 0)
		_exit(7);
}

static inline void expect_tls(SSL *ssl, const char *text)
{
	char got[256] = "";

	if (SSL_read(ssl, got, sizeof(got) - 1) != (int)strlen(text) || strcmp(got, text) != 0)
		_exit(8);
}

static inline void expect_close_notify(SSL *ssl)
{
	char octet;
	int n = SSL_read(ssl, &octet, 1);

	if (n > 0 || SSL_get_error(ssl, n) != SSL_ERROR_ZERO_RETURN)
		_exit(9);
}

/* ---- the world ---- */

static inline void set_up(void)
{
	char *error = NULL;

	signal(SIGPIPE, SIG_IGN);
	loop = ev_loop_new(0);
	tls_library_init();
	identity = make_identity(&(struct identity_spec){.common_name = "peer"}, NULL);
	contexts = tls_contexts_new(NULL, &error);
	assert(contexts);
}

static inline void tear_down(void)
{
	tls_contexts_free(&contexts);
	free_identity(&identity);
	ev_loop_destroy(loop);
}

#endif
