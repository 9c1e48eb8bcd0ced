/*
 * sts_cache.c - see sts_cache.h.
 *
 * One hash by domain, two heaps (by due time, by expiry), two lists by last use (enforce, and the
 * rest), so that each step is cheap with a hundred thousand entries. A policy text may have 64 KiB,
 * so that octets are counted beside entries. Called by mtasts.c alone.
 */
#include "policy/sts_cache.h"

#include "conf/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* The default function falls through between cases, which clang does not let pass. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

enum order { BY_DUE, BY_EXPIRY, ORDER_COUNT };

struct node {
	struct sts_cached cached; /* first: what others hold is the node */
	UT_hash_handle hh;
	TAILQ_ENTRY(node) entry;
	time_t at[ORDER_COUNT];
	size_t place[ORDER_COUNT];
	size_t octets;
};

TAILQ_HEAD(node_list, node);

struct heap {
	size_t count, room;
	struct node **nodes;
};

struct sts_cache {
	sts_evicted_fn *evicted;
	void *arg;
	struct node *nodes; /* by domain */
	size_t octets;
	struct heap heaps[ORDER_COUNT];
	struct node_list enforced, others; /* least recently used first */
};

/* ---- a heap: the earliest on top ---- */

static void settle(struct heap *heap, enum order order, struct node *node, size_t place)
{
	heap->nodes[place] = node;
	node->place[order] = place;
}

static void rise(struct heap *heap, enum order order, struct node *node, size_t place)
{
	while (place > 0) {
		struct node *parent = heap->nodes[(place - 1) / 2];

		if (parent->at[order] <= node->at[order])
			break;
		settle(heap, order, parent, place);
		place = (place - 1) / 2;
	}
	settle(heap, order, node, place);
}

static size_t earlier_child(const struct heap *heap, enum order order, size_t place)
{
	size_t left = 2 * place + 1;

	if (left + 1 < heap->count &&
	    heap->nodes[left + 1]->at[order] < heap->nodes[left]->at[order])
		return left + 1;
	return left;
}

static void sink(struct heap *heap, enum order order, struct node *node, size_t place)
{
	size_t child;

	while ((child = earlier_child(heap, order, place)) < heap->count) {
		if (node->at[order] <= heap->nodes[child]->at[order])
			break;
		settle(heap, order, heap->nodes[child], place);
		place = child;
	}
	settle(heap, order, node, place);
}

static void heap_add(struct heap *heap, enum order order, struct node *node)
{
	if (heap->count == heap->room) {
		heap->room = heap->room ? 2 * heap->room : 64;
		heap->nodes = mem_resize(heap->nodes, heap->room, sizeof *heap->nodes);
	}
	rise(heap, order, node, heap->count++);
}

static void heap_remove(struct heap *heap, enum order order, struct node *node)
{
	size_t place = node->place[order];
	struct node *last = heap->nodes[--heap->count];

	if (last == node)
		return;
	rise(heap, order, last, place);
	sink(heap, order, last, last->place[order]);
}

/* ---- nodes ---- */

static struct node_list *list_of(struct sts_cache *cache, const struct node *node)
{
	return node->cached.entry.policy.mode == STS_MODE_ENFORCE ? &cache->enforced
								  : &cache->others;
}

static size_t count_octets(const struct sts_policy *policy)
{
	size_t octets = sizeof(struct node);

	for (size_t i = 0; i < policy->mx_count; i++)
		octets += sizeof policy->mx[i] + strlen(policy->mx[i]) + 1;
	return octets;
}

static void remove_node(struct sts_cache *cache, struct node *node)
{
	HASH_DEL(cache->nodes, node);
	TAILQ_REMOVE(list_of(cache, node), node, entry);
	for (enum order order = 0; order < ORDER_COUNT; order++)
		heap_remove(&cache->heaps[order], order, node);
	cache->octets -= node->octets;
	sts_policy_release(&node->cached.entry.policy);
	free(node);
}

