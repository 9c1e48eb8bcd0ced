/*
 * manager.h - the service manager: sockets that it gives, and what it is told (sd_listen_fds(3),
 * sd_notify(3)). The only user of libsystemd; where there is no manager nothing happens.
 */
#ifndef PROXY_SERVICE_MANAGER_H
#define PROXY_SERVICE_MANAGER_H

/* Each socket that was given to this process, handed over. Once: the environment forgets them. < 0:
 * -errno. */
int manager_take_sockets(void (*each)(int fd, void *arg), void *arg);

void manager_tell_ready(const char *status); /* a start, or a reload that has ended */
void manager_tell_reloading(void);
void manager_tell_stopping(void);

/* Seconds after which silence means that we hang; 0: nobody looks. */
double manager_watchdog(void);
void manager_pet(void);

#endif
