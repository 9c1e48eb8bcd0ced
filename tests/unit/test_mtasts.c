/*
 * test_mtasts.c - policy/mtasts.h: who waits for what, what applies when something fails, what is
 * refreshed, kept and given up. Resolver, fetcher, store and clock are fakes below.
 */
#include "policy/mtasts.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "dnsval/resolver.h"
#include "policy/fetch.h"
#include "policy/store.h"
#include "policy/sts_cache.h"
#include "policy/sts_setbacks.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { DAY = 86400, WEEK = 7 * DAY, NOON = 1900000000 };

static struct ev_loop *loop;
static struct conf conf;
static struct mtasts *mtasts;

/* ---- fake: clock ---- */

static time_t wall;
static double steady;

time_t clock_wall(void) { return wall; }
double clock_steady(void) { return steady; }

static void pass(time_t seconds)
{
	wall += seconds;
	steady += (double)seconds;
}

/* ---- fake: resolver ---- */

static struct {
	enum dns_state state;
	bool bogus, nxdomain;
	size_t count;
	const char *texts[2];
	size_t asked;
	char question[DOMAIN_SIZE];
} txt;

struct dns_query {
	dns_query_fn *callback;
	void *arg;
	ev_timer timer;
};

static void deliver(struct ev_loop *l, ev_timer *timer, int events)
{
	struct dns_query *query = timer->data;
	struct dns_text texts[2];
	struct dns_answer answer = {.type = DNS_TXT,
	    .state = txt.state,
	    .bogus = txt.bogus,
	    .nxdomain = txt.nxdomain,
	    .count = txt.count,
	    .text = texts,
	    .why = "SERVFAIL"};
	dns_query_fn *callback = query->callback;
	void *arg = query->arg;

	(void)l, (void)events;
	for (size_t i = 0; i < txt.count; i++)
		texts[i] = (struct dns_text){strlen(txt.texts[i]), txt.texts[i]};
	free(query);
	callback(&answer, arg);
	memset(texts, 0x5a, sizeof texts);
}

struct dns_query *dns_query_start(struct resolver *resolver, const char *name, enum dns_type type,
    dns_query_fn *callback, void *arg)
{
	struct dns_query *query = mem_zero(1, sizeof *query);

	(void)resolver;
	assert_int_equal(type, DNS_TXT);
	txt.asked++;
	snprintf(txt.question, sizeof txt.question, "%s", name);
	query->callback = callback;
	query->arg = arg;
	ev_timer_init(&query->timer, deliver, 0, 0);
	query->timer.data = query;
	ev_timer_start(loop, &query->timer);
	return query;
}

void dns_query_cancel(struct dns_query **query)
{
	if (!*query)
		return;
	ev_timer_stop(loop, &(*query)->timer);
	free(*query);
	*query = NULL;
}

static void publish(const char *text)
{
	txt.state = DNS_INSECURE;
	txt.bogus = txt.nxdomain = false;
	txt.count = text ? 1 : 0;
	txt.texts[0] = text;
}

static void publish_id(const char *id)
{
	static char text[64];

	snprintf(text, sizeof text, "v=STSv1; id=%s;", id);
	publish(text);
}

static void break_dns(bool bogus)
{
	publish(NULL);
	txt.state = DNS_FAILED;
	txt.bogus = bogus;
}

/* ---- fake: fetcher ---- */

enum { FETCHES_MAX = 64 };

struct fetch {
	char domain[DOMAIN_SIZE];
	double timeout;
	fetch_fn *callback;
	void *arg;
};

static struct fetch *flying[FETCHES_MAX];
static size_t flying_count, fetched_count;
static double last_timeout;

struct fetch *fetch_start(
    struct fetcher *fetcher, const char *domain, double timeout, fetch_fn *callback, void *arg)
{
	struct fetch *fetch = mem_zero(1, sizeof *fetch);

	(void)fetcher;
	snprintf(fetch->domain, sizeof fetch->domain, "%s", domain);
	fetch->timeout = last_timeout = timeout;
	fetch->callback = callback;
	fetch->arg = arg;
	fetched_count++;
	assert_true(flying_count < FETCHES_MAX);
	flying[flying_count++] = fetch;
	return fetch;
}

static void take_off_list(const struct fetch *fetch)
{
	for (size_t i = 0; i < flying_count; i++)
		if (flying[i] == fetch)
			flying[i] = flying[--flying_count];
}

