/*
 * reap.c - memory that goes when the loop turns (design law 4: close is not free).
 *
 * One queue, and one watcher that is never started, only fed: libev runs a fed event within the
 * same turn, and pending events by priority. At the lowest priority, which nothing else uses, ours
 * comes after every other callback of the turn. A fed watcher does not keep ev_run() from
 * returning.
 */
#include "conf/reap.h"

#include "conf/mem.h"

#include <assert.h>
#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>

enum { KEPT_MAX = 4096 }; /* places in the queue while it is empty */

struct dead {
	void *object;
	void (*release)(void *object);
};

/* In the order of coming. */
static struct {
	struct dead *items;
	size_t count, size;
} queue;
static struct ev_loop *fed_loop;
static ev_prepare reaper;

static void append(struct dead dead)
{
	if (queue.count == queue.size) {
		queue.size = queue.size ? 2 * queue.size : 64;
		queue.items = mem_resize(queue.items, queue.size, sizeof *queue.items);
	}
	queue.items[queue.count++] = dead;
}

static void give_back_room(void)
{
	free(queue.items);
	queue.items = NULL;
	queue.size = 0;
}

/* A release may hand over more objects; they are appended and go in the same sweep. */
static void release_all(void)
{
	static bool is_sweeping;

	assert(!is_sweeping);
	is_sweeping = true;
	for (size_t i = 0; i < queue.count; i++) {
		struct dead dead = queue.items[i];

		dead.release(dead.object);
	}
	queue.count = 0;
	is_sweeping = false;
	if (queue.size > KEPT_MAX)
		give_back_room();
}

static void on_reap(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	(void)loop, (void)watcher, (void)events;
	fed_loop = NULL;
	release_all();
}

void reap_later(struct ev_loop *loop, void *object, void (*release)(void *object))
{
	append((struct dead){.object = object, .release = release});
	if (fed_loop)
		return;
	ev_prepare_init(&reaper, on_reap);
	ev_set_priority(&reaper, EV_MINPRI);
	ev_feed_event(loop, &reaper, EV_CUSTOM);
	fed_loop = loop;
}

void reap_now(void)
{
	if (fed_loop)
		ev_clear_pending(fed_loop, &reaper);
	fed_loop = NULL;
	release_all();
	/* What a release handed over has fed the watcher again. */
	if (fed_loop)
		ev_clear_pending(fed_loop, &reaper);
	fed_loop = NULL;
	give_back_room();
}
