/*
 * wire.c - TLS records gathered into one write (wire.h).
 *
 * They are gathered in one place for all connections: it is filled and emptied inside of one call
 * of channel_write(), and stays in the processor's cache.
 */
#include "tls/wire.h"

#include <assert.h>
#include <errno.h>
#include <openssl/bio.h>
#include <string.h>
#include <sys/socket.h>

/* A record's plaintext and all that TLS 1.2 and 1.3 may put around it. */
enum { RECORD_MAX = WIRE_GATHER_MAX / 4 };

static struct {
	const struct wire *wire;   /* whose records these are; NULL: nobody's */
	bool is_last;              /* the next record leaves with them */
	enum wire_outcome outcome; /* of that, ... */
	int error;                 /* ... if it failed */
	size_t len;
	char data[WIRE_GATHER_MAX];
} gathered;

void wire_init(struct wire *wire, int fd)
{
	wire->fd = fd;
	buf_init(&wire->rest, WIRE_GATHER_MAX);
}

void wire_release(struct wire *wire) { buf_release(&wire->rest); }

static ssize_t put(const struct wire *wire, struct iovec *pieces, size_t count)
{
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
	ssize_t sent;

	do
		sent = sendmsg(wire->fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent;
}

static ssize_t put_one(const struct wire *wire, const void *data, size_t len)
{
	struct iovec piece = {(void *)data, len};

	return put(wire, &piece, 1);
}

enum wire_outcome wire_flush(struct wire *wire)
{
	while (buf_len(&wire->rest)) {
		ssize_t sent = put_one(wire, buf_data(&wire->rest), buf_len(&wire->rest));

		if (sent < 0)
			return errno == EAGAIN ? WIRE_FULL : WIRE_FAILED;
		buf_consume(&wire->rest, (size_t)sent);
	}
	return WIRE_DONE;
}

void wire_begin(struct wire *wire)
{
	assert(!gathered.wire && !buf_len(&wire->rest));
	gathered.wire = wire;
	gathered.is_last = false;
	gathered.outcome = WIRE_DONE;
	gathered.len = 0;
}

/* Whatever is gathered may have to be kept, behind what is. */
bool wire_has_room(void)
{
	size_t used = gathered.len + buf_len(&gathered.wire->rest);

	return used + RECORD_MAX <= sizeof(gathered.data);
}

void wire_expect_last(void) { gathered.is_last = true; }

/* What the kernel, which took `sent` octets, did not take of a piece. How many were behind it. */
static size_t keep(struct wire *wire, const struct iovec *piece, size_t sent)
{
	size_t gone = sent < piece->iov_len ? sent : piece->iov_len;
	bool is_kept =
	    buf_append(&wire->rest, (const char *)piece->iov_base + gone, piece->iov_len - gone);

	assert(is_kept);
	return sent - gone;
}

/* What was gathered, and data behind it. */
static void send_off(struct wire *wire, const void *data, size_t len)
{
	struct iovec pieces[] = {{gathered.data, gathered.len}, {(void *)data, len}};
	ssize_t sent = 0;
	size_t left;

	gathered.len = 0;
	if (gathered.outcome == WIRE_FAILED)
		return;
	if (!buf_len(&wire->rest)) /* else the kernel was full a moment ago */
		sent = put(wire, pieces, 2);
	if (sent < 0 && errno != EAGAIN) {
		gathered.outcome = WIRE_FAILED;
		gathered.error = errno;
		return;
	}
	left = keep(wire, &pieces[0], sent < 0 ? 0 : (size_t)sent);
	keep(wire, &pieces[1], left);
	gathered.outcome = buf_len(&wire->rest) ? WIRE_FULL : WIRE_DONE;
}

enum wire_outcome wire_end(struct wire *wire)
{
	assert(gathered.wire == wire);
	if (gathered.len)
		send_off(wire, "", 0);
	gathered.wire = NULL;
	if (gathered.outcome == WIRE_FAILED)
		errno = gathered.error;
	return gathered.outcome;
}

/* ---- the BIO ---- */

/* The last record need not be copied; a failure is told at the end, as for those before it. Should
 * another one follow after all (a peer may ask for short ones), it is gathered again. */
static int gather(struct wire *wire, const char *data, int len)
{
	assert(len >= 0 && (size_t)len <= sizeof(gathered.data) - gathered.len);
	if (gathered.is_last) {
		gathered.is_last = false;
		send_off(wire, data, (size_t)len);
		return len;
	}
	memcpy(gathered.data + gathered.len, data, (size_t)len);
	gathered.len += (size_t)len;
	return len;
}

/* Behind what was kept, never before it. */
static int on_write(BIO *bio, const char *data, int len)
{
	struct wire *wire = BIO_get_data(bio);
	enum wire_outcome outcome;
	ssize_t sent = -1;

	BIO_clear_retry_flags(bio);
	if (gathered.wire == wire)
		return gather(wire, data, len);
	outcome = wire_flush(wire);
	if (outcome == WIRE_DONE)
		sent = put_one(wire, data, (size_t)len);
	if (sent < 0 && outcome != WIRE_FAILED && errno == EAGAIN)
		BIO_set_retry_write(bio);
	return (int)sent;
}

static long on_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static const BIO_METHOD *method(void)
{
	static BIO_METHOD *made;

	if (!made && (made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire"))) {
		BIO_meth_set_write(made, on_write);
		BIO_meth_set_ctrl(made, on_control);
	}
	return made;
}

BIO *wire_bio(struct wire *wire)
{
	BIO *bio = method() ? BIO_new(method()) : NULL;

	if (!bio)
		return NULL;
	BIO_set_data(bio, wire);
	BIO_set_init(bio, 1);
	return bio;
}
