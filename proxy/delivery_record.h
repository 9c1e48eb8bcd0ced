/*
 * delivery_record.h - one delivery as one line of the log (interface section 4).
 */
#ifndef PROXY_DELIVERY_RECORD_H
#define PROXY_DELIVERY_RECORD_H

#include "proxy/delivery.h"
#include "tls/rule.h"

struct approach_result;
struct conf_policy;

/* All borrowed for the time of the call. */
struct delivery_record {
	const char *session;
	const char *client; /* address text */
	const char *domain; /* of the recipients */
	const struct envelope *envelope;
	const struct recipient *recipients;
	const struct approach_result *hop;
	const struct conf_policy *defaults; /* [policy], to tell what an exception changes */
	bool was_ready;                     /* a next hop was proven and ready */
	bool is_encrypted;
	const struct tls_proof *proof; /* cleared where there was no TLS */
	const struct outcome *outcome; /* of the message; code 0: there was none */
	uint64_t size;
	double tls_seconds, total_seconds;
	bool is_client_gone;
	unsigned tries; /* as in delivery_log */
	time_t next_try;
};

/* Nothing where there is nothing to tell: no recipient refused, no message. */
void delivery_record_write(const struct delivery_record *record);

#endif
