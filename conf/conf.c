/*
 * conf.c - from what was written to a struct conf.
 *
 * Sections first, so that every array has its size; then the table's defaults, then what the file
 * says, then the options, each through the parser of its row. [policy] is complete before a
 * [domain] copies it. Mistakes are collected, and only without any is there a result. Called by
 * main, at start and reload.
 */
#include "conf/conf.h"

#include "conf/check.h"
#include "conf/derive.h"
#include "conf/mem.h"
#include "conf/raw.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the fields behind the rows ---- */

/* How many homes a row has: one for each section of its kind. */
static size_t home_count(const struct conf *conf, const struct setting *row)
{
	switch (row->section) {
	case SECTION_LISTENER:
		return conf->listener_count;
	case SECTION_DNS_VIEW:
		return conf->dns.view_count - 1;
	case SECTION_DOMAIN:
		return conf->domain_count;
	default:
		return 1;
	}
}

/* The field of the index-th section of this kind. */
static void *field_of(struct conf *conf, enum section_kind kind, size_t index,
		      const struct setting *row)
{
	char *home = (char *)conf;

	switch (row->home) {
	case HOME_CONF:
		break;
	case HOME_LISTENER:
		home = (char *)&conf->listeners[index];
		break;
	case HOME_VIEW:
		home = (char *)&conf->dns.views[kind == SECTION_DNS ? 0 : index + 1];
		break;
	case HOME_POLICY:
		home =
		    (char *)(kind == SECTION_DOMAIN ? &conf->domains[index].policy : &conf->policy);
		break;
	case HOME_DOMAIN:
		home = (char *)&conf->domains[index];
		break;
	}
	return home + row->offset;
}

static void set_default(struct conf *conf, const struct setting *row)
{
	char why[VALUE_WHY];

	for (size_t i = 0; row->fallback && i < home_count(conf, row); i++) {
		bool good = row->type->parse(field_of(conf, row->section, i, row), row->fallback,
					     &row->rule, why);

		assert(good);
	}
}

static void set_defaults(struct conf *conf)
{
	conf->dns.views[0].is_signed = true;
	for (size_t i = 0; i < setting_count; i++)
		set_default(conf, &settings[i]);
}

static void set_value(struct conf *conf, struct draft *draft, const struct draft_setting *setting)
{
	const struct draft_section *section = &draft->sections[setting->section];
	const struct setting *row = setting->row;
	void *field = field_of(conf, section->kind, section->index, row);
	char why[VALUE_WHY];

	if (row->type->is_list && !setting->more)
		row->type->release(field);
	if (!row->type->parse(field, setting->value, &row->rule, why))
		draft_error(draft, setting->where, "%s: %s%s", row->key, why,
			    strstr(setting->value, " #")
				? " (a comment behind a value begins with a blank and ;)"
				: "");
}

/* ---- sections ---- */

static void make_listeners(struct conf *conf, const struct draft *draft)
{
	size_t written = draft_count(draft, SECTION_LISTENER);

	conf->listener_count = written ? written : 1;
	conf->listeners = mem_zero(conf->listener_count, sizeof *conf->listeners);
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct draft_section *section = draft_section(draft, SECTION_LISTENER, i);

		conf->listeners[i].name = mem_strdup(section ? section->name : "smarthost");
		conf->listeners[i].skip_missing_family = !draft_find(draft, section, "listen");
	}
}

static void make_views(struct conf *conf, const struct draft *draft)
{
	conf->dns.view_count = 1 + draft_count(draft, SECTION_DNS_VIEW);
	conf->dns.views = mem_zero(conf->dns.view_count, sizeof *conf->dns.views);
	for (size_t i = 1; i < conf->dns.view_count; i++)
		memcpy(conf->dns.views[i].name, draft_section(draft, SECTION_DNS_VIEW, i - 1)->name,
		       DOMAIN_SIZE);
}

