/*
 * shared.h - the memory that supervisor and workers have in common.
 *
 * The supervisor makes it before it forks, and gives each worker a seat: an area where that worker
 * alone writes what it counts and how it is, for the supervisor to read. A worker may be killed at
 * any instruction, so nothing here needs two words to agree, but for what a lock of lock.h guards.
 * It lives in a file of memory, which a new image of the supervisor takes over (upgrade.h). Owner:
 * the supervisor; a command that runs alone has one of its own (machine.h).
 */
#ifndef PROXY_SHARED_SHARED_H
#define PROXY_SHARED_SHARED_H

#include "proxy/metrics.h"
#include "proxy/shared/counts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct journal;
struct shared;

/* Enough for those that leave while others take their places. */
enum { SHARED_SEATS = COUNT_SEATS, SHARED_WHY = 512 };

/* What a worker says of itself. */
enum worker_state {
	WORKER_NONE,   /* nobody sits here */
	WORKER_STARTS, /* it accepts nobody yet */
	WORKER_SERVES,
	WORKER_LEAVES,  /* it accepts nobody any more */
	WORKER_GIVES_UP /* the whole service must end: see its exit code */
};

/* As probe.h has it. */
enum worker_dnssec { DNSSEC_PENDING, DNSSEC_WORKING, DNSSEC_BROKEN };

/* Words are read and written with shared_look() and shared_say(). */
struct seat {
	unsigned state;     /* enum worker_state */
	unsigned heartbeat; /* grows while its loop turns */
	unsigned dnssec;    /* enum worker_dnssec */
	char dnssec_why[SHARED_WHY];
	_Alignas(64) unsigned char metrics[METRICS_SIZE];
};

struct shared *shared_new(void); /* ends the program if there is no memory */
void shared_free(struct shared **shared);

/* The file of memory, close-on-exec. */
int shared_file(const struct shared *shared);
/* What another image of the program has made; fd is taken. NULL: it is not of our layout. */
struct shared *shared_adopt(int fd);

struct seat *shared_seat(struct shared *shared, unsigned seat);
/* SECRET_SIZE octets; at random until the supervisor has found what it kept (secret.h). */
unsigned char *shared_secret(struct shared *shared);
struct counts *shared_counts(struct shared *shared);
struct journal *shared_journal(struct shared *shared);

/* For the supervisor. false: there is none left. */
bool shared_take_seat(struct shared *shared, unsigned *seat);
/* Its worker is gone: its counters stay counted, its share of each limit ends. */
void shared_free_seat(struct shared *shared, unsigned seat);
/* What all of them have counted, into an area of METRICS_SIZE. */
void shared_sum_metrics(struct shared *shared, void *sum);

static inline unsigned shared_look(const unsigned *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void shared_say(unsigned *word, unsigned value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

#endif
