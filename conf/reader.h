/*
 * reader.h - an INI file as events, every mistake with its line.
 */
#ifndef CONF_READER_H
#define CONF_READER_H

#include <stdbool.h>
#include <stdio.h>

/* Called in the order of the file; texts are borrowed and without surrounding blanks. */
struct reader_events {
	void (*on_section)(void *arg, unsigned line, const char *title);
	void (*on_setting)(void *arg, unsigned line, const char *key, bool more, const char *value);
	void (*on_mistake)(void *arg, unsigned line, const char *what);
};

enum { READER_LINE_MAX = 8192 };

/*
 * Reads to the end, whatever it finds. `more`: "key += value". A setting before any section is a
 * mistake; settings below a header that was one are passed over. line is 0 for a failed read.
 */
void reader_run(FILE *file, const struct reader_events *events, void *arg);

#endif
