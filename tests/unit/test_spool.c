/*
 * test_spool.c - proxy/spool/spool.h with the real disk process on real files: writing, giving out,
 * settling, in company, and with clocks that jump.
 */
#include "spool_stage.h"

/* ---- writing ---- */

static void whole_message_comes_back(void **state)
{
	struct spool_message *message = new_message(), *due;
	struct spool_recipient *r = add_recipient(message, "\"odd \\\\ one\"@example.com");

	(void)state;
	message->envelope.size = 4711;
	message->envelope.body = SMTP_BODY_8BITMIME;
	message->envelope.smtputf8 = true;
	message->envelope.dsn.ret = SMTP_RET_HDRS;
	snprintf(message->envelope.dsn.envid, sizeof message->envelope.dsn.envid, "QQ314159");
	message->is_notice = true;
	r->dsn.notify = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;
	r->dsn.orcpt = mem_strdup("rfc822;b@example.com");
	r->tries = 3;
	r->last_try = clock_wall() - 5;
	r->is_delay_told = true;
	r->last = (struct outcome){.code = 451, .reason = REASON_DANE_MISMATCH};
	snprintf(r->last.text, sizeof r->last.text, "4.7.5 dane-mismatch: one\ntwo \\n three");
	snprintf(r->last_hop, sizeof r->last_hop, "mx1.example.com[192.0.2.1]:25");
	commit(message, "Subject: \xc3\xa9\r\n\r\n..text\r\n");

	due = ask_one();
	assert_string_equal(due->id, message->id);
	assert_int_equal(due->arrived, message->arrived);
	assert_string_equal(due->session, "k3f9-2");
	assert_string_equal(due->client, "10.1.2.3");
	assert_string_equal(due->envelope.sender.address, "a@example.net");
	assert_string_equal(due->envelope.sender.domain, "example.net");
	assert_int_equal(due->envelope.size, 4711);
	assert_int_equal(due->envelope.body, SMTP_BODY_8BITMIME);
	assert_true(due->envelope.smtputf8 && due->is_notice && due->has_8bit);
	assert_int_equal(due->envelope.dsn.ret, SMTP_RET_HDRS);
	assert_string_equal(due->envelope.dsn.envid, "QQ314159");
	assert_int_equal(due->size, 23);
	assert_int_equal(due->count, 2);
	assert_string_equal(due->recipients[0].address, "b@example.org");
	assert_string_equal(due->recipients[1].address, r->address);
	assert_string_equal(due->recipients[1].domain, "example.com");
	assert_int_equal(due->recipients[1].dsn.notify, r->dsn.notify);
	assert_string_equal(due->recipients[1].dsn.orcpt, r->dsn.orcpt);
	assert_int_equal(due->recipients[1].tries, 3);
	assert_int_equal(due->recipients[1].last_try, r->last_try);
	assert_true(due->recipients[1].is_delay_told);
	assert_false(due->recipients[1].is_failed || due->recipients[1].must_bounce);
	assert_int_equal(due->recipients[1].last.code, 451);
	assert_int_equal(due->recipients[1].last.reason, REASON_DANE_MISMATCH);
	assert_string_equal(due->recipients[1].last.text, r->last.text);
	assert_string_equal(due->recipients[1].last_hop, r->last_hop);
	expect_body(due, "Subject: \xc3\xa9\r\n\r\n..text\r\n");
	spool_message_free(&message);
	finish(&due);
	assert_int_equal(count_messages(), 0);
	expect_none_due();
}

static void null_sender_stays_null(void **state)
{
	struct spool_message *message = new_message(), *due;
	size_t used;

	(void)state;
	smtp_parse_path("<>", 2, &used, &message->envelope.sender);
	message->client[0] = '\0';
	commit(message, "");
	spool_message_free(&message);
	due = ask_one();
	assert_true(due->envelope.sender.is_null);
	assert_string_equal(due->client, "");
	assert_int_equal(due->size, 0);
	assert_false(due->has_8bit);
	expect_body(due, "");
	spool_give_back(spool, &due);
}

static void draft_is_nobodys_mail(void **state)
{
	struct spool_message *message = new_message();
	struct spool_draft *draft = begin_draft(message, "half");

	(void)state;
	expect_none_due();
	assert_true(sync_draft(draft).ok);
	expect_none_due();
	assert_int_equal(count_messages(), 1);
	spool_draft_free(&draft);
	reopen();
	assert_int_equal(count_messages(), 0);
	expect_none_due();
	spool_message_free(&message);
}

static void commit_holds_fewer_recipients(void **state)
{
	struct spool_message *message = new_message(), *due;
	struct spool_draft *draft;

	(void)state;
	add_recipient(message, "c@example.com");
	draft = begin_draft(message, "x");
	assert_true(sync_draft(draft).ok);
	message->count = 1;
	assert_true(commit_draft(draft, message).ok);
	message->count = 2;
	spool_draft_free(&draft);
	spool_message_free(&message);
	due = ask_one();
	assert_int_equal(due->count, 1);
	finish(&due);
}

