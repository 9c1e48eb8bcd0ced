/*
 * command_line.h - danelaw [-c FILE] [-o section.key=value] [COMMAND [options] ...].
 *
 * -c, -o and -h are every command's and may stand before or behind its name; they are kept here. A
 * command reads its own options with command_line_next(), then asks for the configuration. Owner:
 * main.
 */
#ifndef PROXY_COMMAND_LINE_H
#define PROXY_COMMAND_LINE_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

struct conf;

struct command_line {
	const char *path;     /* -c; NULL: not given */
	const char **options; /* -o, in order */
	size_t option_count;
	bool test_only; /* -t */
	int argc;       /* of the command: argv[0] is its name */
	char **argv;
	int whole_argc; /* of the program, as it was started */
	char **whole_argv;
};

/* A sub-command; returns the program's exit code. */
typedef int command_fn(struct command_line *line);

void command_line_init(struct command_line *line, int argc, char **argv);
void command_line_release(struct command_line *line);

/*
 * The next option that is the command's own ('h' included, for its usage); -1: no more, what is
 * left begins at argv[optind]; '?': a mistake, told on stderr: end with EX_USAGE. shorts and longs
 * are the command's own, longs ends with zeros.
 */
int command_line_next(struct command_line *line, const char *shorts, const struct option *longs);

/* Goes on behind the command's name at argv[optind], if there is one. */
void command_line_descend(struct command_line *line);

/* A setting of the command's own, before those of the command line, which replace it. Once. */
void command_line_prefer(struct command_line *line, const char *option);

/* Loads what -c and -o say. NULL: every mistake was told on stderr; end with EX_CONFIG. */
struct conf *command_line_conf(const struct command_line *line);

#endif
