/*
 * nft_rules.h - from the configuration to rules for nftables, and to the routing that tproxy needs
 * beside them. Pure: text from settings, nothing is asked and nothing changed. Called by nft_cmd.c.
 */
#ifndef PROXY_NFT_RULES_H
#define PROXY_NFT_RULES_H

#include "conf/conf.h"

#include <sys/types.h>

/* The mark of packets that are delivered on this host whatever their destination, and the routing
 * table that does it (0x2ee). Of a packet's mark danelaw has the lowest 12 bits. */
enum { NFT_LOCAL_MARK = 0x2ee, NFT_MARK_MASK = 0xfff, NFT_ROUTING_TABLE = 750 };

struct nft_choice {
	bool fail_open;
	const char *user; /* whom danelaw runs as */
	uid_t uid;
};

/* Where connections come from: other hosts, or programs of this one. */
enum nft_path { NFT_ROUTED, NFT_LOCAL };

/* Which address of `listen` takes them; NULL: none can. Of tproxy none takes local ones. */
const struct addr *nft_target(const struct conf_listener *listener, int family, enum nft_path path);

bool nft_is_wildcard(const struct addr *a);

/* Input for nft -f; the caller frees it. conf has an intercepting listener. */
char *nft_rules(const struct conf *conf, const struct nft_choice *choice);

/* A shell script; empty but for a comment where no listener has tproxy. The caller frees it. */
char *nft_routing(const struct conf *conf);

#endif
