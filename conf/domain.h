/*
 * domain.h - domain names in the one form used everywhere: lower-case A-labels, no trailing dot.
 *
 * Every name passes here before it becomes a DNS question, a cache key or a log key (R-DNS-31,
 * -32): libunbound leaks memory for each malformed name, and two spellings must not be two
 * destinations.
 */
#ifndef CONF_DOMAIN_H
#define CONF_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>

enum { DOMAIN_MAX = 253, DOMAIN_SIZE = DOMAIN_MAX + 1 };

/*
 * Mail domain or host name, ASCII or UTF-8, to normal form. U-labels by IDNA2008 with UTS 46
 * non-transitional mapping; an "xn--" label must be a valid A-label. Labels of letters, digits,
 * hyphen and underscore, 1 to 63 octets, 253 in all. false: not a name, out is "".
 */
bool domain_normalize(char out[DOMAIN_SIZE], const char *text, size_t len);

/*
 * Whether a name that came out of DNS (already text) can be a host: as above, and not all numeric
 * in the last label.
 */
bool domain_is_host(const char *name);

/*
 * Whether a name can be an MX host: as above, of several labels. Names like `localhost` mean
 * something else at each place where they are looked up (D-11, D-22).
 */
bool domain_is_mx_host(const char *name);

/* Whether name lies strictly below parent; both in normal form. */
bool domain_is_below(const char *name, const char *parent);

#endif
