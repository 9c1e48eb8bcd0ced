/*
 * manager.c - see manager.h.
 */
#include "proxy/service/manager.h"

#include <inttypes.h>
#include <stdint.h>
#include <systemd/sd-daemon.h>
#include <time.h>

int manager_take_sockets(void (*each)(int fd, void *arg), void *arg)
{
	int count = sd_listen_fds(1);

	for (int i = 0; i < count; i++)
		each(SD_LISTEN_FDS_START + i, arg);
	return count;
}

void manager_tell_ready(const char *status) { sd_notifyf(0, "READY=1\nSTATUS=%s", status); }

void manager_tell_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reloading",
	    (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void manager_tell_stopping(void)
{
	sd_notify(0, "STOPPING=1\nSTATUS=Sessions may finish their message");
}

double manager_watchdog(void)
{
	uint64_t microseconds;

	return sd_watchdog_enabled(0, &microseconds) > 0 ? (double)microseconds / 1e6 : 0;
}

void manager_pet(void) { sd_notify(0, "WATCHDOG=1"); }