static void make_domains(struct conf *conf, const struct draft *draft)
{
	conf->domain_count = draft_count(draft, SECTION_DOMAIN);
	conf->domains = mem_zero(conf->domain_count, sizeof *conf->domains);
	for (size_t i = 0; i < conf->domain_count; i++) {
		const char *name = draft_section(draft, SECTION_DOMAIN, i)->name;

		conf->domains[i].below = *name == '.';
		memcpy(conf->domains[i].name, name + conf->domains[i].below, DOMAIN_SIZE);
	}
}

static void copy_policy(struct conf_policy *to, const struct conf_policy *from)
{
	const struct cidr_list *list = &from->allow_addresses;

	*to = *from;
	to->allow_addresses.items = mem_copy(list->items, list->count * sizeof *list->items);
}

/* Everything but [domain], then what a domain inherits, then [domain]. */
static void set_values(struct conf *conf, struct draft *draft)
{
	for (size_t i = 0; i < draft->setting_count; i++) {
		const struct draft_setting *setting = &draft->settings[i];

		if (setting->row && draft->sections[setting->section].kind != SECTION_DOMAIN)
			set_value(conf, draft, setting);
	}
	for (size_t i = 0; i < conf->domain_count; i++)
		copy_policy(&conf->domains[i].policy, &conf->policy);
	for (size_t i = 0; i < draft->setting_count; i++)
		if (draft->sections[draft->settings[i].section].kind == SECTION_DOMAIN)
			set_value(conf, draft, &draft->settings[i]);
}

static void set_raw(struct conf *conf, const struct draft *draft)
{
	for (size_t i = 0; i < draft->setting_count; i++) {
		const struct draft_setting *setting = &draft->settings[i];

		if (setting->row)
			continue;
		conf->unbound =
		    mem_resize(conf->unbound, conf->unbound_count + 1, sizeof *conf->unbound);
		conf->unbound[conf->unbound_count++] = (struct conf_unbound_option){
		    .name = mem_strdup(setting->key),
		    .value = mem_strdup(setting->value),
		    .where = draft_place(draft, setting->where)};
	}
}

static struct conf *build(struct draft *draft)
{
	struct conf *conf = mem_zero(1, sizeof *conf);

	make_listeners(conf, draft);
	make_views(conf, draft);
	make_domains(conf, draft);
	set_defaults(conf);
	set_values(conf, draft);
	set_raw(conf, draft);
	raw_check(draft);
	check_conf(conf, draft, time(NULL));
	derive_defaults(conf);
	return conf;
}

/* ---- loading ---- */

static struct conf *load(struct draft *draft, FILE *file, const char *const *options,
			 size_t option_count, struct conf_report *report)
{
	struct conf *conf;

	if (file)
		draft_read(draft, file);
	for (size_t i = 0; i < option_count; i++)
		draft_option(draft, options[i]);
	conf = build(draft);
	*report = (struct conf_report){0};
	report->errors = draft_take_notes(&draft->errors, &report->error_count);
	report->warnings = draft_take_notes(&draft->warnings, &report->warning_count);
	draft_free(draft);
	if (report->error_count)
		conf_free(&conf);
	return conf;
}

struct conf *conf_load_file(FILE *file, const char *name, const char *const *options,
			    size_t option_count, struct conf_report *report)
{
	struct draft draft = {.file = name};

	return load(&draft, file, options, option_count, report);
}

/* NULL with errno. inih itself would read a directory as an empty file. */
static FILE *open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fdopen(fd, "r");
	errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	close(fd);
	return NULL;
}

struct conf *conf_load(const char *path, const char *const *options, size_t option_count,
		       struct conf_report *report)
{
	const char *name = path ? path : CONF_DEFAULT_PATH;
	struct draft draft = {.file = name};
	FILE *file = open_regular(name);

