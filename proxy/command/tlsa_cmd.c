/*
 * tlsa_cmd.c - danelaw tlsa: its options, and the order of its work. Any user may run it, and for
 * files alone it asks neither the network nor the configuration.
 */
#include "proxy/command/tlsa_cmd.h"

#include "conf/addr.h"
#include "conf/conf.h"
#include "conf/escape.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/command/tlsa_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { SMTP_PORT = 25, TTL_MAX = 0x7fffffff };

static const char usage[] =
    "danelaw tlsa [options] FILE...\n"
    "danelaw tlsa [options] --connect HOST[:PORT] [NEXT-FILE...]\n"
    "\n"
    "Prints the TLSA records of a certificate, chain, public or private key, PEM or DER, one a\n"
    "line. Several files are a roll-over: what the server uses now, then what it will use; all\n"
    "records are printed, and the order of steps on stderr.\n"
    "\n"
    "  --usage N        3 (default): the server's own certificate, the first of the file\n"
    "                   2: its CA's, the last of the file, which the server must send, too\n"
    "                   0, 1: as 2, 3 with a public CA; unusable for SMTP\n"
    "  --selector N     1 (default): the public key; 0: the whole certificate\n"
    "  --matching N     1 (default): SHA-256; 2: SHA-512; 0: everything\n"
    "  --name HOST      the MX host; without it names are relative: _25._tcp\n"
    "  --port N         default 25\n"
    "  --ttl N          seconds; default none, with --nsupdate 3600\n"
    "  --generic        TYPE52 and \\#, for name servers that do not know TLSA (RFC 3597)\n"
    "  --nsupdate       a script for nsupdate that adds the records; needs --name\n"
    "  --connect HOST[:PORT]   what this server shows after STARTTLS, in place of a file;\n"
    "                   HOST is --name and PORT --port, unless those are given\n"
    "  --verify         compares with what DNS publishes now; needs --name\n"
    "\n"
    "exit: 0 fine; 64 usage; 69 a file or the server could not be used; 78 configuration.\n"
    "With --verify: 0 published, signed and matching; 1 not signed, not usable or not complete;\n"
    "2 no published record matches, so mail is refused; 3 it cannot be told\n";

enum { USAGE = 256, SELECTOR, MATCHING, NAME, PORT, TTL, GENERIC, NSUPDATE, CONNECT, VERIFY };

/* clang-format off */
static const struct option options[] = {
	{"usage",    required_argument, NULL, USAGE},
	{"selector", required_argument, NULL, SELECTOR},
	{"matching", required_argument, NULL, MATCHING},
	{"name",     required_argument, NULL, NAME},
	{"port",     required_argument, NULL, PORT},
	{"ttl",      required_argument, NULL, TTL},
	{"generic",  no_argument,       NULL, GENERIC},
	{"nsupdate", no_argument,       NULL, NSUPDATE},
	{"connect",  required_argument, NULL, CONNECT},
	{"verify",   no_argument,       NULL, VERIFY},
	{"help",     no_argument,       NULL, 'h'},
	{NULL,       0,                 NULL, 0},
};
/* clang-format on */

/* ---- the job ---- */

void tlsa_job_add(struct tlsa_job *job, char *label, struct tlsa_source *source, bool is_next)
{
	job->inputs = mem_resize(job->inputs, job->input_count + 1, sizeof *job->inputs);
	job->inputs[job->input_count++] =
	    (struct tlsa_input){.label = label, .is_next = is_next, .source = source};
}

static void release_job(struct tlsa_job *job)
{
	for (size_t i = 0; i < job->input_count; i++) {
		free(job->inputs[i].label);
		tlsa_source_free(&job->inputs[i].source);
		tlsa_set_release(&job->inputs[i].records);
	}
	free(job->inputs);
}

char *tlsa_job_owner(const struct tlsa_job *job)
{
	return mem_printf("_%u._tcp%s%s", job->port, job->name[0] ? "." : "", job->name);
}

/* ---- options ---- */

