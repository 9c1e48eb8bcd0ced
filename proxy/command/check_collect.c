/*
 * check_collect.c - everything that can be found out about one name.
 *
 *     destination -> MX, MTA-STS, TLSRPT
 *                 -> route by route -> A, AAAA -> TLSA, and a probe of each address
 *
 * What mail would do comes from policy/; the further questions only show more than a decision
 * needs, above all TLSA records that no sender may use. They are repetitions mostly, which the
 * resolver's cache answers. The run ends when nothing is outstanding any more.
 */
#include "proxy/command/check.h"

#include "conf/mem.h"
#include "dnsval/resolver.h"
#include "policy/answers.h"
#include "proxy/machine.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char sts_prefix[] = "v=STS";
static const char tlsrpt_prefix[] = "v=TLSRPT";

struct collection;

/* For callbacks that speak of one host. */
struct seat {
	struct collection *run;
	size_t host;
};

struct collection {
	struct machine *machine;
	struct check *check;
	check_fn *callback;
	void *arg;
	size_t outstanding;
	struct seat *seats;
	ev_timer turn; /* not a name: nothing to ask */
};

static void finish(struct collection *run)
{
	check_fn *callback = run->callback;
	struct check *check = run->check;
	void *arg = run->arg;

	ev_timer_stop(run->machine->proxy.loop, &run->turn);
	free(run->seats);
	free(run);
	callback(check, arg);
}

/* The last thing that a callback does. */
static void done(struct collection *run)
{
	if (--run->outstanding == 0)
		finish(run);
}

static void ask(
    struct collection *run, const char *name, enum dns_type type, dns_query_fn *heard, void *arg)
{
	run->outstanding++;
	dns_query_start(run->machine->resolver, name, type, heard, arg);
}

/* ---- of the domain: TTL of the MX, MTA-STS, TLSRPT ---- */

static void on_mx(const struct dns_answer *answer, void *arg)
{
	struct collection *run = arg;

	run->check->mx_ttl = answer->ttl;
	done(run);
}

static void take_txt(struct check_txt *txt, const struct dns_answer *answer, const char *prefix)
{
	txt->was_asked = true;
	txt->state = answer->state;
	txt->ttl = answer->ttl;
	snprintf(txt->why, sizeof txt->why, "%s", answer->why);
	if (answer->count == 0)
		return;
	txt->texts = mem_zero(answer->count, sizeof *txt->texts);
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_text *text = &answer->text[i];

		if (text->len >= strlen(prefix) && !memcmp(text->data, prefix, strlen(prefix)))
			txt->texts[txt->count++] = mem_strndup(text->data, text->len);
	}
}

static void on_tlsrpt(const struct dns_answer *answer, void *arg)
{
	struct collection *run = arg;

	take_txt(&run->check->tlsrpt, answer, tlsrpt_prefix);
	done(run);
}

static void on_sts_record(const struct dns_answer *answer, void *arg)
{
	struct collection *run = arg;
	struct check_sts *sts = &run->check->sts;

	take_txt(&sts->txt, answer, sts_prefix);
	if (answer->state != DNS_FAILED)
		sts->record = sts_record_parse(answer, sts->id, &sts->why);
	done(run);
}

static void on_sts(struct sts_answer *answer, void *arg)
{
	struct collection *run = arg;

	run->check->sts.answer = answer;
	done(run);
}

static void ask_below(
    struct collection *run, const char *prefix, const char *domain, dns_query_fn *heard)
{
	char owner[DOMAIN_SIZE + 16];

	if (snprintf(owner, sizeof owner, "%s.%s", prefix, domain) <= DOMAIN_MAX)
		ask(run, owner, DNS_TXT, heard, run);
}

static void ask_about_domain(struct collection *run)
{
	const struct destination *destination = run->check->destination;

	if (!destination->is_fixed)
		ask(run, destination->next_hop, DNS_MX, on_mx, run);
	if (!destination->next_hop[0] || run->check->options.is_host)
		return;
	ask_below(run, "_mta-sts", destination->next_hop, on_sts_record);
	ask_below(run, "_smtp._tls", destination->next_hop, on_tlsrpt);
	run->outstanding++;
	sts_lookup_start(run->machine->mtasts, destination->next_hop, on_sts, run);
}

