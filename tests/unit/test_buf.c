/*
 * test_buf.c - the bounded byte queue against a plain model of it, and its limits.
 */
#include "tls/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX = 5000 };

static void starts_empty(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, MAX);
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(buf_room(&b), MAX);
	assert_non_null(buf_data(&b));
	buf_consume(&b, 0);
	assert_true(buf_append(&b, "", 0));
	assert_null(b.data);
	buf_release(&b);
}

static void all_or_nothing(void **state)
{
	struct buf b;
	char data[MAX + 1] = "x";

	(void)state;
	buf_init(&b, MAX);
	assert_false(buf_append(&b, data, MAX + 1));
	assert_int_equal(buf_len(&b), 0);
	assert_true(buf_append(&b, data, MAX));
	assert_int_equal(buf_room(&b), 0);
	assert_false(buf_append(&b, data, 1));
	assert_int_equal(buf_len(&b), MAX);
	buf_release(&b);
	assert_int_equal(buf_len(&b), 0);
}

static void reserves_what_is_left(void **state)
{
	struct buf b;
	size_t granted;

	(void)state;
	buf_init(&b, MAX);
	assert_non_null(buf_reserve(&b, 2 * MAX, &granted));
	assert_int_equal(granted, MAX);
	assert_non_null(buf_reserve(&b, 100, &granted));
	assert_int_equal(granted, 100);
	memset(buf_reserve(&b, MAX - 1, &granted), 'x', MAX - 1);
	buf_commit(&b, MAX - 1);
	assert_non_null(buf_reserve(&b, 100, &granted));
	assert_int_equal(granted, 1);
	buf_commit(&b, 1);
	assert_null(buf_reserve(&b, 1, &granted));
	assert_int_equal(granted, 0);
	buf_release(&b);
}

static void holds_nothing_when_empty(void **state)
{
	struct buf b;
	size_t granted;

	(void)state;
	buf_init(&b, MAX);
	assert_true(buf_append(&b, "abc", 3));
	assert_non_null(b.data);
	assert_true(b.size < MAX);
	buf_consume(&b, 2);
	assert_memory_equal(buf_data(&b), "c", 1);
	buf_consume(&b, 1);
	assert_null(b.data);
	assert_non_null(buf_reserve(&b, 10, &granted));
	buf_commit(&b, 0);
	assert_null(b.data);
	buf_release(&b);
}

/* The model: octet i of all that ever went in has the value of its position. */
static uint8_t octet_at(size_t position) { return (uint8_t)(position * 7 + position / 256); }

static void put(struct buf *b, size_t position, size_t len, bool direct)
{
	uint8_t data[MAX];
	size_t granted;

	for (size_t i = 0; i < len; i++)
		data[i] = octet_at(position + i);
	if (!direct) {
		assert_true(buf_append(b, data, len));
	} else if (len) {
		memcpy(buf_reserve(b, len, &granted), data, len);
		assert_int_equal(granted, len);
		buf_commit(b, len);
	}
}

static void behaves_like_its_model(void **state)
{
	struct buf b;
	size_t in = 0, out = 0;

	(void)state;
	srand(1);
	buf_init(&b, MAX);
	for (int round = 0; round < 20000; round++) {
		size_t more = (size_t)rand() % (buf_room(&b) + 1) / (1 + (size_t)rand() % 50);
		size_t less = (size_t)rand() % (buf_len(&b) + 1);

		put(&b, in, more, round % 2);
		in += more;
		assert_int_equal(buf_len(&b), in - out);
		assert_int_equal(buf_room(&b), MAX - (in - out));
		assert_true(b.size <= MAX);
		for (size_t i = 0; i < buf_len(&b); i++)
			if ((uint8_t)buf_data(&b)[i] != octet_at(out + i))
				fail_msg("octet %zu of %zu", i, buf_len(&b));
		less = less < buf_len(&b) ? less : buf_len(&b);
		buf_consume(&b, less);
		out += less;
	}
	buf_release(&b);
}

static void borrows_memory_for_a_while(void **state)
{
	struct buf b;
	char place[MAX];
	size_t granted;

	(void)state;
	buf_init(&b, MAX);
	buf_lend(&b, place, sizeof(place));
	assert_ptr_equal(buf_reserve(&b, MAX, &granted), place);
	memcpy(place, "abcdef", 6);
	buf_commit(&b, 6);
	buf_consume(&b, 2);
	buf_keep(&b);
	memset(place, 'x', sizeof(place));
	assert_memory_equal(buf_data(&b), "cdef", 4);
	assert_int_equal(b.size, 4);
	assert_true(buf_append(&b, "g", 1));
	assert_memory_equal(buf_data(&b), "cdefg", 5);
	buf_consume(&b, 5);

	buf_lend(&b, place, sizeof(place));
	assert_true(buf_append(&b, "abc", 3));
	buf_consume(&b, 3);
	assert_null(b.data); /* and not freed, as the sanitizer would tell */
	buf_lend(&b, place, sizeof(place));
	buf_keep(&b);
	assert_null(b.data);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"starts empty", starts_empty, NULL, NULL, NULL},
	    {"appends all or nothing", all_or_nothing, NULL, NULL, NULL},
	    {"reserves what is left", reserves_what_is_left, NULL, NULL, NULL},
	    {"holds nothing when empty", holds_nothing_when_empty, NULL, NULL, NULL},
	    {"borrows memory for a while", borrows_memory_for_a_while, NULL, NULL, NULL},
	    {"behaves like its model", behaves_like_its_model, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
