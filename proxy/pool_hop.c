/*
 * pool_hop.c - see pool_hop.h. The only user of libpsl.
 */
#include "proxy/pool_hop.h"

#include "tls/digest.h"

#include <libpsl.h>
#include <string.h>

/* The list that is compiled in: no file, which would have to be found within the sandbox. */
const char *pool_hop_provider(const char *host)
{
	const char *registered = psl_registrable_domain(psl_builtin(), host);

	return registered ? registered : host;
}

/* By a digest of the name: keys have one size. */
static struct count_key key_of_provider(const char *name)
{
	struct digest *digest = digest_new();
	unsigned char sum[DIGEST_SIZE];

	digest_add(digest, name, strlen(name));
	digest_end(&digest, sum);
	return count_key_of_name(COUNT_PROVIDER, sum);
}

struct pool_hop pool_hop_of(const struct addr *address, const char *host)
{
	return (struct pool_hop){
	    .address = count_key(COUNT_NEXT_HOP, address, NULL),
	    .provider = host[0] ? key_of_provider(pool_hop_provider(host))
				: count_key(COUNT_PROVIDER, address, NULL),
	};
}
