/*
 * test_log.c - conf/log.h: what reaches stderr and syslog, octet by octet.
 */
#include "conf/log.h"

#include "conf/escape.h"
#include "conf/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* What a function writes to stderr, read back through a pipe. */
static char seen[1 << 17];
static int pipe_ends[2], saved_stderr;

static void capture(void)
{
	assert_int_equal(pipe(pipe_ends), 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(pipe_ends[1], STDERR_FILENO);
	fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
}

static void drain(void)
{
	ssize_t n = read(pipe_ends[0], seen, sizeof seen - 1);

	seen[n > 0 ? n : 0] = '\0';
}

static void release(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

/* stderr is the journal, as systemd.exec(5) tells it; or another file is. */
static void name_journal(int off_by)
{
	struct stat status;
	char name[64];

	assert_int_equal(fstat(STDERR_FILENO, &status), 0);
	snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)status.st_dev,
	    (uintmax_t)status.st_ino + (uintmax_t)off_by);
	setenv("JOURNAL_STREAM", name, 1);
}

static const char *escaped(char *out, size_t size, const char *text, size_t len)
{
	escape(out, size, ESCAPE_TEXT, text, len, NULL);
	return out;
}

static void escaping(void **unused)
{
	static const struct {
		const char *text, *escaped;
	} cases[] = {
	    {"plain text", "plain text"}, {"a\r\nb", "a\\x0d\\x0ab"}, {"\x1b[2J", "\\x1b[2J"},
	    {"\x7f", "\\x7f"}, {"\"\\", "\\\"\\\\"}, {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
	    {"\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80"},
	    {"\xc2\x9b"
	     "2J",
		"\\xc2\\x9b2J"},                                    /* C1: CSI */
	    {"\xff\xfe", "\\xff\\xfe"}, {"\xc0\x8a", "\\xc0\\x8a"}, /* overlong line feed */
	    {"\xe0\x80\x8a", "\\xe0\\x80\\x8a"},
	    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
	    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
	    {"\xe2\x82", "\\xe2\\x82"},                   /* cut short */
	    {"\xe2\x80\xae", "\\xe2\\x80\\xae"},          /* right-to-left override */
	    {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},          /* line separator */
	};
	char out[256];

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(escaped(out, sizeof out, cases[i].text, strlen(cases[i].text)),
		    cases[i].escaped);
	assert_string_equal(escaped(out, sizeof out, "a\0b", 3), "a\\x00b");
	/* Cut between characters and escapes, never within. */
	assert_string_equal(escaped(out, 5, "abc\r", 4), "abc");
	assert_string_equal(escaped(out, 4, "ab\xc3\xbc", 4), "ab");
	assert_string_equal(escaped(out, 1, "abc", 3), "");
}

static void write_delivery(void)
{
	struct log_line line;

	log_begin(&line, LOG_LEVEL_INFO, "delivery");
	log_value(&line, "to", "<a@x>,<b@y>");
	log_value(&line, "reply", "250 2.0.0 \"ok\"\r\n");
	log_value(&line, "verp", "a=b");
	log_value(&line, "reason", "");
	log_value(&line, "none", NULL);
	log_number(&line, "size", -18231);
	log_end(&line);
}

static void text_lines(void **unused)
{
	(void)unused;
	capture();
	name_journal(0);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
	write_delivery();
	log_debug("not wanted");
	log_warning("peer said %s", "a\nb");
	drain();
	release();
	assert_string_equal(seen,
	    "<6>danelaw: info delivery to=<a@x>,<b@y> reply=\"250 2.0.0 \\\"ok\\\"\\x0d\\x0a\" "
	    "verp=\"a=b\" reason=- none=- size=-18231\n"
	    "<4>danelaw: warning peer said a\\x0ab\n");
}

/* A variable that was inherited, and stderr has gone elsewhere since: time, and no priority. */
static void journal_of_somebody_else(void **unused)
{
	(void)unused;
	capture();
	name_journal(1);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
	log_error("x");
	drain();
	release();
	unsetenv("JOURNAL_STREAM");
	assert_int_equal(strncmp(seen, "20", 2), 0);
	assert_non_null(strstr(seen, "Z danelaw: error x\n"));
}

static void lines_have_a_time(void **unused)
{
	int year, ms;
	char zone;

	(void)unused;
	capture();
	unsetenv("JOURNAL_STREAM");
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
	log_error("x");
	drain();
	release();
	assert_int_equal(
	    sscanf(seen, "%d-%*d-%*dT%*d:%*d:%*d.%3d%c danelaw: error x", &year, &ms, &zone), 3);
	assert_int_equal(zone, 'Z');
	assert_true(year > 2020);
}

static void json_lines(void **unused)
{
	(void)unused;
	capture();
	log_open(LOG_TO_STDERR, LOG_AS_JSON, LOG_LEVEL_INFO);
	write_delivery();
	log_error("a\"b\x1b");
	drain();
	release();
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
	char *second = strchr(seen, '\n');

	assert_non_null(second);
	*second++ = '\0';
	assert_int_equal(strncmp(seen, "{\"time\":\"20", 11), 0);
	assert_string_equal(strchr(seen, ','),
	    ",\"level\":\"info\",\"event\":\"delivery\",\"to\":\"<a@x>,<b@y>\","
	    "\"reply\":\"250 2.0.0 \\\"ok\\\"\\\\x0d\\\\x0a\",\"verp\":\"a=b\",\"reason\":\"-\","
	    "\"none\":\"-\",\"size\":-18231}");
	assert_string_equal(
	    strchr(second, ','), ",\"level\":\"error\",\"message\":\"a\\\"b\\\\x1b\"}\n");
}

/* Values to 2 KiB, lines to 8 KiB, and what is cut stays well formed. */
static void long_lines(void **unused)
{
	static const enum log_format formats[] = {LOG_AS_TEXT, LOG_AS_JSON};
	static const char *const ends[] = {"...\"\n", "...\"}\n"};
	char value[5000];

	(void)unused;
	memset(value, ' ', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	for (size_t i = 0; i < COUNT(formats); i++) {
		struct log_line line;

		capture();
		log_open(LOG_TO_STDERR, formats[i], LOG_LEVEL_INFO);
		log_begin(&line, LOG_LEVEL_INFO, "delivery");
		log_value(&line, "one", value);
		assert_in_range(line.len, 2048, 2200);
		for (int n = 0; n < 10; n++)
			log_value(&line, "more", value);
		log_number(&line, "size", 1);
		log_end(&line);
		drain();
		release();
		size_t len = strlen(seen);

		assert_in_range(len, 8000, 8192);
		assert_string_equal(seen + len - strlen(ends[i]), ends[i]);
	}
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
}

/* A reader that stopped: the loop goes on, and the loss is told when it reads again. */
static void stopped_reader(void **unused)
{
	unsigned long lost = 0, lines = 0;

	(void)unused;
	capture();
	name_journal(0);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
	for (int i = 0; i < 5000; i++)
		log_info("a line of some length, to fill the pipe");
	drain();
	for (const char *at = seen; (at = strchr(at, '\n')); at++)
		lines++;
	log_info("after");
	drain();
	release();
	unsetenv("JOURNAL_STREAM");
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
	char *report = strstr(seen, "danelaw: warning");

	assert_non_null(report);
	assert_int_equal(sscanf(report, "danelaw: warning %lu", &lost), 1);
	assert_int_equal(lost, 5000 - lines);
	assert_string_equal(strchr(report, '\n'), "\n<6>danelaw: info after\n");
}

/* Two programs that would be the syslog daemon take turns. */
static int take_turn(void)
{
	int folder = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(folder >= 0);
	assert_int_equal(flock(folder, LOCK_EX), 0);
	return folder;
}

/* Needs to be the syslog daemon, so only where there is none: else -1. */
static int be_syslogd(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	/* One that was killed has left its name. */
	if (connect(server, (struct sockaddr *)&address, sizeof address) < 0 &&
	    errno == ECONNREFUSED)
		unlink(address.sun_path);
	if (bind(server, (struct sockaddr *)&address, sizeof address) == 0)
		return server;
	close(server);
	return -1;
}

static void end_syslogd(int server)
{
	close(server);
	unlink("/dev/log");
}

static const char *receive(int server)
{
	static char text[1024];
	ssize_t n = recv(server, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* What follows the tag. */
static const char *words_of(const char *datagram)
{
	const char *words = strstr(datagram, "]: ");

	return words ? words + 3 : "";
}

static void syslog_datagrams(void **unused)
{
	int turn = take_turn(), server = be_syslogd();
	int sent = 0;

	(void)unused;
	if (server < 0) {
		close(turn);
		skip();
	}
	log_open(LOG_TO_SYSLOG, LOG_AS_TEXT, LOG_LEVEL_INFO);
	log_warning("hello");
	const char *text = receive(server);

	assert_int_equal(strncmp(text, "<20>", 4), 0);
	assert_non_null(strstr(text, "danelaw["));
	assert_string_equal(words_of(text), "warning hello");
	for (sent = 0; sent < 5000; sent++)
		log_info("x");
	while (*receive(server))
		sent--;
	assert_true(sent > 0);
	log_info("again");
	assert_int_equal(atoi(words_of(receive(server)) + strlen("warning ")), sent);
	end_syslogd(server);
	close(turn);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_INFO);
}

static void log_in_a_sandbox(void)
{
	struct sandbox *sandbox = sandbox_new(SANDBOX_WORKER);
	char *error = NULL;

	log_open(LOG_TO_SYSLOG, LOG_AS_TEXT, LOG_LEVEL_INFO);
	if (!sandbox_enter(&sandbox, &error))
		_exit(1);
	for (int i = 1; i <= 3; i++) {
		log_info("line %d", i);
		raise(SIGSTOP);
	}
	_exit(0);
}

static void let_go_on(pid_t child)
{
	int status;

	kill(child, SIGCONT);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_true(WIFSTOPPED(status) || status == 0);
}

/* No socket can be made there; the one that there is finds the new daemon, and the loss is told. */
static void syslogd_is_restarted(void **unused)
{
	int turn = take_turn(), server = be_syslogd(), status;
	pid_t child;

	(void)unused;
	if (server < 0) {
		close(turn);
		skip();
	}
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(server);
		log_in_a_sandbox();
	}
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_string_equal(words_of(receive(server)), "info line 1");
	end_syslogd(server);
	let_go_on(child);
	server = be_syslogd();
	assert_true(server >= 0);
	let_go_on(child);
	assert_string_equal(words_of(receive(server)), "warning 1 log lines were lost");
	assert_string_equal(words_of(receive(server)), "info line 3");
	let_go_on(child);
	end_syslogd(server);
	close(turn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-SMTP-20: escaping", escaping, NULL, NULL, NULL},
	    {"log: text", text_lines, NULL, NULL, NULL},
	    {"log: another one's journal", journal_of_somebody_else, NULL, NULL, NULL},
	    {"log: RFC 3339 time", lines_have_a_time, NULL, NULL, NULL},
	    {"log: JSON", json_lines, NULL, NULL, NULL},
	    {"log: long values and lines", long_lines, NULL, NULL, NULL},
	    {"log: a stopped reader blocks nothing", stopped_reader, NULL, NULL, NULL},
	    {"log: syslog", syslog_datagrams, NULL, NULL, NULL},
	    {"log: syslogd is restarted", syslogd_is_restarted, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
