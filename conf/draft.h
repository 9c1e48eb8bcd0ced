/*
 * draft.h - what was written: sections and settings with their positions, and every mistake so far.
 *
 * The file and the options become one draft, from which conf.c makes a struct conf.
 */
#ifndef CONF_DRAFT_H
#define CONF_DRAFT_H

#include "conf/table.h"

#include <stdio.h>

/* Where something was written: in an option, or in a line of the file (0: the file as a whole). */
struct position {
	unsigned line;
	const char *option; /* "domain example.org.level", or NULL */
};

struct draft_section {
	enum section_kind kind;
	char name[DOMAIN_SIZE + 1]; /* a domain's leading dot stays */
	size_t index;               /* among those of its kind */
	struct position where;
};

struct draft_setting {
	size_t section;
	const struct setting *row; /* NULL in [unbound] */
	char *key;
	char *value;
	bool more; /* key += value */
	struct position where;
};

struct note {
	struct position where;
	char *text; /* "FILE:LINE: message" */
};

struct notes {
	size_t count;
	struct note *items;
};

struct draft {
	const char *file; /* name for messages */
	bool skipping;    /* below a header that was a mistake */
	size_t section_count, setting_count, option_count;
	struct draft_section *sections;
	struct draft_setting *settings;
	char **options; /* the names that positions point to */
	struct notes errors, warnings;
};

/* The file is read to its end; the caller closes it. */
void draft_read(struct draft *draft, FILE *file);

/* "section.key=value": takes the place of what the file, or an option before, says. */
void draft_option(struct draft *draft, const char *option);

/* The last setting of key in a section; NULL: not written. */
const struct draft_setting *draft_find(const struct draft *draft,
				       const struct draft_section *section, const char *key);

/* How many sections of a kind there are; the index-th of them (NULL: none). */
size_t draft_count(const struct draft *draft, enum section_kind kind);
const struct draft_section *draft_section(const struct draft *draft, enum section_kind kind,
					  size_t index);

/* "FILE:LINE", "-o section.key" or "FILE"; malloc'd. */
char *draft_place(const struct draft *draft, struct position where);

void draft_error(struct draft *draft, struct position where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void draft_warning(struct draft *draft, struct position where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* In the order of the file, the options after it. The caller frees the texts' list; notes are
 * emptied. */
char **draft_take_notes(struct notes *notes, size_t *count);

void draft_free(struct draft *draft);

#endif
