/*
 * check_probe.c - one address of an MX host, approached as mail would approach it, up to MAIL.
 *
 *     LOOK_MAIL   the route's own rule; where TLS is optional and fails, once more in clear
 *     LOOK_ANY    accepts any certificate: after a failed proof OpenSSL keeps nothing to show
 *     LOOK_OTHER  the same with the other kind of key: a server may have an RSA and an ECDSA one,
 *                 and each sender gets the one that it prefers
 *
 * Only the first says what mail gets. The conversations are smtp_client's, one after the other.
 */
#include "proxy/command/check.h"

#include "conf/mem.h"
#include "proxy/hop.h"
#include "proxy/machine.h"
#include "proxy/smtp/smtp_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum look { LOOK_MAIL, LOOK_ANY, LOOK_OTHER };

struct probe_run {
	struct machine *machine;
	const struct route *route;
	const struct check_options *options;
	struct check_address *address;
	check_probe_fn *callback;
	void *arg;
	enum look look;
	bool in_clear;
	struct smtp_client *client;
};

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg);

static void connect_under(struct probe_run *run, const struct tls_rule *rule)
{
	struct smtp_client_target target = {
	    .host = run->route->host,
	    .address = &run->address->address,
	    .rule = rule,
	    .in_clear = run->in_clear,
	};

	run->client = smtp_client_start(&run->machine->proxy, &target, on_client, run);
}

static void finish(struct probe_run *run)
{
	check_probe_fn *callback = run->callback;
	void *arg = run->arg;

	smtp_client_close(&run->client);
	free(run);
	callback(arg);
}

/* ---- looking at certificates ---- */

static void look(struct probe_run *run, enum look how, enum tls_key_choice key_choice)
{
	const struct route *route = run->route;
	struct tls_rule rule = {
	    .need = TLS_MAY, .min_version = TLS_VERSION_1_0, .key_choice = key_choice};

	memcpy(rule.sni, route->rule.sni[0] ? route->rule.sni : route->host, sizeof rule.sni);
	memcpy(rule.report_name, route->host, sizeof rule.report_name);
	smtp_client_close(&run->client);
	run->look = how;
	run->in_clear = false;
	connect_under(run, &rule);
}

static bool is_known(const struct check_address *address, const struct tls_chain *chain)
{
	for (size_t i = 0; i < address->key_count; i++)
		if (strcmp(address->keys[i].chain.items[0].key_digest,
			chain->items[0].key_digest) == 0)
			return true;
	return false;
}

/* Whether the handshake brought a certificate that we had not seen. */
static bool take_key(struct probe_run *run)
{
	struct check_address *address = run->address;
	const struct tls_proof *proof = smtp_client_proof(run->client);
	struct tls_chain chain = {0};

	smtp_client_chain(run->client, &chain);
	if (!proof || chain.count == 0 || is_known(address, &chain) ||
	    address->key_count == CHECK_KEYS_MAX) {
		tls_chain_release(&chain);
		return false;
	}
	address->keys[address->key_count++] = (struct check_key){chain, *proof};
	return true;
}

static void looked(struct probe_run *run)
{
	bool is_new = take_key(run);
	const struct tls_certificate *leaf =
	    is_new ? &run->address->keys[run->address->key_count - 1].chain.items[0] : NULL;

	if (is_new && run->look == LOOK_ANY)
		look(run, LOOK_OTHER, leaf->is_rsa ? TLS_ONLY_ECDSA : TLS_ONLY_RSA);
	else
		finish(run);
}

/* ---- what mail would get ---- */

static void mail_tried(struct probe_run *run, enum check_outcome outcome)
{
	run->address->outcome = outcome;
	if (run->options->is_quick ||
	    (outcome == CHECK_FAILED && smtp_client_failure(run->client)->stage == STAGE_CONNECT))
		finish(run);
	else
		look(run, LOOK_ANY, TLS_ANY_KEY);
}

static void mail_ready(struct probe_run *run)
{
	struct check_address *address = run->address;
	const struct tls_proof *proof = smtp_client_proof(run->client);

	if (proof)
		address->proof = *proof;
	address->is_encrypted = proof && proof->encrypted;
	address->is_verified = proof && proof->verified && run->route->secures_domain;
	address->went_clear = run->in_clear;
	mail_tried(run, CHECK_READY);
}

static void mail_failed(struct probe_run *run)
{
	struct check_address *address = run->address;
	const struct tls_proof *proof = smtp_client_proof(run->client);
	struct refusal refusal;

	hop_explain(run->route, run->client, &refusal);
	if (smtp_client_failure(run->client)->stage == STAGE_TLS &&
	    run->route->rule.need == TLS_MAY && !run->in_clear) {
		address->tls_failure = refusal;
		smtp_client_close(&run->client);
		run->in_clear = true; /* on a fresh connection (R-TLSSEC-15) */
		connect_under(run, &run->route->rule);
		return;
	}
	if (proof)
		address->proof = *proof;
	address->refusal = refusal;
	mail_tried(run, CHECK_FAILED);
}

/* What danelaw offers its clients says nothing about the host that was dialled. */
static void met_ourselves(struct probe_run *run)
{
	struct check_address *address = run->address;

	address->outcome = CHECK_FAILED;
	address->is_ourselves = true;
	refusal_set(&address->refusal, REASON_CONNECT_FAILED,
	    "%s: this danelaw itself answered, since the rules of this network intercept the "
	    "connection",
	    smtp_client_name(run->client));
	finish(run);
}

static void on_client(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg)
{
	struct probe_run *run = arg;

	(void)reply;
	if (smtp_client_met_ourselves(client))
		met_ourselves(run);
	else if (run->look != LOOK_MAIL)
		looked(run);
	else if (event == CLIENT_READY)
		mail_ready(run);
	else if (event == CLIENT_FAILED)
		mail_failed(run);
}

void check_probe_start(struct machine *machine, const struct route *route,
    const struct check_options *options, struct check_address *address, check_probe_fn *callback,
    void *arg)
{
	struct probe_run *run = mem_zero(1, sizeof *run);

	run->machine = machine;
	run->route = route;
	run->options = options;
	run->address = address;
	run->callback = callback;
	run->arg = arg;
	connect_under(run, &route->rule);
}
