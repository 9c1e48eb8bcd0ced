/*
 * crew_internal.h - shared by crew.c (who is there) and crew_pulse.c (whether their loops turn).
 */
#ifndef PROXY_SERVICE_CREW_INTERNAL_H
#define PROXY_SERVICE_CREW_INTERNAL_H

#include "proxy/service/crew.h"

#include <ev.h>

struct seat;

struct place {
	struct crew *crew;
	unsigned slot, seat;
	pid_t pid; /* 0: nobody */
	bool has_served, has_left;
	double started;
	unsigned deaths;        /* in a row */
	unsigned told;          /* heartbeat at the last crew_is_alive() */
	unsigned felt, missing; /* at the last beat of the pulse; beats without a change of it */
	ev_timer revival;
};

struct crew {
	const struct crew_home *home;
	struct conf *conf;
	struct certificates *certificates;
	unsigned size;
	struct place *places; /* pointers into it are kept by timers: it never grows after them */
	bool is_first;        /* of the service */
	bool has_served, is_leaving, has_left;
	int code;
	double wait; /* for sessions to end: [timeouts] shutdown */
	ev_timer patience, pulse;
};

/* NULL: another program's memory, which we do not see. */
struct seat *crew_seat_of(const struct place *place);

/* From its start until it is told to leave; stopping twice is welcome. */
void crew_start_pulse(struct crew *crew);
void crew_stop_pulse(struct crew *crew);

/* One beat of it; for tests, who have no time. */
void crew_feel_pulse(struct crew *crew);

#endif
