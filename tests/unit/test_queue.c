/*
 * test_queue.c - danelaw queue over a real spool: what it prints, and what its orders do.
 */
#include "proxy/command/queue.h"

#include "proxy/command/queue_print.h"
#include "spool_stage.h"

#include <sysexits.h>

static char output[1 << 16];

/* danelaw queue WORDS..., with its output. */
static int queue(const char *words)
{
	char setting[96], text[128], *argv[12] = {(char *)"queue"}, *save = NULL;
	int argc = 1, file = memfd_create("output", 0), saved = dup(STDOUT_FILENO), code;
	struct command_line line;
	ssize_t len;

	snprintf(setting, sizeof setting, "-oserver.state_dir=%s", state_dir);
	snprintf(text, sizeof text, "%s", words);
	argv[argc++] = setting;
	argv[argc++] = (char *)"-cpackaging/danelaw.conf";
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	fflush(stdout);
	dup2(file, STDOUT_FILENO);
	command_line_init(&line, argc, argv);
	code = queue_command(&line);
	command_line_release(&line);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	len = pread(file, output, sizeof output - 1, 0);
	output[len > 0 ? len : 0] = '\0';
	close(file);
	return code;
}

static void expect(const char *text)
{
	if (!strstr(output, text))
		fail_msg("%s is not in\n%s", text, output);
}

/* Whatever is printed. */
static void expect_no_control(void)
{
	for (const unsigned char *c = (unsigned char *)output; *c; c++)
		assert_true(*c == '\n' || (*c >= 0x20 && *c != 0x7f));
}

/* What people read: no line beyond 80 columns. */
static void expect_clean(void)
{
	size_t column = 0;

	expect_no_control();
	for (const unsigned char *c = (unsigned char *)output; *c; c++) {
		column = *c == '\n' ? 0 : column + ((*c & 0xc0) != 0x80);
		assert_true(column <= 80);
	}
}

static void test_ages(void **state)
{
	static const struct {
		double seconds;
		const char *text;
	} rows[] = {{-5, "0 seconds"}, {0, "0 seconds"}, {1, "1 second"}, {59, "59 seconds"},
	    {60, "1 minute"}, {7199, "1 hour"}, {7200, "2 hours"}, {86400, "1 day"},
	    {1e6, "11 days"}};
	char age[QUEUE_AGE_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(queue_age(age, rows[i].seconds), rows[i].text);
}

static void test_empty(void **state)
{
	(void)state;
	assert_int_equal(queue(""), EX_OK);
	expect("the spool is empty (/");
	assert_int_equal(queue("list --json"), EX_OK);
	expect("\"messages\": []");
	assert_int_equal(queue("retry --all"), EX_OK);
	expect("the spool is empty (/");
	assert_int_equal(queue("show 0641c3b5d2a91f-5f0c2d7e91aa"), EX_UNAVAILABLE);
	assert_int_equal(queue("retry example.org"), EX_UNAVAILABLE);
}

static void test_no_spool_yet(void **state)
{
	(void)state;
	spool_close(&spool);
	remove_all(directory);
	assert_int_equal(queue(""), EX_OK);
	expect("the spool is empty (/");
	assert_int_equal(queue("bounce 0641c3b5d2a91f-5f0c2d7e91aa"), EX_UNAVAILABLE);
	assert_int_equal(access(directory, F_OK), -1);
}

static void test_usage(void **state)
{
	static const char *const wrong[] = {"show", "bounce", "retry", "delete x", "list x",
	    "show a b", "retry --all example.org", "show a --all", "bounce a --json", "--nonsense"};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		if (queue(wrong[i]) != EX_USAGE)
			fail_msg("%s", wrong[i]);
	}
	assert_int_equal(queue("--help"), EX_OK);
	expect("exit: 0 fine");
	expect_clean();
}

static const char body[] = "Received: from x\r\n\tby y\r\n..dots: two\r\nSubject: \x1b[2Jhello\r\n"
			   "\r\nbody\r\n";

/* Tried once, refused; with words and addresses that a stranger chose. */
static void put_refused(char id[SPOOL_ID_SIZE])
{
	struct spool_message *message = new_message();
	struct spool_recipient *r = &message->recipients[0];

	message->envelope.dsn.ret = SMTP_RET_HDRS;
	r->tries = 3;
	r->last_try = clock_wall() - 300;
	r->next_try = clock_wall() + 12 * 60 + 59; /* also after a while */
	r->dsn.notify = SMTP_NOTIFY_SUCCESS;
	r->last.code = 451;
	r->last.reason = REASON_DANE_MISMATCH;
	snprintf(
	    r->last.text, sizeof r->last.text, "4.7.5 dane-mismatch: \x1b]0;evil\x07 key\nmore");
	snprintf(r->last_hop, sizeof r->last_hop, "mx1.example.org[192.0.2.25]:25");
	message->arrived -= 7201;
	message->size = strlen(body);
	commit(message, body);
	memcpy(id, message->id, SPOOL_ID_SIZE);
	spool_message_free(&message);
}

