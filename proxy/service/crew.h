/*
 * crew.h - the workers of one configuration: forked, looked after, replaced.
 *
 * The first is started alone, so that what is wrong is told once; the others follow when it serves.
 * From then on whoever dies is replaced, with growing pauses where that happens again and again. A
 * crew that was told to leave shrinks until nobody is left. Owner: the supervisor.
 */
#ifndef PROXY_SERVICE_CREW_H
#define PROXY_SERVICE_CREW_H

#include <stdbool.h>
#include <sys/types.h>

struct certificates;
struct conf;
struct crew;
struct ev_loop;
struct shared;
struct sockets;

enum crew_event {
	CREW_SERVES,          /* every worker has been seen serving; once */
	CREW_FAILED,          /* one could not start before that; crew_code() */
	CREW_GIVES_UP,        /* a worker says that the service must end; crew_code() */
	CREW_ACCEPTS_NO_MORE, /* all that are left have heard that they should leave; once */
	CREW_GONE,            /* nobody is left of one that was told to leave */
};
typedef void crew_fn(struct crew *crew, enum crew_event event, void *arg);

/* What crews of one service have in common. */
struct crew_home {
	struct ev_loop *loop;
	struct shared *shared;
	struct sockets *sockets;
	int bell;
	/* In the child, before anything else: lets go of what is the supervisor's alone. */
	void (*leave_home)(void *arg);
	crew_fn *callback; /* may free the crew as its last deed */
	void *arg;
};

/* conf and certificates are handed over. Nobody is there yet. */
struct crew *crew_new(
    const struct crew_home *home, struct conf *conf, struct certificates *certificates);
void crew_free(struct crew **crew); /* NULL inside is welcome; nobody may be left */

/* is_first: of the service. */
void crew_start(struct crew *crew, bool is_first);

/* A worker of another image of this program, that was started before; its settings are not known.
 * seat SHARED_SEATS: nor what it says. */
void crew_adopt(struct crew *crew, pid_t pid, unsigned seat);

/* How long their sessions may take to end, once they are told to: [timeouts] shutdown of theirs. */
void crew_set_wait(struct crew *crew, double seconds);
double crew_wait(const struct crew *crew);

/* The bell rang: some worker has changed its state. */
void crew_look(struct crew *crew);
/* Whether the dead process was one of the crew. */
bool crew_bury(struct crew *crew, pid_t pid, int status);

/* A signal of worker.h to all of them. Nobody is replaced any more. What is not gone some seconds
 * after it should be is killed. */
void crew_tell(struct crew *crew, int signal);

const struct conf *crew_conf(const struct crew *crew); /* NULL where all are adopted */
struct certificates *crew_certificates(struct crew *crew);
unsigned crew_size(const struct crew *crew); /* workers that there should be */
int crew_code(const struct crew *crew);
bool crew_accepts(const struct crew *crew); /* until all have left */
bool crew_is_empty(const struct crew *crew);

/* Whether the loop of every worker that serves has turned since the last call. */
bool crew_is_alive(struct crew *crew);

/* Each process. */
typedef void crew_each_fn(pid_t pid, unsigned seat, void *arg);
void crew_each(const struct crew *crew, crew_each_fn *each, void *arg);

#endif