void fetch_cancel(struct fetch **fetch)
{
	if (!*fetch)
		return;
	take_off_list(*fetch);
	free(*fetch);
	*fetch = NULL;
}

/* The oldest fetch ends. */
static void land(enum fetch_outcome outcome, const char *text)
{
	assert_true(flying_count > 0);
	struct fetch *fetch = flying[0];
	struct fetch_result result = {.outcome = outcome};
	fetch_fn *callback = fetch->callback;
	void *arg = fetch->arg;
	char *body = mem_strdup(text);

	if (outcome == FETCH_OK) {
		result.body = body;
		result.len = strlen(body);
	} else {
		snprintf(result.why, sizeof result.why, "%s", text);
	}
	take_off_list(fetch);
	free(fetch);
	callback(&result, arg);
	free(body);
}

static const char *body_of(const char *mode, long max_age)
{
	static char text[256];

	snprintf(text, sizeof text,
	    "version: STSv1\r\nmode: %s\r\nmx: mx.example.org\r\nmax_age: %ld\r\n", mode, max_age);
	return text;
}

/* ---- fake: store ---- */

static struct sts_entry stored[4];
static size_t stored_count;
static char journal[4096];

static void write_down(const char *what, const char *domain, const char *rest)
{
	size_t len = strlen(journal);

	snprintf(journal + len, sizeof journal - len, "%s %s%s;", what, domain, rest);
}

void store_load(struct store *store, store_entry_fn *each, void *arg)
{
	(void)store;
	for (size_t i = 0; i < stored_count; i++)
		each(&stored[i], arg);
}

void store_put(struct store *store, const struct sts_entry *entry)
{
	char rest[64];

	(void)store;
	snprintf(rest, sizeof rest, " %s %s", entry->id, sts_mode_name(entry->policy.mode));
	write_down("put", entry->domain, rest);
}

void store_delete(struct store *store, const char *domain)
{
	(void)store;
	write_down("delete", domain, "");
}

static char *pattern = (char *)"mx.example.org";

static void store_has(
    const char *domain, const char *id, enum sts_mode mode, time_t fetched, uint32_t max_age)
{
	struct sts_entry *entry = &stored[stored_count++];

	*entry = (struct sts_entry){
	    .policy = {.mode = mode, .max_age = max_age, .mx_count = 1, .mx = &pattern},
	    .fetched = fetched,
	    .expires = fetched + max_age,
	    .used = wall - wall % DAY};
	snprintf(entry->domain, sizeof entry->domain, "%s", domain);
	snprintf(entry->id, sizeof entry->id, "%s", id);
}

/* ---- asking ---- */

struct asked {
	struct sts_lookup *lookup;
	struct sts_answer *answer;
	unsigned called;
};

static void on_sts(struct sts_answer *answer, void *arg)
{
	struct asked *asked = arg;

	asked->called++;
	asked->lookup = NULL;
	asked->answer = answer;
}

static void turn(void)
{
	for (int i = 0; i < 3; i++)
		ev_run(loop, EVRUN_NOWAIT);
}

static void on_over(struct ev_loop *l, ev_timer *timer, int events)
{
	(void)timer, (void)events;
	ev_break(l, EVBREAK_ALL);
}

static void run_for(double seconds)
{
	ev_timer over;

	ev_now_update(loop);
	ev_timer_init(&over, on_over, seconds, 0.);
	ev_timer_start(loop, &over);
	ev_run(loop, 0);
	ev_timer_stop(loop, &over);
}

static void await_flight(void)
{
	for (int i = 0; i < 200 && !flying_count; i++)
		run_for(0.05);
	assert_int_equal(flying_count, 1);
}

static void await_answer(const struct asked *asked)
{
	for (int i = 0; i < 200 && !asked->called; i++)
		run_for(0.05);
}

static void ask(struct asked *asked, const char *domain)
{
	memset(asked, 0, sizeof *asked);
	asked->lookup = sts_lookup_start(mtasts, domain, on_sts, asked);
	assert_int_equal(asked->called, 0); /* never from inside */
	turn();
}

static void expect(struct asked *asked, enum sts_state state, enum reason notice)
{
	assert_int_equal(asked->called, 1);
	assert_int_equal(asked->answer->state, state);
	assert_int_equal(asked->answer->notice.reason, notice);
	if (state == STS_POLICY)
		assert_true(sts_policy_matches(&asked->answer->policy, "mx.example.org"));
	sts_answer_free(&asked->answer);
}

