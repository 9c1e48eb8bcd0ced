/*
 * Verdicts: what mail would get, from what each host and address came to.
 */
#include "proxy/command/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { HOSTS = 4 };

/* What a host comes to: its route, and a connection. */
enum fate {
	NOBODY,    /* end of the list */
	PROVEN,    /* by DANE, and the domain is secured */
	HALF,      /* by DANE behind an unsigned MX */
	PLAIN_TLS, /* unproven */
	CLEAR,
	MISMATCH,
	DEAD,
	BOGUS, /* refused by policy, not dialled */
	SELF,
	RELAXED, /* dane-mismatch under enforce = no */
	UNTRIED_DANE,
	UNTRIED_MAY,
};

struct row {
	const char *name;
	struct {
		unsigned preference;
		enum fate fate;
	} hosts[HOSTS];
	enum check_result result;
	enum reason reason;
	bool is_encrypted;
	enum reason would_refuse;
};

#define NO REASON_NONE

/* clang-format off */
static const struct row rows[] = {
	{ "proven", {{10, PROVEN}}, CHECK_AUTHENTICATED, NO, true, NO },
	{ "half", {{10, HALF}}, CHECK_UNAUTHENTICATED, NO, true, NO },
	{ "TLS", {{10, PLAIN_TLS}}, CHECK_UNAUTHENTICATED, NO, true, NO },
	{ "clear", {{10, CLEAR}}, CHECK_UNAUTHENTICATED, NO, false, NO },
	{ "mismatch", {{10, MISMATCH}}, CHECK_REFUSED, REASON_DANE_MISMATCH, false, NO },
	{ "dead", {{10, DEAD}}, CHECK_UNKNOWN, REASON_CONNECT_FAILED, false, NO },
	{ "bogus", {{10, BOGUS}}, CHECK_REFUSED, REASON_DNS_BOGUS, false, NO },
	{ "a bad host, then a good one", {{10, MISMATCH}, {20, PROVEN}}, CHECK_AUTHENTICATED, NO, true, NO },
	{ "a backup without DANE is where mail goes", {{10, MISMATCH}, {20, CLEAR}},
	  CHECK_UNAUTHENTICATED, NO, false, NO },
	{ "R-DANE-24: the better one is used", {{10, CLEAR}, {20, PROVEN}}, CHECK_UNAUTHENTICATED, NO, false, NO },
	{ "of equals the worse one counts", {{10, PROVEN}, {10, CLEAR}, {20, PROVEN}},
	  CHECK_UNAUTHENTICATED, NO, false, NO },
	{ "of equals that work", {{10, MISMATCH}, {10, PROVEN}}, CHECK_AUTHENTICATED, NO, true, NO },
	{ "of equals, in clear is worse than TLS", {{10, CLEAR}, {10, PLAIN_TLS}},
	  CHECK_UNAUTHENTICATED, NO, false, NO },
	{ "the best preference's failure is told", {{10, MISMATCH}, {20, DEAD}},
	  CHECK_REFUSED, REASON_DANE_MISMATCH, false, NO },
	{ "its last one", {{10, DEAD}, {10, BOGUS}, {20, MISMATCH}}, CHECK_REFUSED, REASON_DNS_BOGUS, false, NO },
	{ "ourselves", {{10, SELF}}, CHECK_REFUSED, REASON_MX_LOOP, false, NO },
	{ "ourselves among equals", {{10, PROVEN}, {10, SELF}}, CHECK_REFUSED, REASON_MX_LOOP, false, NO },
	{ "ourselves as backup", {{10, PROVEN}, {20, SELF}}, CHECK_AUTHENTICATED, NO, true, NO },
	{ "ourselves behind a dead host", {{10, DEAD}, {20, SELF}, {30, PROVEN}},
	  CHECK_UNKNOWN, REASON_CONNECT_FAILED, false, NO },
	{ "R-DANE-27: reported, and delivered", {{10, RELAXED}}, CHECK_UNAUTHENTICATED, NO, false, REASON_DANE_MISMATCH },
	{ "a good backup comes before relaxing", {{10, RELAXED}, {20, PROVEN}}, CHECK_AUTHENTICATED, NO, true, NO },
	{ "nobody was asked, DANE", {{10, UNTRIED_DANE}}, CHECK_AUTHENTICATED, NO, true, NO },
	{ "nobody was asked, may", {{10, UNTRIED_MAY}}, CHECK_UNAUTHENTICATED, NO, false, NO },
};
/* clang-format on */

/* ---- making what was found ---- */

static void ready(struct check_address *address, bool is_encrypted, bool is_verified)
{
	address->outcome = CHECK_READY;
	address->is_encrypted = is_encrypted;
	address->is_verified = is_verified;
}

static void failed(struct check_address *address, enum reason reason)
{
	address->outcome = CHECK_FAILED;
	refusal_set(&address->refusal, reason, "as told");
}

