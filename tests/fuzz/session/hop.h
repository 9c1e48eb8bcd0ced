/*
 * hop.h - scripted next hops behind socket pairs, in place of tls/socket.h, and what danelaw may
 * never do to one: the oracles of its side of the proxy.
 *
 * A hop answers each command well, but for what its persona says: pairs of a stage and a fault.
 *
 *   stage   c connect   g greeting   e EHLO   s STARTTLS   h handshake   f EHLO under TLS
 *           m MAIL   r RCPT   d DATA   b the message's first octets   . final dot   q RSET, QUIT
 *   fault   1 to 5 such a reply (1: 421)   k closes   n says nothing   x says one reply too many
 *           j junk   o offers nothing (e, f)   w another key (h)   l a long reply
 *           r refused, t descriptors have run out (c)
 */
#ifndef TESTS_SESSION_HOP_H
#define TESTS_SESSION_HOP_H

#include "names.h"
#include "proof.h"

#include "tls/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { HOPS_MAX = 48, RECIPIENTS = 64, PERSONAS = 10, OWED_MAX = 256 };

static struct hop {
	unsigned domain, host;
	int fd, theirs; /* ours, -1: closed; danelaw's */
	int connect_error;
	const char *persona;
	bool is_stalled;

	SSL *ssl;
	bool is_shaking, is_tls, has_wrong_key;
	bool has_injected; /* said more than its 220 before TLS */

	struct text in;
	char last;           /* octet received */
	char owed[OWED_MAX]; /* stages of what it was asked and has not answered */
	size_t owed_count;
	struct text said; /* the beginning of a line */

	bool is_in_body, is_ended; /* the message: under way; its dot has come */
	bool has_mail;
	char asked[RECIPIENTS][ADDRESS];
	size_t asked_count, answered_count;
	bool is_accepted[RECIPIENTS];
	size_t accepted_count;
	uint64_t sum;
} hops[HOPS_MAX];
static size_t hop_count;

static char personas[PERSONAS][24];
static SSL_CTX *right_key, *wrong_key;

/* Sent by a client to its end: nothing else may be given a final dot. client.h */
static bool is_clients_message(const char *data, size_t len);

static inline char fault_at(const struct hop *h, char stage)
{
	for (const char *at = h->persona; at && at[0] && at[1]; at += 2) {
		if (at[0] == stage)
			return at[1];
	}
	return '\0';
}

static inline void hop_close(struct hop *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	SSL_free(h->ssl);
	h->ssl = NULL;
	text_clear(&h->in);
	text_clear(&h->said);
}

/* ---- what it says ---- */

static inline void begin_tls(struct hop *h)
{
	h->has_wrong_key = fault_at(h, 'h') == 'w';
	h->ssl = SSL_new(h->has_wrong_key ? wrong_key : right_key);
	SSL_set_fd(h->ssl, h->fd);
	SSL_set_accept_state(h->ssl);
	h->is_shaking = true;
}

static inline void accept_message(struct hop *h)
{
	for (size_t i = 0; i < h->answered_count; i++) {
		if (h->is_accepted[i])
			note_taken(h->asked[i], h->sum);
	}
}

/* A reply to the question that has waited longest. */
static inline void settle_reply(struct hop *h, int code)
{
	char stage = h->owed_count ? h->owed[0] : '\0';

	if (!h->owed_count)
		return;
	memmove(h->owed, h->owed + 1, --h->owed_count);
	if (stage == 's' && code == 220 && !h->is_tls) {
		begin_tls(h);
	} else if (stage == 'r' && h->answered_count < h->asked_count) {
		h->is_accepted[h->answered_count++] = code / 100 == 2;
		h->accepted_count += code / 100 == 2;
	} else if (stage == 'd' && code == 354) {
		h->is_in_body = true;
	} else if (stage == '.' && code / 100 == 2 && h->is_ended) {
		accept_message(h);
	}
}

static inline void hear_own_line(struct hop *h, const char *line, size_t len)
{
	if (h->is_shaking)
		h->has_injected = true;
	if (len >= 3 && line[0] >= '2' && line[0] <= '5' && (len == 3 || line[3] != '-'))
		settle_reply(h, atoi(line));
}

