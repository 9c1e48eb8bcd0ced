/*
 * relayed.c - see relayed.h. The message has gone on, so the notice is about what stands in its
 * delivery; its headers are not kept for it.
 */
#include "proxy/spool/relayed.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "proxy/approach.h"
#include "proxy/delivery_record.h"
#include "proxy/spool/notice.h"
#include "proxy/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Borrows all texts of the recipient. */
static void describe(
    struct spool_recipient *out, const struct recipient *r, const struct delivery_record *record)
{
	char address[ADDR_TEXT] = "";

	out->address = (char *)r->path.address;
	memcpy(out->domain, r->path.domain, sizeof out->domain);
	out->dsn = r->dsn;
	out->last = *record->outcome;
	out->last_try = clock_wall();
	if (record->hop->has_address)
		addr_bracketed(&record->hop->address, address);
	if (record->hop->route)
		snprintf(
		    out->last_hop, sizeof out->last_hop, "%s%s", record->hop->route->host, address);
}

static size_t count_recipients(const struct recipient *first)
{
	size_t count = 0;

	for (const struct recipient *r = first; r; r = r->next)
		count++;
	return count;
}

/* Those that the next hop took, and whose sender asked. */
static size_t choose(struct spool_message *message, const struct spool_recipient **owed,
    const struct delivery_record *record)
{
	size_t count = 0;

	for (const struct recipient *r = record->recipients; r; r = r->next) {
		struct spool_recipient *out = &message->recipients[message->count++];

		describe(out, r, record);
		if (outcome_is_good(&r->outcome) && notice_is_owed(message, out, DSN_RELAYED))
			owed[count++] = out;
	}
	return count;
}

/* Hardly ever. */
static bool is_asked(const struct recipient *first)
{
	for (const struct recipient *r = first; r; r = r->next) {
		if (r->dsn.notify & SMTP_NOTIFY_SUCCESS)
			return true;
	}
	return false;
}

static void tell(struct proxy *proxy, const struct delivery_record *record)
{
	struct spool_message message = {
	    .arrived = clock_wall(),
	    .session = (char *)record->session,
	    .envelope = *record->envelope,
	};
	const struct spool_recipient **owed;
	size_t total = count_recipients(record->recipients), count;

	snprintf(message.client, sizeof message.client, "%s", record->client);
	message.recipients = mem_zero(total, sizeof *message.recipients);
	owed = mem_zero(total, sizeof(struct spool_recipient *));
	count = choose(&message, owed, record);
	if (count)
		notice_send(proxy, DSN_RELAYED, &message, owed, count, NULL, NULL);
	free(owed);
	free(message.recipients);
}

void relayed_tell(struct proxy *proxy, const struct delivery_record *record)
{
	if (proxy->spool && outcome_is_good(record->outcome) &&
	    record->outcome->reason != REASON_DUPLICATE && is_asked(record->recipients))
		tell(proxy, record);
}
