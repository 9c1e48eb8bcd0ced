/*
 * tlsa_verify.c - what DNS publishes now, held against certificates and keys: what a DANE sender
 * would make of it (RFC 7672 section 2.2, RFC 7671 section 9).
 */
#include "proxy/command/tlsa_job.h"

#include "conf/conf.h"
#include "conf/escape.h"
#include "conf/mem.h"
#include "conf/reap.h"
#include "dnsval/resolver.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { MATCHING_SHA256 = 1, MATCHING_SHA512 = 2 };

struct verify {
	struct ev_loop *loop;
	const struct tlsa_job *job;
	enum tlsa_verify_code code;
};

static struct tlsa record_of(const struct dns_tlsa *r)
{
	return (struct tlsa){r->usage, r->selector, r->matching, r->len, r->data};
}

/* ---- one record ---- */

/* Of the digests for the same certificate or key only the strongest counts (R-DANE-16). */
static bool is_outranked(const struct dns_answer *answer, const struct tlsa *t)
{
	for (size_t i = 0; i < answer->count; i++) {
		struct tlsa other = record_of(&answer->tlsa[i]);

		if (t->matching == MATCHING_SHA256 && other.matching == MATCHING_SHA512 &&
		    other.usage == t->usage && other.selector == t->selector &&
		    tlsa_is_usable(&other))
			return true;
	}
	return false;
}

static bool counts(const struct dns_answer *answer, const struct tlsa *t)
{
	return tlsa_is_usable(t) && !is_outranked(answer, t);
}

static const struct tlsa_input *find_input(const struct tlsa_job *job, const struct tlsa *t)
{
	for (size_t i = 0; i < job->input_count; i++)
		if (tlsa_source_fits(job->inputs[i].source, t))
			return &job->inputs[i];
	return NULL;
}

static void print_record(const char *what, const struct tlsa *t, const char *note)
{
	char *data = tlsa_type_and_data(t, TLSA_PLAIN);

	printf(
	    "  %-9s %s%s%s%s\n", what, data, note ? " (" : "", note ? note : "", note ? ")" : "");
	free(data);
}

/* A file with the server's own certificate alone does not tell which CA stands behind it. */
static bool may_match_unseen(const struct dns_answer *answer, const struct tlsa_job *job)
{
	for (size_t i = 0; i < job->input_count; i++)
		if (tlsa_source_has_authority(job->inputs[i].source))
			return false;
	for (size_t i = 0; i < answer->count; i++) {
		struct tlsa t = record_of(&answer->tlsa[i]);

		if (t.usage == TLSA_USAGE_TA && counts(answer, &t))
			return true;
	}
	return false;
}

static void judge_record(
    const struct dns_answer *answer, const struct tlsa *t, const struct tlsa_job *job)
{
	const struct tlsa_input *input = find_input(job, t);
	bool is_unseen = t->usage == TLSA_USAGE_TA && may_match_unseen(answer, job);

	if (!tlsa_is_usable(t))
		print_record("unusable", t, "SMTP senders ignore it");
	else if (!input)
		print_record(is_unseen ? "unknown" : "stale", t, NULL);
	else if (is_outranked(answer, t))
		print_record("ignored", t, "senders look at the SHA-512 records alone");
	else
		print_record("match", t, input->label);
}

/* ---- all of them ---- */

static bool is_covered(const struct dns_answer *answer, const struct tlsa_input *input)
{
	for (size_t i = 0; i < answer->count; i++) {
		struct tlsa t = record_of(&answer->tlsa[i]);

		if (counts(answer, &t) && tlsa_source_fits(input->source, &t))
			return true;
	}
	return false;
}

static void tell_missing(const struct dns_answer *answer, const struct tlsa_job *job)
{
	for (size_t i = 0; i < job->input_count; i++) {
		const struct tlsa_input *input = &job->inputs[i];

		for (size_t n = 0; !is_covered(answer, input) && n < input->records.count; n++)
			print_record("missing", &input->records.items[n], input->label);
	}
}

static bool has_usable(const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++) {
		struct tlsa t = record_of(&answer->tlsa[i]);

		if (tlsa_is_usable(&t))
			return true;
	}
	return false;
}

