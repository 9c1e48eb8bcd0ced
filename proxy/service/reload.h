/*
 * reload.h - new settings for new sessions; those under way end with the old ones (F-08).
 *
 * New workers start beside the old ones, on the same sockets. When all of them serve, the old ones
 * are told to leave. Anything that is wrong before that, and nothing has changed.
 */
#ifndef PROXY_SERVICE_RELOAD_H
#define PROXY_SERVICE_RELOAD_H

#include <stdbool.h>

struct supervisor;

/* SIGHUP. */
void reload_begin(struct supervisor *supervisor);

/* The next workers serve, of a reload or of the start. */
void reload_commit(struct supervisor *supervisor);
/* One of them could not start. */
void reload_take_back(struct supervisor *supervisor);

/* Whether another image of the program could put the settings on disk in force, with nothing kept
 * but sockets. What they name is bound then, in next_admin too. false: nothing has changed; *error
 * (malloc'd) says why, or NULL where the log has told it. */
bool reload_rehearse(struct supervisor *supervisor, char **error);
/* Closes what was bound for settings that do not come into force. */
void reload_clean_up(struct supervisor *supervisor);

#endif
