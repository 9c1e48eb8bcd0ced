/*
 * test_quota.c - conf/quota.h.
 */
#include "conf/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static unsigned granted(struct quota *quota, double now, unsigned wanted)
{
	unsigned count = 0;

	for (unsigned i = 0; i < wanted; i++)
		count += quota_take(quota, now);
	return count;
}

static void a_flood_is_withheld(void **unused)
{
	struct quota quota = {0};

	(void)unused;
	assert_int_equal(granted(&quota, 5000, 1000), QUOTA_AT_ONCE);
	assert_int_equal(quota.withheld, 1000 - QUOTA_AT_ONCE);
	assert_int_equal(granted(&quota, 5000.5, 10), 0);
	assert_int_equal(granted(&quota, 5003, 10), 3 * QUOTA_A_SECOND);
	assert_int_equal(granted(&quota, 9000, 1000), QUOTA_AT_ONCE);
}

static void what_is_rare_is_granted(void **unused)
{
	struct quota quota = {0};

	(void)unused;
	for (int i = 0; i < 1000; i++)
		assert_true(quota_take(&quota, i));
	assert_int_equal(quota.withheld, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_flood_is_withheld),
	    cmocka_unit_test(what_is_rare_is_granted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
