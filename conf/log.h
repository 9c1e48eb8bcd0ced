/*
 * log.h - the log: levels, targets, key=value or JSON.
 *
 * A line is an event name and keys in a fixed order (interface section 4). Whatever came from a
 * peer goes in as a value and is escaped here, so that no caller can forget it: controls, quotes,
 * backslash and invalid UTF-8 never reach a terminal or a log parser (R-SMTP-20). Writing never
 * blocks: a full syslog socket drops and counts. Where stderr is the journal each line has its
 * priority before it, and no time.
 */
#ifndef CONF_LOG_H
#define CONF_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };
enum log_format { LOG_AS_TEXT, LOG_AS_JSON };

/* May be called again (reload), but not inside a sandbox: it opens what the target needs. Before
 * the first call: stderr, text, info. */
void log_open(enum log_target target, enum log_format format, enum log_level level);
void log_close(void);
bool log_wants(enum log_level level);

/*
 * One message in words, without newline. The whole text is escaped. error: the operator must act;
 * warning: refused, weakened, or an exception used.
 */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A dozen for each message: nothing is made of the arguments unless somebody reads them. */
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_wants(LOG_LEVEL_DEBUG))                                                    \
			log_debug_line(__VA_ARGS__);                                               \
	} while (0)
void log_debug_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * One event with keys: log_begin, any number of values, log_end. Values are truncated at 2 KiB, the
 * line at 8 KiB.
 */
struct log_line {
	enum log_level level;
	size_t len;
	char text[8192];
};
void log_begin(struct log_line *line, enum log_level level, const char *event);
void log_value(struct log_line *line, const char *key, const char *value); /* "" or NULL: - */
void log_number(struct log_line *line, const char *key, int64_t value);
void log_end(struct log_line *line);

#endif
