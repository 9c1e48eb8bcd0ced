/*
 * queue_print.h - messages of the spool for people and, as JSON, for programs. Pure but for the
 * output; all that strangers wrote is escaped. Called by queue.c.
 */
#ifndef PROXY_QUEUE_PRINT_H
#define PROXY_QUEUE_PRINT_H

#include "proxy/command/page.h"
#include "proxy/spool/spool_message.h"

#include <jansson.h>
#include <time.h>

/* "2 hours", "1 day"; below 0 as 0. Returns out. */
enum { QUEUE_AGE_SIZE = 32 };
const char *queue_age(char out[QUEUE_AGE_SIZE], double seconds);

/* One message of the list: a line, and one for each recipient. */
void queue_print_entry(const struct page *page, const struct spool_message *message, time_t now);

/* All of it; headers: the message's, "" where they cannot be read. */
void queue_print_message(
    const struct page *page, const struct spool_message *message, const char *headers, time_t now);

/*
 * {id, arrived, sender, client, session, size, is_notice, has_8bit, smtputf8, ret, envid,
 * recipients: [{address, domain, state, tries, last_try, next_try, last_hop, reply, reason,
 * meaning, notify, orcpt, is_delay_told}]}. What is not known is null; times are UTC.
 */
json_t *queue_json(const struct spool_message *message);

#endif
