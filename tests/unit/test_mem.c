/*
 * test_mem.c - conf/mem.h and conf/reap.h.
 */
#include "conf/mem.h"
#include "conf/reap.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void nothing_has_an_address(void **unused)
{
	(void)unused;
	char *copy = mem_copy(NULL, 0);
	char *text = mem_strndup("abcdef", 3);
	char *printed = mem_printf("%s-%d", "a", 7);
	char *cleared = mem_zero(3, 2);

	assert_non_null(copy);
	assert_string_equal(text, "abc");
	assert_string_equal(printed, "a-7");
	assert_memory_equal(cleared, "\0\0\0\0\0\0", 6);
	cleared = mem_resize(cleared, 0, 0);
	assert_non_null(cleared);
	free(copy);
	free(text);
	free(printed);
	free(cleared);
}

/* In a child: a product that overflows must end the process, not give a small block. */
static void overflow_ends_the_process(void **unused)
{
	int status;

	(void)unused;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		close(STDERR_FILENO);
		mem_resize(NULL, SIZE_MAX / 2, 4);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_not_equal(status, 0);
}

static char order[16];
static char letter_a[] = "a", letter_b[] = "b", letter_c[] = "c";

static void note_release(void *object) { strcat(order, object); }

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer, (void)events;
	reap_later(loop, letter_a, note_release);
	strcat(order, "1");
}

static void released_after_the_turn(void **unused)
{
	struct ev_loop *loop = ev_default_loop(0);
	ev_timer timers[2];

	(void)unused;
	order[0] = '\0';
	for (int i = 0; i < 2; i++) {
		ev_timer_init(&timers[i], on_timer, 0, 0);
		ev_timer_start(loop, &timers[i]);
	}
	ev_run(loop, 0);
	assert_string_equal(order, "11aa");
}

static void released_in_order_at_the_end(void **unused)
{
	struct ev_loop *loop = ev_default_loop(0);

	(void)unused;
	order[0] = '\0';
	reap_now();
	reap_later(loop, letter_a, note_release);
	reap_later(loop, letter_b, note_release);
	assert_string_equal(order, "");
	reap_now();
	assert_string_equal(order, "ab");
	ev_run(loop, EVRUN_NOWAIT);
	assert_string_equal(order, "ab");
}

static void release_that_hands_over(void *object)
{
	note_release(object);
	reap_later(ev_default_loop(0), letter_c, note_release);
}

static void what_a_release_hands_over_goes_too(void **unused)
{
	struct ev_loop *loop = ev_default_loop(0);

	(void)unused;
	order[0] = '\0';
	reap_later(loop, letter_b, release_that_hands_over);
	ev_run(loop, EVRUN_NOWAIT);
	assert_string_equal(order, "bc");
	order[0] = '\0';
	reap_later(loop, letter_b, release_that_hands_over);
	reap_now();
	assert_string_equal(order, "bc");
	reap_later(loop, letter_c, note_release);
	ev_run(loop, EVRUN_NOWAIT);
	assert_string_equal(order, "bcc");
}

enum { MANY = 10000 };
static size_t released;

/* Each hands over two. */
static void release_and_multiply(void *object)
{
	released++;
	for (size_t i = 0; i < 2 && released < MANY; i++)
		reap_later(ev_default_loop(0), object, release_and_multiply);
}

static void the_queue_grows_while_it_is_swept(void **unused)
{
	(void)unused;
	for (int round = 0; round < 2; round++) {
		released = 0;
		reap_later(ev_default_loop(0), letter_a, release_and_multiply);
		ev_run(ev_default_loop(0), EVRUN_NOWAIT);
		assert_true(released >= MANY);
	}
	reap_now();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"mem: empty and exact blocks", nothing_has_an_address, NULL, NULL, NULL},
	    {"mem: an overflow ends the process", overflow_ends_the_process, NULL, NULL, NULL},
	    {"reap: after every callback of the turn", released_after_the_turn, NULL, NULL, NULL},
	    {"reap: in order, once, at the end", released_in_order_at_the_end, NULL, NULL, NULL},
	    {"reap: many at once", the_queue_grows_while_it_is_swept, NULL, NULL, NULL},
	    {"reap: what a release hands over", what_a_release_hands_over_goes_too, NULL, NULL,
		NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