static void test_list(void **state)
{
	char id[SPOOL_ID_SIZE];

	(void)state;
	put_refused(id);
	assert_int_equal(queue("list"), EX_OK);
	expect(id);
	expect("2 hours");
	expect("from <a@example.net>");
	expect("to <b@example.org>: next try in 12 minutes");
	expect("451 4.7.5 dane-mismatch: ");
	expect("1 message, 1 recipient\n");
	expect_clean();
}

static void test_show(void **state)
{
	char id[SPOOL_ID_SIZE], words[64];

	(void)state;
	put_refused(id);
	snprintf(words, sizeof words, "show %s", id);
	assert_int_equal(queue(words), EX_OK);
	expect("Asked for     RET=HDRS");
	expect("tried 3 times, last 5 minutes ago; next try in 12 minutes");
	expect("mx1.example.org[192.0.2.25]:25");
	expect("NOTIFY=SUCCESS");
	expect("  Meaning     ");
	expect("\nReceived: from x\n");
	expect("\n.dots: two\n");
	expect("\\x1b[2Jhello");
	assert_null(strstr(output, "body"));
	expect_clean();
}

static void test_json(void **state)
{
	char id[SPOOL_ID_SIZE], words[64];
	json_t *document, *message;

	(void)state;
	put_refused(id);
	assert_int_equal(queue("--json"), EX_OK);
	document = json_loads(output, 0, NULL);
	message = json_array_get(json_object_get(document, "messages"), 0);
	assert_string_equal(json_string_value(json_object_get(message, "id")), id);
	message = json_array_get(json_object_get(message, "recipients"), 0);
	assert_string_equal(json_string_value(json_object_get(message, "state")), "waiting");
	assert_string_equal(json_string_value(json_object_get(message, "reason")), "dane-mismatch");
	assert_true(json_is_null(json_object_get(message, "orcpt")));
	json_decref(document);
	expect_no_control();
	snprintf(words, sizeof words, "show --json %s", id);
	assert_int_equal(queue(words), EX_OK);
	document = json_loads(output, 0, NULL);
	assert_non_null(strstr(json_string_value(json_object_get(document, "headers")), "Subject"));
	json_decref(document);
}

static void test_retry(void **state)
{
	struct spool_message *message;
	char id[SPOOL_ID_SIZE], words[64];

	(void)state;
	put_refused(id);
	expect_none_due();
	assert_int_equal(queue("retry nowhere.example"), EX_UNAVAILABLE);
	assert_int_equal(queue("retry EXAMPLE.org"), EX_OK);
	expect("1 recipient will be tried now");
	reopen();
	message = ask_one();
	assert_string_equal(message->id, id);
	spool_give_back(spool, &message);
	snprintf(words, sizeof words, "retry %s", id);
	assert_int_equal(queue(words), EX_OK);
	assert_int_equal(queue("retry --all"), EX_OK);
	expect("1 recipient will be tried now");
}

static void test_bounce(void **state)
{
	struct spool_message *message;
	char id[SPOOL_ID_SIZE], words[64];

	(void)state;
	put_refused(id);
	snprintf(words, sizeof words, "bounce %s", id);
	assert_int_equal(queue(words), EX_OK);
	expect("1 recipient will be given up");
	assert_int_equal(queue("list"), EX_OK);
	expect("ordered to be given up");
	reopen();
	message = ask_one();
	assert_true(message->recipients[0].must_bounce);
	spool_give_back(spool, &message);
}

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		{ "queue: ages in words",                test_ages,         NULL,   NULL,      NULL },
		{ "queue: nothing there",                test_empty,        set_up, tear_down, NULL },
		{ "queue: no spool yet, and none made",  test_no_spool_yet, set_up, tear_down, NULL },
		{ "queue: misuse is 64",                 test_usage,        set_up, tear_down, NULL },
		{ "R-SMTP-20: list",                     test_list,         set_up, tear_down, NULL },
		{ "R-SMTP-20: show",                     test_show,         set_up, tear_down, NULL },
		{ "queue: JSON",                         test_json,         set_up, tear_down, NULL },
		{ "queue: retry by id, domain and all",  test_retry,        set_up, tear_down, NULL },
		{ "queue: bounce",                       test_bounce,       set_up, tear_down, NULL },
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
