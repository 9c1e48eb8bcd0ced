/*
 * test_spool_trouble.c - the spool on bad days: damaged rows, files and indices, disks that are
 * full, read-only, hung or failing, and other danelaws on the same directory.
 */
#include "spool_stage.h"

#include "proxy/spool/spool_index.h"
#include "proxy/spool/spool_text.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- fsync() that can be made to fail or wait, in the disk process as well ---- */

static struct {
	int error;
	int ms;
	size_t looks; /* of the loop's process at the disk's room */
	bool is_held; /* by the other process */
} * disk;
static pid_t loop_process;

static int sync_as_told(long call, int fd)
{
	if (disk) {
		usleep((useconds_t)disk->ms * 1000);
		if (disk->error) {
			errno = disk->error;
			return -1;
		}
	}
	return (int)syscall(call, fd);
}

int fsync(int fd) { return sync_as_told(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_as_told(SYS_fdatasync, fd); } /* SQLite's */

int statvfs(const char *path, struct statvfs *fs)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int code = fstatvfs(fd, fs);

	disk->looks += getpid() == loop_process;
	close(fd);
	return code;
}

/* ---- damage ---- */

static void run_sql(const char *sql)
{
	char path[256];
	sqlite3 *db;

	snprintf(path, sizeof path, "%s/index.sqlite", directory);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 2000);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void overwrite(const char *path, off_t at, const char *with)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, with, strlen(with), at), (ssize_t)strlen(with));
	close(fd);
}

/* Set aside, told about, and nobody else's trouble. */
static void expect_aside(const char *id, const char *reason)
{
	char text[512];
	struct due others = ask_due(10);

	assert_int_equal(others.count, 1);
	assert_string_not_equal(others.messages[0]->id, id);
	expect_none_due();
	snprintf(text, sizeof text,
	    "error spool: message %s is damaged (%s) and was not delivered to all its recipients: "
	    "set aside as %s/damaged/%s",
	    id, reason, directory, id);
	expect_log(text, 1);
	snprintf(text, sizeof text, "%s.txt", id);
	assert_int_equal(count_files("damaged", text), 1);
	finish(&others.messages[0]);
	assert_int_equal(spool_count(spool), 0);
}

static void expect_mended(const char *id, const char *reason)
{
	char text[512];

	snprintf(text, sizeof text,
	    "error spool: message %s is damaged in the index (%s): made again from its file", id,
	    reason);
	expect_log(text, 1);
	assert_int_equal(count_files("damaged", id), 0);
}

static bool has_recipient(const struct spool_message *message, const char *address)
{
	for (size_t i = 0; i < message->count; i++)
		if (strcmp(message->recipients[i].address, address) == 0)
			return true;
	return false;
}

/* One octet in the row of one recipient: the others stay as they are, and he is tried. */
static void damaged_row_costs_nobody_his_mail(void **state)
{
	struct spool_message *message = new_message(), *due;

	(void)state;
	add_recipient(message, "c@example.org");
	add_recipient(message, "d@example.org");
	message->recipients[2].tries = 7;
	commit(message, "one");
	run_sql("UPDATE recipients SET state = replace(state, 'b@', 'c@') WHERE number = 0");
	expect_none_due();
	due = ask_one();
	expect_mended(message->id, "the row of one of its recipients is damaged");
	assert_string_equal(due->id, message->id);
	expect_body(due, "one");
	assert_int_equal(due->count, 3);
	assert_true(has_recipient(due, "b@example.org"));
	assert_string_equal(due->recipients[0].address, "c@example.org");
	assert_string_equal(due->recipients[1].address, "d@example.org");
	assert_int_equal(due->recipients[1].tries, 7);
	finish(&due);
	assert_int_equal(count_messages(), 0);
	spool_message_free(&message);
}

/* Where rows and file are damaged, people must see to it. */
static void damaged_row_and_file_are_set_aside(void **state)
{
	char id[SPOOL_ID_SIZE];

	(void)state;
	memcpy(id, put("one"), sizeof id);
	put("two");
	run_sql("UPDATE recipients SET state = replace(state, 'b@', 'c@') WHERE message ="
		" (SELECT min(message) FROM recipients)");
	assert_int_equal(truncate(file_of(id), 200), 0);
	expect_aside(id, "the row of one of its recipients is damaged");
	assert_int_equal(count_files("damaged", id), 2);
}

