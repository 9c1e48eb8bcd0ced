/*
 * check_json.c - a check for programs: packaging/check.schema.json describes it. Keys are added,
 * never renamed; what is not known is null.
 */
#include "proxy/command/check_print.h"

#include "conf/mem.h"
#include "proxy/command/check_keys.h"
#include "proxy/command/json_text.h"
#include "proxy/version.h"
#include "tls/tlsa_make.h"

#include <stdlib.h>
#include <string.h>

enum { FORMAT = 1 };

/* ---- small things ---- */

static json_t *reason_json(enum reason reason)
{
	return reason == REASON_NONE ? json_null() : json_string(reason_code(reason));
}

static json_t *texts_json(char *const *texts, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_text(texts[i]));
	return array;
}

/* Of lines, an array. */
static json_t *lines_json(const char *lines)
{
	json_t *array = json_array();

	while (lines && *lines) {
		size_t len = strcspn(lines, "\n");

		json_array_append_new(array, json_stringn(lines, len));
		lines += len + (lines[len] != '\0');
	}
	return array;
}

static json_t *date_json(time_t when)
{
	char text[sizeof "2027-01-31T00:00:00Z"];
	struct tm tm;

	if (!gmtime_r(&when, &tm) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return json_null();
	return json_string(text);
}

static void put_verdict_of(
    json_t *object, const char *key, const struct check *check, const struct check_verdict *verdict)
{
	struct check_words words;
	json_t *v = json_object();

	check_explain(check, &verdict->refusal, &words);

	json_put(v, "result", json_string(check_result_name(verdict->result)));
	json_put(v, "encrypted",
	    json_boolean(verdict->is_encrypted || verdict->result == CHECK_AUTHENTICATED));
	json_put(v, "assumed", json_boolean(verdict->is_assumed));
	json_put(v, "policy", json_text(verdict->policy));
	json_put(v, "reason", reason_json(verdict->refusal.reason));
	json_put(v, "text", json_text(verdict->refusal.reason ? verdict->refusal.text : ""));
	json_put(v, "advice", json_text(words.advice));
	json_put(v, "would_refuse", reason_json(verdict->would_refuse));
	json_put(object, key, v);
	check_words_release(&words);
}

/* ---- a host ---- */

static json_t *addresses_json(const struct dns_answer *answer)
{
	json_t *object, *array = json_array();

	if (!answer) {
		json_decref(array);
		return json_null();
	}
	object = json_object();
	for (size_t i = 0; i < answer->count; i++) {
		char text[ADDR_TEXT];

		json_array_append_new(array, json_string(addr_ip(&answer->addresses[i], text)));
	}
	json_put(object, "state", json_string(dns_state_name(answer->state)));
	json_put(object, "ttl", json_integer(answer->ttl));
	json_put(object, "error", json_text(answer->why));
	json_put(object, "records", array);
	return object;
}

static json_t *record_json(const struct check_host *host, const struct tlsa *record)
{
	json_t *object = json_object();
	char *whole = tlsa_type_and_data(record, TLSA_PLAIN), *data = strrchr(whole, ' ');

	json_put(object, "usage", json_integer(record->usage));
	json_put(object, "selector", json_integer(record->selector));
	json_put(object, "matching", json_integer(record->matching));
	json_put(object, "data", json_string(data + 1));
	json_put(object, "usable", json_boolean(tlsa_is_usable(record)));
	json_put(object, "fits",
	    check_has_keys(host) ? json_boolean(check_is_live(host, record)) : json_null());
	free(whole);
	return object;
}

static json_t *tlsa_json(const struct check_host *host)
{
	json_t *object, *array;
	struct tlsa record;

	if (!host->tlsa)
		return json_null();
	object = json_object();
	array = json_array();
	for (size_t i = 0; check_record(host, i, &record); i++)
		json_array_append_new(array, record_json(host, &record));
	json_put(object, "owner", json_text(host->tlsa_owner));
	json_put(object, "state", json_string(dns_state_name(host->tlsa->state)));
	json_put(object, "ttl", json_integer(host->tlsa->ttl));
	json_put(object, "error", json_text(host->tlsa->why));
	json_put(object, "records", array);
	return object;
}

static json_t *certificate_json(const struct tls_certificate *c)
{
	json_t *object = json_object();

	json_put(object, "subject", json_text(c->subject));
	json_put(object, "issuer", json_text(c->issuer));
	json_put(object, "names", texts_json(c->names, c->name_count));
	json_put(object, "not_before", date_json(c->not_before));
	json_put(object, "not_after", date_json(c->not_after));
	json_put(object, "key", json_text(c->key));
	json_put(object, "key_sha256", json_text(c->key_digest));
	json_put(object, "ca", json_boolean(c->is_ca));
	return object;
}

static json_t *key_json(const struct check_host *host, const struct check_key *key)
{
	json_t *object = json_object(), *chain = json_array();
	struct tlsa_set set = {0};
	char *line = NULL;

	for (size_t i = 0; i < key->chain.count; i++)
		json_array_append_new(chain, certificate_json(&key->chain.items[i]));
	if (host->tlsa_owner[0] && tls_certificate_record(&key->chain.items[0], 3, 1, 1, &set))
		line = tlsa_zone_line(&set.items[0], TLSA_PLAIN, host->tlsa_owner, 0);
	json_put(object, "protocol", json_text(key->proof.protocol));
	json_put(object, "cipher", json_text(key->proof.cipher));
	json_put(object, "chain", chain);
	json_put(object, "ca_check", json_text(key->proof.report));
	json_put(object, "tlsa_record", json_text(line));
	free(line);
	tlsa_set_release(&set);
	return object;
}

static json_t *address_json(const struct check_host *host, const struct check_address *address)
{
	static const char *const outcomes[] = {
	    [CHECK_NOT_TRIED] = "not-tried", [CHECK_READY] = "ready", [CHECK_FAILED] = "failed"};
	json_t *object = json_object(), *keys = json_array();
	char text[ADDR_TEXT];

	for (size_t i = 0; i < address->key_count; i++)
		json_array_append_new(keys, key_json(host, &address->keys[i]));
	json_put(object, "address", json_string(addr_ip(&address->address, text)));
	json_put(object, "port", json_integer(addr_port(&address->address)));
	json_put(object, "outcome", json_string(outcomes[address->outcome]));
	json_put(object, "encrypted", json_boolean(address->is_encrypted));
	json_put(object, "verified", json_boolean(address->is_verified));
	json_put(object, "protocol", json_text(address->proof.protocol));
	json_put(object, "cipher", json_text(address->proof.cipher));
	json_put(object, "tlsa", json_text(address->proof.matched));
	json_put(object, "reason", reason_json(address->refusal.reason));
	json_put(object, "text", json_text(address->refusal.text));
	json_put(
	    object, "tls_failure", json_text(address->went_clear ? address->tls_failure.text : ""));
	json_put(object, "certificates", keys);
	return object;
}

static json_t *host_json(const struct check *check, size_t index)
{
	const struct check_host *host = &check->hosts[index];
	struct check_verdict verdict = check_judge_host(check, index);
	json_t *object = json_object(), *addresses = json_array();

	for (size_t i = 0; i < host->address_count; i++)
		json_array_append_new(addresses, address_json(host, &host->addresses[i]));
	json_put(object, "name", json_text(host->route->host));
	json_put(object, "preference", json_integer(host->route->preference));
	json_put(object, "port", json_integer(host->route->port));
	put_verdict_of(object, "verdict", check, &verdict);
	json_put(object, "a", addresses_json(host->a));
	json_put(object, "aaaa", addresses_json(host->aaaa));
	json_put(object, "tlsa", tlsa_json(host));
	json_put(object, "addresses", addresses);
	return object;
}

/* ---- the domain ---- */

static json_t *mx_json(const struct check *check)
{
	const struct destination *destination = check->destination;
	json_t *object;

	if (!destination)
		return json_null();
	object = json_object();
	json_put(object, "state", json_string(dns_state_name(destination->mx_state)));
	json_put(object, "ttl", json_integer(check->mx_ttl));
	json_put(object, "implicit", json_boolean(!destination->is_mx && !destination->is_fixed));
	json_put(object, "fixed", json_boolean(destination->is_fixed));
	return object;
}

static json_t *policy_json(const struct sts_answer *answer)
{
	json_t *object;

	if (!answer || answer->state != STS_POLICY)
		return json_null();
	object = json_object();
	json_put(object, "mode", json_string(sts_mode_name(answer->policy.mode)));
	json_put(object, "max_age", json_integer(answer->policy.max_age));
	json_put(object, "mx", texts_json(answer->policy.mx, answer->policy.mx_count));
	return object;
}

static json_t *txt_json(const struct check_txt *txt)
{
	json_t *object;

	if (!txt->was_asked)
		return json_null();
	object = json_object();
	json_put(object, "state", json_string(dns_state_name(txt->state)));
	json_put(object, "ttl", json_integer(txt->ttl));
	json_put(object, "error", json_text(txt->why));
	json_put(object, "records", texts_json(txt->texts, txt->count));
	return object;
}

static json_t *sts_json(const struct check_sts *sts)
{
	json_t *object = txt_json(&sts->txt);

	if (json_is_null(object))
		return object;
	json_put(object, "id", json_text(sts->record == STS_RECORD_VALID ? sts->id : ""));
	json_put(object, "policy", policy_json(sts->answer));
	json_put(object, "notice", json_text(sts->answer ? sts->answer->notice.text : ""));
	return object;
}

static json_t *finding_json(const struct check_finding *finding)
{
	json_t *object = json_object();

	json_put(object, "code", json_string(finding->code));
	json_put(object, "severity", json_string(check_severity_name(finding->severity)));
	json_put(object, "host", json_text(finding->host));
	json_put(object, "text", json_text(finding->text));
	json_put(object, "wrong", lines_json(finding->wrong));
	json_put(object, "right", lines_json(finding->right));
	return object;
}

json_t *check_json(const struct check *check, const struct check_verdict *verdict,
    const struct check_findings *findings)
{
	json_t *object = json_object(), *hosts = json_array(), *found = json_array();

	for (size_t i = 0; i < check->host_count; i++)
		json_array_append_new(hosts, host_json(check, i));
	for (size_t i = 0; i < findings->count; i++)
		json_array_append_new(found, finding_json(&findings->items[i]));
	json_put(object, "given", json_text(check->given));
	json_put(object, "name", json_text(check->name));
	put_verdict_of(object, "verdict", check, verdict);
	json_put(object, "findings", found);
	json_put(object, "exception",
	    json_text(check->destination && check->destination->exception
			  ? check->destination->exception->name
			  : ""));
	json_put(object, "mx", mx_json(check));
	json_put(object, "hosts", hosts);
	json_put(object, "mta_sts", sts_json(&check->sts));
	json_put(object, "tlsrpt", txt_json(&check->tlsrpt));
	return object;
}

void check_print_json(FILE *out, json_t *results, int exit_code)
{
	json_t *document = json_object();

	json_put(document, "format", json_integer(FORMAT));
	json_put(document, "danelaw", json_text(danelaw_version));
	json_put(document, "exit_code", json_integer(exit_code));
	json_put(document, "results", results);
	json_print(out, document);
}
