/*
 * test_store.c - policy/store.h on real files: what survives restarts, kill -9 at any moment,
 * changed octets, cut and foreign files, full, slow and read-only disks, and company.
 */
#include "policy/store.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"

#include <dirent.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { THEN = 1900000000, WEEK = 7 * 86400 };

static struct ev_loop *loop;
static struct conf conf;
static char directory[64], path[128];
static int log_file = -1, saved_stderr = -1;

/* ---- the log, as a file ---- */

static void capture_log(void)
{
	log_file = memfd_create("log", 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(log_file, STDERR_FILENO);
}

static void release_log(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(log_file);
}

static char seen[1 << 16];

static size_t count_in_log(const char *text)
{
	ssize_t len = pread(log_file, seen, sizeof seen - 1, 0);
	size_t count = 0;

	seen[len > 0 ? len : 0] = '\0';
	for (const char *at = seen; (at = strstr(at, text)); at += strlen(text))
		count++;
	return count;
}

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Where the log is not captured. */
static void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vdprintf(saved_stderr, format, args);
	va_end(args);
	dprintf(saved_stderr, "\nthe log:\n%s\n", seen);
	fail();
}

static void expect_log(const char *text, size_t count)
{
	if (count_in_log(text) != count)
		complain("%zu times in the log, not %zu: %s", count_in_log(text), count, text);
}

static void clear_log(void)
{
	assert_int_equal(ftruncate(log_file, 0), 0);
	lseek(log_file, 0, SEEK_SET);
}

/* ---- files ---- */

static void clear_directory(void)
{
	char name[512];
	struct dirent *entry;
	DIR *dir = opendir(directory);

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		snprintf(name, sizeof name, "%s/%s", directory, entry->d_name);
		unlink(name);
	}
	closedir(dir);
}

static size_t count_files(const char *part)
{
	size_t count = 0;
	struct dirent *entry;
	DIR *dir = opendir(directory);

	while ((entry = readdir(dir)))
		count += strstr(entry->d_name, part) != NULL;
	closedir(dir);
	return count;
}

static char *read_file(size_t *len)
{
	int fd = open(path, O_RDONLY);
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	*len = (size_t)status.st_size;
	char *data = mem_alloc(*len);

	assert_int_equal(read(fd, data, *len), *len);
	close(fd);
	return data;
}

static void write_file(const void *data, size_t len)
{
	clear_directory();
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_int_equal(write(fd, data, len), len);
	futimens(fd, (struct timespec[]){{0}, {0}});
	close(fd);
}

/* ---- entries ---- */

static char *pattern_list[STS_MX_MAX];

static struct sts_entry make(unsigned number, time_t fetched)
{
	struct sts_entry entry = {.fetched = fetched,
	    .expires = fetched + WEEK,
	    .used = fetched - fetched % 86400,
	    .policy = {.mode = number % 3,
		.max_age = WEEK,
		.mx_count = 1 + number % 3,
		.mx = pattern_list}};

	snprintf(entry.domain, sizeof entry.domain, "d%u.example.org", number);
	snprintf(entry.id, sizeof entry.id, "id%u", number);
	return entry;
}

static void put(struct store *store, unsigned number, time_t fetched)
{
	struct sts_entry entry = make(number, fetched);

	store_put(store, &entry);
}

static void assert_same(const struct sts_entry *a, const struct sts_entry *b)
{
	assert_string_equal(a->domain, b->domain);
	assert_string_equal(a->id, b->id);
	assert_int_equal(a->fetched, b->fetched);
	assert_int_equal(a->expires, b->expires);
	assert_int_equal(a->used, b->used);
	assert_int_equal(a->policy.mode, b->policy.mode);
	assert_int_equal(a->policy.max_age, b->policy.max_age);
	assert_int_equal(a->policy.mx_count, b->policy.mx_count);
	for (size_t i = 0; i < a->policy.mx_count; i++)
		assert_string_equal(a->policy.mx[i], b->policy.mx[i]);
}

/* ---- what is stored ---- */

static size_t loaded_count;
static struct sts_entry last; /* without its policy */

