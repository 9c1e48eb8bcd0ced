/*
 * relay.c - the body of a message on its way, to all that take it.
 *
 * What was written beside the stream into the spool is the same, octet by octet, as what the next
 * hops got. Called by transaction.c.
 */
#include "proxy/relay.h"

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/mem.h"
#include "proxy/delivery.h"
#include "proxy/duplicates.h"
#include "proxy/proxy.h"
#include "proxy/received.h"
#include "proxy/spool/spool.h"
#include "tls/stream.h"

#include <stdlib.h>
#include <string.h>

enum {
	CHUNK = STREAM_INPUT_ROOM,            /* of the body, scanned and written at a time */
	PUSHED_MIN = 16384,                   /* of it that is worth a write of its own */
	SPARE = 512,                          /* of it what does not leave as it came */
	ROOM = RECEIVED_SIZE + 2 + CHUNK + 3, /* the final dot must find its place, too */
	DRAIN_MAX = 64 << 20,                 /* octets of a refused message that are read */
};

bool outlets_are_writing(const struct outlet *outlets)
{
	for (const struct outlet *o = outlets; o; o = o->next) {
		if (delivery_is_writing(o->delivery))
			return true;
	}
	return false;
}

static bool is_taken(const struct relay *r)
{
	if (outcome_is_known(&r->refusal))
		return false;
	return r->outlets ? outlets_are_writing(r->outlets) : r->draft != NULL;
}

/* ---- refusing it ---- */

static void refuse(struct relay *r, enum reason reason, const char *text)
{
	outcome_refuse_text(&r->refusal, reason, "%s", text);
	for (struct outlet *o = r->outlets; o; o = o->next) {
		if (delivery_is_writing(o->delivery))
			delivery_abort(o->delivery, &r->refusal);
	}
}

static void refuse_flaw(struct relay *r)
{
	switch (r->body.flaw) {
	case BODY_FINE:
		break;
	case BODY_BARE_NEWLINE:
		/* what follows may have been meant as commands (SMTP smuggling) */
		r->must_close = true;
		refuse(r, REASON_BARE_NEWLINE,
		    "the message holds a bare CR or LF; lines end in CR LF");
		break;
	case BODY_NUL:
		refuse(r, REASON_BAD_CONTENT, "the message holds a NUL octet");
		break;
	case BODY_LONG_LINE:
		refuse(r, REASON_BAD_CONTENT, "the message holds a line of over 1000 octets");
		break;
	case BODY_TOO_LARGE:
		refuse(r, REASON_TOO_LARGE, "the message is larger than [limits] message_size");
		break;
	case BODY_TOO_MANY_HOPS:
		refuse(
		    r, REASON_MAIL_LOOP, "too many Received fields: the message goes in circles");
		break;
	case BODY_OWN_LOOP:
		refuse(
		    r, REASON_MAIL_LOOP, "the message came through here more than 3 times already");
		break;
	}
}

/* 8-bit octets that were not declared, for a next hop that takes none (R-SMTP-41): the others go
 * on. */
static void refuse_8bit(struct relay *r)
{
	struct outcome outcome;

	outcome_refuse_text(
	    &outcome, REASON_NO_8BITMIME, "the message has 8-bit octets, the next hop takes none");
	for (struct outlet *o = r->outlets; o; o = o->next) {
		if (delivery_is_writing(o->delivery) && !delivery_takes_8bit(o->delivery))
			delivery_abort(o->delivery, &outcome);
	}
}

static void check(struct relay *r)
{
	if (outcome_is_known(&r->refusal))
		return;
	if (r->body.flaw != BODY_FINE)
		refuse_flaw(r);
	else if (r->body.has_8bit)
		refuse_8bit(r);
}

/* ---- writing ---- */

static void keep(struct relay *r, const void *data, size_t len)
{
	if (!r->draft || outcome_is_known(&r->refusal) || spool_draft_write(r->draft, data, len))
		return;
	refuse(r, REASON_SPOOL_FAILED, spool_draft_error(r->draft));
}

typedef void write_fn(struct delivery *delivery, const void *data, size_t len);

static void write_outlets(struct relay *r, const void *data, size_t len, write_fn *write)
{
	for (struct outlet *o = r->outlets; o; o = o->next) {
		if (delivery_is_writing(o->delivery))
			write(o->delivery, data, len);
	}
}

static void hold_back(struct relay_tail *tail, const void *data, size_t len)
{
	tail->octets = mem_resize(tail->octets, tail->len + len, 1);
	memcpy(tail->octets + tail->len, data, len);
	tail->len += len;
}

static void write_all(struct relay *r, const void *data, size_t len, write_fn *write)
{
	if (!len)
		return;
	keep(r, data, len);
	r->written += len;
	if (r->draft && r->outlets && r->body.ended)
		hold_back(&r->tail, data, len);
	else
		write_outlets(r, data, len, write);
}

void relay_write_tail(struct relay *r)
{
	if (r->tail.len)
		write_outlets(r, r->tail.octets, r->tail.len, delivery_write);
	free(r->tail.octets);
	r->tail = (struct relay_tail){0};
}

void relay_begin(struct relay *r, const struct proxy *proxy, const struct conf_listener *listener,
    const struct received *received)
{
	const struct conf *conf = proxy->conf;
	char text[RECEIVED_SIZE], mark[DOMAIN_SIZE + 32];

	received_mark(mark, sizeof mark, received->by);
	smtp_body_init(
	    &r->body, listener, conf->limits.message_size, conf->limits.received_headers, mark);
	r->fingerprint = duplicates_fingerprint(proxy->duplicates);
	received_format(text, received);
	r->received = mem_strdup(text);
}