struct request {
	struct tlsa_job job;
	char host[DOMAIN_SIZE]; /* --connect; "": files alone */
	uint16_t host_port;
	bool has_port;
};

static int mistake(const char *option, const char *value, const char *wanted)
{
	char text[200];

	escape(text, sizeof text, ESCAPE_TEXT, value, strlen(value), NULL);
	fprintf(
	    stderr, "danelaw tlsa: --%s %s: %s\ntry: danelaw tlsa --help\n", option, text, wanted);
	return EX_USAGE;
}

/* Digits alone, up to max. */
static bool parse_number(const char *text, unsigned long max, unsigned long *number)
{
	char *end;

	if (!*text || strspn(text, "0123456789") != strlen(text))
		return false;
	errno = 0;
	*number = strtoul(text, &end, 10);
	return errno == 0 && *number <= max;
}

static int parse_digit(const char *option, const char *text, unsigned max, uint8_t *digit)
{
	static const char *const wanted[] = {
	    [1] = "0 or 1 is possible", [2] = "0, 1 or 2 is possible", [3] = "0 to 3 is possible"};
	unsigned long number;

	if (!parse_number(text, max, &number))
		return mistake(option, text, wanted[max]);
	*digit = (uint8_t)number;
	return EX_OK;
}

static int parse_ttl(const char *text, uint32_t *ttl)
{
	unsigned long number;

	if (!parse_number(text, TTL_MAX, &number) || number == 0)
		return mistake("ttl", text, "whole seconds are wanted, 1 to 2147483647");
	*ttl = (uint32_t)number;
	return EX_OK;
}

/* People write names with their last dot where zone files are the subject. */
static bool parse_host_name(char out[DOMAIN_SIZE], const char *text, size_t len)
{
	if (len > 1 && text[len - 1] == '.')
		len--;
	return domain_normalize(out, text, len) && domain_is_host(out);
}

static int parse_name(const char *text, char name[DOMAIN_SIZE])
{
	if (!parse_host_name(name, text, strlen(text)))
		return mistake("name", text, "this is no host name");
	return EX_OK;
}

static int parse_port(struct request *r, const char *text)
{
	if (!addr_parse_port(text, &r->job.port))
		return mistake("port", text, "1 to 65535 is possible");
	r->has_port = true;
	return EX_OK;
}

/* host, host:port, an address, or one in brackets with a port. */
static int parse_connect(struct request *r, const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	char ip[ADDR_TEXT];
	struct addr address;

	r->host_port = SMTP_PORT;
	if (addr_parse(&address, text, SMTP_PORT) || addr_parse_ip(&address, text, SMTP_PORT)) {
		r->host_port = addr_port(&address);
		snprintf(r->host, sizeof r->host, "%s", addr_ip(&address, ip));
		return EX_OK;
	}
	if ((colon && !addr_parse_port(colon + 1, &r->host_port)) ||
	    !parse_host_name(r->host, text, len))
		return mistake("connect", text, "wanted is HOST, HOST:PORT or [ADDRESS]:PORT");
	return EX_OK;
}

static int take_option(struct request *r, int option)
{
	struct tlsa_job *job = &r->job;

	switch (option) {
	case USAGE:
		return parse_digit("usage", optarg, 3, &job->kind.usage);
	case SELECTOR:
		return parse_digit("selector", optarg, 1, &job->kind.selector);
	case MATCHING:
		return parse_digit("matching", optarg, 2, &job->kind.matching);
	case NAME:
		return parse_name(optarg, job->name);
	case PORT:
		return parse_port(r, optarg);
	case TTL:
		return parse_ttl(optarg, &job->ttl);
	case GENERIC:
		job->is_generic = true;
		return EX_OK;
	case NSUPDATE:
		job->is_nsupdate = true;
		return EX_OK;
	case CONNECT:
		return parse_connect(r, optarg);
	case VERIFY:
		job->is_verify = true;
		return EX_OK;
	default:
		return EX_USAGE;
	}
}

static bool is_name(const char *host)
{
	struct addr address;

	return host[0] && !addr_parse_ip(&address, host, 0);
}

