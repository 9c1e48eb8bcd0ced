/*
 * draft.c - what was written: sections and settings with their positions, and every mistake so far.
 *
 * Here the rules of the form are kept: known sections and keys, nothing said twice, `+=` for lists
 * only. What the values mean is not looked at. Called by conf.c, once for each load.
 */
#include "conf/draft.h"

#include "conf/mem.h"
#include "conf/reader.h"
#include "conf/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- mistakes ---- */

char *draft_place(const struct draft *draft, struct position where)
{
	if (where.option)
		return mem_printf("-o %s", where.option);
	if (where.line)
		return mem_printf("%s:%u", draft->file, where.line);
	return mem_strdup(draft->file);
}

static void add_note(struct draft *draft, struct notes *notes, struct position where,
		     const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void add_note(struct draft *draft, struct notes *notes, struct position where,
		     const char *format, va_list args)
{
	char message[1024];
	char *place = draft_place(draft, where);
	char *text;

	vsnprintf(message, sizeof message, format, args);
	text = mem_printf("%s: %s", place, message);
	free(place);
	notes->items = mem_resize(notes->items, notes->count + 1, sizeof *notes->items);
	notes->items[notes->count++] = (struct note){where, text};
}

void draft_error(struct draft *draft, struct position where, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_note(draft, &draft->errors, where, format, args);
	va_end(args);
}

void draft_warning(struct draft *draft, struct position where, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_note(draft, &draft->warnings, where, format, args);
	va_end(args);
}

static bool comes_after(const struct note *a, const struct note *b)
{
	if (a->where.option || b->where.option)
		return a->where.option && !b->where.option;
	return a->where.line > b->where.line;
}

/* By insertion: stable, and there are few. */
static void sort_notes(struct notes *notes)
{
	for (size_t i = 1; i < notes->count; i++) {
		struct note note = notes->items[i];
		size_t at = i;

		for (; at > 0 && comes_after(&notes->items[at - 1], &note); at--)
			notes->items[at] = notes->items[at - 1];
		notes->items[at] = note;
	}
}

char **draft_take_notes(struct notes *notes, size_t *count)
{
	char **texts = mem_zero(notes->count, sizeof *texts);

	sort_notes(notes);
	for (size_t i = 0; i < notes->count; i++)
		texts[i] = notes->items[i].text;
	*count = notes->count;
	free(notes->items);
	*notes = (struct notes){0};
	return texts;
}

/* ---- looking ---- */

size_t draft_count(const struct draft *draft, enum section_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < draft->section_count; i++)
		count += draft->sections[i].kind == kind;
	return count;
}

const struct draft_section *draft_section(const struct draft *draft, enum section_kind kind,
					  size_t index)
{
	for (size_t i = 0; i < draft->section_count; i++)
		if (draft->sections[i].kind == kind && draft->sections[i].index == index)
			return &draft->sections[i];
	return NULL;
}

static struct draft_section *find_section(const struct draft *draft, enum section_kind kind,
					  const char *name)
{
	for (size_t i = 0; i < draft->section_count; i++)
		if (draft->sections[i].kind == kind && !strcmp(draft->sections[i].name, name))
			return &draft->sections[i];
	return NULL;
}

const struct draft_setting *draft_find(const struct draft *draft,
				       const struct draft_section *section, const char *key)
{
	for (size_t i = draft->setting_count; section && i > 0; i--) {
		const struct draft_setting *setting = &draft->settings[i - 1];

		if (&draft->sections[setting->section] == section && !strcmp(setting->key, key))
			return setting;
	}
	return NULL;
}

/* ---- growing ---- */

static void add_section(struct draft *draft, enum section_kind kind, const char *name,
			struct position where)
{
	size_t index = draft_count(draft, kind);

	draft->sections =
	    mem_resize(draft->sections, draft->section_count + 1, sizeof *draft->sections);
	struct draft_section *section = &draft->sections[draft->section_count++];

	*section = (struct draft_section){.kind = kind, .index = index, .where = where};
	memcpy(section->name, name, strlen(name) + 1);
}

static void add_setting(struct draft *draft, const struct draft_setting *setting)
{
	draft->settings =
	    mem_resize(draft->settings, draft->setting_count + 1, sizeof *draft->settings);
	draft->settings[draft->setting_count++] = *setting;
}

/* ---- the file ---- */

/* Sections are in order of the file while it is read, so settings go to the last. */
static void on_section(void *arg, unsigned line, const char *title)
{
	struct draft *draft = arg;
	struct position where = {.line = line};
	char name[DOMAIN_SIZE + 1], why[VALUE_WHY];
	enum section_kind kind;

	draft->skipping = true;
	if (!section_parse(title, &kind, name, why)) {
		draft_error(draft, where, "%s", why);
		return;
	}
	const struct draft_section *same = find_section(draft, kind, name);

	if (same) {
		draft_error(draft, where, "section [%s] again (first in line %u)", title,
			    same->where.line);
		return;
	}
	add_section(draft, kind, name, where);
	draft->skipping = false;
}