static void id_twice_is_refused(void **state)
{
	struct spool_message *message = new_message();
	struct spool_draft *draft = begin_draft(message, "x");
	char why[SPOOL_WHY] = "";

	(void)state;
	assert_null(spool_draft_new(spool, message, why));
	assert_string_equal(why, "File exists");
	assert_true(commit_draft(draft, message).ok);
	spool_draft_free(&draft);
	spool_message_free(&message);
}

static void path_is_no_id(void **state)
{
	struct spool_message *message = new_message();
	char why[SPOOL_WHY] = "";

	(void)state;
	snprintf(message->id, sizeof message->id, "../../etc/passwd");
	assert_null(spool_draft_new(spool, message, why));
	assert_string_equal(why, "its envelope cannot be stored");
	spool_message_free(&message);
}

/* ---- giving out ---- */

static void longest_due_first(void **state)
{
	static const int age[] = {50, 90, 10, 70, -3600};
	struct due due;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct spool_message *message = new_message();

		message->recipients[0].next_try = clock_wall() - age[i];
		message->recipients[0].tries = (unsigned)i;
		commit(message, "x");
		spool_message_free(&message);
	}
	due = ask_due(3);
	assert_int_equal(due.count, 3);
	assert_int_equal(due.messages[0]->recipients[0].tries, 1);
	assert_int_equal(due.messages[1]->recipients[0].tries, 3);
	assert_int_equal(due.messages[2]->recipients[0].tries, 0);
	assert_in_range(spool_next_due(spool), clock_wall() - 20, clock_wall());
	for (size_t i = 0; i < 3; i++)
		finish(&due.messages[i]);
	due = ask_due(3);
	assert_int_equal(due.count, 1);
	assert_in_range(spool_next_due(spool), clock_wall() + 3500, clock_wall() + 3700);
	assert_int_equal(spool_count(spool), 2);
	finish(&due.messages[0]);
	expect_none_due();
}

/* The first came long ago, the second waits for its next try. */
static void latest_first(void **state)
{
	struct due due;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct spool_message *message = new_message();

		if (i == 0)
			snprintf(message->id, sizeof message->id, "%014llx-%012x",
			    (unsigned long long)(clock_wall() - 1000) * 1000000, i);
		message->recipients[0].next_try = clock_wall() + (i == 1 ? 100 : -(int)i);
		message->recipients[0].tries = i;
		commit(message, "x");
		spool_message_free(&message);
	}
	due = ask_in_order(SPOOL_LATEST, 2);
	assert_int_equal(due.count, 2);
	assert_int_equal(due.messages[0]->recipients[0].tries, 4);
	assert_int_equal(due.messages[1]->recipients[0].tries, 3);
	finish(&due.messages[0]);
	finish(&due.messages[1]);
	due = ask_in_order(SPOOL_LATEST, 9);
	assert_int_equal(due.count, 1);
	assert_int_equal(due.messages[0]->recipients[0].tries, 2);
	finish(&due.messages[0]);
	due = ask_due(9);
	assert_int_equal(due.count, 1);
	assert_int_equal(due.messages[0]->recipients[0].tries, 0);
	finish(&due.messages[0]);
}

static void given_once_until_given_back(void **state)
{
	struct spool_message *first, *again;

	(void)state;
	put("x");
	first = ask_one();
	expect_none_due();
	assert_int_equal(spool_next_due(spool), 0);
	spool_give_back(spool, &first);
	again = ask_one();
	finish(&again);
}

static void settled_in_part(void **state)
{
	struct spool_message *message = new_message(), *due;
	time_t later = clock_wall() + 60;

	(void)state;
	add_recipient(message, "c@example.com");
	add_recipient(message, "d@example.com");
	commit(message, "x");
	spool_message_free(&message);
	due = ask_one();
	due->recipients[0].is_done = true;
	due->recipients[1].tries = 1;
	due->recipients[1].next_try = later;
	due->recipients[2].is_failed = true;
	due->recipients[2].next_try = later + 60;
	assert_true(settle(&due).ok);
	expect_none_due();
	assert_int_equal(spool_next_due(spool), later);
	ahead->wall = 61;
	due = ask_one();
	assert_int_equal(due->count, 2);
	assert_string_equal(due->recipients[0].address, "c@example.com");
	assert_int_equal(due->recipients[0].tries, 1);
	assert_true(due->recipients[1].is_failed);
	finish(&due);
	assert_int_equal(count_messages(), 0);
}

static size_t changes;
static void on_change(void *arg)
{
	(void)arg;
	changes++;
}

static void commit_is_told_to_the_watcher(void **state)
{
	(void)state;
	run_for(1.2); /* the first look at the index */
	for (int i = 0; i < 160 && spool->requests; i++)
		run_for(0.05);
	changes = 0;
	spool_watch(spool, on_change, NULL);
	put("x");
	assert_int_equal(changes, 1);
	assert_true(spool_next_due(spool) > 0 && spool_next_due(spool) <= clock_wall());
	spool_watch(spool, NULL, NULL);
}

