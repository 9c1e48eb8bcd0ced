/*
 * test_explorer.c - every state that the conversation with a next hop can reach.
 *
 * smtp_client.c and smtp_script.c are danelaw's own; streams, TLS and the clock are a model below
 * them. From each state everything that can happen is tried: any reply, two of them at once, half
 * of one, the end of the connection, time passing, and each call that the contract allows its owner
 * (smtp_client.h). States are told apart by what can matter for the future; a state is reached
 * again by walking the same way from the start. Breadth first, so that a failure's way is a
 * shortest one.
 */
#include "explorer_model.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/reap.h"
#include "proxy/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uthash.h>

static struct ev_loop *loop;

/* ---- the owner ---- */

enum { RECIPIENTS_MAX = 2 };

static struct {
	struct smtp_client *client;
	bool is_ready, has_mail, has_data, may_write, has_end, has_ended; /* ended: by a reply */
	bool foresees;
	unsigned asked, answered, accepted;
	bool has_failed; /* the last event has come */
	bool is_parked, is_gone, is_late;
	bool is_heard; /* octets of the next hop are being read */
} owner;

static void on_ready(void)
{
	owner.is_ready = true;
	owner.has_mail = owner.has_data = owner.may_write = owner.has_end = owner.foresees = false;
	owner.asked = owner.answered = owner.accepted = 0;
	truth.has_sent_dot = truth.dot_has_left = false;
}

static void on_event(struct smtp_client *client, enum smtp_client_event event,
    const struct smtp_reply *reply, void *arg)
{
	(void)client, (void)arg;
	assert_false(truth.in_call);
	assert_false(owner.has_failed);
	switch (event) {
	case CLIENT_READY:
		assert_true(client->state == READY);
		on_ready();
		break;
	case CLIENT_RCPT:
		assert_true(owner.answered < owner.asked);
		owner.answered++;
		owner.accepted += reply->code / 100 == 2;
		break;
	case CLIENT_MAIL_REFUSED:
		assert_true(reply->code / 100 != 2 || client->is_leaving);
		owner.has_ended = true;
		break;
	case CLIENT_DATA:
		assert_true(owner.accepted > 0);
		owner.may_write = reply->code == 354;
		owner.has_ended = reply->code != 354;
		break;
	case CLIENT_EARLY:
		assert_true(reply->code / 100 >= 4);
		owner.has_ended = true;
		break;
	case CLIENT_FINAL: /* 250 to a client needs this one: only after all of our dot has left */
		assert_true(owner.has_end && truth.dot_has_left);
		assert_true(owner.is_heard);
		owner.has_ended = true;
		break;
	case CLIENT_FAILED:
		owner.has_failed = true;
		break;
	case CLIENT_DRAINED:
		break;
	}
}

/* ---- what can happen ---- */

enum step {
	CONNECTED,
	SECURED,          /* and proven as far as the rule asks */
	SECURED_UNPROVEN, /* a stream that would tell so in error: the gate holds all the same */
	BROKEN,
	END_OF_INPUT,
	FLUSHED,
	TIME,
	ASK_MAIL,
	ASK_RCPT,
	ASK_FORESEE,
	ASK_DATA,
	ASK_WRITE,
	ASK_FILL,
	ASK_END,
	ASK_PARK,
	ASK_LATE,
	HEAR, /* HEAR + n: the n-th of replies */
};

static const char *const step_names[HEAR] = {"connected", "secured", "secured, unproven", "broken",
    "end of input", "flushed", "time", "ask MAIL", "ask RCPT", "foresee DATA", "ask DATA", "write",
    "fill", "end", "park", "late"};

static const char *const replies[] = {
    "220 mx\r\n",
    "250 mx\r\n",
    "250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
    "250-mx\r\n250 PIPELINING\r\n",
    "354 go\r\n",
    "421 leaving\r\n",
    "450 later\r\n",
    "550 never\r\n",
    "junk\r\n",
    "250 half",
    "220 go\r\n250 injected\r\n",
    "250 one\r\n250 two\r\n",
    "550 no\r\n354 go\r\n",
    "250 one\r\n250 two\r\n354 go\r\n",
};
static const enum step steps = HEAR + sizeof replies / sizeof replies[0];

static void tell(enum stream_event event)
{
	the_stream.callback(&the_stream, event, the_stream.arg);
}

static void shake_hands(bool is_proven)
{
	the_stream.is_shaking = false;
	truth.is_encrypted = the_stream.proof.encrypted = true;
	truth.is_proven = the_stream.proof.verified = is_proven;
	tell(STREAM_SECURED);
}

static void break_off(void)
{
	strcpy(the_stream.error, "connection lost");
	tell(STREAM_FAILED);
}