/* What comes back is what was written, or nothing. */
static void on_entry(const struct sts_entry *entry, void *arg)
{
	unsigned number;

	(void)arg;
	loaded_count++;
	last = *entry;
	assert_int_equal(sscanf(entry->domain, "d%u.example.org", &number), 1);
	struct sts_entry wanted = make(number, entry->fetched);

	assert_same(entry, &wanted);
}

static struct store *open_store(void) { return store_open(loop, &conf); }

static size_t load(struct store *store)
{
	loaded_count = 0;
	store_load(store, on_entry, NULL);
	return loaded_count;
}

static size_t reload(void)
{
	struct store *store = open_store();
	size_t count = load(store);

	store_close(&store);
	return count;
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

/* Until so many policies can be seen by another process. */
static void run_until_seen(size_t count);

/* A loaded machine under a sanitizer has its time. */
enum { TURNS = 480 };

static void run_until_logged(const char *text)
{
	for (int i = 0; i < TURNS && !count_in_log(text); i++)
		run_for(0.05);
}

static pid_t parent_of(const char *process)
{
	char name[300];
	int parent = 0;

	snprintf(name, sizeof name, "/proc/%s/stat", process);
	FILE *file = fopen(name, "r");

	if (file && fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1)
		parent = 0;
	if (file)
		fclose(file);
	return parent;
}

/* 0: this process has no child, or none any more. */
static pid_t find_child(void)
{
	pid_t child = 0;
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	assert_non_null(dir);
	while (!child && (entry = readdir(dir)))
		if (parent_of(entry->d_name) == getpid())
			child = atoi(entry->d_name);
	closedir(dir);
	return child;
}

static pid_t find_writer(void)
{
	pid_t writer = find_child();

	assert_true(writer > 0); /* who signals 0 ends all that has started him */
	return writer;
}

/* Such a file, closed in order. */
static void make_file(unsigned count)
{
	struct store *store = open_store();

	load(store);
	for (unsigned i = 0; i < count; i++)
		put(store, i, THEN);
	run_until_seen(count); /* nothing is left for the end, which is short */
	store_close(&store);
}

static int set_up(void **state)
{
	(void)state;
	loop = ev_loop_new(EVFLAG_AUTO);
	snprintf(directory, sizeof directory, "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/mta-sts.sqlite", directory);
	conf.server.state_dir = directory;
	for (size_t i = 0; i < STS_MX_MAX; i++)
		pattern_list[i] = mem_printf("mx%zu.example.org", i);
	capture_log();
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	release_log();
	clear_directory();
	rmdir(directory);
	for (size_t i = 0; i < STS_MX_MAX; i++)
		free(pattern_list[i]);
	ev_loop_destroy(loop);
	return 0;
}

/* ---- in good order ---- */

static void restart(void **state)
{
	struct store *store;

	(void)state;
	make_file(100);
	assert_int_equal(reload(), 100);
	store = open_store();
	store_delete(store, "d7.example.org");
	put(store, 8, THEN + 60);
	put(store, 8, THEN + 120); /* the last counts */
	run_until_seen(99);
	store_close(&store);
	assert_int_equal(reload(), 99);
	assert_string_equal(last.domain, "d99.example.org"); /* by use; 8 has the same day */
	expect_log("error", 0);
	assert_int_equal(find_child(), 0);
}

static void large_policy(void **state)
{
	struct store *store = open_store();
	struct sts_entry entry = make(0, THEN);

	(void)state;
	entry.policy.mx_count = STS_MX_MAX;
	snprintf(entry.domain, sizeof entry.domain, "large.example.org");
	for (int i = 0; i < 50; i++) {
		entry.domain[0] = (char)('a' + i % 26);
		store_put(store, &entry);
	}
	store_close(&store);
	expect_log("error", 0);
	size_t len;

	free(read_file(&len));
	assert_true(len > 26 * 15 * STS_MX_MAX);
}

/* What `sqlite3 mta-sts.sqlite 'select * from policies'` shows. */
static void for_people(void **state)
{
	sqlite3 *handle;
	sqlite3_stmt *statement;
	static const char *shown[] = {"d2.example.org", "id2", "enforce",
	    "mx0.example.org mx1.example.org mx2.example.org", "604800", "2030-03-17 17:46:40",
	    "2030-03-24 17:46:40", "2030-03-17"};

	(void)state;
	make_file(3);
	sqlite3_open(path, &handle);
	sqlite3_prepare_v2(
	    handle, "SELECT * FROM policies WHERE domain = 'd2.example.org'", -1, &statement, NULL);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	for (int i = 0; i < 8; i++)
		assert_string_equal(sqlite3_column_text(statement, i), shown[i]);
	sqlite3_finalize(statement);
	sqlite3_close(handle);
}

/* ---- killed ---- */

/* Writes without end, until killed together with its writer. */
static void write_for_ever(unsigned round)
{
	struct store *store;

	setpgid(0, 0);
	loop = ev_loop_new(EVFLAG_AUTO);
	store = open_store();
	load(store);
	for (unsigned i = 0;; i++) {
		put(store, i % 500, THEN + (time_t)round);
		if (i % 7 == 0)
			ev_run(loop, EVRUN_NOWAIT);
	}
}

static void killed(void **state)
{
	size_t count, before = 0;

	(void)state;
	srandom(1);
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* its writer's death is waited for, too */
	for (unsigned round = 0; round < 20 || (round < 200 && before == 0); round++) {
		pid_t child = fork();

		assert_true(child >= 0);
		if (child == 0)
			write_for_ever(round);
		setpgid(child, child);
		/* Longer and longer on a machine where nothing has been written yet. */
		usleep((useconds_t)(random() % 40000) * (1 + round / 20));
		kill(-child, SIGKILL);
		while (waitpid(-child, NULL, 0) > 0)
			;
		count = reload();
		assert_true(count >= before);
		before = count;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	assert_true(before > 0);
	expect_log("damaged", 0);
	expect_log("cannot", 0);
}

static void writer_killed(void **state)
{
	struct store *store = open_store();

	(void)state;
	put(store, 1, THEN);
	run_until_seen(1);
	kill(find_writer(), SIGKILL);
	put(store, 2, THEN);
	run_until_logged("a new one follows");
	put(store, 3, THEN);
	run_until_seen(3);
	assert_int_not_equal(find_writer(), 0);
	store_close(&store);
	expect_log("a new one follows", 1);
	assert_int_equal(reload(), 3);
}

/* Orders to stop are the parent's; what it has said is written first. */
static void writer_told_to_stop(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	struct store *store = open_store();
	pid_t writer = find_writer();

	(void)state;
	put(store, 1, THEN);
	run_until_seen(1); /* it ignores them once it serves */
	for (size_t i = 0; i < 3; i++)
		kill(writer, signals[i]);
	put(store, 2, THEN);
	run_until_seen(2);
	assert_int_equal(find_writer(), writer);
	store_close(&store);
	assert_int_equal(reload(), 2);
}

/* ---- slow ---- */

/* A writer that does not run is a disk that does not answer. */
static void slow_disk(void **state)
{
	struct store *store = open_store();
	double before, longest = 0;

	(void)state;
	run_for(0.1);
	kill(find_writer(), SIGSTOP);
	for (unsigned i = 0; i < 20000; i++) {
		before = clock_steady();
		put(store, i % 5000, THEN + i);
		ev_run(loop, EVRUN_NOWAIT);
		if (clock_steady() - before > longest)
			longest = clock_steady() - before;
	}
	assert_true(longest < 5); /* a busy test machine; who waits for the writer waits for ever */
	kill(find_writer(), SIGCONT);
	run_until_seen(5000); /* the end waits for 2 s alone */
	store_close(&store);
	assert_int_equal(reload(), 5000);
	expect_log("error", 0);
}

static void stuck_disk(void **state)
{
	struct store *store = open_store();
	pid_t writer = find_writer();

	(void)state;
	run_for(0.1);
	kill(writer, SIGSTOP);
	put(store, 1, THEN);
	double before = clock_steady();

	store_close(&store);
	double took = clock_steady() - before;

	assert_true(took > 1.5 && took < 9);
	expect_log("could not be written to its end", 1);
	kill(writer, SIGCONT);
	waitpid(writer, NULL, 0); /* ends by itself */
}

/* Nobody may hold the file for ever; till then what is new waits. */
static void busy_file(void **state)
{
	struct store *store;
	sqlite3 *other;

	(void)state;
	make_file(1);
	store = open_store();
	sqlite3_open(path, &other);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	put(store, 1, THEN);
	run_for(0.4);
	put(store, 2, THEN);
	sqlite3_close(other);
	run_until_seen(3);
	store_close(&store);
	expect_log("error", 0);
	assert_int_equal(reload(), 3);
}

/* ---- damaged ---- */

enum { ENTRIES = 300 };

static void changed_octets(void **state)
{
	size_t len;
	char *whole;

	(void)state;
	make_file(ENTRIES);
	whole = read_file(&len);
	for (size_t at = 0; at < len; at += at < 100 ? 1 : 487) {
		whole[at] ^= (char)(1 << at % 8);
		write_file(whole, len);
		whole[at] ^= (char)(1 << at % 8);
		clear_log();
		size_t count = reload();

		/* One entry; or the page on which it stands; never in silence. */
		if (count < ENTRIES - 80)
			complain("octet %zu: %zu entries left", at, count);
		if (count < ENTRIES && count_in_log("error") == 0)
			complain("octet %zu: in silence", at);
		clear_log();
		assert_int_equal(reload(), count);
		expect_log("error", 0);
	}
	free(whole);
}

static void one_changed_entry(void **state)
{
	size_t len;
	char *whole, *place;

	(void)state;
	make_file(ENTRIES);
	whole = read_file(&len);
	place = memmem(whole, len, "id41enforce", 11);
	place[2] ^= 1;
	write_file(whole, len);
	free(whole);
	assert_int_equal(reload(), ENTRIES - 1);
	expect_log("1 damaged entries are dropped, the first that of \\\"d41.example.org\\\"", 1);
	assert_int_equal(reload(), ENTRIES - 1);
	expect_log("error", 1);
}

static void changed_pages(void **state)
{
	size_t len;
	char *whole;

	(void)state;
	make_file(2000);
	whole = read_file(&len);
	assert_true(len > 40 * 4096);
	memset(whole + 10 * 4096, 0xff, 4096);
	memset(whole + 30 * 4096, 0, 4096);
	write_file(whole, len);
	free(whole);
	assert_true(reload() > 1900);
	expect_log("set aside as mta-sts.sqlite.damaged-", 1);
	assert_int_equal(count_files(".damaged-"), 1);
}

static void cut_file(void **state)
{
	size_t len;
	char *whole;

	(void)state;
	make_file(ENTRIES);
	whole = read_file(&len);
	for (size_t left = 0; left < len; left += 4001) {
		write_file(whole, left);
		clear_log();
		assert_true(reload() < ENTRIES);
		assert_true(count_in_log("error") > 0);
		clear_log();
		reload();
		expect_log("error", 0);
	}
	free(whole);
}

static void foreign_file(void **state)
{
	static const char text[] = "This is no database, and it never was one.\n";
	char octets[20000];
	struct store *store;

	(void)state;
	write_file(text, sizeof text);
	assert_int_equal(reload(), 0);
	expect_log("set aside", 1);
	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (char)(i * i >> 3);
	write_file(octets, sizeof octets);
	store = open_store();
	assert_int_equal(load(store), 0);
	put(store, 1, THEN);
	run_until_seen(1);
	store_close(&store);
	assert_int_equal(reload(), 1);
	expect_log("set aside", 2);
}

/* Found by the writer, not at start. */
static void damaged_while_open(void **state)
{
	struct store *store;
	char octets[4096];

	(void)state;
	make_file(ENTRIES);
	store = open_store();
	load(store);
	memset(octets, 0x5a, sizeof octets);
	write_file(octets, sizeof octets);
	put(store, 1, THEN);
	run_until_logged("set aside");
	expect_log("set aside", 1);
	store_close(&store);
	assert_int_equal(reload(), 1);
}

static void file_removed_while_open(void **state)
{
	struct store *store = open_store();

	(void)state;
	put(store, 1, THEN);
	run_until_seen(1);
	clear_directory();
	put(store, 2, THEN);
	run_until_seen(1);
	store_close(&store);
	expect_log("error", 0);
	assert_int_equal(reload(), 1);
}

static void newer_format(void **state)
{
	sqlite3 *handle;

	(void)state;
	sqlite3_open(path, &handle);
	sqlite3_exec(handle, "CREATE TABLE policies (all_in_one BLOB); PRAGMA user_version = 7",
	    NULL, NULL, NULL);
	sqlite3_close(handle);
	struct store *store = open_store();

	assert_int_equal(load(store), 0);
	put(store, 1, THEN);
	run_for(0.2);
	store_close(&store);
	expect_log("a newer version of danelaw wrote it", 1); /* and nobody touches it */
	assert_int_equal(count_files(".damaged-"), 0);
}

/* ---- full, read-only, not there ---- */

static void fill_disk(void)
{
	char name[128], octets[4096] = {0};

	snprintf(name, sizeof name, "%s/filler", directory);
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	while (write(fd, octets, sizeof octets) > 0)
		;
	close(fd);
}

static void full_disk(void **state)
{
	struct store *store;
	char name[128];

	(void)state;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", directory, "tmpfs", 0, "size=8m"))
		skip();
	store = open_store();
	load(store);
	put(store, 1, THEN);
	run_until_seen(1);
	fill_disk();
	for (unsigned i = 0; i < 3000; i++)
		put(store, i, THEN);
	run_until_logged("cannot be written");
	put(store, 5000, THEN);
	run_for(0.5);
	expect_log("cannot be written", 1);
	snprintf(name, sizeof name, "%s/filler", directory);
	unlink(name);
	store_close(&store); /* tries once more */
	expect_log("is written again", 1);
	expect_log("error", 1);
	assert_true(reload() > 3000);
	clear_directory();
	umount(directory);
}

/* As root may write everywhere, somebody else has to try. */
static void as_nobody(void (*act)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(77);
		loop = ev_loop_new(EVFLAG_AUTO);
		act();
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void act_read_only(void)
{
	struct store *store = open_store();

	if (load(store) != ENTRIES)
		_exit(2);
	put(store, 1, THEN);
	run_for(0.2);
	put(store, 2, THEN);
	store_close(&store);
}

static void read_only(void **state)
{
	(void)state;
	make_file(ENTRIES);
	chmod(path, 0444);
	chmod(directory, 0555);
	as_nobody(act_read_only);
	chmod(directory, 0700);
	expect_log("cannot be written:", 1);
	expect_log("could not be written to its end", 1);
	chmod(path, 0644);
	assert_int_equal(reload(), ENTRIES);
}

static void no_directory(void **state)
{
	struct store *store;

	(void)state;
	conf.server.state_dir = (char *)"/nonexistent/directory";
	store = open_store();
	assert_int_equal(load(store), 0);
	put(store, 1, THEN);
	run_for(0.2);
	store_close(&store);
	expect_log("cannot be written", 1);
}

/* ---- company ---- */

static void write_some(unsigned from, time_t fetched)
{
	struct store *store;

	loop = ev_loop_new(EVFLAG_AUTO);
	store = open_store();
	load(store);
	for (unsigned i = 0; i < 400; i++) {
		put(store, from + i, fetched);
		run_for(0.0005);
	}
	run_until_seen(1000); /* all have written */
	store_close(&store);
	_exit(0);
}

static void open_together(unsigned *ready, unsigned count)
{
	struct store *store;

	alarm(60); /* where another one could not be made */
	loop = ev_loop_new(EVFLAG_AUTO);
	__atomic_add_fetch(ready, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(ready, __ATOMIC_ACQUIRE) < count)
		sched_yield();
	store = open_store();
	load(store);
	store_close(&store);
	_exit(0);
}

static void company(void **state)
{
	pid_t children[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] == 0)
			write_some(i * 200, THEN);
	}
	for (unsigned i = 0; i < 4; i++)
		waitpid(children[i], NULL, 0);
	expect_log("error", 0);
	assert_int_equal(reload(), 1000);
}

/* Workers start together, on a machine where danelaw has never run. */
static void company_at_birth(void **state)
{
	enum { ROUNDS = 60, PROCESSES = 8 };
	unsigned *ready =
	    mmap(NULL, sizeof *ready, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		pid_t children[PROCESSES];

		clear_directory();
		*ready = 0;
		for (unsigned i = 0; i < PROCESSES; i++) {
			children[i] = fork();
			assert_true(children[i] >= 0);
			if (children[i] == 0)
				open_together(ready, PROCESSES);
		}
		for (unsigned i = 0; i < PROCESSES; i++)
			waitpid(children[i], NULL, 0);
		expect_log("damaged", 0);
	}
	munmap(ready, sizeof *ready);
}

/* Who fetched last is right, not who wrote last; a time in the future yields. */
static void newest_wins(void **state)
{
	static const struct {
		time_t first, second, kept;
	} cases[] = {
	    {1000000000, 1000000060, 1000000060},
	    {1000000060, 1000000000, 1000000060},
	    {1000000000, 1000000000, 1000000000},
	    {5000000000, 1000000000, 1000000000},
	};
	struct store *store;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		clear_directory();
		store = open_store();
		put(store, 1, cases[i].first);
		run_until_seen(1);
		put(store, 1, cases[i].second);
		store_close(&store);
		assert_int_equal(reload(), 1);
		assert_int_equal(last.fetched, cases[i].kept);
	}
}

