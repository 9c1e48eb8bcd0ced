/*
 * relayed.h - the notice that NOTIFY=SUCCESS makes us owe where the next hop knows no DSN (RFC 3461
 * section 5.2.2, R-SMTP-54): nobody behind us will tell the sender. Called at the end of a
 * delivery.
 */
#ifndef PROXY_RELAYED_H
#define PROXY_RELAYED_H

struct delivery_record;
struct proxy;

/* The record of a client's delivery whose next hop knows no DSN; borrowed. Nothing where nothing is
 * owed. */
void relayed_tell(struct proxy *proxy, const struct delivery_record *record);

#endif
