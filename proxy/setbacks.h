/*
 * setbacks.h - addresses that failed a moment ago (R-SMTP-34).
 *
 * Without it each message of a burst would wait for the same dead address or repeat the same
 * failing handshake. A refusal is remembered for 30 s under the address and what was asked of it (a
 * mended TLSA record is another rule and is tried at once); an address that did not greet is tried
 * last for 60 s. Bounded. Owner: main.
 *
 * source: the client's address with which the connection left (preserve_source); NULL: our own. The
 * next hop may refuse one of them and serve the others.
 */
#ifndef PROXY_SETBACKS_H
#define PROXY_SETBACKS_H

#include "conf/addr.h"
#include "policy/reason.h"
#include "tls/rule.h"

#include <stdbool.h>

struct setbacks;

struct setbacks *setbacks_new(void);
void setbacks_free(struct setbacks **setbacks);

/* Remembers a failure. is_dead: connect or greeting failed, whatever the rule. */
void setbacks_add(struct setbacks *setbacks, const struct addr *address, const struct addr *source,
    const struct tls_rule *rule, bool is_dead, const struct refusal *refusal);

/* The refusal of the last 30 s, or NULL. Valid until the loop turns. */
const struct refusal *setbacks_find(struct setbacks *setbacks, const struct addr *address,
    const struct addr *source, const struct tls_rule *rule);

/* Whether the address did not greet within the last 60 s: to be tried last. */
bool setbacks_is_dead(
    struct setbacks *setbacks, const struct addr *address, const struct addr *source);

#endif
