/*
 * duplicates.c - remembered acceptances, in a hash table of each worker, through the journal in all
 * workers, and through the spool over restarts.
 *
 * An entry is 32 octets: half of them tell (client, sender, recipient), known at RCPT, and are of
 * its SHA-256; the rest tells the message, known at its end, and is a fingerprint that nobody else
 * can make, so that nobody can have mail of others taken for a duplicate. In doubt nothing is
 * known: a duplicate is better than a loss.
 */
#include "proxy/duplicates.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "conf/timer.h"
#include "proxy/shared/journal.h"
#include "proxy/spool/spool.h"
#include "tls/digest.h"

#include <assert.h>
#include <ev.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

enum {
	KEEP = 86400,    /* seconds */
	UNDER_WAY = 600, /* the longest that a next hop's final reply is waited for */
	UNHEARD_MAX = 10000,
	WHO_SIZE = DUPLICATE_WHO_SIZE,
};

static const double youth = 0.1;

static_assert((int)DIGEST_SIZE == (int)SPOOL_DIGEST_SIZE, "an entry is what the spool stores");
static_assert((int)DIGEST_SIZE == (int)JOURNAL_DIGEST_SIZE, "and what the journal tells");
static_assert((int)DIGEST_SIZE == (int)WHO_SIZE + (int)FINGERPRINT_SIZE, "nothing is cut off");

struct entry {
	unsigned char digest[DIGEST_SIZE];
	time_t until;
	bool is_young;             /* the spool does not know of it */
	struct entry *prev, *next; /* among the young */
	UT_hash_handle hh;         /* in the order of coming */
};

/* How many entries begin with this. */
struct who {
	unsigned char digest[WHO_SIZE];
	size_t count;
	UT_hash_handle hh;
};

/* Until its client has heard of it nearly nothing is done for it: nearly all do. */
struct acceptance {
	unsigned char body[FINGERPRINT_SIZE];
	struct duplicate_who who;
	char *client, *sender, *recipient; /* in one piece, the first's; NULL: who is known */
};

struct duplicates {
	struct spool *spool;
	struct journal *journal;
	uint64_t place; /* how far we have read it */
	struct entry *entries;
	struct entry *young;
	ev_timer grow_up; /* while there are some */
	struct who *whos;
	struct ev_loop *loop;
	struct fingerprints *fingerprints;
};

/* ---- keys ---- */

/* With the NUL, so that no two keys run into one another. */
static void add_text(struct digest *digest, const char *text)
{
	digest_add(digest, text, strlen(text) + 1);
}

static void make_who(const struct duplicate_key *key, struct duplicate_who *who)
{
	struct digest *digest = digest_new();
	unsigned char whole[DIGEST_SIZE];

	add_text(digest, key->client);
	add_text(digest, key->sender);
	add_text(digest, key->recipient);
	digest_end(&digest, whole);
	memcpy(who->digest, whole, WHO_SIZE);
	who->is_known = true;
}

static void put_who(const struct duplicate_key *key, unsigned char out[WHO_SIZE])
{
	struct duplicate_who own = {0}, *who = key->who ? key->who : &own;

	if (!who->is_known)
		make_who(key, who);
	memcpy(out, who->digest, WHO_SIZE);
}

static void make_entry(const struct duplicate_key *key, const unsigned char body[FINGERPRINT_SIZE],
    unsigned char out[DIGEST_SIZE])
{
	put_who(key, out);
	memcpy(out + WHO_SIZE, body, FINGERPRINT_SIZE);
}

/* ---- the table ---- */

static struct who *find_who(const struct duplicates *d, const unsigned char *digest)
{
	struct who *who;

	HASH_FIND(hh, d->whos, digest, WHO_SIZE, who);
	return who;
}

static void count_who(struct duplicates *d, const unsigned char *digest)
{
	struct who *who = find_who(d, digest);

	if (!who) {
		who = mem_zero(1, sizeof *who);
		memcpy(who->digest, digest, WHO_SIZE);
		HASH_ADD(hh, d->whos, digest, WHO_SIZE, who);
	}
	who->count++;
}

static void forget(struct duplicates *d, struct entry *entry)
{
	struct who *who = find_who(d, entry->digest);

	if (--who->count == 0) {
		HASH_DEL(d->whos, who);
		free(who);
	}
	HASH_DEL(d->entries, entry);
	if (entry->is_young)
		DL_DELETE(d->young, entry);
	free(entry);
}