static void expect_waiting(const struct asked *asked) { assert_int_equal(asked->called, 0); }

static void ask_and_expect(const char *domain, enum sts_state state, enum reason notice)
{
	struct asked asked;

	ask(&asked, domain);
	expect(&asked, state, notice);
}

/* A first contact that goes well. */
static void cache(const char *domain, const char *id, const char *mode, long max_age)
{
	struct asked asked;

	publish_id(id);
	ask(&asked, domain);
	expect_waiting(&asked);
	land(FETCH_OK, body_of(mode, max_age));
	expect(&asked, strcmp(mode, "none") ? STS_POLICY : STS_ABSENT, REASON_NONE);
}

static void start(void) { mtasts = mtasts_new(loop, &conf, NULL, NULL, NULL); }

static int set_up(void **state)
{
	(void)state;
	loop = ev_loop_new(EVFLAG_AUTO);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	memset(&conf, 0, sizeof conf);
	conf.mta_sts.fetch_timeout = 20;
	memset(&txt, 0, sizeof txt);
	publish(NULL);
	journal[0] = '\0';
	stored_count = flying_count = fetched_count = 0;
	wall = NOON;
	steady = 1000;
	return 0;
}

static int set_up_started(void **state)
{
	set_up(state);
	start();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mtasts_free(&mtasts);
	assert_int_equal(flying_count, 0);
	reap_now();
	ev_loop_destroy(loop);
	return 0;
}

/* ---- discovery ---- */

static void no_record(void **state)
{
	(void)state;
	ask_and_expect("example.org", STS_ABSENT, REASON_NONE);
	assert_string_equal(txt.question, "_mta-sts.example.org");
	txt.nxdomain = true;
	ask_and_expect("example.org", STS_ABSENT, REASON_NONE);
	assert_int_equal(fetched_count, 0);
}

static void failed_record(void **state)
{
	static const struct {
		bool bogus;
		enum reason reason;
	} cases[] = {{false, REASON_DNS_FAILED}, {true, REASON_DNS_BOGUS}};
	struct asked asked;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		break_dns(cases[i].bogus);
		ask(&asked, "example.org");
		assert_int_equal(asked.answer->refusal.reason, cases[i].reason);
		expect(&asked, STS_DEFER, REASON_NONE);
	}
	assert_int_equal(fetched_count, 0);
}

static void invalid_record(void **state)
{
	(void)state;
	publish("v=STSv1; id=a-b;");
	ask_and_expect("example.org", STS_ABSENT, REASON_STS_POLICY_INVALID);
	publish_id("1");
	txt.texts[1] = "v=STSv1; id=2;";
	txt.count = 2;
	ask_and_expect("example.org", STS_ABSENT, REASON_STS_POLICY_INVALID);
	assert_int_equal(fetched_count, 0);
}

/* "_mta-sts." would not fit before it: nothing can be there, and that is no failure. */
static void long_domain(void **state)
{
	char domain[DOMAIN_SIZE];

	(void)state;
	for (size_t i = 0; i < 250; i++)
		domain[i] = i % 50 == 49 ? '.' : 'a';
	domain[250] = '\0';
	break_dns(false);
	ask_and_expect(domain, STS_ABSENT, REASON_NONE);
	assert_int_equal(txt.asked, 0);
}

/* ---- first contact ---- */

static void first_contact(void **state)
{
	struct asked asked;

	(void)state;
	publish_id("1");
	ask(&asked, "example.org");
	expect_waiting(&asked);
	assert_true(last_timeout == 20);
	land(FETCH_OK, body_of("enforce", WEEK));
	expect(&asked, STS_POLICY, REASON_NONE);
	assert_string_equal(journal, "put example.org 1 enforce;");
	ask_and_expect("example.org", STS_POLICY, REASON_NONE); /* and now from memory */
	assert_int_equal(fetched_count, 1);
}