/* The client's replies come in the middle of anything, but for the handshake. */
static void hear(const char *text)
{
	memcpy(the_stream.in + the_stream.in_len, text, strlen(text));
	the_stream.in_len += strlen(text);
	owner.is_heard = true;
	tell(STREAM_READABLE);
	owner.is_heard = false;
}

static void flush(void)
{
	the_stream.unsent = 0;
	truth.dot_has_left = truth.has_sent_dot;
	tell(STREAM_DRAINED);
}

static bool has_timer(const struct smtp_client *c)
{
	return (c->is_timed && ev_is_active(&c->timer)) || ev_is_pending(&c->timer);
}

static bool is_owners_turn(const struct smtp_client *c)
{
	return c->state == READY ||
	       (c->state == ENVELOPE && !c->mail_outstanding && !c->rcpt_outstanding) ||
	       (c->state == BODY && !the_stream.unsent);
}

/* Nobody does anything until it gives up; a doomed connection's timer has been fed. */
static void pass_time(void)
{
	enum { TIMERS_MAX = 100 }; /* a stall is looked for 20 times */
	struct smtp_client *c = owner.client;
	unsigned timers = 0;

	while (has_timer(c) && c->state != CLOSED) {
		assert_true(++timers < TIMERS_MAX);
		if (ev_is_active(&c->timer))
			now += ev_timer_remaining(loop, &c->timer) + 0.001;
		ev_clear_pending(loop, &c->timer);
		ev_timer_stop(loop, &c->timer);
		ev_invoke(loop, &c->timer, EV_TIMER);
	}
	assert_true(c->state == CLOSED || is_owners_turn(c));
	assert_true(c->state != CLOSED || owner.has_failed || owner.is_late);
}

static struct envelope envelope = {.sender.address = "s@client.example"};
static struct recipient recipient = {.path.address = "r@d.example"};

/* As the pool does it: what cannot be kept is closed, which ends the way. */
static void park(struct smtp_client *c)
{
	owner.is_gone = !smtp_client_park(c);
	owner.is_parked = !owner.is_gone;
	owner.has_mail = false;
}

static void call(enum step step)
{
	static const char block[STREAM_OUTPUT_MAX];
	struct smtp_client *c = owner.client;

	truth.in_call = true;
	switch (step) {
	case ASK_MAIL:
		owner.is_ready = owner.has_ended = false;
		owner.has_mail = true;
		smtp_client_mail(c, &envelope, 0);
		break;
	case ASK_RCPT:
		owner.asked++;
		smtp_client_rcpt(c, &recipient);
		break;
	case ASK_FORESEE:
		owner.foresees = true;
		smtp_client_foresee_data(c);
		break;
	case ASK_DATA:
		owner.has_data = true;
		smtp_client_data(c);
		break;
	case ASK_WRITE:
		smtp_client_write(c, "x\r\n", 3);
		break;
	case ASK_FILL: /* there is no room for a dot behind it */
		smtp_client_write(c, block, smtp_client_room(c) - 2);
		break;
	case ASK_END:
		owner.has_end = true;
		smtp_client_end(c, 100);
		break;
	case ASK_PARK:
		park(c);
		break;
	default:
		owner.is_late = true;
		smtp_client_await_late_reply(&(struct smtp_client *){c}, "session");
	}
	truth.in_call = false;
}

/* More than half a reply that waits would only wait, too. */
static bool is_listening(void)
{
	return owner.client->state > CONNECT && !the_stream.is_shaking && !the_stream.is_eof &&
	       the_stream.in_len <= sizeof "250 half";
}

static bool is_in_envelope(void) { return owner.has_mail && !owner.has_ended; }

static bool may_call(enum step step)
{
	switch (step) {
	case ASK_MAIL:
		return owner.is_ready;
	case ASK_RCPT:
		return is_in_envelope() && !owner.has_data && !owner.foresees &&
		       owner.asked < RECIPIENTS_MAX;
	case ASK_FORESEE:
		return is_in_envelope() && owner.asked && !owner.foresees && !owner.has_data;
	case ASK_DATA:
		return is_in_envelope() && owner.accepted && owner.asked == owner.answered &&
		       !owner.has_data;
	case ASK_WRITE:
		return is_in_envelope() && owner.may_write && !owner.has_end &&
		       the_stream.unsent < 8;
	case ASK_FILL:
		return is_in_envelope() && owner.may_write && !owner.has_end && !the_stream.unsent;
	case ASK_END:
		return is_in_envelope() && owner.may_write && !owner.has_end;
	case ASK_PARK:
		return owner.has_mail && (owner.has_ended || !owner.has_data);
	default:
		return false;
	}
}

