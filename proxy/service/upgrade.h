/*
 * upgrade.h - the program on disk takes the place of the running one, without a refused connection.
 *
 * The new one is run with -t first, with the same arguments; what it says against that is logged,
 * and that is all. So it is with what a reload would refuse. Then this process becomes it, under
 * the same process id, and hands over by an environment variable: the listening sockets, the shared
 * memory, and the workers, which leave when the new ones serve (reload.h). A new image has no more
 * rights than the old one had: it reads its files as the user that danelaw has become.
 */
#ifndef PROXY_SERVICE_UPGRADE_H
#define PROXY_SERVICE_UPGRADE_H

#include <stdbool.h>
#include <sys/types.h>

struct supervisor;

/* At start: which program that is, before anything may have replaced it. */
void upgrade_note_program(struct supervisor *supervisor);

/* SIGUSR2. */
void upgrade_begin(struct supervisor *supervisor);
/* Whether the dead process was the test of the new program. If it was content, does not return. */
bool upgrade_bury(struct supervisor *supervisor, pid_t pid, int status);

/*
 * At start, before anything is bound: takes what the image before us has left, if there was one.
 * The variable is gone afterwards; one that is not meant for this process is not believed.
 */
void upgrade_accept(struct supervisor *supervisor);

#endif
