/*
 * alarm.h - what the operator must act upon: danelaw_alarm{what}, and a line of the log at error
 * when one begins and when it ends (interface section 5).
 *
 * Nothing here changes what becomes of mail. Owner: serve.
 */
#ifndef PROXY_ALARM_H
#define PROXY_ALARM_H

struct alarms;
struct machine;

/* Begins to look, at once and every second: the CA file, the disk of the spool, STARTTLS
 * vanishing on the way. machine must outlive it. */
struct alarms *alarms_new(struct machine *machine);
void alarms_free(struct alarms **alarms); /* NULL inside is welcome */

/* A resolver_anchor_fn: the trust anchor. */
void alarm_on_anchor(const char *why, void *arg);

#endif
