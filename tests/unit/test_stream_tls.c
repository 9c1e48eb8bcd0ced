/*
 * test_stream_tls.c - streams that become TLS: injection, truncation, floods, back-pressure
 * (R-TLSSEC-01, -11, -12, -14; catalogue T-04, T-05, T-21, T-24).
 */
#include "stream_client.h"
#include "tls/server.h"
#include "tls/wire.h"

#include <errno.h>
#include <sys/syscall.h>

/* ---- TLS ---- */

static void inject_with_reply(int fd, const void *arg)
{
	(void)arg;
	put(fd, "220 go\r\n250 fake\r\n");
	expect_eof(fd);
}

static void injection_in_buffer(void **state)
{
	struct client client = {.keeps_input = true};
	struct peer peer = start_peer(inject_with_reply, NULL);

	(void)state;
	begin(&client, &peer);
	RUN_UNTIL(has(&client, STREAM_READABLE));
	stream_consume(client.stream, strlen("220 go\r\n"));
	secure(&client);
	assert_false(stream_write(client.stream, "x", 1));
	RUN_UNTIL(has(&client, STREAM_FAILED));
	assert_string_equal(client.events, "RF");
	assert_string_equal(client.error, "data before the TLS handshake (STARTTLS injection)");
	assert_int_equal(stream_proof(client.stream)->failure, TLS_FAIL_HANDSHAKE);
	assert_false(stream_proof(client.stream)->encrypted);
	end(&client, &peer);
}

static void inject_before_hello(int fd, const void *arg)
{
	(void)arg;
	put(fd, "220 go\r\n");
	char octet;
	recv(fd, &octet, 1, MSG_PEEK); /* the ClientHello is here */
	put(fd, "250 fake\r\n");
	server_accept(fd, &server);
}

static void injection_in_kernel(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(inject_before_hello, NULL);

	(void)state;
	begin(&client, &peer);
	RUN_UNTIL(has(&client, STREAM_READABLE));
	assert_string_equal(client.text, "220 go\r\n");
	secure(&client);
	RUN_UNTIL(has(&client, STREAM_FAILED));
	assert_string_equal(client.events, "RF");
	assert_string_equal(client.text, "220 go\r\n");
	assert_non_null(strstr(client.error, "wrong version number"));
	assert_int_equal(stream_proof(client.stream)->failure, TLS_FAIL_HANDSHAKE);
	end(&client, &peer);
}

static void vanish_in_handshake(int fd, const void *arg)
{
	char octet;

	(void)arg;
	recv(fd, &octet, 1, MSG_PEEK);
}

static void lost_in_handshake(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(vanish_in_handshake, NULL);

	(void)state;
	begin(&client, &peer);
	secure(&client);
	RUN_UNTIL(has(&client, STREAM_FAILED));
	assert_string_equal(client.events, "F");
	assert_int_not_equal(client.error[0], 0);
	end(&client, &peer);
}

/* OpenSSL skips HelloRequests for as long as they come: only the octets can be counted. */
static void flood_handshake(int fd, const void *arg)
{
	static const char record[] = {22, 3, 3, 0, 4, 0, 0, 0, 0};

	(void)arg;
	for (size_t sent = 0; sent < 4 * 1024 * 1024; sent += sizeof(record))
		if (send(fd, record, sizeof(record), MSG_NOSIGNAL) < 0)
			return;
	_exit(11);
}

static void handshake_octets_are_limited(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(flood_handshake, NULL);

	(void)state;
	begin(&client, &peer);
	secure(&client);
	RUN_UNTIL(has(&client, STREAM_FAILED));
	assert_string_equal(client.error, "more than 204800 octets from the peer");
	end(&client, &peer);
}

static void talk_and_notify(int fd, const void *arg)
{
	SSL *ssl = secured(fd);

	(void)arg;
	expect_tls(ssl, "EHLO a\r\nMAIL b\r\n");
	put_tls(ssl, "250 fine\r\n");
	SSL_shutdown(ssl);
	expect_close_notify(ssl);
}

