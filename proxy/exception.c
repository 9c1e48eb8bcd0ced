/*
 * exception.c - see exception.h.
 */
#include "proxy/exception.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "policy/policy.h"
#include "proxy/approach.h"
#include "proxy/proxy.h"
#include "proxy/smtp/smtp_client.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

/* Of the wall clock: a machine that sleeps at night has slept a day, too. */
enum {
	FIRST = 5 * MINUTE,
	FIRST_SPREAD = 10 * MINUTE,
	AGAIN = DAY - HOUR,
	AGAIN_SPREAD = 2 * HOUR,
	AGAIN_UNKNOWN = HOUR,
	NOTICE = 7 * DAY, /* before it ends */
};
static const double interval = 2;

struct review {
	const struct conf_domain *section;
	struct conf_policy without; /* what would apply to the destination */
	time_t due;
};

struct exceptions {
	struct proxy *proxy;
	ev_timer timer;
	size_t count;
	struct review *reviews;
	struct review *current; /* the approach is for it */
	struct approach *approach;
};

/* ---- the line ---- */

static void until_text(const struct conf_domain *section, char out[sizeof "2027-01-31"])
{
	struct tm tm;

	out[0] = '\0';
	/* The section ends with its last day: the second before is of that day. */
	if (section->until && gmtime_r(&(time_t){section->until - 1}, &tm))
		strftime(out, sizeof "2027-01-31", "%Y-%m-%d", &tm);
}

static void begin_line(struct log_line *line, enum log_level level, const char *session,
    const char *domain, const struct conf_domain *section)
{
	char until[sizeof "2027-01-31"];

	until_text(section, until);
	log_begin(line, level, "exception");
	log_value(line, "session", session);
	log_value(line, "domain", domain);
	log_value(line, "level", conf_level_name(section->policy.level));
	log_value(line, "enforce", section->policy.enforce ? "yes" : "no");
	log_value(line, "until", until);
	log_value(line, "reason", section->reason);
}

/* It appears at each use, with its reason and its end, so that nobody forgets it. */
void exception_log_use(const char *session, const char *domain, const struct conf_domain *section,
    const struct conf_policy *defaults)
{
	struct log_line line;

	if (!section || !(section->until || (section->reason && section->reason[0]) ||
			    conf_policy_is_weaker(&section->policy, defaults)))
		return;
	begin_line(&line, LOG_LEVEL_WARNING, session, domain, section);
	log_end(&line);
}

/* ---- what a review comes to ---- */

static void tell(const struct conf_domain *section, const char *needed, const char *why)
{
	bool is_superfluous = needed[0] == 'n';
	struct log_line line;

	begin_line(&line, is_superfluous ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, NULL, section->name,
	    section);
	log_value(&line, "needed", needed);
	log_value(&line, "why", why);
	log_end(&line);
}

static void tell_ready(const struct review *review, const struct approach_result *result)
{
	const struct tls_proof *proof = smtp_client_proof(result->client);
	char why[512];

	snprintf(why, sizeof why,
	    "without this section mail would be delivered to %s (policy=%s, %s): it can be removed",
	    smtp_client_name(result->client), result->route->policy_label,
	    !proof             ? "in clear, as nothing is published that asks for TLS"
	    : !proof->verified ? "encrypted, as nothing is published that asks for a proof"
	    : result->route->secures_domain ? "verified"
					    : "encrypted");
	tell(review->section, "no", why);
}

/* A host that is down shows nothing; DNS that fails is what an exception may be for: weaker levels
 * ask less of it. */
static bool is_known(enum reason reason)
{
	return reason_is_tls(reason) || reason == REASON_DNS_BOGUS || reason == REASON_DNS_FAILED;
}

static void tell_refused(const struct review *review, const struct refusal *refusal)
{
	char why[sizeof refusal->text + 64];

	snprintf(why, sizeof why, "%s: %s", reason_code(refusal->reason), refusal->text);
	tell(review->section, is_known(refusal->reason) ? "yes" : "unknown", why);
}

/* ---- a review ---- */

static unsigned random_below(unsigned limit)
{
	unsigned number = 0;

	/* Without chance they all come at once, which is no harm either. */
	if (getrandom(&number, sizeof number, 0) != sizeof number)
		return 0;
	return number % limit;
}