static void first_contact_fails(void **state)
{
	static const struct {
		enum fetch_outcome outcome;
		const char *text;
		enum reason notice;
	} cases[] = {
	    {FETCH_FAILED, "404", REASON_STS_FETCH},
	    {FETCH_CERTIFICATE, "expired", REASON_STS_FETCH},
	    {FETCH_OK, "version: STSv2", REASON_STS_POLICY_INVALID},
	};
	struct asked asked;
	char domain[32];

	(void)state;
	publish_id("1");
	for (size_t i = 0; i < 2 * COUNT(cases); i++) {
		bool defer = i >= COUNT(cases);

		conf.mta_sts.first_contact_defer = defer;
		snprintf(domain, sizeof domain, "d%zu.example", i);
		ask(&asked, domain);
		land(cases[i % COUNT(cases)].outcome, cases[i % COUNT(cases)].text);
		if (defer)
			assert_int_equal(asked.answer->refusal.reason, REASON_STS_FETCH);
		expect(&asked, defer ? STS_DEFER : STS_ABSENT,
		    defer ? REASON_NONE : cases[i % COUNT(cases)].notice);
	}
	assert_string_equal(journal, "");
}

/* The client waits no longer than fetch_timeout, and the fetch goes on. */
static void patience(void **state)
{
	struct asked asked;

	(void)state;
	conf.mta_sts.fetch_timeout = 0.5;
	publish_id("1");
	ask(&asked, "example.org");
	expect_waiting(&asked);
	await_answer(&asked);
	expect(&asked, STS_ABSENT, REASON_STS_FETCH);
	land(FETCH_OK, body_of("enforce", WEEK));
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	assert_int_equal(fetched_count, 1);
}

static void shared_fetch(void **state)
{
	struct asked all[10];

	(void)state;
	publish_id("1");
	for (size_t i = 0; i < COUNT(all); i++)
		ask(&all[i], "example.org");
	assert_int_equal(fetched_count, 1);
	sts_lookup_cancel(&all[3].lookup);
	land(FETCH_OK, body_of("testing", WEEK));
	for (size_t i = 0; i < COUNT(all); i++)
		if (i != 3)
			expect(&all[i], STS_POLICY, REASON_NONE);
	assert_int_equal(all[3].called, 0);
}

static void asker_leaves(void **state)
{
	struct asked asked;

	(void)state;
	publish_id("1");
	ask(&asked, "example.org");
	sts_lookup_cancel(&asked.lookup);
	sts_lookup_cancel(&asked.lookup);
	land(FETCH_OK, body_of("enforce", WEEK));
	assert_int_equal(asked.called, 0);
	assert_string_equal(journal, "put example.org 1 enforce;");
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	assert_int_equal(fetched_count, 1);
}

static void cancel_while_asking_dns(void **state)
{
	struct asked asked = {0};

	(void)state;
	publish_id("1");
	asked.lookup = sts_lookup_start(mtasts, "example.org", on_sts, &asked);
	sts_lookup_cancel(&asked.lookup);
	turn();
	assert_int_equal(asked.called + fetched_count, 0);
}

/* One callback cancels the next of the same fetch, and asks anew. */
static struct asked second, third;

static void on_first(struct sts_answer *answer, void *arg)
{
	(void)arg;
	sts_answer_free(&answer);
	sts_lookup_cancel(&second.lookup);
	third.lookup = sts_lookup_start(mtasts, "example.org", on_sts, &third);
}

static void callbacks_act(void **state)
{
	(void)state;
	publish_id("1");
	memset(&third, 0, sizeof third);
	sts_lookup_start(mtasts, "example.org", on_first, NULL);
	ask(&second, "example.org");
	land(FETCH_FAILED, "404");
	turn();
	assert_int_equal(second.called, 0);
	expect(&third, STS_ABSENT, REASON_STS_FETCH);
	assert_int_equal(fetched_count, 1);
}

static void freed_under_way(void **state)
{
	struct asked asked;

	(void)state;
	publish_id("1");
	ask(&asked, "example.org");
	sts_lookup_start(mtasts, "example.net", on_sts, &asked);
	mtasts_free(&mtasts);
	turn();
	assert_int_equal(asked.called, 0);
}

/* ---- a cached policy ---- */

static void cached_without_record(void **state)
{
	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	publish(NULL);
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	txt.nxdomain = true;
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	break_dns(false);
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	break_dns(true);
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	publish("v=STSv1; id=;");
	ask_and_expect("example.org", STS_POLICY, REASON_STS_POLICY_INVALID);
	assert_int_equal(fetched_count, 1);
}

static void modes(void **state)
{
	(void)state;
	cache("none.example", "1", "none", WEEK);
	ask_and_expect("none.example", STS_ABSENT, REASON_NONE);
	cache("testing.example", "1", "testing", WEEK);
	ask_and_expect("testing.example", STS_POLICY, REASON_NONE);
	assert_int_equal(fetched_count, 2);
}

