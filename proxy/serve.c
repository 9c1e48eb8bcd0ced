/*
 * serve.c - danelaw [serve]: the command, and the test of its configuration.
 */
#include "proxy/serve.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/reap.h"
#include "dnsval/resolver.h"
#include "proxy/machine.h"
#include "proxy/service/certificates.h"
#include "proxy/service/supervisor.h"
#include "tls/ctx.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

static const char serve_usage[] =
    "danelaw serve [-c FILE] [-o section.key=value]\n"
    "\n"
    "Serves in the foreground until SIGTERM or SIGINT; a second one ends it at once.\n"
    "SIGHUP reloads the settings, SIGUSR2 the program. -t tests the configuration instead.\n"
    "Settings: see danelaw --help.\n";

/* No reason not to start (F-10): it may come, and DANE does without. */
static void warn_of_ca_file(const struct conf *conf)
{
	char *error = NULL;
	struct tls_contexts *contexts = tls_contexts_new(conf->tls.ca_file, &error);

	if (contexts && tls_contexts_ca_error(contexts)[0])
		fprintf(stderr,
		    "danelaw: warning: %s: until it is there no MTA-STS policy can be fetched, and "
		    "level secure refuses\n",
		    tls_contexts_ca_error(contexts));
	free(error);
	tls_contexts_free(&contexts);
}

/* -t: everything that a start would refuse before it opens a socket; nothing is written. */
static int test(const struct command_line *line, struct conf *conf)
{
	char *error = NULL;
	struct certificates *certificates;
	struct ev_loop *loop = ev_loop_new(0);
	struct resolver *resolver;
	int code = EX_OK;

	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	resolver = resolver_new(loop, conf, &error);
	if (!resolver) {
		machine_complain("", &error);
		code = EX_CONFIG;
	} else if (!line->path && access(CONF_DEFAULT_PATH, F_OK)) {
		fputs("danelaw: there is no " CONF_DEFAULT_PATH
		      ": the built-in defaults were tested\n",
		    stderr);
	}
	warn_of_ca_file(conf);
	certificates = certificates_load(conf, NULL, &error);
	if (!certificates) {
		machine_complain("", &error);
		code = EX_CONFIG;
	}
	certificates_free(&certificates);
	resolver_free(&resolver);
	reap_now();
	ev_loop_destroy(loop);
	conf_free(&conf);
	return code;
}

/* danelaw alone serves, too: then there is no name, and nothing behind it. */
int serve_command(struct command_line *line)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	struct conf *conf;
	int option;

	while ((option = command_line_next(line, "t", longs)) != -1) {
		if (option == 'h') {
			fputs(serve_usage, stdout);
			return EX_OK;
		}
		if (option != 't')
			return EX_USAGE;
		line->test_only = true;
	}
	if (optind < line->argc) {
		fprintf(stderr, "danelaw: serve takes no argument: %s\ntry: danelaw --help\n",
		    line->argv[optind]);
		return EX_USAGE;
	}
	conf = command_line_conf(line);
	if (!conf)
		return EX_CONFIG;
	return line->test_only ? test(line, conf) : supervisor_run(line, conf);
}
