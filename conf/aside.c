/*
 * aside.c - see aside.h. Called for the policy cache and for the spool's index.
 */
#include "conf/aside.h"

#include "conf/clock.h"
#include "conf/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char *aside_name(const char *path)
{
	char stamp[32];
	time_t now = clock_wall();
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
	char *name = mem_printf("%s.damaged-%s", path, stamp);

	for (unsigned i = 2; access(name, F_OK) == 0; i++) {
		free(name);
		name = mem_printf("%s.damaged-%s.%u", path, stamp, i);
	}
	return name;
}

static bool move_with_suffix(const char *from, const char *to, const char *suffix)
{
	char *source = mem_printf("%s%s", from, suffix);
	char *target = mem_printf("%s%s", to, suffix);
	bool moved = rename(source, target) == 0 || (errno == ENOENT && suffix[0]);

	free(source);
	free(target);
	return moved;
}

/* The file itself last: a log that stays behind would be applied to the new one. */
bool aside_move(const char *path, const char *aside)
{
	return move_with_suffix(path, aside, "-wal") && move_with_suffix(path, aside, "-shm") &&
	       move_with_suffix(path, aside, "");
}
