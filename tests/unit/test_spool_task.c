/*
 * test_spool_task.c - rounds: what became of recipients is told, then stored; with a spool, notices
 * and jobs that do what a test says.
 */
#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "proxy/spool/notice.h"
#include "proxy/proxy.h"
#include "proxy/spool/spool_task.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { NOW = 1900000000, HOUR = 3600 };

/* ---- the modules below ---- */

struct spool_job {
	size_t count, numbers[8];
	struct outcome outcomes[8];
};

static struct {
	struct ev_loop *loop;
	struct conf conf;
	struct proxy proxy;
	struct spool_task *task;
	time_t now;
	bool knows_dsn, body_is_damaged;
	int body_error;
	struct spool_job job;
	/* what is on its way */
	spool_draft_fn *notice_done, *settled;
	void *notice_arg, *settled_arg;
	char journal[2000];
	size_t rounds;
} stage;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	size_t len = strlen(stage.journal);
	va_list args;

	va_start(args, format);
	vsnprintf(stage.journal + len, sizeof stage.journal - len, format, args);
	va_end(args);
}

static void expect(const char *journal)
{
	assert_string_equal(stage.journal, journal);
	stage.journal[0] = '\0';
}

time_t clock_wall(void) { return stage.now; }
double clock_steady(void) { return 0; }

bool notice_is_owed(
    const struct spool_message *message, const struct spool_recipient *r, enum dsn_kind kind)
{
	if (message->is_notice)
		return false;
	return kind != DSN_RELAYED || r->dsn.notify & SMTP_NOTIFY_SUCCESS;
}

void notice_send(struct proxy *proxy, enum dsn_kind kind, const struct spool_message *message,
    const struct spool_recipient *const *recipients, size_t count, spool_draft_fn *callback,
    void *arg)
{
	static const char *const kinds[] = {"failed", "delayed", "relayed"};

	(void)proxy, (void)message;
	note("%s(", kinds[kind]);
	for (size_t i = 0; i < count; i++)
		note("%s%s", i ? " " : "", recipients[i]->address);
	note(") ");
	stage.notice_done = callback;
	stage.notice_arg = arg;
}

void spool_settle(
    struct spool *spool, struct spool_message **message, spool_draft_fn *callback, void *arg)
{
	(void)spool;
	note("settle(");
	for (size_t i = 0; i < (*message)->count; i++) {
		const struct spool_recipient *r = &(*message)->recipients[i];

		note("%s%s %s", i ? ", " : "", r->address,
		    r->is_done     ? "done"
		    : r->is_failed ? "failed"
				   : "later");
		if (!r->is_done)
			note(" +%d", (int)(r->next_try - stage.now));
	}
	note(") ");
	spool_message_free(message);
	stage.settled = callback;
	stage.settled_arg = arg;
}

void spool_give_back(struct spool *spool, struct spool_message **message)
{
	(void)spool;
	note("give-back ");
	spool_message_free(message);
}

void spool_set_aside(struct spool *spool, struct spool_message **message, const char *why)
{
	(void)spool;
	note("set-aside(%s) ", why);
	spool_message_free(message);
}

void spool_forget(struct spool *spool, const void *arg) { (void)spool, (void)arg; }

int spool_open_body(
    struct spool *spool, const struct spool_message *message, bool *is_damaged, char why[SPOOL_WHY])
{
	(void)spool, (void)message;
	*is_damaged = stage.body_is_damaged;
	if (!stage.body_is_damaged && !stage.body_error)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	errno = stage.body_error;
	snprintf(why, SPOOL_WHY, stage.body_is_damaged ? "damaged" : "error");
	return -1;
}

struct spool_job *spool_job_start(struct proxy *proxy, const struct spool_message *message,
    const struct spool_body *body, const char *domain, const size_t *recipients, size_t count,
    spool_job_fn *callback, void *arg)
{
	struct spool_job *job = mem_zero(1, sizeof *job);

	(void)proxy, (void)body, (void)callback, (void)arg;
	note("try(%s:", domain);
	job->count = count;
	for (size_t i = 0; i < count; i++) {
		job->numbers[i] = recipients[i];
		note(" %s", message->recipients[recipients[i]].address);
	}
	note(") ");
	return job;
}

