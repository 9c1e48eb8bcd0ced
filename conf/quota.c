/*
 * quota.c - see quota.h. What was used drains at a constant rate (a leaky bucket).
 */
#include "conf/quota.h"

bool quota_take(struct quota *quota, double now)
{
	double drained = (now - quota->at) * QUOTA_A_SECOND;

	quota->used = quota->used > drained ? quota->used - drained : 0;
	quota->at = now;
	if (quota->used + 1 > QUOTA_AT_ONCE) {
		quota->withheld++;
		return false;
	}
	quota->used++;
	return true;
}