static void close_notify_is_an_end(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(talk_and_notify, NULL);

	(void)state;
	begin(&client, &peer);
	secure(&client);
	RUN_UNTIL(has(&client, STREAM_SECURED));
	assert_true(stream_proof(client.stream)->encrypted);
	assert_false(stream_proof(client.stream)->verified);
	send_text(&client, "EHLO a\r\n");
	send_text(&client, "MAIL b\r\n");
	RUN_UNTIL(stream_at_eof(client.stream));
	idle(0.02);
	assert_string_equal(client.text, "250 fine\r\n");
	assert_false(has(&client, STREAM_FAILED));
	end(&client, &peer);
}

static void talk_and_truncate(int fd, const void *arg)
{
	(void)arg;
	put_tls(secured(fd), "250 cut");
}

static void truncation_is_a_loss(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(talk_and_truncate, NULL);

	(void)state;
	begin(&client, &peer);
	secure(&client);
	RUN_UNTIL(has(&client, STREAM_FAILED));
	assert_string_equal(client.events, "SRF");
	assert_string_equal(client.text, "250 cut");
	assert_string_equal(client.error, "connection lost");
	assert_false(stream_at_eof(client.stream));
	assert_int_equal(stream_proof(client.stream)->failure, TLS_FINE);
	end(&client, &peer);
}

static void one_large_record(int fd, const void *arg)
{
	SSL *ssl = secured(fd);
	char data[16384];

	(void)arg;
	memset(data, 'x', sizeof(data));
	if (SSL_write(ssl, data, sizeof(data)) != (int)sizeof(data))
		_exit(12);
	expect_close_notify(ssl);
}

static void large_record_comes_whole(void **state)
{
	struct client client = {0};
	struct peer peer = start_peer(one_large_record, NULL);

	(void)state;
	begin(&client, &peer);
	secure(&client);
	RUN_UNTIL(client.taken == 16384);
	end(&client, &peer);
}

static void update_keys(int fd, const void *arg)
{
	SSL *ssl = secured(fd);
	const int *count = arg;

	for (int i = 0; i < *count; i++)
		if (!SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) ||
		    SSL_do_handshake(ssl) != 1)
			return;
	if (SSL_write(ssl, "done", 4) == 4)
		SSL_shutdown(ssl);
}

static void key_updates(void **state)
{
	static const int few = 20, many = 200;
	struct client client = {0};
	struct peer peer = start_peer(update_keys, &few);

	(void)state;
	begin(&client, &peer);
	secure(&client);
	RUN_UNTIL(stream_at_eof(client.stream));
	assert_string_equal(client.text, "done");
	end(&client, &peer);

	memset(&client, 0, sizeof(client));
	peer = start_peer(update_keys, &many);
	begin(&client, &peer);
	secure(&client);
	RUN_UNTIL(has(&client, STREAM_FAILED));
	assert_string_equal(client.events, "SF");
	assert_non_null(strstr(client.error, "too many handshake messages"));
	end(&client, &peer);
}

/* ---- back-pressure, in clear and in TLS ---- */

enum { FLOOD = 10 * 1024 * 1024 };

static char flood_octet(size_t i) { return (char)(i * 31 + (i >> 12)); }

static void fill_flood(char *data, size_t len, size_t from)
{
	for (size_t i = 0; i < len; i++)
		data[i] = flood_octet(from + i);
}

static void flood(int fd, const void *arg)
{
	SSL *ssl = arg ? secured(fd) : NULL;
	static char data[16384];

	for (size_t sent = 0; sent < FLOOD; sent += sizeof(data)) {
		fill_flood(data, sizeof(data), sent);
		if (ssl ? SSL_write(ssl, data, sizeof(data)) <= 0
			: send(fd, data, sizeof(data), MSG_NOSIGNAL) != sizeof(data))
			_exit(10);
	}
	if (ssl)
		SSL_shutdown(ssl);
}

