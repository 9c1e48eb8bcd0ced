/*
 * lock.c - see lock.h.
 */
#include "proxy/shared/lock.h"

#include <assert.h>
#include <errno.h>

void lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t kind;

	pthread_mutexattr_init(&kind);
	pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(lock, &kind);
	pthread_mutexattr_destroy(&kind);
}

void lock_take(pthread_mutex_t *lock)
{
	int result = pthread_mutex_lock(lock);

	if (result == EOWNERDEAD)
		result = pthread_mutex_consistent(lock);
	assert(result == 0);
}

void lock_release(pthread_mutex_t *lock) { pthread_mutex_unlock(lock); }