/* Of what is passed on; NUL: that is no octet of it. */
static char octet_at(const struct smtp_body_passed *passed, const char *spare, size_t i)
{
	if (i < passed->in_place_len)
		return passed->in_place[i];
	i -= passed->in_place_len;
	return i < passed->spare_len ? spare[i] : '\0';
}

/* As a reader sees it, without the dot that it is stuffed with; smtp_body never parts the two. */
static bool begins_with_blank(const struct smtp_body_passed *passed, const char *spare)
{
	char first = octet_at(passed, spare, octet_at(passed, spare, 0) == '.');

	return first == ' ' || first == '\t';
}

/*
 * The one field that we add, before everything the client sends (R-SMTP-44). A message that begins
 * with a blank would go on with it and make us say what its sender likes (R-SMTP-45): such a
 * message has no header section (RFC 5322 2.2), so the line that ends ours comes first, as in
 * Postfix.
 */
static void write_received(
    struct relay *r, const struct smtp_body_passed *passed, const char *spare)
{
	bool is_there = passed->in_place_len + passed->spare_len > 0;

	if (!r->received || (!is_there && !r->body.ended))
		return;
	write_all(r, r->received, strlen(r->received), delivery_write);
	if (begins_with_blank(passed, spare))
		write_all(r, "\r\n", 2, delivery_write);
	free(r->received);
	r->received = NULL;
}

/* ---- moving ---- */

/* The slowest sets the pace; a message that is only drained has room without end. */
static size_t room(const struct relay *r)
{
	size_t least = ROOM;

	for (const struct outlet *o = r->outlets; o; o = o->next) {
		if (delivery_is_writing(o->delivery) && delivery_room(o->delivery) < least)
			least = delivery_room(o->delivery);
	}
	return least;
}

/* The only one without room; NULL: they all have room, or several have none. */
static struct outlet *find_holder(const struct relay *r)
{
	struct outlet *holder = NULL;
	size_t writing = 0;

	for (struct outlet *o = r->outlets; o; o = o->next) {
		if (!delivery_is_writing(o->delivery))
			continue;
		writing++;
		if (delivery_room(o->delivery) >= ROOM)
			continue;
		if (holder)
			return NULL;
		holder = o;
	}
	return writing > 1 ? holder : NULL;
}

/* It counts only while there is something to be had from the client. */
static void note_holder(struct relay *r, bool has_input)
{
	double now = clock_rough();

	if (r->holder)
		r->holder->held += now - r->held_since;
	r->holder = has_input && !r->is_over ? find_holder(r) : NULL;
	r->held_since = now;
}

double relay_patience_left(const struct relay *r, double patience)
{
	double left;

	if (!r->holder)
		return 0;
	left = patience - r->holder->held;
	return left > 0.001 ? left : 0.001;
}

void relay_drop_holder(struct relay *r)
{
	struct outcome outcome;

	if (!r->holder || !delivery_is_writing(r->holder->delivery))
		return;
	outcome_refuse_text(&outcome, REASON_CONNECTION_LOST,
	    "%s took the message too slowly and kept others waiting",
	    delivery_domain(r->holder->delivery));
	delivery_abort(r->holder->delivery, &outcome);
	r->holder = NULL;
}

/* A refused message is read to its end so that the reply arrives, but not for ever. */
static bool is_drained_enough(struct relay *r, size_t taken)
{
	if (is_taken(r))
		return false;
	r->drained += taken;
	return r->drained > DRAIN_MAX;
}

static enum relay_progress end(struct relay *r, const struct body_source *source)
{
	r->is_over = true;
	/* Nobody would hear of it, and send it again (R-SMTP-75). */
	return source->is_broken(source->arg) ? RELAY_MOVING : RELAY_ENDED;
}

/* The last of it waits for the dot that follows, so that both leave in one piece. */
static void pass_on(struct relay *r, const struct smtp_body_passed *passed, const char *spare)
{
	fingerprint_add(r->fingerprint, passed->in_place, passed->in_place_len);
	fingerprint_add(r->fingerprint, spare, passed->spare_len);
	write_all(r, passed->in_place, passed->in_place_len,
	    r->body.ended || passed->in_place_len < PUSHED_MIN ? delivery_write : delivery_push);
	write_all(r, spare, passed->spare_len, delivery_write);
}

static enum relay_progress pump(struct relay *r, const struct body_source *source)
{
	struct smtp_body_passed passed;
	char spare[SPARE];
	const char *in;
	size_t len;

	while (!r->is_over && room(r) >= ROOM && (in = source->peek(source->arg, &len), len)) {
		passed = smtp_body_scan(&r->body, in, len, CHUNK, spare, sizeof spare);
		check(r);
		write_received(r, &passed, spare);
		pass_on(r, &passed, spare);
		source->consume(source->arg, passed.taken);
		if (r->body.ended)
			return end(r, source);
		if (is_drained_enough(r, passed.taken)) {
			r->is_over = r->must_close = true;
			return RELAY_CUT;
		}
	}
	return RELAY_MOVING;
}

enum relay_progress relay_pump(struct relay *r, const struct body_source *source)
{
	enum relay_progress progress = pump(r, source);
	size_t len;

	source->peek(source->arg, &len);
	note_holder(r, len > 0);
	return progress;
}

void relay_release(struct relay *r)
{
	fingerprint_free(&r->fingerprint);
	free(r->tail.octets);
	free(r->received);
}