static void changed_id(void **state)
{
	struct asked asked;

	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	pass(STS_PAUSE_LEAST);
	publish_id("2");
	ask(&asked, "example.org");
	expect_waiting(&asked);
	land(FETCH_OK, body_of("none", WEEK)); /* whatever its mode */
	expect(&asked, STS_ABSENT, REASON_NONE);
	ask_and_expect("example.org", STS_ABSENT, REASON_NONE);
	assert_string_equal(journal, "put example.org 1 enforce;put example.org 2 none;");
}

static void changed_id_fails(void **state)
{
	struct asked asked;

	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	pass(STS_PAUSE_LEAST);
	publish_id("2");
	ask(&asked, "example.org");
	land(FETCH_OK, "version: STSv1\nmode: none\n"); /* no max_age: invalid, replaces nothing */
	expect(&asked, STS_POLICY, REASON_STS_POLICY_INVALID);
	ask_and_expect("example.org", STS_POLICY, REASON_STS_POLICY_INVALID); /* no wait */
	publish_id("3");
	ask_and_expect("example.org", STS_POLICY, REASON_NONE); /* once in 5 minutes */
	assert_int_equal(fetched_count, 2);
	pass(STS_PAUSE_LEAST);
	ask(&asked, "example.org");
	land(FETCH_FAILED, "timed out");
	expect(&asked, STS_POLICY, REASON_STS_FETCH);
	assert_string_equal(journal, "put example.org 1 enforce;");
}

static void changed_id_too_soon(void **state)
{
	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	publish_id("2");
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	assert_int_equal(fetched_count, 1);
}

static void recheck(void **state)
{
	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	pass(STS_PAUSE_LEAST);
	mtasts_recheck(mtasts, "example.org");
	turn();
	assert_int_equal(fetched_count, 1);
	publish_id("2");
	mtasts_recheck(mtasts, "example.org");
	turn();
	assert_int_equal(fetched_count, 2);
	assert_true(last_timeout == 60);
	land(FETCH_OK, body_of("testing", WEEK));
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	assert_int_equal(fetched_count, 2);
}

/* An equal id prolongs nothing: the lifetime runs from the last fetch. */
static void lifetime(void **state)
{
	struct asked asked;

	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	pass(WEEK - 1);
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	pass(1);
	ask(&asked, "example.org");
	expect_waiting(&asked);
	land(FETCH_FAILED, "404");
	expect(&asked, STS_ABSENT, REASON_STS_FETCH);
}

static void max_age_zero(void **state)
{
	struct asked asked;

	(void)state;
	publish_id("1");
	for (int i = 0; i < 2; i++) {
		ask(&asked, "example.org");
		expect_waiting(&asked);
		land(FETCH_OK, body_of("enforce", 0));
		expect(&asked, STS_POLICY, REASON_NONE);
	}
	assert_null(strstr(journal, "put"));
	cache("example.net", "1", "enforce", WEEK);
	pass(STS_PAUSE_LEAST);
	publish_id("2");
	ask(&asked, "example.net");
	land(FETCH_OK, body_of("testing", 0));
	expect(&asked, STS_POLICY, REASON_NONE);
	publish(NULL);
	ask_and_expect("example.net", STS_ABSENT, REASON_NONE);
}

static void used_to_the_day(void **state)
{
	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	journal[0] = '\0';
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	assert_string_equal(journal, "");
	pass(DAY);
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	assert_string_equal(journal, "put example.org 1 enforce;");
}

/* ---- failures are remembered ---- */

static void fail_once(const char *domain)
{
	struct asked asked;

	ask(&asked, domain);
	expect_waiting(&asked);
	land(FETCH_FAILED, "refused");
	expect(&asked, STS_ABSENT, REASON_STS_FETCH);
}

static void back_off(void **state)
{
	static const time_t pauses[] = {300, 600, 1200, 2400, 3600, 3600};

	(void)state;
	publish_id("1");
	for (size_t i = 0; i < COUNT(pauses); i++) {
		fail_once("example.org");
		pass(pauses[i] - 1);
		ask_and_expect("example.org", STS_ABSENT, REASON_STS_FETCH); /* no wait */
		assert_int_equal(fetched_count, i + 1);
		pass(1);
	}
	fail_once("example.org");
	publish_id("2"); /* another id may be tried at once */
	fail_once("example.org");
	conf.mta_sts.first_contact_defer = true;
	ask_and_expect("example.org", STS_DEFER, REASON_NONE);
}

