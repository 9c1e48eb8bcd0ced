/*
 * budget.h - the time that all DNS lookups of one destination share ([dns] total, R-DNS-43).
 *
 * A lookup opens the budget before its first question and closes it after its last answer; what was
 * spent is added up in the destination, so that the next host's lookup gets only what is left.
 */
#ifndef POLICY_BUDGET_H
#define POLICY_BUDGET_H

#include <ev.h>
#include <stdbool.h>

struct budget {
	bool is_open;
	struct ev_loop *loop;
	ev_timer timer;
	double opened; /* monotonic seconds */
	double *spent;
};

/*
 * The timer runs on_expired (whose ev_timer->data is arg) once, on a later turn, when total -
 * *spent seconds are over.
 */
void budget_open(struct budget *budget, struct ev_loop *loop, double total, double *spent,
    void (*on_expired)(struct ev_loop *loop, ev_timer *timer, int events), void *arg);

/* Stops the timer and adds to *spent. A zeroed or closed budget is welcome. */
void budget_close(struct budget *budget);

#endif
