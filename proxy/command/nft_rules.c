/*
 * nft_rules.c - see nft_rules.h. One table of its own, so that loading replaces all of it at once
 * and removing it leaves nothing behind.
 *
 * redirect: the nat hooks change the destination to our listener, and conntrack remembers it.
 * tproxy: the destination stays; the packet is given to our listener's socket, and marked, so that
 * policy routing delivers it here. In both the last word on what is left alone has spareN.
 */
#include "proxy/command/nft_rules.h"

#include "conf/mem.h"
#include "proxy/intercept/intercept.h"
#include "proxy/command/nft_ranges.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NOT_MAIL      "\t\tmeta l4proto != tcp accept\n\t\ttcp dport != 25 accept\n"
#define OWN_ADDRESSES "\t\tfib daddr type { local, broadcast, anycast, multicast } accept\n"

#define OPENING "tcp dport 25 tcp flags & (syn | ack) == syn"

static const int families[] = {AF_INET, AF_INET6};

struct writer {
	FILE *out;
	const struct conf *conf;
	const struct nft_choice *choice;
};

static void put(const struct writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(const struct writer *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(w->out, format, args);
	va_end(args);
}

static bool has_kind(const struct conf *conf, enum intercept intercept)
{
	for (size_t i = 0; i < conf->listener_count; i++)
		if (conf->listeners[i].intercept == intercept)
			return true;
	return false;
}

static bool keeps_source(const struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++)
		if (conf->listeners[i].preserve_source)
			return true;
	return false;
}

/* ---- sets ---- */

/* No more than a LAN needs. The destination is what the client's DNS said, and that can be forged:
 * of the other special ranges 6to4, Teredo and 192.88.99.0/24 lead to any host of the internet, and
 * 100.64.0.0/10 to the neighbours at the provider. */
static void put_lan(const struct writer *w)
{
	put(w, "\n\t# Never the internet: private, link-local, loopback and multicast addresses.\n"
	       "\tset lan4 {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = {\n"
	       "\t\t\t10.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12,\n"
	       "\t\t\t192.168.0.0/16, 224.0.0.0/4\n\t\t}\n\t}\n"
	       "\tset lan6 {\n\t\ttype ipv6_addr\n\t\tflags interval\n\t\telements = {\n"
	       "\t\t\t::1, fc00::/7, fe80::/10, ff00::/8\n\t\t}\n\t}\n");
}

/* What the operator asked for, wherever it lies: of each policy, since the domain is not known yet.
 */
static void gather_asked(
    const struct conf *conf, const struct conf_listener *listener, struct cidr_list *asked)
{
	nft_add_ranges(asked, &conf->policy.allow_addresses);
	for (size_t i = 0; i < conf->domain_count; i++)
		nft_add_ranges(asked, &conf->domains[i].policy.allow_addresses);
	for (size_t i = 0; i < listener->passthrough.count; i++)
		nft_add_address(asked, &listener->passthrough.items[i]);
}

/* Where everybody is a client the clients' networks are the whole internet. */
static void put_spare(
    const struct writer *w, const struct conf_listener *listener, size_t n, int family)
{
	const char *ip = nft_family(family);
	char digit = nft_digit(family);

	put(w, "\tchain spare%c_%zu {\n", digit, n);
	put(w, "\t\t%s daddr @asked%c_%zu return\n", ip, digit, n);
	put(w, "\t\t%s daddr @lan%c accept\n", ip, digit);
	if (!cidr_list_is_everybody(&listener->clients, family))
		put(w, "\t\t%s daddr @clients%c_%zu accept\n", ip, digit, n);
	put(w, "\t}\n");
}

/* What belongs to the n-th listener alone. */
static void put_listener(const struct writer *w, const struct conf_listener *listener, size_t n)
{
	struct cidr_list asked = {0};

	gather_asked(w->conf, listener, &asked);
	put(w,
	    "\n\t# [listener %s]: its clients; the addresses that allow_addresses or\n"
	    "\t# passthrough ask for; and what is left alone (accept), the clients' own networks\n"
	    "\t# with it.\n",
	    listener->name);
	for (size_t f = 0; f < 2; f++) {
		if (!nft_has_family(&listener->clients, families[f]))
			continue;
		nft_write_set(w->out, "clients", n, families[f], &listener->clients);
		nft_write_set(w->out, "asked", n, families[f], &asked);
		put_spare(w, listener, n, families[f]);
	}
	if (w->choice->fail_open && listener->intercept == INTERCEPT_REDIRECT)
		put(w,
		    "\tset down_%zu {\n\t\ttype nf_proto\n\t\tflags dynamic,timeout\n"
		    "\t\ttimeout 5s\n\t}\n",
		    n);
	free(asked.items);
}

