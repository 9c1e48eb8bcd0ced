/*
 * client.h - two clients of danelaw: what each sent and was answered, and the oracle of its side:
 * 2xx for the final dot only if somebody has taken the message for every recipient.
 *
 * Replies are told apart as a client does, by counting: one for each command, in order. After
 * octets that make this uncertain (an unread reply to DATA with more behind it) nothing more is
 * concluded.
 */
#ifndef TESTS_SESSION_CLIENT_H
#define TESTS_SESSION_CLIENT_H

#include "clock.h"
#include "proof.h"

#include "proxy/listener.h"
#include "proxy/session.h"

#include <errno.h>
#include <strings.h>
#include <sys/socket.h>

enum { CLIENTS = 2, ASKED_MAX = 512, PROMISED_MAX = 64, WHOLE_MAX = 512 };

static struct client {
	int fd; /* -1: not, or no longer, connected */
	bool is_stalled, is_lost;
	struct session *session; /* NULL: it has ended */
	struct text in, line;

	struct {
		char stage; /* as hop.h has them; 'g': the greeting */
		char address[ADDRESS];
	} asked[ASKED_MAX];
	size_t asked_count;

	char promised[PROMISED_MAX][ADDRESS];
	size_t promised_count, told_count;
	bool is_in_body;
	struct text body; /* of its message */
} clients[CLIENTS];

static bool fuzzed_lmtp;

static inline void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static inline void client_release(struct client *c)
{
	client_close(c);
	text_clear(&c->in);
	text_clear(&c->line);
	text_clear(&c->body);
	*c = (struct client){.fd = -1};
}

/* ---- messages that a client has sent to their end, for the next hops ---- */

static uint64_t whole[WHOLE_MAX];
static size_t whole_count;

static inline void note_whole(const char *data, size_t len)
{
	whole[whole_count++ % WHOLE_MAX] = text_sum(data, len);
}

static bool is_clients_message(const char *data, size_t len)
{
	uint64_t sum = text_sum(data, len);

	for (size_t i = 0; i < CLIENTS; i++) {
		if (clients[i].is_lost || messages_are_mapped)
			return true;
	}
	for (size_t i = 0; i < whole_count && i < WHOLE_MAX; i++) {
		if (whole[i] == sum)
			return true;
	}
	return false;
}

/* ---- what it sends ---- */

static inline void ask(struct client *c, char stage, const char *line, size_t len)
{
	if (c->asked_count == ASKED_MAX) {
		c->is_lost = true;
		return;
	}
	c->asked[c->asked_count].stage = stage;
	c->asked[c->asked_count].address[0] = '\0';
	if (stage == 'r')
		take_address(c->asked[c->asked_count].address, line, len);
	c->asked_count++;
}

static inline char stage_of_command(const char *line)
{
	static const struct {
		char word[5], stage;
	} words[] = {{"RCPT", 'r'}, {"DATA", 'd'}, {"MAIL", 'm'}, {"RSET", 'm'}, {"EHLO", 'm'},
	    {"HELO", 'm'}, {"LHLO", 'm'}};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (!strncasecmp(line, words[i].word, 4))
			return words[i].stage;
	}
	return '?';
}

static inline void note_commands(struct client *c, const char *data, size_t len)
{
	char *end;

	text_add(&c->line, data, len);
	while (c->line.len && (end = memmem(c->line.data, c->line.len, "\r\n", 2))) {
		size_t line_len = (size_t)(end + 2 - c->line.data);

		ask(c, stage_of_command(c->line.data), c->line.data, line_len);
		text_cut(&c->line, line_len);
	}
}

/* At its end what followed the dot is commands again. */
static inline void note_body(struct client *c, const char *data, size_t len)
{
	const char *end;
	size_t over;

	text_add(&c->body, data, len);
	end = find_dot(&c->body);
	if (!end)
		return;
	over = c->body.len - (size_t)(end + 3 - c->body.data);
	c->body.len = (size_t)(end - c->body.data);
	c->is_in_body = false;
	note_whole(c->body.data, c->body.len);
	c->told_count = 0;
	for (size_t i = 0; i < (fuzzed_lmtp ? c->promised_count : 1); i++)
		ask(c, '.', NULL, 0);
	note_commands(c, data + len - over, over);
}

/* Then it cannot be told what danelaw takes for the message. */
static inline bool awaits_data_reply(const struct client *c)
{
	for (size_t i = 0; i < c->asked_count; i++) {
		if (c->asked[i].stage == 'd')
			return true;
	}
	return false;
}

