/*
 * check_cmd.c - danelaw check: names in, verdicts out, a few at a time (see check.h for the parts).
 *
 * Names are checked beside each other and printed in the order in which they were given. A list
 * (-f) is judged under level dane, one line each: what would change if it were switched on.
 */
#include "proxy/command/check_cmd.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/value.h"
#include "proxy/command/check_list.h"
#include "proxy/command/check_print.h"
#include "proxy/machine.h"
#include "proxy/command/page.h"
#include "proxy/smtp/smtp_client.h"
#include "tls/stream.h"

#include <errno.h>
#include <ev.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { AT_A_TIME = 8 };

/* How long a QUIT may take to leave at the end. */
static const double farewell = 0.2;

static const char check_usage[] =
    "danelaw check [options] NAME...      what mail to NAME would get, and why\n"
    "danelaw check [options] -f FILE      what would change for many under level dane\n"
    "\n"
    "NAME is a domain, an address, or the name of an MX host. No mail is sent.\n"
    "\n"
    "  -f, --file FILE     domains, or a mail log (to=<..@DOMAIN>); -: stdin\n"
    "      --host          NAME is an MX host: no MX record is looked up\n"
    "      --port PORT     in place of 25\n"
    "  -4, -6              only IPv4, only IPv6 addresses are connected to\n"
    "      --no-connect    DNS and policies alone\n"
    "      --timeout TIME  no wait is longer, as 5s (default: as [timeouts] has it)\n"
    "      --json          all that was found, as JSON\n"
    "      --nagios        one line and a plugin's exit code: 0 OK, 1 WARNING,\n"
    "                      2 CRITICAL, 3 UNKNOWN\n"
    "      --color WHEN    auto, always, never\n"
    "  -c FILE, -o section.key=value   as everywhere\n"
    "\n"
    "exit: 0 authenticated (DANE or MTA-STS); 1 delivered, not authenticated;\n"
    "2 refused; 3 not known now (DNS or network failed); of several the highest;\n"
    "64 usage; 78 settings\n";

enum form { FORM_TEXT, FORM_JSON, FORM_NAGIOS };

struct request {
	struct check_options options;
	enum form form;
	const char *file, *colour;
	double timeout; /* 0: as configured */
};

struct slot {
	struct job *job;
	struct check *check; /* finished, not printed yet */
};

struct job {
	struct machine machine;
	struct request request;
	struct check_list list;
	struct slot *slots; /* one for each name */
	size_t started, finished, printed;
	struct page page;
	json_t *results;
	enum check_result worst;
	struct check_verdict worst_verdict;
	char worst_name[DOMAIN_SIZE];
	size_t faults;
	struct check_tally tally;
	ev_timer farewell;
};

/* ---- printing ---- */

static void note_worst(
    struct job *job, const struct check *check, const struct check_verdict *verdict)
{
	if (job->printed > 0 && verdict->result <= job->worst)
		return;
	job->worst = verdict->result;
	job->worst_verdict = *verdict;
	snprintf(job->worst_name, sizeof job->worst_name, "%s",
	    check->name[0] ? check->name : check->given);
}

static void print_check(struct job *job, const struct check *check)
{
	struct check_verdict verdict = check_judge(check);
	struct check_findings findings = {0};

	note_worst(job, check, &verdict);
	check_find(check, (time_t)ev_now(job->machine.proxy.loop), &findings);
	for (size_t i = 0; i < findings.count; i++)
		job->faults += findings.items[i].severity == CHECK_FAULT;
	if (job->request.form == FORM_JSON)
		json_array_append_new(job->results, check_json(check, &verdict, &findings));
	else if (job->request.form == FORM_TEXT && job->request.file)
		check_print_change(&job->page, &job->tally, check, &verdict);
	else if (job->request.form == FORM_TEXT)
		check_print_text(&job->page, check, &verdict, &findings);
	check_findings_release(&findings);
}

