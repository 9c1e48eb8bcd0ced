/*
 * log.c - the log: levels, targets, key=value or JSON, one line at a time.
 *
 * A line is built in the caller's struct log_line, escaped as it grows, and written at once: no
 * queue, so nothing is lost when the process dies. Writing never blocks the loop: what syslog or a
 * stopped reader of stderr does not take is dropped and counted, and the count is reported when it
 * takes again.
 */
#include "conf/log.h"

#include "conf/escape.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
	VALUE_MAX = 2048,
	/* Kept free for what closes a line: an ellipsis, a quote, a brace, newline and NUL. */
	TAIL = 8,
};

static struct {
	enum log_target target;
	enum log_format format;
	enum log_level level;
	int syslog; /* -1: no socket */
	bool is_connected;
	bool is_journal; /* stderr is */
	unsigned long dropped;
	bool cut; /* stderr took the beginning of a line only */
} state = {.level = LOG_LEVEL_INFO, .syslog = -1};

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static const int priorities[] = {
    [LOG_LEVEL_ERROR] = LOG_ERR,
    [LOG_LEVEL_WARNING] = LOG_WARNING,
    [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_DEBUG] = LOG_DEBUG,
};

/* ---- targets ---- */

static void close_syslog(void)
{
	if (state.syslog >= 0)
		close(state.syslog);
	state.syslog = -1;
	state.is_connected = false;
}

/*
 * Our own socket: libc's syslog(3) blocks while syslogd does not read. It is made once, since a
 * process in its sandbox may make no other, and connected as often as need be.
 */
static bool connect_syslog(void)
{
	static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};

	if (!state.is_connected)
		state.is_connected =
		    state.syslog >= 0 &&
		    connect(state.syslog, (const struct sockaddr *)&address, sizeof address) == 0;
	return state.is_connected;
}

static bool open_syslog(void)
{
	state.syslog = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return connect_syslog();
}

/* A syslogd that was restarted has a new socket behind the same name. */
static bool write_syslog(const char *text, size_t len)
{
	for (int tries = 0; tries < 2 && connect_syslog(); tries++) {
		if (send(state.syslog, text, len, MSG_NOSIGNAL) >= 0)
			return true;
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
			return false;
		state.is_connected = false;
	}
	return false;
}

/* As systemd.exec(5) asks for: the variable alone may be an inheritance. */
static bool is_journal(int fd)
{
	const char *name = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat status;

	/* NOLINTNEXTLINE(cert-err34-c): a number that is none is no device of ours */
	return name && sscanf(name, "%ju:%ju", &device, &inode) == 2 && fstat(fd, &status) == 0 &&
	       status.st_dev == device && status.st_ino == inode;
}

/*
 * O_NONBLOCK would change the terminal of whoever started us. A pipe that polls as writable takes
 * PIPE_BUF octets without blocking, so a line goes out in pieces of that size.
 */
static bool write_stderr(const char *text, size_t len)
{
	struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
	size_t done = 0;

	while (done < len) {
		size_t piece = len - done < PIPE_BUF ? len - done : PIPE_BUF;
		ssize_t n = poll(&out, 1, 0) > 0 ? write(STDERR_FILENO, text + done, piece) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	state.cut = done > 0 ? done < len : state.cut;
	return done == len;
}

static bool write_line(const char *text, size_t len)
{
	return state.target == LOG_TO_SYSLOG ? write_syslog(text, len) : write_stderr(text, len);
}

void log_open(enum log_target target, enum log_format format, enum log_level level)
{
	close_syslog();
	state.target = LOG_TO_STDERR;
	state.format = format;
	state.level = level;
	state.is_journal = is_journal(STDERR_FILENO);
	if (target == LOG_TO_SYSLOG && !open_syslog())
		log_error("cannot reach syslog at /dev/log: %s; lines are lost until it is there",
		    strerror(errno));
	state.target = target;
}

void log_close(void)
{
	close_syslog();
	state.target = LOG_TO_STDERR;
}

bool log_wants(enum log_level level) { return level <= state.level; }

/* ---- building a line ---- */

static void append(struct log_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(struct log_line *line, const char *format, ...)
{
	size_t room = sizeof line->text - TAIL - line->len;
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line->text + line->len, room, format, args);
	va_end(args);
	if (n > 0)
		line->len += (size_t)n < room ? (size_t)n : room - 1;
}

/* RFC 3339, UTC, milliseconds. */
static const char *utc_now(char out[32])
{
	struct timespec now;
	struct tm tm;
	char seconds[24];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, 32, "%s.%03uZ", seconds, (unsigned)(now.tv_nsec / 1000000) % 1000);
	return out;
}

/* RFC 3164, as libc writes it: priority, local time, tag. */
static void append_syslog_head(struct log_line *line)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[32];

	localtime_r(&now, &tm);
	strftime(text, sizeof text, "%b %e %H:%M:%S", &tm);
	append(
	    line, "<%d>%s danelaw[%d]: ", LOG_MAIL | priorities[line->level], text, (int)getpid());
}

/* The journal keeps times and names itself. */
static void append_text_head(struct log_line *line)
{
	char time_text[32];

	if (state.target == LOG_TO_STDERR) {
		if (!state.is_journal)
			append(line, "%s ", utc_now(time_text));
		append(line, "danelaw: ");
	}
	append(line, "%s", level_names[line->level]);
}