/* It would never be due. */
static void damaged_time_is_found_at_start(void **state)
{
	char id[SPOOL_ID_SIZE];
	struct spool_message *due;

	(void)state;
	memcpy(id, put("one"), sizeof id);
	run_sql("UPDATE messages SET due = due + 1099511627776");
	reopen();
	due = ask_one();
	assert_string_equal(due->id, id);
	assert_int_equal(due->count, 1);
	finish(&due);
	expect_mended(id, "its rows in the index are damaged");
}

static void stray_recipient_is_found_at_start(void **state)
{
	struct spool_message *message = new_message(), *due;

	(void)state;
	add_recipient(message, "c@example.org");
	commit(message, "one");
	run_sql("UPDATE recipients SET message = message || 'x' WHERE number = 1");
	reopen();
	due = ask_one();
	assert_int_equal(due->count, 2);
	finish(&due);
	expect_log("error spool: the index was damaged (a recipient has lost its message)", 1);
	spool_message_free(&message);
}

static void missing_file_is_reported(void **state)
{
	char id[SPOOL_ID_SIZE];

	(void)state;
	memcpy(id, put("one"), sizeof id);
	put("two");
	assert_int_equal(unlink(file_of(id)), 0);
	expect_aside(id, "its file: No such file or directory");
}

static void cut_file_is_set_aside(void **state)
{
	char id[SPOOL_ID_SIZE];

	(void)state;
	memcpy(id, put("one"), sizeof id);
	put("two");
	assert_int_equal(truncate(file_of(id), 200), 0);
	expect_aside(id, "its file does not have the size that it should");
	assert_int_equal(count_files("damaged", id), 2);
}

static void foreign_file_is_set_aside(void **state)
{
	char id[SPOOL_ID_SIZE];

	(void)state;
	memcpy(id, put("one"), sizeof id);
	put("two");
	overwrite(file_of(id), 3, "?");
	expect_aside(id, "its file does not begin like one");
}

/* Whoever opens a pipe waits for its other end. */
static void what_is_no_file_holds_nobody_up(void **state)
{
	char id[SPOOL_ID_SIZE];

	(void)state;
	memcpy(id, put("one"), sizeof id);
	put("two");
	assert_int_equal(unlink(file_of(id)), 0);
	assert_int_equal(mkfifo(file_of(id), 0600), 0);
	assert_int_equal(mkfifo(file_of("0641c3b5d2a910-5f0c2d7e91aa"), 0600), 0);
	reopen();
	expect_aside(id, "its file is none");
}

static void set_aside_by_the_runner(void **state)
{
	struct spool_message *message;
	char id[SPOOL_ID_SIZE];

	(void)state;
	memcpy(id, put("one"), sizeof id);
	message = ask_one();
	spool_set_aside(spool, &message, "read: Input/output error");
	put("two");
	expect_aside(id, "read: Input/output error");
}

/* ---- the index ---- */

static void expect_two_again(const char *how)
{
	struct due due = ask_due(10);

	expect_log(how, 1);
	assert_int_equal(due.count, 2);
	expect_log("2 messages were taken up again from their files, to all of their recipients: "
		   "some may arrive twice",
	    1);
	assert_string_equal(due.messages[0]->recipients[0].address, "b@example.org");
	expect_body(due.messages[0], "one");
	expect_body(due.messages[1], "two");
	finish(&due.messages[0]);
	finish(&due.messages[1]);
	assert_int_equal(count_messages(), 0);
}

static void lost_index_is_made_again(void **state)
{
	char path[256];

	(void)state;
	put("one");
	put("two");
	spool_close(&spool);
	snprintf(path, sizeof path, "%s/index.sqlite", directory);
	assert_int_equal(unlink(path), 0);
	open_spool();
	expect_two_again("error spool: the index");
}

