/*
 * nft_cmd.c - danelaw nft: its options, and whether there is anything to print rules for.
 */
#include "proxy/nft_cmd.h"

#include "conf/conf.h"
#include "proxy/nft_rules.h"

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

/* As privileges_drop() chooses. */
static const char *runs_as(const struct conf *conf)
{
	if (conf->server.user[0])
		return conf->server.user;
	return getpwnam("danelaw") ? "danelaw" : "nobody";
}

/* A family without a way to us is a hole: who pipes the rules into nft does not read them. */
static void warn_of_holes(const struct conf_listener *listener)
{
	static const struct {
		int family;
		const char *name;
	} families[] = {{AF_INET, "IPv4"}, {AF_INET6, "IPv6"}};

	for (size_t f = 0; f < 2; f++) {
		int family = families[f].family;
		bool has_clients = false;

		for (size_t i = 0; i < listener->clients.count; i++)
			has_clients |= listener->clients.items[i].family == family;
		if (has_clients && !nft_target(listener, family, NFT_ROUTED) &&
		    !nft_target(listener, family, NFT_LOCAL))
			fprintf(stderr,
			    "danelaw nft: warning: [listener %s] has clients with %s, but no such "
			    "address in listen: their connections are not taken\n",
			    listener->name, families[f].name);
		if (!has_clients)
			fprintf(stderr,
			    "danelaw nft: warning: [listener %s] has no clients with %s: such "
			    "connections are not taken\n",
			    listener->name, families[f].name);
	}
}

static void print(const struct conf *conf, struct request *request)
{
	char *text;

	request->choice.user = runs_as(conf);
	for (size_t i = 0; i < conf->listener_count; i++)
		if (conf->listeners[i].intercept != INTERCEPT_OFF && !request->routing)
			warn_of_holes(&conf->listeners[i]);
	text = request->routing ? nft_routing(conf) : nft_rules(conf, &request->choice);
	fputs(text, stdout);
	free(text);
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
	if (intercepts(conf)) {
		print(conf, &request);
		code = fflush(stdout) ? EX_UNAVAILABLE : EX_OK;
	} else {
		fputs(advice, stderr);
	}
	conf_free(&conf);
	return code;
}
