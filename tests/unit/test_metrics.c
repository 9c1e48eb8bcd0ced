/*
 * test_metrics.c - what is counted is what Prometheus reads, and nothing else.
 */
#include "proxy/metrics.h"

#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct conf_domain domains[] = {
    {.name = "stale.example", .until = 2000000},
    {.name = "example.org", .below = true, .until = 900000},
    {.name = "for.ever.example"},
};
static const struct conf conf = {.domain_count = 3, .domains = domains};

static char *page(void)
{
	size_t len;
	char *text = metrics_render(&conf, 1000000, &len);

	assert_int_equal(strlen(text), len);
	return text;
}

static void check(const char *line, bool wanted)
{
	char *text = page(), *found = strstr(text, line);

	if (!found == wanted)
		fail_msg("%s %s in\n%s", line, wanted ? "is not" : "is", text);
	if (found)
		assert_true(found[-1] == '\n' && found[strlen(line)] == '\n');
	free(text);
}

static void test_empty(void **state)
{
	(void)state;
	check("danelaw_sessions 0", true);
	check("danelaw_handshakes_total{resumed=\"no\"} 0", true);
	check("# TYPE danelaw_messages_total counter", true);
	check("danelaw_delivery_seconds_bucket{le=\"+Inf\"} 0", true);
	check("danelaw_alarm{what=\"ca-missing\"} 0", true);
	check("danelaw_messages_total{", false);
	check("danelaw_refusals_total{", false);
}

static void test_labels(void **state)
{
	(void)state;
	metrics_count_message("dane", "verified", "sent");
	metrics_count_message("dane", "verified", "sent");
	metrics_count_message("sts:testing", "cleartext", "unknown");
	metrics_count_message(NULL, NULL, "refused");
	metrics_count_message("a stranger's words", NULL, "refused");
	check("danelaw_messages_total{policy=\"dane\",tls=\"verified\",status=\"sent\"} 2", true);
	check(
	    "danelaw_messages_total{policy=\"sts:testing\",tls=\"cleartext\",status=\"unknown\"} 1",
	    true);
	check("danelaw_messages_total{policy=\"-\",tls=\"-\",status=\"refused\"} 2", true);
}

static void test_reasons(void **state)
{
	(void)state;
	metrics_count_refusal(REASON_DANE_MISMATCH);
	metrics_count_refusal(REASON_NONE);
	metrics_count_refusal(REASON_NEXT_HOP);
	metrics_count_would_refuse(REASON_STS_MX);
	metrics_count_would_refuse(REASON_NONE);
	check("danelaw_refusals_total{reason=\"dane-mismatch\"} 1", true);
	check("danelaw_would_refuse_total{reason=\"sts-mx\"} 1", true);
	check("danelaw_refusals_total{reason=\"-\"}", false);
	check("danelaw_would_refuse_total{reason=\"-\"}", false);
}

/* One row for each word that the labels can have: none falls into the first cell by mistake. */
static void test_lookups(void **state)
{
	struct dns_answer answer = {.type = DNS_TLSA, .state = DNS_SECURE};

	(void)state;
	metrics_count_lookup(&answer);
	answer = (struct dns_answer){.type = DNS_MX, .state = DNS_FAILED, .bogus = true};
	metrics_count_lookup(&answer);
	for (const struct dns_type_entry *t = dns_types; t->name; t++) {
		char line[80];

		answer = (struct dns_answer){.type = t->type, .state = DNS_INSECURE};
		metrics_count_lookup(&answer);
		snprintf(line, sizeof line,
		    "danelaw_dns_lookups_total{type=\"%s\",state=\"insecure\"} 1", t->name);
		check(line, true);
	}
	check("danelaw_dns_lookups_total{type=\"TLSA\",state=\"secure\"} 1", true);
	check("danelaw_dns_lookups_total{type=\"MX\",state=\"bogus\"} 1", true);
}

static void test_histogram(void **state)
{
	(void)state;
	metrics_observe_delivery(0.01);
	metrics_observe_delivery(0.2);
	metrics_observe_delivery(5000);
	metrics_observe_delivery(-1);
	check("danelaw_delivery_seconds_bucket{le=\"0.01\"} 2", true);
	check("danelaw_delivery_seconds_bucket{le=\"0.1\"} 2", true);
	check("danelaw_delivery_seconds_bucket{le=\"0.25\"} 3", true);
	check("danelaw_delivery_seconds_bucket{le=\"1800\"} 3", true);
	check("danelaw_delivery_seconds_bucket{le=\"+Inf\"} 4", true);
	check("danelaw_delivery_seconds_sum 5000.210000", true);
	check("danelaw_delivery_seconds_count 4", true);
}