static void add_node(struct sts_cache *cache, const struct sts_entry *entry, time_t due)
{
	struct node *node = mem_zero(1, sizeof *node);
	struct sts_entry *kept = &node->cached.entry;

	*kept = *entry;
	sts_policy_copy(&kept->policy, &entry->policy);
	node->at[BY_DUE] = due;
	node->at[BY_EXPIRY] = entry->expires;
	node->octets = count_octets(&kept->policy);
	cache->octets += node->octets;
	HASH_ADD_KEYPTR(hh, cache->nodes, kept->domain, strlen(kept->domain), node);
	TAILQ_INSERT_TAIL(list_of(cache, node), node, entry);
	for (enum order order = 0; order < ORDER_COUNT; order++)
		heap_add(&cache->heaps[order], order, node);
}

static struct node *find(struct sts_cache *cache, const char *domain)
{
	struct node *node;

	HASH_FIND_STR(cache->nodes, domain, node);
	return node;
}

/* ---- making room ---- */

static struct node *choose_victim(struct sts_cache *cache, time_t now)
{
	struct node *oldest = cache->heaps[BY_EXPIRY].nodes[0];

	if (oldest->at[BY_EXPIRY] <= now)
		return oldest;
	if (!TAILQ_EMPTY(&cache->others))
		return TAILQ_FIRST(&cache->others);
	return TAILQ_FIRST(&cache->enforced);
}

static void make_room(struct sts_cache *cache, time_t now)
{
	while (HASH_COUNT(cache->nodes) > STS_CACHE_MAX || cache->octets > STS_CACHE_OCTETS_MAX) {
		struct node *victim = choose_victim(cache, now);

		cache->evicted(victim->cached.entry.domain, cache->arg);
		remove_node(cache, victim);
	}
}

/* ---- the interface ---- */

struct sts_cached *sts_cache_find(struct sts_cache *cache, const char *domain)
{
	struct node *node = find(cache, domain);

	return node ? &node->cached : NULL;
}

void sts_cache_touch(struct sts_cache *cache, struct sts_cached *cached)
{
	struct node *node = (struct node *)cached;
	struct node_list *list = list_of(cache, node);

	TAILQ_REMOVE(list, node, entry);
	TAILQ_INSERT_TAIL(list, node, entry);
}

void sts_cache_put(struct sts_cache *cache, const struct sts_entry *entry, time_t due, time_t now)
{
	sts_cache_delete(cache, entry->domain);
	add_node(cache, entry, due);
	make_room(cache, now);
}

void sts_cache_delete(struct sts_cache *cache, const char *domain)
{
	struct node *node = find(cache, domain);

	if (node)
		remove_node(cache, node);
}

struct sts_cached *sts_cache_next_due(struct sts_cache *cache, time_t *due)
{
	const struct heap *heap = &cache->heaps[BY_DUE];

	if (heap->count == 0)
		return NULL;
	*due = heap->nodes[0]->at[BY_DUE];
	return &heap->nodes[0]->cached;
}

void sts_cache_set_due(struct sts_cache *cache, struct sts_cached *cached, time_t due)
{
	struct node *node = (struct node *)cached;

	heap_remove(&cache->heaps[BY_DUE], BY_DUE, node);
	node->at[BY_DUE] = due;
	heap_add(&cache->heaps[BY_DUE], BY_DUE, node);
}

size_t sts_cache_count(const struct sts_cache *cache) { return HASH_COUNT(cache->nodes); }

struct sts_cache *sts_cache_new(sts_evicted_fn *evicted, void *arg)
{
	struct sts_cache *cache = mem_zero(1, sizeof *cache);

	cache->evicted = evicted;
	cache->arg = arg;
	TAILQ_INIT(&cache->enforced);
	TAILQ_INIT(&cache->others);
	return cache;
}

void sts_cache_free(struct sts_cache **cache)
{
	struct node *node, *next;

	if (!*cache)
		return;
	HASH_ITER(hh, (*cache)->nodes, node, next) { remove_node(*cache, node); }
	for (enum order order = 0; order < ORDER_COUNT; order++)
		free((*cache)->heaps[order].nodes);
	free(*cache);
	*cache = NULL;
}
