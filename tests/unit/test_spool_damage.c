/*
 * test_spool_damage.c - R-SMTP-65, where a file of the index is damaged: two messages are promised,
 * both processes are killed, one file is changed; whatever it was, both messages are still there.
 */
#include "spool_stage.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char ids[2][SPOOL_ID_SIZE];
static char template[160];

/* ---- a spool whose processes were killed ---- */

static struct {
	char ids[2][SPOOL_ID_SIZE];
	bool is_there;
} * told;

static void promise_two(void)
{
	ev_loop_fork(loop);
	open_spool();
	memcpy(told->ids[0], put("one"), SPOOL_ID_SIZE);
	memcpy(told->ids[1], put("two"), SPOOL_ID_SIZE);
	told->is_there = true;
	for (;;)
		pause();
}

static void await_lock(void)
{
	int fd = open(file_of("lock"), O_RDWR);

	assert_true(fd >= 0);
	for (int i = 0; i < 4000 && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
		usleep(1000);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
}

static void kill_after_two(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		promise_two();
	}
	for (int i = 0; i < 8000 && !told->is_there; i++)
		usleep(1000);
	assert_true(told->is_there);
	kill(-child, SIGKILL);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	await_lock();
	memcpy(ids, told->ids, sizeof ids);
}

static void copy(const char *from, const char *to)
{
	char *command = mem_printf("rm -rf '%s' && cp -a '%s' '%s'", to, from, to);

	assert_int_equal(system(command), 0);
	free(command);
}

/* ---- damage ---- */

static off_t size_of(const char *name)
{
	struct stat status;

	assert_int_equal(stat(file_of(name), &status), 0);
	return status.st_size;
}

static void flip(const char *name, off_t at, int bit)
{
	int fd = open(file_of(name), O_RDWR);
	unsigned char octet;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &octet, 1, at), 1);
	octet ^= (unsigned char)(1 << bit);
	assert_int_equal(pwrite(fd, &octet, 1, at), 1);
	close(fd);
}

static void remove_name(const char *name) { assert_int_equal(unlink(file_of(name)), 0); }

/* ---- what must be true then ---- */

static bool is_aside(const char *id)
{
	char name[96];

	snprintf(name, sizeof name, "damaged/%s", id);
	return access(file_of(name), F_OK) == 0;
}

/* Given out with its body, or at least kept for people, and told. */
static size_t find_both(bool may_be_aside)
{
	struct due due = ask_due(10);
	size_t given = 0;

	for (int i = 0; i < 2; i++) {
		bool found = false;

		for (size_t n = 0; n < due.count; n++)
			if (strcmp(due.messages[n]->id, ids[i]) == 0) {
				expect_body(due.messages[n], i ? "two" : "one");
				assert_string_equal(
				    due.messages[n]->recipients[0].address, "b@example.org");
				found = true;
			}
		given += found;
		if (!found && !(may_be_aside && is_aside(ids[i])))
			expect_log(ids[i], 4711);
	}
	for (size_t n = 0; n < due.count; n++)
		finish(&due.messages[n]);
	return given;
}

static void expect_both(const char *told_at_error)
{
	open_spool();
	assert_int_equal(find_both(false), 2);
	expect_log(told_at_error, 1);
	expect_log("nobody had been promised anything", 0);
	assert_int_equal(count_messages(), 0);
}

static const char *const two_again =
    "error spool: the index had lost mail: 2 messages were taken up again from their files, to all "
    "of their recipients: some may arrive twice";

static void log_header(void **state)
{
	(void)state;
	kill_after_two();
	flip("index.sqlite-wal", 60, 3);
	expect_both(two_again);
}

static void log_lost(void **state)
{
	(void)state;
	kill_after_two();
	remove_name("index.sqlite-wal");
	remove_name("index.sqlite-shm");
	expect_both(two_again);
}

static void index_emptied(void **state)
{
	(void)state;
	kill_after_two();
	assert_int_equal(truncate(file_of("index.sqlite"), 0), 0);
	expect_both(two_again);
}

/* From the first frame that is not as it was written on, SQLite takes none, and says nothing. */
static void log_frames(void **state)
{
	enum { FRAMES_AT = 32, FRAME = 24 + 4096 };
	off_t size;

	(void)state;
	kill_after_two();
	copy(directory, template);
	size = size_of("index.sqlite-wal");
	assert_true(size > 8 * FRAME);
	for (off_t at = FRAMES_AT + FRAME / 2; at < size; at += FRAME) {
		copy(template, directory);
		flip("index.sqlite-wal", at, 5);
		open_spool();
		assert_int_equal(find_both(false), 2);
		expect_log("nobody had been promised anything", 0);
		spool_close(&spool);
	}
	assert_true(count_in_log("1 messages were taken up again from their files") > 0);
}

/* The header of the file, of a page, cell pointers, the schema, keys, values, free space. */
static void pages(void **state)
{
	enum { STRIDE = 89 };
	off_t size;
	int bit = 0;

	(void)state;
	kill_after_two();
	open_spool();
	spool_close(&spool); /* all is in the index itself */
	copy(directory, template);
	size = size_of("index.sqlite");
	assert_true(size >= 6 * 4096);
	for (off_t at = 0; at < size; at += at % 4096 < 128 ? 7 : STRIDE) {
		copy(template, directory);
		flip("index.sqlite", at, bit++ % 8);
		open_spool();
		find_both(true);
		expect_log("nobody had been promised anything", 0);
		spool_close(&spool);
		assert_int_equal(ftruncate(log_file, 0), 0);
	}
}

/* The end is not stored twice: a file that outlives its row is no mail. */
static void finished_file_is_no_mail(void **state)
{
	struct spool_message *due;
	char id[SPOOL_ID_SIZE], saved[192];

	(void)state;
	open_spool();
	memcpy(id, put("x"), sizeof id);
	due = ask_one();
	snprintf(saved, sizeof saved, "%s/kept", state_dir);
	assert_int_equal(link(file_of(id), saved), 0);
	finish(&due);
	spool_close(&spool);
	assert_int_equal(rename(saved, file_of(id)), 0);
	open_spool();
	expect_none_due();
	assert_int_equal(count_messages(), 0);
	expect_log("taken up", 0);
}

static int set_up_damage(void **state)
{
	stage_root = fastest_root();
	told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	make_state(state);
	snprintf(template, sizeof template, "%s/template", state_dir);
	return 0;
}

static int tear_down_damage(void **state)
{
	tear_down(state);
	munmap(told, sizeof *told);
	return 0;
}

int main(void)
{
#define DAMAGE(name, function)                                                                     \
	{                                                                                          \
		name, function, set_up_damage, tear_down_damage, NULL                              \
	}
	const struct CMUnitTest tests[] = {
	    DAMAGE("R-SMTP-65: a bit of the log's first frame", log_header),
	    DAMAGE("R-SMTP-65: the log is lost", log_lost),
	    DAMAGE("R-SMTP-65: the index is empty", index_emptied),
	    DAMAGE("R-SMTP-65: a bit of each frame of the log", log_frames),
	    DAMAGE("R-SMTP-65: a bit of each part of the index", pages),
	    DAMAGE("a finished file is no mail", finished_file_is_no_mail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
