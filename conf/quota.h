/*
 * quota.h - so many at once, and so many a second after that: for lines of the log that strangers
 * can cause as often as they like.
 */
#ifndef CONF_QUOTA_H
#define CONF_QUOTA_H

#include <stdbool.h>

enum { QUOTA_AT_ONCE = 20, QUOTA_A_SECOND = 1 };

/* Zeroed is unused. */
struct quota {
	double used, at;
	unsigned long withheld; /* since the last one that was granted */
};

/* now: clock_steady(). */
bool quota_take(struct quota *quota, double now);

#endif
