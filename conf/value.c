/*
 * value.c - the types a setting can have: one parser each, text to field.
 *
 * Strict on purpose: a unit is required, blanks within a number are not taken, nothing is rounded
 * or clamped. A setting that weakens security by a typing error must not start. Called by conf.c.
 */
#include "conf/value.h"

#include "conf/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool value_refuse(char why[VALUE_WHY], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, VALUE_WHY, format, args);
	va_end(args);
	return false;
}

/* ---- numbers ---- */

struct unit {
	const char *name;
	double factor;
};

static const struct unit time_units[] = {
    {"ms", 0.001},
    {"s", 1},
    {"m", 60},
    {"h", 3600},
    {"d", 86400},
    {NULL, 0},
};
static const struct unit size_units[] = {
    {"", 1},
    {"K", 1024},
    {"M", 1048576},
    {"G", 1073741824},
    {NULL, 0},
};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

/* Digits and a unit. Twelve digits fit a double exactly, and more than any limit. */
static bool scan_number(const char *text, const struct unit *units, double *number)
{
	size_t digits = strspn(text, "0123456789");

	*number = 0;
	if (digits == 0 || digits > 12)
		return false;
	for (; units->name; units++) {
		if (!strcmp(text + digits, units->name)) {
			*number = (double)strtoull(text, NULL, 10) * units->factor;
			return true;
		}
	}
	return false;
}

/* A limit in the form the operator writes it: the largest unit that needs no fraction. */
static const char *show_number(double number, const struct unit *units, char out[40])
{
	const struct unit *best = units;

	for (const struct unit *unit = units; unit->name; unit++)
		if (number >= unit->factor && fmod(number, unit->factor) < 1e-9)
			best = unit;
	snprintf(out, 40, "%.0f%s", number / best->factor, best->name);
	return out;
}

static bool take_number(const char *text, const struct unit *units, const char *what,
    const struct value_rule *rule, double *number, char why[VALUE_WHY])
{
	char least[40], most[40];

	if (!scan_number(text, units, number))
		return value_refuse(why, "%.80s is not %s", *text ? text : "nothing", what);
	if (*number >= rule->least && *number <= rule->most)
		return true;
	return value_refuse(why, "must be from %s to %s%s%s",
	    show_number(rule->least, units, least), show_number(rule->most, units, most),
	    rule->because ? ": " : "", rule->because ? rule->because : "");
}

static bool parse_time(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	double seconds;

	if (!take_number(
		text, time_units, "a time such as 100ms, 30s, 5m, 2h or 1d", rule, &seconds, why))
		return false;
	*(double *)field = seconds;
	return true;
}

static bool add_time(struct conf_times *times, const char *text, char why[VALUE_WHY])
{
	static const struct value_rule rule = {.least = 0.001, .most = 86400};

	if (times->count == CONF_TIMES_MAX)
		return value_refuse(why, "at most %d times", CONF_TIMES_MAX);
	return parse_time(&times->items[times->count], text, &rule, why) && ++times->count;
}

static bool parse_times(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	static const char separators[] = " \t,";
	struct conf_times *times = field;
	char word[40];

	for (;;) {
		text += strspn(text, separators);
		if (!*text)
			break;
		size_t len = strcspn(text, separators);

		snprintf(word, sizeof word, "%.*s", len < 39 ? (int)len : 39, text);
		if (!add_time(times, word, why))
			return false;
		text += len;
	}
	return times->count >= rule->least || value_refuse(why, "must not be empty");
}

static void release_times(void *field) { *(struct conf_times *)field = (struct conf_times){0}; }

static bool parse_size(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	double number;

	if (!take_number(
		text, size_units, "a size such as 65536, 64K, 50M or 1G", rule, &number, why))
		return false;
	*(uint64_t *)field = (uint64_t)number;
	return true;
}

static bool parse_count(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	double number;

	if (!take_number(text, no_units, "a whole number", rule, &number, why))
		return false;
	*(unsigned *)field = (unsigned)number;
	return true;
}

static bool parse_workers(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	if (strcmp(text, "auto") != 0)
		return parse_count(field, text, rule, why);
	*(unsigned *)field = 0;
	return true;
}

const struct value_type value_time = {.parse = parse_time};
const struct value_type value_times = {
    .parse = parse_times, .release = release_times, .is_list = true};
const struct value_type value_size = {.parse = parse_size};
const struct value_type value_count = {.parse = parse_count};
const struct value_type value_workers = {.parse = parse_workers};

/* ---- words ---- */

static bool parse_yes_no(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	(void)rule;
	bool yes = !strcmp(text, "yes");

	if (!yes && strcmp(text, "no") != 0)
		return value_refuse(why, "%.80s is neither yes nor no", *text ? text : "nothing");
	*(bool *)field = yes;
	return true;
}

