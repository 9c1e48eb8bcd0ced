/*
 * addr_local.c - which addresses are this machine's own, as the kernel says.
 *
 * bind() would be quicker, but with ip_nonlocal_bind every address would seem to be ours. Since
 * each intercepted connection asks, and a router may have thousands of addresses, the list serves
 * for a second.
 */
#include "conf/addr.h"

#include "conf/clock.h"
#include "conf/mem.h"

#include <ifaddrs.h>
#include <stdlib.h>

static const double LIST_SECONDS = 1;

static struct {
	struct addr *items;
	size_t count;
	double until; /* of the steady clock */
} own;

static void list_own(void)
{
	struct ifaddrs *interfaces;
	size_t count = 0;

	own.count = 0;
	if (getifaddrs(&interfaces))
		return;
	for (const struct ifaddrs *i = interfaces; i; i = i->ifa_next)
		count++;
	own.items = mem_resize(own.items, count + 1, sizeof *own.items);
	for (const struct ifaddrs *i = interfaces; i; i = i->ifa_next)
		own.count += i->ifa_addr && addr_from_sockaddr(&own.items[own.count], i->ifa_addr);
	freeifaddrs(interfaces);
	own.until = clock_steady() + LIST_SECONDS;
}

bool addr_is_local(const struct addr *a)
{
	if (addr_is_loopback(a))
		return true;
	if (clock_steady() >= own.until)
		list_own();
	for (size_t i = 0; i < own.count; i++)
		if (addr_equal_ip(&own.items[i], a))
			return true;
	return false;
}
