/*
 * transaction_rcpt.c - recipients to deliveries, and what each is answered.
 *
 * Which next hops a transaction may have is decided here: one for each recipient domain, or the
 * first alone (delivery = defer). Called by session.c.
 */
#include "proxy/transaction_internal.h"

#include "conf/clock.h"
#include "conf/mem.h"
#include "proxy/pool.h"

#include <stdio.h>
#include <string.h>

enum { DOMAINS_MAX = 100 }; /* connections are dear; RFC 5321 asks for 100 recipients at least */

/* A device that cannot retry is not kept waiting for a next hop (delivery = queue). */
#define QUEUE_PATIENCE 5.0

/* ---- deliveries ---- */

static struct outlet *find_outlet(struct transaction *t, const char *domain)
{
	for (struct outlet *o = t->outlets; o; o = o->next) {
		if (!o->is_apart && !strcmp(delivery_domain(o->delivery), domain))
			return o;
	}
	return NULL;
}

static const struct delivery *live_delivery(const struct transaction *t)
{
	for (const struct outlet *o = t->outlets; o; o = o->next) {
		if (delivery_is_live(o->delivery))
			return o->delivery;
	}
	return NULL;
}

static struct outlet *add_outlet(struct transaction *t, const char *domain, bool is_apart)
{
	struct outlet *o = mem_zero(1, sizeof *o);

	o->is_further = t->outlets != NULL;
	o->delivery = delivery_new(t->proxy, t->session, &t->envelope, domain,
	    o->is_further ? POOL_MODEST : POOL_WAITS, transaction_on_delivery, t);
	o->is_apart = is_apart;
	o->next = t->outlets;
	t->outlets = o;
	t->outlet_count++;
	return o;
}

void outlet_let_go(struct transaction *t, struct outlet *o)
{
	delivery_free(&o->delivery);
	if (o->is_further)
		pool_return_further(t->proxy->pool);
	o->is_further = false;
}

/* ---- RCPT ---- */

static struct recipient *append_recipient(struct transaction *t, const struct smtp_command *rcpt)
{
	struct recipient *r = mem_zero(1, sizeof *r);

	r->path = rcpt->path;
	r->dsn = rcpt->dsn_rcpt;
	if (r->dsn.orcpt)
		r->dsn.orcpt = mem_strdup(r->dsn.orcpt);
	r->came = clock_rough();
	t->recipients = mem_resize(t->recipients, t->recipient_count + 1, sizeof *t->recipients);
	t->recipients[t->recipient_count++] = r;
	return r;
}

/* What needs no next hop to be refused. */
static bool refuse_here(struct recipient *r)
{
	const struct smtp_path *path = &r->path;

	if (path->is_literal)
		outcome_refuse_text(&r->outcome, REASON_ADDRESS_LITERAL,
		    "<%s> names an address instead of a domain; such mail is not delivered",
		    path->address);
	else if (!path->has_domain) {
		r->outcome.code = 550;
		r->outcome.reason = REASON_BAD_ADDRESS;
		snprintf(r->outcome.text, sizeof r->outcome.text,
		    "5.1.1 no mailboxes here: write <%s> with a domain", path->address);
	}
	return outcome_is_known(&r->outcome);
}

/* delivery = defer. Also for a domain that was all refused before another one was taken on. */
static bool refuse_second_domain(
    const struct transaction *t, const struct outlet *o, const char *domain, struct recipient *r)
{
	const struct delivery *live = live_delivery(t);

	if (intercept_delivery(&t->interception, t->listener) != DELIVERY_DEFER || !live ||
	    (o && o->delivery == live))
		return false;
	outcome_refuse_text(&r->outcome, REASON_ONE_DOMAIN,
	    "one recipient domain in one transaction, this one goes to %s; "
	    "send %s in another at once",
	    delivery_domain(live), domain);
	return true;
}

/* Told before the client sends a message that could not be kept. */
static bool refuse_unkeepable(const struct transaction *t, struct recipient *r)
{
	bool needs_spool = is_queueing(t) || (!is_lmtp(t) && live_delivery(t));
	char why[SPOOL_WHY];

	if (!needs_spool || spool_is_ready(t->proxy->spool, why))
		return false;
	outcome_refuse_text(&r->outcome, REASON_SPOOL_FAILED,
	    is_queueing(t) ? "%s; nothing can be queued, try again later"
			   : "%s; one recipient domain at a time until that is mended",
	    why);
	return true;
}

/* The first next hop of a message is the session's own. */
static bool refuse_unclaimed(const struct transaction *t, struct recipient *r)
{
	if (!t->outlets || pool_claim_further(t->proxy->pool))
		return false;
	outcome_refuse_text(&r->outcome, REASON_BUSY,
	    "too many next hops at once for the limit of open files; try again soon");
	return true;
}