static size_t look(void)
{
	struct store *reader = store_open_reader(loop, &conf);
	size_t count = load(reader);

	store_close(&reader);
	return count;
}

static void run_until_seen(size_t count)
{
	for (int i = 0; i < TURNS && look() != count; i++)
		run_for(0.05);
}

/* What only looks sees what the log has, and makes nothing where there is none. */
static void reader_beside_writer(void **state)
{
	struct store *store = open_store();

	(void)state;
	load(store);
	put(store, 1, clock_wall());
	run_until_seen(1);
	assert_int_equal(look(), 1);
	put(store, 2, clock_wall());
	run_until_seen(2);
	assert_int_equal(look(), 2);
	store_close(&store);
	assert_int_equal(count_files("-wal") + count_files("-shm"), 0);
	assert_int_equal(look(), 2);
	assert_int_equal(count_files("-wal") + count_files("-shm"), 0);
}

#define TEST(name, function)                                                                       \
	(struct CMUnitTest) { name, function, set_up, tear_down, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST("R-STS-22 what was put is there after a restart", restart),
	    TEST("R-STS-22 policies of 1000 patterns", large_policy),
	    TEST("R-STS-22 people can read it", for_people),
	    TEST("R-STS-22 kill -9 at any moment", killed),
	    TEST("R-STS-22 the writer is killed", writer_killed),
	    TEST("R-STS-22 the writer leaves signals to its parent", writer_told_to_stop),
	    TEST("R-STS-22 a slow disk holds nobody", slow_disk),
	    TEST("R-STS-22 a stuck disk holds the end for 2 s", stuck_disk),
	    TEST("R-STS-22 another process holds the file", busy_file),
	    TEST("R-STS-22 S-12 changed octets", changed_octets),
	    TEST("R-STS-22 S-12 one changed entry", one_changed_entry),
	    TEST("R-STS-22 S-12 changed pages", changed_pages),
	    TEST("R-STS-22 S-12 a file cut short", cut_file),
	    TEST("R-STS-22 S-12 a foreign file", foreign_file),
	    TEST("R-STS-22 S-12 damaged while open", damaged_while_open),
	    TEST("R-STS-22 S-12 removed while open", file_removed_while_open),
	    TEST("R-STS-22 a newer format is left alone", newer_format),
	    TEST("R-STS-22 a full disk", full_disk),
	    TEST("R-STS-22 a read-only directory", read_only),
	    TEST("R-STS-22 no directory", no_directory),
	    TEST("R-STS-22 several processes make it", company_at_birth),
	    TEST("R-STS-22 several processes write", company),
	    TEST("R-STS-22 the newest policy wins", newest_wins),
	    TEST("R-STS-22 a reader beside the writer", reader_beside_writer),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
