/*
 * crew_pulse.c - whether the loops of the workers turn; one that hangs is killed, and so replaced.
 *
 * A worker that is stuck in one callback serves nobody, accepts from its queue nobody, and never
 * dies by itself. Silence is counted in beats that we ourselves have felt, never by a clock: when
 * a machine or a container goes on after a pause, everybody has been silent for as long as we. Told
 * to the manager's watchdog by crew_is_alive(), which would restart them all.
 */
#include "proxy/service/crew_internal.h"

#include "conf/log.h"
#include "proxy/shared/shared.h"

#include <signal.h>

#define BEAT 5. /* seconds; a worker that turns has noted ten by then */

/* What may hold up a loop that is sound, a log or a disk that stalls, is over by then. */
enum { MISSING_MAX = 5 };

static bool is_felt(const struct place *place)
{
	return place->pid && place->has_served && crew_seat_of(place);
}

/* First a death that leaves a core, then one that nothing escapes. */
static void put_down(const struct place *place)
{
	bool is_second = place->missing > MISSING_MAX;

	log_error("worker %u (process %d) has not moved for %g s and is killed%s", place->slot,
	    (int)place->pid, place->missing * BEAT, is_second ? " for certain" : "");
	kill(place->pid, is_second ? SIGKILL : SIGABRT);
}

static void feel(struct place *place)
{
	unsigned heartbeat = shared_look(&crew_seat_of(place)->heartbeat);

	place->missing = heartbeat == place->felt ? place->missing + 1 : 0;
	place->felt = heartbeat;
	if (place->missing >= MISSING_MAX)
		put_down(place);
}

void crew_feel_pulse(struct crew *crew)
{
	for (unsigned slot = 0; slot < crew->size; slot++) {
		if (is_felt(&crew->places[slot]))
			feel(&crew->places[slot]);
	}
}

bool crew_is_alive(struct crew *crew)
{
	bool alive = true;

	for (unsigned slot = 0; slot < crew->size; slot++) {
		struct place *place = &crew->places[slot];
		unsigned heartbeat;

		if (!is_felt(place))
			continue;
		heartbeat = shared_look(&crew_seat_of(place)->heartbeat);
		alive = alive && heartbeat != place->told;
		place->told = heartbeat;
	}
	return alive;
}

/* ---- the timer ---- */

static void on_pulse(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)revents;
	crew_feel_pulse(timer->data);
}

void crew_start_pulse(struct crew *crew)
{
	ev_timer_init(&crew->pulse, on_pulse, BEAT, BEAT);
	crew->pulse.data = crew;
	ev_timer_start(crew->home->loop, &crew->pulse);
}

void crew_stop_pulse(struct crew *crew) { ev_timer_stop(crew->home->loop, &crew->pulse); }
