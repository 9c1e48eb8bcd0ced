/*
 * probe.c - is DNSSEC working here at all? (R-DNS-37)
 *
 * An attempt asks one or two names in a context of its own, made afresh and thrown away, because a
 * cache, ours or the library's of failed keys, would answer for the network. What an attempt finds
 * is one of three: working, insecure, failed; judge() alone turns that into the state. All waiting
 * is one timer. Called by policy/ and proxy/main.c.
 */
#include "dnsval/probe.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/timer.h"
#include "dnsval/anchor.h"
#include "dnsval/context.h"
#include "dnsval/lookup.h"

#include <ev.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Three failed tries are 3 x 16 s and two pauses, or less: within 60 s. Broken: from start to
 * start. */
enum { TRIES = 3 };

static const double try_timeout = 16;
static const double retry_pause = 5;
static const double broken_interval = 15;
static const double working_interval = 3600;

enum finding { FOUND_WORKING, FOUND_INSECURE, FOUND_FAILED };

struct probe_wait {
	LIST_ENTRY(probe_wait) entry;
	struct probe *probe;
	ev_timer turn; /* never started, only fed */
	probe_wait_fn *callback;
	void *arg;
};

struct probe {
	struct ev_loop *loop;
	const struct conf *conf;
	struct anchors *anchors;
	enum probe_state state;
	char why[512];
	unsigned failures; /* in a row */
	ev_timer timer;    /* until the next attempt */
	ev_tstamp started;
	struct context *context; /* of the attempt under way */
	struct lookup *lookup;
	probe_watch_fn *watch;
	void *watch_arg;
	LIST_HEAD(, probe_wait) waits;
};

/* ---- who waits ---- */

static void on_turn(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct probe_wait *wait = w->data;
	probe_wait_fn *callback = wait->callback;
	void *arg = wait->arg;
	enum probe_state state = wait->probe->state;

	(void)loop, (void)revents;
	LIST_REMOVE(wait, entry);
	free(wait);
	callback(state, arg);
}

static void tell(struct probe *probe)
{
	struct probe_wait *wait;

	LIST_FOREACH(wait, &probe->waits, entry)
	ev_feed_event(probe->loop, &wait->turn, EV_CUSTOM);
	if (probe->watch)
		probe->watch(probe->state, probe->watch_arg);
}

struct probe_wait *probe_wait_start(struct probe *probe, probe_wait_fn *callback, void *arg)
{
	struct probe_wait *wait = mem_zero(1, sizeof *wait);

	wait->probe = probe;
	wait->callback = callback;
	wait->arg = arg;
	ev_init(&wait->turn, on_turn);
	wait->turn.data = wait;
	LIST_INSERT_HEAD(&probe->waits, wait, entry);
	if (probe->state != PROBE_PENDING)
		ev_feed_event(probe->loop, &wait->turn, EV_CUSTOM);
	return wait;
}

void probe_wait_cancel(struct probe_wait **wait)
{
	if (!*wait)
		return;
	ev_clear_pending((*wait)->probe->loop, &(*wait)->turn);
	LIST_REMOVE(*wait, entry);
	free(*wait);
	*wait = NULL;
}

void probe_watch(struct probe *probe, probe_watch_fn *callback, void *arg)
{
	probe->watch = callback;
	probe->watch_arg = arg;
}

/* ---- what was found, and what it means ---- */

/* The only writer of the state. */
static void enter(struct probe *probe, enum probe_state state)
{
	if (state == probe->state)
		return;
	probe->state = state;
	if (state == PROBE_WORKING)
		log_info("DNSSEC works: %s %s is secure", probe->conf->dns.probe_name,
		    dns_type_name(probe->conf->dns.probe_type));
	else
		log_error(
		    "DNSSEC does not work: %s; destinations under dane are deferred", probe->why);
	tell(probe);
}

/* Who gives a lookup only a second should not have mail wait longer for a verdict either. */
static double within_timeout(const struct probe *probe, double seconds)
{
	double own = probe->conf->dns.timeout;

	return own < seconds ? own : seconds;
}

static double wait_after(const struct probe *probe)
{
	double since_start = ev_time() - probe->started;

	if (probe->state == PROBE_BROKEN)
		return since_start > 0 && since_start < broken_interval
			   ? broken_interval - since_start
			   : 0;
	return probe->failures > 0 ? within_timeout(probe, retry_pause) : working_interval;
}

/* An unproven resolver proves nothing absent; but one lost packet is not worth deferring all mail.
 */
static void judge(struct probe *probe, enum finding finding)
{
	probe->failures = finding == FOUND_FAILED ? probe->failures + 1 : 0;
	if (finding == FOUND_WORKING)
		enter(probe, PROBE_WORKING);
	else if (finding == FOUND_INSECURE || probe->failures >= TRIES)
		enter(probe, PROBE_BROKEN);
}

