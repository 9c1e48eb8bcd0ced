/*
 * explain_cmd.c - danelaw explain ADDRESS: what delivery would do for one recipient, done, up to
 * MAIL.
 *
 * It is the very approach of a message, so nothing here decides; an observer notes each DNS answer
 * on its way. The connection, if one becomes ready, is ended with QUIT.
 */
#include "proxy/command/explain_cmd.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "dnsval/resolver.h"
#include "proxy/command/explain.h"
#include "proxy/machine.h"
#include "proxy/command/page.h"
#include "proxy/smtp/smtp_client.h"
#include "tls/stream.h"

#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* How long a QUIT may take to leave. */
static const double farewell = 0.2;

static const char explain_usage[] =
    "danelaw explain [options] ADDRESS    what mail to this recipient would meet\n"
    "\n"
    "Every DNS answer in the order in which it came, what applies and what was\n"
    "decided, the reply that a client would get, and commands that repeat each step.\n"
    "No mail is sent.\n"
    "\n"
    "      --json          all of it as JSON\n"
    "      --color WHEN    auto, always, never\n"
    "  -c FILE, -o section.key=value   as everywhere\n"
    "\n"
    "exit: 0 authenticated (DANE or MTA-STS); 1 delivered, not authenticated;\n"
    "2 refused; 3 not known now (DNS or network failed); 64 usage; 78 settings\n";

struct job {
	struct machine machine;
	struct explain explain;
	struct approach *approach;
	struct page page;
	ev_timer farewell;
	bool is_json;
	const char *colour;
};

/* ---- the approach ---- */

static void on_lookup(const struct dns_answer *answer, double seconds, void *arg)
{
	struct job *job = arg;

	trace_add(&job->explain.trace, answer, seconds);
}

static void on_farewell(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer, (void)events;
	ev_break(loop, EVBREAK_ALL);
}

static void take_ready(struct explain *explain)
{
	struct approach_result *result = &explain->result;
	const struct tls_proof *proof = smtp_client_proof(result->client);

	explain->is_ready = true;
	if (proof)
		explain->proof = *proof;
	explain->is_encrypted = proof && proof->encrypted;
	explain->verdict =
	    proof && proof->verified && result->route->secures_domain && !result->is_relaxed
		? CHECK_AUTHENTICATED
		: CHECK_UNAUTHENTICATED;
	smtp_client_close(&result->client);
}

static void take_refusal(struct explain *explain)
{
	outcome_refuse(&explain->outcome, &explain->result.refusal);
	explain->verdict = check_result_of(explain->result.refusal.reason);
}

static void on_approached(struct approach_result *result, void *arg)
{
	struct job *job = arg;

	job->approach = NULL;
	job->explain.result = *result;
	if (result->client)
		take_ready(&job->explain);
	else
		take_refusal(&job->explain);
	ev_timer_init(&job->farewell, on_farewell, farewell, 0.);
	ev_timer_start(job->machine.proxy.loop, &job->farewell);
}

static void start_approach(struct job *job)
{
	const struct approach_task task = {
	    .domain = job->explain.path.domain,
	    .how = APPROACH_ANEW,
	    .session = "explain",
	};

	resolver_observe(job->machine.resolver, on_lookup, job);
	job->approach = approach_start(&job->machine.proxy, &task, on_approached, job);
}

/* ---- the address ---- */

/* A bare domain is taken for its postmaster. */
static struct smtp_error parse(struct explain *explain)
{
	const char *given = explain->given;
	char *text = mem_printf("<%s%s>", strchr(given, '@') ? "" : "postmaster@", given);
	size_t used = 0, len = strlen(text);
	struct smtp_error error = smtp_parse_path(text, len, &used, &explain->path);

	free(text);
	if (!error.code && used != len)
		error =
		    (struct smtp_error){501, "5.1.3", "bad-address: one address, please", false};
	return error;
}

/* false: refused before anything is looked up. */
static bool take_address(struct explain *explain)
{
	struct smtp_error error = parse(explain);

	explain->verdict = CHECK_REFUSED;
	if (error.code) {
		explain->outcome.code = error.code;
		explain->outcome.reason = REASON_BAD_ADDRESS;
		snprintf(explain->outcome.text, sizeof explain->outcome.text, "%s %s", error.status,
		    error.text);
		return false;
	}
	if (explain->path.is_literal || !explain->path.has_domain)
		outcome_refuse_text(&explain->outcome, REASON_ADDRESS_LITERAL,
		    "<%s> names no domain; such mail is not delivered", explain->path.address);
	return !outcome_is_known(&explain->outcome);
}

/* ---- the command ---- */

static int run(struct job *job, struct conf *conf)
{
	struct explain *explain = &job->explain;
	int code;

	job->machine.use = MACHINE_LOOKS;
	code = machine_open(&job->machine, ev_default_loop(0), conf);
	if (code != EX_OK)
		return code;
	explain->conf = conf;
	if (take_address(explain)) {
		start_approach(job);
		ev_run(job->machine.proxy.loop, 0);
	}
	if (job->is_json)
		explain_print_json(job->page.out, explain);
	else
		explain_print_text(&job->page, explain);
	return (int)explain->verdict;
}

static void tear_down(struct job *job)
{
	approach_result_release(&job->explain.result);
	stream_close_finishing();
	machine_close(&job->machine);
	trace_release(&job->explain.trace);
	log_close();
}

enum { OPT_JSON = 256, OPT_COLOR };

static const struct option longs[] = {
    {"json", no_argument, NULL, OPT_JSON},
    {"color", required_argument, NULL, OPT_COLOR},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int explain_address(struct job *job, struct command_line *line)
{
	struct conf *conf;

	if (optind + 1 != line->argc || !page_open(&job->page, stdout, job->colour)) {
		fputs("danelaw explain: one ADDRESS; --color is auto, always or never\n"
		      "try: danelaw explain --help\n",
		    stderr);
		return EX_USAGE;
	}
	job->explain.given = line->argv[optind];
	conf = command_line_conf(line);
	if (!conf)
		return EX_CONFIG;
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	return run(job, conf);
}

int explain_command(struct command_line *line)
{
	struct job job = {.is_json = false};
	int option, code;

	while ((option = command_line_next(line, "", longs)) != -1) {
		switch (option) {
		case OPT_JSON:
			job.is_json = true;
			break;
		case OPT_COLOR:
			job.colour = optarg;
			break;
		case 'h':
			fputs(explain_usage, stdout);
			return EX_OK;
		default:
			return EX_USAGE;
		}
	}
	code = explain_address(&job, line);
	tear_down(&job);
	return code;
}
