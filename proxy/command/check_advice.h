/*
 * check_advice.h - the pieces of check_explain(): a refusal with what was seen, and who tells it.
 */
#ifndef PROXY_CHECK_ADVICE_H
#define PROXY_CHECK_ADVICE_H

#include "conf/mem.h"
#include "proxy/command/check.h"

struct scene {
	const struct refusal *refusal;
	const struct check *check;           /* NULL, as are the next two: the refusal is all */
	const struct check_host *host;       /* whose it is, if it is a host's */
	const struct check_address *address; /* ... and of this address */
	struct check_words *words;
};

#define WHAT(scene, ...)   ((scene)->words->what = mem_printf(__VA_ARGS__))
#define ADVICE(scene, ...) ((scene)->words->advice = mem_printf(__VA_ARGS__))
#define TEST(scene, ...)   ((scene)->words->test = mem_printf(__VA_ARGS__))

bool advice_begins(const char *text, const char *with);

/* What stands behind `mx.example.org[192.0.2.25]:25`. A peer's words come later in the text than
 * those that are looked for, and a host's name has no blank. */
const char *advice_behind_host(const struct scene *scene);

/* Each fills what it knows better than the refusal's text and check_advice(). */
void advise_bogus(struct scene *scene); /* check_advice_dns.c */
void advise_dns_failed(struct scene *scene);
void advise_unreached(struct scene *scene); /* check_advice_smtp.c */
bool advise_injection(struct scene *scene); /* false: it is another refusal */
bool advise_starttls(struct scene *scene);  /* false: nothing more than check_advice() */
void advise_sts_no_starttls(struct scene *scene);
void advise_handshake(struct scene *scene); /* check_advice_tls.c */
void advise_mismatch(struct scene *scene);
void advise_name(struct scene *scene);
void advise_sts_certificate(struct scene *scene);
void advise_sts_mx(struct scene *scene);

#endif
