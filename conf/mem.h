/*
 * mem.h - allocation that succeeds or ends the process.
 *
 * A mail proxy that runs out of memory holds nothing that is not also still at its client or
 * already at the next hop, so ending is the safe answer; a half-built decision is not. free()
 * releases.
 */
#ifndef CONF_MEM_H
#define CONF_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);              /* not cleared */
void *mem_zero(size_t count, size_t size); /* cleared; the product is checked for overflow */
void *mem_resize(void *p, size_t count, size_t size);
void *mem_copy(const void *data, size_t len); /* len 0 gives a valid pointer */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len); /* always ends in NUL */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For who allocates otherwise, and failed: ends the process. */
void mem_exhausted(void) __attribute__((noreturn));

#endif
