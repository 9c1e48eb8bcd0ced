/*
 * explain.h - one recipient under the current configuration: what was asked, what was decided, what
 * the client would hear.
 *
 *     explain_cmd.c    the approach that a message would make, with an observer on the resolver
 *     explain_trace.c  the lookups that it made, and the commands that repeat them. Pure
 *     explain_text.c, explain_json.c   print both
 */
#ifndef PROXY_EXPLAIN_H
#define PROXY_EXPLAIN_H

#include "dnsval/answer.h"
#include "proxy/approach.h"
#include "proxy/command/check.h"
#include "proxy/outcome.h"
#include "proxy/smtp/smtp_parse.h"
#include "tls/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct page;

/* ---- lookups ---- */

enum { TRACE_MAX = 500 };

struct trace_row {
	enum dns_type type;
	enum dns_state state;
	bool is_bogus, is_missing; /* missing: the name does not exist */
	uint32_t ttl;
	size_t count;
	double seconds;
	char *name, *end; /* end: where a chain of aliases ended; NULL: there was none */
	char *data;       /* the first few records in words; not escaped */
	char *why;        /* failed; not escaped */
};

struct trace {
	size_t count;
	struct trace_row *rows;
};

void trace_add(struct trace *trace, const struct dns_answer *answer, double seconds);
void trace_release(struct trace *trace);

/* Commands of standard tools; malloc'd. Names come in normal form, so that nothing in them means
 * anything to a shell. */
char *explain_lookup_command(const struct conf *conf, const struct trace_row *row);
char *explain_fetch_command(const struct approach_result *result);
char *explain_tls_command(const struct conf *conf, const struct approach_result *result);

/* ---- the whole ---- */

struct explain {
	const struct conf *conf;
	const char *given; /* not escaped */
	struct smtp_path path;
	struct trace trace;
	struct approach_result result; /* without destination: nothing was looked up */
	struct tls_proof proof;        /* if the client was ready */
	bool is_ready, is_encrypted;
	struct outcome outcome; /* a refusal; code 0: mail would go on */
	enum check_result verdict;
};

/* What the refusal means; check_words_release(). */
void explain_words(const struct explain *explain, struct check_words *words);

void explain_print_text(const struct page *page, const struct explain *explain);
void explain_print_json(FILE *out, const struct explain *explain);

#endif