static void on_approach(struct approach_result *result, void *arg)
{
	struct exceptions *e = arg;
	struct review *review = e->current;

	e->approach = NULL;
	e->current = NULL;
	if (result->client)
		tell_ready(review, result);
	else
		tell_refused(review, &result->refusal);
	if (!result->client && !is_known(result->refusal.reason))
		review->due = clock_wall() + AGAIN_UNKNOWN;
	approach_result_release(result);
	ev_feed_event(e->proxy->loop, &e->timer, EV_TIMER); /* the next one */
}

/* At the modest end of the pool, on a connection of its own: mail goes first. */
static void approach(struct exceptions *e, struct review *review)
{
	struct approach_task task = {
	    .domain = review->section->name,
	    .how = APPROACH_ANEW,
	    .want = POOL_MODEST,
	    .session = "review",
	    .policy = &review->without,
	};

	e->current = review;
	e->approach = approach_start(e->proxy, &task, on_approach, e);
}

/* A name with a dot before it stands for many destinations, an address for none that publishes. */
static bool can_be_reviewed(const struct review *review, const struct conf_policy *defaults)
{
	const struct conf_domain *section = review->section;
	struct addr address;

	return !section->below && !addr_parse_ip(&address, section->name, 25) &&
	       conf_policy_is_weaker(&section->policy, defaults);
}

static void warn_of_end(const struct conf_domain *section, time_t now)
{
	char until[sizeof "2027-01-31"];

	until_text(section, until);
	if (now >= section->until)
		log_warning("[domain %s%s] ended on %s and no longer applies",
		    section->below ? "." : "", section->name, until);
	else if (section->until - now <= NOTICE)
		log_warning(
		    "[domain %s%s] ends on %s", section->below ? "." : "", section->name, until);
}

static void begin(struct exceptions *e, struct review *review, time_t now)
{
	const struct conf_domain *section = review->section;

	review->due = now + AGAIN + random_below(AGAIN_SPREAD);
	if (section->until)
		warn_of_end(section, now);
	if ((!section->until || now < section->until) &&
	    can_be_reviewed(review, &e->proxy->conf->policy))
		approach(e, review);
}

/* A clock that was set back would put all off for as long. */
static bool is_due(const struct review *review, time_t now)
{
	return now >= review->due || review->due - now > AGAIN + AGAIN_SPREAD;
}

static void on_time_to_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct exceptions *e = w->data;
	time_t now = clock_wall();

	(void)loop, (void)revents;
	for (size_t i = 0; i < e->count && !e->approach && !e->proxy->shutting_down; i++)
		if (is_due(&e->reviews[i], now))
			begin(e, &e->reviews[i], now);
}

/* ---- beginning and end ---- */

/* The way stays the section's, what must be proven on it is [policy]'s; a report is no refusal. */
static struct conf_policy policy_without(
    const struct conf_domain *section, const struct conf_policy *defaults)
{
	struct conf_policy policy = section->policy;

	policy.level = defaults->level;
	policy.insecure_mx = defaults->insecure_mx;
	policy.fallback = defaults->fallback;
	policy.mta_sts = defaults->mta_sts;
	policy.min_tls = defaults->min_tls;
	policy.enforce = true;
	return policy;
}

static void add(struct exceptions *e, const struct conf_domain *section)
{
	const struct conf_policy *defaults = &e->proxy->conf->policy;

	if (!section->until && !conf_policy_is_weaker(&section->policy, defaults))
		return;
	e->reviews[e->count++] = (struct review){
	    .section = section,
	    .without = policy_without(section, defaults),
	    .due = clock_wall() + FIRST + random_below(FIRST_SPREAD),
	};
}

struct exceptions *exceptions_new(struct proxy *proxy)
{
	struct exceptions *e = mem_zero(1, sizeof *e);

	e->proxy = proxy;
	e->reviews = mem_zero(proxy->conf->domain_count, sizeof *e->reviews);
	for (size_t i = 0; i < proxy->conf->domain_count; i++)
		add(e, &proxy->conf->domains[i]);
	ev_timer_init(&e->timer, on_time_to_look, interval, interval);
	e->timer.data = e;
	if (e->count)
		ev_timer_start(proxy->loop, &e->timer);
	return e;
}

void exceptions_free(struct exceptions **exceptions)
{
	struct exceptions *e = *exceptions;

	*exceptions = NULL;
	if (!e)
		return;
	approach_cancel(&e->approach);
	ev_timer_stop(e->proxy->loop, &e->timer);
	ev_clear_pending(e->proxy->loop, &e->timer);
	free(e->reviews);
	free(e);
}
