/*
 * probe.h - is DNSSEC working here at all? (R-DNS-37)
 *
 * Without a usable trust anchor, or behind something that strips signatures, everything looks
 * insecure and DANE would silently apply to nobody. So a name that must be secure ([dns]
 * dnssec_probe) is asked at start and hourly, in a resolver context of its own, whose cache cannot
 * answer for a day; a name that must fail may be asked too. Insecure: broken at once. Failed:
 * broken after 3 tries within 60 s. While broken: every 15 s.
 */
#ifndef DNSVAL_PROBE_H
#define DNSVAL_PROBE_H

struct conf;
struct ev_loop;
struct probe;
struct probe_wait;

enum probe_state {
	PROBE_PENDING, /* no result yet: wait, within your own deadline */
	PROBE_WORKING, /* also when [dns] dnssec_probe = off */
	PROBE_BROKEN,  /* destinations under dane and dane-only are deferred */
};

struct probe *probe_new(struct ev_loop *loop, const struct conf *conf);
void probe_free(struct probe **probe);

enum probe_state probe_state(const struct probe *probe);

/* Why it is broken, for replies and the log; "" otherwise. */
const char *probe_why(const struct probe *probe);

/* One callback when the state is known: on the next turn of the loop if it is known already. */
typedef void probe_wait_fn(enum probe_state state, void *arg);
struct probe_wait *probe_wait_start(struct probe *probe, probe_wait_fn *callback, void *arg);
void probe_wait_cancel(struct probe_wait **wait);

/* A callback at each change of the state, from the loop; one watcher, NULL: none any more. */
typedef void probe_watch_fn(enum probe_state state, void *arg);
void probe_watch(struct probe *probe, probe_watch_fn *callback, void *arg);

#endif