static size_t count_covered(
    const struct dns_answer *answer, const struct tlsa_job *job, bool next, size_t *of)
{
	size_t covered = 0;

	*of = 0;
	for (size_t i = 0; i < job->input_count; i++) {
		if (job->inputs[i].is_next != next)
			continue;
		++*of;
		covered += is_covered(answer, &job->inputs[i]);
	}
	return covered;
}

static enum tlsa_verify_code judge_cover(
    const struct dns_answer *answer, const struct tlsa_job *job, const char **verdict)
{
	size_t now, next;
	size_t now_covered = count_covered(answer, job, false, &now);
	size_t next_covered = count_covered(answer, job, true, &next);

	if (now_covered == 0 && may_match_unseen(answer, job)) {
		*verdict =
		    "records of usage 2 name a CA, and no CA's certificate was given: give the "
		    "whole chain";
		return TLSA_VERIFY_UNKNOWN;
	}
	if (now_covered == 0) {
		*verdict = "no record matches: every DANE sender refuses to deliver to this server";
		return TLSA_VERIFY_MISMATCH;
	}
	if (now_covered < now) {
		*verdict =
		    "not all certificates of the server are published: senders that are shown "
		    "another refuse";
		return TLSA_VERIFY_WEAK;
	}
	if (next_covered < next) {
		*verdict = "what the server uses is published, what comes next is not yet";
		return TLSA_VERIFY_WEAK;
	}
	*verdict = "published, signed and matching";
	return TLSA_VERIFY_MATCH;
}

static enum tlsa_verify_code judge(
    const struct dns_answer *answer, const struct tlsa_job *job, const char **verdict)
{
	if (answer->count == 0)
		*verdict = "no TLSA record is published: DANE protects nobody";
	else if (answer->state == DNS_INSECURE)
		*verdict = "the zone is not signed: without DNSSEC TLSA records protect nobody";
	else if (!has_usable(answer))
		*verdict = "no record that SMTP can use: senders ask for TLS, but for no proof";
	else
		return judge_cover(answer, job, verdict);
	return TLSA_VERIFY_WEAK;
}

static enum tlsa_verify_code tell_failure(const struct dns_answer *answer)
{
	char why[512];

	escape(why, sizeof why, ESCAPE_TEXT, answer->why, strlen(answer->why), NULL);
	fprintf(stderr, "danelaw tlsa: %s: %s: %s\n", answer->question,
	    answer->bogus ? "the answer fails validation" : "the lookup failed", why);
	return TLSA_VERIFY_UNKNOWN;
}

static enum tlsa_verify_code compare(const struct dns_answer *answer, const struct tlsa_job *job)
{
	const char *verdict;
	enum tlsa_verify_code code = judge(answer, job, &verdict);

	printf("%s: %s\n", answer->question, verdict);
	printf("  %s", dns_state_name(answer->state));
	if (answer->count > 0)
		printf(", TTL %u", answer->ttl);
	if (answer->via_cname)
		printf(", by CNAME at %s", answer->name);
	putchar('\n');
	for (size_t i = 0; i < answer->count; i++) {
		struct tlsa t = record_of(&answer->tlsa[i]);

		judge_record(answer, &t, job);
	}
	tell_missing(answer, job);
	return code;
}

/* ---- the question ---- */

static void on_answer(const struct dns_answer *answer, void *arg)
{
	struct verify *v = arg;

	v->code = answer->state == DNS_FAILED ? tell_failure(answer) : compare(answer, v->job);
	ev_break(v->loop, EVBREAK_ALL);
}

static void ask(struct verify *v, struct resolver *resolver)
{
	char *owner = tlsa_job_owner(v->job);

	dns_query_start(resolver, owner, DNS_TLSA, on_answer, v);
	free(owner);
	ev_run(v->loop, 0); /* ends by [dns] timeout at the latest */
}

int tlsa_verify(const struct tlsa_job *job, const struct conf *conf)
{
	struct verify v = {ev_loop_new(0), job, TLSA_VERIFY_UNKNOWN};
	char *error = NULL;
	struct resolver *resolver = resolver_new(v.loop, conf, &error);
	int code = EX_CONFIG;

	if (resolver) {
		ask(&v, resolver);
		code = v.code;
	} else {
		fprintf(stderr, "danelaw tlsa: %s\n", error);
		free(error);
	}
	resolver_free(&resolver);
	reap_now();
	ev_loop_destroy(v.loop);
	return code;
}
