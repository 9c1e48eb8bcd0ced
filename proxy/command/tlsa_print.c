/*
 * tlsa_print.c - records on stdout, in nothing but forms that a name server loads; warnings and the
 * steps of a roll-over (RFC 7671 section 8) on stderr.
 */
#include "proxy/command/tlsa_job.h"

#include "conf/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { NSUPDATE_TTL = 3600 }; /* nsupdate wants one with each record */

/* ---- warnings ---- */

static void warn_about_usage(const struct tlsa_job *job)
{
	if (job->kind.usage == 0 || job->kind.usage == 1)
		fprintf(stderr,
		    "danelaw tlsa: warning: SMTP senders take a record of usage %d as unusable "
		    "(RFC "
		    "7672 "
		    "3.1.3); publish usage %d\n",
		    job->kind.usage, job->kind.usage + 2);
}

static size_t largest_record(const struct tlsa_job *job)
{
	size_t largest = 0;

	for (size_t i = 0; i < job->input_count; i++) {
		const struct tlsa_set *records = &job->inputs[i].records;

		for (size_t n = 0; n < records->count; n++)
			if (records->items[n].len > largest)
				largest = records->items[n].len;
	}
	return largest;
}

static void warn_about_size(const struct tlsa_job *job)
{
	if (job->kind.matching == 0)
		fprintf(stderr,
		    "danelaw tlsa: warning: matching type 0 puts %zu octets into DNS, and large "
		    "answers "
		    "do "
		    "not reach everybody (RFC 7671 10.1); matching type 1 needs 32\n",
		    largest_record(job));
}

void tlsa_print_warnings(const struct tlsa_job *job)
{
	warn_about_usage(job);
	warn_about_size(job);
	for (size_t i = 0; i < job->input_count; i++) {
		const char *doubt = tlsa_source_doubt(job->inputs[i].source, job->kind);

		if (doubt)
			fprintf(
			    stderr, "danelaw tlsa: warning: %s: %s\n", job->inputs[i].label, doubt);
	}
}

/* ---- records ---- */

static enum tlsa_form form_of(const struct tlsa_job *job)
{
	return job->is_generic ? TLSA_GENERIC : TLSA_PLAIN;
}

static char *record_line(const struct tlsa_job *job, const struct tlsa *t)
{
	char *owner = tlsa_job_owner(job), *data = tlsa_type_and_data(t, form_of(job));
	char ttl[16] = "", *line;

	if (job->ttl || job->is_nsupdate)
		snprintf(ttl, sizeof ttl, "%u ", job->ttl ? job->ttl : NSUPDATE_TTL);
	line = mem_printf("%s%s%s %sIN %s", job->is_nsupdate ? "update add " : "", owner,
	    job->name[0] ? "." : "", ttl, data);
	free(owner);
	free(data);
	return line;
}

/* Two certificates for one key, or two chains under one CA, are one record. */
static bool is_new(const struct tlsa_set *printed, const struct tlsa *t)
{
	for (size_t i = 0; i < printed->count; i++)
		if (tlsa_equal(&printed->items[i], t))
			return false;
	return true;
}

static void print_set(
    const struct tlsa_job *job, const struct tlsa_set *records, struct tlsa_set *printed)
{
	for (size_t i = 0; i < records->count; i++) {
		char *line;

		if (!is_new(printed, &records->items[i]))
			continue;
		line = record_line(job, &records->items[i]);
		puts(line);
		free(line);
		tlsa_set_add(printed, &records->items[i]);
	}
}

/* Records are only added: to replace the set would cut off what is in use while the next is not. */
void tlsa_print_records(const struct tlsa_job *job)
{
	struct tlsa_set printed = {0};

	for (size_t i = 0; i < job->input_count; i++)
		print_set(job, &job->inputs[i].records, &printed);
	if (job->is_nsupdate)
		puts("send");
	tlsa_set_release(&printed);
}

/* ---- a roll-over ---- */

static bool is_used_later(const struct tlsa_job *job, const struct tlsa *t)
{
	for (size_t i = 0; i < job->input_count; i++)
		if (job->inputs[i].is_next && !is_new(&job->inputs[i].records, t))
			return true;
	return false;
}

/* What may go in the end: the records of what is in use that nothing of what is next has. */
static void find_old(const struct tlsa_job *job, struct tlsa_set *old)
{
	for (size_t i = 0; i < job->input_count; i++) {
		const struct tlsa_set *records = &job->inputs[i].records;

		for (size_t n = 0; !job->inputs[i].is_next && n < records->count; n++) {
			const struct tlsa *t = &records->items[n];

			if (!is_used_later(job, t) && is_new(old, t))
				tlsa_set_add(old, t);
		}
	}
}

static bool has_next(const struct tlsa_job *job)
{
	for (size_t i = 0; i < job->input_count; i++)
		if (job->inputs[i].is_next)
			return true;
	return false;
}

static void print_wait(const struct tlsa_job *job)
{
	uint32_t ttl = job->ttl ? job->ttl : job->is_nsupdate ? NSUPDATE_TTL : 0;

	fputs("; 2. Wait until every server of the zone has them, and then ", stderr);
	if (ttl)
		fprintf(stderr,
		    "%llu s: twice the TTL of %u s (or\n;    twice that of the records published "
		    "until "
		    "now, where it is longer),\n",
		    2ULL * ttl, ttl);
	else
		fputs("twice the TTL of the records\n;    published until now,\n", stderr);
	fputs(";    so that no cache has the old set alone.\n", stderr);
}

static void print_removal(const struct tlsa_job *job, const struct tlsa *t)
{
	char *owner = tlsa_job_owner(job), *data = tlsa_type_and_data(t, form_of(job));

	fprintf(stderr, ";    %s%s%s %s\n", job->is_nsupdate ? "update delete " : "", owner,
	    job->name[0] ? "." : "", data);
	free(owner);
	free(data);
}

void tlsa_print_steps(const struct tlsa_job *job)
{
	const char *host = job->name[0] ? job->name : "HOST";
	struct tlsa_set old = {0};

	if (!has_next(job))
		return;
	find_old(job, &old);
	if (old.count == 0) {
		fputs(
		    "; The records stay the same: nothing has to be published before the change.\n",
		    stderr);
		return;
	}
	fprintf(stderr,
	    "; Roll-over, from %s to what comes after it (RFC 7671 8.1):\n"
	    "; 1. Publish all of these records beside each other.\n",
	    job->inputs[0].label);
	print_wait(job);
	fprintf(stderr,
	    "; 3. Let the server use the next certificate and key, and see that it does:\n"
	    ";    danelaw check %s\n"
	    "; 4. Only then take away:\n",
	    host);
	for (size_t i = 0; i < old.count; i++)
		print_removal(job, &old.items[i]);
	tlsa_set_release(&old);
}
