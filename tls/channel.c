/*
 * channel.c - octets through a socket: in clear, or on to channel_tls.c (channel.h).
 */
#include "tls/channel_internal.h"

#include "conf/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void channel_init(struct channel *channel, int fd) { *channel = (struct channel){.fd = fd}; }

void channel_close(struct channel *channel)
{
	if (channel->fd < 0)
		return;
	if (channel->tls)
		channel_tls_close(channel);
	close(channel->fd);
	channel->fd = -1;
}

void channel_release(struct channel *channel)
{
	channel_close(channel);
	free(channel->error);
	channel->error = NULL;
	if (channel->tls)
		channel_tls_release(channel);
}

void channel_note(struct channel *channel, const char *words)
{
	free(channel->error);
	channel->error = mem_strdup(words);
}

void channel_note_errno(struct channel *channel, int error)
{
	const char *words =
	    error == EPIPE || error == 0 ? "connection lost" : strerrordesc_np(error);

	channel_note(channel, words ? words : "unknown error");
	channel->error[0] = (char)tolower((unsigned char)channel->error[0]);
}

enum channel_outcome channel_fail_errno(struct channel *channel, int error)
{
	channel_note_errno(channel, error);
	return CHANNEL_FAILED;
}

enum channel_outcome channel_read(struct channel *channel, void *data, size_t size, size_t *len)
{
	ssize_t got;

	if (channel->tls)
		return channel_tls_read(channel, data, size, len);
	do
		got = recv(channel->fd, data, size, 0);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return CHANNEL_EOF;
	if (got < 0)
		return errno == EAGAIN ? CHANNEL_WANTS_READ : channel_fail_errno(channel, errno);
	*len = (size_t)got;
	channel->is_drained = *len < size;
	return CHANNEL_DONE;
}

enum channel_outcome channel_write(
    struct channel *channel, const struct iovec *pieces, size_t count, size_t *len)
{
	struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
	ssize_t sent;

	*len = 0;
	if (channel->tls)
		return channel_tls_write(channel, pieces, count, len);
	do
		sent = sendmsg(channel->fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN ? CHANNEL_WANTS_WRITE : channel_fail_errno(channel, errno);
	*len = (size_t)sent;
	return CHANNEL_DONE;
}

enum channel_outcome channel_shutdown(struct channel *channel)
{
	enum channel_outcome outcome = channel->tls ? channel_tls_shutdown(channel) : CHANNEL_DONE;

	if (outcome != CHANNEL_DONE)
		return outcome;
	return shutdown(channel->fd, SHUT_WR) == 0 ? CHANNEL_DONE
						   : channel_fail_errno(channel, errno);
}

enum channel_outcome channel_discard(struct channel *channel)
{
	char waste[4096];
	ssize_t got = recv(channel->fd, waste, sizeof(waste), 0);

	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		return CHANNEL_WANTS_READ;
	return got == 0 ? CHANNEL_EOF : channel_fail_errno(channel, errno);
}
