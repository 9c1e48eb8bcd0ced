/*
 * page.h - text for people on a terminal: wrapped at 80 columns, aligned, coloured where wanted.
 *
 * Everything that is printed passes the same filter, so that no word of a peer or of DNS reaches
 * the terminal as a control (R-SMTP-20): colours are added behind it.
 */
#ifndef PROXY_PAGE_H
#define PROXY_PAGE_H

#include <stdbool.h>
#include <stdio.h>

enum page_style { PAGE_PLAIN, PAGE_BOLD, PAGE_GOOD, PAGE_WARN, PAGE_BAD, PAGE_DIM };

struct page {
	FILE *out;
	bool is_coloured;
};

/* auto, always, never; NULL: auto, which is colours on a terminal that knows them (NO_COLOR is
 * heeded). false: none of these. */
bool page_open(struct page *page, FILE *out, const char *colour);

/* A paragraph; its first line begins at indent, the others at hang. A word that fits no line is
 * broken. */
void page_text(const struct page *page, unsigned indent, unsigned hang, enum page_style style,
    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The same behind a label that has the columns from indent to hang. */
void page_field(const struct page *page, unsigned indent, unsigned hang, const char *label,
    enum page_style style, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Lines of a zone file; long data goes on in lines of its own between parentheses, which is what a
 * zone file may have, too. */
void page_records(const struct page *page, unsigned indent, const char *lines);

/* A command to be copied: it goes on behind a backslash, and no word is broken. */
void page_command(const struct page *page, unsigned indent, const char *command);

/* One line, however long, for programs that read lines. */
void page_line(const struct page *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void page_gap(const struct page *page);

#endif