size_t spool_job_count(const struct spool_job *job) { return job->count; }
size_t spool_job_recipient(const struct spool_job *job, size_t n) { return job->numbers[n]; }
const struct outcome *spool_job_outcome(const struct spool_job *job, size_t n)
{
	return &job->outcomes[n];
}
const char *spool_job_damage(const struct spool_job *job) { return (void)job, ""; }
const struct delivery *spool_job_delivery(const struct spool_job *job) { return (void)job, NULL; }
void spool_job_log(const struct spool_job *job, unsigned tries, time_t next_try)
{
	(void)job, (void)tries, (void)next_try;
}
void spool_job_free(struct spool_job **job)
{
	free(*job);
	*job = NULL;
}
bool delivery_hop_knows_dsn(const struct delivery *d) { return (void)d, stage.knows_dsn; }
void delivery_hop_text(const struct delivery *d, char *out, size_t size)
{
	(void)d;
	snprintf(out, size, "mx");
}

/* ---- scenes ---- */

static void on_round(struct spool_task *task, void *arg)
{
	(void)task, (void)arg;
	stage.rounds++;
}

static int set_up(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof stage);
	stage.loop = ev_loop_new(0);
	stage.now = NOW;
	stage.conf.spool.retry = (struct conf_times){1, {0.1}};
	stage.conf.spool.lifetime = 5 * 24 * HOUR;
	stage.proxy = (struct proxy){.loop = stage.loop, .conf = &stage.conf};
	stage.knows_dsn = true;
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	spool_task_free(&stage.task);
	reap_now();
	ev_loop_destroy(stage.loop);
	return 0;
}

/* Addresses like "a@x", "b@x", all due. */
static struct spool_message *message_to(const char *const *addresses, size_t count)
{
	struct spool_message *m = mem_zero(1, sizeof *m);

	snprintf(m->id, sizeof m->id, "one");
	m->arrived = NOW - 60;
	m->count = count;
	m->recipients = mem_zero(count, sizeof *m->recipients);
	for (size_t i = 0; i < count; i++) {
		m->recipients[i].address = mem_strdup(addresses[i]);
		m->recipients[i].number = (unsigned)i;
		snprintf(m->recipients[i].domain, sizeof m->recipients[i].domain, "%s",
		    strchr(addresses[i], '@') + 1);
	}
	return m;
}

static void begin(struct spool_message *m)
{
	stage.task = spool_task_new(&stage.proxy, &m, stage.now, on_round, NULL);
}

static struct spool_job *try(const char *domain)
{
	return spool_task_try(stage.task, domain, NULL, NULL);
}

static void come_to(struct spool_job *job, size_t n, int code, enum reason reason)
{
	job->outcomes[n] = (struct outcome){.code = code, .reason = reason};
	snprintf(job->outcomes[n].text, sizeof job->outcomes[n].text, "said");
}

static void answer_notice(bool ok) { stage.notice_done(ok, "full", stage.notice_arg); }
static void answer_settle(void) { stage.settled(true, "", stage.settled_arg); }

static const char *const three[] = {"a@x", "b@y", "c@x"};

/* ---- cases ---- */

static void domain_by_domain(void **state)
{
	struct spool_job *x, *y;
	size_t from = 0;

	(void)state;
	begin(message_to(three, 3));
	assert_string_equal(spool_task_next_domain(stage.task, &from), "x");
	x = try("x");
	y = try("y");
	expect("try(x: a@x c@x) try(y: b@y) ");
	come_to(x, 0, 250, REASON_NONE);
	come_to(x, 1, 451, REASON_CONNECT_FAILED);
	spool_task_take_result(stage.task, &x);
	assert_null(x);
	expect("settle(a@x done, c@x later +1) ");
	come_to(y, 0, 250, REASON_NONE);
	spool_task_take_result(stage.task, &y); /* comes while the first is being stored */
	expect("");
	answer_settle();
	expect("settle(b@y done) ");
	assert_int_equal(stage.rounds, 0);
	assert_false(spool_task_is_over(stage.task));
	answer_settle();
	assert_int_equal(stage.rounds, 1);
	assert_true(spool_task_is_over(stage.task));
	spool_task_free(&stage.task);
	expect(""); /* the spool has heard of it all */
}

