/*
 * descriptors.h - what a child keeps open of all that its parent has.
 */
#ifndef PROXY_SERVICE_DESCRIPTORS_H
#define PROXY_SERVICE_DESCRIPTORS_H

#include <stddef.h>

/* Zeroed is empty. */
struct descriptors {
	size_t count;
	int *fds;
};

void descriptors_add(struct descriptors *descriptors, int fd); /* < 0: nothing */

/* Closes all but these and the three standard ones. Empties it. */
void descriptors_close_others(struct descriptors *descriptors);

#endif
