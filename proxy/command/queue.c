/*
 * queue.c - danelaw queue: list, show, retry, bounce. See queue.h.
 *
 * Root becomes the owner of the spool before it opens anything: what it would make there danelaw
 * could not use, and nobody reads strangers' mail with all rights.
 */
#include "proxy/command/queue.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/escape.h"
#include "conf/mem.h"
#include "proxy/command/json_text.h"
#include "proxy/command/page.h"
#include "proxy/command/queue_print.h"
#include "proxy/spool/spool_dir.h"
#include "proxy/spool/spool_index.h"
#include "proxy/spool/spool_text.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { HEADERS_MAX = 65536 }; /* octets of a message's headers that are shown */

static const char usage[] =
    "danelaw queue [list] [--json]\n"
    "danelaw queue show ID [--json]\n"
    "danelaw queue retry ID|DOMAIN|--all\n"
    "danelaw queue bounce ID\n"
    "\n"
    "What the spool holds, whether danelaw runs or not; for who may read state_dir.\n"
    "\n"
    "  list              each message and its recipients, and what comes next\n"
    "  show ID           all that is known of one, and its headers\n"
    "  retry ...         tries a message, a domain or everything now\n"
    "  bounce ID         gives a message up; its sender is told\n"
    "\n"
    "  --json            for programs\n"
    "  --all             with retry: everything\n"
    "\n"
    "exit: 0 fine; 64 usage; 69 no such message, or the spool cannot be used;\n"
    "78 configuration\n";

struct queue {
	char *directory;
	struct spool_index *index; /* NULL: there is no spool yet */
	struct page page;
	time_t now;
	bool as_json, all;
	const char *argument; /* ID or DOMAIN; NULL: none */
};

/* ---- opening ---- */

static int complain(const char *why)
{
	char clean[SPOOL_WHY * 4];

	escape(clean, sizeof clean, ESCAPE_TEXT, why, strlen(why), NULL);
	fprintf(stderr, "danelaw queue: %s\n", clean);
	return EX_UNAVAILABLE;
}

static int complain_id(const char *id)
{
	char why[SPOOL_WHY];

	snprintf(why, sizeof why, "no message %s in the spool", id);
	return complain(why);
}

/* Who may do it: whoever owns the nearest directory that can be seen. */
static int complain_right(const struct queue *q)
{
	char *path = mem_strdup(q->directory), *slash, text[SPOOL_WHY];
	struct stat st = {0};
	struct passwd *owner;

	while (stat(path, &st) && (slash = strrchr(path, '/')))
		*slash = '\0';
	owner = getpwuid(st.st_uid);
	snprintf(text, sizeof text, "%s: permission denied; be %s%s", q->directory,
	    st.st_uid ? "root or " : "root",
	    !st.st_uid ? ""
	    : owner    ? owner->pw_name
		       : "its owner");
	free(path);
	return complain(text);
}

static bool become_owner(const struct stat *st)
{
	if (geteuid() || !st->st_uid)
		return true;
	return !setgroups(0, NULL) && !setresgid(st->st_gid, st->st_gid, st->st_gid) &&
	       !setresuid(st->st_uid, st->st_uid, st->st_uid);
}

/* Without a spool index stays NULL, and that is fine. */
static int open_spool(struct queue *q, enum spool_mode mode)
{
	char why[SPOOL_WHY] = "";
	struct stat st;

	if (stat(q->directory, &st))
		return errno == ENOENT   ? EX_OK
		       : errno == EACCES ? complain_right(q)
					 : complain(strerror(errno));
	if (!become_owner(&st))
		return complain("cannot become the owner of the spool");
	if (faccessat(
		AT_FDCWD, q->directory, mode == SPOOL_READ ? R_OK | X_OK : W_OK | X_OK, AT_EACCESS))
		return complain_right(q);
	switch (spool_index_open(&q->index, q->directory, mode, why)) {
	case SPOOL_DONE:
	case SPOOL_ABSENT:
		return EX_OK;
	default:
		return complain(why);
	}
}

/* ---- list ---- */

struct listing {
	struct queue *queue;
	json_t *messages; /* NULL: for people */
	json_t *damaged;
	size_t count, recipients, damaged_count;
};

static void list_one(const char *id, const struct spool_message *message, void *arg)
{
	struct listing *l = arg;

	if (!message) {
		l->damaged_count++;
		json_array_append_new(l->damaged, json_text(id));
		if (!l->queue->as_json)
			page_text(&l->queue->page, 0, 2, PAGE_BAD,
			    "%s  damaged; danelaw sets it aside, and says so in its log", id);
		return;
	}
	l->count++;
	l->recipients += message->count;
	if (l->queue->as_json)
		json_array_append_new(l->messages, queue_json(message));
	else
		queue_print_entry(&l->queue->page, message, l->queue->now);
}

