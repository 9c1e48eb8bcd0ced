/*
 * runner.h - works the spool off: asks what is due, tries it through the same deliveries as live
 * mail, and settles what came of it.
 *
 * Every decision is taken anew at each try. Recipients of one domain go together, several next hops
 * in parallel. Permanent failures, and what is older than [spool] lifetime, are bounced. Owner:
 * serve.
 */
#ifndef PROXY_RUNNER_H
#define PROXY_RUNNER_H

#include <stdbool.h>

struct proxy;
struct runner;

struct runner *runner_new(struct proxy *proxy);

/* Nothing new is begun; what is past its final dot goes on. */
void runner_stop(struct runner *runner);
bool runner_is_idle(const struct runner *runner); /* NULL is */
void runner_free(struct runner **runner);         /* cuts what is left; it stays in the spool */

#endif
