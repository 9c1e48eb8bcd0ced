/*
 * schedule.h - when the spool tries a recipient again, when it gives up, and when it tells the
 * sender that it is late (RFC 5321 section 4.5.4.1). Pure.
 *
 * Times of the wall clock, which may jump: a machine without a clock of its own starts in 1970. So
 * nothing is given up for its age alone.
 */
#ifndef PROXY_SCHEDULE_H
#define PROXY_SCHEDULE_H

#include "proxy/spool/spool_message.h"

#include <stdbool.h>
#include <time.h>

struct conf;

/*
 * After the tries-th try failed for now (0: there was none yet): [spool] retry, of which the last
 * wait repeats. Up to a tenth is added, the same for all
 * recipients of the message, so that what failed together does not come back together.
 */
time_t schedule_next_try(
    const struct conf *conf, const struct spool_message *message, unsigned tries, time_t now);

/* A limit of ours was in the way: soon again, and no try. */
time_t schedule_when_busy(const struct spool_message *message, time_t now);

/*
 * Whether a recipient that was just tried is to be given up: [spool] lifetime is over, and it was
 * tried as often as that takes. Where a limit of ours was in the way at last, it gets a day more:
 * mail is not to be lost to our own limits after a standstill.
 */
bool schedule_is_over(const struct conf *conf, const struct spool_message *message,
    const struct spool_recipient *recipient, time_t now);

/* When it will be, if all clocks go right. */
time_t schedule_end(const struct conf *conf, const struct spool_message *message);

/* Whether the sender should hear that it is late: after 4 hours, once. */
bool schedule_is_late(
    const struct spool_message *message, const struct spool_recipient *recipient, time_t now);

#endif