/* Setting the wall clock changes no pause. */
static void back_off_steady(void **state)
{
	(void)state;
	publish_id("1");
	fail_once("example.org");
	wall += 365 * DAY;
	ask_and_expect("example.org", STS_ABSENT, REASON_STS_FETCH);
	wall -= 2 * 365 * DAY;
	steady += 300;
	fail_once("example.org");
}

static void busy(void **state)
{
	struct asked asked;

	(void)state;
	publish_id("1");
	for (int i = 0; i < 2; i++) {
		ask(&asked, "example.org");
		expect_waiting(&asked);
		land(FETCH_BUSY, "too many fetches are under way");
		expect(&asked, STS_ABSENT, REASON_STS_FETCH);
	}
}

static void bounded_failures(void **state)
{
	struct sts_setbacks *setbacks = sts_setbacks_new();
	struct refusal why = {REASON_STS_FETCH, "refused"};
	char domain[32];

	(void)state;
	for (int i = 0; i <= STS_SETBACKS_MAX; i++) {
		snprintf(domain, sizeof domain, "d%d.example", i);
		sts_setbacks_add(setbacks, domain, "1", &why, 0);
	}
	assert_null(sts_setbacks_find(setbacks, "d0.example", "1", 1));
	assert_non_null(sts_setbacks_find(setbacks, "d1.example", "1", 1));
	assert_non_null(sts_setbacks_find(setbacks, domain, "1", 1));
	sts_setbacks_free(&setbacks);
}

/* ---- after a restart, and refresh ---- */

static void loaded(void **state)
{
	(void)state;
	store_has("example.org", "1", STS_MODE_ENFORCE, wall - 60, WEEK);
	start();
	break_dns(false);
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	assert_int_equal(fetched_count, 0);
}

/* Due within the jitter of a day; none before. */
static void refresh_daily(void **state)
{
	(void)state;
	store_has("early.example", "1", STS_MODE_ENFORCE, wall - DAY * 70 / 100, 4 * WEEK);
	store_has("due.example", "1", STS_MODE_ENFORCE, wall - DAY * 126 / 100, 4 * WEEK);
	start();
	await_flight();
	assert_string_equal(flying[0]->domain, "due.example");
	assert_true(flying[0]->timeout == 60);
	land(FETCH_OK, body_of("enforce", 4 * WEEK));
	assert_string_equal(journal, "put due.example 1 enforce;");
	run_for(0.3);
	assert_int_equal(flying_count, 0);
}

static void refresh_while_running(void **state)
{
	(void)state;
	store_has("example.org", "1", STS_MODE_ENFORCE, wall - DAY * 74 / 100, WEEK);
	start();
	pass(DAY);
	mtasts_recheck(mtasts, "example.org"); /* looks at the clock again */
	publish_id("2");
	await_flight();
	land(FETCH_OK, body_of("testing", WEEK));
	assert_string_equal(journal, "put example.org 2 testing;");
}

static void refresh_before_expiry(void **state)
{
	(void)state;
	store_has("example.org", "1", STS_MODE_ENFORCE, wall - 2300, 3600);
	start();
	await_flight();
	land(FETCH_OK, body_of("enforce", 3600));
}

static void refresh_fails(void **state)
{
	struct asked asked;

	(void)state;
	store_has("example.org", "1", STS_MODE_ENFORCE, wall - 2 * DAY, WEEK);
	start();
	await_flight();
	land(FETCH_FAILED, "refused");
	run_for(0.3);
	assert_int_equal(flying_count, 0); /* not at once again */
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	publish_id("1");
	ask_and_expect("example.org", STS_POLICY, REASON_NONE); /* its id is the same: no warning */
	pass(STS_PAUSE_LEAST - 1);
	run_for(0.2);
	assert_int_equal(flying_count, 0); /* R-STS-19 */
	pass(STS_PAUSE_LEAST);
	ask(&asked, "example.org");
	expect(&asked, STS_POLICY, REASON_NONE);
	assert_string_equal(journal, "");
}

