/*
 * nft_target.c - which address of a listener takes connections that come on a path (nft_rules.h),
 * and where none can. Called by nft_rules.c and, for warnings, nft_cmd.c.
 */
#include "proxy/command/nft_rules.h"

bool nft_is_wildcard(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? !a->in.sin_addr.s_addr
					  : IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/* 2: the one for that path. 1: will do. 0: cannot: to loopback nothing is routed from outside, but
 * tproxy routes nothing anew. */
static int fitness(const struct conf_listener *listener, const struct addr *a, enum nft_path path)
{
	if (nft_is_wildcard(a) || listener->intercept == INTERCEPT_TPROXY)
		return 2;
	if (path == NFT_LOCAL)
		return addr_is_loopback(a) ? 2 : 1;
	return addr_is_loopback(a) ? 0 : 2;
}

const struct addr *nft_target(const struct conf_listener *listener, int family, enum nft_path path)
{
	const struct addr *best = NULL;
	int best_fitness = 0;

	if (listener->intercept == INTERCEPT_TPROXY && path == NFT_LOCAL)
		return NULL;
	for (size_t i = 0; i < listener->listen.count; i++) {
		const struct addr *a = &listener->listen.items[i];
		int fits = a->sa.sa_family == family ? fitness(listener, a, path) : 0;

		if (fits > best_fitness) {
			best = a;
			best_fitness = fits;
		}
	}
	return best;
}