static void test_gauges(void **state)
{
	(void)state;
	metrics_session_began();
	metrics_session_began();
	metrics_session_ended();
	metrics_next_hop_opened();
	metrics_set_spool_messages(7);
	metrics_set_alarm(ALARM_DISK, true);
	metrics_set_dnssec_working(true);
	check("danelaw_sessions 1", true);
	check("danelaw_sessions_total 2", true);
	check("danelaw_next_hop_connections 1", true);
	metrics_next_hop_closed();
	check("danelaw_next_hop_connections 0", true);
	check("danelaw_spool_messages 7", true);
	check("danelaw_alarm{what=\"disk\"} 1", true);
	metrics_set_alarm(ALARM_DISK, false);
	check("danelaw_alarm{what=\"disk\"} 0", true);
	check("danelaw_dnssec_working 1", true);
}

static void test_rest(void **state)
{
	(void)state;
	metrics_count_handshake(false);
	metrics_count_sts_fetch(STS_FETCH_CERTIFICATE);
	metrics_count_hint_mismatch();
	metrics_count_try("deferred");
	metrics_count_notice(METRICS_DELAYED);
	check("danelaw_handshakes_total{resumed=\"no\"} 1", true);
	check("danelaw_sts_fetches_total{result=\"certificate\"} 1", true);
	check("danelaw_sts_fetches_total{result=\"ok\"} 0", true);
	check("danelaw_hint_mismatches_total 1", true);
	check("danelaw_spool_tries_total{status=\"deferred\"} 1", true);
	check("danelaw_spool_notices_total{kind=\"delayed\"} 1", true);
}

static void test_exceptions(void **state)
{
	(void)state;
	check("danelaw_exception_expires_seconds{domain=\"stale.example\"} 1000000", true);
	check("danelaw_exception_expires_seconds{domain=\".example.org\"} -100000", true);
	check("danelaw_exception_expires_seconds{domain=\"for.ever", false);
}

/* The page of another area. */
static void check_area(void *area, const char *line, bool wanted)
{
	metrics_count_into(area);
	check(line, wanted);
}

static void test_several(void **state)
{
	static _Alignas(64) unsigned char dead[METRICS_SIZE], living[METRICS_SIZE],
	    buried[METRICS_SIZE], sum[METRICS_SIZE];

	(void)state;
	metrics_count_into(dead);
	metrics_session_began();
	metrics_next_hop_opened();
	metrics_count_refusal(REASON_MX_LOOP);
	metrics_observe_delivery(0.2);
	metrics_set_alarm(ALARM_DISK, true);
	metrics_set_dnssec_working(true);
	metrics_retire(buried, dead);
	metrics_count_into(living);
	metrics_session_began();
	metrics_session_began();
	metrics_count_refusal(REASON_MX_LOOP);
	metrics_observe_delivery(0.3);
	metrics_set_spool_messages(5);
	metrics_add(sum, buried);
	metrics_add(sum, living);
	metrics_add(sum, dead);
	check_area(sum, "danelaw_sessions 2", true);
	check_area(sum, "danelaw_sessions_total 3", true);
	check_area(sum, "danelaw_next_hop_connections 0", true);
	check_area(sum, "danelaw_refusals_total{reason=\"mx-loop\"} 2", true);
	check_area(sum, "danelaw_delivery_seconds_count 2", true);
	check_area(sum, "danelaw_delivery_seconds_sum 0.500000", true);
	check_area(sum, "danelaw_alarm{what=\"disk\"} 0", true);
	check_area(sum, "danelaw_dnssec_working 0", true);
	check_area(sum, "danelaw_spool_messages 5", true);
	metrics_add(sum, living);
	check_area(sum, "danelaw_spool_messages 5", true);
	check_area(sum, "danelaw_sessions 4", true);
}

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		{ "interface 5: before anything happened",     test_empty,      NULL, NULL, NULL },
		{ "interface 5: messages by bounded labels",   test_labels,     NULL, NULL, NULL },
		{ "interface 5: reasons, ours alone",          test_reasons,    NULL, NULL, NULL },
		{ "interface 5: lookups of each type",         test_lookups,    NULL, NULL, NULL },
		{ "interface 5: buckets add up",               test_histogram,  NULL, NULL, NULL },
		{ "interface 5: gauges go up and down",        test_gauges,     NULL, NULL, NULL },
		{ "interface 5: the others",                   test_rest,       NULL, NULL, NULL },
		{ "interface 5: exceptions that end",          test_exceptions, NULL, NULL, NULL },
		{ "interface 5: several processes, dead ones", test_several,    NULL, NULL, NULL },
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
