/*
 * schedule.c - see schedule.h. Called by the runner.
 */
#include "proxy/spool/schedule.h"

#include "conf/conf.h"

enum {
	BUSY_WAIT = 20,
	BUSY_SPREAD = 20,
	BUSY_GRACE = 86400,
	LATE = 4 * 3600,
};

/* The same for all recipients of a message, different from message to message (FNV-1a). */
static unsigned spread(const struct spool_message *message, unsigned tries)
{
	unsigned hash = 2166136261u ^ tries;

	for (const char *c = message->id; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	return hash >> 8;
}

/* To the next whole second: the wall clock of the spool knows no others. */
static time_t after(time_t now, double seconds) { return now + (time_t)(seconds + 0.999); }

time_t schedule_next_try(
    const struct conf *conf, const struct spool_message *message, unsigned tries, time_t now)
{
	const struct conf_times *retry = &conf->spool.retry;
	unsigned index = tries ? tries - 1 : 0;
	double wait = retry->items[index < retry->count ? index : retry->count - 1];

	return after(now, wait + wait / 10 * (spread(message, tries) % 1000) / 1000);
}

time_t schedule_when_busy(const struct spool_message *message, time_t now)
{
	return now + BUSY_WAIT + spread(message, (unsigned)now) % BUSY_SPREAD;
}

/* With what is added to the wait, and what a try itself may take. */
static double longest_step(double wait)
{
	enum { TRY = 600 };

	return wait + wait / 10 + TRY;
}

/* How often a recipient is tried within [spool] lifetime, at the least. */
static unsigned tries_in_lifetime(const struct conf *conf)
{
	const struct conf_times *retry = &conf->spool.retry;
	double left = conf->spool.lifetime, step = longest_step(0);
	unsigned tries = 1;

	for (unsigned i = 0; i < retry->count && left > 0; i++, tries++) {
		step = longest_step(retry->items[i]);
		left -= step;
	}
	return left > 0 ? tries + 1 + (unsigned)(left / step) : tries;
}

/* A clock that was set back does not know how old the message is. */
static bool is_old(
    const struct conf *conf, const struct spool_message *message, bool was_busy, time_t now)
{
	return now < message->arrived ||
	       now >= schedule_end(conf, message) + (was_busy ? BUSY_GRACE : 0);
}

bool schedule_is_over(const struct conf *conf, const struct spool_message *message,
    const struct spool_recipient *recipient, time_t now)
{
	return recipient->tries >= tries_in_lifetime(conf) &&
	       is_old(conf, message, recipient->last.reason == REASON_BUSY, now);
}

time_t schedule_end(const struct conf *conf, const struct spool_message *message)
{
	return after(message->arrived, conf->spool.lifetime);
}

bool schedule_is_late(
    const struct spool_message *message, const struct spool_recipient *recipient, time_t now)
{
	return !recipient->is_delay_told && now >= message->arrived + LATE;
}
