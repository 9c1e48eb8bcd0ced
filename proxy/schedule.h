/*
 * schedule.h - when the spool tries a recipient again, when it gives up, and when it tells the
 * sender that it is late (RFC 5321 section 4.5.4.1). Pure.
 *
 * Times of the wall clock, which may jump: whoever decides to give up has just tried once more.
 */
#ifndef PROXY_SCHEDULE_H
#define PROXY_SCHEDULE_H

#include "proxy/spool_message.h"

#include <stdbool.h>
#include <time.h>

struct conf;

/*
 * After the tries-th try from the spool failed for now (0: the one while the client waited):
 * [spool] retry, of which the last wait repeats. Up to a tenth is added, the same for all
 * recipients of the message, so that what failed together does not come back together.
 */
time_t schedule_next_try(
    const struct conf *conf, const struct spool_message *message, unsigned tries, time_t now);

/* A limit of ours was in the way: soon again, and no try. */
time_t schedule_when_busy(const struct spool_message *message, time_t now);

/*
 * Whether a recipient that was just tried is to be given up. was_busy: it was not really tried, so
 * it gets a day more: mail is not to be lost to our own limits after a standstill.
 */
bool schedule_is_over(
    const struct conf *conf, const struct spool_message *message, bool was_busy, time_t now);

/* When it will be. */
time_t schedule_end(const struct conf *conf, const struct spool_message *message);

/* Whether the sender should hear that it is late: after 4 hours, once. */
bool schedule_is_late(
    const struct spool_message *message, const struct spool_recipient *recipient, time_t now);

#endif
