/*
 * tlsa_job.h - what one call of danelaw tlsa is to do. Shared by its parts: tlsa_cmd.c reads the
 * options, tlsa_print.c writes records, tlsa_live.c asks a server, tlsa_verify.c asks DNS.
 */
#ifndef PROXY_TLSA_JOB_H
#define PROXY_TLSA_JOB_H

#include "conf/domain.h"
#include "tls/tlsa_source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf;

/* A file, or one of the certificates that a server shows. */
struct tlsa_input {
	char *label; /* for texts; escaped */
	bool
	    is_next; /* not in use yet: the second and later files, each file after a live server */
	struct tlsa_source *source;
	struct tlsa_set records;
};

struct tlsa_job {
	struct tlsa_kind kind;
	char name[DOMAIN_SIZE]; /* of the MX host; "": not known */
	uint16_t port;
	uint32_t ttl; /* 0: not given */
	bool is_generic, is_nsupdate, is_verify;
	size_t input_count;
	struct tlsa_input *inputs;
};

/* label and source are handed over. */
void tlsa_job_add(struct tlsa_job *job, char *label, struct tlsa_source *source, bool is_next);

/* "_25._tcp.mx.example.org", without the name "_25._tcp"; malloc'd. */
char *tlsa_job_owner(const struct tlsa_job *job);

/* ---- tlsa_print.c ---- */

/* What is known to be wrong with such records, on stderr. */
void tlsa_print_warnings(const struct tlsa_job *job);

/* Each record once: zone file lines, or a script for nsupdate. */
void tlsa_print_records(const struct tlsa_job *job);

/* How to change from what is in use to what is next, on stderr; nothing where nothing is next. */
void tlsa_print_steps(const struct tlsa_job *job);

/* ---- these ask the network; each returns an exit code, and tells on stderr what is wrong ---- */

/* Adds what the server shows after STARTTLS: all certificates that it has. host: a name in normal
 * form or an address. */
int tlsa_live_add(struct tlsa_job *job, const struct conf *conf, const char *host, uint16_t port);

/* Compares with what DNS has now; TLSA_VERIFY_... */
enum tlsa_verify_code {
	TLSA_VERIFY_MATCH = 0,
	TLSA_VERIFY_WEAK = 1,     /* delivered, but not authenticated; or not all is published */
	TLSA_VERIFY_MISMATCH = 2, /* every DANE sender refuses */
	TLSA_VERIFY_UNKNOWN = 3,
};
int tlsa_verify(const struct tlsa_job *job, const struct conf *conf);

#endif
