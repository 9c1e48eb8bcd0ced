/*
 * preload.c - LD_PRELOAD for danelaw in the lab: clocks that jump, a disk that is slow or gives
 * errors, a kernel of yesterday, and no memory for OpenSSL.
 *
 * $LAB_CONTROL names a file of 64-bit numbers, which a test may change at any time. It is mapped at
 * start, before privileges are dropped; children inherit it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
	int64_t wall, steady; /* seconds added to calendar time, and to the time since boot */
	int64_t fsync;        /* milliseconds that each one takes */
	int64_t no_mark;      /* SO_MARK wants CAP_NET_ADMIN, as before Linux 5.17 */
	int64_t unreadable;   /* from here on messages of the spool give EIO; 0: nowhere */
	int64_t allocations;  /* of OpenSSL's: counts down to 0; what makes it so fails */
};

static struct control nothing;
static volatile struct control *control = &nothing;

/* ---- OpenSSL's memory ---- */

static int is_refused(void)
{
	return control->allocations > 0 &&
	       __atomic_sub_fetch(&control->allocations, 1, __ATOMIC_RELAXED) == 0;
}

static void *allocate(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return is_refused() ? NULL : malloc(size);
}

static void *reallocate(void *p, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return is_refused() ? NULL : realloc(p, size);
}

static void release(void *p, const char *file, int line)
{
	(void)file, (void)line;
	free(p);
}

typedef int set_mem_functions(void *(*)(size_t, const char *, int),
    void *(*)(void *, size_t, const char *, int), void (*)(void *, const char *, int));

/* Before the library's first allocation; a program without it is none of this one's business. */
static void count_allocations(void)
{
	set_mem_functions *set = (set_mem_functions *)dlsym(RTLD_DEFAULT, "CRYPTO_set_mem_functions");

	if (set && getenv("LAB_CONTROL"))
		set(allocate, reallocate, release);
}

__attribute__((constructor)) static void open_control(void)
{
	const char *path = getenv("LAB_CONTROL");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = mmap(NULL, sizeof nothing, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map != MAP_FAILED)
		control = map;
	if (fd >= 0)
		close(fd);
	count_allocations();
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int result = (int)syscall(SYS_clock_gettime, clock, out);

	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		out->tv_sec += control->wall;
	if (result == 0 && (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE))
		out->tv_sec += control->steady;
	return result;
}

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	*out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
	return 0;
}

static void dawdle(void)
{
	struct timespec wait = {control->fsync / 1000, control->fsync % 1000 * 1000000};

	nanosleep(&wait, NULL);
}

int fsync(int fd)
{
	dawdle();
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	dawdle();
	return (int)syscall(SYS_fdatasync, fd);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	if (control->no_mark && level == SOL_SOCKET && option == SO_MARK) {
		errno = EPERM;
		return -1;
	}
	return (int)syscall(SYS_setsockopt, fd, level, option, value, len);
}

/* A file with a message's id for its name: .../spool/0123456789abcd-0123456789ab */
static int is_message(int fd)
{
	char link[64], path[512];
	ssize_t len;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof path - 1);
	return len > 34 && !memcmp(path + len - 34, "/spool/", 7) && path[len - 13] == '-';
}

static ssize_t read_at(int fd, void *data, size_t len, off64_t at)
{
	if (control->unreadable && at + (off64_t)len >= control->unreadable && is_message(fd)) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, data, len, at);
}

ssize_t pread(int fd, void *data, size_t len, off_t at) { return read_at(fd, data, len, at); }
ssize_t pread64(int fd, void *data, size_t len, off64_t at) { return read_at(fd, data, len, at); }
