/*
 * lock.h - a lock in shared memory that outlives whoever dies with it.
 *
 * What it guards must be usable after any instruction of its holder: there is no repair. It is held
 * for some hundred instructions, never over anything that waits.
 */
#ifndef PROXY_SHARED_LOCK_H
#define PROXY_SHARED_LOCK_H

#include <pthread.h>

void lock_init(pthread_mutex_t *lock);
void lock_take(pthread_mutex_t *lock);
void lock_release(pthread_mutex_t *lock);

#endif
