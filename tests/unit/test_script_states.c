/*
 * test_script_states.c - every state that the conversation with a next hop can get into.
 *
 * smtp_client.c and smtp_script.c themselves, over a stream that is played here: whatever the next
 * hop, the network, the clock and the owner may do is done in every state, breadth first, until no
 * new one is found. After each step: nothing but EHLO, HELO, STARTTLS and QUIT was said unless what
 * the rule asks is proven; a dot was said in the message alone; an acknowledgement counts after our
 * dot has left, and not before; who waits for the next hop has a timer; a timeout and a failure end
 * the conversation.
 */
#define stream_connect         played_connect
#define stream_start_tls       played_start_tls
#define stream_offered_session played_offered_session
#define stream_proof           played_proof
#define stream_input           played_input
#define stream_consume         played_consume
#define stream_at_eof          played_at_eof
#define stream_write           played_write
#define stream_room            played_room
#define stream_unsent          played_unsent
#define stream_error           played_error
#define stream_is_starved      played_is_starved
#define stream_local           played_local
#define stream_close           played_close
#define stream_finish          played_finish
#define pool_opened            played_opened
#define pool_closed            played_closed

#include "proxy/smtp/smtp_client.c"
#include "proxy/smtp/smtp_script.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uthash.h>

enum { STEPS_MAX = 40, KNOWN_MAX = 65536, NOT_SENT = 10 };

/* ---- the stream ---- */

static struct {
	stream_fn *callback;
	void *arg;
	char in[256];
	size_t in_len, unsent;
	bool connected, eof, failed, tls_begun, tls_refused, secured, slow, closed;
	struct tls_proof proof;
	unsigned dots;
} s;

static struct smtp_client *client; /* NULL: it has ended */

struct stream *played_connect(struct ev_loop *loop, const struct addr *to,
    const struct socket_origin *origin, stream_fn *callback, void *arg)
{
	(void)loop, (void)to, (void)origin;
	memset(&s, 0, sizeof s);
	s.callback = callback;
	s.arg = arg;
	return (struct stream *)&s;
}

void played_start_tls(struct stream *stream, struct tls_contexts *contexts,
    const struct tls_rule *rule, const struct tls_peer *peer)
{
	(void)stream, (void)contexts, (void)rule, (void)peer;
	assert_false(s.tls_begun);
	s.tls_begun = true;
	s.tls_refused = s.in_len > 0;
}

bool played_offered_session(const struct stream *stream) { return stream == NULL; }
const struct tls_proof *played_proof(const struct stream *stream)
{
	(void)stream;
	return s.tls_begun ? &s.proof : NULL;
}

const char *played_input(const struct stream *stream, size_t *len)
{
	(void)stream;
	*len = s.in_len;
	return s.in;
}

void played_consume(struct stream *stream, size_t len)
{
	(void)stream;
	s.in_len -= len;
	memmove(s.in, s.in + len, s.in_len);
}

bool played_at_eof(const struct stream *stream) { return stream && s.eof && s.in_len == 0; }

static bool is_harmless(const char *line)
{
	static const char *const words[] = {"EHLO ", "HELO ", "STARTTLS\r\n", "QUIT\r\n"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strncmp(line, words[i], strlen(words[i])))
			return true;
	return false;
}

/* Here is what it is all about. */
bool played_write(struct stream *stream, const void *data, size_t len)
{
	char line[SMTP_COMMAND_MAX + 1] = "";

	(void)stream;
	assert_true(s.connected && !s.closed && (!s.tls_begun || s.secured));
	memcpy(line, data, len < SMTP_COMMAND_MAX ? len : SMTP_COMMAND_MAX);
	if (!is_harmless(line) && !tls_need_is_met(client->need, played_proof(stream)))
		fail_msg("unproven, and said: %s", line);
	if (!strcmp(line, ".\r\n") && client->state != LONE_DOT) {
		assert_int_equal(client->state, BODY);
		s.dots++;
	} else if (!strcmp(line, ".\r\n")) {
		assert_false(client->rcpt_accepted); /* R-SMTP-31 */
	}
	s.unsent += s.slow ? len : 0;
	return true;
}