static void conclude(struct probe *probe, enum finding finding, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void conclude(struct probe *probe, enum finding finding, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(probe->why, sizeof probe->why, format, args);
	va_end(args);
	context_free(&probe->context);
	/* The first word comes at the first failure, the verdict only after the last. */
	if (finding == FOUND_FAILED && probe->state != PROBE_BROKEN)
		log_warning("DNSSEC probe failed, trying again: %s", probe->why);
	judge(probe, finding);
	timer_start(probe->loop, &probe->timer, wait_after(probe));
}

/* ---- an attempt ---- */

static void ask(struct probe *probe, const char *name, enum dns_type type, lookup_fn *callback)
{
	probe->lookup = lookup_start(
	    probe->context, name, type, within_timeout(probe, try_timeout), callback, probe);
}

/* Timed out is failed, too: what must not happen is that it is believed. */
static void on_bogus_answer(const struct dns_answer *answer, void *arg)
{
	struct probe *probe = arg;

	probe->lookup = NULL;
	if (answer->state == DNS_FAILED)
		conclude(probe, FOUND_WORKING, "%s", "");
	else
		conclude(probe, FOUND_INSECURE,
		    "%s must fail validation ([dns] dnssec_probe_bogus), and is %s: forged "
		    "answers would be believed",
		    answer->question, dns_state_name(answer->state));
}

static void on_secure(struct probe *probe)
{
	const char *bogus = probe->conf->dns.probe_bogus;

	if (bogus && bogus[0])
		ask(probe, bogus, DNS_A, on_bogus_answer);
	else
		conclude(probe, FOUND_WORKING, "%s", "");
}

static void on_answer(const struct dns_answer *answer, void *arg)
{
	struct probe *probe = arg;
	const char *type = dns_type_name(answer->type);

	probe->lookup = NULL;
	switch (answer->state) {
	case DNS_SECURE:
		on_secure(probe);
		break;
	case DNS_INSECURE:
		conclude(probe, FOUND_INSECURE,
		    "%s %s is insecure, no trust anchor of %s covers it; check [dns] "
		    "trust_anchor",
		    answer->question, type, probe->anchors->source);
		break;
	case DNS_FAILED:
		conclude(probe, FOUND_FAILED,
		    "%s %s: %s; check the network, [dns] forward, [dns] trust_anchor and the "
		    "clock",
		    answer->question, type, answer->why);
		break;
	}
}

/* Keys that cannot be read again leave those in use. */
static bool load_anchors(struct probe *probe, char **error)
{
	char *unread = NULL;

	if (probe->anchors)
		anchors_refresh(&probe->anchors, probe->conf, &unread);
	else
		probe->anchors = anchors_load(probe->conf, error);
	if (unread)
		log_debug("%s; the keys in use stay", unread);
	free(unread);
	return probe->anchors;
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct probe *probe = w->data;
	char *error = NULL;

	(void)revents;
	probe->started = ev_time();
	if (load_anchors(probe, &error))
		probe->context = context_new(loop, probe->conf, probe->anchors, &error);
	if (probe->context)
		ask(probe, probe->conf->dns.probe_name, probe->conf->dns.probe_type, on_answer);
	else
		conclude(probe, FOUND_FAILED, "%s", error);
	free(error);
}

/* ---- */

struct probe *probe_new(struct ev_loop *loop, const struct conf *conf)
{
	struct probe *probe = mem_zero(1, sizeof *probe);

	probe->loop = loop;
	probe->conf = conf;
	LIST_INIT(&probe->waits);
	ev_timer_init(&probe->timer, on_timer, 0., 0.);
	probe->timer.data = probe;
	if (!conf->dns.probe_name || !conf->dns.probe_name[0]) {
		probe->state = PROBE_WORKING;
		return probe;
	}
	ev_timer_start(loop, &probe->timer);
	return probe;
}

void probe_free(struct probe **probe)
{
	struct probe_wait *wait;

	if (!*probe)
		return;
	while ((wait = LIST_FIRST(&(*probe)->waits)))
		probe_wait_cancel(&wait);
	ev_timer_stop((*probe)->loop, &(*probe)->timer);
	lookup_cancel(&(*probe)->lookup);
	context_free(&(*probe)->context);
	anchors_free(&(*probe)->anchors);
	free(*probe);
	*probe = NULL;
}

enum probe_state probe_state(const struct probe *probe) { return probe->state; }

const char *probe_why(const struct probe *probe)
{
	return probe->state == PROBE_BROKEN ? probe->why : "";
}