static inline void send_octets(struct hop *h, const char *data, size_t len)
{
	if (h->is_tls)
		SSL_write(h->ssl, data, (int)len);
	else
		send(h->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Sent before it is made anything of: octets behind a 220 leave with it. */
static inline void hop_say(struct hop *h, const char *data, size_t len)
{
	char *end;

	if (h->fd < 0 || !len)
		return;
	h->has_injected |= h->is_shaking;
	send_octets(h, data, len);
	text_add(&h->said, data, len);
	while (h->said.len && (end = memchr(h->said.data, '\n', h->said.len))) {
		hear_own_line(h, h->said.data, (size_t)(end - h->said.data));
		text_cut(&h->said, (size_t)(end + 1 - h->said.data));
	}
	h->has_injected |= h->is_shaking && h->said.len;
}

static inline void say_text(struct hop *h, const char *text) { hop_say(h, text, strlen(text)); }

static inline const char *good_reply(const struct hop *h, char stage)
{
	switch (stage) {
	case 'g':
		return "220 mx.example ESMTP\r\n";
	case 'e':
		return fault_at(h, 'e') == 'o'
			   ? "250 mx.example\r\n"
			   : "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100000\r\n"
			     "250-8BITMIME\r\n250-SMTPUTF8\r\n250 STARTTLS\r\n";
	case 'f':
		return fault_at(h, 'f') == 'o' ? "250 mx.example\r\n"
					       : "250-mx.example\r\n250-PIPELINING\r\n250-DSN\r\n"
						 "250-SMTPUTF8\r\n250 8BITMIME\r\n";
	case 's':
		return "220 go\r\n";
	case 'd':
		return "354 go\r\n";
	}
	return "250 2.0.0 fine\r\n";
}

static inline void say_faulty(struct hop *h, char stage, char fault)
{
	static const char *const replies[] = {"421 4.3.2 leaving\r\n", "250 2.0.0 so be it\r\n",
	    "354 go on\r\n", "451 4.3.0 later\r\n", "550 5.7.1 never\r\n"};
	struct text two = {0};

	switch (fault) {
	case '1' ... '5':
		say_text(h, replies[fault - '1']);
		break;
	case 'k':
		hop_close(h);
		break;
	case 'x':
		text_add(&two, good_reply(h, stage), strlen(good_reply(h, stage)));
		text_add(&two, "250 injected\r\n", 14);
		hop_say(h, two.data, two.len);
		text_clear(&two);
		break;
	case 'j':
		say_text(h, "jabber\r\n");
		break;
	case 'l':
		say_text(h, "250-a\r\n250-b\x01\xff\r\n250 2.1.5 c\r\n");
		break;
	case 'n':
		break;
	default:
		say_text(h, good_reply(h, stage));
	}
}

static inline void answer(struct hop *h, char stage)
{
	if (h->owed_count == OWED_MAX) {
		hop_close(h);
		return;
	}
	h->owed[h->owed_count++] = stage;
	say_faulty(h, stage, fault_at(h, stage));
}

/* ---- what it hears ---- */

static inline void check_may_send_mail(const struct hop *h)
{
	enum need need = need_of(h->domain, h->host);

	assert(need != NEED_NEVER);
	assert(need == NEED_NOTHING || h->is_tls);
	assert(need != NEED_KEY || !h->has_wrong_key);
	assert(!h->is_tls || !h->has_injected);
}

static inline void begin_mail(struct hop *h)
{
	check_may_send_mail(h);
	h->has_mail = true;
	h->is_ended = false;
	h->asked_count = h->answered_count = h->accepted_count = 0;
	answer(h, 'm');
}

static inline void begin_rcpt(struct hop *h, const char *line, size_t len)
{
	check_may_send_mail(h);
	if (h->asked_count < RECIPIENTS)
		take_address(h->asked[h->asked_count++], line, len);
	answer(h, 'r');
}

static inline void hear_command(struct hop *h, const char *line, size_t len)
{
	assert(len < 2048);
	if (!strncasecmp(line, "MAIL", 4))
		begin_mail(h);
	else if (!strncasecmp(line, "RCPT", 4))
		begin_rcpt(h, line, len);
	else if (!strncasecmp(line, "STARTTLS", 8))
		answer(h, 's');
	else if (!strncasecmp(line, "DATA", 4))
		answer(h, 'd');
	else if (!strncasecmp(line, "EHLO", 4))
		answer(h, h->is_tls ? 'f' : 'e');
	else
		answer(h, 'q'); /* HELO, RSET, QUIT */
}

/* Ends with danelaw's dot: what came is then the message of a client, and all of it. */
static inline bool hear_body(struct hop *h)
{
	const char *end = find_dot(&h->in), *message;
	size_t rest;

	if (!end)
		return false;
	h->is_in_body = false;
	h->is_ended = true;
	if (h->accepted_count || end != h->in.data) { /* 354 though it took nobody: an empty end */
		message = skip_received(h->in.data, (size_t)(end - h->in.data), &rest);
		assert(is_clients_message(message, rest));
		h->sum = text_sum(message, rest);
	}
	text_cut(&h->in, (size_t)(end + 3 - h->in.data));
	answer(h, '.');
	return true;
}

static inline bool hear_line(struct hop *h)
{
	char *end = h->in.len ? memchr(h->in.data, '\n', h->in.len) : NULL;
	struct text line = {0};

	if (!end)
		return false;
	text_add(&line, h->in.data, (size_t)(end + 1 - h->in.data));
	text_cut(&h->in, line.len);
	hear_command(h, line.data, line.len);
	text_clear(&line);
	return true;
}

/* No bare CR, no bare LF, whoever sent it (R-SMTP-22). */
static inline void check_newlines(struct hop *h, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		assert((data[i] == '\n') == (h->last == '\r'));
		h->last = data[i];
	}
}

static inline void hear(struct hop *h, const char *data, size_t len)
{
	char fault = fault_at(h, 'b');
	bool more = true;

	check_newlines(h, data, len);
	text_add(&h->in, data, len);
	if (h->is_in_body && fault && fault != 'n')
		say_faulty(h, 'b', fault);
	while (more && h->fd >= 0 && !h->is_shaking)
		more = h->is_in_body ? hear_body(h) : hear_line(h);
}

static inline void shake_hands(struct hop *h)
{
	int done = SSL_accept(h->ssl);

	if (done == 1) {
		h->is_shaking = false;
		h->is_tls = true;
		h->last = '\0';
		h->owed_count = 0;
	} else if (SSL_get_error(h->ssl, done) != SSL_ERROR_WANT_READ) {
		hop_close(h);
	}
}

static inline void read_block(struct hop *h)
{
	char block[16384];
	ssize_t len = h->is_tls ? SSL_read(h->ssl, block, sizeof block)
				: recv(h->fd, block, sizeof block, MSG_DONTWAIT);

	if (len > 0)
		hear(h, block, (size_t)len);
	else if (!h->is_tls || SSL_get_error(h->ssl, (int)len) != SSL_ERROR_WANT_READ)
		hop_close(h);
}

static inline bool has_come(int fd)
{
	char octet;

	return recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/* Whether there was anything to do. */
static inline bool hop_turn(struct hop *h)
{
	if (h->fd < 0 || h->is_stalled || !has_come(h->fd))
		return false;
	if (h->is_shaking)
		shake_hands(h);
	else
		read_block(h);
	return true;
}

/* ---- socket.h ---- */

static inline struct hop *hop_of(int theirs)
{
	for (size_t i = hop_count; i-- > 0;) {
		if (hops[i].theirs == theirs)
			return &hops[i];
	}
	return NULL;
}

bool socket_may_mark(uint32_t mark)
{
	(void)mark;
	return false;
}

/* Nobody listens here. */
int socket_bind(const struct addr *address, bool is_transparent, bool is_shared)
{
	(void)address, (void)is_transparent, (void)is_shared;
	abort();
}

void socket_prepare(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* Small, so that a peer which does not read is felt soon. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){8192}, sizeof(int));
}

