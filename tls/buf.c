/*
 * buf.c - a bounded byte queue (buf.h). Used by streams alone. An empty queue holds no memory, so
 * that a session that waits costs nothing here.
 */
#include "tls/buf.h"

#include "conf/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 1024 };

void buf_init(struct buf *b, size_t max)
{
	assert(max <= UINT32_MAX);
	*b = (struct buf){.max = (uint32_t)max};
}

static void give_back(struct buf *b)
{
	if (!b->is_lent)
		free(b->data);
	b->data = NULL;
	b->is_lent = false;
	b->start = b->size = 0;
}

void buf_release(struct buf *b)
{
	give_back(b);
	b->len = 0;
}

static size_t grown_size(const struct buf *b, size_t needed)
{
	size_t size = b->size ? b->size : SMALLEST;

	while (size < needed && size < b->max / 4)
		size *= 4;
	return size < needed || size > b->max ? b->max : size;
}

static void grow(struct buf *b, size_t needed)
{
	size_t size = grown_size(b, needed);
	char *data = mem_alloc(size);

	if (b->len)
		memcpy(data, buf_data(b), b->len);
	give_back(b);
	b->data = data;
	b->size = (uint32_t)size;
}

/* Makes `more` octets fit behind what waits; the caller has checked the maximum. */
static void make_room(struct buf *b, size_t more)
{
	if (b->size - b->start - b->len >= more)
		return;
	if (b->size - b->len < more) {
		grow(b, b->len + more);
		return;
	}
	memmove(b->data, b->data + b->start, b->len);
	b->start = 0;
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
	if (len > buf_room(b))
		return false;
	if (len == 0)
		return true;
	make_room(b, len);
	memcpy(b->data + b->start + b->len, data, len);
	b->len += (uint32_t)len;
	return true;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->start += (uint32_t)len;
	b->len -= (uint32_t)len;
	if (b->len == 0)
		give_back(b);
}

char *buf_reserve(struct buf *b, size_t want, size_t *granted)
{
	size_t room = buf_room(b);

	*granted = want < room ? want : room;
	if (*granted == 0)
		return NULL;
	make_room(b, *granted);
	return b->data + b->start + b->len;
}

/* A commit of nothing gives the reserved memory back: a socket that had no data leaves no trace. */
void buf_commit(struct buf *b, size_t len)
{
	assert(len <= b->size - b->start - b->len);
	b->len += (uint32_t)len;
	if (b->len == 0)
		give_back(b);
}

void buf_lend(struct buf *b, char *data, size_t size)
{
	assert(!b->data && size <= UINT32_MAX);
	b->data = data;
	b->size = (uint32_t)size;
	b->is_lent = true;
}

void buf_keep(struct buf *b)
{
	char *own;

	if (!b->is_lent)
		return;
	own = b->len ? mem_copy(buf_data(b), b->len) : NULL;
	give_back(b);
	b->data = own;
	b->size = b->len;
}