static void damaged_index_is_made_again(void **state)
{
	char path[256];

	(void)state;
	put("one");
	put("two");
	spool_close(&spool);
	snprintf(path, sizeof path, "%s/index.sqlite", directory);
	overwrite(path, 0, "SQLite is not what this is, and never was, whatever it may look like");
	open_spool();
	expect_two_again("error spool: the index was damaged");
	assert_int_equal(count_files("", "index.sqlite.damaged-"), 1);
}

/* Half a draft is no message, whoever lost its index. */
static void lost_index_gives_no_half_message(void **state)
{
	struct spool_message *message = new_message();
	struct spool_draft *draft;
	char path[256];

	(void)state;
	put("one");
	draft = begin_draft(message, "half a mess");
	snprintf(path, sizeof path, "%s/index.sqlite", directory);
	assert_int_equal(unlink(path), 0);
	put("two");
	assert_int_equal(spool_count(spool), 2);
	assert_int_equal(count_messages(), 3); /* its writer is alive */
	spool_draft_free(&draft);
	reopen();
	assert_int_equal(spool_count(spool), 2);
	assert_int_equal(count_messages(), 2);
	spool_message_free(&message);
}

static void set_aside_while_it_runs(void **state)
{
	char from[256], to[256];

	(void)state;
	put("one");
	snprintf(from, sizeof from, "%s/index.sqlite", directory);
	snprintf(to, sizeof to, "%s/gone.sqlite", directory);
	assert_int_equal(rename(from, to), 0);
	put("two");
	expect_log("the index", 1);
	expect_log("1 messages were taken up again", 1);
	struct due due = ask_due(10);

	assert_int_equal(due.count, 2);
	finish(&due.messages[0]);
	finish(&due.messages[1]);
}

/* ---- disks ---- */

static void failed_fsync_promises_nothing(void **state)
{
	struct spool_message *message = new_message();
	struct spool_draft *draft = begin_draft(message, "x");
	struct answer answer;

	(void)state;
	disk->error = EIO;
	answer = sync_draft(draft);
	assert_false(answer.ok);
	assert_string_equal(answer.why, "Input/output error");
	disk->error = 0;
	answer =
	    commit_draft(draft, message); /* the next fsync() would succeed, without the data */
	assert_false(answer.ok);
	assert_string_equal(answer.why, "Input/output error");
	assert_string_equal(spool_draft_error(draft), "Input/output error");
	spool_draft_free(&draft);
	expect_none_due();
	spool_message_free(&message);
}

static void disk_that_hangs(void **state)
{
	struct spool_message *message = new_message();
	struct spool_draft *draft = begin_draft(message, "x");
	struct answer answer = {0};
	char why[SPOOL_WHY] = "";

	(void)state;
	kill(spool->disk, SIGSTOP);
	spool_draft_commit(draft, message, on_answer, &answer);
	assert_true(spool_is_ready(spool, why));
	ahead->steady = 31; /* not even sent */
	assert_false(spool_is_ready(spool, why));
	ahead->steady = 0;
	run_for(1.2);
	assert_true(spool_is_ready(spool, why));
	ahead->steady = 31;
	assert_false(spool_is_ready(spool, why));
	assert_non_null(strstr(why, "the disk has not answered for 3"));
	assert_false(answer.is_there);
	ahead->steady = 59;
	run_until(&answer.is_there);
	assert_false(answer.ok);
	assert_string_equal(answer.why, "the disk did not answer in time");
	spool_draft_free(&draft);
	kill(spool->disk, SIGCONT);
	expect_none_due(); /* it has not come too late after all */
	assert_true(spool_is_ready(spool, why));
	reopen();
	assert_int_equal(count_messages(), 0);
	spool_message_free(&message);
}

