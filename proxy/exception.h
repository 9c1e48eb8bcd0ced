/*
 * exception.h - [domain] sections that ask less of a destination than [policy] does: told at each
 * use, and looked at once a day, so that none outlives its reason (interface sections 2 and 4).
 *
 * A review approaches the destination as mail would without the exception: DNS, the decision,
 * connect, STARTTLS, proof, QUIT; never MAIL. What it finds is an `exception` line of the log with
 * needed=no, yes or unknown. One at a time, each within [timeouts] rcpt, in one process of all.
 */
#ifndef PROXY_EXCEPTION_H
#define PROXY_EXCEPTION_H

struct conf_domain;
struct conf_policy;
struct exceptions;
struct proxy;

/* The line for mail to domain that went under this section; nothing where it is no exception from
 * defaults. section NULL: none. */
void exception_log_use(const char *session, const char *domain, const struct conf_domain *section,
    const struct conf_policy *defaults);

/* Begins to review; what a restart would ask at once waits some minutes. Owner: serve. */
struct exceptions *exceptions_new(struct proxy *proxy);
void exceptions_free(struct exceptions **exceptions); /* NULL inside is welcome */

#endif
