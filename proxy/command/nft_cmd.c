/*
 * nft_cmd.c - danelaw nft: its options, and whether there is anything to print rules for.
 */
#include "proxy/command/nft_cmd.h"

#include "conf/conf.h"
#include "proxy/command/nft_ranges.h"
#include "proxy/command/nft_rules.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char usage[] =
    "danelaw nft [-c FILE] [-o section.key=value] [--fail open|closed] [--routing]\n"
    "\n"
    "Prints rules for nftables that hand port 25 to the listeners with intercept = redirect or\n"
    "tproxy. It changes nothing itself:\n"
    "\n"
    "  danelaw nft | nft -f -             load the rules, or load them anew\n"
    "  danelaw nft --routing | sh         for tproxy: policy routing\n"
    "  danelaw nft --routing | sh -s undo\n"
    "  nft delete table inet danelaw      remove them\n"
    "\n"
    "  --fail closed    default: while danelaw does not run, connections that it would have\n"
    "                   taken are refused; mail waits where it is\n"
    "  --fail open      they pass, to wherever the client meant, unprotected\n"
    "  --routing        the routing commands alone, as a shell script\n"
    "\n"
    "exit: 0 fine; 64 usage; 78 configuration, also without an intercepting listener\n";

static const char advice[] = "danelaw nft: no listener intercepts; write one such as\n"
			     "\n"
			     "  [listener transparent]\n"
			     "  listen = 0.0.0.0:2526 [::]:2526\n"
			     "  intercept = redirect\n"
			     "  clients = 10.0.0.0/8\n"
			     "\n"
			     "with the addresses whose port 25 is to be taken as clients\n";

struct request {
	struct nft_choice choice;
	bool routing;
};

static bool take_fail(struct request *request, const char *word)
{
	request->choice.fail_open = !strcmp(word, "open");
	if (request->choice.fail_open || !strcmp(word, "closed"))
		return true;
	fprintf(stderr, "danelaw nft: --fail %s: open or closed\ntry: danelaw nft --help\n", word);
	return false;
}

static int read_options(struct command_line *line, struct request *request)
{
	static const struct option longs[] = {{"fail", required_argument, NULL, 'f'},
	    {"routing", no_argument, NULL, 'r'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	int option;

	while ((option = command_line_next(line, "", longs)) != -1) {
		if (option == 'h' || option == '?')
			return option;
		if (option == 'r')
			request->routing = true;
		else if (!take_fail(request, optarg))
			return '?';
	}
	if (optind < line->argc) {
		fprintf(stderr, "danelaw nft: %s: it takes no arguments\n", line->argv[optind]);
		return '?';
	}
	return 0;
}

static bool intercepts(const struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++)
		if (conf->listeners[i].intercept != INTERCEPT_OFF)
			return true;
	return false;
}

/* As privileges_drop() chooses. conf has been checked: a user that it names is there. */
static bool choose_user(const struct conf *conf, struct nft_choice *choice)
{
	const char *wanted = conf->server.user[0] ? conf->server.user : "danelaw";
	const struct passwd *user = getpwnam(wanted);

	if (!user)
		user = getpwnam("nobody");
	if (!user) {
		fprintf(stderr, "danelaw nft: neither the user danelaw nor nobody exists\n");
		return false;
	}
	choice->user = strcmp(user->pw_name, "nobody") ? wanted : "nobody";
	choice->uid = user->pw_uid;
	if (!choice->uid || !strcmp(choice->user, "nobody"))
		fprintf(stderr,
		    "danelaw nft: warning: danelaw runs as %s, and connections of that user are "
		    "not "
		    "taken: give it a user of its own ([server] user)\n",
		    choice->user);
	return true;
}

/* ---- holes: who pipes the rules into nft does not read them ---- */

struct family {
	int number;
	const char *name;
};

static void warn(const struct conf_listener *listener, const struct family *family,
    const char *hole, const char *fate)
{
	fprintf(stderr, "danelaw nft: warning: [listener %s] %s %s%s\n", listener->name,
	    family->name, hole, fate);
}

/* Whether the range is no more than an address of this host. */
static bool is_own(const struct cidr *range)
{
	struct addr first;

	addr_from_bytes(&first, range->family, range->bytes, 0);
	return range->prefix == (range->family == AF_INET ? 32u : 128u) && addr_is_local(&first);
}

/* A network that has this host in it is a network of others. */
static bool has_clients(const struct conf_listener *listener, int family, bool own)
{
	for (size_t i = 0; i < listener->clients.count; i++) {
		const struct cidr *range = &listener->clients.items[i];

		if (range->family == family && is_own(range) == own)
			return true;
	}
	return false;
}

static void warn_of_holes(
    const struct conf_listener *listener, const struct family *family, bool fail_open)
{
	const char *fate = fail_open ? "they pass, unprotected" : "they are refused";
	bool has_routed = nft_target(listener, family->number, NFT_ROUTED);

	if (!nft_has_family(&listener->clients, family->number))
		warn(listener, family, "has no clients: such connections are not taken", "");
	else if (!has_routed && !nft_target(listener, family->number, NFT_LOCAL))
		warn(listener, family, "has clients, but no such address in listen: ", fate);
	else if (!has_routed && has_clients(listener, family->number, false))
		warn(listener, family,
		    "has clients on other hosts, but only loopback in listen, where nothing "
		    "from there can be sent: ",
		    fate);
	if (listener->intercept == INTERCEPT_TPROXY && has_clients(listener, family->number, true))
		warn(listener, family,
		    "has addresses of this host in clients, but tproxy takes no connections of "
		    "programs of this host: ",
		    fate);
}

static void warn_of_all_holes(const struct conf *conf, bool fail_open)
{
	static const struct family families[] = {{AF_INET, "IPv4"}, {AF_INET6, "IPv6"}};

	for (size_t i = 0; i < conf->listener_count; i++)
		for (size_t f = 0; f < 2; f++)
			if (conf->listeners[i].intercept != INTERCEPT_OFF)
				warn_of_holes(&conf->listeners[i], &families[f], fail_open);
}

static int print(const struct conf *conf, struct request *request)
{
	char *text;

	if (request->routing) {
		text = nft_routing(conf);
	} else {
		if (!choose_user(conf, &request->choice))
			return EX_CONFIG;
		warn_of_all_holes(conf, request->choice.fail_open);
		text = nft_rules(conf, &request->choice);
	}
	fputs(text, stdout);
	free(text);
	return fflush(stdout) ? EX_UNAVAILABLE : EX_OK;
}

int nft_command(struct command_line *line)
{
	struct request request = {0};
	int option = read_options(line, &request);
	struct conf *conf;
	int code = EX_CONFIG;

	if (option == 'h')
		fputs(usage, stdout);
	if (option)
		return option == 'h' ? EX_OK : EX_USAGE;
	conf = command_line_conf(line);
	if (!conf)
		return EX_CONFIG;
	if (intercepts(conf))
		code = print(conf, &request);
	else
		fputs(advice, stderr);
	conf_free(&conf);
	return code;
}