/* The commit succeeds, after we have said that it did not. */
static void late_commit_is_taken_back(void **state)
{
	struct spool_message *message = new_message();
	struct spool_draft *draft = begin_draft(message, "x");
	struct answer answer = {0};

	(void)state;
	disk->ms = 2500;
	spool_draft_commit(draft, message, on_answer, &answer);
	run_for(0.3);
	ahead->steady = 57.5; /* the loop's patience ends in a moment, the disk's has not */
	run_until(&answer.is_there);
	assert_false(answer.ok);
	spool_draft_free(&draft);
	disk->ms = 0;
	expect_none_due();
	assert_int_equal(spool_count(spool), 0);
	reopen();
	expect_none_due();
	assert_int_equal(count_messages(), 0);
	spool_message_free(&message);
}

static void read_only_directory(void **state)
{
	char why[SPOOL_WHY] = "";
	struct spool_message *message = new_message();

	(void)state;
	if (mount(directory, directory, NULL, MS_BIND, NULL) < 0) {
		spool_message_free(&message);
		skip(); /* not root, or no namespace */
	}
	mount(NULL, directory, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
	expect_ready(false, why); /* the disk process tells */
	assert_non_null(strstr(why, "Read-only file system"));
	assert_null(spool_draft_new(spool, message, why));
	umount(directory);
	expect_ready(true, why);
	spool_message_free(&message);
}

/* One that hangs would hold all sessions, not this message alone. */
static void loop_never_looks_at_the_disk(void **state)
{
	static char block[65536];
	struct spool_message *message = new_message();
	struct spool_draft *draft = begin_draft(message, "x");

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_true(spool_draft_write(draft, block, sizeof block));
	assert_true(commit_draft(draft, message).ok);
	run_for(1.2);
	assert_int_equal(disk->looks, 0);
	spool_draft_free(&draft);
	spool_message_free(&message);
}

/* ---- the tiny disk ---- */

static bool mount_tiny(const char *options)
{
	return mount("tmpfs", directory, "tmpfs", 0, options) == 0;
}

static void full_disk_promises_nothing(void **state)
{
	static char block[65536];
	char why[SPOOL_WHY] = "";
	struct spool_message *message;
	struct spool_draft *draft;
	size_t taken = 0;

	(void)state;
	spool_close(&spool);
	if (!mount_tiny("size=3m"))
		skip(); /* not root, or no namespace */
	open_spool();
	while (taken < 100 && spool_is_ready(spool, why)) {
		struct answer answer;

		message = new_message();
		draft = spool_draft_new(spool, message, why);
		if (draft && spool_draft_write(draft, block, sizeof block)) {
			answer = commit_draft(draft, message);
			taken += answer.ok;
		}
		spool_draft_free(&draft);
		spool_message_free(&message);
	}
	assert_in_range(taken, 20, 47);
	assert_non_null(strstr(why, "is full"));
	assert_int_equal(spool_count(spool), taken);

	/* What is there can be worked off, with the reserve. */
	while (taken > 0) {
		struct spool_message *due = ask_one();

		finish(&due);
		taken--;
	}
	expect_ready(true, why);
	assert_int_equal(count_messages(), 0);

	/* A message larger than the disk fails before its end. */
	message = new_message();
	draft = begin_draft(message, "");
	for (size_t i = 0; i < 60 && spool_draft_write(draft, block, sizeof block); i++)
		;
	assert_non_null(strstr(spool_draft_error(draft), "is full"));
	assert_false(commit_draft(draft, message).ok);
	spool_draft_free(&draft);
	spool_message_free(&message);
}

/* What was promised is written when it can be. */
static void settled_when_the_disk_is_back(void **state)
{
	struct spool_message *due;
	struct answer answer = {0};

	(void)state;
	put("x");
	due = ask_one();
	disk->error = ENOSPC;
	due->recipients[0].is_done = true;
	spool_settle(spool, &due, on_answer, &answer);
	for (int i = 0; i < 80 && !count_in_log("what became of message"); i++)
		run_for(0.1);
	run_for(2.5);
	assert_false(answer.is_there);
	expect_log("what became of message", 1);
	expect_none_due();
	disk->error = 0;
	run_until(&answer.is_there);
	assert_true(answer.ok);
	expect_none_due();
	assert_int_equal(count_messages(), 0);
}

/* ---- company ---- */

static void await_holder(void)
{
	for (int i = 0; i < 24000 && !disk->is_held; i++)
		usleep(1000);
	assert_true(disk->is_held);
}

static pid_t start_other(void (*what)(void))
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ev_loop_fork(loop);
	what();
	_exit(0);
}

