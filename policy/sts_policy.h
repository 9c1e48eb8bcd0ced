/*
 * sts_policy.h - the MTA-STS record and policy as texts (RFC 8461 sections 3.1, 3.2, 4.1). Pure,
 * table-tested, fuzzed.
 */
#ifndef POLICY_STS_POLICY_H
#define POLICY_STS_POLICY_H

#include "conf/domain.h"
#include "dnsval/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	STS_ID_SIZE = 33,             /* 1 to 32 alphanumerics and NUL (R-STS-04) */
	STS_BODY_MAX = 65536,         /* octets of a policy text (R-STS-11) */
	STS_MX_MAX = 1000,            /* mx lines; more make the policy invalid */
	STS_MAX_AGE_LIMIT = 31557600, /* seconds; larger values are clamped (R-STS-15) */
};

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };

struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age; /* seconds; 0: use now, cache nothing */
	bool was_clamped;
	size_t mx_count;
	char **mx; /* patterns in normal form: "mx1.example.org" or "*.example.org"; owned */
};

enum sts_record {
	STS_RECORD_ABSENT,  /* none that begins with v=STSv1; */
	STS_RECORD_INVALID, /* several, or a syntax error: no policy can be discovered now
			       (R-STS-02) */
	STS_RECORD_VALID,
};

/* The _mta-sts TXT answer (any state but DNS_FAILED). why: static text where INVALID. */
enum sts_record sts_record_parse(
    const struct dns_answer *txt, char id[STS_ID_SIZE], const char **why);

/* The policy text. false: *why (static text) says what is wrong; policy holds nothing then. */
bool sts_policy_parse(const char *body, size_t len, struct sts_policy *policy, const char **why);
void sts_policy_copy(struct sts_policy *to, const struct sts_policy *from);
void sts_policy_release(struct sts_policy *policy);

/* Whether an MX host (name in the MX record, normal form) is covered; "*." is exactly one label. */
bool sts_policy_matches(const struct sts_policy *policy, const char *mx_host);

const char *sts_mode_name(enum sts_mode mode); /* "none", "testing", "enforce" */

#endif