/* The contract: what the owner may do, and what a stream can tell. */
static bool can_happen(enum step step)
{
	const struct smtp_client *c = owner.client;

	if (step == ASK_LATE)
		return owner.has_failed && !owner.is_late && !owner.is_gone &&
		       smtp_client_failure(c)->reason == REASON_OUTCOME_UNKNOWN && c->timed_out;
	if (owner.is_gone || c->state == CLOSED || (owner.has_failed && !owner.is_late))
		return false;
	switch (step) {
	case CONNECTED:
		return c->state == CONNECT;
	case SECURED:
	case SECURED_UNPROVEN:
		return the_stream.is_shaking && !the_stream.has_injected;
	case BROKEN:
		return true;
	case FLUSHED:
		return the_stream.unsent > 0;
	case TIME:
		return has_timer(c);
	default:
		return step < HEAR && step != END_OF_INPUT ? may_call(step) : is_listening();
	}
}

static char walked[2000]; /* for who reads a failure; "" when a way has been walked to its end */

static void take(enum step step)
{
	size_t len = strlen(walked);

	snprintf(walked + len, sizeof walked - len, "%s; ",
	    step < HEAR ? step_names[step] : replies[step - HEAR]);
	switch (step) {
	case CONNECTED:
		tell(STREAM_CONNECTED);
		break;
	case SECURED:
		shake_hands(true);
		break;
	case SECURED_UNPROVEN:
		shake_hands(false);
		break;
	case BROKEN:
		break_off();
		break;
	case END_OF_INPUT:
		the_stream.is_eof = true;
		tell(STREAM_READABLE);
		break;
	case FLUSHED:
		flush();
		break;
	case TIME:
		pass_time();
		break;
	default:
		if (step < HEAR)
			call(step);
		else
			hear(replies[step - HEAR]);
	}
	if (owner.is_parked && smtp_client_is_ready(owner.client))
		on_ready();
}

/* ---- states, told apart by what can matter ---- */

struct key {
	enum state state;
	bool timer, encrypted, proven, pipelining, mail_outstanding, mail_refused, rcpt_accepted;
	bool foresees_data, data_asked, is_leaving, doomed, timed_out, eof, shaking, injected,
	    broken;
	bool dot_sent, dot_left, is_full;
	unsigned rcpt_outstanding, waiting, unsent;
	char in[sizeof the_stream.in];
	unsigned char owner[sizeof owner - sizeof owner.client];
};

static void describe(struct key *key)
{
	const struct smtp_client *c = owner.client;

	memset(key, 0, sizeof *key);
	key->state = c->state;
	if (owner.is_gone || (c->state == CLOSED && !can_happen(ASK_LATE)))
		return; /* nothing follows */
	key->timer = has_timer(c);
	key->encrypted = truth.is_encrypted;
	key->proven = truth.is_proven;
	key->pipelining = c->offer.pipelining;
	key->mail_outstanding = c->mail_outstanding;
	key->mail_refused = c->mail_refused;
	key->rcpt_accepted = c->rcpt_accepted;
	key->foresees_data = c->foresees_data;
	key->data_asked = c->data_asked;
	key->is_leaving = c->is_leaving;
	key->doomed = c->doomed;
	key->timed_out = c->timed_out;
	key->eof = the_stream.is_eof;
	key->shaking = the_stream.is_shaking;
	key->injected = the_stream.has_injected;
	key->broken = the_stream.error[0] != '\0';
	key->dot_sent = truth.has_sent_dot;
	key->dot_left = truth.dot_has_left;
	key->rcpt_outstanding = c->rcpt_outstanding;
	for (const struct waiting *w = c->waiting; w; w = w->next)
		key->waiting++;
	key->unsent = the_stream.unsent > 0;
	key->is_full = the_stream.unsent > STREAM_OUTPUT_MAX / 2;
	memcpy(key->in, the_stream.in, the_stream.in_len);
	memcpy(key->owner, (const char *)&owner + sizeof owner.client, sizeof key->owner);
}

enum { NODES_MAX = 100000, STEPS_MAX = 32 };

struct node {
	struct key key;
	size_t from; /* index of the node before it */
	enum step by;
	bool can[STEPS_MAX];
	UT_hash_handle hh;
};

static struct node *nodes[NODES_MAX];
static size_t node_count;
static struct node *known;

/* ---- walking ---- */

static struct conf conf;
static struct proxy proxy;

static void begin(void)
{
	struct addr address;
	struct tls_rule rule = {.need = truth.need, .min_version = TLS_VERSION_1_2};
	struct smtp_client_target target = {
	    .host = "mx.example", .address = &address, .rule = &rule};
	enum tls_need need = truth.need;

	assert_true(addr_parse_ip(&address, "192.0.2.1", 25));
	walked[0] = '\0';
	memset(&owner, 0, sizeof owner);
	memset(&truth, 0, sizeof truth);
	truth.need = need;
	now = 1000;
	truth.in_call = true;
	owner.client = smtp_client_start(&proxy, &target, on_event, NULL);
	truth.in_call = false;
}

