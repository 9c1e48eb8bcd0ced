/*
 * test_join.c - lines put together from pieces: conf/join.c.
 */
#include "conf/join.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void whole(void **state)
{
	char out[16];

	(void)state;
	assert_int_equal(text_join(out, sizeof out, "RCPT", "", " TO:<", "a@b>"), 13);
	assert_string_equal(out, "RCPT TO:<a@b>");
	assert_int_equal(text_join(out, sizeof out, ""), 0);
	assert_string_equal(out, "");
}

/* Of each length, with room for each: what snprintf() says. */
static void cut(void **state)
{
	static const char text[] = "abcdefgh";
	char out[sizeof text + 4], wanted[sizeof text + 4], first[sizeof text];

	(void)state;
	for (size_t size = 1; size <= sizeof text + 2; size++) {
		for (size_t n = 0; n < sizeof text; n++) {
			snprintf(first, sizeof first, "%.*s", (int)n, text);
			memset(out, '#', sizeof out);
			memset(wanted, '#', sizeof wanted);
			assert_int_equal(text_join(out, size, first, text + n),
			    snprintf(wanted, size, "%s%s", first, text + n));
			assert_memory_equal(out, wanted, sizeof out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole),
	    cmocka_unit_test(cut),
	};

	return cmocka_run_group_tests_name("join", tests, NULL, NULL);
}
