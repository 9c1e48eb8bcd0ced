/*
 * notice.c - see notice.h.
 *
 * A notice is a message of the spool like any other: what is said of full disks and of retries is
 * true of it, too. It never begets another one: its sender is the null sender (RFC 5321 section
 * 4.5.5), and is_notice says so once more.
 */
#include "proxy/spool/notice.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "proxy/metrics.h"
#include "proxy/proxy.h"
#include "proxy/spool/schedule.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum { HEADERS_MAX = 32 * 1024 };

/* A line of the log, for when the notice is on the disk. */
struct told {
	char *to, *reply;
	enum reason reason;
};

struct notice {
	struct proxy *proxy;
	enum dsn_kind kind;
	struct spool_message *message; /* the notice itself */
	char *about_session, *about_sender;
	size_t count;
	struct told *told;
	struct spool_draft *draft;
	ev_timer failed; /* tells of a failure on a later turn */
	char why[SPOOL_WHY];
	spool_draft_fn *callback;
	void *arg;
	struct notice *prev, *next; /* among proxy->notices */
};

bool notice_is_owed(const struct spool_message *message, const struct spool_recipient *recipient,
    enum dsn_kind kind)
{
	static const unsigned wanted[] = {
	    [DSN_FAILED] = SMTP_NOTIFY_FAILURE,
	    [DSN_DELAYED] = SMTP_NOTIFY_DELAY,
	    [DSN_RELAYED] = SMTP_NOTIFY_SUCCESS,
	};
	const struct smtp_path *sender = &message->envelope.sender;
	unsigned notify = recipient->dsn.notify;

	if (sender->is_null || message->is_notice || !sender->domain[0])
		return false;
	if (!notify) /* RFC 3461 section 4.1 */
		return kind != DSN_RELAYED;
	return notify & wanted[kind];
}

/* ---- the headers of the original ---- */

/* What the wire has more than the message. In place. */
static size_t remove_stuffed_dots(char *text, size_t len)
{
	size_t to = 0;

	for (size_t from = 0; from < len; from++) {
		if (text[from] == '.' && (from == 0 || text[from - 1] == '\n'))
			continue;
		text[to++] = text[from];
	}
	return to;
}

/* Up to the empty line, or where that lies too far, to the end of the last whole line. */
static size_t header_len(const char *text, size_t len)
{
	const char *end;

	if (len >= 2 && !memcmp(text, "\r\n", 2))
		return 0;
	end = memmem(text, len, "\r\n\r\n", 4);
	if (!end)
		end = memrchr(text, '\n', len);
	else
		end++;
	return end ? (size_t)(end + 1 - text) : 0;
}

/* NULL: there is no file, or it begins with no header. */
static char *read_headers(
    const struct proxy *proxy, const struct spool_message *message, size_t *len)
{
	char why[SPOOL_WHY], *text;
	ssize_t got;
	int file;

	if (!message->id[0] || (file = spool_open_body(proxy->spool, message, NULL, why)) < 0)
		return NULL;
	text = mem_alloc(HEADERS_MAX);
	got = read(file, text, HEADERS_MAX);
	close(file);
	*len = got > 0 ? header_len(text, (size_t)got) : 0;
	*len = remove_stuffed_dots(text, *len);
	if (!*len) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- composing ---- */

static char *bounce_from(const struct conf *conf, const char *host)
{
	return conf->spool.bounce_from[0] ? mem_strdup(conf->spool.bounce_from)
					  : mem_printf("postmaster@%s", host);
}

static char *compose(const struct notice *n, const struct spool_message *original,
    const struct spool_recipient *const *recipients, size_t count, size_t *len)
{
	const struct conf *conf = n->proxy->conf;
	const char *host =
	    conf->server.hostname[0] ? conf->server.hostname : conf->server.greeting_name;
	char *from = bounce_from(conf, host);
	struct dsn dsn = {
	    .kind = n->kind,
	    .from = from,
	    .reporting_mta = host,
	    .id = n->message->id,
	    .now = n->message->arrived,
	    .retry_until = schedule_end(conf, original),
	    .message = original,
	    .recipients = recipients,
	    .count = count,
	};
	char *headers = read_headers(n->proxy, original, &dsn.headers_len);
	char *text;

	dsn.headers = headers;
	text = dsn_compose(&dsn, len);
	free(headers);
	free(from);
	return text;
}

static bool has_8bit(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] & 0x80)
			return true;
	}
	return false;
}

/* Without body: its id is in there. */
static struct spool_message *make_message(struct proxy *proxy, const struct spool_message *original)
{
	const struct smtp_path *sender = &original->envelope.sender;
	struct spool_message *m = mem_zero(1, sizeof *m);

