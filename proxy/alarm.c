/*
 * alarm.c - see alarm.h.
 */
#include "proxy/alarm.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "policy/reason.h"
#include "proxy/machine.h"
#include "proxy/metrics.h"
#include "proxy/middlebox.h"
#include "proxy/spool/spool.h"
#include "tls/ctx.h"

#include <ev.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const double interval = 1;

struct alarms {
	struct machine *machine;
	ev_timer look;
};

/* ---- one of them ---- */

static bool is_on[METRICS_ALARMS];
static bool is_spokesman; /* what every worker finds is told by one */

/* The end is told as loudly as the beginning, to whoever watches errors alone. */
static void tell(enum metrics_alarm alarm, const char *why, const char *hosts)
{
	struct log_line line;

	log_begin(&line, LOG_LEVEL_ERROR, "alarm");
	log_value(&line, "what", metrics_alarm_name(alarm));
	log_value(&line, "state", is_on[alarm] ? "on" : "off");
	log_value(&line, "why", why);
	if (hosts) {
		log_value(&line, "reason", reason_code(REASON_MIDDLEBOX));
		log_value(&line, "hosts", hosts);
	}
	log_end(&line);
}

/* why "": nothing is wrong (any more). hosts: NULL, or who is concerned. */
static void set(enum metrics_alarm alarm, const char *why, const char *hosts)
{
	bool was_on = is_on[alarm];

	is_on[alarm] = why[0];
	metrics_set_alarm(alarm, is_on[alarm]);
	if (was_on != is_on[alarm] && (is_spokesman || alarm == ALARM_MIDDLEBOX))
		tell(alarm, why, hosts);
}

void alarm_on_anchor(const char *why, void *arg)
{
	(void)arg;
	set(ALARM_ANCHOR, why, NULL);
}

/* ---- what is looked at ---- */

static void look_at_ca_file(struct machine *m)
{
	const char *trouble = tls_contexts_refresh_ca(m->proxy.tls);
	bool is_in_use = !tls_contexts_ca_error(m->proxy.tls)[0];
	char why[512];

	snprintf(why, sizeof why, "%s%s", trouble,
	    !trouble[0] ? ""
	    : is_in_use ? ": the one that was read before stays in use, until danelaw is restarted"
			: ": no MTA-STS policy can be fetched, and destinations under one that "
			  "enforces or under level secure are refused until it is there");
	set(ALARM_CA_MISSING, why, NULL);
}

static void look_at_disk(struct machine *m)
{
	char why[SPOOL_WHY];

	metrics_set_spool_messages(spool_count(m->proxy.spool));
	set(ALARM_DISK, spool_is_ready(m->proxy.spool, why) ? "" : why, NULL);
}

static void look_at_next_hops(struct machine *m)
{
	struct middlebox_verdict verdict;
	char why[256] = "";

	middlebox_judge(m->proxy.middlebox, clock_steady(), &verdict);
	if (verdict.is_suspected)
		snprintf(why, sizeof why,
		    "%zu of %zu MX hosts that are known to offer STARTTLS did not within the last "
		    "10 minutes: something on this host's way to the Internet takes it out (a "
		    "firewall's SMTP inspection?)",
		    verdict.lacking, verdict.greeted);
	set(ALARM_MIDDLEBOX, why, verdict.is_suspected ? verdict.hosts : NULL);
}

static void on_time_to_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct alarms *a = w->data;

	(void)loop, (void)revents;
	look_at_ca_file(a->machine);
	look_at_disk(a->machine);
	look_at_next_hops(a->machine);
}

/* ---- beginning and end ---- */

struct alarms *alarms_new(struct machine *machine)
{
	struct alarms *a = mem_zero(1, sizeof *a);

	a->machine = machine;
	is_spokesman = machine->proxy.is_spokesman;
	ev_timer_init(&a->look, on_time_to_look, 0., interval);
	a->look.data = a;
	ev_timer_start(machine->proxy.loop, &a->look);
	return a;
}

void alarms_free(struct alarms **alarms)
{
	if (!*alarms)
		return;
	ev_timer_stop((*alarms)->machine->proxy.loop, &(*alarms)->look);
	free(*alarms);
	*alarms = NULL;
}
