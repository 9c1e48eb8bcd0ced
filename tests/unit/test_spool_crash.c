/*
 * test_spool_crash.c - the spool under load, killed with -9 at random moments: a process of its own
 * commits and settles as fast as it can and writes down, in memory that outlives it, what it was
 * told; afterwards index and files are held against that.
 */
#include "spool_stage.h"

#include "proxy/spool/spool_index.h"
#include "proxy/spool/spool_text.h"

#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { KILLS = 300, KILLS_LEAST = 60, SECONDS = 9, DISK_KILLS = 25, SLOTS = 1 << 17, WRITERS = 8 };

/* ---- what outlives the process ---- */

enum fate {
	UNKNOWN,    /* perhaps committed, but nobody heard of it */
	PROMISED,   /* commit said ok */
	SETTLING,   /* the last recipient is done, and this was said to the spool */
	GONE,       /* and the spool said ok */
	TAKEN_BACK, /* freed while the commit was under way, which may outlive us */
};

static struct {
	struct {
		char id[SPOOL_ID_SIZE];
		enum fate fate;
		bool is_found; /* in the last look at the index */
	} slots[SLOTS];
	size_t promised, settled, used, given, kills;
	unsigned opened; /* the seed of the life whose spool is open */
	char fault[512];
} * book;

static void blame(const char *what, const char *id)
{
	if (!book->fault[0])
		snprintf(book->fault, sizeof book->fault, "%s: %s", what, id);
}

static size_t slot_of(const char *id)
{
	size_t slot = strtoul(id + 20, NULL, 16) % SLOTS;

	while (book->slots[slot].id[0] && strcmp(book->slots[slot].id, id) != 0)
		slot = (slot + 1) % SLOTS;
	if (!book->slots[slot].id[0]) {
		memcpy(book->slots[slot].id, id, SPOOL_ID_SIZE);
		assert_true(++book->used < SLOTS / 2);
	}
	return slot;
}

static enum fate *fate_of(const char *id) { return &book->slots[slot_of(id)].fate; }

/* ---- the load ---- */

/* A body that tells whether it is whole, and whose it is. */
static size_t make_body(const char *id, char body[20000])
{
	size_t len = 40 + strtoul(id + 20, NULL, 16) % 12000;

	memset(body, id[26], len);
	memcpy(body, id, SPOOL_ID_LEN);
	body[len - 1] = 'Z';
	return len;
}

static struct writer {
	struct spool_message *message;
	struct spool_draft *draft;
} writers[WRITERS];

static bool is_asking, is_winding_down;

static void begin(struct writer *writer);

static void end(struct writer *writer)
{
	spool_draft_free(&writer->draft);
	spool_message_free(&writer->message);
}

static void on_committed(bool ok, const char *why, void *arg)
{
	struct writer *writer = arg;

	if (ok) {
		*fate_of(writer->message->id) = PROMISED;
		book->promised++;
	} else {
		blame(why, writer->message->id);
	}
	end(writer);
	if (!is_winding_down)
		begin(writer);
}

static void on_synced(bool ok, const char *why, void *arg)
{
	struct writer *writer = arg;

	if (!ok)
		blame(why, writer->message->id);
	spool_draft_commit(writer->draft, writer->message, on_committed, writer);
}

static void begin(struct writer *writer)
{
	char body[20000], why[SPOOL_WHY] = "";
	size_t len;

	writer->message = new_message();
	writer->message->recipients[0].next_try = clock_wall() - 1;
	writer->draft = spool_draft_new(spool, writer->message, why);
	if (!writer->draft) { /* between two disk processes */
		spool_message_free(&writer->message);
		return;
	}
	len = make_body(writer->message->id, body);
	for (size_t at = 0; at < len; at += 4096)
		spool_draft_write(writer->draft, body + at, len - at < 4096 ? len - at : 4096);
	if (rand() % 2)
		spool_draft_sync(writer->draft, on_synced, writer);
	else
		spool_draft_commit(writer->draft, writer->message, on_committed, writer);
}

static void check_body(const struct spool_message *message)
{
	char body[20000], wanted[20000], why[SPOOL_WHY];
	int fd = spool_open_body(spool, message, NULL, why);
	size_t len = make_body(message->id, wanted);

	if (fd < 0)
		blame(why, message->id);
	else if (read(fd, body, sizeof body) != (ssize_t)len || memcmp(body, wanted, len) != 0)
		blame("half a message was given out", message->id);
	if (fd >= 0)
		close(fd);
}

static void on_gone(bool ok, const char *why, void *arg)
{
	char *id = arg;

	(void)why;
	if (!ok)
		blame("not settled", id);
	*fate_of(id) = GONE;
	book->settled++;
	free(id);
}

/* Most are done, some stay due, some are given back. */
static void work_off(struct spool_message *message)
{
	enum fate *fate = fate_of(message->id);

	book->given++;
	if (*fate == GONE || (*fate == TAKEN_BACK && !book->kills))
		blame("came back", message->id);
	check_body(message);
	if (rand() % 10 == 0 && !is_winding_down) {
		spool_give_back(spool, &message);
		return;
	}
	if (rand() % 10 == 0 && !is_winding_down) {
		message->recipients[0].tries++;
		spool_settle(spool, &message, NULL, NULL);
		return;
	}
	message->recipients[0].is_done = true;
	*fate = SETTLING;
	char *id = mem_strdup(message->id);

	spool_settle(spool, &message, on_gone, id);
}

static void on_given(struct spool_message *message, void *arg)
{
	(void)arg;
	if (message) {
		work_off(message);
		return;
	}
	is_asking = false;
}

