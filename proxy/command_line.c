/*
 * command_line.c - the options that all commands share, around getopt_long().
 */
#include "proxy/command_line.h"

#include "conf/conf.h"
#include "conf/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void command_line_init(struct command_line *line, int argc, char **argv)
{
	*line = (struct command_line){
	    .argc = argc, .argv = argv, .whole_argc = argc, .whole_argv = argv};
	line->options = mem_zero((size_t)argc + 1, sizeof *line->options);
	optind = 0; /* glibc: begin anew */
}

void command_line_release(struct command_line *line)
{
	free(line->options);
	line->options = NULL;
}

/* Whether there is such a setting is the configuration's to say. */
static bool take_setting(struct command_line *line, const char *setting)
{
	size_t len = strcspn(setting, "=");

	line->options[line->option_count++] = setting;
	if (setting[len] && memchr(setting, '.', len))
		return true;
	fprintf(stderr, "danelaw: -o %s: is not section.key=value\n", setting);
	return false;
}

/* One level before the command's name is known, and one with it: "try: danelaw check --help". */
static int complain(const struct command_line *line)
{
	const char *name = strrchr(line->argv[0], '/');

	if (!strcmp(name ? name + 1 : line->argv[0], "danelaw"))
		fputs("try: danelaw --help\n", stderr);
	else
		fprintf(stderr, "try: danelaw %s --help\n", line->argv[0]);
	return '?';
}

int command_line_next(struct command_line *line, const char *shorts, const struct option *longs)
{
	char all[64];
	int option;

	/* "+": options end where the first other argument stands, which may be a command's name. */
	snprintf(all, sizeof all, "%sc:o:h%s", shorts[0] == '+' ? "+" : "",
	    shorts[0] == '+' ? shorts + 1 : shorts);
	while ((option = getopt_long(line->argc, line->argv, all, longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			line->path = optarg;
			break;
		case 'o':
			if (!take_setting(line, optarg))
				return complain(line);
			break;
		case '?':
			return complain(line);
		default:
			return option;
		}
	}
	return -1;
}

void command_line_descend(struct command_line *line)
{
	if (optind >= line->argc)
		return;
	line->argc -= optind;
	line->argv += optind;
	optind = 0; /* glibc: begin anew, behind the name */
}

void command_line_prefer(struct command_line *line, const char *option)
{
	memmove(line->options + 1, line->options, line->option_count * sizeof *line->options);
	line->options[0] = option;
	line->option_count++;
}

struct conf *command_line_conf(const struct command_line *line)
{
	struct conf_report report = {0};
	struct conf *conf = conf_load(line->path, line->options, line->option_count, &report);

	for (size_t i = 0; i < report.error_count; i++)
		fprintf(stderr, "%s\n", report.errors[i]);
	for (size_t i = 0; i < report.warning_count; i++)
		fprintf(stderr, "%s\n", report.warnings[i]);
	conf_report_free(&report);
	return conf;
}
