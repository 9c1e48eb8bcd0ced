/*
 * intercept.c - asks the kernel whom a client dialled.
 *
 * redirect: netfilter changed the destination on its way in, and conntrack remembers the first one.
 * tproxy: the destination was left alone, and the accepted socket has it as its own address.
 */
#include "proxy/intercept/intercept.h"

#include "tls/socket.h"

#include <errno.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* <linux/netfilter_ipv6/ip6_tables.h> has it beside a header that no C program can include twice.
 */
#ifndef IP6T_SO_ORIGINAL_DST
#define IP6T_SO_ORIGINAL_DST 80
#endif

bool intercept_is_used(const struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		if (conf->listeners[i].intercept != INTERCEPT_OFF)
			return true;
	}
	return false;
}

bool intercept_marks(const struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		if (conf->listeners[i].intercept == INTERCEPT_TPROXY)
			return true;
	}
	return false;
}

uint32_t intercept_mark_beside(const struct conf *conf)
{
	return intercept_is_used(conf) && socket_may_mark(INTERCEPT_MARK) ? INTERCEPT_MARK : 0;
}

/* The client's family decides: an IPv4 client of an IPv6 socket has its record in IPv4's table. */
static bool ask_conntrack(int fd, int family, struct addr *a)
{
	struct sockaddr_storage ss = {0};
	socklen_t len =
	    family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	int level = family == AF_INET ? SOL_IP : SOL_IPV6;
	int option = family == AF_INET ? SO_ORIGINAL_DST : IP6T_SO_ORIGINAL_DST;

	return !getsockopt(fd, level, option, &ss, &len) &&
	       addr_from_sockaddr(a, (struct sockaddr *)&ss);
}

bool intercept_find(
    const struct conf_listener *conf, int fd, const struct addr *client, struct addr *original)
{
	if (conf->intercept == INTERCEPT_TPROXY)
		return socket_local(fd, original);
	return ask_conntrack(fd, client->sa.sa_family, original);
}

/* Under redirect our end is always ours; the client's own idea of it must be another. */
bool intercept_is_direct(const struct conf_listener *conf, int fd, const struct addr *original)
{
	struct addr own;

	if (conf->intercept == INTERCEPT_REDIRECT && socket_local(fd, &own) &&
	    addr_equal(original, &own))
		return true;
	return addr_is_local(original);
}

void intercept_describe(const struct conf_listener *conf, const struct addr *client,
    const struct addr *original, struct interception *out)
{
	*out = (struct interception){
	    .listener = conf,
	    .original = *original,
	    .keeps_source = conf->preserve_source,
	    .source = *client,
	};
	addr_set_port(&out->source, 0);
	for (size_t i = 0; i < conf->passthrough.count; i++)
		out->passthrough |= addr_equal(&conf->passthrough.items[i], original);
}

void intercept_take_name(struct interception *interception, const char *helo)
{
	static const char of_names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789.-_[]:";
	size_t len = strspn(helo, of_names);
	char literal[ADDR_TEXT];

	if (len == 0 || helo[len] || len >= sizeof interception->ehlo)
		helo = addr_literal(&interception->source, literal);
	snprintf(interception->ehlo, sizeof interception->ehlo, "%s", helo);
}

static bool is_dialled(const struct interception *i, const struct addr *address)
{
	return i->listener && addr_equal_ip(&i->original, address);
}

size_t intercept_order(
    const struct interception *i, const struct addr *addresses, size_t count, struct addr *out)
{
	size_t taken = 0;

	for (int dialled = 1; dialled >= 0; dialled--) {
		for (size_t k = 0; k < count; k++) {
			if (is_dialled(i, &addresses[k]) == dialled &&
			    (!i->keeps_source ||
				addresses[k].sa.sa_family == i->source.sa.sa_family))
				out[taken++] = addresses[k];
		}
	}
	return taken;
}

enum delivery_mode intercept_delivery(
    const struct interception *i, const struct conf_listener *listener)
{
	return i->keeps_source || i->passthrough ? DELIVERY_DEFER : listener->delivery;
}

const char *intercept_domain(const struct interception *i, const char *domain, char text[ADDR_TEXT])
{
	return i->passthrough ? addr_bracketed(&i->original, text) : domain;
}
