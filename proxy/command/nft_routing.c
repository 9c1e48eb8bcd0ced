/*
 * nft_routing.c - the routing that tproxy needs, as a script: what the rules have marked is at home
 * on this host. It can be run again, and undone.
 */
#include "conf/mem.h"
#include "proxy/command/nft_rules.h"

static bool has_tproxy(const struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++)
		if (conf->listeners[i].intercept == INTERCEPT_TPROXY)
			return true;
	return false;
}

char *nft_routing(const struct conf *conf)
{
	if (!has_tproxy(conf))
		return mem_strdup(
		    "#!/bin/sh\n# No listener has intercept = tproxy: nothing to route.\n");
	return mem_printf("#!/bin/sh\n"
			  "# Routing for intercept = tproxy; printed by danelaw nft --routing. "
			  "Packets that carry the\n"
			  "# rules' mark are delivered on this host, whatever their destination.\n"
			  "#\n"
			  "#   set up, and again        danelaw nft --routing | sh\n"
			  "#   undo                     danelaw nft --routing | sh -s undo\n"
			  "set -eu\n"
			  "\n"
			  "for family in -4 -6; do\n"
			  "\t[ $family = -4 ] || [ -e /proc/net/if_inet6 ] || continue\n"
			  "\tif [ \"${1:-}\" = undo ]; then\n"
			  "\t\tip $family rule del fwmark 0x%x/0x%x lookup %d 2>/dev/null || :\n"
			  "\t\tip $family route flush table %d 2>/dev/null || :\n"
			  "\t\tcontinue\n"
			  "\tfi\n"
			  "\tip $family rule show | grep -q 'fwmark 0x%x/0x%x lookup %d' ||\n"
			  "\t\tip $family rule add fwmark 0x%x/0x%x lookup %d\n"
			  "\tip $family route replace local default dev lo table %d\n"
			  "done\n",
	    NFT_LOCAL_MARK, NFT_MARK_MASK, NFT_ROUTING_TABLE, NFT_ROUTING_TABLE, NFT_LOCAL_MARK,
	    NFT_MARK_MASK, NFT_ROUTING_TABLE, NFT_LOCAL_MARK, NFT_MARK_MASK, NFT_ROUTING_TABLE,
	    NFT_ROUTING_TABLE);
}
