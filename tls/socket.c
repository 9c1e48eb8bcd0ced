/*
 * socket.c - TCP sockets: connecting, binding, options, addresses (socket.h).
 */
#include "tls/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/in6.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* We write whole commands and blocks; waiting for more (Nagle) only delays the conversation. */
static void send_at_once(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static bool make_transparent(int fd, int family)
{
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	int option = family == AF_INET ? IP_TRANSPARENT : IPV6_TRANSPARENT;

	return setsockopt(fd, level, option, &(int){1}, sizeof(int)) == 0;
}

/*
 * The port is left to connect(), which can share one between destinations; bind() alone could not.
 * Without the right to be transparent bind() refuses what is not our own address.
 */
static bool bind_source(int fd, const struct addr *source)
{
	make_transparent(fd, source->sa.sa_family);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
	return bind(fd, &source->sa, addr_len(source)) == 0;
}

/* Unmarked it must not leave: it might come back to us. */
static bool set_mark(int fd, uint32_t mark)
{
	return mark == 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0;
}

bool socket_may_mark(uint32_t mark)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool may = fd >= 0 && set_mark(fd, mark);
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
	return may;
}

static bool begin_connect(int fd, const struct addr *to, const struct socket_origin *origin)
{
	if (origin && !set_mark(fd, origin->mark))
		return false;
	if (origin && origin->source && !bind_source(fd, origin->source))
		return false;
	send_at_once(fd);
	return connect(fd, &to->sa, addr_len(to)) == 0 || errno == EINPROGRESS;
}

int socket_connect(const struct addr *to, const struct socket_origin *origin, int *error)
{
	int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && begin_connect(fd, to, origin))
		return fd;
	*error = errno;
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool begin_bind(int fd, const struct addr *address, bool is_transparent, bool is_shared)
{
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (address->sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
	if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)) != 0)
		return false;
	if (is_transparent && !make_transparent(fd, address->sa.sa_family))
		return false;
	return bind(fd, &address->sa, addr_len(address)) == 0;
}

int socket_bind(const struct addr *address, bool is_transparent, bool is_shared)
{
	int fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0 || begin_bind(fd, address, is_transparent, is_shared))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

void socket_prepare(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	send_at_once(fd);
}

int socket_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

bool socket_is_broken(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLHUP);
}

int socket_unacknowledged(int fd)
{
	int octets = 0;

	return ioctl(fd, SIOCOUTQ, &octets) == 0 ? octets : INT_MAX;
}

bool socket_local(int fd, struct addr *a)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);

	return getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
	       addr_from_sockaddr(a, (struct sockaddr *)&sa);
}