static bool parse_enum(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	const struct value_choice *choice = rule->choices;
	size_t used;

	for (; choice->name; choice++) {
		if (!strcmp(text, choice->name)) {
			*(unsigned *)field = choice->value;
			return true;
		}
	}
	used = (size_t)snprintf(why, VALUE_WHY, "%.80s is not one of", *text ? text : "nothing");
	for (choice = rule->choices; choice->name && used < VALUE_WHY; choice++)
		used += (size_t)snprintf(why + used, VALUE_WHY - used, " %s", choice->name);
	return false;
}

static bool parse_either(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	unsigned choice;

	if (!parse_enum(&choice, text, rule, why))
		return false;
	*(bool *)field = choice;
	return true;
}

static void set_text(void *field, const char *text)
{
	char **place = field;

	free(*place);
	*place = mem_strdup(text);
}

static void release_text(void *field)
{
	char **place = field;

	free(*place);
	*place = NULL;
}

static bool parse_text(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	(void)rule, (void)why;
	set_text(field, text);
	return true;
}

static bool parse_host(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	char name[DOMAIN_SIZE] = "";

	(void)rule;
	if (*text && !(domain_normalize(name, text, strlen(text)) && domain_is_host(name))) {
		set_text(field, "");
		return value_refuse(why, "%.80s is not a host name", text);
	}
	set_text(field, name);
	return true;
}

/*
 * It goes into headers and envelopes: a local part that needs no quotes (RFC 5322 3.2.3), and a
 * domain that replies can come to.
 */
static bool parse_mailbox(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	static const char atoms[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789!#$%&'*+-/=?^_`{|}~.";
	size_t local = strspn(text, atoms);
	bool is_dot_atom = local > 0 && local <= 64 && text[0] != '.' && text[local - 1] != '.' &&
			   !memmem(text, local, "..", 2);
	char domain[DOMAIN_SIZE];

	(void)rule;
	set_text(field, "");
	if (!*text)
		return true;
	if (!is_dot_atom || text[local] != '@' ||
	    !domain_normalize(domain, text + local + 1, strlen(text + local + 1)) ||
	    !domain_is_host(domain))
		return value_refuse(why, "%.80s is not an address such as postmaster@example.org",
		    text);
	release_text(field);
	*(char **)field = mem_printf("%.*s@%s", (int)local, text, domain);
	return true;
}

const struct value_type value_yes_no = {.parse = parse_yes_no};
const struct value_type value_enum = {.parse = parse_enum};
const struct value_type value_either = {.parse = parse_either};
const struct value_type value_text = {.parse = parse_text, .release = release_text};
const struct value_type value_mailbox = {.parse = parse_mailbox, .release = release_text};
const struct value_type value_host = {.parse = parse_host, .release = release_text};

/* ---- dates ---- */

/* The day is over when the next one begins. timegm() reveals a 31st of June. Nothing: no end. */
static bool parse_date(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	struct tm day = {0};
	const char *end = strptime(text, "%Y-%m-%d", &day);
	struct tm same = day;

	(void)rule;
	*(time_t *)field = 0;
	if (!*text)
		return true;
	if (strlen(text) != 10 || !end || *end || timegm(&same) < 0 || same.tm_mday != day.tm_mday)
		return value_refuse(
		    why, "%.80s is not a date such as 2027-01-31", *text ? text : "nothing");
	day.tm_mday++;
	*(time_t *)field = timegm(&day);
	return true;
}

const struct value_type value_date = {.parse = parse_date};

/* ---- dnssec_probe: a name and a type, or off ---- */

static bool parse_probe(
    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY])
{
	struct conf *conf = field;
	size_t len = strcspn(text, " \t");
	const char *type = text + len + strspn(text + len, " \t");
	char name[DOMAIN_SIZE] = ".";
	bool is_root = len == 1 && *text == '.';

	(void)rule;
	set_text(&conf->dns.probe_name, "");
	if (!strcmp(text, "off"))
		return true;
	if (!is_root && !domain_normalize(name, text, len))
		return value_refuse(
		    why, "%.80s must be a name and a type, such as . SOA, or off", text);
	if (!dns_type_from_name(&conf->dns.probe_type, type))
		return value_refuse(
		    why, "%.80s is not a type that can be asked for", *type ? type : "nothing");
	set_text(&conf->dns.probe_name, name);
	return true;
}

static void release_probe(void *field)
{
	struct conf *conf = field;

	release_text(&conf->dns.probe_name);
}

const struct value_type value_probe = {.parse = parse_probe, .release = release_probe};
