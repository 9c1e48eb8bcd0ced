/*
 * check_print.h - a finished check on paper: for people, for programs, for monitoring.
 */
#ifndef PROXY_CHECK_PRINT_H
#define PROXY_CHECK_PRINT_H

#include "proxy/command/check.h"

#include <stdio.h>

struct page;
typedef struct json_t json_t;

/* ---- for people (check_text.c) ---- */

void check_print_text(const struct page *page, const struct check *check,
    const struct check_verdict *verdict, const struct check_findings *findings);

/* "HELD, not sent (dane-mismatch)", "REFUSED (null-mx)" */
void check_verdict_words(const struct check_verdict *verdict, char *out, size_t size);

enum { CHECK_DATE = sizeof "2027-01-31" };
void check_date(time_t when, char out[CHECK_DATE]);

/* ---- for people with many domains (check_change.c) ---- */

enum check_change {
	CHANGE_AUTHENTICATED,
	CHANGE_NONE,
	CHANGE_REFUSED,
	CHANGE_DEAD, /* nobody delivers there, whatever the policy */
	CHANGE_UNKNOWN,
	CHANGE_COUNT,
};

struct check_tally {
	size_t of[CHANGE_COUNT];
};

/* One line, counted. */
void check_print_change(const struct page *page, struct check_tally *tally,
    const struct check *check, const struct check_verdict *verdict);
void check_print_tally(const struct page *page, const struct check_tally *tally);

/* ---- for programs (check_json.c), by packaging/check.schema.json ---- */

/* One element of "results"; the caller owns it. */
json_t *check_json(const struct check *check, const struct check_verdict *verdict,
    const struct check_findings *findings);

/* The document around them; results is handed over. Printed with a newline. */
void check_print_json(FILE *out, json_t *results, int exit_code);

#endif
