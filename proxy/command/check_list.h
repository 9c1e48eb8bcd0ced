/*
 * check_list.h - the names to be checked: those of the command line, and of a file that is a list
 * of domains or the log of a mail server.
 */
#ifndef PROXY_CHECK_LIST_H
#define PROXY_CHECK_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct check_list {
	size_t count;
	char **names; /* owned; as given where they came from the command line */
	size_t size;
	struct check_seen *seen;
};

void check_list_add(struct check_list *list, const char *name);

/*
 * A line that holds to=<..@DOMAIN> (Postfix, danelaw), also several times, gives those domains; any
 * other line its first word, if that is a domain or an address. Each domain once. # begins a
 * comment.
 */
void check_list_read(struct check_list *list, FILE *file);
void check_list_release(struct check_list *list);

#endif