static void hold_the_spool(void)
{
	open_spool();
	expect_none_due();
	disk->is_held = true;
	for (;;)
		ev_run(loop, EVRUN_ONCE);
}

static void another_takes_over(void **state)
{
	struct spool_message *due;
	pid_t other;

	(void)state;
	other = start_other(hold_the_spool);
	await_holder();
	open_spool();
	put("x");
	run_for(1.2);
	expect_none_due();
	assert_int_equal(spool_next_due(spool), 0);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	for (int i = 0; i < 80 && spool_next_due(spool) == 0; i++)
		run_for(0.1);
	assert_true(spool_next_due(spool) > 0);
	due = await_one();
	finish(&due);
}

/* Another process has the index for itself just while we take over: the rows are looked at when
 * that is over. */
static void hold_the_index(void)
{
	char path[256];
	sqlite3 *db;

	snprintf(path, sizeof path, "%s/index.sqlite", directory);
	if (sqlite3_open(path, &db) == SQLITE_OK &&
	    sqlite3_exec(db,
		"PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM remembered", NULL,
		NULL, NULL) == SQLITE_OK)
		disk->is_held = true;
	for (;;)
		pause();
}

static void damaged_time_is_found_after_a_busy_start(void **state)
{
	struct spool_message *due;
	pid_t other;

	(void)state;
	put("one");
	run_sql("UPDATE messages SET due = due + 1099511627776");
	spool_close(&spool);
	other = start_other(hold_the_index);
	await_holder();
	open_spool(); /* waits for its time */
	run_for(0.5);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	due = await_one();
	finish(&due);
}

/* What another process commits, and what an operator orders, is noticed. */
static size_t changes;
static void on_change(void *arg)
{
	(void)arg;
	changes++;
}

static void put_one_and_go(void)
{
	open_spool();
	put("from another");
	spool_close(&spool);
}

static void others_messages_are_worked_off(void **state)
{
	struct spool_message *due;
	pid_t other;

	(void)state;
	run_for(1.2);
	spool_watch(spool, on_change, NULL);
	changes = 0;
	other = start_other(put_one_and_go);
	waitpid(other, NULL, 0);
	for (int i = 0; i < 80 && changes == 0; i++)
		run_for(0.1);
	assert_true(changes > 0);
	due = ask_one();
	expect_body(due, "from another");
	finish(&due);
}

static void operators_orders_are_obeyed(void **state)
{
	struct spool_index *index;
	struct spool_message *message = new_message(), *due;
	char why[SPOOL_WHY];
	size_t count;

	(void)state;
	message->recipients[0].next_try = clock_wall() + 3600;
	commit(message, "x");
	expect_none_due();
	assert_int_equal(spool_index_open(&index, directory, SPOOL_CHANGE, why), SPOOL_DONE);
	assert_int_equal(spool_index_retry(index, "nonsense", &count, why), SPOOL_ABSENT);
	assert_int_equal(spool_index_retry_domain(index, "example.com", &count, why), SPOOL_ABSENT);
	assert_int_equal(spool_index_retry_domain(index, "example.org", &count, why), SPOOL_DONE);
	assert_int_equal(count, 1);
	due = ask_one();

	/* One that comes while the message is being tried is not lost with what is settled. */
	assert_int_equal(spool_index_bounce(index, message->id, &count, why), SPOOL_DONE);
	assert_false(due->recipients[0].must_bounce);
	due->recipients[0].next_try = clock_wall() + 3600;
	assert_true(settle(&due).ok);
	due = ask_one();
	assert_true(due->recipients[0].must_bounce);
	due->recipients[0].next_try = clock_wall() + 60; /* no notice could be written */
	assert_true(settle(&due).ok);
	expect_none_due();
	spool_index_close(&index);
	spool_message_free(&message);
}

/* ---- much ---- */

/* 0 under a sanitizer, which has an allocator of its own. */
static size_t allocated(void) { return mallinfo2().uordblks; }