/* What the server that is asked is called, unless the records are for another name. */
static void complete(struct request *r)
{
	if (!r->job.name[0] && is_name(r->host))
		memcpy(r->job.name, r->host, sizeof r->job.name);
	if (!r->has_port)
		r->job.port = r->host[0] ? r->host_port : SMTP_PORT;
}

static const char *what_is_missing(const struct request *r, int files)
{
	const struct tlsa_job *job = &r->job;

	if (!files && !r->host[0])
		return "give a FILE, or --connect HOST";
	if (job->is_verify && (job->is_nsupdate || job->is_generic || job->ttl))
		return "--verify prints no records, so --nsupdate, --generic and --ttl say nothing";
	if ((job->is_nsupdate || job->is_verify) && !job->name[0])
		return job->is_verify ? "--verify needs --name HOST"
				      : "--nsupdate needs --name HOST";
	if (strlen(job->name) + sizeof "_65535._tcp." > DOMAIN_SIZE)
		return "the name is too long for one before it";
	return NULL;
}

/* ---- the work ---- */

static int add_file(struct request *r, const char *path)
{
	bool is_next = r->job.input_count > 0;
	char label[256], *error = NULL;
	struct tlsa_source *source = tlsa_source_load(path, &error);

	if (!source) {
		escape(label, sizeof label, ESCAPE_TEXT, error, strlen(error), NULL);
		fprintf(stderr, "danelaw tlsa: %s\n", label);
		free(error);
		return EX_UNAVAILABLE;
	}
	escape(label, sizeof label, ESCAPE_TEXT, path, strlen(path), NULL);
	tlsa_job_add(&r->job, mem_strdup(label), source, is_next);
	return EX_OK;
}

static int make_records(struct tlsa_job *job)
{
	const char *why;

	for (size_t i = 0; i < job->input_count; i++) {
		struct tlsa_input *input = &job->inputs[i];

		if (tlsa_source_make(input->source, job->kind, &input->records, &why))
			continue;
		fprintf(stderr, "danelaw tlsa: %s: %s\n", input->label, why);
		return EX_USAGE;
	}
	return EX_OK;
}

/* Output that did not arrive must not look published. */
static int print(const struct tlsa_job *job)
{
	tlsa_print_warnings(job);
	tlsa_print_records(job);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "danelaw tlsa: cannot write: %s\n", strerrordesc_np(errno));
		return EX_UNAVAILABLE;
	}
	tlsa_print_steps(job);
	return EX_OK;
}

static int work(struct request *r, const struct conf *conf, char **paths)
{
	int code = r->host[0] ? tlsa_live_add(&r->job, conf, r->host, r->host_port) : EX_OK;

	for (; code == EX_OK && *paths; paths++)
		code = add_file(r, *paths);
	if (code == EX_OK)
		code = make_records(&r->job);
	if (code != EX_OK)
		return code;
	return r->job.is_verify ? tlsa_verify(&r->job, conf) : print(&r->job);
}

/* A broken configuration is no matter to who only reads a file. */
static int configure_and_work(struct request *r, const struct command_line *line)
{
	struct conf *conf = NULL;
	int code;

	if (r->host[0] || r->job.is_verify) {
		conf = command_line_conf(line);
		if (!conf)
			return EX_CONFIG;
		log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	}
	code = work(r, conf, line->argv + optind);
	if (conf)
		conf_free(&conf);
	return code;
}

int tlsa_command(struct command_line *line)
{
	struct request r = {.job.kind = {3, 1, 1}};
	const char *missing;
	int option, code = EX_OK;

	while (code == EX_OK && (option = command_line_next(line, "", options)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return EX_OK;
		}
		code = take_option(&r, option);
	}
	if (code != EX_OK)
		return code;
	complete(&r);
	missing = what_is_missing(&r, line->argc - optind);
	if (missing) {
		fprintf(stderr, "danelaw tlsa: %s\ntry: danelaw tlsa --help\n", missing);
		return EX_USAGE;
	}
	code = configure_and_work(&r, line);
	release_job(&r.job);
	return code;
}
