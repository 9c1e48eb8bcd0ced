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

#include <ev.h>
#include <stdlib.h>

struct dead {
	struct dead *next;
	void *object;
	void (*release)(void *object);
};

static struct dead *first, **last = &first;
static struct ev_loop *fed_loop;
static ev_prepare reaper;

/* A release may hand over more objects; they are appended and go in the same sweep. */
static void release_all(void)
{
	struct dead *dead;

	while ((dead = first)) {
		first = dead->next;
		if (!first)
			last = &first;
		dead->release(dead->object);
		free(dead);
	}
}

static void on_reap(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	(void)loop, (void)watcher, (void)events;
	fed_loop = NULL;
	release_all();
}

void reap_later(struct ev_loop *loop, void *object, void (*release)(void *object))
{
	struct dead *dead = mem_alloc(sizeof *dead);

	*dead = (struct dead){.object = object, .release = release};
	*last = dead;
	last = &dead->next;
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
}
