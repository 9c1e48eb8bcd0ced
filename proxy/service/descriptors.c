/*
 * descriptors.c - see descriptors.h.
 */
#include "proxy/service/descriptors.h"

#include "conf/mem.h"

#include <stdlib.h>
#include <unistd.h>

void descriptors_add(struct descriptors *d, int fd)
{
	if (fd < 0)
		return;
	d->fds = mem_resize(d->fds, d->count + 1, sizeof *d->fds);
	d->fds[d->count++] = fd;
}

static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

void descriptors_close_others(struct descriptors *d)
{
	unsigned from = STDERR_FILENO + 1;

	qsort(d->fds, d->count, sizeof *d->fds, compare);
	for (size_t i = 0; i < d->count; i++) {
		if (d->fds[i] <= STDERR_FILENO)
			continue;
		if ((unsigned)d->fds[i] > from)
			close_range(from, (unsigned)d->fds[i] - 1, 0);
		from = (unsigned)d->fds[i] + 1;
	}
	close_range(from, ~0U, 0);
	free(d->fds);
	*d = (struct descriptors){0};
}
