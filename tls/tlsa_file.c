/*
 * tlsa_file.c - reads the file that records are made of (tlsa_source_load): a regular one of
 * reasonable size, whatever the path leads to, and nothing of it stays in memory.
 */
#include "tls/tlsa_source.h"

#include "conf/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: a FIFO without a writer would hold us before we can look at what it is. */
static int open_regular(const char *path, size_t *size, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;

	*why = NULL;
	if (fd < 0 || fstat(fd, &status) < 0)
		*why = strerrordesc_np(errno);
	else if (!S_ISREG(status.st_mode))
		*why = "is not a regular file";
	else if (status.st_size > TLSA_FILE_MAX)
		*why = "is larger than any certificate or key (1 MiB)";
	else
		*size = (size_t)status.st_size;
	if (*why && fd >= 0)
		close(fd);
	return *why ? -1 : fd;
}

/* What has become longer meanwhile is cut, and then found damaged. */
static bool read_all(int fd, uint8_t *data, size_t size, size_t *len)
{
	ssize_t got = 1;

	for (*len = 0; *len < size && got > 0; *len += (size_t)got) {
		got = read(fd, data + *len, size - *len);
		if (got < 0)
			return false;
	}
	return true;
}

static struct tlsa_source *parse_file(int fd, size_t size, const char **why)
{
	uint8_t *data = mem_alloc(size + 1);
	struct tlsa_source *source = NULL;
	size_t len;

	if (read_all(fd, data, size, &len))
		source = tlsa_source_parse(data, len, why);
	else
		*why = strerrordesc_np(errno);
	OPENSSL_cleanse(data, size + 1);
	free(data);
	return source;
}

struct tlsa_source *tlsa_source_load(const char *path, char **error)
{
	struct tlsa_source *source = NULL;
	const char *why;
	size_t size = 0;
	int fd = open_regular(path, &size, &why);

	if (fd >= 0) {
		source = parse_file(fd, size, &why);
		close(fd);
	}
	if (!source)
		*error = mem_printf("%s: %s", path, why);
	return source;
}