/* A clock that was set back must not make an entry live longer than a day. */
static bool is_over(const struct entry *entry)
{
	time_t left = entry->until - clock_wall();

	return left <= 0 || left > KEEP;
}

static void make_room(struct duplicates *d)
{
	while (d->entries && (HASH_COUNT(d->entries) >= DUPLICATES_MAX || is_over(d->entries)))
		forget(d, d->entries);
}

static struct entry *find(const struct duplicates *d, const unsigned char digest[DIGEST_SIZE])
{
	struct entry *entry;

	HASH_FIND(hh, d->entries, digest, DIGEST_SIZE, entry);
	return entry;
}

static struct entry *add_new(
    struct duplicates *d, const unsigned char digest[DIGEST_SIZE], time_t until)
{
	struct entry *entry;

	make_room(d);
	entry = mem_zero(1, sizeof *entry);
	memcpy(entry->digest, digest, DIGEST_SIZE);
	entry->until = until;
	HASH_ADD(hh, d->entries, digest, DIGEST_SIZE, entry);
	count_who(d, digest);
	return entry;
}

static void add(const unsigned char digest[DIGEST_SIZE], time_t until, void *arg)
{
	struct duplicates *d = arg;
	struct entry *entry = find(d, digest);

	if (entry)
		entry->until = until;
	else
		add_new(d, digest, until);
}

/* ---- the other workers ---- */

/* Our own changes come back, too, in their order among all others. */
static void hear(const unsigned char digest[DIGEST_SIZE], time_t until, void *arg)
{
	struct duplicates *d = arg;
	struct entry *entry = find(d, digest);

	if (until > clock_wall())
		add(digest, until, d);
	else if (entry)
		forget(d, entry);
}

static void catch_up(struct duplicates *d)
{
	if (d->journal)
		journal_read(d->journal, &d->place, hear, d);
}

static void tell_workers(
    struct duplicates *d, const unsigned char digest[DIGEST_SIZE], time_t until)
{
	if (d->journal)
		journal_add(d->journal, digest, until);
}

/* ---- after a restart ---- */

static void begin_young(struct duplicates *d, struct entry *entry)
{
	if (!d->spool || entry->is_young) /* both, where a clock was set back */
		return;
	entry->is_young = true;
	DL_APPEND(d->young, entry);
	if (!ev_is_active(&d->grow_up))
		timer_start(d->loop, &d->grow_up, youth);
}

static void tell_spool(struct duplicates *d)
{
	struct entry *entry;

	while ((entry = d->young)) {
		entry->is_young = false;
		DL_DELETE(d->young, entry);
		spool_remember(d->spool, entry->digest, entry->until);
	}
}

/* What has come within this time is younger, and is told all the same. */
static void on_grow_up(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct duplicates *d = w->data;

	(void)loop, (void)revents;
	catch_up(d);
	tell_spool(d);
}

/* ---- the interface ---- */

struct duplicates *duplicates_new(struct ev_loop *loop, struct spool *spool,
    struct journal *journal, const unsigned char secret[FINGERPRINT_SECRET])
{
	struct duplicates *d = mem_zero(1, sizeof *d);

	d->loop = loop;
	d->spool = spool;
	ev_init(&d->grow_up, on_grow_up);
	d->grow_up.data = d;
	d->journal = journal;
	d->fingerprints = fingerprints_new(secret);
	if (spool)
		spool_recall(spool, add, d);
	catch_up(d);
	return d;
}

void duplicates_free(struct duplicates **duplicates)
{
	struct duplicates *d = *duplicates;

	*duplicates = NULL;
	if (!d)
		return;
	tell_spool(d);
	ev_timer_stop(d->loop, &d->grow_up);
	while (d->entries)
		forget(d, d->entries);
	fingerprints_free(&d->fingerprints);
	free(d);
}

struct fingerprint *duplicates_fingerprint(struct duplicates *d)
{
	return fingerprint_begin(d->fingerprints);
}

bool duplicates_may_know(struct duplicates *d, const struct duplicate_key *key)
{
	unsigned char who[WHO_SIZE];

	catch_up(d);
	if (!d->entries)
		return false;
	put_who(key, who);
	return find_who(d, who) != NULL;
}

