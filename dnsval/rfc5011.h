/*
 * rfc5011.h - keeps the root's trust anchor up to date in state_dir, in one process of all.
 */
#ifndef DNSVAL_RFC5011_H
#define DNSVAL_RFC5011_H

struct conf;
struct ev_loop;
struct rfc5011;

/* After each refresh of state_dir/root.key: time to read it again. */
typedef void rfc5011_fn(void *arg);

/*
 * Begins at once; NULL where [dns] trust_anchor is set (static) or there is no state_dir. What goes
 * wrong with the files is logged at error, each time (R-DNS-39); lookups go on with the keys that
 * there are.
 */
struct rfc5011 *rfc5011_new(
    struct ev_loop *loop, const struct conf *conf, rfc5011_fn *refreshed, void *arg);

/* Ends a child under way. */
void rfc5011_free(struct rfc5011 **keeper);

#endif
