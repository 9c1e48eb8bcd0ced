/*
 * store_load.c - see store_load.h.
 *
 * What is damaged is repaired before it is used, so that the writer, and other processes, find a
 * sound file. Called by store.c.
 */
#include "policy/store_load.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "policy/store_repair.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { PATIENCE = 2 }; /* seconds */

struct loading {
	const char *path;
	store_entry_fn *each;
	void *arg;
	size_t unsound;
	char first_unsound[DOMAIN_SIZE];
};

static void load_row(const struct store_row *row, bool is_sound, void *arg)
{
	struct loading *loading = arg;
	struct sts_entry entry;

	if (!is_sound) {
		if (loading->unsound++ == 0)
			memcpy(loading->first_unsound, row->domain, sizeof row->domain);
		return;
	}
	store_row_entry(row, &entry);
	loading->each(&entry, loading->arg);
	sts_policy_release(&entry.policy);
}

/* Nothing is served yet, and another process is done within moments. */
static enum store_result open_patiently(const char *path, struct store_db **db, char why[STORE_WHY])
{
	static const struct timespec pause = {.tv_nsec = 20L * 1000 * 1000};
	double deadline = clock_steady() + PATIENCE;
	enum store_result result;

	while ((result = store_db_open(db, path, why)) == STORE_BUSY && clock_steady() < deadline)
		nanosleep(&pause, NULL);
	return result;
}

static enum store_result open_checked(const char *path, struct store_db **db, char why[STORE_WHY])
{
	enum store_result result = open_patiently(path, db, why);

	if (result == STORE_DONE)
		result = store_db_check(*db, why);
	if (result != STORE_DONE)
		store_db_close(db);
	return result;
}

static enum store_result open_repaired(const char *path, struct store_db **db, char why[STORE_WHY])
{
	enum store_result result = open_checked(path, db, why);

	if (result != STORE_DAMAGED)
		return result;
	result = store_repair(path, why);
	if (result != STORE_DONE)
		return result;
	log_error("MTA-STS cache: %s %s", path, why);
	return open_checked(path, db, why);
}

/* SQLite takes it for a new one. One made just now is another process's, that has yet to fill it.
 */
static void tell_empty(const char *path)
{
	struct stat status;

	if (stat(path, &status) == 0 && status.st_size == 0 &&
	    clock_wall() - status.st_mtime > PATIENCE)
		log_error("MTA-STS cache: %s is empty: it was cut short, or danelaw was ended when "
			  "making it; it begins anew",
		    path);
}

static void drop_unsound(struct loading *loading, struct store_db *db)
{
	char why[STORE_WHY];

	if (loading->unsound == 0)
		return;
	log_error("MTA-STS cache: %s: %zu damaged entries are dropped, the first that of \"%s\"",
	    loading->path, loading->unsound, loading->first_unsound);
	store_db_drop_unsound(db, why);
}

void store_file_look(const char *path, store_entry_fn *each, void *arg)
{
	struct loading loading = {.path = path, .each = each, .arg = arg};
	struct store_db *db;
	char why[STORE_WHY];

	if (store_db_open_reader(&db, path, why) == STORE_DONE)
		store_db_read(db, load_row, &loading, why);
	store_db_close(&db);
}

enum store_result store_file_load(
    const char *path, store_entry_fn *each, void *arg, char why[STORE_WHY])
{
	struct loading loading = {.path = path, .each = each, .arg = arg};
	struct store_db *db;
	char why_unread[STORE_WHY];

	tell_empty(path);
	enum store_result result = open_repaired(path, &db, why);

	if (result != STORE_DONE)
		store_db_open_reader(&db, path, why_unread);
	if (!db)
		return result;
	if (store_db_read(db, load_row, &loading, why_unread) != STORE_DONE)
		log_error("MTA-STS cache: %s cannot be read to its end: %s", path, why_unread);
	drop_unsound(&loading, db);
	store_db_close(&db);
	return result;
}
