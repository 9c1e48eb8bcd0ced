/*
 * upgrade.c - see upgrade.h.
 *
 * The variable: "PID shared=FD bell=FD shutdown=SECONDS socket=FD ... worker=PID:SEAT ...".
 * Everything in it is checked: descriptors are what they are said to be, workers are our children.
 */
#include "proxy/service/upgrade.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/admin.h"
#include "proxy/command_line.h"
#include "proxy/privileges.h"
#include "proxy/service/reload.h"
#include "proxy/service/supervisor_internal.h"
#include "proxy/shared/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLE "DANELAW_HANDOVER"

static const double trial_patience = 30; /* a usual one takes less than a second */

void upgrade_note_program(struct supervisor *s)
{
	ssize_t len = readlink("/proc/self/exe", s->program, sizeof s->program - 1);

	s->program[len > 0 ? len : 0] = '\0';
}

static void refuse(const char *why) { log_error("the upgrade is refused: %s", why); }

/* ---- the test of the new program ---- */

static void hear(struct supervisor *s)
{
	struct trial *trial = &s->trial;
	ssize_t got;

	while (trial->len < sizeof trial->words - 1 &&
	       (got = read(trial->output.fd, trial->words + trial->len,
		    sizeof trial->words - 1 - trial->len)) > 0)
		trial->len += (size_t)got;
	trial->words[trial->len] = '\0';
}

static void on_words(struct ev_loop *loop, ev_io *w, int revents)
{
	struct supervisor *s = w->data;
	size_t before = s->trial.len;

	(void)revents;
	hear(s);
	if (s->trial.len == before) /* its end, or more than anybody reads */
		ev_io_stop(loop, w);
}

/* It is buried as any other that is not content. */
static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct supervisor *s = timer->data;

	(void)loop, (void)revents;
	log_error("%s: its test takes longer than %g s and is ended", s->program, trial_patience);
	kill(s->trial.pid, SIGKILL);
}

/* argv as it was given, with -t before it. */
static char **trial_arguments(const struct supervisor *s)
{
	char **argv = mem_zero((size_t)s->line->whole_argc + 2, sizeof *argv);

	argv[0] = s->line->whole_argv[0];
	argv[1] = mem_strdup("-t");
	for (int i = 1; i < s->line->whole_argc; i++)
		argv[i + 1] = s->line->whole_argv[i];
	return argv;
}

static void be_trial(const struct supervisor *s, int output)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	for (size_t i = 0; i < WATCHED; i++)
		signal(s->signals[i].signum, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(s->program, trial_arguments(s));
	fprintf(stderr, "%s: %s\n", s->program, strerror(errno));
	_exit(127);
}

static pid_t fork_trial(const struct supervisor *s, int output)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		be_trial(s, output);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static void watch_trial(struct supervisor *s, int output)
{
	struct trial *trial = &s->trial;

	trial->len = 0;
	ev_io_init(&trial->output, on_words, output, EV_READ);
	ev_timer_init(&trial->patience, on_patience_over, trial_patience, 0.);
	trial->output.data = trial->patience.data = s;
	ev_io_start(s->loop, &trial->output);
	ev_timer_start(s->loop, &trial->patience);
}

/* Why there can be no upgrade now. NULL: there can. */
static const char *obstacle(const struct supervisor *s)
{
	if (s->is_stopping)
		return "the service is being stopped";
	if (s->trial.pid)
		return "one that was asked for before is being tested";
	if (!s->current || s->next)
		return "new workers are being started; try again when they serve";
	return NULL;
}

void upgrade_begin(struct supervisor *s)
{
	struct trial *trial = &s->trial;
	int ends[2];

	if (obstacle(s)) {
		refuse(obstacle(s));
		return;
	}
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) {
		refuse(strerror(errno));
		return;
	}
	log_info("upgrading: %s is tested", s->program);
	trial->pid = fork_trial(s, ends[1]);
	close(ends[1]);
	if (trial->pid < 0) {
		trial->pid = 0;
		close(ends[0]);
		refuse(strerror(errno));
		return;
	}
	watch_trial(s, ends[0]);
}

/* ---- handing over ---- */

static void keep_open(int fd, bool open) { fcntl(fd, F_SETFD, open ? 0 : FD_CLOEXEC); }

static void write_socket(int fd, const struct addr *address, void *arg)
{
	(void)address;
	fprintf(arg, " socket=%d", fd);
}

static void write_worker(pid_t pid, unsigned seat, void *arg)
{
	fprintf(arg, " worker=%d:%u", (int)pid, seat);
}

static double longest_wait(const struct supervisor *s)
{
	const struct leaving *leaving;
	double longest = crew_wait(s->current);

	for (leaving = s->leaving; leaving; leaving = leaving->next) {
		if (crew_wait(leaving->crew) > longest)
			longest = crew_wait(leaving->crew);
	}
	return longest;
}

static char *describe(const struct supervisor *s)
{
	const struct leaving *leaving;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		abort(); /* as conf/mem.h does without memory */
	fprintf(out, "%d shared=%d bell=%d", (int)getpid(), shared_file(s->shared), s->bell);
	fprintf(out, " shutdown=%d", (int)longest_wait(s)); /* parts of a second are not missed */
	sockets_every(s->sockets, write_socket, out);
	admin_each_socket(s->admin, write_socket, out);
	if (s->next_admin)
		admin_each_socket(s->next_admin, write_socket, out);
	crew_each(s->current, write_worker, out);
	for (leaving = s->leaving; leaving; leaving = leaving->next)
		crew_each(leaving->crew, write_worker, out);
	if (fclose(out))
		abort();
	return text;
}

