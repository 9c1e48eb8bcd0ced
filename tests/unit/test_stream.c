/*
 * test_stream.c - the stream's events and its laws in clear: nothing is called back from inside a
 * call, one last event, what came is told before what broke; connecting and closing.
 */
#include "stream_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>

/* ---- in clear ---- */

static void talk_and_hear(int fd, const void *arg)
{
	(void)arg;
	put(fd, "220 hello\r\n");
	expect(fd, "EHLO a\r\nMAIL b\r\n");
	expect_eof(fd);
}

static void writes_leave_together(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(talk_and_hear, NULL);

	(void)state;
	begin(&client, &peer);
	RUN_UNTIL(client.taken == 11);
	assert_string_equal(client.text, "220 hello\r\n");
	assert_null(stream_proof(client.stream));
	send_text(&client, "EHLO a\r\n");
	send_text(&client, "MAIL b\r\n");
	assert_int_equal(stream_unsent(client.stream), 16);
	RUN_UNTIL(has(&client, STREAM_DRAINED));
	assert_int_equal(stream_unsent(client.stream), 0);
	assert_string_equal(client.events, "RD");
	end(&client, &peer);
}

static void half_close(int fd, const void *arg)
{
	(void)arg;
	put(fd, "last words");
	shutdown(fd, SHUT_WR);
	expect(fd, "still heard");
	expect_eof(fd);
}

static void fin_is_an_end(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(half_close, NULL);

	(void)state;
	begin(&client, &peer);
	RUN_UNTIL(stream_at_eof(client.stream));
	assert_string_equal(client.text, "last words");
	assert_false(has(&client, STREAM_FAILED));
	send_text(&client, "still heard");
	RUN_UNTIL(has(&client, STREAM_DRAINED));
	idle(0.05);
	assert_false(has(&client, STREAM_FAILED));
	end(&client, &peer);
}

static void say_and_reset(int fd, const void *arg)
{
	(void)arg;
	expect(fd, "a");
	put(fd, "421 go away\r\n");
	close(fd); /* with "b" unread or on its way */
}

static void last_words_before_failure(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(say_and_reset, NULL);

	(void)state;
	begin(&client, &peer);
	send_text(&client, "a");
	RUN_UNTIL(has(&client, STREAM_DRAINED));
	assert_true(peer_ended_well(&peer));
	assert_false(has(&client, STREAM_READABLE));
	/*
	 * A write runs before the loop looks for input: it fails, and the reply that came before is
	 * read all the same.
	 */
	send_text(&client, "b");
	RUN_UNTIL(has(&client, STREAM_FAILED));
	assert_string_equal(client.text, "421 go away\r\n");
	assert_string_equal(client.error, "connection lost");
	idle(0.02);
	assert_ptr_equal(strchr(client.events, 'F'), client.events + strlen(client.events) - 1);
	assert_int_equal(stream_room(client.stream), 0);
	assert_false(stream_write(client.stream, "c", 1));
	stream_close(&client.stream);
	reap_now();
}

static void await_eof(int fd, const void *arg)
{
	(void)arg;
	expect_eof(fd);
}

static void all_or_nothing(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(await_eof, NULL);
	char *much = mem_zero(1, STREAM_OUTPUT_MAX + 1);

	(void)state;
	begin(&client, &peer);
	assert_int_equal(stream_room(client.stream), STREAM_OUTPUT_MAX);
	assert_false(stream_write(client.stream, much, STREAM_OUTPUT_MAX + 1));
	assert_int_equal(stream_unsent(client.stream), 0);
	assert_true(stream_write(client.stream, much, STREAM_OUTPUT_MAX));
	assert_false(stream_write(client.stream, much, 1));
	stream_close(&client.stream);
	reap_now();
	/* Nothing of it was sent: close came before the turn. */
	assert_true(peer_ended_well(&peer));
	free(much);
}

/* ---- connecting ---- */

static struct addr loopback(uint16_t port)
{
	struct addr to = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}};

	to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return to;
}

/* Nobody is served there, and nobody else can begin to serve. */
static int bind_somewhere(struct addr *at)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(at->in);

	*at = loopback(0);
	assert_true(bind(fd, &at->sa, len) == 0 && getsockname(fd, &at->sa, &len) == 0);
	return fd;
}

static int listen_somewhere(struct addr *at)
{
	int fd = bind_somewhere(at);

	assert_true(listen(fd, 5) == 0);
	return fd;
}

