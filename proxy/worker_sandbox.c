/*
 * worker_sandbox.c - see worker_sandbox.h.
 *
 * Files: state_dir, where the worker writes mail that it takes and its children the rest; and what
 * is read again while serving. TCP: mail hosts at port 25 and where the configuration says
 * otherwise, DNS, and HTTPS for the policies of MTA-STS (R-NET-18).
 */
#include "proxy/worker_sandbox.h"

#include "conf/conf.h"
#include "conf/sandbox.h"
#include "dnsval/anchor.h"
#include "dnsval/context.h"

enum { SMTP_PORT = 25, HTTPS_PORT = 443 };

static void let_files(struct sandbox *sandbox, const struct conf *conf)
{
	if (conf->server.state_dir[0])
		sandbox_let_write(sandbox, conf->server.state_dir);
	if (conf->tls.ca_file[0])
		sandbox_let_read_anew(sandbox, conf->tls.ca_file);
	anchors_let_in(sandbox, conf);
}

static void let_next_hop(struct sandbox *sandbox, const struct conf_policy *policy)
{
	const struct conf_next_hop *next_hop = &policy->next_hop;

	if (next_hop->set)
		sandbox_let_connect(
		    sandbox, next_hop->is_address ? addr_port(&next_hop->address) : next_hop->port);
}

static void let_listener(struct sandbox *sandbox, const struct conf_listener *listener)
{
	for (size_t i = 0; i < listener->passthrough.count; i++)
		sandbox_let_connect(sandbox, addr_port(&listener->passthrough.items[i]));
	if (listener->preserve_source)
		sandbox_let_bind_any_port(sandbox);
}

static void let_ports(struct sandbox *sandbox, const struct conf *conf)
{
	sandbox_let_connect(sandbox, SMTP_PORT);
	sandbox_let_connect(sandbox, HTTPS_PORT);
	let_next_hop(sandbox, &conf->policy);
	for (size_t i = 0; i < conf->domain_count; i++)
		let_next_hop(sandbox, &conf->domains[i].policy);
	for (size_t i = 0; i < conf->listener_count; i++)
		let_listener(sandbox, &conf->listeners[i]);
}

bool worker_sandbox_enter(const struct conf *conf, char **error)
{
	struct sandbox *sandbox = sandbox_new(SANDBOX_WORKER);

	let_files(sandbox, conf);
	let_ports(sandbox, conf);
	context_let_in(sandbox, conf);
	return sandbox_enter(&sandbox, error);
}