/* Which one: without -c, another user's danelaw keeps its mail elsewhere. */
static void tell_empty(const struct queue *q)
{
	page_text(&q->page, 0, 0, PAGE_PLAIN, "the spool is empty (%s)", q->directory);
}

static void conclude(const struct listing *l)
{
	const struct page *page = &l->queue->page;

	if (l->queue->as_json) {
		json_t *document = json_object();

		json_put(document, "messages", json_incref(l->messages));
		json_put(document, "damaged", json_incref(l->damaged));
		json_print(page->out, document);
	} else if (!l->count && !l->damaged_count) {
		tell_empty(l->queue);
	} else {
		page_gap(page);
		page_text(page, 0, 0, PAGE_PLAIN, "%zu message%s, %zu recipient%s", l->count,
		    l->count == 1 ? "" : "s", l->recipients, l->recipients == 1 ? "" : "s");
	}
}

static int list(struct queue *q)
{
	struct listing l = {.queue = q, .messages = json_array(), .damaged = json_array()};
	enum spool_result result = SPOOL_DONE;
	char why[SPOOL_WHY] = "";

	if (q->index)
		result = spool_index_each(q->index, list_one, &l, why);
	if (result == SPOOL_DONE)
		conclude(&l);
	json_decref(l.messages);
	json_decref(l.damaged);
	return result == SPOOL_DONE ? EX_OK : complain(why);
}

/* ---- show ---- */

/* What stands before the first empty line, as people write it: no CR, no dots doubled. */
static void make_readable(char *text)
{
	char *end = strstr(text, "\r\n\r\n"), *out = text;

	if (end)
		end[2] = '\0';
	for (const char *in = text; *in; in++) {
		bool is_first = in == text || in[-1] == '\n';

		if (*in != '\r' && !(is_first && *in == '.'))
			*out++ = *in;
	}
	*out = '\0';
}

/* "" where they cannot be read; cut where they are endless. */
static char *read_headers(const struct queue *q, const struct spool_message *message)
{
	char *text = mem_zero(1, HEADERS_MAX + 1), why[SPOOL_WHY];
	int fd = spool_dir_open_body(q->directory, message, NULL, why);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len < HEADERS_MAX && (n = read(fd, text + len, HEADERS_MAX - len)) > 0)
		len += (size_t)n;
	if (fd >= 0)
		close(fd);
	make_readable(text);
	return text;
}

static void print(const struct queue *q, const struct spool_message *message)
{
	char *headers = read_headers(q, message);
	json_t *document;

	if (q->as_json) {
		document = queue_json(message);
		json_put(document, "headers", json_text(headers));
		json_print(q->page.out, document);
	} else {
		queue_print_message(&q->page, message, headers, q->now);
	}
	free(headers);
}

static int show(struct queue *q)
{
	struct spool_message *message = NULL;
	char why[SPOOL_WHY] = "";
	enum spool_result result = SPOOL_ABSENT;

	if (q->index && spool_is_id(q->argument))
		result = spool_index_get(q->index, q->argument, &message, why);
	if (result == SPOOL_ABSENT)
		return complain_id(q->argument);
	if (result != SPOOL_DONE)
		return complain(why);
	print(q, message);
	spool_message_free(&message);
	return EX_OK;
}

/* ---- orders ---- */

static int tell_order(const struct queue *q, const char *what, size_t count)
{
	page_text(&q->page, 0, 2, PAGE_PLAIN, "%zu recipient%s will be %s%s", count,
	    count == 1 ? "" : "s", what, "; danelaw does it within seconds, or when it is started");
	return EX_OK;
}

static int bounce(struct queue *q)
{
	char why[SPOOL_WHY] = "";
	enum spool_result result = SPOOL_ABSENT;
	size_t count = 0;

	if (q->index && spool_is_id(q->argument))
		result = spool_index_bounce(q->index, q->argument, &count, why);
	if (result == SPOOL_ABSENT)
		return complain_id(q->argument);
	return result == SPOOL_DONE ? tell_order(q, "given up", count) : complain(why);
}

struct ids {
	size_t count;
	char (*items)[SPOOL_ID_SIZE];
};

static void collect(const char *id, const struct spool_message *message, void *arg)
{
	struct ids *ids = arg;

	(void)message;
	ids->items = mem_resize(ids->items, ids->count + 1, sizeof *ids->items);
	snprintf(ids->items[ids->count++], SPOOL_ID_SIZE, "%s", id);
}