/* The queue stays short, so that a kill is seldom far from the life of any message. */
static void drive(void)
{
	if (!is_asking) {
		is_asking = true;
		spool_ask_due(spool, SPOOL_LONGEST_DUE, 20, on_given, NULL);
	}
	for (size_t i = 0; i < WRITERS && !is_winding_down; i++) {
		if (!writers[i].draft)
			begin(&writers[i]);
		else if (rand() % 2000 == 0) { /* the client has gone */
			*fate_of(writers[i].message->id) = TAKEN_BACK;
			end(&writers[i]);
		}
	}
	ev_run(loop, EVRUN_ONCE);
}

/* ---- killed as a whole ---- */

static pid_t start_life(unsigned seed)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	srand(seed);
	ev_loop_fork(loop);
	open_spool();
	book->opened = seed;
	for (;;)
		drive();
}

/* Some lives are over while they begin; others after so many events, whatever the machine's load.
 */
static void live(unsigned seed)
{
	size_t events = book->promised + book->given + (size_t)(rand() % 24);

	for (int i = 0; seed % 5 && i < 2000; i++) {
		if (book->opened == seed && book->promised + book->given >= events)
			break;
		usleep(500);
	}
	usleep((useconds_t)(rand() % 4000));
}

/* The disk process may have a turn to end. */
static void await_lock(void)
{
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/lock", directory);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return; /* it did not come that far */
	for (int i = 0; i < 4000 && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
		usleep(1000);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
}

static void note_found(const char *id, const struct spool_message *message, void *arg)
{
	char path[256];

	(void)arg;
	if (!message)
		blame("damaged", id);
	book->slots[slot_of(id)].is_found = true;
	snprintf(path, sizeof path, "%s/%s", directory, id);
	if (access(path, F_OK) < 0)
		blame("a row without a file", id);
}

static void compare(void)
{
	struct spool_index *index;
	char why[SPOOL_WHY] = "";

	for (size_t i = 0; i < SLOTS; i++)
		book->slots[i].is_found = false;
	if (spool_index_open(&index, directory, SPOOL_READ, why) == SPOOL_DONE) {
		assert_int_equal(spool_index_each(index, note_found, NULL, why), SPOOL_DONE);
		spool_index_close(&index);
	} else if (book->promised > 0) {
		blame("no index", why);
	}
	for (size_t i = 0; i < SLOTS; i++) {
		if (book->slots[i].fate == PROMISED && !book->slots[i].is_found)
			blame("lost", book->slots[i].id);
		if (book->slots[i].fate == GONE && book->slots[i].is_found)
			blame("still there", book->slots[i].id);
	}
	if (book->fault[0])
		expect_log(book->fault, 1);
}

/* All that is left is worked off, and nothing stays behind. */
static void work_off_all(void)
{
	double end_of_patience = clock_steady() + 24;

	is_winding_down = true;
	while ((spool_count(spool) > 0 || spool->requests) && clock_steady() < end_of_patience)
		drive();
	is_winding_down = false;
	reopen(); /* drafts of the dead go */
	assert_int_equal(spool_count(spool), 0);
	assert_int_equal(count_messages(), 0);
	compare();
}

/* A slow machine goes on until it has shown as much as others. */
static bool needs_more(int kills)
{
	return kills < KILLS_LEAST || book->promised <= KILLS_LEAST || book->settled <= KILLS_LEAST;
}

static void nothing_promised_is_lost(void **state)
{
	double over = clock_steady() + SECONDS;
	int kills = 0;

	(void)state;
	for (; kills < KILLS &&
	       (clock_steady() < over || (needs_more(kills) && clock_steady() < over + 60));
	     book->kills = (size_t)++kills) {
		pid_t child = start_life(1000 + (unsigned)kills);
		int status;

		live(1000 + (unsigned)kills);
		assert_int_equal(waitpid(child, &status, WNOHANG), 0);
		if (kills % 2)
			kill(-child, SIGKILL); /* the disk process as well */
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		await_lock();
		compare();
	}
	open_spool();
	work_off_all();
	dprintf(saved_stderr, "%d kills, %zu promised, %zu settled, %zu given out\n", kills,
	    book->promised, book->settled, book->given);
	assert_false(needs_more(kills));
}

/* ---- the disk process killed alone ---- */

static void dead_disk_process_costs_nothing(void **state)
{
	(void)state;
	open_spool();
	srand(4711);
	for (int i = 0; i < DISK_KILLS; i++) {
		double until = clock_steady() + (rand() % 30) / 1000.0;

		/* Who dies young comes again more slowly: one in five. */
		while (!ev_is_active(&spool->socket) || clock_steady() < until ||
		       (i % 5 && spool->revive_after > 0.1))
			drive();
		kill(spool->disk, SIGKILL);
	}
	while (!ev_is_active(&spool->socket))
		drive();
	is_winding_down = true;
	for (size_t i = 0; i < WRITERS; i++)
		while (writers[i].draft)
			drive();
	work_off_all();
	assert_in_range(count_in_log("spool: the disk process ended; a new one follows"),
	    DISK_KILLS / 2, DISK_KILLS);
	assert_true(book->promised > DISK_KILLS && book->settled > DISK_KILLS);
}

static int set_up_book(void **state)
{
	book = mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stage_root = fastest_root();
	memset(writers, 0, sizeof writers);
	is_asking = is_winding_down = false;
	return make_state(state);
}

static int tear_down_book(void **state)
{
	for (size_t i = 0; i < WRITERS; i++)
		end(&writers[i]);
	tear_down(state);
	munmap(book, sizeof *book);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-SMTP-65: killed at random moments", nothing_promised_is_lost, set_up_book,
		tear_down_book, NULL},
	    {"the disk process killed at random moments", dead_disk_process_costs_nothing,
		set_up_book, tear_down_book, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
