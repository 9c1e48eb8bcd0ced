/*
 * test_outcome.c - what clients are told: refusals of ours, replies of next hops (proxy/outcome.h).
 */
#include "proxy/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef void outcome_of_fn(struct outcome *, const struct smtp_reply *, const char *host);

struct reply_case {
	const char *name;
	outcome_of_fn *of;
	int code;
	const char *text;
	int want_code;
	enum reason want_reason;
	const char *want_text, *want_status;
};

/* clang-format off */
static const struct reply_case cases[] = {
	{ "R-SMTP-59: an accepted recipient", outcome_of_rcpt, 250, "2.1.5 ok", 250, REASON_NONE, "2.1.5 ok", "sent" },
	{ "R-SMTP-59: 251 is an acceptance", outcome_of_rcpt, 251, "will forward", 251, REASON_NONE, "will forward", "sent" },
	{ "R-SMTP-59: a refused recipient", outcome_of_rcpt, 550, "5.1.1 unknown", 550, REASON_NEXT_HOP, "5.1.1 unknown", "refused" },
	{ "R-SMTP-59: 450 is passed", outcome_of_rcpt, 450, "4.2.0 greylisted", 450, REASON_NEXT_HOP, "4.2.0 greylisted", "deferred" },
	{ "R-SMTP-59: 552 becomes 452", outcome_of_rcpt, 552, "5.2.2 too many", 452, REASON_NEXT_HOP, "4.2.2 too many", "deferred" },
	{ "R-SMTP-59: 421 becomes 451 4.4.2", outcome_of_rcpt, 421, "4.3.2 bye", 451, REASON_CONNECTION_LOST,
	  "4.4.2 connection-lost: mx closed the connection: 421 4.3.2 bye", "deferred" },
	{ "U-03: 221 to RCPT accepts nothing", outcome_of_rcpt, 221, "bye", 451, REASON_CONNECTION_LOST,
	  "4.4.2 connection-lost: mx closed the connection: 221 bye", "deferred" },
	{ "U-04: 354 to RCPT", outcome_of_rcpt, 354, "go", 451, REASON_CONNECTION_LOST,
	  "4.4.2 connection-lost: mx answered RCPT with 354 go, against the protocol", "deferred" },
	{ "several lines are kept", outcome_of_rcpt, 550, "5.7.1 no\n5.7.1 never", 550, REASON_NEXT_HOP, "5.7.1 no\n5.7.1 never", "refused" },
	{ "R-SMTP-58: MAIL refused, with status", outcome_of_mail, 550, "5.7.1 no", 550, REASON_NEXT_HOP,
	  "5.7.1 MAIL refused by mx: no", "refused" },
	{ "R-SMTP-58: MAIL refused, without status", outcome_of_mail, 451, "later", 451, REASON_NEXT_HOP,
	  "MAIL refused by mx: later", "deferred" },
	{ "U-04: 334 to MAIL", outcome_of_mail, 334, "x", 451, REASON_CONNECTION_LOST,
	  "4.4.2 connection-lost: mx answered MAIL with 334 x, against the protocol", "deferred" },
	{ "R-SMTP-77: another 2xx to the final dot is 250", outcome_of_final, 252, "2.0.0 taken", 250, REASON_NONE, "2.0.0 taken", "sent" },
	{ "U-05: 552 to the message stays", outcome_of_final, 552, "5.3.4 big", 552, REASON_NEXT_HOP, "5.3.4 big", "refused" },
	{ "R-SMTP-74: 421 to the message is 451", outcome_of_final, 421, "4.7.0 x", 451, REASON_CONNECTION_LOST,
	  "4.4.2 connection-lost: mx closed the connection: 421 4.7.0 x", "deferred" },
	{ "U-03: 221 to the final dot acknowledges nothing", outcome_of_final, 221, "bye", 451, REASON_CONNECTION_LOST,
	  "4.4.2 connection-lost: mx closed the connection: 221 bye", "deferred" },
	{ "R-SMTP-77: 354 to the final dot", outcome_of_final, 354, "more", 451, REASON_CONNECTION_LOST,
	  "4.4.2 connection-lost: mx answered the final dot with 354 more, against the protocol", "deferred" },
};
/* clang-format on */

static void check_case(void **state)
{
	const struct reply_case *c = *state;
	struct smtp_reply reply = {.code = c->code, .line_count = 1, .text_len = strlen(c->text)};
	struct outcome outcome = {0};

	snprintf(reply.text, sizeof reply.text, "%s", c->text);
	c->of(&outcome, &reply, "mx");
	assert_int_equal(outcome.code, c->want_code);
	assert_int_equal(outcome.reason, c->want_reason);
	assert_string_equal(outcome.text, c->want_text);
	assert_string_equal(outcome_status(&outcome), c->want_status);
}

static void check_refusal(void **state)
{
	struct refusal refusal;
	struct outcome outcome;

	(void)state;
	refusal_set(&refusal, REASON_DANE_MISMATCH, "%s presented %s", "mx[192.0.2.25]:25", "key");
	outcome_refuse(&outcome, &refusal);
	assert_int_equal(outcome.code, 451);
	assert_string_equal(outcome.text, "4.7.5 dane-mismatch: mx[192.0.2.25]:25 presented key");
	assert_false(outcome_is_good(&outcome));
}

static void check_unknown(void **state)
{
	struct outcome outcome;

	(void)state;
	outcome_refuse_text(&outcome, REASON_OUTCOME_UNKNOWN, "lost");
	assert_int_equal(outcome.code, 451);
	assert_string_equal(outcome_status(&outcome), "unknown");
}

/* Texts of any length are cut, never overflow, and stay terminated. */
static void check_long_text(void **state)
{
	static outcome_of_fn *const all[] = {outcome_of_rcpt, outcome_of_mail, outcome_of_final};
	struct smtp_reply reply = {.code = 550, .line_count = 1};
	struct outcome outcome = {0};

	(void)state;
	memset(reply.text, 'x', sizeof reply.text - 1);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		all[i](&outcome, &reply, "mx");
		assert_int_equal(outcome.code, 550);
		assert_in_range(strlen(outcome.text), 600, sizeof outcome.text - 1);
	}
}

int main(void)
{
	enum { COUNT = sizeof cases / sizeof *cases };
	struct CMUnitTest tests[COUNT + 3] = {0};

	for (size_t i = 0; i < COUNT; i++)
		tests[i] = (struct CMUnitTest){
		    cases[i].name, check_case, NULL, NULL, (void *)(uintptr_t)&cases[i]};
	tests[COUNT] =
	    (struct CMUnitTest){"a refusal in one line", check_refusal, NULL, NULL, NULL};
	tests[COUNT + 1] =
	    (struct CMUnitTest){"R-SMTP-73: unknown", check_unknown, NULL, NULL, NULL};
	tests[COUNT + 2] =
	    (struct CMUnitTest){"long texts are cut", check_long_text, NULL, NULL, NULL};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
