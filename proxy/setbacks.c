/*
 * setbacks.c - a small table with an end to everything in it.
 */
#include "proxy/setbacks.h"

#include "conf/clock.h"
#include "conf/mem.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum { SETBACKS_MAX = 10000 };
static const double REFUSED_SECONDS = 30, DEAD_SECONDS = 60;

/* A dead address is one for every rule: its key is cleared. */
struct key {
	char address[ADDR_TEXT], source[ADDR_TEXT]; /* "": our own */
	unsigned char rule[TLS_KEY_SIZE];
};

struct setback {
	struct key key;
	double since; /* of the steady clock: no correction of the time prolongs it */
	struct refusal refusal;
	UT_hash_handle hh;
};

struct setbacks {
	struct setback *table; /* uthash keeps the order of insertion: the oldest first */
};

struct setbacks *setbacks_new(void) { return mem_zero(1, sizeof(struct setbacks)); }

static void forget(struct setbacks *s, struct setback *entry)
{
	HASH_DEL(s->table, entry);
	free(entry);
}

void setbacks_free(struct setbacks **setbacks)
{
	struct setback *entry, *next;

	if (!*setbacks)
		return;
	HASH_ITER(hh, (*setbacks)->table, entry, next)
	forget(*setbacks, entry);
	free(*setbacks);
	*setbacks = NULL;
}

/* rule NULL: dead for every rule */
static struct setback *find(struct setbacks *s, const struct addr *address,
    const struct addr *source, const struct tls_rule *rule, struct key *key)
{
	struct setback *entry;

	memset(key, 0, sizeof *key);
	addr_bracketed(address, key->address);
	if (source)
		addr_ip(source, key->source);
	if (rule)
		tls_rule_key(rule, key->rule);
	HASH_FIND(hh, s->table, key, sizeof *key, entry);
	if (entry && clock_steady() - entry->since > DEAD_SECONDS) {
		forget(s, entry);
		return NULL;
	}
	return entry;
}

void setbacks_add(struct setbacks *s, const struct addr *address, const struct addr *source,
    const struct tls_rule *rule, bool is_dead, const struct refusal *refusal)
{
	struct key key;
	struct setback *entry = find(s, address, source, is_dead ? NULL : rule, &key);

	if (entry)
		forget(s, entry);
	if (HASH_COUNT(s->table) >= SETBACKS_MAX)
		forget(s, s->table);
	entry = mem_zero(1, sizeof *entry);
	entry->key = key;
	entry->since = clock_steady();
	entry->refusal = *refusal;
	HASH_ADD(hh, s->table, key, sizeof entry->key, entry);
}

static const struct refusal *if_recent(const struct setback *entry)
{
	return entry && clock_steady() - entry->since <= REFUSED_SECONDS ? &entry->refusal : NULL;
}

const struct refusal *setbacks_find(struct setbacks *s, const struct addr *address,
    const struct addr *source, const struct tls_rule *rule)
{
	struct key key;
	const struct refusal *refusal;

	if (!s->table)
		return NULL;
	refusal = if_recent(find(s, address, source, NULL, &key));
	return refusal ? refusal : if_recent(find(s, address, source, rule, &key));
}

bool setbacks_is_dead(struct setbacks *s, const struct addr *address, const struct addr *source)
{
	struct key key;

	return s->table && find(s, address, source, NULL, &key) != NULL;
}