/* Mail does not wait for a refresh under way. */
static void refresh_and_mail(void **state)
{
	struct asked asked;

	(void)state;
	conf.mta_sts.fetch_timeout = 0.5;
	store_has("example.org", "1", STS_MODE_ENFORCE, wall - 2 * DAY, WEEK);
	publish_id("1");
	start();
	await_flight();
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	publish_id("2"); /* now it does, with patience */
	ask(&asked, "example.org");
	expect_waiting(&asked);
	await_answer(&asked);
	expect(&asked, STS_POLICY, REASON_STS_FETCH);
	land(FETCH_OK, body_of("enforce", WEEK));
	assert_int_equal(fetched_count, 1);
}

/* ---- clocks ---- */

static void clock_forward(void **state)
{
	(void)state;
	store_has("alive.example", "1", STS_MODE_ENFORCE, wall - 60, WEEK);
	wall += 10 * 365 * DAY;
	start();
	await_flight();
	land(FETCH_OK, body_of("enforce", WEEK));
	ask_and_expect("alive.example", STS_POLICY, REASON_NONE);
}

static void clock_forward_and_gone(void **state)
{
	(void)state;
	store_has("gone.example", "1", STS_MODE_ENFORCE, wall - 60, WEEK);
	wall += 10 * 365 * DAY;
	start();
	await_flight();
	land(FETCH_FAILED, "refused");
	assert_string_equal(journal, "delete gone.example;");
	ask_and_expect("gone.example", STS_ABSENT, REASON_NONE);
}

/* Mail comes before the refresh, and the record is gone: the fetch is tried all the same. */
static void clock_forward_and_mail(void **state)
{
	struct asked asked;

	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	publish(NULL);
	wall += 365 * DAY;
	ask(&asked, "example.org");
	expect_waiting(&asked);
	land(FETCH_OK, body_of("enforce", WEEK));
	expect(&asked, STS_POLICY, REASON_NONE);
	wall += 365 * DAY;
	break_dns(false);
	ask(&asked, "example.org");
	land(FETCH_FAILED, "refused");
	assert_int_equal(asked.answer->refusal.reason, REASON_DNS_FAILED);
	expect(&asked, STS_DEFER, REASON_NONE);
}

static void clock_back(void **state)
{
	(void)state;
	cache("example.org", "1", "enforce", WEEK);
	wall -= 10 * 365 * DAY;
	publish(NULL);
	ask_and_expect("example.org", STS_POLICY, REASON_NONE);
	mtasts_free(&mtasts);
	store_has("future.example", "1", STS_MODE_ENFORCE, wall + 365 * DAY, WEEK);
	start();
	await_flight(); /* and is fetched under the present clock */
	ask_and_expect("future.example", STS_POLICY, REASON_NONE);
}

/* ---- the cache ---- */

static char evicted[256];

static void on_evicted(const char *domain, void *arg)
{
	(void)arg;
	if (strlen(evicted) < 128)
		snprintf(evicted + strlen(evicted), 128, "%s ", domain);
}

static void put(struct sts_cache *table, const char *name, enum sts_mode mode, time_t expires)
{
	struct sts_entry entry = {.policy = {.mode = mode}, .expires = expires};

	snprintf(entry.domain, sizeof entry.domain, "%s", name);
	sts_cache_put(table, &entry, expires, 1000);
}

static void eviction(void **state)
{
	struct sts_cache *table = sts_cache_new(on_evicted, NULL);
	char name[32];

	(void)state;
	evicted[0] = '\0';
	for (int i = 0; i < STS_CACHE_MAX - 4; i++) {
		snprintf(name, sizeof name, "e%d", i);
		put(table, name, STS_MODE_ENFORCE, 5000 - i % 100);
	}
	put(table, "none", STS_MODE_NONE, 9000);
	put(table, "testing", STS_MODE_TESTING, 9000);
	put(table, "expired", STS_MODE_ENFORCE, 999);
	put(table, "new0", STS_MODE_ENFORCE, 9000);
	assert_string_equal(evicted, "");
	sts_cache_touch(table, sts_cache_find(table, "none"));
	sts_cache_touch(table, sts_cache_find(table, "e0"));
	for (int i = 1; i < 5; i++) {
		snprintf(name, sizeof name, "new%d", i);
		put(table, name, STS_MODE_ENFORCE, 9000);
	}
	assert_string_equal(evicted, "expired testing none e1 ");
	put(table, "late", STS_MODE_TESTING, 9000); /* gives way to enforce, itself */
	assert_string_equal(evicted, "expired testing none e1 late ");
	assert_int_equal(sts_cache_count(table), STS_CACHE_MAX);
	sts_cache_free(&table);
}