static void ten_thousand_wait_on_the_disk_alone(void **state)
{
	enum { COUNT = 10000, AT_ONCE = 500 };
	static struct answer answers[AT_ONCE];
	static struct spool_draft *drafts[AT_ONCE];
	size_t before = 0;

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		struct spool_message *message = new_message();

		message->recipients[0].next_try = clock_wall() + 3600;
		answers[i % AT_ONCE].is_there = false;
		drafts[i % AT_ONCE] = begin_draft(message, "x");
		spool_draft_commit(drafts[i % AT_ONCE], message, on_answer, &answers[i % AT_ONCE]);
		spool_message_free(&message);
		for (size_t j = 0; i % AT_ONCE == AT_ONCE - 1 && j < AT_ONCE; j++) {
			run_until(&answers[j].is_there);
			assert_true(answers[j].ok);
			spool_draft_free(&drafts[j]);
		}
		if (i == 4 * AT_ONCE)
			before = allocated();
	}
	assert_int_equal(spool_count(spool), COUNT);
	assert_in_range(allocated(), 0, before + 1024 * 1024);
	reopen();
	expect_none_due();
	assert_int_equal(spool_count(spool), COUNT);
}

/* What its recipients' hosts said is more than fits: the rest is kept, and nobody waits behind it.
 */
static void long_replies_hold_nobody_up(void **state)
{
	enum { COUNT = 66000 };
	struct spool_message *message = new_message(), *due;

	(void)state;
	stage_patience = 100; /* for 64 MiB, through a sanitizer */
	message->recipients = mem_resize(message->recipients, COUNT, sizeof *message->recipients);
	for (size_t i = 1; i < COUNT; i++) {
		message->recipients[i] = message->recipients[0];
		message->recipients[i].address = mem_printf("b%zu@example.org", i);
	}
	message->count = COUNT;
	commit(message, "x");
	due = ask_one();
	assert_int_equal(due->count, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		due->recipients[i].last.code = 451;
		memset(due->recipients[i].last.text, 'x', sizeof due->recipients[i].last.text - 1);
	}
	assert_true(settle(&due).ok);
	put("behind it");
	due = ask_one();
	assert_int_equal(due->count, COUNT);
	assert_int_equal(strlen(due->recipients[COUNT - 1].last.text), 80);
	spool_give_back(spool, &due);
	spool_message_free(&message);
	stage_patience = 24;
}

/* ---- the end of the loop ---- */

static struct spool_message *all[290];
static size_t all_count;

static void on_all(struct spool_message *message, void *arg)
{
	if (message)
		all[all_count++] = message;
	*(bool *)arg = !message;
}

static void settle_all_and_go(void)
{
	bool is_there = false;

	open_spool();
	for (int i = 0; i < 290; i++)
		put("x");
	spool_ask_due(spool, SPOOL_LONGEST_DUE, 290, on_all, &is_there);
	run_until(&is_there);
	kill(spool->disk, SIGSTOP);
	for (size_t i = 0; i < all_count; i++) {
		all[i]->recipients[0].is_done = true;
		spool_settle(spool, &all[i], NULL, NULL);
	}
	for (int i = 0; i < 10; i++)
		ev_run(loop, EVRUN_NOWAIT);
	kill(spool->disk, SIGCONT);
}

/* Several turns of the disk process, none of whose answers anybody hears. */
static void settled_to_the_end(void **state)
{
	pid_t other;

	(void)state;
	other = start_other(settle_all_and_go);
	waitpid(other, NULL, 0);
	open_spool();
	for (int i = 0; i < 80 && count_messages() > 0; i++)
		run_for(0.1); /* to take over */
	expect_none_due();
	assert_int_equal(spool_count(spool), 0);
	assert_int_equal(count_messages(), 0);
}

/* ---- setting up ---- */

