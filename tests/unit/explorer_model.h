/*
 * explorer_model.h - what lies below smtp_client.c in test_explorer.c: a stream that is written to
 * and told of events, a clock that is set, and the truth about what has been proven and sent.
 */
#ifndef TESTS_EXPLORER_MODEL_H
#define TESTS_EXPLORER_MODEL_H

#include "conf/clock.h"
#include "proxy/metrics.h"
#include "proxy/pool.h"
#include "proxy/smtp/smtp_client_internal.h"
#include "tls/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct stream {
	stream_fn *callback;
	void *arg;
	char in[128];
	size_t in_len;
	size_t unsent;
	bool is_eof, is_shaking, has_injected;
	struct tls_proof proof;
	bool has_proof;
	char error[32];
};

static struct stream the_stream;
static double now;

/* What the world knows of this connection, whatever smtp_client makes of it. */
static struct {
	enum tls_need need;
	bool is_proven, is_encrypted;
	bool has_sent_dot, dot_has_left; /* of a message */
	bool in_call, is_dead;
	size_t opened, closed;
} truth;

double clock_steady(void) { return now; }
double clock_rough(void) { return now; }
time_t clock_wall(void) { return 1000000000; }

void pool_opened(struct pool *pool, const struct pool_hop *hop, const struct addr *address,
    const struct addr *near)
{
	(void)pool, (void)hop, (void)address, (void)near;
	truth.opened++;
}

void pool_closed(struct pool *pool, const struct pool_hop *hop, const struct addr *address,
    const struct addr *near)
{
	(void)pool, (void)hop, (void)address, (void)near;
	truth.closed++;
}

void pool_refused(struct pool *pool, const struct smtp_client *client) { (void)pool, (void)client; }

void pool_served(struct pool *pool, const struct smtp_client *client) { (void)pool, (void)client; }

void metrics_count_handshake(bool resumed) { (void)resumed; }

struct stream *stream_connect(struct ev_loop *l, const struct addr *to,
    const struct socket_origin *origin, stream_fn *callback, void *arg)
{
	(void)l, (void)to, (void)origin;
	the_stream = (struct stream){.callback = callback, .arg = arg};
	return &the_stream;
}

/* No sender of mail before the proof. */
static void check_said(const char *text, size_t len)
{
	static const char *const mail[] = {"MAIL ", "RCPT ", "DATA\r\n", ".\r\n"};

	for (size_t i = 0; i < sizeof mail / sizeof mail[0]; i++) {
		if (len < strlen(mail[i]) || memcmp(text, mail[i], strlen(mail[i])))
			continue;
		assert_false(truth.need > TLS_MAY && !truth.is_encrypted);
		assert_false(truth.need > TLS_ENCRYPT && !truth.is_proven);
		assert_false(the_stream.has_injected);
	}
}

bool stream_write(struct stream *s, const void *data, size_t len)
{
	assert_false(s->is_shaking);
	assert_false(truth.is_dead);
	if (len > STREAM_OUTPUT_MAX - s->unsent)
		return false;
	check_said(data, len);
	s->unsent += len;
	truth.has_sent_dot |= len == 3 && memcmp(data, ".\r\n", 3) == 0;
	return true;
}

bool stream_push(struct stream *s, const void *data, size_t len)
{
	return stream_write(s, data, len);
}

void stream_start_tls(struct stream *s, struct tls_contexts *contexts, const struct tls_rule *rule,
    const struct tls_peer *peer)
{
	(void)contexts, (void)rule, (void)peer;
	assert_int_equal(s->unsent, 0);
	s->has_injected = s->in_len > 0; /* the real one fails on the next turn */
	s->is_shaking = true;
	s->has_proof = true;
}

bool stream_offered_session(const struct stream *s)
{
	(void)s;
	return false;
}
const struct tls_proof *stream_proof(const struct stream *s)
{
	return s->has_proof ? &s->proof : NULL;
}
void stream_chain(const struct stream *s, struct tls_chain *chain) { (void)s, (void)chain; }
const char *stream_input(const struct stream *s, size_t *len)
{
	*len = s->in_len;
	return s->in;
}
void stream_consume(struct stream *s, size_t len)
{
	s->in_len -= len;
	memmove(s->in, s->in + len, s->in_len);
}
bool stream_at_eof(const struct stream *s) { return s->is_eof; }
size_t stream_room(const struct stream *s) { return STREAM_OUTPUT_MAX - s->unsent; }
size_t stream_unsent(const struct stream *s) { return s->unsent; }
const char *stream_error(const struct stream *s) { return s->error; }
bool stream_is_starved(const struct stream *s)
{
	(void)s;
	return false;
}
bool stream_local(const struct stream *s, struct addr *local)
{
	(void)s, (void)local;
	return false;
}
void stream_close(struct stream **stream) { *stream = NULL; }
bool stream_finish(struct stream **stream, double linger, stream_gone_fn *gone, void *arg)
{
	(void)linger, (void)gone, (void)arg;
	assert_false(the_stream.is_eof);
	assert_string_equal(the_stream.error, "");
	*stream = NULL;
	return true;
}

#endif