static inline void never_become_writable(int fd)
{
	static const char octets[1024];

	while (send(fd, octets, sizeof octets, MSG_DONTWAIT) > 0)
		;
}

static inline void greet(struct hop *h)
{
	char fault = fault_at(h, 'c');

	h->connect_error = fault == 'r' ? ECONNREFUSED : 0;
	if (fault == 'n')
		never_become_writable(h->theirs);
	h->is_stalled = fault == 'n' || fault == 'r';
	if (!h->is_stalled)
		answer(h, 'g');
}

int socket_connect(const struct addr *to, const struct socket_origin *origin, int *error)
{
	struct hop *h = &hops[hop_count];
	unsigned last = ntohl(to->in.sin_addr.s_addr) & 0xff;
	int fds[2];

	(void)origin;
	*error = hop_count == HOPS_MAX ? ECONNREFUSED : EMFILE;
	if (hop_count == HOPS_MAX)
		return -1;
	*h = (struct hop){.domain = last / 10, .host = last % 10};
	h->persona = hop_count < PERSONAS ? personas[hop_count] : "";
	if (fault_at(h, 'c') == 't') {
		h->fd = h->theirs = -1;
		hop_count++;
		return -1;
	}
	assert(h->domain < DOMAINS && h->host < HOSTS);
	assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
	h->fd = fds[0];
	h->theirs = fds[1];
	for (size_t i = 0; i < hop_count; i++) /* the number is used again */
		if (hops[i].theirs == h->theirs)
			hops[i].theirs = -1;
	hop_count++;
	socket_prepare(h->theirs);
	greet(h);
	return h->theirs;
}

int socket_error(int fd)
{
	const struct hop *h = hop_of(fd);

	return h ? h->connect_error : 0;
}

bool socket_is_broken(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLHUP);
}

int socket_unacknowledged(int fd)
{
	int octets = 0;

	return ioctl(fd, SIOCOUTQ, &octets) == 0 ? octets : 1 << 30;
}

bool socket_local(int fd, struct addr *a)
{
	const struct hop *h = hop_of(fd);

	return addr_parse_ip(a, "192.0.2.200", (uint16_t)(h ? 40000 + (h - hops) : 25));
}

#endif
