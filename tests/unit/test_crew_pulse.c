/*
 * test_crew_pulse.c - workers that hang, as processes that do nothing: crew_pulse.c.
 */
#include "proxy/service/crew_internal.h"

#include "conf/log.h"
#include "proxy/shared/shared.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BEATS = 5 };

static struct crew_home home;
static struct crew *crew;
static unsigned seat;
static pid_t worker;

/* It has served, and the first beat is what silence is counted from. */
static void employ(void (*on_abort)(int))
{
	assert_true(shared_take_seat(home.shared, &seat));
	shared_seat(home.shared, seat)->heartbeat = 7;
	signal(SIGABRT, on_abort); /* inherited: the signal may come before the worker's first step */
	worker = fork();
	assert_true(worker >= 0);
	if (worker == 0) {
		alarm(10);
		for (;;)
			pause();
	}
	signal(SIGABRT, SIG_DFL);
	crew_adopt(crew, worker, seat);
	crew_feel_pulse(crew);
}

static void feel(unsigned beats)
{
	while (beats--)
		crew_feel_pulse(crew);
}

static bool is_there(void) { return waitpid(worker, NULL, WNOHANG) == 0; }

static int signal_of_death(void)
{
	int status;

	assert_int_equal(waitpid(worker, &status, 0), worker);
	assert_true(WIFSIGNALED(status));
	assert_true(crew_bury(crew, worker, status));
	return WTERMSIG(status);
}

static int set_up(void **state)
{
	(void)state;
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	home = (struct crew_home){.loop = ev_loop_new(0), .shared = shared_new()};
	crew = crew_new(&home, NULL, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	crew_free(&crew);
	shared_free(&home.shared);
	ev_loop_destroy(home.loop);
	return 0;
}

static void hung(void **state)
{
	(void)state;
	employ(SIG_DFL);
	feel(BEATS - 1);
	assert_true(is_there());
	feel(1);
	assert_int_equal(signal_of_death(), SIGABRT);
	feel(BEATS); /* nobody is left to be killed */
}

static void deaf(void **state)
{
	(void)state;
	employ(SIG_IGN);
	feel(BEATS);
	assert_true(is_there());
	feel(1);
	assert_int_equal(signal_of_death(), SIGKILL);
}

static void stopped(void **state)
{
	(void)state;
	employ(SIG_DFL);
	kill(worker, SIGSTOP);
	assert_int_equal(waitpid(worker, NULL, WUNTRACED), worker);
	feel(BEATS + 1);
	assert_int_equal(signal_of_death(), SIGKILL);
}

static void slow(void **state)
{
	(void)state;
	employ(SIG_DFL);
	for (int i = 0; i < 5; i++) {
		feel(BEATS - 1);
		shared_seat(home.shared, seat)->heartbeat++;
		feel(1);
	}
	assert_true(is_there());
	kill(worker, SIGKILL);
	assert_int_equal(signal_of_death(), SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"a worker that hangs is killed", hung, set_up, tear_down, NULL},
	    {"one that ignores it is killed for certain", deaf, set_up, tear_down, NULL},
	    {"one that was stopped is killed for certain", stopped, set_up, tear_down, NULL},
	    {"one that turns now and then is left alone", slow, set_up, tear_down, NULL},
	};

	setrlimit(RLIMIT_CORE, &(struct rlimit){0});
	return cmocka_run_group_tests_name("crew_pulse", tests, NULL, NULL);
}