/* ---- rules of one listener, family and path ---- */

struct taking {
	const struct conf_listener *listener;
	size_t n;
	int family;
	const struct addr *target;
};

static void put_target(const struct writer *w, const struct taking *c)
{
	char text[ADDR_TEXT];

	if (nft_is_wildcard(c->target))
		put(w, " :%u", addr_port(c->target));
	else if (c->family == AF_INET)
		put(w, " %s:%u", addr_ip(c->target, text), addr_port(c->target));
	else
		put(w, " %s", addr_bracketed(c->target, text));
}

static void put_match(const struct writer *w, const struct taking *c)
{
	put(w, "\t\t%s saddr @clients%c_%zu", nft_family(c->family), nft_digit(c->family), c->n);
}

static void put_redirect(const struct writer *w, const struct taking *c)
{
	if (w->choice->fail_open) {
		put_match(w, c);
		put(w, " meta nfproto @down_%zu counter accept\n", c->n);
	}
	put_match(w, c);
	put(w, " tcp dport 25 counter ");
	if (nft_is_wildcard(c->target))
		put(w, "redirect to");
	else
		put(w, "dnat %s to", nft_family(c->family));
	put_target(w, c);
	put(w, "\n");
}

/* Bits above the mask are others': VPNs, traffic control, container networks. */
static void put_set_mark(const struct writer *w)
{
	put(w, "meta mark set meta mark & 0x%x | 0x%x", ~(unsigned)NFT_MARK_MASK, NFT_LOCAL_MARK);
}

/* Without a listening socket the tproxy statement ends its rule, and the next one has its turn. */
static void put_tproxy(const struct writer *w, const struct taking *c)
{
	put_match(w, c);
	put(w, " tcp dport 25 tproxy %s to", nft_family(c->family));
	put_target(w, c);
	put(w, " ");
	put_set_mark(w);
	put(w, " counter accept\n");
	put_match(w, c);
	if (w->choice->fail_open)
		put(w, " counter accept\n");
	else
		put(w, " tcp dport 25 counter reject with tcp reset\n");
}

static void put_spared(const struct writer *w, const struct taking *c)
{
	put_match(w, c);
	put(w, " jump spare%c_%zu\n", nft_digit(c->family), c->n);
}

static bool is_redirected(const struct taking *c)
{
	return c->listener->intercept == INTERCEPT_REDIRECT && c->target;
}

static void put_if_redirect(const struct writer *w, const struct taking *c)
{
	if (!is_redirected(c))
		return;
	put_spared(w, c);
	put_redirect(w, c);
}

static void put_if_tproxy(const struct writer *w, const struct taking *c)
{
	if (c->listener->intercept != INTERCEPT_TPROXY || !c->target)
		return;
	put_spared(w, c);
	put_tproxy(w, c);
}

static void put_guard(const struct writer *w, const struct taking *c)
{
	put_spared(w, c);
	put_match(w, c);
	put(w, " " OPENING " counter reject with tcp reset\n");
}

typedef void taking_fn(const struct writer *w, const struct taking *c);

/* For each intercepting listener and family of its clients. */
static void each_taking(const struct writer *w, enum nft_path path, taking_fn *write)
{
	size_t n = 0;

	for (size_t i = 0; i < w->conf->listener_count; i++) {
		const struct conf_listener *listener = &w->conf->listeners[i];

		if (listener->intercept == INTERCEPT_OFF)
			continue;
		n++;
		for (size_t f = 0; f < 2; f++) {
			struct taking c = {
			    listener, n, families[f], nft_target(listener, families[f], path)};

			if (nft_has_family(&listener->clients, families[f]))
				write(w, &c);
		}
	}
}

/* ---- chains ---- */

/* What this host sends and is never taken: above all danelaw's own. The uid as a number, since a
 * name that nobody has yet, at boot, would keep all of it from loading. */
