/*
 * value.h - the types a setting can have: one parser each, text to field.
 *
 * Parsers are pure. On failure `why` says what was expected, to stand after "key: ", and the field
 * stays something that may be released. A list parser appends to what the field has; every other
 * one replaces it.
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "conf/conf.h"

#include <stdbool.h>

enum { VALUE_WHY = 320 };

struct value_choice {
	const char *name;
	unsigned value;
};

struct value_rule {
	double least, most;                 /* seconds, octets, number; of a list the least count */
	const char *because;                /* which rule sets the limit, or NULL */
	const struct value_choice *choices; /* until name is NULL */
};

struct value_type {
	bool (*parse)(
	    void *field, const char *text, const struct value_rule *rule, char why[VALUE_WHY]);
	void (*release)(void *field); /* frees, and empties the field; NULL: nothing to free */
	bool is_list;
};

/* Formats `why`; returns false. */
bool value_refuse(char why[VALUE_WHY], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

extern const struct value_type value_time;     /* double, seconds: 100ms 30s 5m 2h 1d */
extern const struct value_type value_times;    /* struct conf_times */
extern const struct value_type value_size;     /* uint64_t, octets: 64K 50M 1G */
extern const struct value_type value_count;    /* unsigned */
extern const struct value_type value_workers;  /* unsigned; auto: 0 */
extern const struct value_type value_yes_no;   /* bool */
extern const struct value_type value_enum;     /* an enum, by rule.choices */
extern const struct value_type value_either;   /* bool, by the two of rule.choices */
extern const struct value_type value_text;     /* char *, never NULL after parsing */
extern const struct value_type value_host;     /* char *, normal form, may be empty */
extern const struct value_type value_mailbox;  /* char *, local@domain, may be empty */
extern const struct value_type value_date;     /* time_t, end of that day, UTC */
extern const struct value_type value_probe;    /* struct conf: dns.probe_name, probe_type */
extern const struct value_type value_next_hop; /* struct conf_next_hop */
extern const struct value_type value_ranges;   /* struct cidr_list */
extern const struct value_type value_listen;   /* struct conf_addrs, with ports */
extern const struct value_type value_hosts;    /* struct conf_addrs, port 25 unless written */
extern const struct value_type value_servers;  /* struct conf_addrs, address@port, else 53 */

#endif
