/*
 * main.c - which command, and nothing else: each lives where its subject lives.
 */
#include "conf/conf.h"
#include "proxy/command/check_cmd.h"
#include "proxy/command/explain_cmd.h"
#include "proxy/command/nft_cmd.h"
#include "proxy/command/queue.h"
#include "proxy/serve.h"
#include "proxy/command/tlsa_cmd.h"
#include "proxy/version.h"
#include "tls/ctx.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const char usage[] =
    "danelaw: delivers plain SMTP over STARTTLS proven by DANE or MTA-STS\n"
    "\n"
    "  danelaw [serve]           serve in the foreground\n"
    "  danelaw -t                test the configuration: exit 0, or 78 with FILE:LINE: message\n"
    "  danelaw check NAME...     what mail to a domain, address or MX host would get, and why\n"
    "  danelaw explain ADDRESS   what mail to one recipient would meet, step by step\n"
    "  danelaw queue             what the spool holds; retry and bounce\n"
    "  danelaw tlsa FILE...      TLSA records for a certificate or key\n"
    "  danelaw nft               nftables and routing rules that fit the configuration\n"
    "  danelaw -V, --version     versions of danelaw and of the libraries it runs with\n"
    "  danelaw -h, --help        this; danelaw COMMAND --help tells more\n"
    "\n"
    "  -c FILE                   configuration (default " CONF_DEFAULT_PATH ";\n"
    "                            without that file built-in defaults:\n"
    "                            a smarthost on port 2525 for this host)\n"
    "  -o section.key=value      replaces a setting of the file; may be repeated, the last wins\n"
    "\n"
    "exit: 0 fine; 64 usage; 69 cannot bind or start; 70 our bug; 78 configuration\n";

static const struct {
	const char *name;
	command_fn *run;
} commands[] = {
    {"serve", serve_command},
    {"check", check_command},
    {"explain", explain_command},
    {"queue", queue_command},
    {"tlsa", tlsa_command},
    {"nft", nft_command},
};

static command_fn *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (!strcmp(commands[i].name, name))
			return commands[i].run;
	}
	return NULL;
}

/* What follows the command's name is the command's; without a name danelaw serves. */
static int run_command(struct command_line *line)
{
	const char *name = optind < line->argc ? line->argv[optind] : "serve";
	command_fn *run = find_command(name);

	if (!run || (line->test_only && run != serve_command)) {
		fprintf(stderr, "danelaw: %s: %s\ntry: danelaw --help\n",
		    run ? "-t tests the configuration and takes no command" : "unknown command",
		    name);
		return EX_USAGE;
	}
	command_line_descend(line);
	return run(line);
}

static int run(struct command_line *line)
{
	static const struct option longs[] = {{"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int option;

	while ((option = command_line_next(line, "+tV", longs)) != -1) {
		switch (option) {
		case 't':
			line->test_only = true;
			break;
		case 'V':
			version_print();
			return EX_OK;
		case 'h':
			fputs(usage, stdout);
			return EX_OK;
		default:
			return EX_USAGE;
		}
	}
	return run_command(line);
}

int main(int argc, char **argv)
{
	struct command_line line;
	int code;

	signal(SIGPIPE, SIG_IGN); /* before any library may write to a socket (R-NET-17) */
	tls_library_init();
	command_line_init(&line, argc, argv);
	code = run(&line);
	command_line_release(&line);
	return code;
}
