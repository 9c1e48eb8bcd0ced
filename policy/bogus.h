/*
 * bogus.h - why an answer failed DNSSEC validation, from the resolver library's words to those of a
 * person who runs a zone. Pure.
 */
#ifndef POLICY_BOGUS_H
#define POLICY_BOGUS_H

#include "conf/domain.h"

#include <stdbool.h>
#include <stddef.h>

enum bogus {
	BOGUS_OTHER,
	BOGUS_UNSIGNED, /* signatures or keys are missing: left out there, or stripped on the way */
	BOGUS_EXPIRED,
	BOGUS_EARLY,
	BOGUS_DS,
	BOGUS_SIGNATURE,
};

/* why: the library's words, or a text that holds them. Only names in it are a peer's, and those
 * have no blanks: nobody can pretend another kind. */
enum bogus bogus_kind(const char *why);
const char *bogus_cause(enum bogus kind); /* "its signatures have expired"; static */

/* The zone whose keys are in question; false: it is not named. */
bool bogus_zone(const char *why, char zone[DOMAIN_SIZE]);

/* The library's words without the question, which is known, and without repetition. Returns out. */
char *bogus_brief(const char *why, char *out, size_t size);

#endif
