/*
 * check.h - what `danelaw check` finds out about a name, and what it makes of it.
 *
 *     check_collect.c   asks: the destination and its routes from policy/, further DNS questions,
 *     check_probe.c     and each address through smtp_client, under the rule that mail would have
 *     check_judge.c     from what was collected to verdicts: what mail would get. Pure
 *     check_advice.c   what a refusal means: what is wrong, who must mend it, and how. Pure
 *     check_findings.c  ... and to findings: what the destination's owner could mend. Pure
 *     check_text.c, check_json.c   print both
 *
 * The verdicts are the codes that replies and log carry; nothing here decides for itself what a
 * host must prove.
 */
#ifndef PROXY_CHECK_H
#define PROXY_CHECK_H

#include "dnsval/answer.h"
#include "policy/mtasts.h"
#include "policy/policy.h"
#include "tls/chain.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct machine;

/* ---- what is asked ---- */

struct check_options {
	bool no_connect;
	bool is_host;  /* --host: the names are MX hosts */
	uint16_t port; /* 0: 25, or what next_hop says */
	int family;    /* AF_INET, AF_INET6; AF_UNSPEC: both */
	bool is_quick; /* what mail would get, and no further look at certificates */
};

/* ---- what was found ---- */

enum check_outcome {
	CHECK_NOT_TRIED, /* --no-connect, -4, -6, or not dialled for the reason in refusal */
	CHECK_READY,     /* a message would be sent here */
	CHECK_FAILED,    /* see refusal */
};

/* One certificate of a server, as somebody sees it who accepts any. */
struct check_key {
	struct tls_chain chain;
	struct tls_proof proof; /* protocol, cipher; report: what a CA check for the MX name says */
};

enum { CHECK_KEYS_MAX = 2 }; /* RSA and ECDSA */

struct check_address {
	struct addr address;
	enum check_outcome outcome; /* of a connection under the rule that mail would have */
	bool is_encrypted, is_verified;
	bool is_ourselves; /* the connection was intercepted: nothing is known about the host */
	bool went_clear;   /* TLS was optional and failed; tls_failure says how */
	struct refusal refusal, tls_failure;
	struct tls_proof proof;
	size_t key_count;
	struct check_key keys[CHECK_KEYS_MAX];
};

/* Answers are kept copies, NULL where nothing was asked. */
struct check_host {
	const struct route *route;
	struct dns_answer *a, *aaaa, *tlsa;
	char tlsa_owner[DOMAIN_SIZE + 16];
	size_t address_count; /* every address of both families */
	struct check_address *addresses;
};

/* A TXT lookup: what it came to, and the records that begin with what was looked for. */
struct check_txt {
	enum dns_state state;
	bool was_asked;
	uint32_t ttl;
	size_t count;
	char **texts; /* not escaped */
	char why[256];
};

struct check_sts {
	struct check_txt txt;
	enum sts_record record;
	char id[STS_ID_SIZE];
	const char *why;           /* STS_RECORD_INVALID; static */
	struct sts_answer *answer; /* NULL: not asked */
};

/* A name that was checked. All pointers are owned. */
struct check {
	char name[DOMAIN_SIZE]; /* of the domain or host */
	char *given;            /* as it was asked for; not escaped */
	struct check_options options;
	struct refusal bad_name; /* REASON_NONE: it is a name, and what follows was looked for */
	struct destination *destination;
	uint32_t mx_ttl;
	size_t host_count; /* as the destination's, in a stable order */
	struct check_host *hosts;
	struct check_sts sts;
	struct check_txt tlsrpt;
};

void check_free(struct check **check);

/* ---- finding it (check_collect.c) ---- */

/* The check is handed over; check_free(). */
typedef void check_fn(struct check *check, void *arg);

/*
 * given: a domain, an address or a host as somebody wrote it. Exactly one callback, on a later
 * turn; every wait in it is one of [timeouts] or [dns]. Never cancelled: the program ends first.
 */
void check_start(struct machine *machine, const char *given, const struct check_options *options,
    check_fn *callback, void *arg);

/* ---- one address (check_probe.c) ---- */

typedef void check_probe_fn(void *arg);

/* Fills `address`, which like the route must outlive it. One callback, on a later turn. */
void check_probe_start(struct machine *machine, const struct route *route,
    const struct check_options *options, struct check_address *address, check_probe_fn *callback,
    void *arg);

/* ---- judging it (check_judge.c) ---- */

/* The exit codes of interface section 1. */
enum check_result { CHECK_AUTHENTICATED, CHECK_UNAUTHENTICATED, CHECK_REFUSED, CHECK_UNKNOWN };

struct check_verdict {
	enum check_result result;
	bool is_encrypted;        /* CHECK_UNAUTHENTICATED: over TLS all the same */
	bool is_assumed;          /* nobody was connected to */
	bool is_ourselves;        /* CHECK_UNKNOWN: danelaw was connected to, instead */
	enum reason would_refuse; /* enforce = no: delivered in spite of this */
	const char *policy;       /* the log's policy=; "" without a route */
	struct refusal refusal;   /* CHECK_REFUSED, CHECK_UNKNOWN; else REASON_NONE */
};

struct check_verdict check_judge_host(const struct check *check, size_t index);
struct check_verdict check_judge(const struct check *check);

/* What a refusal for this reason is: CHECK_REFUSED, or CHECK_UNKNOWN. */
enum check_result check_result_of(enum reason reason);
const char *check_result_name(enum check_result result); /* "authenticated", ... */

/* ---- what a refusal means (check_advice.c) ---- */

/* What is wrong; who must do what about it, "" where the first says all; a command that shows it,
 * or NULL. Not escaped. */
struct check_words {
	char *what, *advice, *test;
};

/* check NULL: nobody looked at the destination. `words` holds nothing yet. */
void check_explain(
    const struct check *check, const struct refusal *refusal, struct check_words *words);
void check_words_release(struct check_words *words);

/* The advice about this reason, whatever was seen. Static. */
const char *check_advice(enum reason reason);

/* Whether the mail waits where it is and is tried again; else it bounces. */
bool check_is_held(const struct refusal *refusal);

/* ---- findings (check_findings.c) ---- */

enum check_severity { CHECK_FAULT, CHECK_WARNING, CHECK_HINT };

struct check_finding {
	const char *code; /* stable: "mismatch"; static */
	enum check_severity severity;
	char host[DOMAIN_SIZE]; /* "": of the domain */
	char *text;             /* what is so, and what to do; not escaped */
	char *wrong, *right; /* lines of a zone file: to be removed, to be published; NULL: none */
};

struct check_findings {
	size_t count;
	struct check_finding *items; /* the most urgent first */
};

/* now: for what expires. `findings` holds nothing yet. */
void check_find(const struct check *check, time_t now, struct check_findings *findings);
void check_findings_release(struct check_findings *findings);

const char *check_severity_name(enum check_severity severity); /* "fault", "warning", "hint" */

#endif