static void show_progress(const struct job *job)
{
	if (job->request.file && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s%zu of %zu%s",
		    job->finished == job->list.count ? "" : "checked ", job->finished,
		    job->list.count, job->finished == job->list.count ? "\r\033[K" : "");
}

/* Those whose turn it is. */
static void print_finished(struct job *job)
{
	while (job->printed < job->list.count && job->slots[job->printed].check) {
		print_check(job, job->slots[job->printed].check);
		check_free(&job->slots[job->printed].check);
		job->printed++;
		fflush(job->page.out);
	}
	show_progress(job);
}

/* ---- running ---- */

static void start_more(struct job *job);

static void on_checked(struct check *check, void *arg)
{
	struct slot *slot = arg;

	slot->check = check;
	slot->job->finished++;
	print_finished(slot->job);
	start_more(slot->job);
}

static void on_farewell(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer, (void)events;
	ev_break(loop, EVBREAK_ALL);
}

static void start_more(struct job *job)
{
	while (job->started < job->list.count && job->started - job->finished < AT_A_TIME) {
		size_t index = job->started++;

		job->slots[index].job = job;
		check_start(&job->machine, job->list.names[index], &job->request.options,
		    on_checked, &job->slots[index]);
	}
	if (job->finished == job->list.count)
		ev_timer_start(job->machine.proxy.loop, &job->farewell);
}

static int plugin_code(const struct job *job)
{
	return job->worst == CHECK_AUTHENTICATED && job->faults ? CHECK_UNAUTHENTICATED
								: (int)job->worst;
}

static void print_nagios(const struct job *job)
{
	static const char *const states[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
	int code = plugin_code(job);
	char words[128];

	check_verdict_words(&job->worst_verdict, words, sizeof words);
	page_line(&job->page, "DANE %s - %s: %s%s%s%s", states[code], job->worst_name, words,
	    job->worst_verdict.refusal.reason ? ": " : "", job->worst_verdict.refusal.text,
	    job->faults ? "; `danelaw check` names what to mend" : "");
}

static int print_end(struct job *job)
{
	if (job->request.form == FORM_JSON) {
		check_print_json(job->page.out, job->results, (int)job->worst);
		job->results = NULL;
	} else if (job->request.form == FORM_NAGIOS) {
		print_nagios(job);
		return plugin_code(job);
	} else if (job->request.file) {
		check_print_tally(&job->page, &job->tally);
	}
	return (int)job->worst;
}

static int run(struct job *job, struct conf *conf)
{
	int code;

	job->machine.use = MACHINE_LOOKS;
	code = machine_open(&job->machine, ev_default_loop(0), conf);
	if (code != EX_OK)
		return code;
	job->slots = mem_zero(job->list.count, sizeof *job->slots);
	job->results = json_array();
	ev_timer_init(&job->farewell, on_farewell, farewell, 0.);
	start_more(job);
	ev_run(job->machine.proxy.loop, 0);
	return print_end(job);
}

static void tear_down(struct job *job)
{
	stream_close_finishing();
	machine_close(&job->machine);
	json_decref(job->results);
	free(job->slots);
	check_list_release(&job->list);
	log_close();
}

/* ---- the command line ---- */

enum { OPT_HOST = 256, OPT_PORT, OPT_NO_CONNECT, OPT_TIMEOUT, OPT_JSON, OPT_NAGIOS, OPT_COLOR };

static const struct option longs[] = {
    {"file", required_argument, NULL, 'f'},
    {"host", no_argument, NULL, OPT_HOST},
    {"port", required_argument, NULL, OPT_PORT},
    {"no-connect", no_argument, NULL, OPT_NO_CONNECT},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"json", no_argument, NULL, OPT_JSON},
    {"nagios", no_argument, NULL, OPT_NAGIOS},
    {"color", required_argument, NULL, OPT_COLOR},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool complain(const char *what, const char *which)
{
	fprintf(stderr, "danelaw check: %s%s\ntry: danelaw check --help\n", what, which);
	return false;
}

static bool take_timeout(struct request *request, const char *text)
{
	static const struct value_rule rule = {.least = 0.1, .most = 3600};
	char why[VALUE_WHY], *seconds = mem_printf("%ss", text);
	bool is_bare = text[0] && strspn(text, "0123456789") == strlen(text);
	bool is_good = value_time.parse(&request->timeout, is_bare ? seconds : text, &rule, why);

	free(seconds);
	return is_good || complain("--timeout: ", why);
}

static bool take_option(struct request *request, int option)
{
	switch (option) {
	case 'f':
		request->file = optarg;
		return true;
	case '4':
		request->options.family = AF_INET;
		return true;
	case '6':
		request->options.family = AF_INET6;
		return true;
	case OPT_HOST:
		request->options.is_host = true;
		return true;
	case OPT_PORT:
		return addr_parse_port(optarg, &request->options.port) ||
		       complain("--port: not a port: ", optarg);
	case OPT_NO_CONNECT:
		request->options.no_connect = true;
		return true;
	case OPT_TIMEOUT:
		return take_timeout(request, optarg);
	case OPT_JSON:
		request->form = FORM_JSON;
		return true;
	case OPT_NAGIOS:
		request->form = FORM_NAGIOS;
		return true;
	case OPT_COLOR:
		request->colour = optarg;
		return true;
	default:
		return false;
	}
}

static bool read_file(struct check_list *list, const char *path)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;

	if (!file) {
		fprintf(stderr, "danelaw check: %s: %s\n", path, strerror(errno));
		return false;
	}
	check_list_read(list, file);
	if (file != stdin)
		fclose(file);
	return true;
}