static void put_not_danelaws(const struct writer *w)
{
	put(w,
	    NOT_MAIL "\t\tmeta skuid %u accept  # %s\n"
		     "\t\tmeta mark & 0x%x == 0x%x accept\n" OWN_ADDRESSES,
	    (unsigned)w->choice->uid, w->choice->user, NFT_MARK_MASK, INTERCEPT_MARK);
}

static void put_redirect_chains(const struct writer *w)
{
	put(w, "\n\t# Connections that this host routes.\n"
	       "\tchain prerouting {\n"
	       "\t\ttype nat hook prerouting priority dstnat; policy accept;\n" NOT_MAIL
		   OWN_ADDRESSES);
	if (has_kind(w->conf, INTERCEPT_TPROXY))
		put(w, "\t\tmeta mark & 0x%x == 0x%x accept  # taken by tproxy\n", NFT_MARK_MASK,
		    NFT_LOCAL_MARK);
	each_taking(w, NFT_ROUTED, put_if_redirect);
	put(w, "\t}\n"
	       "\n\t# Connections of this host itself, where its addresses are clients; but never\n"
	       "\t# danelaw's own, or mail would go in circles.\n"
	       "\tchain output {\n"
	       "\t\ttype nat hook output priority -100; policy accept;\n");
	put_not_danelaws(w);
	each_taking(w, NFT_LOCAL, put_if_redirect);
	put(w, "\t}\n");
}

static void put_tproxy_chain(const struct writer *w)
{
	put(w, "\n\t# Connections that this host routes. First the packets of those that danelaw "
	       "has.\n"
	       "\tchain transparent {\n"
	       "\t\ttype filter hook prerouting priority mangle; policy accept;\n"
	       "\t\ttcp dport 25 socket transparent 1 socket wildcard 0 ");
	put_set_mark(w);
	put(w, " accept\n");
	if (keeps_source(w->conf)) {
		put(w,
		    "\t\t# What next hops answer to a client's address, with which danelaw "
		    "called.\n"
		    "\t\tsocket transparent 1 socket mark & 0x%x == 0x%x ",
		    NFT_MARK_MASK, INTERCEPT_MARK);
		put_set_mark(w);
		put(w, " accept\n");
	}
	put(w, NOT_MAIL "\t\tmeta mark & 0x%x == 0x%x accept\n" OWN_ADDRESSES, NFT_MARK_MASK,
	    INTERCEPT_MARK);
	each_taking(w, NFT_ROUTED, put_if_tproxy);
	put(w, "\t}\n");
}

static void put_absence(const struct writer *w, const struct taking *c)
{
	if (!is_redirected(c))
		return;
	put(w,
	    "\t\tct status dnat meta nfproto ipv%c tcp dport %u add @down_%zu { meta nfproto } "
	    "counter accept\n",
	    nft_digit(c->family), addr_port(c->target), c->n);
}

/* RST and ACK with sequence number 0 (RFC 9293 3.10.7.1) is the answer where nobody listens. A
 * client can provoke one by forged SYNs, so that this alone proves nothing. */
static void put_hush(const struct writer *w, const struct taking *c)
{
	if (!is_redirected(c))
		return;
	put(w,
	    "\t\tct status dnat meta nfproto ipv%c meta nfproto @down_%zu tcp sport %u \\\n"
	    "\t\t\ttcp sequence 0 tcp flags & (rst | ack) == (rst | ack) counter drop\n",
	    nft_digit(c->family), c->n, addr_port(c->target));
}

/* Where the port is that of routed connections there is a rule already. */
static bool has_port_of_its_own(const struct taking *c)
{
	const struct addr *routed = nft_target(c->listener, c->family, NFT_ROUTED);

	return !routed || addr_port(routed) != addr_port(c->target);
}

static void put_local_absence(const struct writer *w, const struct taking *c)
{
	if (is_redirected(c) && has_port_of_its_own(c))
		put_absence(w, c);
}

static void put_local_hush(const struct writer *w, const struct taking *c)
{
	if (is_redirected(c) && has_port_of_its_own(c))
		put_hush(w, c);
}

