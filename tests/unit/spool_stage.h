/*
 * spool_stage.h - a spool with its real disk process in a directory of its own, for tests: the log
 * in a file, messages made and committed, the loop run until something has happened.
 */
#ifndef TESTS_UNIT_SPOOL_STAGE_H
#define TESTS_UNIT_SPOOL_STAGE_H

#include "proxy/spool/spool_dir.h"
#include "proxy/spool/spool_internal.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"

#include <dirent.h>
#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static struct ev_loop *loop;
static struct conf conf;
static struct spool *spool;
static const char *stage_root = "/tmp";
static char state_dir[64], directory[128];
static int log_file = -1, saved_stderr = -1;

/* ---- the clocks, of both processes ---- */

static struct {
	time_t wall;
	double steady;
} * ahead;

time_t clock_wall(void) { return time(NULL) + ahead->wall; }

double clock_steady(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9 + ahead->steady;
}

/* ---- the log ---- */

static char seen[1 << 18];

static inline size_t count_in_log(const char *text)
{
	ssize_t len = pread(log_file, seen, sizeof seen - 1, 0);
	size_t count = 0;

	seen[len > 0 ? len : 0] = '\0';
	for (const char *at = seen; (at = strstr(at, text)); at += strlen(text))
		count++;
	return count;
}

static inline void expect_log(const char *text, size_t count)
{
	if (count_in_log(text) == count)
		return;
	dprintf(saved_stderr, "%zu times in the log, not %zu: %s\nthe log:\n%s\n",
	    count_in_log(text), count, text, seen);
	fail();
}

/* ---- the loop ---- */

static inline void on_deadline(struct ev_loop *l, ev_timer *timer, int events)
{
	(void)events;
	*(bool *)timer->data = true;
	ev_break(l, EVBREAK_ALL);
}

/* Until *done; a loaded machine under a sanitizer has its time. */
static double stage_patience = 24;
static inline void run_until(const bool *done)
{
	bool is_over = false;
	ev_timer timer;

	ev_now_update(loop);
	ev_timer_init(&timer, on_deadline, stage_patience, 0.);
	timer.data = &is_over;
	ev_timer_start(loop, &timer);
	while (!*done && !is_over)
		ev_run(loop, EVRUN_ONCE);
	ev_timer_stop(loop, &timer);
	if (!*done)
		expect_log("what was waited for", 1);
}

static inline void run_for(double seconds)
{
	bool is_over = false;
	ev_timer timer;

	ev_now_update(loop);
	ev_timer_init(&timer, on_deadline, seconds, 0.);
	timer.data = &is_over;
	ev_timer_start(loop, &timer);
	while (!is_over)
		ev_run(loop, EVRUN_ONCE);
}

/* ---- messages ---- */

static inline struct spool_recipient *add_recipient(
    struct spool_message *message, const char *address)
{
	struct spool_recipient *r;

	message->recipients =
	    mem_resize(message->recipients, message->count + 1, sizeof *message->recipients);
	r = &message->recipients[message->count++];
	memset(r, 0, sizeof *r);
	r->address = mem_strdup(address);
	snprintf(r->domain, sizeof r->domain, "%s", strchr(address, '@') + 1);
	return r;
}

static inline struct spool_message *new_message(void)
{
	struct spool_message *message = mem_zero(1, sizeof *message);
	size_t used;

	spool_make_id(spool, message->id);
	message->arrived = clock_wall();
	message->session = mem_strdup("k3f9-2");
	snprintf(message->client, sizeof message->client, "10.1.2.3");
	assert_int_equal(
	    smtp_parse_path("<a@example.net>", 15, &used, &message->envelope.sender).code, 0);
	add_recipient(message, "b@example.org");
	return message;
}

/* ---- drafts ---- */

struct answer {
	bool is_there, ok;
	char why[SPOOL_WHY];
};

static inline void on_answer(bool ok, const char *why, void *arg)
{
	struct answer *answer = arg;

	assert_false(answer->is_there);
	*answer = (struct answer){.is_there = true, .ok = ok};
	snprintf(answer->why, sizeof answer->why, "%s", why);
}

static inline struct spool_draft *begin_draft(const struct spool_message *message, const char *body)
{
	char why[SPOOL_WHY] = "";
	struct spool_draft *draft = spool_draft_new(spool, message, why);

	if (!draft)
		fail_msg("no draft: %s", why);
	assert_true(spool_draft_write(draft, body, strlen(body)));
	return draft;
}

static inline struct answer sync_draft(struct spool_draft *draft)
{
	struct answer answer = {0};

	spool_draft_sync(draft, on_answer, &answer);
	assert_false(answer.is_there);
	run_until(&answer.is_there);
	return answer;
}

static inline struct answer commit_draft(
    struct spool_draft *draft, const struct spool_message *message)
{
	struct answer answer = {0};

	spool_draft_commit(draft, message, on_answer, &answer);
	assert_false(answer.is_there);
	run_until(&answer.is_there);
	return answer;
}

static inline void commit(const struct spool_message *message, const char *body)
{
	struct spool_draft *draft = begin_draft(message, body);
	struct answer answer = commit_draft(draft, message);

	if (!answer.ok)
		fail_msg("no commit: %s", answer.why);
	spool_draft_free(&draft);
}