/* false, after a complaint: not a setting that may stand here. */
static bool check_setting(struct draft *draft, const struct draft_section *section,
			  const struct draft_setting *setting)
{
	const struct setting *row = setting->row;

	if (!row && section->kind != SECTION_UNBOUND) {
		draft_error(draft, setting->where, "unknown setting %.80s in [%s]", setting->key,
			    section_pattern(section->kind));
		return false;
	}
	if (setting->more && (!row || !row->type->is_list)) {
		draft_error(draft, setting->where, "%.80s: += is for lists only", setting->key);
		return false;
	}
	return true;
}

static void on_setting(void *arg, unsigned line, const char *key, bool more, const char *value)
{
	struct draft *draft = arg;
	struct draft_setting setting = {.more = more, .where = {.line = line}};

	if (draft->skipping)
		return;
	setting.section = draft->section_count - 1;
	const struct draft_section *section = &draft->sections[setting.section];

	setting.row = setting_find(section->kind, key);
	setting.key = mem_strdup(key);
	const struct draft_setting *same = draft_find(draft, section, key);
	bool good = check_setting(draft, section, &setting);

	if (good && setting.row && same && !more) {
		draft_error(draft, setting.where, "%s again (first in line %u)", key,
			    same->where.line);
		good = false;
	}
	if (!good) {
		free(setting.key);
		return;
	}
	setting.value = mem_strdup(value);
	add_setting(draft, &setting);
}

static void on_mistake(void *arg, unsigned line, const char *what)
{
	draft_error(arg, (struct position){.line = line}, "%s", what);
}

void draft_read(struct draft *draft, FILE *file)
{
	static const struct reader_events events = {on_section, on_setting, on_mistake};

	reader_run(file, &events, draft);
}

/* ---- options ---- */

/* The section an option names, made if the file has none; NULL after a complaint. */
static struct draft_section *option_section(struct draft *draft, const char *title,
					    struct position where)
{
	char name[DOMAIN_SIZE + 1], why[VALUE_WHY];
	enum section_kind kind;

	if (!section_parse(title, &kind, name, why)) {
		draft_error(draft, where, "%s", why);
		return NULL;
	}
	if (!find_section(draft, kind, name))
		add_section(draft, kind, name, where);
	return find_section(draft, kind, name);
}

/* An [unbound] key may stand in several lines; an option stands for them all. */
static void forget_raw(struct draft *draft, size_t section, const char *key)
{
	size_t kept = 0;

	for (size_t i = 0; i < draft->setting_count; i++) {
		struct draft_setting *setting = &draft->settings[i];

		if (setting->section != section || setting->row || strcmp(setting->key, key) != 0) {
			draft->settings[kept++] = *setting;
			continue;
		}
		free(setting->key);
		free(setting->value);
	}
	draft->setting_count = kept;
}

static void take_option(struct draft *draft, const char *title, const char *key, const char *value,
			struct position where)
{
	const struct draft_section *section = option_section(draft, title, where);

	if (!section)
		return;
	struct draft_setting setting = {
	    .section = (size_t)(section - draft->sections),
	    .row = setting_find(section->kind, key),
	    .key = mem_strdup(key),
	    .where = where,
	};

	if (!check_setting(draft, section, &setting)) {
		free(setting.key);
		return;
	}
	if (!setting.row)
		forget_raw(draft, setting.section, key);
	setting.value = mem_strdup(value + strspn(value, " \t"));
	add_setting(draft, &setting);
}

/* The part before '=' is kept: positions point to it. */
static const char *keep_name(struct draft *draft, const char *name, size_t len)
{
	draft->options =
	    mem_resize(draft->options, draft->option_count + 1, sizeof *draft->options);
	return draft->options[draft->option_count++] = mem_strndup(name, len);
}

void draft_option(struct draft *draft, const char *option)
{
	size_t len = strcspn(option, "=");
	struct position where = {.option = keep_name(draft, option, len)};
	char *title = mem_strndup(option, len);
	char *dot = strrchr(title, '.');

	if (!option[len] || !dot || dot == title || !dot[1] || text_has_control(option, strlen(option))) {
		draft_error(draft, where, "is not section.key=value");
	} else {
		*dot = '\0';
		take_option(draft, title, dot + 1, option + len + 1, where);
	}
	free(title);
}

/* ---- end ---- */

static void free_notes(struct notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		free(notes->items[i].text);
	free(notes->items);
}

void draft_free(struct draft *draft)
{
	for (size_t i = 0; i < draft->setting_count; i++) {
		free(draft->settings[i].key);
		free(draft->settings[i].value);
	}
	for (size_t i = 0; i < draft->option_count; i++)
		free(draft->options[i]);
	free(draft->sections);
	free(draft->settings);
	free(draft->options);
	free_notes(&draft->errors);
	free_notes(&draft->warnings);
	*draft = (struct draft){0};
}
