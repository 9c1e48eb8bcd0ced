/*
 * middlebox.h - does something on our own way take STARTTLS out of what next hops offer?
 *
 * A host that offered it and does not any more may have its reasons; many of them at once have one,
 * and it is near us. Under DANE their mail is deferred; elsewhere it goes out in clear, so somebody
 * should know. Remembers MX hosts that offered STARTTLS within the last week, at most 10,000, and
 * what they said when they were last greeted. Pure; times are of the steady clock. Owner: machine.
 */
#ifndef PROXY_MIDDLEBOX_H
#define PROXY_MIDDLEBOX_H

#include <stdbool.h>
#include <stddef.h>

struct middlebox;

struct middlebox *middlebox_new(void);
void middlebox_free(struct middlebox **middlebox); /* NULL inside is welcome */

/* What a host's first EHLO offered, or that it took none. */
void middlebox_hear(
    struct middlebox *middlebox, const char *host, bool offers_starttls, double now);

struct middlebox_verdict {
	bool is_suspected;
	size_t greeted, lacking; /* of the hosts that are known, in the last 10 minutes */
	char hosts[512]; /* some that lack it: "mx1.example.org, mx.example.net and 7 more" */
};

/*
 * Suspected: of the known hosts that were greeted within 10 minutes, at least 5 and more than half
 * offered no STARTTLS. No more: half of them or more do again, or none was greeted for an hour.
 */
void middlebox_judge(struct middlebox *middlebox, double now, struct middlebox_verdict *verdict);

#endif