size_t played_room(const struct stream *stream) { return stream ? STREAM_OUTPUT_MAX : 0; }
size_t played_unsent(const struct stream *stream) { return stream ? s.unsent : 0; }
const char *played_error(const struct stream *stream) { return stream && s.failed ? "lost" : ""; }
bool played_is_starved(const struct stream *stream) { return stream == NULL; }
bool played_local(const struct stream *stream, struct addr *local)
{
	memset(local, 0, sizeof *local);
	return stream == NULL;
}

void played_close(struct stream **stream)
{
	*stream = NULL;
	s.closed = true;
}

bool played_finish(struct stream **stream, double linger, stream_gone_fn *gone, void *arg)
{
	(void)linger, (void)gone, (void)arg;
	played_close(stream);
	return true;
}

/* Nobody counts connections here. */
void played_opened(struct pool *pool, const struct addr *address, const struct addr *near)
{
	(void)pool, (void)address, (void)near;
}

void played_closed(struct pool *pool, const struct addr *address, const struct addr *near)
{
	(void)pool, (void)address, (void)near;
}

/* ---- what may happen ---- */

static void hear(const char *text)
{
	size_t len = strlen(text);

	assert_true(s.in_len + len < sizeof s.in);
	memcpy(s.in + s.in_len, text, len);
	s.in_len += len;
	s.callback((struct stream *)&s, STREAM_READABLE, s.arg);
}

static bool can_hear(void) { return s.connected && !s.eof && (!s.tls_begun || s.secured); }

static void tell(enum stream_event event) { s.callback((struct stream *)&s, event, s.arg); }

static bool secure(bool verified)
{
	if (!s.tls_begun || s.secured || s.tls_refused || client->state != HANDSHAKE)
		return false;
	s.secured = s.proof.encrypted = true;
	s.proof.verified = verified;
	tell(STREAM_SECURED);
	return true;
}

static bool fire(void)
{
	if (!ev_is_active(&client->timer))
		return false;
	client->moved = client->final_deadline = clock_steady() - 1e6;
	client->sent_at_check = client->written - s.unsent;
	ev_timer_stop(client->proxy->loop, &client->timer);
	ev_invoke(client->proxy->loop, &client->timer, EV_TIMER);
	return true;
}

static const char *const replies[] = {
    "220 hi\r\n",
    "250-hi\r\n250-STARTTLS\r\n250 PIPELINING\r\n",
    "250-hi\r\n250 STARTTLS\r\n",
    "250 hi\r\n",
    "354 go\r\n",
    "421 later\r\n",
    "221 bye\r\n",
    "454 no TLS\r\n",
    "550 no\r\n",
    "334 x\r\n",
    "250 hi\r\n250 hi\r\n",
    "220 go\r\n250-hi\r\n250 PIPELINING\r\n",
    "354 go\r\n250 done\r\n",
    "25",
    "nonsense\r\n",
};
enum { REPLIES = sizeof replies / sizeof *replies };

enum step {
	CONNECTED = REPLIES,
	SECURED,
	SECURED_UNVERIFIED,
	LOST,
	ENDED,
	OVERDUE,
	SLOW,
	DRAINED,
	SAY_MAIL,
	SAY_RCPT,
	SAY_DATA,
	WRITE,
	END,
	FORESEE,
	PARK,
	STEPS
};

static struct envelope envelope;
static struct recipient recipient;
static struct proxy proxy;

static bool stream_step(unsigned step)
{
	switch (step) {
	case CONNECTED:
		if (s.connected)
			return false;
		s.connected = true;
		tell(STREAM_CONNECTED);
		return true;
	case SECURED:
		return secure(true);
	case SECURED_UNVERIFIED:
		return secure(false);
	case LOST:
		s.failed = true;
		s.proof.failure = s.tls_begun && !s.secured ? TLS_FAIL_HANDSHAKE : TLS_FINE;
		tell(STREAM_FAILED);
		return true;
	case ENDED:
		if (!can_hear())
			return false;
		s.eof = true;
		tell(STREAM_READABLE);
		return true;
	case SLOW:
		s.slow = client->state == BODY && !s.slow;
		return s.slow;
	case DRAINED:
		if (!s.unsent)
			return false;
		s.unsent = 0;
		s.slow = false;
		tell(STREAM_DRAINED);
		return true;
	}
	return false;
}

