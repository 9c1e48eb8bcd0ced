/*
 * supervisor.c - see supervisor.h: a start, the signals, and the end.
 *
 * Order of a start: descriptors, certificates, sockets, drop privileges, workers. What a worker
 * cannot do at its start ends the service with that worker's exit code and words.
 */
#include "proxy/service/supervisor.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/sandbox.h"
#include "proxy/admin.h"
#include "proxy/intercept/intercept.h"
#include "proxy/machine.h"
#include "proxy/service/certificates.h"
#include "proxy/service/descriptors.h"
#include "proxy/service/manager.h"
#include "proxy/service/reload.h"
#include "proxy/service/supervisor_internal.h"
#include "proxy/service/upgrade.h"
#include "proxy/service/worker.h"
#include "proxy/shared/shared.h"
#include "proxy/version.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include <utlist.h>

/* ---- the workers ---- */

void supervisor_let_go(struct supervisor *s, struct crew *crew, int signal)
{
	struct leaving *leaving;

	if (crew_is_empty(crew)) {
		crew_free(&crew);
		return;
	}
	leaving = mem_zero(1, sizeof *leaving);
	leaving->crew = crew;
	DL_APPEND(s->leaving, leaving);
	crew_tell(crew, signal);
}

static void forget(struct supervisor *s, struct crew *crew)
{
	struct leaving *leaving;

	DL_FOREACH(s->leaving, leaving)
	{
		if (leaving->crew == crew)
			break;
	}
	DL_DELETE(s->leaving, leaving);
	free(leaving);
	crew_free(&crew);
}

static bool does_any_accept(const struct supervisor *s)
{
	const struct leaving *leaving;

	DL_FOREACH(s->leaving, leaving)
	{
		if (crew_accepts(leaving->crew))
			return true;
	}
	return false;
}

void supervisor_trim_sockets(struct supervisor *s)
{
	if (s->is_stopping || s->next || !s->current || does_any_accept(s))
		return;
	if (sockets_trim(s->sockets, crew_conf(s->current)))
		log_info("addresses that no listener names any more are closed");
}

static void end_if_alone(struct supervisor *s)
{
	if (s->is_stopping && !s->leaving)
		ev_break(s->loop, EVBREAK_ALL);
}

/* Everybody is told this; nobody is replaced from here on. */
static void tell_all(struct supervisor *s, int signal)
{
	struct leaving *leaving;

	DL_FOREACH(s->leaving, leaving)
	crew_tell(leaving->crew, signal);
	if (s->current)
		supervisor_let_go(s, s->current, signal);
	if (s->next)
		supervisor_let_go(s, s->next, signal);
	s->current = s->next = NULL;
	end_if_alone(s);
}

static void stop(struct supervisor *s)
{
	s->is_stopping = s->health.is_draining = true;
	s->health.conf = NULL; /* its workers may be the first to be gone */
	manager_tell_stopping();
	sockets_free(&s->sockets);
	tell_all(s, WORKER_STOP);
}

static void give_up(struct supervisor *s, int code)
{
	s->code = code;
	if (!s->is_stopping)
		stop(s);
}

static void on_crew(struct crew *crew, enum crew_event event, void *arg)
{
	struct supervisor *s = arg;

	switch (event) {
	case CREW_SERVES:
		reload_commit(s);
		break;
	case CREW_FAILED:
		if (s->current && crew_conf(s->current))
			reload_take_back(s);
		else
			give_up(s, crew_code(crew));
		break;
	case CREW_GIVES_UP:
		give_up(s, crew_code(crew));
		break;
	case CREW_ACCEPTS_NO_MORE:
		supervisor_trim_sockets(s);
		break;
	case CREW_GONE:
		forget(s, crew);
		supervisor_trim_sockets(s);
		end_if_alone(s);
		break;
	}
}

static void on_bell(struct ev_loop *loop, ev_io *w, int revents)
{
	struct supervisor *s = w->data;
	struct leaving *leaving, *next;
	uint64_t rings;

	(void)loop, (void)revents;
	if (read(s->bell, &rings, sizeof rings) < 0)
		return;
	if (s->current)
		crew_look(s->current);
	if (s->next)
		crew_look(s->next);
	DL_FOREACH_SAFE(s->leaving, leaving, next)
	crew_look(leaving->crew);
}

static void bury(struct supervisor *s, pid_t pid, int status)
{
	struct leaving *leaving, *next;

	if (upgrade_bury(s, pid, status))
		return;
	if ((s->current && crew_bury(s->current, pid, status)) ||
	    (s->next && crew_bury(s->next, pid, status)))
		return;
	DL_FOREACH_SAFE(s->leaving, leaving, next)
	{
		if (crew_bury(leaving->crew, pid, status))
			return;
	}
}

static void on_child(struct ev_loop *loop, ev_signal *w, int revents)
{
	int status;
	pid_t pid;

	(void)loop, (void)revents;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		bury(w->data, pid, status);
}

/* The manager hears from us only while the workers turn. */
static void on_watchdog(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct supervisor *s = w->data;

	(void)loop, (void)revents;
	if (!s->current || crew_is_alive(s->current))
		manager_pet();
}

/* ---- signals ---- */

static void on_stop_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct supervisor *s = w->data;

	(void)loop, (void)revents;
	if (s->is_stopping)
		tell_all(s, WORKER_CUT);
	else
		stop(s);
}

static void on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop, (void)revents;
	reload_begin(w->data);
}

static void on_upgrade(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop, (void)revents;
	upgrade_begin(w->data);
}

