/*
 * reload.h - new settings for new sessions; those under way end with the old ones (F-08).
 *
 * New workers start beside the old ones, on the same sockets. When all of them serve, the old ones
 * are told to leave. Anything that is wrong before that, and nothing has changed.
 */
#ifndef PROXY_SERVICE_RELOAD_H
#define PROXY_SERVICE_RELOAD_H

struct supervisor;

/* SIGHUP. */
void reload_begin(struct supervisor *supervisor);

/* The next workers serve, of a reload or of the start. */
void reload_commit(struct supervisor *supervisor);
/* One of them could not start. */
void reload_take_back(struct supervisor *supervisor);

#endif