static void put_absence_chains(const struct writer *w)
{
	put(w,
	    "\n\t# Fail open: a connection was handed to danelaw, and the kernel has no socket for "
	    "it, so\n"
	    "\t# danelaw is not there. The client hears nothing of it and asks again a second "
	    "later; for\n"
	    "\t# 5 seconds connections pass, then the next one tries danelaw anew.\n"
	    "\tchain absence {\n"
	    "\t\ttype filter hook input priority filter; policy accept;\n"
	    "\t\tmeta l4proto != tcp accept\n"
	    "\t\ttcp flags & (syn | ack) != syn accept\n"
	    "\t\tsocket transparent { 0, 1 } accept\n");
	each_taking(w, NFT_ROUTED, put_absence);
	each_taking(w, NFT_LOCAL, put_local_absence);
	put(w, "\t}\n"
	       "\tchain hush {\n"
	       "\t\ttype filter hook output priority filter; policy accept;\n");
	each_taking(w, NFT_ROUTED, put_hush);
	each_taking(w, NFT_LOCAL, put_local_hush);
	put(w, "\t}\n");
}

/* What the chains above would not take, since no address in listen can or tproxy takes nothing from
 * this host, or did not see. SYNs alone: packets of a connection that danelaw has closed have no
 * user any more. */
static void put_guard_chains(const struct writer *w)
{
	put(w, "\n\t# Fail closed: connections that should have been taken and were not.\n"
	       "\tchain forwarded {\n"
	       "\t\ttype filter hook forward priority filter; policy accept;\n" NOT_MAIL);
	each_taking(w, NFT_ROUTED, put_guard);
	put(w, "\t}\n"
	       "\tchain leaving {\n"
	       "\t\ttype filter hook output priority filter; policy accept;\n");
	put_not_danelaws(w);
	each_taking(w, NFT_LOCAL, put_guard);
	put(w, "\t}\n");
}

/* ---- the whole ---- */

static void put_head(const struct writer *w)
{
	put(w,
	    "# Rules for nftables that hand connections to danelaw; printed by danelaw nft.\n"
	    "#\n"
	    "#   load, and load anew      danelaw nft | nft -f -\n"
	    "#   look, with counters      nft list table inet danelaw\n"
	    "#   remove all of it         nft delete table inet danelaw\n"
	    "#\n"
	    "# Taken: TCP connections to port 25 from the clients of an intercepting listener to\n"
	    "# the internet. Left alone: everything else; so danelaw's own connections, those to\n"
	    "# this host, and those between networks of its own (private addresses, the clients'\n"
	    "# ranges) unless allow_addresses or passthrough name them.\n");
	put(w, w->choice->fail_open
		   ? "# While danelaw does not run connections pass it by, unprotected (--fail "
		     "open).\n"
		   : "# While danelaw does not run connections are refused (--fail closed).\n");
}

static void put_routing_notes(const struct writer *w)
{
	put(w, "#\n"
	       "# intercept = tproxy needs routing, too: packets with the mark stay on this host. "
	       "As a\n"
	       "# script: danelaw nft --routing | sh\n"
	       "#\n");
	for (size_t f = 0; f < 2; f++) {
		char digit = nft_digit(families[f]);

		put(w, "#   ip -%c rule add fwmark 0x%x/0x%x lookup %d\n", digit, NFT_LOCAL_MARK,
		    NFT_MARK_MASK, NFT_ROUTING_TABLE);
		put(w, "#   ip -%c route add local default dev lo table %d\n", digit,
		    NFT_ROUTING_TABLE);
	}
}

static void put_table(const struct writer *w)
{
	size_t n = 0;

	/* Declared, so that there is one to delete: loading works the first time and ever after. */
	put(w, "\ntable inet danelaw\ndelete table inet danelaw\n\ntable inet danelaw {");
	put_lan(w);
	for (size_t i = 0; i < w->conf->listener_count; i++)
		if (w->conf->listeners[i].intercept != INTERCEPT_OFF)
			put_listener(w, &w->conf->listeners[i], ++n);
	if (has_kind(w->conf, INTERCEPT_TPROXY))
		put_tproxy_chain(w);
	if (has_kind(w->conf, INTERCEPT_REDIRECT)) {
		put_redirect_chains(w);
		if (w->choice->fail_open)
			put_absence_chains(w);
	}
	if (!w->choice->fail_open)
		put_guard_chains(w);
	put(w, "}\n");
}

char *nft_rules(const struct conf *conf, const struct nft_choice *choice)
{
	char *text = NULL;
	size_t size;
	struct writer w = {open_memstream(&text, &size), conf, choice};

	assert(w.out); /* memory alone */
	put_head(&w);
	if (has_kind(conf, INTERCEPT_TPROXY))
		put_routing_notes(&w);
	put_table(&w);
	fclose(w.out);
	return text;
}