static void start(struct log_line *line, enum log_level level)
{
	char time_text[32];

	line->level = level;
	line->len = 0;
	if (state.target == LOG_TO_SYSLOG)
		append_syslog_head(line);
	else if (state.is_journal)
		append(line, "<%d>", priorities[level]); /* sd-daemon(3) */
	if (state.format == LOG_AS_TEXT)
		append_text_head(line);
	else
		append(line, "{\"time\":\"%s\",\"level\":\"%s\"", utc_now(time_text),
		    level_names[level]);
}

/* At most max octets of text, escaped; the reserved tail has room for the ellipsis and the quote.
 */
static void append_escaped(struct log_line *line, const char *text, size_t max)
{
	const char *prefix = state.format == LOG_AS_JSON ? ESCAPE_JSON : ESCAPE_TEXT;
	size_t room = sizeof line->text - TAIL - line->len;
	bool whole;

	line->len += escape(line->text + line->len, room < max + 1 ? room : max + 1, prefix, text,
	    strlen(text), &whole);
	if (!whole) {
		memcpy(line->text + line->len, "...", 4);
		line->len += 3;
	}
}

/* Once a line is full nothing more is begun, so that what stands there stays well formed. */
static bool has_room(const struct log_line *line, size_t for_key)
{
	return line->len + for_key + 2 * (size_t)TAIL < sizeof line->text;
}

static void append_json(struct log_line *line, const char *key, const char *value, size_t max)
{
	append(line, ",\"%s\":\"", key);
	append_escaped(line, value, max);
	line->text[line->len++] = '"';
}

static void append_text(struct log_line *line, const char *key, const char *value)
{
	bool quoted = strpbrk(value, " \"=") != NULL;

	append(line, quoted ? " %s=\"" : " %s=", key);
	append_escaped(line, value, VALUE_MAX);
	if (quoted)
		line->text[line->len++] = '"';
}

static void finish(struct log_line *line)
{
	if (state.format == LOG_AS_JSON)
		line->text[line->len++] = '}';
	if (state.target == LOG_TO_STDERR)
		line->text[line->len++] = '\n';
}

static void report_dropped(void)
{
	struct log_line line;
	char message[64];

	if (state.target == LOG_TO_STDERR && state.cut && !write_stderr("\n", 1))
		return;
	snprintf(message, sizeof message, "%lu log lines were lost", state.dropped);
	start(&line, LOG_LEVEL_WARNING);
	if (state.format == LOG_AS_JSON)
		append_json(&line, "message", message, VALUE_MAX);
	else
		append(&line, " %s", message);
	finish(&line);
	if (write_line(line.text, line.len))
		state.dropped = 0;
}

static void emit(struct log_line *line)
{
	finish(line);
	if (state.dropped)
		report_dropped();
	if (state.dropped || !write_line(line->text, line->len))
		state.dropped++;
}

/* ---- events ---- */

void log_begin(struct log_line *line, enum log_level level, const char *event)
{
	line->level = level;
	line->len = 0;
	if (!log_wants(level))
		return;
	start(line, level);
	if (state.format == LOG_AS_JSON)
		append_json(line, "event", event, VALUE_MAX);
	else
		append(line, " %s", event);
}

void log_value(struct log_line *line, const char *key, const char *value)
{
	if (!log_wants(line->level) || !has_room(line, strlen(key) + 6))
		return;
	if (!value || !*value)
		value = "-";
	if (state.format == LOG_AS_JSON)
		append_json(line, key, value, VALUE_MAX);
	else
		append_text(line, key, value);
}

void log_number(struct log_line *line, const char *key, int64_t value)
{
	if (!log_wants(line->level) || !has_room(line, strlen(key) + 24))
		return;
	append(
	    line, state.format == LOG_AS_JSON ? ",\"%s\":%lld" : " %s=%lld", key, (long long)value);
}

void log_end(struct log_line *line)
{
	if (log_wants(line->level))
		emit(line);
}

/* ---- messages ---- */

static void message(enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void message(enum log_level level, const char *format, va_list args)
{
	struct log_line line;
	char text[sizeof line.text];

	if (!log_wants(level))
		return;
	if (vsnprintf(text, sizeof text, format, args) < 0)
		return;
	start(&line, level);
	if (state.format == LOG_AS_JSON) {
		append_json(&line, "message", text, sizeof line.text);
	} else {
		/* Words of a peer may look like keys and values: then all of it is one value. */
		bool has_keys = strchr(text, '=') != NULL;

		append(&line, has_keys ? " message=\"" : " ");
		append_escaped(&line, text, sizeof line.text - 2);
		append(&line, has_keys ? "\"" : "");
	}
	emit(&line);
}

void log_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message(LOG_LEVEL_ERROR, format, args);
	va_end(args);
}

void log_warning(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message(LOG_LEVEL_WARNING, format, args);
	va_end(args);
}

void log_info(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message(LOG_LEVEL_INFO, format, args);
	va_end(args);
}

void log_debug_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message(LOG_LEVEL_DEBUG, format, args);
	va_end(args);
}