static bool refuse_further_domain(const struct transaction *t, struct recipient *r)
{
	if (t->outlet_count < DOMAINS_MAX)
		return refuse_unkeepable(t, r) || refuse_unclaimed(t, r);
	outcome_refuse_text(&r->outcome, REASON_TOO_MANY_RECIPIENTS,
	    "at most %d recipient domains in one transaction; send the rest in another",
	    DOMAINS_MAX);
	return true;
}

/* One that may have this message already goes by itself: whether it has is known with the body. */
static bool must_go_apart(const struct transaction *t, struct recipient *r)
{
	struct duplicate_key key = transaction_duplicate_key(t, r);

	return intercept_delivery(&t->interception, t->listener) == DELIVERY_FANOUT &&
	       t->outlet_count < DOMAINS_MAX && duplicates_may_know(t->proxy->duplicates, &key);
}

void transaction_add_recipient(struct transaction *t, const struct smtp_command *rcpt)
{
	char text[ADDR_TEXT];
	const char *domain = intercept_domain(&t->interception, rcpt->path.domain, text);
	struct recipient *r;
	struct outlet *o;
	bool apart;

	if (t->is_full || t->recipient_count == t->proxy->conf->limits.recipients) {
		t->surplus++;
		return;
	}
	r = append_recipient(t, rcpt);
	/* A passed-through host knows what it takes. */
	if (!t->interception.passthrough && refuse_here(r))
		return;
	apart = must_go_apart(t, r);
	o = apart ? NULL : find_outlet(t, domain);
	if (refuse_second_domain(t, o, domain, r) || (!o && refuse_further_domain(t, r)))
		return;
	if (!o)
		o = add_outlet(t, domain, apart);
	delivery_add_recipient(o->delivery, r);
}

void transaction_take_no_more(struct transaction *t) { t->is_full = true; }

bool transaction_has_accepted(const struct transaction *t)
{
	for (size_t i = 0; i < t->recipient_count; i++) {
		if (t->recipients[i]->is_promised)
			return true;
	}
	return false;
}

/* ---- answers ---- */

static const struct outcome *refuse_surplus(struct transaction *t)
{
	static struct outcome refusal;

	if (!t->surplus)
		return NULL;
	t->surplus--;
	t->refused_surplus++;
	if (t->is_full)
		outcome_refuse_text(&refusal, REASON_TOO_MANY_RECIPIENTS,
		    "too many were refused; send the rest in another transaction");
	else
		outcome_refuse_text(&refusal, REASON_TOO_MANY_RECIPIENTS,
		    "at most %u recipients in one transaction; send the rest in another",
		    t->proxy->conf->limits.recipients);
	return &refusal;
}

/* Refused at once is what is refused for good; a next hop that is slow or says "later" is tried
 * again from the queue. */
static const struct outcome *queue_answer(struct transaction *t, const struct recipient *r)
{
	static const struct outcome queued = {
	    .code = 250, .text = "2.1.5 taken; the next hop has not accepted it yet"};
	double left = r->came + QUEUE_PATIENCE - clock_rough();
	bool is_ours = r->delivery == NULL; /* a refusal of danelaw's own limits */

	if (outcome_is_known(&r->outcome) && (is_ours || r->outcome.code / 100 != 4))
		return &r->outcome;
	if (outcome_is_known(&r->outcome) || left <= 0)
		return &queued;
	if (!ev_is_active(&t->patience))
		transaction_set_patience(t, left);
	return NULL;
}

static bool any_takes_message(const struct transaction *t)
{
	for (const struct outlet *o = t->outlets; o; o = o->next) {
		if (delivery_wants_message(o->delivery))
			return true;
	}
	return false;
}

/*
 * Many domains at one hoster need more connections at once than are fair to others: where the
 * message goes on to somebody already, the rest follows from the spool.
 */
static bool may_follow(const struct transaction *t, const struct recipient *r)
{
	char why[SPOOL_WHY];

	return r->outcome.reason == REASON_BUSY && r->delivery && !is_lmtp(t) &&
	       intercept_delivery(&t->interception, t->listener) == DELIVERY_FANOUT &&
	       any_takes_message(t) && spool_is_ready(t->proxy->spool, why);
}

static const struct outcome *answer_for(struct transaction *t, const struct recipient *r)
{
	static const struct outcome follows = {.code = 250,
	    .text = "2.1.5 taken; the next hop is busy now and has not accepted it yet"};

	if (is_queueing(t))
		return queue_answer(t, r);
	if (may_follow(t, r))
		return &follows;
	return outcome_is_known(&r->outcome) ? &r->outcome : NULL;
}

const struct outcome *transaction_next_answer(struct transaction *t)
{
	const struct outcome *answer;
	struct recipient *r;

	if (t->answered >= t->recipient_count)
		return refuse_surplus(t);
	r = t->recipients[t->answered];
	answer = answer_for(t, r);
	if (!answer)
		return NULL;
	r->is_promised = outcome_is_good(answer);
	t->answered++;
	return answer;
}

bool transaction_owes_answers(const struct transaction *t)
{
	return t->answered < t->recipient_count || t->surplus;
}
