/*
 * text.h - octets that grow, and what the oracles compare them by.
 */
#ifndef TESTS_SESSION_TEXT_H
#define TESTS_SESSION_TEXT_H

#include "conf/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct text {
	char *data;
	size_t len;
};

static inline void text_add(struct text *t, const char *data, size_t len)
{
	t->data = mem_resize(t->data, t->len + len + 1, 1);
	memcpy(t->data + t->len, data, len);
	t->len += len;
	t->data[t->len] = '\0';
}

static inline void text_cut(struct text *t, size_t len)
{
	t->len -= len;
	memmove(t->data, t->data + len, t->len + 1);
}

static inline void text_clear(struct text *t)
{
	free(t->data);
	*t = (struct text){0};
}

static inline bool text_begins_with_blank(const char *data, size_t len)
{
	size_t dot = len > 1 && data[0] == '.';

	return len > dot && (data[dot] == ' ' || data[dot] == '\t');
}

/*
 * FNV-1a: equal messages, for an observer that nobody attacks. An empty line before a blank may be
 * danelaw's.
 */
static inline uint64_t text_sum(const char *data, size_t len)
{
	uint64_t sum = 14695981039346656037u;

	if (len > 2 && !memcmp(data, "\r\n", 2) && text_begins_with_blank(data + 2, len - 2)) {
		data += 2;
		len -= 2;
	}
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ (unsigned char)data[i]) * 1099511628211u;
	return sum;
}

/* The end of data; NULL: not yet. at_start: the text begins a line. */
static inline const char *find_dot(const struct text *t)
{
	const char *end;

	if (t->len >= 3 && !memcmp(t->data, ".\r\n", 3))
		return t->data;
	end = t->len ? memmem(t->data, t->len, "\r\n.\r\n", 5) : NULL;
	return end ? end + 2 : NULL;
}

/*
 * What follows the one field that danelaw adds; a message without it, or one that goes on with it,
 * is a breach.
 */
static inline const char *skip_received(const char *data, size_t len, size_t *rest)
{
	static const char end[] = " +0000\r\n";
	const char *at = memmem(data, len, end, sizeof end - 1);

	assert(at && !memcmp(data, "Received: from ", 15));
	at += sizeof end - 1;
	*rest = len - (size_t)(at - data);
	assert(!text_begins_with_blank(at, *rest));
	return at;
}

#endif