static void check_flood(struct client *client)
{
	size_t len;
	const char *data = stream_input(client->stream, &len);

	for (size_t i = 0; i < len; i++)
		if (data[i] != flood_octet(client->taken + i))
			fail_msg("octet %zu is wrong", client->taken + i);
	client->taken += len;
	stream_consume(client->stream, len);
	client->events[0] = '\0';
}

static bool is_full(struct client *client)
{
	size_t len;

	memset(client->events, 0, sizeof(client->events));
	stream_input(client->stream, &len);
	return len >= STREAM_INPUT_MAX || stream_at_eof(client->stream);
}

/* Takes nothing until the queue is full and nothing more comes, then all. */
static void back_pressure(bool tls, size_t most)
{
	struct client client = {.keeps_input = true};
	struct peer peer = start_peer(flood, tls ? &server : NULL);
	size_t len, full = 0;

	begin(&client, &peer);
	if (tls)
		secure(&client);
	for (unsigned round = 0; !stream_at_eof(client.stream); round++) {
		RUN_UNTIL(has(&client, STREAM_READABLE));
		if (round % 16 == 0) {
			RUN_UNTIL(is_full(&client));
			idle(0.005); /* more must not come */
		}
		stream_input(client.stream, &len);
		assert_true(len <= most);
		full += len >= STREAM_INPUT_MAX;
		memset(client.events, 0, sizeof(client.events));
		check_flood(&client);
	}
	check_flood(&client);
	assert_int_equal(client.taken, FLOOD);
	assert_true(full > 3);
	end(&client, &peer);
}

static void back_pressure_in_clear(void **state)
{
	(void)state;
	back_pressure(false, STREAM_INPUT_ROOM);
}

static void back_pressure_in_tls(void **state)
{
	(void)state;
	back_pressure(true, STREAM_INPUT_ROOM);
}

/* ---- output in TLS ---- */

static unsigned sends;
static bool is_kernel_full;

/* In place of the C library's, so that the writes of this process can be counted, and refused. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	sends++;
	if (is_kernel_full) {
		errno = EAGAIN;
		return -1;
	}
	return syscall(SYS_sendmsg, fd, message, flags);
}

static void read_flood(SSL *ssl, size_t most)
{
	char data[16384];
	size_t taken = 0;

	while (taken < most) {
		int n = SSL_read(ssl, data, sizeof(data));

		for (int i = 0; i < n; i++)
			if (data[i] != flood_octet(taken + (size_t)i))
				_exit(14);
		if (n <= 0)
			_exit(15);
		taken += (size_t)n;
		if (taken % 50 == 0)
			usleep(1000);
	}
	SSL_shutdown(ssl);
	expect_close_notify(ssl);
}

static void take_flood(int fd, const void *arg) { read_flood(secured(fd), *(const size_t *)arg); }

/* As a client that has no room for more than 512 octets of a record (RFC 6066 section 4). */
static void take_short_records(int fd, const void *arg)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(context);

	if (!SSL_set_tlsext_max_fragment_length(ssl, TLSEXT_max_fragment_length_512) ||
	    !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1)
		_exit(16);
	read_flood(ssl, *(const size_t *)arg);
}

/* A client that is secured, and of which the kernel takes no more than so much at a time. */
static struct peer begin_output(struct client *client, const size_t *len, int kernel_room)
{
	struct peer peer = start_peer(take_flood, len);

	begin(client, &peer);
	setsockopt(peer.fd, SOL_SOCKET, SO_SNDBUF, &kernel_room, sizeof(kernel_room));
	secure(client);
	RUN_CLIENT_UNTIL(client, has(client, STREAM_SECURED));
	return peer;
}

static size_t next_piece(const struct client *client, size_t written)
{
	size_t room = stream_room(client->stream);

	return room < FLOOD - written ? room : FLOOD - written;
}

static void send_flood(struct client *client, size_t from, size_t len)
{
	static char data[STREAM_OUTPUT_MAX];

	fill_flood(data, len, from);
	assert_true(stream_write(client->stream, data, len));
}

