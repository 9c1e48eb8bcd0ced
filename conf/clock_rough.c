/*
 * clock_rough.c - see clock.h. Apart from the other clocks, which tests replace.
 */
#include "conf/clock.h"

double clock_rough(void)
{
	struct timespec tick;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &tick);
	return (double)tick.tv_sec + (double)tick.tv_nsec / 1e9;
}
