/*
 * backoff.c - see backoff.h. Half for each refusal and one more for each round without one is what
 * TCP does about congestion (RFC 5681 3.1), for the same reason.
 */
#include "proxy/backoff.h"

/* Connections that are closed together are one event. */
static const double wave = 1;

static void reduce(struct backoff *b, unsigned open)
{
	if (!open)
		return;
	if (b->most && b->most < open)
		open = b->most;
	b->most = open > 1 ? open / 2 : 1;
	b->served = 0;
}

static double next_pause(const struct backoff *b)
{
	if (b->is_serving || b->pause < BACKOFF_PAUSE_LEAST)
		return BACKOFF_PAUSE_LEAST;
	return 2 * b->pause < BACKOFF_PAUSE_MOST ? 2 * b->pause : BACKOFF_PAUSE_MOST;
}

bool backoff_refused(struct backoff *b, unsigned open, double now)
{
	if (backoff_is_pausing(b, now))
		return false;
	reduce(b, open);
	b->pause = next_pause(b);
	b->until = now + b->pause;
	b->last = now;
	b->is_serving = false;
	return true;
}

bool backoff_shed(struct backoff *b, unsigned open, double now)
{
	if (b->last > 0 && now - b->last < wave)
		return false;
	reduce(b, open);
	b->last = now;
	return true;
}

void backoff_served(struct backoff *b)
{
	b->is_serving = true;
	if (!b->most || ++b->served < b->most)
		return;
	b->most++;
	b->served = 0;
}

unsigned backoff_most(const struct backoff *b, unsigned limit)
{
	return b->most && b->most < limit ? b->most : limit;
}

bool backoff_is_pausing(const struct backoff *b, double now) { return now < b->until; }

bool backoff_is_silent(const struct backoff *b) { return !b->is_serving; }

bool backoff_is_over(const struct backoff *b, double now) { return now - b->last > BACKOFF_FORGET; }
