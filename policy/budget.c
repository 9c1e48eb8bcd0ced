/*
 * budget.c - see budget.h. A clock that is set (fault F-03) must not lengthen or end a lookup:
 * monotonic time.
 */
#include "policy/budget.h"

#include "conf/clock.h"
#include "conf/timer.h"

void budget_open(struct budget *budget, struct ev_loop *loop, double total, double *spent,
    void (*on_expired)(struct ev_loop *loop, ev_timer *timer, int events), void *arg)
{
	double left = total > *spent ? total - *spent : 0;

	budget->is_open = true;
	budget->loop = loop;
	budget->opened = clock_steady();
	budget->spent = spent;
	ev_init(&budget->timer, on_expired);
	budget->timer.data = arg;
	timer_start(loop, &budget->timer, left);
}

void budget_close(struct budget *budget)
{
	if (!budget->is_open)
		return;
	budget->is_open = false;
	ev_timer_stop(budget->loop, &budget->timer);
	*budget->spent += clock_steady() - budget->opened;
}
