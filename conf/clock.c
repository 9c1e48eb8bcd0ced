/*
 * clock.c - see clock.h. An MTA-STS policy outlives the process, so that its age needs calendar
 * time; a pause between two attempts must neither vanish nor last for a year because somebody set
 * the clock.
 */
#include "conf/clock.h"

time_t clock_wall(void) { return time(NULL); }

double clock_steady(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