static inline void client_send(struct client *c, const char *data, size_t len)
{
	ssize_t sent = c->fd < 0 || !len ? 0 : send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent <= 0)
		return;
	c->is_lost |= awaits_data_reply(c);
	if (c->is_in_body)
		note_body(c, data, (size_t)sent);
	else
		note_commands(c, data, (size_t)sent);
}

/* ---- what it is answered ---- */

static inline void check_told(struct client *c, const char *address)
{
	assert(is_taken(address, text_sum(c->body.data ? c->body.data : "", c->body.len)));
}

/* LMTP has a reply for each recipient (RFC 2033 4.2), SMTP one for all. */
static inline void hear_final(struct client *c, bool is_good)
{
	size_t first = fuzzed_lmtp ? c->told_count : 0;
	size_t last = fuzzed_lmtp ? c->told_count + 1 : c->promised_count;

	for (size_t i = first; is_good && i < last; i++)
		check_told(c, c->promised[i]);
	c->told_count++;
	if (fuzzed_lmtp && c->told_count < c->promised_count)
		return;
	settle_taken();
	c->promised_count = 0;
}

static inline void hear_data_reply(struct client *c, int code)
{
	if (code != 354) {
		c->promised_count = 0;
		return;
	}
	c->is_lost |= c->line.len > 0;
	c->is_in_body = true;
	text_clear(&c->body);
	text_add(&c->body, "", 0);
}

static inline void hear_rcpt_reply(struct client *c, int code, const char *address)
{
	if (code / 100 != 2)
		return;
	c->is_lost |= c->promised_count == PROMISED_MAX;
	if (!c->is_lost)
		strcpy(c->promised[c->promised_count++], address);
}

static inline void hear_reply(struct client *c, int code)
{
	char address[ADDRESS];
	char stage;

	if (!c->asked_count)
		return; /* 421: danelaw ends the session */
	stage = c->asked[0].stage;
	strcpy(address, c->asked[0].address);
	memmove(c->asked, c->asked + 1, --c->asked_count * sizeof c->asked[0]);
	if (c->is_lost)
		return;
	switch (stage) {
	case 'r':
		hear_rcpt_reply(c, code, address);
		break;
	case 'd':
		hear_data_reply(c, code);
		break;
	case '.':
		hear_final(c, code / 100 == 2);
		break;
	case 'm':
		if (code / 100 == 2)
			c->promised_count = 0;
		break;
	default:
		break;
	}
}

/* A reply is CR LF lines of a code and text without controls, whatever the next hop had said. */
static inline void check_line(const char *line, size_t len)
{
	assert(len >= 5 && line[len - 2] == '\r' && len <= 512);
	assert(line[0] >= '2' && line[0] <= '5' && (line[3] == ' ' || line[3] == '-'));
	for (size_t i = 0; i + 2 < len; i++)
		assert((unsigned char)line[i] >= ' ' && line[i] != 0x7f);
}

static inline bool client_turn(struct client *c)
{
	char block[4096], *end;
	ssize_t len;

	if (c->fd < 0 || c->is_stalled)
		return false;
	len = recv(c->fd, block, sizeof block, MSG_DONTWAIT);
	if (len < 0 && errno == EAGAIN)
		return false;
	if (len <= 0) {
		client_close(c);
		return true;
	}
	text_add(&c->in, block, (size_t)len);
	while (c->in.len && (end = memchr(c->in.data, '\n', c->in.len))) {
		size_t line_len = (size_t)(end + 1 - c->in.data);

		check_line(c->in.data, line_len);
		if (c->in.data[3] == ' ')
			hear_reply(c, atoi(c->in.data));
		text_cut(&c->in, line_len);
	}
	return true;
}

/* ---- listener.h, as far as sessions know it ---- */

struct tls_server *listener_tls(const struct listener *l)
{
	(void)l;
	return NULL;
}

void listener_forget(struct listener *l, struct session *session)
{
	(void)l;
	for (size_t i = 0; i < CLIENTS; i++) {
		if (clients[i].session == session)
			clients[i].session = NULL;
	}
}

static size_t seats; /* taken */

void listener_free_seat(struct listener *l, const struct addr *client)
{
	(void)l, (void)client;
	assert(seats > 0);
	seats--;
}

bool listener_is_crowded(const struct listener *l)
{
	(void)l;
	return false;
}

static inline void client_connect(
    struct client *c, struct proxy *proxy, const struct conf_listener *conf)
{
	static const struct interception direct;
	struct addr from;
	int fds[2];

	assert(addr_parse_ip(&from, "192.0.2.100", (uint16_t)(1000 + (c - clients))));
	assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
	c->fd = fds[0];
	seats++;
	ask(c, 'g', NULL, 0);
	c->session = session_new(proxy, NULL, conf, fds[1], &from, &direct);
}

#endif