/* A message that went meanwhile is no loss. */
static int retry_all(struct queue *q)
{
	struct ids ids = {0};
	char why[SPOOL_WHY] = "";
	size_t total = 0;
	enum spool_result result = SPOOL_DONE;

	if (q->index)
		result = spool_index_each(q->index, collect, &ids, why);
	for (size_t i = 0; i < ids.count && result == SPOOL_DONE; i++) {
		size_t count = 0;

		result = spool_index_retry(q->index, ids.items[i], &count, why);
		if (result == SPOOL_ABSENT)
			result = SPOOL_DONE;
		total += count;
	}
	free(ids.items);
	if (result != SPOOL_DONE)
		return complain(why);
	if (!ids.count)
		tell_empty(q);
	return ids.count ? tell_order(q, "tried now", total) : EX_OK;
}

static int retry(struct queue *q)
{
	char domain[DOMAIN_SIZE], why[SPOOL_WHY] = "";
	enum spool_result result = SPOOL_ABSENT;
	size_t count = 0;

	if (q->all)
		return retry_all(q);
	if (q->index && spool_is_id(q->argument))
		result = spool_index_retry(q->index, q->argument, &count, why);
	if (q->index && result == SPOOL_ABSENT &&
	    domain_normalize(domain, q->argument, strlen(q->argument)))
		result = spool_index_retry_domain(q->index, domain, &count, why);
	if (result == SPOOL_ABSENT) {
		snprintf(why, sizeof why, "no message %s, and none for such a domain", q->argument);
		return complain(why);
	}
	return result == SPOOL_DONE ? tell_order(q, "tried now", count) : complain(why);
}

/* ---- the command ---- */

/* clang-format off */
static const struct verb {
	const char *name;
	int (*run)(struct queue *q);
	enum spool_mode mode;
	bool takes_argument, takes_all;
} verbs[] = {
	{ "list",   list,   SPOOL_READ,   false, false },
	{ "show",   show,   SPOOL_READ,   true,  false },
	{ "retry",  retry,  SPOOL_CHANGE, true,  true },
	{ "bounce", bounce, SPOOL_CHANGE, true,  false },
};
/* clang-format on */

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	}
	return NULL;
}

static int misused(const char *why)
{
	fprintf(stderr, "danelaw queue: %s\ntry: danelaw queue --help\n", why);
	return EX_USAGE;
}

/* EX_OK: *verb and q->argument are set. */
static int read_arguments(
    const struct command_line *line, struct queue *q, const struct verb **verb)
{
	int count = line->argc - optind;

	*verb = count ? find_verb(line->argv[optind]) : &verbs[0];
	if (!*verb)
		return misused("the orders are list, show, retry and bounce");
	if (q->all && !(*verb)->takes_all)
		return misused("--all goes with retry");
	if (q->as_json && (*verb)->mode != SPOOL_READ)
		return misused("--json goes with list and show");
	if (count > 2 || (count == 2 && (!(*verb)->takes_argument || q->all)))
		return misused("too many arguments");
	if (count < 2 && (*verb)->takes_argument && !q->all)
		return misused((*verb)->takes_all ? "which? an ID, a domain or --all"
						  : "which? an ID, as danelaw queue shows it");
	q->argument = count == 2 ? line->argv[optind + 1] : NULL;
	return EX_OK;
}

static int run(const struct conf *conf, struct queue *q, const struct verb *verb)
{
	int code;

	page_open(&q->page, stdout, NULL);
	q->now = clock_wall();
	q->directory = spool_dir_path(conf);
	code = open_spool(q, verb->mode);
	if (code == EX_OK)
		code = verb->run(q);
	spool_index_close(&q->index);
	free(q->directory);
	return code;
}

int queue_command(struct command_line *line)
{
	enum { JSON = 256, ALL };
	static const struct option longs[] = {{"json", no_argument, NULL, JSON},
	    {"all", no_argument, NULL, ALL}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	const struct verb *verb;
	struct queue q = {0};
	struct conf *conf;
	int option, code;

	while ((option = command_line_next(line, "", longs)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return EX_OK;
		}
		if (option == '?')
			return EX_USAGE;
		q.as_json |= option == JSON;
		q.all |= option == ALL;
	}
	code = read_arguments(line, &q, &verb);
	if (code != EX_OK)
		return code;
	conf = command_line_conf(line);
	if (!conf)
		return EX_CONFIG;
	code = run(conf, &q, verb);
	conf_free(&conf);
	return code;
}
