/*
 * mem.c - allocation that succeeds or ends the process.
 *
 * Every size that a peer can influence is bounded before it comes here, so an allocation that fails
 * means a machine without memory (or our bug). A message in transit is still at its client then, or
 * already at the next hop; going on half-built would be worse than ending. Called by everybody.
 */
#include "conf/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* write(2) alone: stdio might want the memory that is not there. */
void mem_exhausted(void)
{
	static const char message[] = "danelaw: error out of memory\n";

	if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
		abort();
	abort();
}

static void *or_end(void *p)
{
	if (!p)
		mem_exhausted();
	return p;
}

/* malloc(0) may give NULL, which is not a failure; realloc(p, 0) frees. */
static size_t at_least_one(size_t size)
{
	return size ? size : 1;
}

void *mem_alloc(size_t size)
{
	return or_end(malloc(at_least_one(size)));
}

void *mem_zero(size_t count, size_t size)
{
	return or_end(calloc(at_least_one(count), at_least_one(size)));
}

void *mem_resize(void *p, size_t count, size_t size)
{
	return or_end(reallocarray(p, at_least_one(count), at_least_one(size)));
}

void *mem_copy(const void *data, size_t len)
{
	void *copy = mem_alloc(len);

	/* memcpy from NULL is undefined, even of nothing. */
	if (len)
		memcpy(copy, data, len);
	return copy;
}

char *mem_strdup(const char *s)
{
	return mem_copy(s, strlen(s) + 1);
}

char *mem_strndup(const char *s, size_t len)
{
	char *copy = or_end(len < SIZE_MAX ? malloc(len + 1) : NULL);

	if (len)
		memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *mem_printf(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	int len = vasprintf(&text, format, args);
	va_end(args);
	return or_end(len < 0 ? NULL : text);
}
