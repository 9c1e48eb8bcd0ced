/*
 * supervisor.h - the process that the service is known by: it owns the sockets and the workers, and
 * has no TLS, no DNS and no mail.
 *
 * SIGTERM, SIGINT: sessions finish; a second one cuts them. SIGHUP: new settings for new sessions.
 * SIGUSR2: the program on disk takes the place of this one.
 */
#ifndef PROXY_SERVICE_SUPERVISOR_H
#define PROXY_SERVICE_SUPERVISOR_H

struct command_line;
struct conf;

/* Serves until it is told to end. conf is handed over; line says where it came from. Returns the
 * program's exit code. */
int supervisor_run(struct command_line *line, struct conf *conf);

#endif