static void told_before_stored(void **state)
{
	struct spool_job *x;

	(void)state;
	stage.knows_dsn = false;
	struct spool_message *m = message_to(three, 3);
	m->recipients[2].dsn.notify = SMTP_NOTIFY_SUCCESS;
	begin(m);
	x = try("x");
	come_to(x, 0, 550, REASON_NEXT_HOP);
	come_to(x, 1, 250, REASON_NONE);
	spool_task_take_result(stage.task, &x);
	expect("try(x: a@x c@x) failed(a@x) ");
	answer_notice(true);
	expect("relayed(c@x) ");
	answer_notice(true);
	expect("settle(a@x done, c@x done) ");
	answer_settle();
	spool_task_stop(stage.task);
	assert_true(spool_task_is_over(stage.task));
}

static void untold_is_kept(void **state)
{
	struct spool_job *x;

	(void)state;
	begin(message_to(three, 1));
	x = try("x");
	come_to(x, 0, 550, REASON_NEXT_HOP);
	spool_task_take_result(stage.task, &x);
	answer_notice(false);
	expect("try(x: a@x) failed(a@x) settle(a@x failed +120) ");
	answer_settle();
}

static void owed_from_before(void **state)
{
	struct spool_message *m = message_to(three, 2);

	(void)state;
	m->recipients[0].is_failed = true;
	m->recipients[1].must_bounce = true;
	begin(m);
	expect("failed(a@x b@y) ");
	answer_notice(true);
	expect("settle(a@x done, b@y done) ");
	answer_settle();
}

static void no_domain(void **state)
{
	static const char *const addresses[] = {"a@", "b@y"};
	size_t from = 0;

	(void)state;
	begin(message_to(addresses, 2));
	expect("failed(a@) ");
	assert_non_null(
	    strstr(spool_task_message(stage.task)->recipients[0].last.text, "bad-address"));
	assert_string_equal(spool_task_next_domain(stage.task, &from), "y");
	answer_notice(true);
	expect("settle(a@ done) ");
	answer_settle();
}

static void nobody_to_tell(void **state)
{
	struct spool_message *m = message_to(three, 1);
	struct spool_job *x;

	(void)state;
	m->is_notice = true;
	begin(m);
	x = try("x");
	come_to(x, 0, 550, REASON_NEXT_HOP);
	spool_task_take_result(stage.task, &x);
	expect("try(x: a@x) settle(a@x done) ");
	answer_settle();
}

static void late_and_over(void **state)
{
	struct spool_job *x;

	(void)state;
	begin(message_to(three, 1));
	stage.now = NOW + 5 * HOUR;
	x = try("x");
	come_to(x, 0, 451, REASON_CONNECT_FAILED);
	spool_task_take_result(stage.task, &x);
	expect("try(x: a@x) delayed(a@x) ");
	answer_notice(true);
	expect("settle(a@x later +1) ");
	answer_settle();
	spool_task_free(&stage.task);

	begin(message_to(three, 1));
	stage.now = NOW + 6 * 24 * HOUR; /* a clock alone gives nothing up */
	x = try("x");
	come_to(x, 0, 451, REASON_CONNECT_FAILED);
	spool_task_take_result(stage.task, &x);
	expect("try(x: a@x) delayed(a@x) ");
	answer_notice(true);
	expect("settle(a@x later +1) ");
	answer_settle();
	spool_task_free(&stage.task);

	struct spool_message *tired = message_to(three, 1);
	tired->recipients[0].tries = 2000;
	begin(tired);
	x = try("x");
	come_to(x, 0, 451, REASON_CONNECT_FAILED);
	spool_task_take_result(stage.task, &x);
	expect("try(x: a@x) failed(a@x) ");
	answer_notice(true);
	expect("settle(a@x done) ");
	answer_settle();
}

