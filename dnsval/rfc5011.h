/*
 * rfc5011.h - keeps the root's trust anchor up to date in state_dir, in one process of all.
 */
#ifndef DNSVAL_RFC5011_H
#define DNSVAL_RFC5011_H

#include <stdbool.h>

struct conf;
struct ev_loop;
struct rfc5011;

/*
 * After each attempt. is_refreshed: state_dir/root.key is new, time to read it again. why: what the
 * operator must mend (R-DNS-39), borrowed; "": nothing, though the root may not have answered.
 * Lookups go on with the keys that there are.
 */
typedef void rfc5011_fn(bool is_refreshed, const char *why, void *arg);

/* Begins at once; NULL where [dns] trust_anchor is set (static) or there is no state_dir. */
struct rfc5011 *rfc5011_new(
    struct ev_loop *loop, const struct conf *conf, rfc5011_fn *report, void *arg);

/* Ends a child under way. */
void rfc5011_free(struct rfc5011 **keeper);

#endif
