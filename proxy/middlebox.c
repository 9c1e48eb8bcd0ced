/*
 * middlebox.c - see middlebox.h. Told by smtp_script.c, asked by alarm.c.
 *
 * The table is in order of the last greeting, as every greeting moves its host to the end: the
 * front is what is forgotten first, and the last minutes are at the end.
 */
#include "proxy/middlebox.h"

#include "conf/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum { HOSTS_MAX = 10000, LACKING_LEAST = 5, SHOWN = 5 };
static const double WINDOW = 600, SILENCE = 3600, MEMORY = 7 * 86400;

struct host {
	char *name;
	double offered, greeted; /* when last */
	bool lacks;              /* what it said then */
	UT_hash_handle hh;
};

struct middlebox {
	struct host *table;
	bool is_suspected;
};

struct middlebox *middlebox_new(void) { return mem_zero(1, sizeof(struct middlebox)); }

static void forget(struct middlebox *m, struct host *host)
{
	HASH_DEL(m->table, host);
	free(host->name);
	free(host);
}

void middlebox_free(struct middlebox **middlebox)
{
	struct host *host, *next;

	if (!*middlebox)
		return;
	HASH_ITER(hh, (*middlebox)->table, host, next)
	forget(*middlebox, host);
	free(*middlebox);
	*middlebox = NULL;
}

/* ---- what hosts say ---- */

static struct host *find(struct middlebox *m, const char *name, double now)
{
	struct host *host;

	HASH_FIND_STR(m->table, name, host);
	if (!host || now - host->offered <= MEMORY)
		return host;
	forget(m, host);
	return NULL;
}

static struct host *add(struct middlebox *m, const char *name)
{
	struct host *host = mem_zero(1, sizeof *host);

	if (HASH_COUNT(m->table) >= HOSTS_MAX)
		forget(m, m->table);
	host->name = mem_strdup(name);
	HASH_ADD_KEYPTR(hh, m->table, host->name, strlen(host->name), host);
	return host;
}

void middlebox_hear(struct middlebox *m, const char *name, bool offers_starttls, double now)
{
	struct host *host = find(m, name, now);

	if (!host && !offers_starttls)
		return;
	if (!host) {
		host = add(m, name);
	} else {
		HASH_DEL(m->table, host);
		HASH_ADD_KEYPTR(hh, m->table, host->name, strlen(host->name), host);
	}
	host->greeted = now;
	host->lacks = !offers_starttls;
	if (offers_starttls)
		host->offered = now;
}

/* ---- what that means ---- */

static struct host *last(const struct middlebox *m)
{
	return m->table ? ELMT_FROM_HH(m->table->hh.tbl, m->table->hh.tbl->tail) : NULL;
}

static void name_host(struct middlebox_verdict *verdict, const char *name)
{
	size_t len = strlen(verdict->hosts);

	if (verdict->lacking <= SHOWN)
		snprintf(verdict->hosts + len, sizeof verdict->hosts - len, "%s%s", len ? ", " : "",
		    name);
}

static void count(const struct middlebox *m, double now, struct middlebox_verdict *verdict)
{
	for (struct host *host = last(m); host && now - host->greeted <= WINDOW;
	     host = host->hh.prev) {
		verdict->greeted++;
		if (!host->lacks)
			continue;
		verdict->lacking++;
		name_host(verdict, host->name);
	}
}

static void name_rest(struct middlebox_verdict *verdict)
{
	size_t len = strlen(verdict->hosts);

	if (verdict->lacking > SHOWN)
		snprintf(verdict->hosts + len, sizeof verdict->hosts - len, " and %zu more",
		    verdict->lacking - SHOWN);
}

/* Where nobody was greeted lately, nothing is known to have changed; but not for ever. */
static bool is_over(const struct middlebox *m, double now, const struct middlebox_verdict *verdict)
{
	const struct host *latest = last(m);

	if (verdict->greeted)
		return verdict->lacking * 2 <= verdict->greeted;
	return !latest || now - latest->greeted > SILENCE;
}

void middlebox_judge(struct middlebox *m, double now, struct middlebox_verdict *verdict)
{
	*verdict = (struct middlebox_verdict){0};
	count(m, now, verdict);
	name_rest(verdict);
	if (!m->is_suspected)
		m->is_suspected =
		    verdict->lacking >= LACKING_LEAST && verdict->lacking * 2 > verdict->greeted;
	else if (is_over(m, now, verdict))
		m->is_suspected = false;
	verdict->is_suspected = m->is_suspected;
}
