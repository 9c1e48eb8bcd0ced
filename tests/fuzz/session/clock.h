/*
 * clock.h - virtual time for a program that runs on libev: a wait of 170 s costs nothing.
 *
 * This executable's clock_gettime() and epoll_wait() stand before libc's, for libev as for
 * ourselves. A wait with nothing ready returns at once and notes how long it would have been; time
 * moves on only in clock_pass(). The wall clock stays real: libFuzzer reads it.
 */
#ifndef TESTS_SESSION_CLOCK_H
#define TESTS_SESSION_CLOCK_H

#include <assert.h>
#include <ev.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* More turns of the loop than this without time passing: it spins. */
enum { TURNS_MAX = 20000 };

static struct ev_loop *loop;
static struct {
	bool is_virtual; /* else the real one: before and between inputs */
	double now;
	double next; /* seconds until the loop's next timer */
	bool is_quiet;
} virtual_time;

/* glibc declares it without the arguments' attributes that would matter here. */
int clock_gettime(clockid_t id, struct timespec *out)
{
	if ((id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE) || !virtual_time.is_virtual)
		return (int)syscall(SYS_clock_gettime, id, out);
	out->tv_sec = (time_t)virtual_time.now;
	out->tv_nsec = (long)((virtual_time.now - (double)out->tv_sec) * 1e9);
	return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	int ready = (int)syscall(
	    SYS_epoll_pwait, fd, events, max, virtual_time.is_virtual ? 0 : timeout, NULL, 0);

	virtual_time.now += 1e-6; /* libev's timers run when their time has passed, not at it */
	if (ready == 0 && timeout > 0) {
		virtual_time.is_quiet = true;
		virtual_time.next = timeout / 1e3;
	}
	return ready;
}

static inline void clock_begin(void)
{
	virtual_time.is_virtual = true;
	virtual_time.now = 1000;
	loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert(loop);
}

static inline void clock_end(void)
{
	ev_loop_destroy(loop);
	virtual_time.is_virtual = false;
}

/* Turns the loop until only time could bring more. The peers answer what they can: see world_turn.
 */
static bool world_turn(void);

static inline void clock_settle(void)
{
	unsigned turns = 0;

	do {
		virtual_time.is_quiet = false;
		virtual_time.next = 1e9;
		while (!virtual_time.is_quiet && ev_run(loop, EVRUN_ONCE))
			assert(++turns < TURNS_MAX);
	} while (world_turn());
}

static inline void clock_pass(double seconds)
{
	double end = virtual_time.now + seconds;

	clock_settle();
	while (virtual_time.now < end) {
		double step = virtual_time.next;

		virtual_time.now += step < end - virtual_time.now ? step : end - virtual_time.now;
		clock_settle();
	}
}

#endif
