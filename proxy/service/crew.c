/*
 * crew.c - see crew.h.
 */
#include "proxy/service/crew_internal.h"

#include "conf/child.h"
#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/service/certificates.h"
#include "proxy/service/sockets.h"
#include "proxy/service/worker.h"
#include "proxy/shared/shared.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* Whoever lived that long has not died of its start. */
static const double sound_life = 5;
static const double pause_least = 0.25, pause_most = 5;
/* Beyond [timeouts] shutdown. */
static const double grace = 10;
static const double unknown_wait = 90; /* what a program that did not say it has by default */

/* ---- making it ---- */

static void on_revival(struct ev_loop *loop, ev_timer *timer, int revents);
static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int revents);

static void init_place(struct crew *crew, unsigned slot)
{
	struct place *place = &crew->places[slot];

	place->crew = crew;
	place->slot = slot;
	ev_init(&place->revival, on_revival);
	place->revival.data = place;
}

struct crew *crew_new(
    const struct crew_home *home, struct conf *conf, struct certificates *certificates)
{
	struct crew *crew = mem_zero(1, sizeof *crew);

	crew->home = home;
	crew->conf = conf;
	crew->certificates = certificates;
	crew->size = conf ? conf->server.workers : 0;
	crew->wait = conf ? conf->timeouts.shutdown : unknown_wait;
	crew->places = mem_zero(conf ? crew->size : SHARED_SEATS, sizeof *crew->places);
	for (unsigned slot = 0; slot < crew->size; slot++)
		init_place(crew, slot);
	ev_init(&crew->patience, on_patience_over);
	crew->patience.data = crew;
	ev_init(&crew->pulse, NULL);
	return crew;
}

void crew_free(struct crew **crew)
{
	struct crew *c = *crew;

	if (!c)
		return;
	ev_timer_stop(c->home->loop, &c->patience);
	crew_stop_pulse(c);
	for (unsigned slot = 0; slot < c->size; slot++)
		ev_timer_stop(c->home->loop, &c->places[slot].revival);
	free(c->places);
	certificates_free(&c->certificates);
	conf_free(&c->conf);
	free(c);
	*crew = NULL;
}

void crew_adopt(struct crew *crew, pid_t pid, unsigned seat)
{
	struct place *place = &crew->places[crew->size];

	assert(crew->size < SHARED_SEATS);
	init_place(crew, crew->size++);
	place->pid = pid;
	place->seat = seat;
	place->has_served = crew->has_served = true;
}

void crew_set_wait(struct crew *crew, double seconds) { crew->wait = seconds; }
double crew_wait(const struct crew *crew) { return crew->wait; }

static void tell(struct crew *crew, enum crew_event event)
{
	crew->home->callback(crew, event, crew->home->arg);
}

/* ---- starting workers ---- */

/* The supervisor's death is ours, whatever kills it. */
static void tie_to(pid_t supervisor)
{
	prctl(PR_SET_NAME, "danelaw-worker");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != supervisor)
		_exit(EX_UNAVAILABLE);
}

static void be_worker(struct place *place, pid_t supervisor)
{
	struct crew *crew = place->crew;
	const struct worker_order order = {
	    .conf = crew->conf,
	    .certificates = crew->certificates,
	    .sockets = crew->home->sockets,
	    .shared = crew->home->shared,
	    .seat = place->seat,
	    .slot = place->slot,
	    .workers = crew->size,
	    .bell = crew->home->bell,
	    .is_first = crew->is_first && place->slot == 0 && !crew->has_served,
	};

	tie_to(supervisor);
	sockets_retain(crew->home->sockets, crew->conf, place->slot, crew->size);
	crew->home->leave_home(crew->home->arg);
	exit(worker_run(&order));
}

/* Signals wait until the child hears them with its own ears. */
static pid_t fork_worker(struct place *place)
{
	pid_t supervisor = getpid(), pid;
	sigset_t all, before;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		be_worker(place, supervisor);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static void revive_later(struct place *place)
{
	double pause = pause_least;

	if (clock_steady() - place->started >= sound_life)
		place->deaths = 0;
	for (unsigned i = 1; i < place->deaths && pause < pause_most; i++)
		pause *= 2;
	ev_timer_set(&place->revival, place->deaths++ ? pause : 0., 0.);
	ev_timer_start(place->crew->home->loop, &place->revival);
}

static void start(struct place *place)
{
	struct shared *shared = place->crew->home->shared;

	assert(!place->pid);
	place->has_served = place->has_left = false;
	place->missing = 0;
	place->started = clock_steady();
	if (!shared_take_seat(shared, &place->seat)) {
		log_error("worker %u cannot be started: %d processes are there already",
		    place->slot, SHARED_SEATS);
		revive_later(place);
		return;
	}
	place->pid = fork_worker(place);
	if (place->pid > 0)
		return;
	place->pid = 0;
	log_error("worker %u cannot be started: %s", place->slot, strerror(errno));
	shared_free_seat(shared, place->seat);
	revive_later(place);
}

static void on_revival(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)revents;
	start(timer->data);
}

void crew_start(struct crew *crew, bool is_first)
{
	crew->is_first = is_first;
	crew_start_pulse(crew);
	start(&crew->places[0]);
}

/* ---- what they say ---- */

struct seat *crew_seat_of(const struct place *place)
{
	return place->seat < SHARED_SEATS ? shared_seat(place->crew->home->shared, place->seat)
					  : NULL;
}

static bool look_at(struct place *place)
{
	const struct seat *seat = crew_seat_of(place);
	unsigned state = seat ? shared_look(&seat->state) : WORKER_SERVES;
	bool begins = state == WORKER_SERVES && !place->has_served;

	place->has_served |= begins;
	place->has_left |= state == WORKER_LEAVES;
	return begins;
}