static bool owner_step(unsigned step)
{
	switch (step) {
	case SAY_MAIL:
		smtp_client_mail(client, &envelope, 0);
		break;
	case SAY_RCPT:
		if (client->rcpt_outstanding > 1 || client->waiting)
			return false;
		smtp_client_rcpt(client, &recipient);
		break;
	case SAY_DATA: /* after an accepted recipient, when none is outstanding (smtp_client.h) */
		if (!script_is_envelope_answered(client) || !client->rcpt_accepted)
			return false;
		smtp_client_data(client);
		break;
	case WRITE:
		if (client->written > NOT_SENT)
			return false;
		smtp_client_write(client, "x\r\n", 3);
		break;
	case END:
		smtp_client_end(client, 1);
		break;
	case FORESEE:
		smtp_client_foresee_data(client);
		break;
	case PARK:
		smtp_client_park(client);
		break;
	}
	return true;
}

static bool take_step(unsigned step)
{
	if (step < REPLIES) {
		if (!can_hear() || s.in_len)
			return false;
		hear(replies[step]);
		return true;
	}
	if (step == OVERDUE)
		return fire();
	return step < SAY_MAIL ? stream_step(step) : owner_step(step);
}

/* ---- what must hold ---- */

static void on_event(
    struct smtp_client *c, enum smtp_client_event event, const struct smtp_reply *reply, void *arg)
{
	(void)arg;
	assert_ptr_equal(c, client);
	switch (event) {
	case CLIENT_FINAL:
		assert_int_equal(s.dots, 1);
		assert_int_equal(s.unsent, 0);
		s.dots = 0;
		break;
	case CLIENT_EARLY:
		assert_true(reply->code >= 400);
		break;
	case CLIENT_READY:
	case CLIENT_RCPT:
	case CLIENT_DATA:
		assert_true(tls_need_is_met(c->need, played_proof(c->stream)));
		break;
	default:
		break;
	}
}

static bool waits_for_next_hop(void)
{
	switch (client->state) {
	case READY:
	case CLOSED:
		return false;
	case ENVELOPE:
		return client->mail_outstanding || client->rcpt_outstanding;
	case BODY:
		return s.unsent > 0;
	default:
		return true;
	}
}

/* waited: for the next hop, before the step. */
static void check_state(unsigned step, bool waited)
{
	if (is_behind_gate(client->state))
		assert_true(tls_need_is_met(client->need, played_proof(client->stream)));
	if (waits_for_next_hop() && !ev_is_active(&client->timer) && !ev_is_pending(&client->timer))
		fail_msg("%s waits without a timer", smtp_script[client->state].name);
	if (step == LOST || (step == OVERDUE && waited))
		assert_int_equal(client->state, CLOSED);
}

/* ---- the search ---- */

struct path {
	unsigned char steps[STEPS_MAX];
	size_t len;
};

/* A state, and how it was reached first. */
struct known {
	char state[96];
	struct path path;
	UT_hash_handle hh;
};

static struct known *known;
static unsigned visits[CLOSED + 1];

static void describe(char state[96])
{
	snprintf(state, 96, "%d %d%d%d %d%d%d%d %zu %d %d%d%u%d %d%d%d %d%d %u %d%d %d%d%d",
	    client->state, s.tls_begun, s.secured, s.proof.verified, s.connected, s.eof, s.slow,
	    s.tls_refused, s.in_len, s.unsent > 0, client->mail_outstanding, client->mail_refused,
	    client->rcpt_outstanding, client->waiting != NULL, client->is_leaving, client->doomed,
	    client->timed_out, client->offer.starttls, client->offer.pipelining, s.dots,
	    client->written > NOT_SENT, ev_is_active(&client->timer), client->rcpt_accepted,
	    client->foresees_data, client->data_asked);
}

static void note(const char *state, const struct path *path, unsigned step)
{
	struct known *k;

	HASH_FIND_STR(known, state, k);
	if (k)
		return;
	assert_true(HASH_COUNT(known) < KNOWN_MAX && path->len < STEPS_MAX);
	k = mem_zero(1, sizeof *k);
	snprintf(k->state, sizeof k->state, "%s", state);
	k->path = *path;
	k->path.steps[k->path.len++] = (unsigned char)step;
	HASH_ADD_STR(known, state, k);
}

