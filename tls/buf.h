/*
 * buf.h - a bounded byte queue: appended at the end, consumed at the front.
 *
 * The maximum is given at creation and never exceeded; memory grows towards it in steps and is
 * given back when the queue runs empty, so that a waiting session holds none.
 */
#ifndef TLS_BUF_H
#define TLS_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data; /* len octets wait at data + start */
	uint32_t start, len, size, max;
	bool is_lent; /* the memory is another's */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* the queue is empty then */

/* Never NULL; valid until the next call that changes the queue. */
static inline const char *buf_data(const struct buf *b)
{
	return b->data ? b->data + b->start : "";
}
static inline size_t buf_len(const struct buf *b) { return b->len; }
static inline size_t buf_room(const struct buf *b) { return b->max - b->len; }

/* false, and nothing appended: no room */
bool buf_append(struct buf *b, const void *data, size_t len);
void buf_consume(struct buf *b, size_t len); /* len <= buf_len */

/*
 * Room for direct reading: at least 1 and at most want octets at the returned place; then
 * buf_commit what came. NULL: full.
 */
char *buf_reserve(struct buf *b, size_t want, size_t *granted);
void buf_commit(struct buf *b, size_t len);

/* An empty queue may use memory of another's for a while: until it runs empty, or buf_keep(). */
void buf_lend(struct buf *b, char *data, size_t size);
void buf_keep(struct buf *b); /* what waits in it moves to memory of its own */

#endif
