/*
 * rdata.h - RDATA of the record types that mail routing needs. Private to answer.c.
 */
#ifndef DNSVAL_RDATA_H
#define DNSVAL_RDATA_H

#include "dnsval/answer.h"

#include <arpa/nameser.h>

/* One record's data, and the packet that names in it may point into. All borrowed. */
struct rdata {
	const uint8_t *data;
	size_t len;
	const uint8_t *packet, *packet_end;
};

/* Where records go. The octets that TLSA and TXT records point into never exceed the packet. */
struct rdata_store {
	struct dns_answer *answer; /* its array has room for kind->max records */
	uint8_t *octets;           /* made when first needed; the owner of the answer frees it */
	size_t used, size;
};

/* Adds one record; NULL, or what is wrong with it, which fails the answer. */
typedef const char *rdata_add_fn(struct rdata_store *store, const struct rdata *rdata);

struct rdata_kind {
	enum dns_type type;
	rdata_add_fn *add;
	size_t max, size; /* records kept, octets of each; 0: counted only */
};

/* Every type has one: records that nobody reads are counted. */
const struct rdata_kind *rdata_kind(enum dns_type type);

/* The name that fills RDATA after skip octets, as dn_expand writes it: the root is "". */
bool rdata_expand(const struct rdata *rdata, size_t skip, char name[NS_MAXDNAME]);

/* After the last MX record: what is no host goes. */
void rdata_finish_mx(struct dns_answer *answer);

#endif