static void begin(const struct tls_rule *rule, bool in_clear)
{
	struct addr address;
	struct smtp_client_target target = {
	    .host = "mx.example", .address = &address, .rule = rule, .in_clear = in_clear};

	memset(&address, 0, sizeof address);
	address.in.sin_family = AF_INET;
	client = smtp_client_start(&proxy, &target, on_event, NULL);
}

/* Pending events run, as they would at the end of each turn of the loop. */
static bool go_on(unsigned step)
{
	bool took = take_step(step);

	if (ev_is_pending(&client->timer) && client->doomed) {
		ev_clear_pending(proxy.loop, &client->timer);
		ev_invoke(proxy.loop, &client->timer, EV_TIMER);
	}
	return took;
}

static void leave(void)
{
	smtp_client_close(&client);
	ev_run(proxy.loop, EVRUN_NOWAIT);
}

static void try_step(
    const struct tls_rule *rule, bool in_clear, const struct path *path, unsigned step)
{
	char state[96];
	bool waited;

	begin(rule, in_clear);
	for (size_t i = 0; i < path->len; i++)
		go_on(path->steps[i]);
	waited = waits_for_next_hop();
	if (client->state != CLOSED && go_on(step)) {
		check_state(step, waited);
		visits[client->state]++;
		describe(state);
		note(state, path, step);
	}
	leave();
}

/* uthash goes through in the order of adding, so this is breadth first, and meets its own finds. */
static void explore(enum tls_need need, bool in_clear)
{
	static const struct path nothing;
	struct tls_rule rule = {.need = need};
	struct known *k, *next;

	for (unsigned step = 0; step < STEPS; step++)
		try_step(&rule, in_clear, &nothing, step);
	for (k = known; k; k = k->hh.next)
		for (unsigned step = 0; step < STEPS; step++)
			try_step(&rule, in_clear, &k->path, step);
	print_message(
	    "need %d%s: %u states\n", need, in_clear ? " in clear" : "", HASH_COUNT(known));
	HASH_ITER(hh, known, k, next)
	{
		HASH_DEL(known, k);
		free(k);
	}
}

static void set_up_proxy(void)
{
	static struct conf conf;
	static char greeting_name[] = "danelaw.example", hostname[] = "mail.example";

	conf.timeouts.connect = conf.timeouts.greeting = conf.timeouts.handshake = 30;
	conf.timeouts.command = conf.timeouts.data_start = 30;
	conf.timeouts.data_block = conf.timeouts.data_end = 30;
	conf.limits.next_hop_connections = 20;
	conf.server.greeting_name = greeting_name;
	conf.server.hostname = hostname;
	proxy.loop = ev_loop_new(EVFLAG_AUTO);
	proxy.conf = &conf;
	snprintf(envelope.sender.address, sizeof envelope.sender.address, "a@example");
	snprintf(recipient.path.address, sizeof recipient.path.address, "b@example");
}

static void test_demands(void **state)
{
	(void)state;
	explore(TLS_DANE, false);
	explore(TLS_PKIX, false);
	explore(TLS_ENCRYPT, false);
}

static void test_no_demand(void **state)
{
	(void)state;
	explore(TLS_MAY, false);
	explore(TLS_MAY, true);
}

/* What was not visited was not tested. LATE is what comes when nobody waits any more. */
static void test_every_state(void **state)
{
	(void)state;
	for (enum state i = GREETING; i <= CLOSED; i++)
		if (i != LATE && visits[i] == 0)
			fail_msg("never in state %s", smtp_script[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-TLSSEC-05 R-DANE-21 R-DANE-22 R-SMTP-31 R-SMTP-57: no state says MAIL unproven",
		test_demands, NULL, NULL, NULL},
	    {"R-TLSSEC-15 R-SMTP-33: where nothing is demanded", test_no_demand, NULL, NULL, NULL},
	    {"every state was visited", test_every_state, NULL, NULL, NULL},
	};

	set_up_proxy();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
