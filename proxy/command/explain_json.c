/*
 * explain_json.c - an explanation for programs: packaging/explain.schema.json describes it. Keys
 * are added, never renamed; what is not known is null.
 */
#include "proxy/command/explain.h"

#include "conf/conf.h"
#include "conf/mem.h"
#include "proxy/command/json_text.h"
#include "proxy/version.h"

#include <stdlib.h>

enum { FORMAT = 1 };

static json_t *taken_text(char *text)
{
	json_t *value = json_text(text);

	free(text);
	return value;
}

static json_t *lookup_json(const struct conf *conf, const struct trace_row *row)
{
	json_t *object = json_object();

	json_put(object, "type", json_string(dns_type_name(row->type)));
	json_put(object, "name", json_text(row->name));
	json_put(object, "state", json_string(dns_state_name(row->state)));
	json_put(object, "bogus", json_boolean(row->is_bogus));
	json_put(object, "exists", json_boolean(!row->is_missing));
	json_put(object, "ttl", json_integer(row->ttl));
	json_put(object, "ms", json_integer((json_int_t)(row->seconds * 1000 + 0.5)));
	json_put(object, "count", json_integer((json_int_t)row->count));
	json_put(object, "alias_of", json_text(row->end));
	json_put(object, "data", json_text(row->data));
	json_put(object, "error", json_text(row->why));
	json_put(object, "command", taken_text(explain_lookup_command(conf, row)));
	return object;
}

static json_t *settings_json(const struct destination *destination)
{
	const struct conf_policy *conf;
	json_t *object;

	if (!destination)
		return json_null();
	conf = destination->conf;
	object = json_object();
	json_put(object, "level", json_string(conf_level_name(conf->level)));
	json_put(object, "insecure_mx", json_string(conf_level_name(conf->insecure_mx)));
	json_put(object, "mta_sts", json_boolean(conf->mta_sts));
	json_put(object, "fallback", json_string(conf_level_name(conf->fallback)));
	json_put(object, "enforce", json_boolean(conf->enforce));
	json_put(object, "next_hop", json_text(conf->next_hop.set ? destination->next_hop : ""));
	json_put(object, "exception",
	    json_text(destination->exception ? destination->exception->name : ""));
	json_put(object, "exception_reason",
	    json_text(destination->exception ? destination->exception->reason : ""));
	return object;
}

static json_t *strings_json(const char (*names)[DOMAIN_SIZE], size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_text(names[i]));
	return array;
}

static json_t *records_json(const struct tlsa_set *set)
{
	json_t *array = json_array();

	for (size_t i = 0; i < set->count; i++) {
		char brief[TLSA_TEXT];

		json_array_append_new(array, json_string(tlsa_brief(&set->items[i], brief)));
	}
	return array;
}

static json_t *decision_json(const struct explain *explain)
{
	static const char *const needs[] = {[TLS_NONE] = "none",
	    [TLS_MAY] = "may",
	    [TLS_ENCRYPT] = "encrypt",
	    [TLS_PKIX] = "pkix",
	    [TLS_DANE] = "dane"};
	const struct route *route = explain->result.route;
	json_t *object;

	if (!route)
		return json_null();
	object = json_object();
	json_put(object, "host", json_text(route->host));
	json_put(object, "preference", json_integer(route->preference));
	json_put(object, "policy", json_string(route->policy_label));
	json_put(object, "mx_state", json_string(dns_state_name(route->mx_state)));
	json_put(object, "need",
	    route->verdict == POLICY_CONNECT ? json_string(needs[route->rule.need]) : json_null());
	json_put(object, "tlsa_base", json_text(route->tlsa_base));
	json_put(object, "tlsa", records_json(&route->rule.tlsa));
	json_put(object, "names", strings_json(route->rule.names, route->rule.name_count));
	json_put(object, "sts_mode", json_string(sts_mode_name(route->sts_mode)));
	json_put(object, "fetch_command", taken_text(explain_fetch_command(&explain->result)));
	json_put(object, "command",
	    explain->result.has_address
		? taken_text(explain_tls_command(explain->conf, &explain->result))
		: json_null());
	return object;
}

static json_t *connection_json(const struct explain *explain)
{
	json_t *object;
	char text[ADDR_TEXT];

	if (!explain->is_ready)
		return json_null();
	object = json_object();
	json_put(object, "address", json_string(addr_ip(&explain->result.address, text)));
	json_put(object, "port", json_integer(addr_port(&explain->result.address)));
	json_put(object, "encrypted", json_boolean(explain->is_encrypted));
	json_put(object, "protocol", json_text(explain->proof.protocol));
	json_put(object, "cipher", json_text(explain->proof.cipher));
	json_put(object, "tlsa", json_text(explain->proof.matched));
	return object;
}

static json_t *reply_json(const struct outcome *outcome)
{
	if (!outcome->code)
		return json_null();
	return taken_text(mem_printf("%d %s", outcome->code, outcome->text));
}

static json_t *code_json(enum reason reason)
{
	return reason == REASON_NONE ? json_null() : json_string(reason_code(reason));
}

static void put_advice(json_t *document, const struct explain *explain)
{
	struct check_words words;

	explain_words(explain, &words);
	json_put(document, "advice", json_text(words.advice));
	check_words_release(&words);
}

void explain_print_json(FILE *out, const struct explain *explain)
{
	json_t *document = json_object(), *lookups = json_array();

	for (size_t i = 0; i < explain->trace.count; i++)
		json_array_append_new(lookups, lookup_json(explain->conf, &explain->trace.rows[i]));
	json_put(document, "format", json_integer(FORMAT));
	json_put(document, "danelaw", json_text(danelaw_version));
	json_put(document, "exit_code", json_integer((int)explain->verdict));
	json_put(document, "address", json_text(explain->given));
	json_put(document, "result", json_string(check_result_name(explain->verdict)));
	json_put(document, "reply", reply_json(&explain->outcome));
	json_put(document, "reason", code_json(explain->outcome.reason));
	put_advice(document, explain);
	json_put(document, "would_refuse", code_json(explain->result.would_refuse));
	json_put(document, "settings", settings_json(explain->result.destination));
	json_put(document, "decision", decision_json(explain));
	json_put(document, "connection", connection_json(explain));
	json_put(document, "lookups", lookups);
	json_print(out, document);
}
