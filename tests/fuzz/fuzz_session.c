/*
 * fuzz_session.c - whole sessions of the proxy from one script: what two clients send, what next
 * hops, DNS and the disk answer, and when. In virtual time.
 *
 * Everything between the sockets is real (session, transaction, relay, delivery, approach, attempt,
 * smtp_client, pool, policy, tls, OpenSSL on both sides); faked at link time are the sockets
 * (session/hop.h), DNS (session/names.h), the spool (session/disk.h) and the listener
 * (session/client.h). What must never happen is asserted there; here: a session that does not end,
 * a loop that spins, a descriptor, watcher or octet that is left (the sanitizer's).
 *
 * A script is lines; what it says first is the setting, the rest happens in order:
 *
 *   L letters   1 defer, q queue, m LMTP, n normalize, e encrypt, o dane-only, y may
 *   D text      a domain, see names.h        P n text   the n-th connection's persona, see hop.h
 *   O letter    the disk, see disk.h
 *   a text, b text   client A or B says the line; A, B: octets, where | is CR and ^ LF
 *   F n, f n    client A or B sends n lines of a message
 *   x, y        client A or B leaves; X, Y: closes its sending side; z, Z: stops or starts reading
 *   h n text    the n-th next hop says the line; H n: octets
 *   k n         it closes; s n: it stops or starts reading
 *   t n         so many seconds pass; T n: milliseconds
 *   +           what follows happens in the same turn of the loop
 *   !           danelaw is told to stop; a second time: at once
 */
#include "session/client.h"
#include "session/disk.h"
#include "session/hop.h"

#include "../unit/tls_peer.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/reap.h"
#include "policy/mtasts.h"
#include "policy/policy.h"
#include "proxy/duplicates.h"
#include "proxy/middlebox.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "proxy/setbacks.h"
#include "proxy/shared/shared.h"
#include "proxy/smtp/smtp_client.h"
#include "proxy/transaction.h"
#include "tls/ctx.h"
#include "tls/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SCRIPT_MAX = 1 << 16, DESCRIPTORS = 128 };
/* Longer than every timer of a session together; duplicates and policies are not waited for. */
#define ALL_TIME 7200.0

static struct {
	struct conf *conf;
	struct tls_contexts *tls;
	struct proxy proxy;
	bool joins_turn, has_begun;
} world;

/* ---- policy/mtasts.h: not asked ([policy] mta_sts = no) ---- */

struct sts_lookup *sts_lookup_start(
    struct mtasts *mtasts, const char *domain, sts_lookup_fn *callback, void *arg)
{
	(void)mtasts, (void)domain, (void)callback, (void)arg;
	abort();
}
void sts_lookup_cancel(struct sts_lookup **lookup) { assert(!*lookup); }
void sts_answer_free(struct sts_answer **answer) { assert(!*answer); }
void mtasts_recheck(struct mtasts *mtasts, const char *domain) { (void)mtasts, (void)domain; }

/* ---- once ---- */

static SSL_CTX *make_hop_context(uint8_t digest[DIGEST])
{
	static struct identity identities[2];
	static size_t count;
	struct identity *identity = &identities[count++];
	struct server server = {.identity = identity, .max_version = TLS1_3_VERSION};
	struct tlsa_set set = {0};

	*identity = make_identity(&(struct identity_spec){.common_name = "mx.example"}, NULL);
	add_association(&set, identity->certificate, 3, 1, 1);
	assert(set.count == 1 && set.items[0].len == DIGEST);
	memcpy(digest, set.items[0].data, DIGEST);
	tlsa_set_release(&set);
	return server_context(&server);
}

static void load_conf(void)
{
	static const char *const options[] = {"policy.allow_addresses=192.0.2.0/24",
	    "policy.mta_sts=no", "server.hostname=relay.example", "limits.next_hop_connections=3",
	    "limits.connection_messages=3", "limits.message_size=64K", "limits.recipients=100"};
	struct conf_report report;

	world.conf =
	    conf_load_file(NULL, "defaults", options, sizeof options / sizeof options[0], &report);
	if (!world.conf)
		fprintf(stderr, "%s\n", report.errors[0]);
	assert(world.conf);
	conf_report_free(&report);
}