static void refuse(struct route *route, enum reason reason)
{
	route->verdict = POLICY_DEFER;
	refusal_set(&route->refusal, reason, "as told");
}

static void meet(struct check_address *address, struct route *route, enum fate fate)
{
	route->verdict = POLICY_CONNECT;
	route->policy_label = "as told";
	route->rule.need = TLS_DANE;
	route->secures_domain = fate == PROVEN || fate == UNTRIED_DANE;
	if (fate == PROVEN || fate == HALF || fate == PLAIN_TLS)
		ready(address, true, fate == PROVEN);
	else if (fate == CLEAR)
		ready(address, false, false);
	else if (fate == MISMATCH || fate == RELAXED)
		failed(address, REASON_DANE_MISMATCH);
	else if (fate == DEAD)
		failed(address, REASON_CONNECT_FAILED);
	else if (fate == BOGUS)
		refuse(route, REASON_DNS_BOGUS);
	else if (fate == SELF)
		refuse(route, REASON_MX_LOOP);
	else if (fate == UNTRIED_MAY)
		route->rule.need = TLS_MAY;
	route->is_self = fate == SELF;
	route->may_report_only = fate == RELAXED;
}

static void judge_row(const struct row *row)
{
	struct destination destination = {.verdict = POLICY_CONNECT};
	struct check_address addresses[HOSTS] = {0};
	struct route routes[HOSTS] = {0};
	struct check_host hosts[HOSTS] = {0};
	struct check check = {.destination = &destination, .hosts = hosts};
	struct check_verdict verdict;

	for (; check.host_count < HOSTS && row->hosts[check.host_count].fate; check.host_count++) {
		size_t i = check.host_count;

		routes[i].preference = (uint16_t)row->hosts[i].preference;
		hosts[i] = (struct check_host){
		    .route = &routes[i], .address_count = 1, .addresses = &addresses[i]};
		meet(&addresses[i], &routes[i], row->hosts[i].fate);
	}
	verdict = check_judge(&check);
	assert_int_equal(verdict.result, row->result);
	assert_int_equal(verdict.refusal.reason, row->reason);
	assert_int_equal(verdict.is_encrypted, row->is_encrypted);
	assert_int_equal(verdict.would_refuse, row->would_refuse);
}

static void test_verdicts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		print_message("  %s\n", rows[i].name);
		judge_row(&rows[i]);
	}
}

/* ---- before there are hosts ---- */

static void test_no_hosts(void **state)
{
	struct destination destination = {.verdict = POLICY_REFUSE};
	struct check check = {.destination = &destination};

	(void)state;
	refusal_set(&destination.refusal, REASON_NULL_MX, "as told");
	assert_int_equal(check_judge(&check).result, CHECK_REFUSED);
	refusal_set(&destination.refusal, REASON_DNS_FAILED, "as told");
	assert_int_equal(check_judge(&check).result, CHECK_UNKNOWN);
	refusal_set(&check.bad_name, REASON_BAD_ADDRESS, "as told");
	assert_int_equal(check_judge(&check).refusal.reason, REASON_BAD_ADDRESS);
}

/* An address that fails does not matter where another one is ready. */
static void test_addresses(void **state)
{
	struct route route = {.verdict = POLICY_CONNECT, .policy_label = "dane"};
	struct check_address addresses[2] = {0};
	struct check_host host = {.route = &route, .address_count = 2, .addresses = addresses};
	struct check check = {.host_count = 1, .hosts = &host};

	(void)state;
	failed(&addresses[0], REASON_CONNECT_FAILED);
	ready(&addresses[1], true, true);
	assert_int_equal(check_judge_host(&check, 0).result, CHECK_AUTHENTICATED);
	failed(&addresses[1], REASON_DANE_MISMATCH);
	assert_int_equal(check_judge_host(&check, 0).refusal.reason, REASON_DANE_MISMATCH);
}

/* Whoever reads a refusal learns who must do what, unless its text says all. */
static void test_advice(void **state)
{
	static const enum reason silent[] = {REASON_NONE, REASON_ADDRESS_LITERAL,
	    REASON_BAD_ADDRESS, REASON_OUTCOME_UNKNOWN, REASON_ONE_DOMAIN,
	    REASON_TOO_MANY_RECIPIENTS, REASON_NOT_ALLOWED, REASON_NEXT_HOP,
	    REASON_STS_POLICY_INVALID};

	(void)state;
	for (int reason = 0; reason <= REASON_STS_FETCH; reason++) {
		bool says_nothing = check_advice(reason)[0] == '\0';
		bool may = false;

		for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
			may |= (int)silent[i] == reason;
		if (says_nothing && !may)
			fail_msg("no advice about %s", reason_code(reason));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-DANE-23, -24: hosts in the order of mail", test_verdicts, NULL, NULL, NULL},
	    {"a name without hosts", test_no_hosts, NULL, NULL, NULL},
	    {"addresses of a host", test_addresses, NULL, NULL, NULL},
	    {"advice for every refusal", test_advice, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