static void records_leave_together(void **state)
{
	static const size_t len = 4 * 16384;
	struct client client = {0};
	struct peer peer = begin_output(&client, &len, 1 << 18);

	(void)state;
	send_flood(&client, 0, len);
	sends = 0;
	RUN_UNTIL(has(&client, STREAM_DRAINED));
	assert_int_equal(sends, 1);
	assert_int_equal(stream_unsent(client.stream), 0);
	RUN_UNTIL(stream_at_eof(client.stream));
	end(&client, &peer);
}

/* A record that was encrypted is not one that was sent, and what follows stays behind it. */
static void what_the_kernel_refuses_waits(void **state)
{
	static const size_t len = FLOOD;
	struct client client = {0};
	struct peer peer = begin_output(&client, &len, 4096);
	size_t written = 0, waited = 0;

	(void)state;
	while (written < FLOOD) {
		size_t more = next_piece(&client, written);

		send_flood(&client, written, more);
		written += more;
		memset(client.events, 0, sizeof(client.events));
		ev_run(loop, EVRUN_ONCE);
		/* More waits than is still to be encrypted. */
		waited +=
		    stream_unsent(client.stream) > STREAM_OUTPUT_MAX - stream_room(client.stream);
		assert_true(stream_unsent(client.stream) <= STREAM_OUTPUT_MAX + WIRE_GATHER_MAX);
		assert_int_equal(has(&client, STREAM_DRAINED), stream_unsent(client.stream) == 0);
	}
	RUN_UNTIL(stream_at_eof(client.stream));
	assert_true(waited > 0);
	end(&client, &peer);
}

static struct tls_server *serve_identity(void)
{
	char path[] = "/tmp/danelaw-server-XXXXXX", *error = NULL;
	FILE *file = fdopen(mkstemp(path), "w");
	struct tls_server *made;

	assert_true(file && PEM_write_X509(file, identity.certificate) &&
		    PEM_write_PrivateKey(file, identity.key, NULL, NULL, 0, NULL, NULL) &&
		    fclose(file) == 0);
	made = tls_server_new(path, path, &error);
	unlink(path);
	if (!made)
		fail_msg("%s", error);
	return made;
}

/* The same where each write is many records, of which the last ones no longer fit. */
static void short_records_wait(void **state)
{
	enum { PIECE = 64000, PIECES = 4 };
	static const size_t len = PIECE * PIECES;
	struct client client = {0};
	struct peer peer = start_peer(take_short_records, &len);
	struct tls_server *ours = serve_identity();

	(void)state;
	begin(&client, &peer);
	stream_accept_tls(client.stream, ours);
	RUN_UNTIL(has(&client, STREAM_SECURED));
	for (size_t i = 0; i < PIECES; i++) {
		is_kernel_full = true;
		send_flood(&client, i * PIECE, PIECE);
		memset(client.events, 0, sizeof(client.events));
		idle(0.01);
		assert_false(has(&client, STREAM_DRAINED));
		is_kernel_full = false;
		RUN_UNTIL(has(&client, STREAM_DRAINED));
	}
	RUN_UNTIL(stream_at_eof(client.stream));
	end(&client, &peer);
	tls_server_free(&ours);
}

/* What is pushed leaves at once, behind what was written, in the same write. */
static void what_is_pushed_leaves_at_once(void **state)
{
	static const size_t len = 2 * 16384;
	struct client client = {0};
	struct peer peer = begin_output(&client, &len, 1 << 18);
	static char data[2 * 16384];

	(void)state;
	send_flood(&client, 0, 100);
	fill_flood(data, sizeof data - 100, 100);
	sends = 0;
	assert_true(stream_push(client.stream, data, sizeof data - 100));
	assert_int_equal(sends, 1);
	assert_int_equal(stream_unsent(client.stream), 0);
	RUN_UNTIL(stream_at_eof(client.stream));
	assert_false(has(&client, STREAM_DRAINED)); /* nothing has waited */
	end(&client, &peer);
}

