/*
 * intercept.h - connections that were meant for somebody else: whom the client dialled, and what
 * that means for its mail (R-NET-03..11).
 *
 * The next hop always comes from our own lookup of the recipient's domain; what the client dialled
 * is a hint, or where the operator listed it the next hop itself.
 */
#ifndef PROXY_INTERCEPT_H
#define PROXY_INTERCEPT_H

#include "conf/addr.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SO_MARK of our own connections under tproxy: rules that intercept must let it pass (R-NET-05). */
enum { INTERCEPT_MARK = 0x2ed };

/* How mail came, as far as its way on depends on it. Zeroed: not intercepted. */
struct interception {
	const struct conf_listener *listener; /* NULL: not intercepted */
	struct addr original;                 /* whom the client dialled */
	bool passthrough;                     /* which is the next hop, whatever the recipients */
	bool keeps_source;                    /* preserve_source: */
	struct addr source;                   /* the client's address, without port ... */
	char ehlo[DOMAIN_SIZE];               /* ... and name, with which its mail goes on */
};

/* Whether any listener does. */
bool intercept_is_used(const struct conf *conf);

/* Whether mail has to leave with marked sockets, for which CAP_NET_RAW is kept. */
bool intercept_marks(const struct conf *conf);

/*
 * The mark for a command beside the service, whose connections the rules would hand to the service:
 * 0 where nothing is intercepted, or where we may not mark.
 */
uint32_t intercept_mark_beside(const struct conf *conf);

/* Whom the client of an accepted connection dialled. false: the kernel does not know. */
bool intercept_find(
    const struct conf_listener *conf, int fd, const struct addr *client, struct addr *original);

/* It dialled us: going on would be a loop, or it should use another listener. Asks the kernel. */
bool intercept_is_direct(const struct conf_listener *conf, int fd, const struct addr *original);

/* What follows from it, but for the name, which comes with EHLO. */
void intercept_describe(const struct conf_listener *conf, const struct addr *client,
    const struct addr *original, struct interception *out);

/*
 * The addresses of one host in the order to try: whom the client dialled first, if it is one of
 * them (R-NET-08), and with preserve_source those of the client's family alone. out has room for
 * count; returns how many it got. Pure.
 */
size_t intercept_order(const struct interception *interception, const struct addr *addresses,
    size_t count, struct addr *out);

/* What all recipients share that go where the client dialled ("[192.0.2.7]:25"), else the domain.
 */
const char *intercept_domain(
    const struct interception *interception, const char *domain, char text[ADDR_TEXT]);

/*
 * How several recipient domains are served. What danelaw keeps leaves later as its own mail, from
 * its own address for the recipient's own host: mail that must not go that way is never kept.
 */
enum delivery_mode intercept_delivery(
    const struct interception *interception, const struct conf_listener *listener);

/* The name as the client said it where another server can be told it, else its address literal. */
void intercept_take_name(struct interception *interception, const char *helo);

#endif