static void busy_is_no_try(void **state)
{
	struct spool_job *x;

	(void)state;
	begin(message_to(three, 1));
	x = try("x");
	come_to(x, 0, 451, REASON_BUSY);
	spool_task_take_result(stage.task, &x);
	assert_int_equal(spool_task_message(stage.task)->recipients[0].tries, 0);
	assert_in_range(spool_task_message(stage.task)->recipients[0].next_try, NOW + 20, NOW + 40);
	answer_settle();
}

static void nothing_done(void **state)
{
	(void)state;
	begin(message_to(three, 3));
	spool_task_stop(stage.task);
	assert_true(spool_task_is_over(stage.task));
	spool_task_free(&stage.task);
	expect("give-back ");
}

static void damaged(void **state)
{
	(void)state;
	stage.body_is_damaged = true;
	begin(message_to(three, 3));
	assert_null(try("x"));
	assert_true(spool_task_is_over(stage.task));
	spool_task_free(&stage.task);
	expect("set-aside(damaged) ");
}

/* Nobody loses a message to a disk that does not answer for a moment. */
static void unreadable_now(void **state)
{
	static const struct {
		int error, wait, tries;
	} cases[] = {{EIO, 1, 1}, {ESTALE, 1, 1}, {ENOENT, 1, 1}, {EMFILE, 20, 0}, {ENOMEM, 20, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct spool_recipient *r;

		stage.body_error = cases[i].error;
		begin(message_to(three, 1));
		assert_null(try("x"));
		r = spool_task_message(stage.task)->recipients;
		assert_int_equal(r->tries, cases[i].tries);
		assert_in_range(r->next_try, NOW + cases[i].wait, NOW + 2 * cases[i].wait);
		answer_settle();
		assert_true(spool_task_is_over(stage.task));
		spool_task_free(&stage.task);
		assert_null(strstr(stage.journal, "set-aside"));
	}
}

/* The spool gives what it was told of in part once more: nobody gets it twice. */
static void given_again(void **state)
{
	struct spool_message *again = message_to(three + 1, 1);
	struct spool_job *x, *y;

	(void)state;
	begin(message_to(three, 2));
	x = try("x");
	y = try("y");
	come_to(x, 0, 250, REASON_NONE);
	spool_task_take_result(stage.task, &x);
	answer_settle();
	spool_task_take_again(stage.task, &again);
	assert_null(again);
	come_to(y, 0, 250, REASON_NONE);
	spool_task_take_result(stage.task, &y);
	answer_settle();
	expect("try(x: a@x) try(y: b@y) settle(a@x done) settle(b@y done) ");
	spool_task_free(&stage.task);
	expect("give-back ");
}

/* It is given because its clock was ahead when it was stored. */
static void clock_set_back(void **state)
{
	struct spool_message *m = message_to(three, 1);
	size_t from = 0;

	(void)state;
	m->recipients[0].next_try = NOW + 30 * 24 * HOUR;
	begin(m);
	assert_string_equal(spool_task_next_domain(stage.task, &from), "x");
}

#define TEST(name, function)                                                                       \
	{                                                                                          \
		name, function, set_up, tear_down, NULL                                            \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST("R-SMTP-65: a domain's result is stored when it comes", domain_by_domain),
	    TEST("R-SMTP-54, R-SMTP-65: first the sender, then the disk", told_before_stored),
	    TEST("R-SMTP-65: a notice that finds no room is owed", untold_is_kept),
	    TEST("failures from before share a notice", owed_from_before),
	    TEST("a recipient without a domain is bounced", no_domain),
	    TEST("a notice begets none", nobody_to_tell),
	    TEST("R-SMTP-65: late after 4 hours, over after [spool] lifetime", late_and_over),
	    TEST("a limit of ours is no try", busy_is_no_try),
	    TEST("what was not begun is given back", nothing_done),
	    TEST("a damaged file is set aside", damaged),
	    TEST("R-SMTP-65: a file that cannot be read now is not damaged", unreadable_now),
	    TEST("given once more meanwhile", given_again),
	    TEST("a clock that was set back", clock_set_back),
	};

	return cmocka_run_group_tests_name("spool_task", tests, NULL, NULL);
}
