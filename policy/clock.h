/*
 * clock.h - the two clocks of MTA-STS, in one place so that a test can set them.
 */
#ifndef POLICY_CLOCK_H
#define POLICY_CLOCK_H

#include <time.h>

/* Calendar time: how long a policy lives, across restarts (R-STS-23). May jump either way. */
time_t clock_wall(void);

/* Seconds that only ever grow: how long to keep from trying again. */
double clock_steady(void);

#endif
