/*
 * proxy.h - the long-lived objects that main.c builds and everything in proxy/ works with.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf;
struct duplicates;
struct ev_loop;
struct hint_check;
struct loop_test;
struct middlebox;
struct notice;
struct policy;
struct pool;
struct setbacks;
struct shared;
struct smtp_client;
struct spool;
struct tls_contexts;
struct transaction;

struct proxy {
	struct ev_loop *loop;
	const struct conf *conf;
	struct shared *shared; /* with the other workers ... */
	unsigned seat;         /* ... and our place in it */
	struct policy *policy;
	struct tls_contexts *tls;
	struct pool *pool;   /* idle next-hop connections, and how many each address has */
	struct spool *spool; /* messages that we answer for; NULL: no command that delivers */
	struct duplicates *duplicates; /* what clients may send again though it was accepted */
	struct setbacks *setbacks;     /* addresses that failed a moment ago */
	struct middlebox *middlebox;   /* who offered STARTTLS lately; NULL: nobody asks */

	struct transaction
	    *finals; /* past our final dot; their clients may be gone. transaction.c keeps it */
	struct smtp_client *late;    /* awaiting a late reply; smtp_client.c keeps it */
	struct hint_check *hints;    /* compared for the log alone; hint.c keeps it */
	struct loop_test *loop_test; /* under way; NULL: none */
	uint32_t mark;               /* SO_MARK of connections to next hops; 0: none */
	struct notice *notices;      /* on their way into the spool; notice.c keeps it */
	bool is_spokesman;           /* what all workers have in common is told by one */
	bool shutting_down;
};

#endif
