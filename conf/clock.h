/*
 * clock.h - the two clocks, in one place so that a test can set them.
 */
#ifndef CONF_CLOCK_H
#define CONF_CLOCK_H

#include <time.h>

/* Calendar time: how long a policy lives, across restarts (R-STS-23). May jump either way. */
time_t clock_wall(void);

/* Seconds that only ever grow: how long something took, or is to be left alone. */
double clock_steady(void);

/*
 * The same as of the kernel's last tick, up to 10 ms ago, without asking the hardware: for limits
 * of seconds that are looked at for each message and each block. Not to be mixed with the above.
 */
double clock_rough(void);

#endif