/* Nothing is told after the end, and everything is given back. */
static void end(void)
{
	struct smtp_client *c = owner.client;

	truth.in_call = true;
	if (!owner.is_late)
		smtp_client_close(&c);
	smtp_client_close_late(&proxy);
	truth.in_call = false;
	reap_now();
	walked[0] = '\0';
	assert_int_equal(truth.opened, 1);
	assert_int_equal(truth.closed, 1);
	assert_null(proxy.late);
}

static void walk_to(size_t node)
{
	enum step way[200];
	size_t count = 0;

	for (; node; node = nodes[node]->from) {
		assert_true(count < sizeof way / sizeof way[0]);
		way[count++] = nodes[node]->by;
	}
	begin();
	while (count)
		take(way[--count]);
}

/* Every wait has a timeout: who is waited for is the next hop, unless it is the owner's turn. Where
 * nothing is waited for any more, none is left to tell of a second end. */
static void check_has_timer(void)
{
	const struct smtp_client *c = owner.client;

	assert_true(c->state == CLOSED || is_owners_turn(c) || has_timer(c));
	assert_true(c->state == CLOSED || smtp_script[c->state].name);
	assert_false(c->state == CLOSED && has_timer(c));
}

static void note(size_t from, enum step by)
{
	struct node *node = calloc(1, sizeof *node), *same;

	describe(&node->key);
	HASH_FIND(hh, known, &node->key, sizeof node->key, same);
	if (same) {
		free(node);
		return;
	}
	assert_true(node_count < NODES_MAX);
	node->from = from;
	node->by = by;
	for (enum step step = 0; step < steps; step++)
		node->can[step] = can_happen(step);
	HASH_ADD(hh, known, key, sizeof node->key, node);
	nodes[node_count++] = node;
}

static void visit(size_t node)
{
	for (enum step step = 0; step < steps; step++) {
		if (!nodes[node]->can[step])
			continue;
		walk_to(node);
		take(step);
		check_has_timer();
		note(node, step);
		end();
	}
}

static void forget_all(void)
{
	HASH_CLEAR(hh, known);
	while (node_count)
		free(nodes[--node_count]);
}

static void explore(enum tls_need need)
{
	bool is_reached[CLOSED + 1] = {false};

	assert_true((int)steps <= (int)STEPS_MAX);
	truth.need = need;
	begin();
	note(0, 0);
	end();
	for (size_t i = 0; i < node_count; i++) {
		is_reached[nodes[i]->key.state] = true;
		visit(i);
	}
	print_message("need %d: %zu states\n", need, node_count);
	for (enum state state = CONNECT; state <= CLOSED; state++) {
		bool is_tls = state == STARTTLS || state == HANDSHAKE || state == EHLO_TLS;
		bool is_possible = is_tls ? need > TLS_NONE : state != HELO || need <= TLS_MAY;

		assert_int_equal(is_reached[state], is_possible);
	}
	forget_all();
}

static int set_up(void **state)
{
	static char name[] = "relay.example";

	(void)state;
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	loop = ev_loop_new(0);
	conf.server.hostname = conf.server.greeting_name = name;
	conf.timeouts.connect = conf.timeouts.greeting = conf.timeouts.handshake = 30;
	conf.timeouts.command = conf.timeouts.data_start = conf.timeouts.data_block = 60;
	conf.timeouts.data_end = 100;
	proxy = (struct proxy){.loop = loop, .conf = &conf};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (walked[0])
		print_message("the way: %s\n", walked);
	walked[0] = '\0';
	proxy.late = NULL;
	reap_now();
	forget_all();
	ev_loop_destroy(loop);
	return 0;
}

static void test_clear(void **state)
{
	(void)state;
	explore(TLS_NONE);
}

static void test_opportunistic(void **state)
{
	(void)state;
	explore(TLS_MAY);
}

static void test_encrypt(void **state)
{
	(void)state;
	explore(TLS_ENCRYPT);
}

static void test_proven(void **state)
{
	(void)state;
	explore(TLS_DANE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"no TLS: every state has a timeout and an exit", test_clear, set_up, tear_down, NULL},
	    {"TLS_MAY: every state has a timeout and an exit", test_opportunistic, set_up,
		tear_down, NULL},
	    {"R-TLSSEC-05: no state sends MAIL in clear where TLS is required", test_encrypt,
		set_up, tear_down, NULL},
	    {"R-TLSSEC-05: no state sends MAIL while the need is unproven", test_proven, set_up,
		tear_down, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
