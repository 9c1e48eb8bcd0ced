/*
 * pool_hop.h - under what connections to a next hop are counted: the address, and its provider, who
 * may have many addresses.
 *
 * A provider is the domain that an MX host's name is registered under: aspmx.l.google.com and
 * alt1.aspmx.l.google.com are google.com's, each customer's host below mail.protection.outlook.com
 * is outlook.com's, and mx.example.co.uk is example.co.uk's, by the Public Suffix List. Limits
 * alone depend on it.
 */
#ifndef PROXY_POOL_HOP_H
#define PROXY_POOL_HOP_H

#include "conf/addr.h"
#include "proxy/shared/counts.h"

struct pool_hop {
	struct count_key address, provider;
};

/* host: in normal form; "": none, and the address is a provider of its own. */
struct pool_hop pool_hop_of(const struct addr *address, const char *host);

/* Points into the name: all of it where it is below no registry's. */
const char *pool_hop_provider(const char *host);

#endif