static void forgotten_hears_nothing(void **state)
{
	struct due never = {0};
	struct spool_message *due;

	(void)state;
	put("x");
	spool_ask_due(spool, SPOOL_LONGEST_DUE, 1, on_due, &never);
	spool_forget(spool, &never);
	due = ask_one(); /* not lost with who asked first */
	assert_false(never.is_there || never.count);
	finish(&due);
}

static void clock_set_back_holds_no_mail(void **state)
{
	struct spool_message *due;

	(void)state;
	ahead->wall = 400 * 86400;
	put("x");
	due = ask_one();
	due->recipients[0].next_try = clock_wall() + 3600;
	assert_true(settle(&due).ok);
	expect_none_due();
	ahead->wall = 0;
	due = ask_one(); /* else a year from now */
	due->recipients[0].next_try = clock_wall() + 60;
	assert_true(settle(&due).ok);
	expect_none_due();
	ahead->wall = 61;
	due = ask_one();
	finish(&due);
}

/* ---- at once ---- */

static void many_commits_share_their_waits(void **state)
{
	enum { COUNT = 200 };
	struct spool_message *messages[COUNT];
	struct spool_draft *drafts[COUNT];
	struct answer answers[COUNT] = {0};

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		messages[i] = new_message();
		drafts[i] = begin_draft(messages[i], "x");
		spool_draft_commit(drafts[i], messages[i], on_answer, &answers[i]);
	}
	for (size_t i = 0; i < COUNT; i++) {
		run_until(&answers[i].is_there);
		assert_true(answers[i].ok);
		spool_draft_free(&drafts[i]);
		spool_message_free(&messages[i]);
	}
	assert_int_equal(spool_count(spool), COUNT);
}

static void freed_during_commit_leaves_nothing(void **state)
{
	struct answer never = {0};

	(void)state;
	for (int turn = 0; turn < 20; turn++) {
		struct spool_message *message = new_message();
		struct spool_draft *draft = begin_draft(message, "x");

		spool_draft_commit(draft, message, on_answer, &never);
		if (turn % 2)
			ev_run(loop, EVRUN_NOWAIT);
		if (turn % 4 == 3)
			usleep(1000 * (useconds_t)turn);
		if (!never.is_there)
			spool_draft_free(&draft);
		else
			spool_draft_free(&draft), never.is_there = false;
		spool_message_free(&message);
	}
	reopen();
	struct due due = ask_due(64);

	for (size_t i = 0; i < due.count; i++)
		finish(&due.messages[i]);
	assert_int_equal(count_messages(), 0);
}

/* ---- the duplicate guard ---- */

static void on_memory(const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until, void *arg)
{
	size_t *sum = arg;

	assert_true(until > clock_wall());
	*sum += digest[0];
}

static void memories_last_their_time(void **state)
{
	unsigned char digest[SPOOL_DIGEST_SIZE] = {0};
	size_t sum = 0;

	(void)state;
	for (int i = 1; i <= 3; i++) {
		digest[0] = (unsigned char)(1 << i);
		spool_remember(spool, digest, clock_wall() + i * 100);
	}
	reopen();
	spool_recall(spool, on_memory, &sum);
	assert_int_equal(sum, 2 + 4 + 8);
	ahead->wall = 250;
	sum = 0;
	spool_recall(spool, on_memory, &sum);
	assert_int_equal(sum, 8);
}

int main(void)
{
#define SPOOL(name, function)                                                                      \
	{                                                                                          \
		name, function, set_up, tear_down, NULL                                            \
	}
	const struct CMUnitTest tests[] = {
	    SPOOL("a whole message comes back", whole_message_comes_back),
	    SPOOL("the null sender stays null", null_sender_stays_null),
	    SPOOL("R-SMTP-65: a draft is nobody's mail", draft_is_nobodys_mail),
	    SPOOL("a commit may hold fewer recipients", commit_holds_fewer_recipients),
	    SPOOL("an id twice is refused", id_twice_is_refused),
	    SPOOL("a path is no id", path_is_no_id),
	    SPOOL("the longest due first", longest_due_first),
	    SPOOL("the latest first", latest_first),
	    SPOOL("given once until given back", given_once_until_given_back),
	    SPOOL("settled in part", settled_in_part),
	    SPOOL("a commit is told to the watcher", commit_is_told_to_the_watcher),
	    SPOOL("who is forgotten hears nothing", forgotten_hears_nothing),
	    SPOOL("a clock set back holds no mail", clock_set_back_holds_no_mail),
	    SPOOL("many commits share their waits", many_commits_share_their_waits),
	    SPOOL("freed during a commit", freed_during_commit_leaves_nothing),
	    SPOOL("RFC 1047: memories last their time", memories_last_their_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