	if (!file && (path || errno != ENOENT))
		draft_error(&draft, (struct position){0}, "%s",
			    errno == EINVAL ? "is not a regular file" : strerror(errno));
	struct conf *conf = load(&draft, file, options, option_count, report);

	if (file)
		fclose(file);
	return conf;
}

/* ---- freeing ---- */

static void release_values(struct conf *conf, enum section_kind kind, size_t index)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *row = &settings[i];
		bool belongs = row->section == kind ||
			       (kind == SECTION_DOMAIN && row->section == SECTION_POLICY);

		if (belongs && row->type->release)
			row->type->release(field_of(conf, kind, index, row));
	}
}

static void release_sections(struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		release_values(conf, SECTION_LISTENER, i);
		free(conf->listeners[i].name);
	}
	for (size_t i = 0; i + 1 < conf->dns.view_count; i++)
		release_values(conf, SECTION_DNS_VIEW, i);
	for (size_t i = 0; i < conf->domain_count; i++)
		release_values(conf, SECTION_DOMAIN, i);
	for (size_t i = 0; i < conf->unbound_count; i++) {
		free(conf->unbound[i].name);
		free(conf->unbound[i].value);
		free(conf->unbound[i].where);
	}
}

void conf_free(struct conf **place)
{
	static const enum section_kind plain[] = {SECTION_SERVER, SECTION_DNS,      SECTION_POLICY,
						  SECTION_TLS,    SECTION_MTA_STS,  SECTION_TIMEOUTS,
						  SECTION_LIMITS, SECTION_SPOOL, SECTION_LOG,
						  SECTION_ADMIN};
	struct conf *conf = *place;

	*place = NULL;
	if (!conf)
		return;
	release_sections(conf);
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		release_values(conf, plain[i], 0);
	free(conf->listeners);
	free(conf->dns.views);
	free(conf->domains);
	free(conf->unbound);
	free(conf);
}

static void free_texts(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

void conf_report_free(struct conf_report *report)
{
	free_texts(report->errors, report->error_count);
	free_texts(report->warnings, report->warning_count);
	*report = (struct conf_report){0};
}

/* ---- looking ---- */

/* How well a section fits a domain: 0 not at all, else the longer name wins, and the exact one
 * always. */
static size_t fitness(const struct conf_domain *section, const char *domain, time_t now)
{
	if (section->until && now >= section->until)
		return 0;
	if (!section->below)
		return strcmp(section->name, domain) ? 0 : DOMAIN_SIZE;
	return domain_is_below(domain, section->name) ? strlen(section->name) : 0;
}

const struct conf_policy *conf_policy_for(const struct conf *conf, const char *domain, time_t now,
					  const struct conf_domain **section)
{
	size_t best = 0;

	*section = NULL;
	for (size_t i = 0; i < conf->domain_count; i++) {
		size_t fit = fitness(&conf->domains[i], domain, now);

		if (fit > best) {
			best = fit;
			*section = &conf->domains[i];
		}
	}
	return *section ? &(*section)->policy : &conf->policy;
}

/* Nothing but itself is as strict as dane-only. */
bool conf_policy_is_weaker(const struct conf_policy *policy, const struct conf_policy *defaults)
{
	return policy->level < defaults->level ||
	       (policy->level != defaults->level && defaults->level == LEVEL_DANE_ONLY) ||
	       policy->enforce < defaults->enforce || policy->fallback < defaults->fallback ||
	       policy->insecure_mx < defaults->insecure_mx || policy->min_tls < defaults->min_tls ||
	       policy->mta_sts < defaults->mta_sts;
}

const char *conf_level_name(enum level level)
{
	static const char *const names[] = {
	    [LEVEL_NONE] = "none",           [LEVEL_MAY] = "may",
	    [LEVEL_ENCRYPT] = "encrypt",     [LEVEL_DANE] = "dane",
	    [LEVEL_DANE_ONLY] = "dane-only", [LEVEL_SECURE] = "secure",
	};

	return names[level];
}
