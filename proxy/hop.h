/*
 * hop.h - what a failed conversation with a host means as a refusal. Used by the attempt, which
 * delivers, and by check, which shows what delivery would meet.
 */
#ifndef PROXY_HOP_H
#define PROXY_HOP_H

#include "policy/policy.h"

struct smtp_client;

/* After CLIENT_FAILED, under the route's own rule. */
void hop_explain(
    const struct route *route, const struct smtp_client *client, struct refusal *refusal);

#endif
