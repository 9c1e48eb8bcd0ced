/*
 * test_reason.c - the reason codes against interface section 3, every one of them.
 */
#include "policy/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* clang-format off */
static const struct {
	enum reason reason;
	int reply;
	const char *status, *code;
	bool is_tls;
} rows[] = {
	{ REASON_NONE,                  0, "",       "-",                   false },
	{ REASON_DNS_BOGUS,           451, "4.4.3",  "dns-bogus",           false },
	{ REASON_DNS_FAILED,          451, "4.4.3",  "dns-failed",          false },
	{ REASON_NO_SUCH_DOMAIN,      550, "5.1.2",  "no-such-domain",      false },
	{ REASON_NO_MAIL_HOST,        550, "5.1.2",  "no-mail-host",        false },
	{ REASON_ADDRESS_LITERAL,     550, "5.1.2",  "address-literal",     false },
	{ REASON_NULL_MX,             556, "5.1.10", "null-mx",             false },
	{ REASON_BAD_ADDRESS,         501, "5.1.3",  "bad-address",         false },
	{ REASON_NO_ADDRESS,          451, "4.4.4",  "no-address",          false },
	{ REASON_MX_LOOP,             554, "5.4.6",  "mx-loop",             false },
	{ REASON_CONNECT_FAILED,      451, "4.4.1",  "connect-failed",      false },
	{ REASON_CONNECTION_LOST,     451, "4.4.2",  "connection-lost",     false },
	{ REASON_OUTCOME_UNKNOWN,     451, "4.4.2",  "outcome-unknown",     false },
	{ REASON_DANE_NO_STARTTLS,    451, "4.7.4",  "dane-no-starttls",    true },
	{ REASON_TLS_NOT_OFFERED,     451, "4.7.4",  "tls-not-offered",     true },
	{ REASON_TLS_HANDSHAKE,       451, "4.7.5",  "tls-handshake",       true },
	{ REASON_DANE_MISMATCH,       451, "4.7.5",  "dane-mismatch",       true },
	{ REASON_DANE_NAME,           451, "4.7.5",  "dane-name",           true },
	{ REASON_DANE_EXPIRED,        451, "4.7.5",  "dane-expired",        true },
	{ REASON_DANE_CHAIN,          451, "4.7.5",  "dane-chain",          true },
	{ REASON_DANE_REQUIRED,       451, "4.7.5",  "dane-required",       true },
	{ REASON_PKIX_CERTIFICATE,    451, "4.7.5",  "certificate",         true },
	{ REASON_STS_MX,              451, "4.7.5",  "sts-mx",              true },
	{ REASON_STS_CERTIFICATE,     451, "4.7.5",  "sts-certificate",     true },
	{ REASON_STS_NO_STARTTLS,     451, "4.7.4",  "sts-no-starttls",     true },
	{ REASON_STS_FETCH,           451, "4.7.5",  "sts-fetch",           true },
	{ REASON_HINT_MISMATCH,       451, "4.7.1",  "hint-mismatch",       false },
	{ REASON_ONE_DOMAIN,          452, "4.5.3",  "one-domain",          false },
	{ REASON_TOO_MANY_RECIPIENTS, 452, "4.5.3",  "too-many-recipients", false },
	{ REASON_NOT_ALLOWED,         554, "5.7.1",  "not-allowed",         false },
	{ REASON_TOO_LARGE,           552, "5.3.4",  "too-large",           false },
	{ REASON_MAIL_LOOP,           554, "5.4.6",  "mail-loop",           false },
	{ REASON_BARE_NEWLINE,        550, "5.5.2",  "bare-newline",        false },
	{ REASON_BAD_CONTENT,         554, "5.6.0",  "bad-content",         false },
	{ REASON_NO_8BITMIME,         554, "5.6.3",  "no-8bitmime",         false },
	{ REASON_NO_SMTPUTF8,         550, "5.6.7",  "no-smtputf8",         false },
	{ REASON_BUSY,                451, "4.3.2",  "busy",                false },
	{ REASON_IDLE,                421, "4.4.2",  "idle",                false },
	{ REASON_OVERLOAD,            421, "4.3.2",  "overload",            false },
	{ REASON_SHUTDOWN,            421, "4.3.2",  "shutdown",            false },
	{ REASON_SPOOL_FAILED,        452, "4.3.1",  "spool-failed",        false },
	{ REASON_NEXT_HOP,              0, "",       "-",                   false },
	{ REASON_DUPLICATE,           250, "2.0.0",  "duplicate",           false },
	{ REASON_STS_POLICY_INVALID,    0, "",       "sts-policy-invalid",  false },
	{ REASON_MIDDLEBOX,             0, "",       "middlebox",           false },
};
/* clang-format on */

enum { ROW_COUNT = sizeof rows / sizeof *rows };

static void check_rows(void **state)
{
	(void)state;
	assert_int_equal(ROW_COUNT, REASON_COUNT);
	for (size_t i = 0; i < ROW_COUNT; i++) {
		enum reason reason = rows[i].reason;

		assert_int_equal(reason, i);
		assert_string_equal(reason_code(reason), rows[i].code);
		assert_int_equal(reason_reply(reason), rows[i].reply);
		assert_string_equal(reason_status(reason), rows[i].status);
		assert_int_equal(reason_is_tls(reason), rows[i].is_tls);
	}
}

/* Clients act on the first digit of both; they must not disagree. */
static void check_classes(void **state)
{
	(void)state;
	for (int reason = 0; reason < REASON_COUNT; reason++)
		if (reason_reply(reason) != 0)
			assert_int_equal(
			    reason_reply(reason) / 100, reason_status(reason)[0] - '0');
}

static void check_uniqueness(void **state)
{
	(void)state;
	for (int i = 0; i < REASON_COUNT; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(reason_code(i), "-") != 0)
				assert_string_not_equal(reason_code(i), reason_code(j));
}

static void check_long_text(void **state)
{
	struct refusal refusal;
	char peer[2000];

	(void)state;
	memset(peer, 'x', sizeof peer - 1);
	peer[sizeof peer - 1] = '\0';
	refusal_set(&refusal, REASON_DNS_BOGUS, "%s", peer);
	assert_int_equal(refusal.reason, REASON_DNS_BOGUS);
	assert_int_equal(strlen(refusal.text), sizeof refusal.text - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"interface 3: code, reply and status of every reason", check_rows, NULL, NULL, NULL},
	    {"RFC 3463: reply and status are of one class", check_classes, NULL, NULL, NULL},
	    {"interface 3: codes are unique", check_uniqueness, NULL, NULL, NULL},
	    {"a peer's text of any length fits", check_long_text, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