static void connects(void **state)
{
	struct client client = {0};
	struct addr to, source = loopback(0), local;
	int fd = listen_somewhere(&to), accepted;

	(void)state;
	source.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 6);
	client.in_call = true;
	client.stream = stream_connect(
	    loop, &to, &(struct socket_origin){.source = &source}, on_stream, &client);
	assert_true(stream_write(client.stream, "early", 5));
	client.in_call = false;
	RUN_UNTIL(has(&client, STREAM_DRAINED));
	assert_string_equal(client.events, "CD");
	assert_true(stream_local(client.stream, &local));
	assert_true(local.in.sin_addr.s_addr == source.in.sin_addr.s_addr);
	accepted = accept(fd, NULL, NULL);
	expect(accepted, "early");
	stream_close(&client.stream);
	expect_eof(accepted);
	close(accepted);
	close(fd);
	reap_now();
}

/* A source that no right can make ours: one of the other family. */
static void connect_failures(void **state)
{
	struct client client = {0};
	struct addr to, source = {.in6 = {.sin6_family = AF_INET6, .sin6_addr.s6_addr = {0x20, 1}}};
	const struct {
		struct socket_origin origin;
		const char *error;
	} cases[] = {
	    {{0}, "connection refused"},
	    {{.source = &source}, "address family not supported by protocol"},
	};

	int nobody = bind_somewhere(&to);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		memset(&client, 0, sizeof(client));
		client.in_call = true;
		client.stream = stream_connect(loop, &to, &cases[i].origin, on_stream, &client);
		client.in_call = false;
		assert_non_null(client.stream);
		RUN_UNTIL(has(&client, STREAM_FAILED));
		assert_string_equal(client.events, "F");
		assert_string_equal(client.error, cases[i].error);
		assert_null(stream_proof(client.stream));
		stream_close(&client.stream);
	}
	close(nobody);
	reap_now();
}

/* ---- closing ---- */

static void hello_then_notify(int fd, const void *arg)
{
	SSL *ssl = arg ? server_accept(fd, arg) : NULL;
	char octet;

	if (!ssl) {
		send(fd, "hello", 5, MSG_NOSIGNAL);
		while (recv(fd, &octet, 1, 0) > 0)
			;
	} else if (SSL_write(ssl, "hello", 5) == 5) {
		expect_close_notify(ssl);
	}
}

static void close_in_callback(enum stream_event event, bool tls)
{
	struct client client = {.closes = true, .close_at = event};
	struct peer peer = start_peer(hello_then_notify, tls ? &server : NULL);

	begin(&client, &peer);
	if (tls)
		secure(&client);
	else
		send_text(&client, "x");
	RUN_UNTIL(!client.stream);
	size_t count = strlen(client.events);
	idle(0.05);
	assert_int_equal(strlen(client.events), count);
	assert_int_equal(client.events[count - 1], letters[event]);
	reap_now();
	assert_true(peer_ended_well(&peer));
}

static void close_inside_callbacks(void **state)
{
	struct client client = {.closes = true, .close_at = STREAM_FAILED};
	struct addr to;
	int fd = bind_somewhere(&to);

	(void)state;
	close_in_callback(STREAM_READABLE, false);
	close_in_callback(STREAM_DRAINED, false);
	close_in_callback(STREAM_SECURED, true);
	close_in_callback(STREAM_READABLE, true);
	client.stream = stream_connect(loop, &to, NULL, on_stream, &client);
	RUN_UNTIL(!client.stream);
	assert_string_equal(client.events, "F");
	close(fd);

	client = (struct client){.closes = true, .close_at = STREAM_CONNECTED};
	fd = listen_somewhere(&to);
	client.stream = stream_connect(loop, &to, NULL, on_stream, &client);
	assert_true(stream_write(client.stream, "x", 1));
	RUN_UNTIL(!client.stream);
	idle(0.02);
	assert_string_equal(client.events, "C");
	close(fd);
	reap_now();
}

/* Fed events of a closed stream are taken back: under the sanitizer a stray one would be seen. */
static void close_takes_events_back(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(await_eof, NULL);
	struct addr to;
	int nobody = bind_somewhere(&to);

	(void)state;
	begin(&client, &peer);
	send_text(&client, "x");
	stream_close(&client.stream);
	stream_close(&client.stream);
	reap_now();
	client.stream = stream_connect(loop, &to, NULL, on_stream, &client);
	stream_close(&client.stream);
	reap_now();
	idle(0.02);
	close(nobody);
	assert_string_equal(client.events, "");
	assert_true(peer_ended_well(&peer));
}

