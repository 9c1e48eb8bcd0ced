/*
 * secret.c - see secret.h. Called by the supervisor before it forks.
 *
 * A new file is written beside its place, so that there is a whole one or none.
 */
#include "proxy/shared/secret.h"

#include "conf/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

void secret_make(unsigned char secret[SECRET_SIZE])
{
	if (getrandom(secret, SECRET_SIZE, 0) != SECRET_SIZE)
		abort();
}

static bool load(const char *path, unsigned char secret[SECRET_SIZE])
{
	unsigned char found[SECRET_SIZE + 1];
	/* A pipe of that name must not be waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, found, sizeof found);
	close(fd);
	if (len != SECRET_SIZE)
		return false;
	memcpy(secret, found, SECRET_SIZE);
	return true;
}

static bool write_whole(int fd, const unsigned char secret[SECRET_SIZE])
{
	ssize_t len = write(fd, secret, SECRET_SIZE);

	if (len >= 0 && len != SECRET_SIZE)
		errno = ENOSPC;
	return len == SECRET_SIZE && fsync(fd) == 0;
}

static bool save(const char *path, const unsigned char secret[SECRET_SIZE])
{
	char *beside = mem_printf("%s.new", path);
	int fd, error;
	bool ok;

	unlink(beside); /* of a process that was killed here */
	fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	ok = fd >= 0 && write_whole(fd, secret) && rename(beside, path) == 0;
	error = errno;
	if (fd >= 0)
		close(fd);
	free(beside);
	errno = error;
	return ok;
}

bool secret_keep(const char *directory, unsigned char secret[SECRET_SIZE])
{
	char *path = mem_printf("%s/secret", directory);
	bool ok = load(path, secret) || save(path, secret);

	free(path);
	return ok;
}