time_t duplicates_find(struct duplicates *d, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE])
{
	unsigned char digest[DIGEST_SIZE];
	const struct entry *entry;

	catch_up(d);
	if (!d->entries)
		return 0;
	make_entry(key, body, digest);
	entry = find(d, digest);
	return entry && !is_over(entry) ? entry->until - KEEP : 0;
}

static void remember(struct duplicates *d, const unsigned char digest[DIGEST_SIZE])
{
	struct entry *entry = find(d, digest);
	time_t until = clock_wall() + KEEP;

	if (entry && !is_over(entry))
		return;
	if (entry)
		entry->until = until;
	else
		entry = add_new(d, digest, until);
	tell_workers(d, digest, until);
	begin_young(d, entry);
}

void duplicates_remember(struct duplicates *d, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE])
{
	unsigned char digest[DIGEST_SIZE];

	catch_up(d);
	make_entry(key, body, digest);
	remember(d, digest);
}

/* The spool knows no other way than that its time is over. */
static void forget_digest(struct duplicates *d, const unsigned char digest[DIGEST_SIZE])
{
	struct entry *entry = find(d, digest);
	bool was_young = entry && entry->is_young;

	if (!entry)
		return;
	forget(d, entry);
	tell_workers(d, digest, clock_wall());
	if (d->spool && !was_young)
		spool_remember(d->spool, digest, clock_wall());
}

/* ---- messages on their way ---- */

/* An entry of its own beside that of the acceptance to come; RCPT knows both by the same half. */
static void make_under_way(const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE], unsigned char out[DIGEST_SIZE])
{
	make_entry(key, body, out);
	for (size_t i = WHO_SIZE; i < DIGEST_SIZE; i++)
		out[i] ^= 0xff;
}

void duplicates_set_under_way(struct duplicates *d, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE], bool is_under_way)
{
	time_t until = clock_wall() + (is_under_way ? UNDER_WAY : 0);
	unsigned char digest[DIGEST_SIZE];

	catch_up(d);
	make_under_way(key, body, digest);
	if (!is_under_way && !find(d, digest))
		return;
	hear(digest, until, d);
	tell_workers(d, digest, until);
}

bool duplicates_is_under_way(struct duplicates *d, const struct duplicate_key *key,
    const unsigned char body[FINGERPRINT_SIZE])
{
	unsigned char digest[DIGEST_SIZE];
	const struct entry *entry;

	catch_up(d);
	make_under_way(key, body, digest);
	entry = find(d, digest);
	return entry && !is_over(entry);
}

/* ---- replies on their way ---- */

static void copy_key(struct acceptance *a, const struct duplicate_key *key)
{
	size_t client = strlen(key->client) + 1, sender = strlen(key->sender) + 1,
	       recipient = strlen(key->recipient) + 1;

	a->client = mem_alloc(client + sender + recipient);
	a->sender = a->client + client;
	a->recipient = a->sender + sender;
	memcpy(a->client, key->client, client);
	memcpy(a->sender, key->sender, sender);
	memcpy(a->recipient, key->recipient, recipient);
}

void unheard_add(
    struct unheard *u, const struct duplicate_key *key, const unsigned char body[FINGERPRINT_SIZE])
{
	struct acceptance *a;

	if (u->count >= UNHEARD_MAX)
		return;
	u->acceptances = mem_resize(u->acceptances, u->count + 1, sizeof *u->acceptances);
	a = &u->acceptances[u->count++];
	*a = (struct acceptance){0};
	memcpy(a->body, body, FINGERPRINT_SIZE);
	if (key->who && key->who->is_known)
		a->who = *key->who;
	else
		copy_key(a, key);
}

static void settle(struct duplicates *d, struct acceptance *a, bool is_heard)
{
	struct duplicate_key key = {a->client, a->sender, a->recipient, &a->who};
	unsigned char digest[DIGEST_SIZE];

	if (is_heard && !d->entries)
		return;
	make_entry(&key, a->body, digest);
	if (is_heard)
		forget_digest(d, digest);
	else
		remember(d, digest);
}

void duplicates_settle(struct duplicates *d, struct unheard *u, bool is_heard)
{
	catch_up(d);
	for (size_t i = 0; i < u->count; i++) {
		settle(d, &u->acceptances[i], is_heard);
		free(u->acceptances[i].client);
	}
	free(u->acceptances);
	*u = (struct unheard){0};
}

size_t duplicates_count(struct duplicates *d)
{
	catch_up(d);
	return HASH_COUNT(d->entries);
}