static void read_slowly(int fd, const void *arg)
{
	SSL *ssl = arg ? secured(fd) : NULL;
	static char data[STREAM_OUTPUT_MAX];
	size_t len = 0;
	int n;

	if (!ssl)
		put(fd, "unread by the client, which would turn close() into a reset");
	usleep(50000);
	do {
		n = ssl ? SSL_read(ssl, data, sizeof(data)) : (int)recv(fd, data, sizeof(data), 0);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	if (len != STREAM_OUTPUT_MAX)
		_exit(13);
	if (ssl && SSL_get_error(ssl, n) != SSL_ERROR_ZERO_RETURN)
		_exit(14);
}

static void finish_delivers(bool tls)
{
	struct client client = {0};
	struct peer peer = start_peer(read_slowly, tls ? &server : NULL);
	char *much = mem_zero(1, STREAM_OUTPUT_MAX);

	begin(&client, &peer);
	setsockopt(peer.fd, SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int));
	if (tls) {
		secure(&client);
		RUN_UNTIL(has(&client, STREAM_SECURED));
	}
	assert_true(stream_write(client.stream, much, STREAM_OUTPUT_MAX));
	stream_finish(&client.stream, 20, NULL, NULL);
	assert_null(client.stream);
	await_peer(&peer, &client);
	assert_false(has(&client, STREAM_DRAINED));
	free(much);
	reap_now();
}

static void finish_lets_output_leave(void **state)
{
	(void)state;
	finish_delivers(false);
	finish_delivers(true);
}

static void after_fin(int fd, const void *arg)
{
	(void)arg;
	put(fd, "QUIT\r\n");
	shutdown(fd, SHUT_WR);
	expect(fd, "221 bye\r\n");
	expect_eof(fd);
}

static void finish_after_their_fin(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(after_fin, NULL);

	(void)state;
	begin(&client, &peer);
	RUN_UNTIL(stream_at_eof(client.stream));
	send_text(&client, "221 bye\r\n");
	stream_finish(&client.stream, 20, NULL, NULL);
	await_peer(&peer, &client);
	reap_now();
}

/* Until the connection has been ended for it. */
static void never_read(int fd, const void *arg)
{
	struct pollfd hangup = {.fd = fd};

	(void)arg;
	while (!(hangup.revents & POLLHUP))
		poll(&hangup, 1, -1);
}

static void count_gone(bool is_heard, void *arg)
{
	assert_false(is_heard);
	++*(int *)arg;
}

static void finish_does_not_linger(void **state)
{
	int gone = 0;
	struct client client = {0};
	struct peer peer = start_peer(never_read, NULL);
	char *much = mem_zero(1, STREAM_OUTPUT_MAX);
	int fd = peer.fd;
	ev_tstamp began;

	(void)state;
	begin(&client, &peer);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int));
	assert_true(stream_write(client.stream, much, STREAM_OUTPUT_MAX));
	assert_true(stream_finish(&client.stream, 0.7, count_gone, &gone));
	assert_false(stream_finish(&client.stream, 0.7, count_gone, &gone));
	assert_true(fcntl(fd, F_GETFD) >= 0);
	began = ev_now(loop);
	RUN_UNTIL(gone);
	assert_true(ev_now(loop) - began > 0.65);
	assert_int_equal(gone, 1);
	await_peer(&peer, &client);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	free(much);
	reap_now();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"all writes of a turn leave together", writes_leave_together, NULL, NULL, NULL},
	    {"FIN is an end, our side stays open", fin_is_an_end, NULL, NULL, NULL},
	    {"what came is told before the failure", last_words_before_failure, NULL, NULL, NULL},
	    {"a write is taken whole or not at all", all_or_nothing, NULL, NULL, NULL},
	    {"connects, from a source address", connects, NULL, NULL, NULL},
	    {"connecting fails in words, a turn later", connect_failures, NULL, NULL, NULL},
	    {"close inside each callback", close_inside_callbacks, NULL, NULL, NULL},
	    {"close takes fed events back", close_takes_events_back, NULL, NULL, NULL},
	    {"finish lets output leave", finish_lets_output_leave, NULL, NULL, NULL},
	    {"finish after the peer's FIN", finish_after_their_fin, NULL, NULL, NULL},
	    {"finish does not linger for ever", finish_does_not_linger, NULL, NULL, NULL},
	};
	int failed;

	set_up();
	failed = cmocka_run_group_tests_name("stream", tests, NULL, NULL);
	tear_down();
	return failed;
}