/* ---- of a host: addresses, TLSA, probes ---- */

static struct check_host *host_of(const struct seat *seat)
{
	return &seat->run->check->hosts[seat->host];
}

static void on_tlsa(const struct dns_answer *answer, void *arg)
{
	struct seat *seat = arg;

	host_of(seat)->tlsa = answer_keep(answer);
	done(seat->run);
}

static void ask_tlsa(struct seat *seat)
{
	struct check_host *host = host_of(seat);
	const struct route *route = host->route;

	snprintf(host->tlsa_owner, sizeof host->tlsa_owner, "_%u._tcp.%s", route->port,
	    route->tlsa_base[0] ? route->tlsa_base : route->host);
	ask(seat->run, host->tlsa_owner, DNS_TLSA, on_tlsa, seat);
}

static void on_probed(void *arg)
{
	struct collection *run = arg;

	done(run);
}

static bool is_listed(const struct check_host *host, const struct addr *address)
{
	for (size_t i = 0; i < host->address_count; i++)
		if (addr_equal_ip(&host->addresses[i].address, address))
			return true;
	return false;
}

static void add_address(struct check_host *host, const struct addr *address)
{
	struct check_address *added;

	if (is_listed(host, address))
		return;
	added = &host->addresses[host->address_count++];
	added->address = *address;
	addr_set_port(&added->address, host->route->port);
}

/* Those that mail would try come first, in its order; then the others, which it must not. */
static void list_addresses(struct check_host *host)
{
	const struct route *route = host->route;
	size_t others = host->a ? host->a->count + host->aaaa->count : 0;

	host->addresses = mem_zero(route->address_count + others + 1, sizeof *host->addresses);
	for (size_t i = 0; i < route->address_count; i++)
		add_address(host, &route->addresses[i]);
	for (size_t i = 0; host->a && i < host->aaaa->count; i++)
		add_address(host, &host->aaaa->addresses[i]);
	for (size_t i = 0; host->a && i < host->a->count; i++)
		add_address(host, &host->a->addresses[i]);
}

static bool is_wanted(const struct check_options *options, const struct addr *address)
{
	return !options->no_connect &&
	       (options->family == AF_UNSPEC || options->family == address->sa.sa_family);
}

static void probe_addresses(struct collection *run, struct check_host *host)
{
	const struct check_options *options = &run->check->options;

	list_addresses(host);
	if (host->route->verdict != POLICY_CONNECT)
		return;
	for (size_t i = 0; i < host->route->address_count; i++) {
		struct check_address *address = &host->addresses[i];

		if (!is_wanted(options, &address->address))
			continue;
		run->outstanding++;
		check_probe_start(run->machine, host->route, options, address, on_probed, run);
	}
}

static void on_address(const struct dns_answer *answer, void *arg)
{
	struct seat *seat = arg;
	struct check_host *host = host_of(seat);

	*(answer->type == DNS_A ? &host->a : &host->aaaa) = answer_keep(answer);
	if (host->a && host->aaaa) {
		if (host->a->count + host->aaaa->count > 0)
			ask_tlsa(seat);
		probe_addresses(seat->run, host);
	}
	done(seat->run);
}

static void ask_route(struct collection *run, size_t index);

static void on_route(const struct route *route, void *arg)
{
	struct seat *seat = arg;
	struct collection *run = seat->run;

	host_of(seat)->route = route;
	if (route->host[0]) {
		ask(run, route->host, DNS_AAAA, on_address, seat);
		ask(run, route->host, DNS_A, on_address, seat);
	} else {
		probe_addresses(run, host_of(seat));
	}
	ask_route(run, seat->host + 1);
	done(run);
}

/* A destination has one route lookup at a time. */
static void ask_route(struct collection *run, size_t index)
{
	struct check *check = run->check;

	if (index == check->host_count)
		return;
	run->outstanding++;
	route_lookup_start(
	    run->machine->proxy.policy, check->destination, index, on_route, &run->seats[index]);
}