static void prepare(void)
{
	char *error = NULL;

	if (world.conf)
		return;
	signal(SIGPIPE, SIG_IGN);
	log_open(
	    LOG_TO_STDERR, LOG_AS_TEXT, getenv("FUZZ_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	tls_library_init();
	right_key = make_hop_context(right_digest);
	wrong_key = make_hop_context(wrong_digest);
	/* The record that matches nobody is neither's. */
	wrong_digest[0] ^= 1;
	load_conf();
	world.tls = tls_contexts_new(NULL, &error);
	assert(world.tls);
}

/* ---- the world of one script ---- */

static void open_world(void)
{
	struct proxy *proxy = &world.proxy;
	struct conf_listener *listener = &world.conf->listeners[0];

	clock_begin();
	names_reset();
	memset(personas, 0, sizeof personas);
	disk_fault = '-';
	taken_count = whole_count = 0;
	messages_are_mapped = fuzzed_lmtp = world.joins_turn = world.has_begun = false;
	fuzzed_level = world.conf->policy.level = LEVEL_DANE;
	listener->protocol = PROTOCOL_SMTP;
	listener->delivery = DELIVERY_FANOUT;
	listener->bare_newline = BARE_NEWLINE_REJECT;
	for (size_t i = 0; i < CLIENTS; i++)
		clients[i] = (struct client){.fd = -1};
	*proxy = (struct proxy){.loop = loop, .conf = world.conf, .tls = world.tls};
	proxy->spool = (struct spool *)&world; /* disk.h needs none; NULL would mean: no spool */
	proxy->shared = shared_new();
	proxy->policy = policy_new(loop, world.conf, NULL, NULL, NULL);
	policy_keep_decisions(proxy->policy);
	proxy->setbacks = setbacks_new();
	proxy->middlebox = middlebox_new();
	proxy->duplicates = duplicates_new(
	    loop, proxy->spool, shared_journal(proxy->shared), shared_secret(proxy->shared));
	proxy->pool = pool_new(proxy);
}

/* Once a session has begun its settings stay. */
static void set_listener(const char *letters)
{
	struct conf_listener *listener = &world.conf->listeners[0];

	for (; *letters && !world.has_begun; letters++) {
		switch (*letters) {
		case '1':
			listener->delivery = DELIVERY_DEFER;
			break;
		case 'q':
			listener->delivery = DELIVERY_QUEUE;
			break;
		case 'm':
			listener->protocol = PROTOCOL_LMTP;
			fuzzed_lmtp = true;
			break;
		case 'n':
			listener->bare_newline = BARE_NEWLINE_NORMALIZE;
			messages_are_mapped = true;
			break;
		case 'e':
			fuzzed_level = LEVEL_ENCRYPT;
			break;
		case 'o':
			fuzzed_level = LEVEL_DANE_ONLY;
			break;
		case 'y':
			fuzzed_level = LEVEL_MAY;
			break;
		}
	}
	world.conf->policy.level = fuzzed_level;
}

/* The peers' share of what happens; clock_settle() calls it. */
static bool world_turn(void)
{
	bool moved = false;

	for (size_t i = 0; i < hop_count; i++)
		moved |= hop_turn(&hops[i]);
	for (size_t i = 0; i < CLIENTS; i++)
		moved |= client_turn(&clients[i]);
	return moved;
}

static bool is_over(void)
{
	const struct proxy *p = &world.proxy;

	return !seats && !p->finals && !p->late && !p->notices && !stream_is_any_finishing();
}

static void check_over(void)
{
	for (size_t i = 0; i < CLIENTS; i++) {
		assert(!clients[i].session);
		client_release(&clients[i]);
	}
	for (size_t i = 0; i < hop_count; i++) {
		assert(hops[i].fd < 0 || hops[i].is_stalled);
		hop_close(&hops[i]);
	}
	hop_count = 0;
}

static void close_world(void)
{
	struct proxy *proxy = &world.proxy;

	clock_pass(ALL_TIME);
	assert(is_over());
	pool_free(&proxy->pool);
	setbacks_free(&proxy->setbacks);
	duplicates_free(&proxy->duplicates);
	middlebox_free(&proxy->middlebox);
	policy_free(&proxy->policy);
	shared_free(&proxy->shared);
	reap_now();
	assert(ev_run(loop, EVRUN_NOWAIT) == 0); /* no watcher is left */
	check_over();
	clock_end();
}

/* ---- the script ---- */

static struct client *client_at(bool is_second)
{
	struct client *c = &clients[is_second];

	if (c->fd < 0 && !c->session && !c->asked_count && !world.proxy.shutting_down) {
		client_connect(c, &world.proxy, &world.conf->listeners[0]);
		world.has_begun = true;
		clock_settle();
	}
	return c;
}

static void leave(struct client *c)
{
	client_close(c);
	c->is_lost = true; /* it hears nothing more */
}

static void say_line(struct client *c, const char *text)
{
	struct text line = {0};

	text_add(&line, text, strlen(text));
	text_add(&line, "\r\n", 2);
	client_send(c, line.data, line.len);
	text_clear(&line);
}

static char *unescape(char *text)
{
	for (char *at = text; *at; at++)
		*at = *at == '|' ? '\r' : *at == '^' ? '\n' : *at;
	return text;
}

static void flood(struct client *c, unsigned lines)
{
	for (unsigned i = 0; i < lines && i < 600; i++) {
		say_line(c, "a line of a message that is long enough to fill the buffers between");
		if (i % 40 == 39)
			clock_settle();
	}
}

/* One that was never connected has nothing to say. */
static struct hop *hop_at(const char *text)
{
	unsigned n = (unsigned)(text[0] - '0');

	return n < hop_count && hops[n].fd >= 0 && !fault_at(&hops[n], 'c') ? &hops[n] : NULL;
}

/* What has reached it counts as read before it speaks; danelaw cannot know better. */
static bool drain(struct hop *h)
{
	bool was_stalled = h->is_stalled;

	h->is_stalled = false;
	while (hop_turn(h))
		;
	h->is_stalled = was_stalled;
	return h->fd >= 0;
}

static void let_hop_say(char *text, bool is_line)
{
	struct hop *h = hop_at(text);

	if (!h || !drain(h))
		return;
	if (is_line)
		strcat(text, "|^"); /* run() leaves room */
	unescape(text + 1);
	hop_say(h, text + 1, strlen(text + 1));
}

static void stop(void)
{
	bool is_second = world.proxy.shutting_down;

	world.proxy.shutting_down = true;
	if (is_second)
		transaction_cut_finals(&world.proxy);
	else
		pool_drain(world.proxy.pool);
	for (size_t i = 0; i < CLIENTS; i++) {
		if (clients[i].session && is_second)
			session_cut(clients[i].session);
		else if (clients[i].session)
			session_shut_down(clients[i].session);
	}
}

static void set_persona(const char *text)
{
	unsigned n = (unsigned)(text[0] - '0');

	if (n < PERSONAS)
		snprintf(personas[n], sizeof personas[n], "%.22s", text + 1);
}

static void run_hop_line(char *line)
{
	struct hop *h = hop_at(line + 1);

	if (h && line[0] == 'k')
		hop_close(h);
	else if (h)
		h->is_stalled = !h->is_stalled;
}

static void run_client_line(char *line)
{
	struct client *c = client_at(strchr("bBfyYZ", line[0]) != NULL);

	switch (line[0]) {
	case 'a':
	case 'b':
		say_line(c, line + 1);
		break;
	case 'A':
	case 'B':
		client_send(c, unescape(line + 1), strlen(line + 1));
		break;
	case 'F':
	case 'f':
		flood(c, (unsigned)atoi(line + 1));
		break;
	case 'x':
	case 'y':
		leave(c);
		break;
	case 'X':
	case 'Y':
		if (c->fd >= 0)
			shutdown(c->fd, SHUT_WR);
		break;
	case 'z':
	case 'Z':
		c->is_stalled = !c->is_stalled;
		break;
	}
}

static void run_setting(const char *line)
{
	switch (line[0]) {
	case 'L':
		set_listener(line + 1);
		break;
	case 'D':
		names_set(line + 1, world.has_begun);
		break;
	case 'P':
		set_persona(line + 1);
		break;
	case 'O':
		disk_fault = line[1] ? line[1] : '-';
		break;
	}
}

static void run_line(char *line)
{
	if (strchr("LDPO", line[0]))
		run_setting(line);
	else if (strchr("abABFfxyXYzZ", line[0]))
		run_client_line(line);
	else if (line[0] == 'h' || line[0] == 'H')
		let_hop_say(line + 1, line[0] == 'h');
	else if (line[0] == 'k' || line[0] == 's')
		run_hop_line(line);
	else if (line[0] == 't' || line[0] == 'T')
		clock_pass((atoi(line + 1) & 2047) / (line[0] == 't' ? 1. : 1000.));
	else if (line[0] == '!')
		stop();
	if (!world.joins_turn)
		clock_settle();
	world.joins_turn = line[0] == '+';
}

static void run(const char *script, size_t size)
{
	const char *end;
	char *line;

	for (; size; script = end + 1) {
		end = memchr(script, '\n', size);
		if (!end)
			end = script + size;
		line = mem_zero((size_t)(end - script) + 4, 1);
		memcpy(line, script, (size_t)(end - script));
		if (line[0])
			run_line(line);
		free(line);
		if ((size_t)(end - script) >= size)
			break;
		size -= (size_t)(end - script) + 1;
	}
}

/* A bit for each descriptor that is open. */
static void list_descriptors(bool open[DESCRIPTORS])
{
	for (int fd = 0; fd < DESCRIPTORS; fd++)
		open[fd] = fcntl(fd, F_GETFD) >= 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool before[DESCRIPTORS], after[DESCRIPTORS];

	if (size > SCRIPT_MAX)
		return 0;
	prepare();
	list_descriptors(before);
	open_world();
	run((const char *)data, size);
	close_world();
	list_descriptors(after);
	assert(!memcmp(before, after, sizeof before));
	return 0;
}