static bool take_names(struct job *job, const struct command_line *line)
{
	struct request *request = &job->request;

	for (int i = optind; i < line->argc; i++)
		check_list_add(&job->list, line->argv[i]);
	if (request->file && !read_file(&job->list, request->file))
		return false;
	if (job->list.count == 0)
		return complain(request->file ? "no domain in " : "which NAME?",
		    request->file ? request->file : "");
	/* Many connections to each of many hosts would only make them suspicious. */
	request->options.is_quick = request->file != NULL;
	return page_open(&job->page, stdout, request->colour) ||
	       complain("--color: auto, always or never, not ", request->colour);
}

static void shorten(double *time, double most) { *time = fmin(*time, most); }

static void shorten_waits(struct conf *conf, double most)
{
	shorten(&conf->timeouts.connect, most);
	shorten(&conf->timeouts.greeting, most);
	shorten(&conf->timeouts.handshake, most);
	shorten(&conf->timeouts.command, most);
	shorten(&conf->dns.timeout, most);
	shorten(&conf->dns.total, most);
	shorten(&conf->mta_sts.fetch_timeout, most);
}

/* A list asks what level dane would change; a level of the command line still prevails. */
static struct conf *load(struct command_line *line, const struct request *request)
{
	struct conf *conf;

	if (request->file)
		command_line_prefer(line, "policy.level=dane");
	conf = command_line_conf(line);
	if (conf && request->timeout > 0)
		shorten_waits(conf, request->timeout);
	return conf;
}

static int check(struct job *job, struct command_line *line)
{
	struct conf *conf;

	if (!take_names(job, line))
		return EX_USAGE;
	conf = load(line, &job->request);
	if (!conf)
		return EX_CONFIG;
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	return run(job, conf);
}

int check_command(struct command_line *line)
{
	struct job job = {.request.options.family = AF_UNSPEC};
	int option, code;

	while ((option = command_line_next(line, "46f:", longs)) != -1) {
		if (option == 'h') {
			fputs(check_usage, stdout);
			return EX_OK;
		}
		if (option == '?' || !take_option(&job.request, option))
			return EX_USAGE;
	}
	code = check(&job, line);
	tear_down(&job);
	return code;
}
