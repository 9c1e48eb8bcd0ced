/*
 * reader.c - an INI file as events, every mistake with its line. The only user of inih.
 *
 * inih splits keys from values and takes comments off. Left alone it cuts section names at 49
 * octets and lines at 197 in silence, takes an indented line as one more value of the key above,
 * accepts text after ']' and an empty key, and names only the first bad line. So it reads through
 * next_line(): whole lines without their indentation, headers kept from it, and each line that
 * should have become a setting is checked for having become one.
 */
#include "conf/reader.h"

#include "conf/text.h"

#include <ini.h>
#include <string.h>

struct reader {
	FILE *file;
	const struct reader_events *events;
	void *arg;
	unsigned line;
	bool in_section;   /* a header has been seen, though it may have been a bad one */
	bool skipping;     /* below a bad header */
	bool owes_setting; /* inih has a line that must become a setting */
	char text[READER_LINE_MAX + 2];
};

static const char blanks[] = " \t";

static void mistake(struct reader *reader, const char *what)
{
	reader->events->on_mistake(reader->arg, reader->line, what);
}

/* A line without its end into text; -1 at the end of the file. Octets beyond the limit are counted
 * only. */
static long read_raw(struct reader *reader)
{
	long len = 0;
	int c;

	while ((c = getc(reader->file)) != EOF && c != '\n') {
		if (len <= READER_LINE_MAX)
			reader->text[len] = (char)c;
		len++;
	}
	if (c == EOF && len == 0)
		return -1;
	reader->line++;
	if (len > 0 && len <= READER_LINE_MAX && reader->text[len - 1] == '\r')
		len--;
	reader->text[len <= READER_LINE_MAX ? len : 0] = '\0';
	return len;
}

/* Where a line's text begins: after a byte order mark on the first, and after blanks. */
static char *beginning(struct reader *reader)
{
	char *text = reader->text;

	if (reader->line == 1 && !strncmp(text, "\xef\xbb\xbf", 3))
		text += 3;
	return text + strspn(text, blanks);
}

/* After ']': nothing, or a comment as after a value. */
static bool is_blank_or_comment(const char *text)
{
	size_t blank = strspn(text, blanks);

	return !text[blank] || (blank > 0 && text[blank] == ';');
}

static void take_header(struct reader *reader, char *text)
{
	char *title = text + 1 + strspn(text + 1, blanks);
	char *end = strchr(title, ']');
	char *last = end;

	reader->in_section = true;
	reader->skipping = true;
	if (!end)
		return mistake(reader, "section header without ]");
	if (!is_blank_or_comment(end + 1))
		return mistake(reader, "text after the section header");
	while (last > title && strchr(blanks, last[-1]))
		last--;
	*last = '\0';
	if (!*title)
		return mistake(reader, "section header without a name");
	reader->skipping = false;
	reader->events->on_section(reader->arg, reader->line, title);
}

/* inih would also split at ':', in the middle of [::1]:25 if '=' was forgotten. */
static bool may_be_setting(const char *text)
{
	size_t key = strcspn(text, "=:");

	return key > 0 && text[key] == '=';
}

/* What inih is to see of this line: a setting, or nothing. */
static const char *take_line(struct reader *reader, size_t len)
{
	char *text = beginning(reader);

	if (text_has_control_but_tab(reader->text, len)) {
		mistake(reader, "control character (only tabs are allowed)");
		return "";
	}
	if (*text == '[')
		take_header(reader, text);
	if (!*text || strchr("[;#", *text))
		return "";
	reader->owes_setting = may_be_setting(text);
	if (!reader->owes_setting)
		mistake(reader, "neither [section] nor key = value");
	return reader->owes_setting ? text : "";
}

static void settle_last_line(struct reader *reader)
{
	if (reader->owes_setting)
		mistake(reader, "neither [section] nor key = value");
	reader->owes_setting = false;
}

/* An ini_reader: like fgets. */
static char *next_line(char *out, int size, void *stream)
{
	struct reader *reader = stream;

	settle_last_line(reader);
	long len = read_raw(reader);

	if (len < 0)
		return NULL;
	const char *text = "";

	if (len > READER_LINE_MAX)
		mistake(reader, "line of more than 8192 octets");
	else
		text = take_line(reader, (size_t)len);
	snprintf(out, (size_t)size, "%s\n", text);
	return out;
}

/* "key +" is what inih makes of "key += value". */
static int on_pair(void *user, const char *section, const char *key, const char *value)
{
	struct reader *reader = user;
	char name[READER_LINE_MAX + 2];
	size_t len = strlen(key);
	bool more = len > 0 && key[len - 1] == '+';

	(void)section;
	reader->owes_setting = false;
	len -= more;
	while (len > 0 && strchr(blanks, key[len - 1]))
		len--;
	memcpy(name, key, len);
	name[len] = '\0';
	if (!len)
		mistake(reader, "value without a key");
	else if (!reader->in_section)
		mistake(reader, "setting before the first [section]");
	else if (!reader->skipping)
		reader->events->on_setting(reader->arg, reader->line, name, more, value);
	return 1;
}

void reader_run(FILE *file, const struct reader_events *events, void *arg)
{
	struct reader reader = {.file = file, .events = events, .arg = arg};

	/* inih's own limits: the longest line with CR, LF and NUL; no values over several lines. */
	ini_max_line = READER_LINE_MAX + 3;
	ini_use_stack = true;
	ini_allow_multiline = false;
	ini_parse_stream(next_line, &reader, on_pair, &reader);
	settle_last_line(&reader);
	if (ferror(file))
		events->on_mistake(arg, 0, "cannot be read");
}
