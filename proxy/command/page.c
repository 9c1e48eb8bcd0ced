/*
 * page.c - see page.h. Used by check and explain.
 */
#include "proxy/command/page.h"

#include "conf/escape.h"
#include "conf/mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH = 80, DATA_WIDTH = 64 };

bool page_open(struct page *page, FILE *out, const char *colour)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	page->out = out;
	page->is_coloured =
	    isatty(fileno(out)) && term && strcmp(term, "dumb") != 0 && !(no && *no);
	if (!colour || !strcmp(colour, "auto"))
		return true;
	page->is_coloured = !strcmp(colour, "always");
	return page->is_coloured || !strcmp(colour, "never");
}

/* ---- the filter ---- */

/* free() releases. */
__attribute__((format(printf, 1, 0))) static char *filtered(const char *format, va_list args)
{
	char *raw = NULL, *clean;
	int len = vasprintf(&raw, format, args);
	size_t size;

	if (len < 0)
		return mem_strdup("");
	size = 4 * (size_t)len + 1; /* "\x1b" for an octet */
	clean = mem_alloc(size);
	escape(clean, size, ESCAPE_TEXT, raw, (size_t)len, NULL);
	free(raw);
	return clean;
}

/* ---- wrapping ---- */

static bool starts_character(char c) { return ((unsigned char)c & 0xc0) != 0x80; }

static unsigned columns(const char *text, size_t len)
{
	unsigned count = 0;

	for (size_t i = 0; i < len; i++)
		count += starts_character(text[i]);
	return count;
}

/* Octets of text that fit the columns: whole words, or a piece of one that is longer than a line.
 */
static size_t fitting(const char *text, unsigned room)
{
	size_t len = 0, last_blank = 0;
	unsigned used = 0;

	for (; text[len]; len++) {
		if (starts_character(text[len]) && used++ == room)
			return last_blank ? last_blank : len;
		if (text[len] == ' ')
			last_blank = len;
	}
	return len;
}

static void put(const struct page *page, enum page_style style, const char *text, size_t len)
{
	static const char *const codes[] = {[PAGE_PLAIN] = "",
	    [PAGE_BOLD] = "\033[1m",
	    [PAGE_GOOD] = "\033[1;32m",
	    [PAGE_WARN] = "\033[33m",
	    [PAGE_BAD] = "\033[1;31m",
	    [PAGE_DIM] = "\033[2m"};
	bool is_coloured = page->is_coloured && style != PAGE_PLAIN;

	fprintf(page->out, "%s%.*s%s", is_coloured ? codes[style] : "", (int)len, text,
	    is_coloured ? "\033[0m" : "");
}

/* column: where the cursor stands. */
static void put_wrapped(const struct page *page, unsigned column, unsigned hang,
    enum page_style style, const char *text)
{
	do {
		size_t len = fitting(text, WIDTH - column);

		put(page, style, text, len);
		putc('\n', page->out);
		text += len;
		text += strspn(text, " ");
		column = hang;
		if (*text)
			fprintf(page->out, "%*s", (int)hang, "");
	} while (*text);
}

void page_text(const struct page *page, unsigned indent, unsigned hang, enum page_style style,
    const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = filtered(format, args);
	va_end(args);
	fprintf(page->out, "%*s", (int)indent, "");
	put_wrapped(page, indent, hang, style, text);
	free(text);
}

void page_field(const struct page *page, unsigned indent, unsigned hang, const char *label,
    enum page_style style, const char *format, ...)
{
	unsigned width = columns(label, strlen(label));
	va_list args;
	char *text;

	va_start(args, format);
	text = filtered(format, args);
	va_end(args);
	fprintf(page->out, "%*s%s%*s", (int)indent, "", label,
	    indent + width < hang ? (int)(hang - indent - width) : 1, "");
	put_wrapped(page, indent + width < hang ? hang : indent + width + 1, hang, style, text);
	free(text);
}

/* ---- zone files ---- */

/* "OWNER IN TLSA 3 1 1 DATA": a data field may be broken anywhere inside parentheses. */
static void put_record(const struct page *page, unsigned indent, const char *line, size_t len)
{
	const char *blank = memrchr(line, ' ', len);
	size_t head = blank ? (size_t)(blank - line) : len;

	if (indent + len <= WIDTH || !blank) {
		fprintf(page->out, "%*s%.*s\n", (int)indent, "", (int)len, line);
		return;
	}
	fprintf(page->out, "%*s%.*s (\n", (int)indent, "", (int)head, line);
	for (size_t at = head + 1; at < len; at += DATA_WIDTH)
		fprintf(page->out, "%*s%.*s%s\n", (int)indent + 4, "",
		    (int)(len - at < DATA_WIDTH ? len - at : DATA_WIDTH), line + at,
		    len - at <= DATA_WIDTH ? " )" : "");
}

void page_records(const struct page *page, unsigned indent, const char *lines)
{
	while (*lines) {
		size_t len = strcspn(lines, "\n");

		put_record(page, indent, lines, len);
		lines += len + (lines[len] != '\0');
	}
}

/* Of the command from `at` on: as many words as fit before " \\". A quoted record counts as the
 * words that it is made of: a backslash inside its quotes would be part of it. */
static size_t command_piece(const char *at, unsigned room)
{
	size_t last = 0;
	bool is_quoted = false;

	for (size_t len = 0; at[len]; len++) {
		is_quoted ^= at[len] == '\'';
		if (len + 2 >= room && last)
			return last;
		if (at[len] == ' ' && !is_quoted)
			last = len;
	}
	return strlen(at);
}

void page_command(const struct page *page, unsigned indent, const char *command)
{
	unsigned column = indent + 2;

	fprintf(page->out, "%*s$ ", (int)indent, "");
	for (;;) {
		size_t len = strlen(command) + column <= WIDTH
				 ? strlen(command)
				 : command_piece(command, WIDTH - column);

		put(page, PAGE_DIM, command, len);
		command += len;
		if (!*command)
			break;
		command += strspn(command, " ");
		column = indent + 2;
		fprintf(page->out, " \\\n%*s", (int)column, "");
	}
	putc('\n', page->out);
}

void page_line(const struct page *page, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = filtered(format, args);
	va_end(args);
	fprintf(page->out, "%s\n", text);
	free(text);
}

void page_gap(const struct page *page) { putc('\n', page->out); }