/* ---- from the name to its hosts ---- */

/* Mail takes equal preferences in random order; two runs of check should show the same. */
static int compare_hosts(const void *left, const void *right)
{
	const struct destination_host *a = left, *b = right;

	return a->preference != b->preference ? a->preference - b->preference
					      : strcmp(a->name, b->name);
}

static void take_hosts(struct collection *run)
{
	struct check *check = run->check;
	struct destination *destination = check->destination;

	qsort(
	    destination->hosts, destination->host_count, sizeof *destination->hosts, compare_hosts);
	check->host_count = destination->host_count;
	check->hosts = mem_zero(check->host_count + 1, sizeof *check->hosts);
	run->seats = mem_zero(check->host_count + 1, sizeof *run->seats);
	for (size_t i = 0; i < check->host_count; i++)
		run->seats[i] = (struct seat){run, i};
	ask_route(run, 0);
}

static void on_destination(struct destination *destination, void *arg)
{
	struct collection *run = arg;
	struct check *check = run->check;

	check->destination = destination;
	if (check->options.port)
		destination->port = check->options.port;
	if (destination->verdict == POLICY_CONNECT) {
		ask_about_domain(run);
		take_hosts(run);
	}
	done(run);
}

static bool take_name(struct check *check)
{
	const char *at = strrchr(check->given, '@');
	const char *domain = at ? at + 1 : check->given;
	size_t len = strlen(domain);

	if (len > 1 && domain[len - 1] == '.')
		len--;
	if (domain[0] == '[')
		refusal_set(&check->bad_name, REASON_ADDRESS_LITERAL,
		    "mail to an address in brackets is not carried: give a domain, or the name of "
		    "an MX host");
	else if (!domain_normalize(check->name, domain, len))
		refusal_set(&check->bad_name, REASON_BAD_ADDRESS, "this is no domain name");
	return check->bad_name.reason == REASON_NONE;
}

static void on_no_name(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)events;
	finish(timer->data);
}

static void start(struct collection *run)
{
	struct check *check = run->check;
	struct policy *policy = run->machine->proxy.policy;
	uint16_t port = check->options.port ? check->options.port : 25;

	run->outstanding++;
	if (check->options.is_host)
		destination_lookup_start_host(policy, check->name, port, on_destination, run);
	else
		destination_lookup_start(policy, check->name, on_destination, run);
}

void check_start(struct machine *machine, const char *given, const struct check_options *options,
    check_fn *callback, void *arg)
{
	struct collection *run = mem_zero(1, sizeof *run);

	run->machine = machine;
	run->callback = callback;
	run->arg = arg;
	run->check = mem_zero(1, sizeof *run->check);
	run->check->given = mem_strdup(given);
	run->check->options = *options;
	ev_timer_init(&run->turn, on_no_name, 0., 0.);
	run->turn.data = run;
	if (take_name(run->check))
		start(run);
	else
		ev_timer_start(machine->proxy.loop, &run->turn);
}

/* ---- the end ---- */

static void free_host(struct check_host *host)
{
	for (size_t i = 0; i < host->address_count; i++)
		for (size_t k = 0; k < host->addresses[i].key_count; k++)
			tls_chain_release(&host->addresses[i].keys[k].chain);
	free(host->addresses);
	route_free(&host->route);
	free(host->a);
	free(host->aaaa);
	free(host->tlsa);
}

static void free_txt(struct check_txt *txt)
{
	for (size_t i = 0; i < txt->count; i++)
		free(txt->texts[i]);
	free(txt->texts);
}

void check_free(struct check **check)
{
	struct check *c = *check;

	if (!c)
		return;
	for (size_t i = 0; i < c->host_count; i++)
		free_host(&c->hosts[i]);
	free(c->hosts);
	free_txt(&c->sts.txt);
	free_txt(&c->tlsrpt);
	sts_answer_free(&c->sts.answer);
	destination_free(&c->destination);
	free(c->given);
	free(c);
	*check = NULL;
}
