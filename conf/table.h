/*
 * table.h - the one table of settings: section, key, type, default, limits, and where the value
 * goes.
 *
 * Reading, defaults, freeing, the sample file and its test all go by it; a new setting is a new
 * row.
 */
#ifndef CONF_TABLE_H
#define CONF_TABLE_H

#include "conf/value.h"

enum section_kind {
	SECTION_SERVER,
	SECTION_LISTENER,
	SECTION_DNS,
	SECTION_DNS_VIEW,
	SECTION_UNBOUND, /* raw options, no rows */
	SECTION_POLICY,
	SECTION_DOMAIN, /* takes the rows of SECTION_POLICY as well */
	SECTION_TLS,
	SECTION_MTA_STS,
	SECTION_TIMEOUTS,
	SECTION_LIMITS,
	SECTION_SPOOL,
	SECTION_LOG,
	SECTION_ADMIN,
	SECTION_COUNT,
};

/* What an offset counts from. */
enum setting_home {
	HOME_CONF,
	HOME_LISTENER,
	HOME_VIEW,
	HOME_POLICY,
	HOME_DOMAIN,
};

struct setting {
	enum section_kind section;
	const char *key;
	const struct value_type *type;
	enum setting_home home;
	size_t offset;
	const char
	    *fallback; /* as text, parsed like the file's; NULL: none, the field stays zero */
	struct value_rule rule;
};

extern const struct setting settings[];
extern const size_t setting_count;

/* The row for a key within a section; NULL: unknown. */
const struct setting *setting_find(enum section_kind section, const char *key);

/* "policy", "listener NAME" */
const char *section_pattern(enum section_kind kind);

/*
 * A section's title to its kind and its name in normal form ("" where the kind has none; a domain's
 * leading dot stays). false: no such section, or no such name, as `why` says.
 */
bool section_parse(const char *title, enum section_kind *kind, char name[DOMAIN_SIZE + 1],
		   char why[VALUE_WHY]);

#endif