/* One message to b@example.org, in the spool; its id. */
static inline const char *put(const char *body)
{
	static char id[SPOOL_ID_SIZE];
	struct spool_message *message = new_message();

	commit(message, body);
	memcpy(id, message->id, sizeof id);
	spool_message_free(&message);
	return id;
}

/* ---- what is due ---- */

struct due {
	bool is_there;
	size_t count;
	struct spool_message *messages[64];
};

static inline void on_due(struct spool_message *message, void *arg)
{
	struct due *due = arg;

	assert_false(due->is_there);
	if (message) {
		assert_true(due->count < 64);
		due->messages[due->count++] = message;
	} else {
		due->is_there = true;
	}
}

static inline struct due ask_in_order(enum spool_order order, size_t max)
{
	struct due due = {0};

	spool_ask_due(spool, order, max, on_due, &due);
	assert_false(due.is_there);
	run_until(&due.is_there);
	return due;
}

static inline struct due ask_due(size_t max) { return ask_in_order(SPOOL_LONGEST_DUE, max); }

static inline struct spool_message *ask_one(void)
{
	struct due due = ask_due(1);

	if (due.count != 1)
		expect_log("a message that is due", 1);
	return due.messages[0];
}

static inline void expect_none_due(void)
{
	struct due due = ask_due(10);

	assert_int_equal(due.count, 0);
}

static inline struct answer settle(struct spool_message **message)
{
	struct answer answer = {0};

	spool_settle(spool, message, on_answer, &answer);
	assert_false(answer.is_there);
	run_until(&answer.is_there);
	return answer;
}

static inline void finish(struct spool_message **message)
{
	for (size_t i = 0; i < (*message)->count; i++)
		(*message)->recipients[i].is_done = true;
	assert_true(settle(message).ok);
}

/* Where it becomes due by somebody else's deed. */
static inline struct spool_message *await_one(void)
{
	for (int i = 0; i < 80; i++) {
		struct due due = ask_due(1);

		if (due.count == 1)
			return due.messages[0];
		run_for(0.1);
	}
	return ask_one();
}

/* It looks at its disk once a second. */
static inline void expect_ready(bool is_ready, char why[SPOOL_WHY])
{
	for (int i = 0; i < 160 && spool_is_ready(spool, why) != is_ready; i++)
		run_for(0.05);
	assert_int_equal(spool_is_ready(spool, why), is_ready);
}

static inline void expect_body(const struct spool_message *message, const char *body)
{
	char why[SPOOL_WHY], text[4096];
	int fd = spool_open_body(spool, message, NULL, why);
	ssize_t len;

	if (fd < 0)
		fail_msg("no body: %s", why);
	len = read(fd, text, sizeof text - 1);
	assert_true(len >= 0);
	text[len] = '\0';
	assert_string_equal(text, body);
	close(fd);
}

/* ---- files ---- */

static inline size_t count_files(const char *where, const char *part)
{
	char path[512];
	size_t count = 0;
	struct dirent *entry;

	snprintf(path, sizeof path, "%s/%s", directory, where);
	DIR *dir = opendir(path);

	while (dir && (entry = readdir(dir)))
		count += strstr(entry->d_name, part) != NULL && entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static inline void count_one(const char *id, void *arg)
{
	(void)id;
	++*(size_t *)arg;
}

static inline size_t count_messages(void)
{
	size_t count = 0;

	spool_dir_each(directory, count_one, &count);
	return count;
}

static inline const char *file_of(const char *id)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", directory, id);
	return path;
}

/* ---- setting up ---- */

static inline void open_spool(void)
{
	spool = spool_open(loop, &conf);
	assert_non_null(spool);
}

static inline void reopen(void)
{
	spool_close(&spool);
	open_spool();
}

/* What a process has written outlives it on any file system: a test of deaths takes the fastest, if
 * there is room. Not by statvfs(), which a test may count. */
static inline const char *fastest_root(void)
{
	static const char memory[] = "/dev/shm";
	struct statfs fs;

	if (access(memory, W_OK) < 0 || statfs(memory, &fs) < 0)
		return "/tmp";
	return (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize > 1 << 30 ? memory : "/tmp";
}

static inline int make_state(void **state)
{
	(void)state;
	ahead =
	    mmap(NULL, sizeof *ahead, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!loop)
		loop = ev_default_loop(0);
	snprintf(state_dir, sizeof state_dir, "%s/danelaw-spool-XXXXXX", stage_root);
	assert_non_null(mkdtemp(state_dir));
	snprintf(directory, sizeof directory, "%s/spool", state_dir);
	conf.server.state_dir = state_dir;
	log_file = memfd_create("log", 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(log_file, STDERR_FILENO);
	return 0;
}

static inline int set_up(void **state)
{
	make_state(state);
	open_spool();
	return 0;
}

static inline void remove_all(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	while (dir && (entry = readdir(dir))) {
		char *name = mem_printf("%s/%s", path, entry->d_name);

		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    unlink(name) < 0)
			remove_all(name);
		free(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static inline int tear_down(void **state)
{
	(void)state;
	spool_close(&spool);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(log_file);
	remove_all(state_dir);
	munmap(ahead, sizeof *ahead);
	return 0;
}

#endif