static void set_socket(int fd, const struct addr *address, void *arg)
{
	(void)address;
	keep_open(fd, *(bool *)arg);
}

static void keep_all_open(const struct supervisor *s, bool open)
{
	keep_open(shared_file(s->shared), open);
	keep_open(s->bell, open);
	sockets_every(s->sockets, set_socket, &open);
	admin_each_socket(s->admin, set_socket, &open);
	if (s->next_admin)
		admin_each_socket(s->next_admin, set_socket, &open);
}

/* Signals that come meanwhile wait for the new image: it would die of them. */
static void hand_over(struct supervisor *s)
{
	char *text = describe(s);
	sigset_t all, before;

	log_info("upgrading: %s takes over", s->program);
	privileges_keep_over_exec(crew_conf(s->current));
	setenv(VARIABLE, text, 1);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	keep_all_open(s, true);
	execv(s->program, s->line->whole_argv);
	refuse(strerror(errno));
	keep_all_open(s, false);
	privileges_keep_no_more(crew_conf(s->current));
	sigprocmask(SIG_SETMASK, &before, NULL);
	unsetenv(VARIABLE);
	free(text);
	reload_clean_up(s);
}

/* The test binds nothing: what else a start needs is tried while this program can still go on. */
static bool can_start(struct supervisor *s)
{
	char *error = NULL;
	bool can = reload_rehearse(s, &error);

	if (!can)
		refuse(error ? error : "its settings cannot be put in force");
	free(error);
	return can;
}

static void tell_words(struct trial *trial)
{
	char *rest = trial->words, *line;

	while ((line = strsep(&rest, "\n"))) {
		if (*line)
			log_error("%s", line);
	}
}

static void judge(struct supervisor *s, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		tell_words(&s->trial);
		refuse("the new program does not accept that it should run");
	} else if (obstacle(s)) {
		refuse(obstacle(s));
	} else if (can_start(s)) {
		hand_over(s);
	}
}

bool upgrade_bury(struct supervisor *s, pid_t pid, int status)
{
	struct trial *trial = &s->trial;

	if (!trial->pid || trial->pid != pid)
		return false;
	trial->pid = 0;
	hear(s);
	ev_io_stop(s->loop, &trial->output);
	ev_timer_stop(s->loop, &trial->patience);
	close(trial->output.fd);
	judge(s, status);
	return true;
}

/* ---- taking over ---- */

/* A number from the text, and what follows it. */
static bool take_number(const char **at, int *number)
{
	char *end;
	long value = strtol(*at, &end, 10);

	if (end == *at || value < 0 || value > INT_MAX)
		return false;
	*number = (int)value;
	*at = end;
	return true;
}

static void take_bell(struct supervisor *s, int fd)
{
	close(s->bell);
	s->bell = fd;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static bool is_our_child(pid_t pid)
{
	siginfo_t info;

	return pid > 0 && !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
}

static bool take_worker(struct supervisor *s, int pid, const char *rest)
{
	int seat;

	if (*rest++ != ':' || !take_number(&rest, &seat) || *rest || seat >= SHARED_SEATS ||
	    !is_our_child(pid))
		return false;
	crew_adopt(s->current, pid, s->shared ? (unsigned)seat : SHARED_SEATS);
	return true;
}

/* One word "NAME=NUMBER..." of the text. */
static bool take_word(struct supervisor *s, const char *word)
{
	const char *rest = strchr(word, '=');
	int number;

	if (!rest++ || !take_number(&rest, &number))
		return false;
	if (!strncmp(word, "worker=", 7))
		return take_worker(s, number, rest);
	if (!strncmp(word, "shutdown=", 9) && !*rest) {
		crew_set_wait(s->current, number);
		return true;
	}
	if (*rest || number <= STDERR_FILENO || fcntl(number, F_GETFD) < 0)
		return false;
	if (!strncmp(word, "shared=", 7))
		s->shared = shared_adopt(number);
	else if (!strncmp(word, "bell=", 5))
		take_bell(s, number);
	else
		return !strncmp(word, "socket=", 7) && sockets_add(s->sockets, number);
	return true;
}

static bool take_all(struct supervisor *s, char *text)
{
	char *word = strsep(&text, " ");
	const char *at = word;
	int pid;

	if (!take_number(&at, &pid) || *at || pid != getpid())
		return false;
	while ((word = strsep(&text, " "))) {
		if (!take_word(s, word))
			log_error("taking over: %s is not understood", word);
	}
	return true;
}

/* Without the memory of before, nobody knows how those workers are: they are told to end all the
 * same. */
void upgrade_accept(struct supervisor *s)
{
	const char *value = getenv(VARIABLE);
	char *text = value ? mem_strdup(value) : NULL;

	unsetenv(VARIABLE);
	if (text) {
		s->current = crew_new(&s->home, NULL, NULL);
		if (take_all(s, text))
			log_info("taking over from the program that ran before");
		if (crew_is_empty(s->current))
			crew_free(&s->current);
	}
	free(text);
}