static bool do_all(const struct crew *crew, bool (*does)(const struct place *place))
{
	for (unsigned slot = 0; slot < crew->size; slot++) {
		if (!does(&crew->places[slot]))
			return false;
	}
	return true;
}

static bool serves(const struct place *place) { return place->pid && place->has_served; }
static bool accepts_no_more(const struct place *place) { return !place->pid || place->has_left; }
static bool is_gone(const struct place *place) { return !place->pid; }

/* Who was told to leave says so, or is gone. */
static void look_for_end(struct crew *crew)
{
	if (!crew->has_left && do_all(crew, accepts_no_more)) {
		crew->has_left = true;
		tell(crew, CREW_ACCEPTS_NO_MORE);
	}
	if (do_all(crew, is_gone))
		tell(crew, CREW_GONE);
}

/* Nobody is there, nor about to come back. */
static bool is_vacant(const struct place *place)
{
	return !place->pid && !ev_is_active(&place->revival);
}

/* The first one may serve a second time, replaced before all did. */
static void start_others(struct crew *crew)
{
	for (unsigned slot = 1; slot < crew->size; slot++) {
		if (is_vacant(&crew->places[slot]))
			start(&crew->places[slot]);
	}
}

void crew_look(struct crew *crew)
{
	bool is_begun = false;

	for (unsigned slot = 0; slot < crew->size; slot++) {
		struct place *place = &crew->places[slot];

		if (place->pid && look_at(place) && slot == 0 && !crew->has_served)
			is_begun = true;
	}
	if (crew->is_leaving) {
		look_for_end(crew);
		return;
	}
	if (is_begun)
		start_others(crew);
	if (!crew->has_served && do_all(crew, serves)) {
		crew->has_served = true;
		tell(crew, CREW_SERVES);
	}
}

/* ---- deaths ---- */

static int code_of(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EX_UNAVAILABLE;
}

static struct place *find(struct crew *crew, pid_t pid)
{
	for (unsigned slot = 0; slot < crew->size; slot++) {
		if (crew->places[slot].pid == pid)
			return &crew->places[slot];
	}
	return NULL;
}

/* It said so itself, or there is nobody yet whom it could be an exception to. */
static bool cannot_start(const struct place *place, int status)
{
	return !place->crew->has_served && !place->has_served &&
	       (WIFEXITED(status) || place->slot == 0);
}

static void tell_death(const struct place *place, pid_t pid, int status)
{
	const struct crew *crew = place->crew;
	char how[CHILD_END];

	child_end(status, how);
	if (crew->is_leaving && WIFEXITED(status) && !WEXITSTATUS(status))
		log_debug("worker %u (process %d) has finished", place->slot, (int)pid);
	else
		log_error("worker %u (process %d) %s%s", place->slot, (int)pid, how,
		    crew->is_leaving || cannot_start(place, status) ? "" : "; it is replaced");
}

static void mourn(struct place *place, bool gives_up, int status)
{
	struct crew *crew = place->crew;

	if (crew->is_leaving) {
		look_for_end(crew);
	} else if (gives_up || cannot_start(place, status)) {
		crew->code = code_of(status);
		tell(crew, gives_up ? CREW_GIVES_UP : CREW_FAILED);
	} else if (crew->conf) {
		revive_later(place);
	}
}

bool crew_bury(struct crew *crew, pid_t pid, int status)
{
	struct place *place = find(crew, pid);
	bool gives_up, was_told;

	if (!place)
		return false;
	gives_up =
	    crew_seat_of(place) && shared_look(&crew_seat_of(place)->state) == WORKER_GIVES_UP;
	if (crew_seat_of(place))
		shared_free_seat(crew->home->shared, place->seat);
	place->pid = 0;
	/* One that ends with a word of its own has told why. */
	was_told = WIFEXITED(status) && (gives_up || cannot_start(place, status));
	if (!was_told)
		tell_death(place, pid, status);
	mourn(place, gives_up, status);
	return true;
}

/* ---- the end ---- */

static void signal_all(struct crew *crew, int number)
{
	for (unsigned slot = 0; slot < crew->size; slot++) {
		if (crew->places[slot].pid)
			kill(crew->places[slot].pid, number);
	}
}

static void on_patience_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct crew *crew = timer->data;

	(void)loop, (void)revents;
	log_error("workers that should have ended long ago are killed");
	signal_all(crew, SIGKILL);
}

void crew_tell(struct crew *crew, int number)
{
	crew->is_leaving = true;
	crew_stop_pulse(crew);
	for (unsigned slot = 0; slot < crew->size; slot++)
		ev_timer_stop(crew->home->loop, &crew->places[slot].revival);
	if (!ev_is_active(&crew->patience)) {
		ev_timer_set(&crew->patience, crew->wait + grace, 0.);
		ev_timer_start(crew->home->loop, &crew->patience);
	}
	signal_all(crew, number);
}

/* ---- about it ---- */

const struct conf *crew_conf(const struct crew *crew) { return crew->conf; }
struct certificates *crew_certificates(struct crew *crew) { return crew->certificates; }
unsigned crew_size(const struct crew *crew) { return crew->size; }
int crew_code(const struct crew *crew) { return crew->code; }
bool crew_accepts(const struct crew *crew) { return !crew->has_left; }
bool crew_is_empty(const struct crew *crew) { return do_all(crew, is_gone); }

void crew_each(const struct crew *crew, crew_each_fn *each, void *arg)
{
	for (unsigned slot = 0; slot < crew->size; slot++) {
		if (crew->places[slot].pid)
			each(crew->places[slot].pid, crew->places[slot].seat, arg);
	}
}