/* As if its disk was unmounted: what is missing is not lost, and nothing takes its place. */
static void directory_that_is_away(void **state)
{
	char why[SPOOL_WHY] = "", away[300];
	bool is_damaged = true;
	struct spool_message *message;
	struct answer answer = {0};

	(void)state;
	put("one");
	put("two");
	message = ask_one();
	snprintf(away, sizeof away, "%s.away", directory);
	assert_int_equal(rename(directory, away), 0);
	assert_int_equal(spool_open_body(spool, message, &is_damaged, why), -1);
	assert_false(is_damaged);
	assert_non_null(strstr(why, "unmounted?"));
	message->recipients[0].next_try = clock_wall() + 100;
	spool_settle(spool, &message, on_answer, &answer);
	expect_ready(false, why);
	assert_non_null(strstr(why, "unmounted?"));
	assert_false(answer.is_there);
	assert_int_equal(access(directory, F_OK), -1);
	assert_int_equal(rename(away, directory), 0);
	run_until(&answer.is_there);
	assert_true(answer.ok);
	expect_ready(true, why);
	message = await_one();
	expect_body(message, "two");
	finish(&message);
	assert_int_equal(access(file_of("damaged"), F_OK), -1);
	expect_log("damaged", 0);
}

/* Mounts of a test are seen by it alone. */
static int set_up_disk(void **state)
{
	(void)state;
	loop_process = getpid();
	disk = mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (unshare(CLONE_NEWNS) == 0)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	stage_root = fastest_root();
	return 0;
}

static int tear_down_disk(void **state)
{
	memset(disk, 0, sizeof *disk);
	spool_close(&spool);
	umount(directory);
	return tear_down(state);
}

int main(void)
{
#define OPEN(name, function)                                                                       \
	{                                                                                          \
		name, function, set_up, tear_down_disk, NULL                                       \
	}
#define ALONE(name, function)                                                                      \
	{                                                                                          \
		name, function, make_state, tear_down_disk, NULL                                   \
	}
	const struct CMUnitTest tests[] = {
	    OPEN("a damaged row costs nobody his mail", damaged_row_costs_nobody_his_mail),
	    OPEN("a damaged row and file are set aside", damaged_row_and_file_are_set_aside),
	    OPEN("a damaged time after a busy start", damaged_time_is_found_after_a_busy_start),
	    OPEN("a recipient without message is found", stray_recipient_is_found_at_start),
	    OPEN("a damaged time is found at start", damaged_time_is_found_at_start),
	    OPEN("a missing file is reported", missing_file_is_reported),
	    OPEN("a cut file is set aside", cut_file_is_set_aside),
	    OPEN("a foreign file is set aside", foreign_file_is_set_aside),
	    OPEN("what is no file holds nobody up", what_is_no_file_holds_nobody_up),
	    OPEN("set aside by the runner", set_aside_by_the_runner),
	    OPEN("a lost index is made again", lost_index_is_made_again),
	    OPEN("a damaged index is made again", damaged_index_is_made_again),
	    OPEN("a lost index gives no half message", lost_index_gives_no_half_message),
	    OPEN("an index moved away while it runs", set_aside_while_it_runs),
	    OPEN("R-SMTP-65: a failed fsync promises nothing", failed_fsync_promises_nothing),
	    OPEN("a disk that hangs", disk_that_hangs),
	    OPEN("a late commit is taken back", late_commit_is_taken_back),
	    OPEN("a read-only directory", read_only_directory),
	    OPEN("F-02: a directory that is away", directory_that_is_away),
	    OPEN("the loop never looks at the disk", loop_never_looks_at_the_disk),
	    OPEN("a full disk promises nothing", full_disk_promises_nothing),
	    OPEN("settled when the disk is back", settled_when_the_disk_is_back),
	    ALONE("another takes over", another_takes_over),
	    OPEN("others' messages are worked off", others_messages_are_worked_off),
	    OPEN("an operator's orders are obeyed", operators_orders_are_obeyed),
	    OPEN("long replies hold nobody up", long_replies_hold_nobody_up),
	    ALONE("settled to the end", settled_to_the_end),
	    OPEN("R-SMTP-76: ten thousand wait on the disk", ten_thousand_wait_on_the_disk_alone),
	};

	return cmocka_run_group_tests(tests, set_up_disk, NULL);
}
