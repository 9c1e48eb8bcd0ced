/*
 * shared.c - see shared.h.
 */
#include "proxy/shared/shared.h"

#include "conf/mem.h"
#include "proxy/shared/journal.h"
#include "proxy/shared/secret.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Changes with the meaning of anything in the memory that its size does not show. */
enum { LAYOUT = 5 };

/* At the beginning of the memory; the tables follow. */
struct head {
	uint64_t layout, size;
	unsigned char secret[SECRET_SIZE];
	struct seat seats[SHARED_SEATS];
	_Alignas(64) unsigned char retired[METRICS_SIZE]; /* what workers that ended had counted */
};

struct shared {
	int fd;
	struct head *head;
	struct counts *counts;
	struct journal *journal;
};

static size_t aligned(size_t size) { return (size + 63) / 64 * 64; }

static size_t whole_size(void)
{
	return aligned(sizeof(struct head)) + aligned(counts_size()) + aligned(journal_size());
}

static struct shared *map(int fd)
{
	void *memory = mmap(NULL, whole_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct shared *shared;
	unsigned char *at = memory;

	if (memory == MAP_FAILED)
		return NULL;
	shared = mem_zero(1, sizeof *shared);
	shared->fd = fd;
	shared->head = memory;
	at += aligned(sizeof(struct head));
	shared->counts = (struct counts *)(void *)at;
	at += aligned(counts_size());
	shared->journal = (struct journal *)(void *)at;
	return shared;
}

/* Pages are only made when they are touched. */
struct shared *shared_new(void)
{
	int fd = memfd_create("danelaw", MFD_CLOEXEC);
	struct shared *shared = fd >= 0 && !ftruncate(fd, (off_t)whole_size()) ? map(fd) : NULL;

	if (!shared)
		abort(); /* as conf/mem.h does without memory */
	counts_init(shared->counts);
	journal_init(shared->journal);
	secret_make(shared->head->secret);
	shared->head->size = whole_size();
	shared->head->layout = LAYOUT;
	return shared;
}

struct shared *shared_adopt(int fd)
{
	struct stat st;
	struct shared *shared = NULL;

	if (!fstat(fd, &st) && st.st_size == (off_t)whole_size() && !fcntl(fd, F_SETFD, FD_CLOEXEC))
		shared = map(fd);
	if (shared && shared->head->layout == LAYOUT && shared->head->size == whole_size())
		return shared;
	if (shared)
		shared_free(&shared);
	else
		close(fd);
	return NULL;
}

void shared_free(struct shared **shared)
{
	if (!*shared)
		return;
	munmap((*shared)->head, whole_size());
	if ((*shared)->fd >= 0)
		close((*shared)->fd);
	free(*shared);
	*shared = NULL;
}

int shared_file(const struct shared *shared) { return shared->fd; }

struct seat *shared_seat(struct shared *shared, unsigned seat)
{
	assert(seat < SHARED_SEATS);
	return &shared->head->seats[seat];
}

unsigned char *shared_secret(struct shared *shared) { return shared->head->secret; }
struct counts *shared_counts(struct shared *shared) { return shared->counts; }
struct journal *shared_journal(struct shared *shared) { return shared->journal; }

bool shared_take_seat(struct shared *shared, unsigned *seat)
{
	for (unsigned i = 0; i < SHARED_SEATS; i++) {
		struct seat *s = &shared->head->seats[i];

		if (shared_look(&s->state) != WORKER_NONE)
			continue;
		s->heartbeat = 0;
		s->dnssec = DNSSEC_PENDING;
		s->dnssec_why[0] = '\0';
		shared_say(&s->state, WORKER_STARTS);
		*seat = i;
		return true;
	}
	return false;
}

void shared_free_seat(struct shared *shared, unsigned seat)
{
	struct seat *s = shared_seat(shared, seat);

	metrics_retire(shared->head->retired, s->metrics);
	counts_clear_seat(shared->counts, seat);
	shared_say(&s->state, WORKER_NONE);
}

void shared_sum_metrics(struct shared *shared, void *sum)
{
	memset(sum, 0, METRICS_SIZE);
	metrics_add(sum, shared->head->retired);
	for (unsigned i = 0; i < SHARED_SEATS; i++) {
		if (shared_look(&shared->head->seats[i].state) != WORKER_NONE)
			metrics_add(sum, shared->head->seats[i].metrics);
	}
}
