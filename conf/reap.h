/*
 * reap.h - memory that goes when the loop turns.
 *
 * An object may be closed from inside one of its own callbacks, several frames deep. Closing stops
 * all its watchers at once; its memory is handed to reap_later(), which frees it after every
 * callback of this turn has returned. So no frame ever holds a dangling pointer (design law 4).
 */
#ifndef CONF_REAP_H
#define CONF_REAP_H

struct ev_loop;

/* Calls release(object) once, after the callbacks of this turn. Order of calls is kept. */
void reap_later(struct ev_loop *loop, void *object, void (*release)(void *object));

/* Releases all that waits, at once; at the end of the program, before the loop is destroyed. Never
 * from inside a release. */
void reap_now(void);

#endif