static void due_order(void **state)
{
	struct sts_cache *table = sts_cache_new(on_evicted, NULL);
	struct sts_cached *first;
	time_t due, before = 0;
	char name[32];
	unsigned number = 1;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		number = number * 1103515245 + 12345;
		snprintf(name, sizeof name, "d%u", number >> 16 & 1023);
		put(table, name, STS_MODE_ENFORCE, (time_t)(2000 + (number >> 8) % 10000));
		if (i % 3 == 0)
			sts_cache_delete(table, name);
		else if (i % 3 == 1)
			sts_cache_set_due(table, sts_cache_find(table, name), 2000 + i);
	}
	while ((first = sts_cache_next_due(table, &due))) {
		assert_true(due >= before);
		before = due;
		sts_cache_delete(table, first->entry.domain);
	}
	assert_int_equal(sts_cache_count(table), 0);
	sts_cache_free(&table);
}

#define TEST(name, function)                                                                       \
	(struct CMUnitTest) { name, function, set_up_started, tear_down, NULL }
#define TEST_LOADED(name, function)                                                                \
	(struct CMUnitTest) { name, function, set_up, tear_down, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST("R-STS-17 no record is no policy", no_record),
	    TEST("R-STS-17 a failed TXT lookup with nothing cached defers", failed_record),
	    TEST("R-STS-02 an invalid record is no policy, with a warning", invalid_record),
	    TEST("R-STS-01 a domain too long for _mta-sts has none", long_domain),
	    TEST("R-STS-18 first contact", first_contact),
	    TEST("R-STS-18 a first contact that fails: deliver, defer", first_contact_fails),
	    TEST("R-STS-11 a client waits no longer than fetch_timeout", patience),
	    TEST("S-15 lookups share one fetch", shared_fetch),
	    TEST("R-STS-35 a fetch outlives its asker", asker_leaves),
	    TEST("R-STS-35 cancelled before the record came", cancel_while_asking_dns),
	    TEST("R-STS-35 callbacks that cancel and ask", callbacks_act),
	    TEST("R-STS-35 freed under way", freed_under_way),
	    TEST("R-STS-17 S-08 cached, whatever became of the record", cached_without_record),
	    TEST("R-STS-29 modes", modes),
	    TEST("R-STS-21 R-STS-16 S-10 a changed id is fetched", changed_id),
	    TEST("R-STS-16 an invalid policy replaces nothing", changed_id_fails),
	    TEST("R-STS-21 a changed id waits once in 5 minutes", changed_id_too_soon),
	    TEST("R-STS-30 the record is looked at again", recheck),
	    TEST("R-STS-21 an equal id prolongs nothing", lifetime),
	    TEST("R-STS-15 max_age 0 is used once", max_age_zero),
	    TEST("R-STS-24 use is noted to the day", used_to_the_day),
	    TEST("R-STS-19 failures are remembered, 5 minutes to an hour", back_off),
	    TEST("R-STS-19 pauses do not follow the wall clock", back_off_steady),
	    TEST("S-15 a busy fetcher is no failure to remember", busy),
	    TEST("R-STS-19 the memory of failures is bounded", bounded_failures),
	    TEST_LOADED("R-STS-22 what was stored applies after a restart", loaded),
	    TEST_LOADED("R-STS-20 refreshed about daily", refresh_daily),
	    TEST_LOADED("R-STS-20 refreshed without mail", refresh_while_running),
	    TEST_LOADED("R-STS-20 refreshed before expiry", refresh_before_expiry),
	    TEST_LOADED("R-STS-20 S-11 a refresh that fails", refresh_fails),
	    TEST_LOADED("R-STS-20 mail and a refresh under way", refresh_and_mail),
	    TEST_LOADED("R-STS-23 clock set forward: fetched before given up", clock_forward),
	    TEST_LOADED("R-STS-23 clock set forward: given up after that", clock_forward_and_gone),
	    TEST("R-STS-23 clock set forward: mail comes first", clock_forward_and_mail),
	    TEST("R-STS-23 clock set back: policies stay in force", clock_back),
	    TEST("R-STS-24 who has to make room", eviction),
	    TEST("R-STS-20 due order", due_order),
	};

	return cmocka_run_group_tests_name("mtasts", tests, NULL, NULL);
}