static void what_the_kernel_refuses_of_it_waits(void **state)
{
	static const size_t len = FLOOD;
	static char data[STREAM_OUTPUT_MAX];
	struct client client = {0};
	struct peer peer = begin_output(&client, &len, 4096);
	size_t written = 0, waited = 0;

	(void)state;
	while (written < FLOOD) {
		size_t more = next_piece(&client, written);

		fill_flood(data, more, written);
		assert_true(stream_push(client.stream, data, more));
		written += more;
		assert_true(stream_unsent(client.stream) <= STREAM_OUTPUT_MAX + WIRE_GATHER_MAX);
		if (!stream_unsent(client.stream))
			continue;
		waited++;
		memset(client.events, 0, sizeof(client.events));
		RUN_UNTIL(has(&client, STREAM_DRAINED));
	}
	RUN_UNTIL(stream_at_eof(client.stream));
	assert_true(waited > 0);
	end(&client, &peer);
}

static void leave_secured(int fd, const void *arg)
{
	(void)arg;
	secured(fd);
	_exit(0);
}

/* The failure is an event of its own, never inside of the call. */
static void pushed_to_nobody(void **state)
{
	static char data[STREAM_OUTPUT_MAX];
	struct client client = {0};
	struct peer peer = start_peer(leave_secured, NULL);
	siginfo_t gone; /* while nobody looks */

	(void)state;
	begin(&client, &peer);
	secure(&client);
	RUN_UNTIL(has(&client, STREAM_SECURED));
	assert_int_equal(waitid(P_PID, (id_t)peer.pid, &gone, WEXITED | WNOWAIT), 0);
	for (unsigned i = 0; i < 20 && stream_room(client.stream) == sizeof data; i++) {
		assert_true(stream_push(client.stream, data, sizeof data));
		usleep(1000);
	}
	assert_false(has(&client, STREAM_FAILED));
	RUN_UNTIL(has(&client, STREAM_FAILED));
	assert_string_not_equal(stream_error(client.stream), "");
	end(&client, &peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-TLSSEC-01, T-05: injection before ServerHello", injection_in_kernel, NULL, NULL,
		NULL},
	    {"R-TLSSEC-12, T-24: no close_notify", truncation_is_a_loss, NULL, NULL, NULL},
	    {"back-pressure in clear", back_pressure_in_clear, NULL, NULL, NULL},
	    {"R-TLSSEC-14: back-pressure in TLS", back_pressure_in_tls, NULL, NULL, NULL},
	    {"records of one turn leave in one write", records_leave_together, NULL, NULL, NULL},
	    {"what is pushed leaves at once", what_is_pushed_leaves_at_once, NULL, NULL, NULL},
	    {"R-SMTP-76: what the kernel refuses of it waits", what_the_kernel_refuses_of_it_waits,
		NULL, NULL, NULL},
	    {"pushed to nobody", pushed_to_nobody, NULL, NULL, NULL},
	    {"R-SMTP-76: what the kernel refuses waits", what_the_kernel_refuses_waits, NULL, NULL,
		NULL},
	    {"R-SMTP-76: short records wait, too", short_records_wait, NULL, NULL, NULL},
	    {"R-TLSSEC-01, T-04: injection with the reply", injection_in_buffer, NULL, NULL, NULL},
	    {"connection lost in the handshake", lost_in_handshake, NULL, NULL, NULL},
	    {"R-TLSSEC-11: handshake octets", handshake_octets_are_limited, NULL, NULL, NULL},
	    {"close_notify is an end", close_notify_is_an_end, NULL, NULL, NULL},
	    {"R-TLSSEC-14: a large record comes whole", large_record_comes_whole, NULL, NULL, NULL},
	    {"T-21: key updates", key_updates, NULL, NULL, NULL},
	};
	int failed;

	set_up();
	failed = cmocka_run_group_tests_name("stream_tls", tests, NULL, NULL);
	tear_down();
	return failed;
}
