/*
 * explain_trace.c - the lookups of one recipient, and how a person repeats them with the tools that
 * every system has. Pure; see explain.h.
 */
#include "proxy/command/explain.h"

#include "conf/conf.h"
#include "conf/mem.h"
#include "tls/tlsa.h"
#include "tls/tlsa_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 6, ONE = DOMAIN_SIZE + 16 };

/* ---- lookups ---- */

/* Record i of an answer in words. */
static void tell_record(const struct dns_answer *answer, size_t i, char out[ONE])
{
	char text[ADDR_TEXT], brief[TLSA_TEXT];

	switch (answer->type) {
	case DNS_A:
	case DNS_AAAA:
		snprintf(out, ONE, "%s", addr_ip(&answer->addresses[i], text));
		break;
	case DNS_MX:
		snprintf(out, ONE, "%u %s", answer->mx[i].preference,
		    answer->mx[i].exchange[0] ? answer->mx[i].exchange : ".");
		break;
	case DNS_CNAME:
		snprintf(out, ONE, "%s", answer->names[i]);
		break;
	case DNS_TXT:
		snprintf(out, ONE, "%.*s", (int)answer->text[i].len, answer->text[i].data);
		break;
	case DNS_TLSA: {
		const struct dns_tlsa *t = &answer->tlsa[i];
		struct tlsa record = {t->usage, t->selector, t->matching, t->len, t->data};

		snprintf(out, ONE, "%s", tlsa_brief(&record, brief));
		break;
	}
	default:
		out[0] = '\0';
	}
}

static char *tell_records(const struct dns_answer *answer)
{
	char text[SHOWN * (ONE + 2) + 32] = "";
	size_t len = 0;

	for (size_t i = 0; i < answer->count && i < SHOWN; i++) {
		char one[ONE];

		tell_record(answer, i, one);
		len +=
		    (size_t)snprintf(text + len, sizeof text - len, "%s%s", i > 0 ? ", " : "", one);
	}
	if (answer->count > SHOWN)
		snprintf(text + len, sizeof text - len, " and %zu more", answer->count - SHOWN);
	return mem_strdup(text);
}

void trace_add(struct trace *trace, const struct dns_answer *answer, double seconds)
{
	bool is_alias = strcmp(answer->name, answer->question) != 0;

	if (trace->count == TRACE_MAX)
		return;
	trace->rows = mem_resize(trace->rows, trace->count + 1, sizeof *trace->rows);
	trace->rows[trace->count++] = (struct trace_row){
	    .type = answer->type,
	    .state = answer->state,
	    .is_bogus = answer->bogus,
	    .is_missing = answer->nxdomain,
	    .ttl = answer->ttl,
	    .count = answer->count,
	    .seconds = seconds,
	    .name = mem_strdup(answer->question),
	    .end = is_alias && answer->state != DNS_FAILED ? mem_strdup(answer->name) : NULL,
	    .data = tell_records(answer),
	    .why = mem_strdup(answer->why),
	};
}

void trace_release(struct trace *trace)
{
	for (size_t i = 0; i < trace->count; i++) {
		free(trace->rows[i].name);
		free(trace->rows[i].end);
		free(trace->rows[i].data);
		free(trace->rows[i].why);
	}
	free(trace->rows);
	*trace = (struct trace){0};
}

/* ---- commands ---- */

/* The server that this name would be asked of; "" is the tool's own choice. malloc'd. */
static char *server_of(const struct conf *conf, const char *name)
{
	const struct conf_dns_view *best = &conf->dns.views[0];
	char ip[ADDR_TEXT];

	for (size_t i = 1; i < conf->dns.view_count; i++) {
		const struct conf_dns_view *view = &conf->dns.views[i];

		if ((!strcmp(name, view->name) || domain_is_below(name, view->name)) &&
		    strlen(view->name) > strlen(best->name))
			best = view;
	}
	if (best->forward.count == 0)
		return mem_strdup("");
	addr_ip(&best->forward.items[0], ip);
	return mem_printf("@%s -p %u ", ip, addr_port(&best->forward.items[0]));
}

/* delv validates on its own; what fails there shows with dig's +cd. */
char *explain_lookup_command(const struct conf *conf, const struct trace_row *row)
{
	char *server = server_of(conf, row->name), *command;
	const char *type = dns_type_name(row->type);

	if (row->state == DNS_FAILED)
		command = mem_printf("dig +dnssec +cd %s%s %s", server, row->name, type);
	else
		command = mem_printf("delv %s%s %s", server, row->name, type);
	free(server);
	return command;
}

static void append(char **text, char *more)
{
	char *joined = mem_printf("%s%s", *text, more);

	free(*text);
	free(more);
	*text = joined;
}

static void append_demand(char **command, const struct conf *conf, const struct tls_rule *rule)
{
	if (rule->need == TLS_PKIX)
		append(command, mem_printf(" -CAfile '%s' -verify_hostname %s -verify_return_error",
				    conf->tls.ca_file, rule->names[0]));
	if (rule->need != TLS_DANE)
		return;
	append(command, mem_printf(" -dane_tlsa_domain %s -dane_ee_no_namechecks "
				   "-verify_return_error",
			    rule->names[0]));
	for (size_t i = 0; i < rule->tlsa.count; i++) {
		char *record = tlsa_type_and_data(&rule->tlsa.items[i], TLSA_PLAIN);

		append(command, mem_printf(" -dane_tlsa_rrdata '%s'", record + strlen("TLSA ")));
		free(record);
	}
}

/* NULL: no policy was in question. */
char *explain_fetch_command(const struct approach_result *result)
{
	const struct route *route = result->route;

	if (!route || route->sts_mode == STS_MODE_NONE)
		return NULL;
	return mem_printf("curl -v https://mta-sts.%s/.well-known/mta-sts.txt", route->sts_domain);
}

char *explain_tls_command(const struct conf *conf, const struct approach_result *result)
{
	const struct tls_rule *rule = &result->route->rule;
	char address[ADDR_TEXT], *command;

	/* [192.0.2.1]:25 is what the log shows; openssl takes brackets for IPv6 alone. */
	addr_ip(&result->address, address);
	command = mem_printf(result->address.sa.sa_family == AF_INET6
				 ? "openssl s_client -starttls smtp -connect '[%s]:%u'"
				 : "openssl s_client -starttls smtp -connect %s:%u",
	    address, addr_port(&result->address));
	if (rule->sni[0])
		append(&command, mem_printf(" -servername %s", rule->sni));
	append_demand(&command, conf, rule);
	return command;
}