static void watch(struct supervisor *s, enum watched which, int number,
    void (*callback)(struct ev_loop *, ev_signal *, int))
{
	ev_signal_init(&s->signals[which], callback, number);
	s->signals[which].data = s;
	ev_signal_start(s->loop, &s->signals[which]);
}

/* The image before us has left them blocked, and perhaps children to bury. */
static void watch_signals(struct supervisor *s)
{
	sigset_t none;

	watch(s, WATCH_TERM, SIGTERM, on_stop_signal);
	watch(s, WATCH_INT, SIGINT, on_stop_signal);
	watch(s, WATCH_HUP, SIGHUP, on_hangup);
	watch(s, WATCH_USR2, SIGUSR2, on_upgrade);
	watch(s, WATCH_CHLD, SIGCHLD, on_child);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	ev_feed_event(s->loop, &s->signals[WATCH_CHLD], EV_SIGNAL);
}

/* ---- a worker's first steps ---- */

static void keep(int fd, const struct addr *address, void *arg)
{
	(void)address;
	descriptors_add(arg, fd);
}

/* Our loop is never touched again; its descriptors, and those of whoever asks for /metrics, must
 * not be held open in a worker. */
static void leave_home(void *arg)
{
	struct supervisor *s = arg;
	struct descriptors kept = {0};

	for (size_t i = 0; i < WATCHED; i++)
		ev_signal_stop(s->loop, &s->signals[i]);
	log_close();
	descriptors_add(&kept, s->bell);
	sockets_every(s->sockets, keep, &kept);
	descriptors_close_others(&kept);
}

/* ---- the beginning ---- */

static void start_watchdog(struct supervisor *s)
{
	double seconds = manager_watchdog();

	ev_timer_init(&s->watchdog, on_watchdog, seconds / 2, seconds / 2);
	s->watchdog.data = s;
	if (seconds > 0)
		ev_timer_start(s->loop, &s->watchdog);
}

static void listen_to_bell(struct supervisor *s)
{
	ev_io_init(&s->on_bell, on_bell, s->bell, EV_READ);
	s->on_bell.data = s;
	ev_io_start(s->loop, &s->on_bell);
}

static void start_crew(struct supervisor *s, struct conf *conf, struct certificates *certificates)
{
	s->next = crew_new(&s->home, conf, certificates);
	if (s->current && intercept_is_used(conf))
		log_info("no loop self-test: the program before has passed it, and its workers, "
			 "which still accept, would take the probe");
	crew_start(s->next, !s->current);
}

/* What there is without any setting, or what the image before us has left. */
static void settle_down(struct supervisor *s)
{
	upgrade_note_program(s);
	s->loop = ev_loop_new(0);
	s->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->sockets = sockets_new();
	s->home.loop = s->loop;
	upgrade_accept(s);
	if (!s->shared)
		s->shared = shared_new();
	s->home = (struct crew_home){.loop = s->loop,
	    .shared = s->shared,
	    .sockets = s->sockets,
	    .bell = s->bell,
	    .leave_home = leave_home,
	    .callback = on_crew,
	    .arg = s};
}

/* A program that was upgraded still is in the sandbox of the one before. */
static bool shut_in(const struct supervisor *s, char **error)
{
	struct sandbox *sandbox;

	if (s->current)
		return true;
	sandbox = sandbox_new(SANDBOX_SUPERVISOR);
	return sandbox_enter(&sandbox, error);
}

static int prepare(struct supervisor *s, struct conf *conf)
{
	struct certificates *certificates = NULL;
	char *error = NULL;
	int code;

	settle_down(s);
	setenv("STATE_DIRECTORY", conf->server.state_dir, 1); /* the default, whoever we become */
	code = supervisor_take_privileges(s, conf, &certificates, &error);
	if (code == EX_OK)
		supervisor_keep_secret(s, conf);
	s->health = (struct health){.shared = s->shared, .conf = conf};
	if (code == EX_OK && !shut_in(s, &error))
		code = EX_UNAVAILABLE;
	if (code == EX_OK && !admin_start(s->admin, s->loop, &s->health, &error))
		code = EX_UNAVAILABLE;
	if (code == EX_OK) {
		watch_signals(s);
		listen_to_bell(s);
		start_watchdog(s);
		start_crew(s, conf, certificates);
		return code;
	}
	machine_complain("", &error);
	certificates_free(&certificates);
	conf_free(&conf);
	return code;
}

static void tear_down(struct supervisor *s)
{
	admin_free(&s->admin);
	admin_free(&s->next_admin);
	sockets_free(&s->sockets);
	for (size_t i = 0; i < WATCHED; i++)
		ev_signal_stop(s->loop, &s->signals[i]);
	ev_loop_destroy(s->loop);
	close(s->bell);
	shared_free(&s->shared);
	log_close();
}

/* What could not take over does not cut whom the program before serves: its workers would die with
 * this process. */
static void see_off(struct supervisor *s)
{
	log_warning("the workers of the program before finish their sessions; then this ends");
	watch_signals(s);
	listen_to_bell(s);
	stop(s);
}

int supervisor_run(struct command_line *line, struct conf *conf)
{
	struct supervisor s = {.line = line};

	log_open(conf->log.target, conf->log.format, conf->log.level);
	log_info("danelaw %s (%s) starts", danelaw_version, danelaw_commit);
	s.code = prepare(&s, conf);
	if (s.code != EX_OK && s.current)
		see_off(&s);
	if (s.code == EX_OK || s.leaving) {
		ev_run(s.loop, 0);
		log_info("stopped");
	}
	tear_down(&s);
	return s.code;
}
