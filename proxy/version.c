/*
 * version.c - the one file that is built anew with every commit.
 */
#include "proxy/version.h"

#include "conf/sandbox.h"
#include "policy/fetch.h"
#include "policy/store.h"
#include "proxy/admin.h"
#include "release.h"

#include <ev.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <unbound.h>

const char danelaw_version[] = DANELAW_VERSION;
const char danelaw_commit[] = DANELAW_COMMIT;

void version_print(void)
{
	printf("danelaw %s (%s)\n%s\nlibunbound %s\nlibev %d.%d\n", danelaw_version, danelaw_commit,
	    OpenSSL_version(OPENSSL_VERSION), ub_version(), ev_version_major(), ev_version_minor());
	printf("libcurl %s\nSQLite %s\njansson %s\nlibmicrohttpd %s\nlibseccomp %s\n",
	    fetch_library_version(), store_library_version(), jansson_version_str(),
	    admin_library_version(), sandbox_library_version());
}