	spool_make_id(proxy->spool, m->id);
	m->arrived = clock_wall();
	m->session = mem_strdup(m->id);
	m->is_notice = true;
	m->envelope.sender.is_null = true;
	m->envelope.smtputf8 = sender->is_utf8;
	m->count = 1;
	m->recipients = mem_zero(1, sizeof *m->recipients);
	m->recipients[0].address = mem_strdup(sender->address);
	snprintf(m->recipients[0].domain, sizeof m->recipients[0].domain, "%s", sender->domain);
	m->recipients[0].next_try = m->arrived;
	return m;
}

/* ---- the log ---- */

static void remember(
    struct notice *n, const struct spool_recipient *const *recipients, size_t count)
{
	n->count = count;
	n->told = mem_zero(count, sizeof *n->told);
	for (size_t i = 0; i < count; i++) {
		const struct outcome *last = &recipients[i]->last;

		n->told[i].to = mem_printf("<%s>", recipients[i]->address);
		n->told[i].reason = last->reason;
		n->told[i].reply = outcome_is_known(last)
				       ? mem_printf("%d %.*s", last->code,
					     (int)strcspn(last->text, "\n"), last->text)
				       : mem_strdup("");
	}
}

static void log_notice(const struct notice *n)
{
	static const char *const events[] = {
	    [DSN_FAILED] = "bounce", [DSN_DELAYED] = "delayed", [DSN_RELAYED] = "relayed"};

	for (size_t i = 0; i < n->count; i++) {
		struct log_line line;

		log_begin(&line, n->kind == DSN_RELAYED ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
		    events[n->kind]);
		log_value(&line, "session", n->about_session);
		log_value(&line, "from", n->about_sender);
		log_value(&line, "to", n->told[i].to);
		log_value(&line, "reason", reason_code(n->told[i].reason));
		log_value(&line, "notice", n->message->id);
		log_value(&line, "reply", n->told[i].reply);
		log_end(&line);
	}
}

/* ---- into the spool ---- */

static void release(void *object)
{
	struct notice *n = object;

	for (size_t i = 0; i < n->count; i++) {
		free(n->told[i].to);
		free(n->told[i].reply);
	}
	free(n->told);
	free(n->about_session);
	free(n->about_sender);
	spool_message_free(&n->message);
	free(n);
}

static void close_notice(struct notice *n)
{
	ev_timer_stop(n->proxy->loop, &n->failed);
	spool_draft_free(&n->draft);
	DL_DELETE(n->proxy->notices, n);
	reap_later(n->proxy->loop, n, release);
}

static void on_committed(bool ok, const char *why, void *arg)
{
	static const enum metrics_notice kinds[] = {[DSN_FAILED] = METRICS_FAILED,
	    [DSN_DELAYED] = METRICS_DELAYED,
	    [DSN_RELAYED] = METRICS_RELAYED};
	struct notice *n = arg;

	if (ok) {
		log_notice(n);
		metrics_count_notice(kinds[n->kind]);
	} else {
		log_error("session=%s the notice to %s cannot be written into the spool: %s",
		    n->about_session, n->about_sender, why);
	}
	if (n->callback)
		n->callback(ok, why, n->arg);
	close_notice(n);
}

static void on_failed(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct notice *n = w->data;

	(void)loop, (void)revents;
	on_committed(false, n->why, n);
}

/* false: why says so in the notice. */
static bool spool_it(struct notice *n, const char *text, size_t len)
{
	n->message->size = len;
	n->message->has_8bit = has_8bit(text, len);
	n->draft = spool_draft_new(n->proxy->spool, n->message, n->why);
	if (!n->draft)
		return false;
	if (!spool_draft_write(n->draft, text, len)) {
		snprintf(n->why, sizeof n->why, "%s", spool_draft_error(n->draft));
		return false;
	}
	spool_draft_commit(n->draft, n->message, on_committed, n);
	return true;
}

void notice_send(struct proxy *proxy, enum dsn_kind kind, const struct spool_message *message,
    const struct spool_recipient *const *recipients, size_t count, spool_draft_fn *callback,
    void *arg)
{
	struct notice *n = mem_zero(1, sizeof *n);
	size_t len;
	char *text;

	n->proxy = proxy;
	n->kind = kind;
	n->callback = callback;
	n->arg = arg;
	n->about_session = mem_strdup(message->session ? message->session : message->id);
	n->about_sender = mem_printf("<%s>", message->envelope.sender.address);
	n->message = make_message(proxy, message);
	ev_timer_init(&n->failed, on_failed, 0., 0.);
	n->failed.data = n;
	DL_APPEND(proxy->notices, n);
	remember(n, recipients, count);
	text = compose(n, message, recipients, count, &len);
	if (!spool_it(n, text, len))
		ev_timer_start(proxy->loop, &n->failed);
	free(text);
}

void notices_end(struct proxy *proxy)
{
	while (proxy->notices)
		close_notice(proxy->notices);
}
