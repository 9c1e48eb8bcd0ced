/*
 * sink: a fast receiving SMTP server that discards mail and counts it.
 *
 *   sink [-a addr] [-p port] [-C ctlport] [-t threads] [-c cert.pem -k key.pem]
 *        [-n tickets] [-b] [-S] [-D ms]
 *
 *   -c/-k   certificate and key: offers STARTTLS (TLS 1.2 and 1.3, tickets)
 *   -n      TLS 1.3 tickets sent per full handshake (default 1)
 *   -b      offer CHUNKING (BDAT)
 *   -R      refuse MAIL outside TLS (530): proves that the subject encrypts
 *   -D ms   delay the final reply of each message by ms
 *
 * Connections to 127.80.0.0/16 are not read from any more once they have said DATA.
 *
 * Counters: one JSON line at the control port (send "s" to show, "r" to show
 * and reset) and on SIGTERM/SIGINT.  A message that carries the header
 * "X-Bench: <ns>" (CLOCK_MONOTONIC of the client's MAIL) feeds the arrival
 * latency histogram.
 */
#define _GNU_SOURCE
#include "common.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum st { S_CMD, S_DATA, S_BDAT, S_DELAY, S_TLS, S_STALL };
#define RBUF    65536
#define HDRMAX  4096
#define LINEMAX 2048

struct conn {
	int fd;
	enum st st;
	SSL *ssl;
	unsigned want_tls : 1, closing : 1, in_mail : 1, stamped : 1, bdat_last : 1, outev : 1,
	    stalls : 1;
	unsigned nrcpt;
	uint64_t left; /* bytes left of a BDAT chunk */
	uint64_t mbytes;
	uint64_t due; /* -D: when the final reply goes out */
	struct conn *dnext;
	int tailn; /* DATA: the last bytes seen, for the end mark */
	char tail[4];
	int linen;
	int hdrn;
	int outn;
	char *hdr;
	char line[LINEMAX];
	char out[8192];
};

struct worker {
	pthread_t th;
	pthread_mutex_t mu;
	int ep, lfd;
	uint64_t conns, open, msgs, bytes, rcpts, hs_full, hs_res, errs, cmds;
	uint64_t t_first, t_last;
	struct hist arr;
	struct conn *dhead, *dtail;
	char *rbuf;
};

static struct worker *W;
static int nthreads = 1, port = 25, ctlport = 2525, tickets = 1, chunking, need_tls, delay_ms;
static const char *addr = "0.0.0.0";
static SSL_CTX *ctx;

static void die(const char *s)
{
	perror(s);
	exit(1);
}

static int mklisten(const char *a, int p, int reuse)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)p)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, a, &sa.sin_addr) != 1) {
		fprintf(stderr, "sink: bad address %s\n", a);
		exit(1);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (reuse)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa))
		die("bind");
	if (listen(fd, 65535))
		die("listen");
	return fd;
}

static unsigned is_stalling(int fd)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof sa;

	return !getsockname(fd, (struct sockaddr *)&sa, &len) &&
	       ntohl(sa.sin_addr.s_addr) >> 16 == 0x7f50;
}

static void reply(struct conn *c, const char *s)
{
	size_t n = strlen(s);

	if ((size_t)c->outn + n > sizeof c->out) {
		c->closing = 1;
		return;
	}
	memcpy(c->out + c->outn, s, n);
	c->outn += (int)n;
}

static void conn_close(struct worker *w, struct conn *c)
{
	if (c->due) { /* on the delay list: forget it there */
		struct conn **p = &w->dhead, *prev = NULL;

		while (*p && *p != c) {
			prev = *p;
			p = &(*p)->dnext;
		}
		if (*p) {
			*p = c->dnext;
			if (w->dtail == c)
				w->dtail = prev;
		}
	}
	if (c->ssl)
		SSL_free(c->ssl);
	close(c->fd);
	free(c->hdr);
	free(c);
	w->open--;
}

/* 0: all out or waiting; -1: dead */
static int flush_out(struct worker *w, struct conn *c)
{
	int off = 0;
	int want = 0;

	while (off < c->outn) {
		int n;

		if (c->ssl) {
			n = SSL_write(c->ssl, c->out + off, c->outn - off);
			if (n <= 0) {
				int e = SSL_get_error(c->ssl, n);

				if (e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ) {
					want = 1;
					break;
				}
				ERR_clear_error();
				return -1;
			}
		} else {
			n = (int)send(c->fd, c->out + off, (size_t)(c->outn - off), MSG_NOSIGNAL);
			if (n < 0) {
				if (errno == EAGAIN) {
					want = 1;
					break;
				}
				return -1;
			}
		}
		off += n;
	}
	memmove(c->out, c->out + off, (size_t)(c->outn - off));
	c->outn -= off;
	if (want != (int)c->outev) {
		struct epoll_event ev = {.events = EPOLLIN | (want ? EPOLLOUT : 0), .data.ptr = c};

		c->outev = (unsigned)want & 1;
		epoll_ctl(w->ep, EPOLL_CTL_MOD, c->fd, &ev);
	}
	return 0;
}

static void msg_begin(struct conn *c)
{
	c->mbytes = 0;
	c->hdrn = 0;
	c->stamped = 0;
	c->tailn = 2;
	c->tail[0] = '\r';
	c->tail[1] = '\n';
}

static void stamp(struct worker *w, struct conn *c, const char *p, size_t n)
{
	static const char k[] = "\nX-Bench: ";
	const char *h;
	size_t take = HDRMAX - (size_t)c->hdrn;

	if (c->stamped || !take)
		return;
	if (c->hdrn == 0) { /* common case: the stamp is in the first piece */
		h = memmem(p, n < HDRMAX ? n : HDRMAX, k, sizeof k - 1);
		if (h && (size_t)(p + n - h) > sizeof k - 1 + 20) {
			c->stamped = 1;
			goto found;
		}
	}
	if (!c->hdr && !(c->hdr = malloc(HDRMAX)))
		return;
	if (take > n)
		take = n;
	memcpy(c->hdr + c->hdrn, p, take);
	c->hdrn += (int)take;
	h = memmem(c->hdr, (size_t)c->hdrn, k, sizeof k - 1);
	if (!h || c->hdr + c->hdrn - h <= (long)(sizeof k - 1 + 20))
		return;
	c->stamped = 1;
found : {
	uint64_t t = strtoull(h + sizeof k - 1, NULL, 10), n2 = now_ns();

	if (t && n2 > t)
		hist_add(&w->arr, n2 - t);
}
}

static void msg_end(struct worker *w, struct conn *c)
{
	w->msgs++;
	w->bytes += c->mbytes;
	w->rcpts += c->nrcpt;
	w->t_last = now_ns();
	if (!w->t_first)
		w->t_first = w->t_last;
	c->in_mail = 0;
	c->nrcpt = 0;
	if (delay_ms) {
		c->due = now_ns() + (uint64_t)delay_ms * 1000000u;
		c->dnext = NULL;
		if (w->dtail)
			w->dtail->dnext = c;
		else
			w->dhead = c;
		w->dtail = c;
		return;
	}
	reply(c, "250 2.0.0 ok queued\r\n");
}

static void command(struct worker *w, struct conn *c, char *l, size_t n)
{
	w->cmds++;
	l[n] = 0;
	if (!strncasecmp(l, "MAIL FROM:", 10)) {
		if (need_tls && !c->ssl)
			reply(c, "530 5.7.0 Must issue a STARTTLS command first\r\n");
		else {
			c->in_mail = 1;
			c->nrcpt = 0;
			reply(c, "250 2.1.0 ok\r\n");
		}
	} else if (!strncasecmp(l, "RCPT TO:", 8)) {
		if (!c->in_mail)
			reply(c, "503 5.5.1 MAIL first\r\n");
		else {
			c->nrcpt++;
			reply(c, "250 2.1.5 ok\r\n");
		}
	} else if (!strcasecmp(l, "DATA")) {
		if (!c->nrcpt)
			reply(c, "503 5.5.1 RCPT first\r\n");
		else {
			msg_begin(c);
			c->st = c->stalls ? S_STALL : S_DATA;
			reply(c, "354 go ahead\r\n");
		}
	} else if (chunking && !strncasecmp(l, "BDAT ", 5)) {
		char *e;

		c->left = strtoull(l + 5, &e, 10);
		c->bdat_last = !strncasecmp(e, " LAST", 5);
		if (!c->stamped && !c->mbytes)
			msg_begin(c);
		c->st = S_BDAT;
	} else if (!strncasecmp(l, "EHLO", 4)) {
		c->in_mail = 0;
		reply(c, "250-sink.bench\r\n250-PIPELINING\r\n250-SIZE "
			 "209715200\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n");
		if (ctx && !c->ssl)
			reply(c, "250-STARTTLS\r\n");
		if (chunking)
			reply(c, "250-CHUNKING\r\n");
		reply(c, "250 ENHANCEDSTATUSCODES\r\n");
	} else if (!strncasecmp(l, "HELO", 4)) {
		reply(c, "250 sink.bench\r\n");
	} else if (!strcasecmp(l, "STARTTLS") && ctx && !c->ssl) {
		reply(c, "220 2.0.0 ready\r\n");
		c->want_tls = 1;
	} else if (!strcasecmp(l, "RSET") || !strcasecmp(l, "NOOP")) {
		c->in_mail = 0;
		c->nrcpt = 0;
		reply(c, "250 2.0.0 ok\r\n");
	} else if (!strcasecmp(l, "QUIT")) {
		reply(c, "221 2.0.0 bye\r\n");
		c->closing = 1;
	} else {
		w->errs++;
		reply(c, "502 5.5.2 unknown\r\n");
	}
}

/* Consume DATA content; returns bytes used.  Dots are rare: memchr finds them. */
static size_t data(struct worker *w, struct conn *c, const char *p, size_t n)
{
	const char *q = p, *e = p + n;
	size_t used;

	/* an end mark that straddles the previous piece */
	if (c->tailn) {
		char b[16];
		size_t k = n < 4 ? n : 4, t = (size_t)c->tailn;
		const char *h;

		memcpy(b, c->tail, t);
		memcpy(b + t, p, k);
		h = memmem(b, t + k, "\r\n.\r\n", 5);
		if (h && (size_t)(h - b) < t) {
			used = (size_t)(h - b) + 5 - t;
			goto end;
		}
	}
	while ((q = memchr(q, '.', (size_t)(e - q)))) {
		if (q - p >= 2 && e - q >= 3 && q[-1] == '\n' && q[-2] == '\r' && q[1] == '\r' &&
		    q[2] == '\n') {
			used = (size_t)(q - p) + 3;
			goto end;
		}
		q++;
	}
	stamp(w, c, p, n);
	c->mbytes += n;
	if (n >= 4) {
		memcpy(c->tail, e - 4, 4);
		c->tailn = 4;
	} else {
		for (size_t i = 0; i < n; i++) {
			if (c->tailn == 4) {
				memmove(c->tail, c->tail + 1, 3);
				c->tailn = 3;
			}
			c->tail[c->tailn++] = p[i];
		}
	}
	return n;
end:
	stamp(w, c, p, used);
	c->mbytes += used;
	c->st = S_CMD;
	msg_end(w, c);
	return used;
}

static void feed(struct worker *w, struct conn *c, char *p, size_t n)
{
	while (n && !c->closing && !c->want_tls && c->st != S_STALL) {
		if (c->st == S_DATA) {
			size_t u = data(w, c, p, n);

			p += u;
			n -= u;
		} else if (c->st == S_BDAT) {
			size_t u = n < c->left ? n : (size_t)c->left;

			stamp(w, c, p, u);
			c->mbytes += u;
			c->left -= u;
			p += u;
			n -= u;
			if (!c->left) {
				c->st = S_CMD;
				if (c->bdat_last) {
					msg_end(w, c);
					c->mbytes = 0;
					c->stamped = 0;
				} else
					reply(c, "250 2.0.0 chunk ok\r\n");
			}
		} else {
			char *nl = memchr(p, '\n', n);
			size_t k = nl ? (size_t)(nl - p) + 1 : n, ln;

			if (nl && !c->linen) { /* whole line in place */
				ln = k - 1;
				if (ln && p[ln - 1] == '\r')
					ln--;
				command(w, c, p, ln);
			} else {
				if ((size_t)c->linen + k >= LINEMAX) {
					c->closing = 1;
					w->errs++;
					return;
				}
				memcpy(c->line + c->linen, p, k);
				c->linen += (int)k;
				if (nl) {
					ln = (size_t)c->linen - 1;
					if (ln && c->line[ln - 1] == '\r')
						ln--;
					c->linen = 0;
					command(w, c, c->line, ln);
				}
			}
			p += k;
			n -= k;
		}
	}
}

static void on_conn(struct worker *w, struct conn *c, uint32_t ev)
{
	if (ev & (EPOLLHUP | EPOLLERR)) {
		conn_close(w, c);
		return;
	}
	if (c->st == S_STALL) {
		struct epoll_event e = {.events = 0, .data.ptr = c};

		epoll_ctl(w->ep, EPOLL_CTL_MOD, c->fd, &e);
		return;
	}
	if ((ev & EPOLLOUT) && c->outn && flush_out(w, c)) {
		conn_close(w, c);
		return;
	}
	if (c->st == S_TLS) {
		int r = SSL_accept(c->ssl);

		if (r == 1) {
			if (SSL_session_reused(c->ssl))
				w->hs_res++;
			else
				w->hs_full++;
			c->st = S_CMD;
		} else {
			int e = SSL_get_error(c->ssl, r);

			if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
				return;
			w->errs++;
			ERR_clear_error();
			conn_close(w, c);
			return;
		}
	}
	for (int i = 0; i < 16; i++) {
		int n;

		if (c->ssl) {
			n = SSL_read(c->ssl, w->rbuf, RBUF);
			if (n <= 0) {
				int e = SSL_get_error(c->ssl, n);

				if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
					break;
				ERR_clear_error();
				conn_close(w, c);
				return;
			}
		} else {
			n = (int)recv(c->fd, w->rbuf, RBUF, 0);
			if (n < 0 && errno == EAGAIN)
				break;
			if (n <= 0) {
				conn_close(w, c);
				return;
			}
		}
		feed(w, c, w->rbuf, (size_t)n);
		if (c->outn && flush_out(w, c)) {
			conn_close(w, c);
			return;
		}
		if (c->want_tls) {
			c->want_tls = 0;
			c->ssl = SSL_new(ctx);
			SSL_set_fd(c->ssl, c->fd);
			SSL_set_accept_state(c->ssl);
			c->st = S_TLS;
			c->in_mail = 0;
			return;
		}
		if (c->closing) {
			if (c->ssl)
				SSL_shutdown(c->ssl);
			conn_close(w, c);
			return;
		}
		/* A short read of a plain socket means that it is empty. */
		if (!c->ssl && n < RBUF)
			break;
		if (c->ssl && n < RBUF && !SSL_has_pending(c->ssl))
			break;
	}
	if (c->ssl &&
	    SSL_has_pending(c->ssl)) { /* fairness: come back, level events do not show it */
		struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};

		c->outev = 1;
		epoll_ctl(w->ep, EPOLL_CTL_MOD, c->fd, &e);
	} else if (c->outev && !c->outn) {
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

		c->outev = 0;
		epoll_ctl(w->ep, EPOLL_CTL_MOD, c->fd, &e);
	}
}

static void *worker(void *a)
{
	struct worker *w = a;
	struct epoll_event ev[256], e = {.events = EPOLLIN, .data.ptr = NULL};

	w->rbuf = malloc(RBUF + 1);
	w->ep = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(w->ep, EPOLL_CTL_ADD, w->lfd, &e);
	for (;;) {
		int n = epoll_wait(w->ep, ev, 256, w->dhead ? 1 : -1);

		pthread_mutex_lock(&w->mu);
		for (int i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;

			if (c) {
				on_conn(w, c, ev[i].events);
				continue;
			}
			for (int k = 0; k < 64; k++) {
				int one = 1,
				    fd = accept4(w->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

				if (fd < 0)
					break;
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				c = calloc(1, sizeof *c);
				c->fd = fd;
				c->stalls = is_stalling(fd);
				w->conns++;
				w->open++;
				e.events = EPOLLIN;
				e.data.ptr = c;
				epoll_ctl(w->ep, EPOLL_CTL_ADD, fd, &e);
				reply(c, "220 sink.bench ESMTP\r\n");
				if (flush_out(w, c))
					conn_close(w, c);
			}
		}
		if (w->dhead) {
			uint64_t t = now_ns();

			while (w->dhead && w->dhead->due <= t) {
				struct conn *c = w->dhead;

				w->dhead = c->dnext;
				if (!w->dhead)
					w->dtail = NULL;
				c->due = 0;
				reply(c, "250 2.0.0 ok queued\r\n");
				if (flush_out(w, c))
					conn_close(w, c);
			}
		}
		pthread_mutex_unlock(&w->mu);
	}
	return NULL;
}

static double tv(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static int report(char *b, size_t cap, int reset)
{
	static struct rusage base;
	static struct hist h;
	struct rusage ru;
	uint64_t s[10] = {0}, first = 0, last = 0;
	int n;

	memset(&h, 0, sizeof h);
	for (int i = 0; i < nthreads; i++) {
		struct worker *w = &W[i];

		pthread_mutex_lock(&w->mu);
		s[0] += w->conns;
		s[1] += w->open;
		s[2] += w->msgs;
		s[3] += w->bytes;
		s[4] += w->rcpts;
		s[5] += w->hs_full;
		s[6] += w->hs_res;
		s[7] += w->errs;
		s[8] += w->cmds;
		if (w->t_first && (!first || w->t_first < first))
			first = w->t_first;
		if (w->t_last > last)
			last = w->t_last;
		hist_merge(&h, &w->arr);
		if (reset) {
			w->conns = w->msgs = w->bytes = w->rcpts = w->hs_full = w->hs_res =
			    w->errs = w->cmds = 0;
			w->t_first = w->t_last = 0;
			memset(&w->arr, 0, sizeof w->arr);
		}
		pthread_mutex_unlock(&w->mu);
	}
	getrusage(RUSAGE_SELF, &ru);
	n = snprintf(b, cap,
	    "{\"conns\":%lu,\"open\":%lu,\"msgs\":%lu,\"bytes\":%lu,\"rcpts\":%lu,\"hs_full\":%lu,"
	    "\"hs_resumed\":%lu,"
	    "\"errors\":%lu,\"cmds\":%lu,\"t_first\":%lu,\"t_last\":%lu,\"cpu_user\":%.6f,\"cpu_"
	    "sys\":%.6f,"
	    "\"arr_n\":%lu,\"arr_p50_us\":%.1f,\"arr_p95_us\":%.1f,\"arr_p99_us\":%.1f,\"arr_max_"
	    "us\":%.1f}\n",
	    s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], first, last,
	    tv(ru.ru_utime) - tv(base.ru_utime), tv(ru.ru_stime) - tv(base.ru_stime), h.n,
	    hist_pct(&h, .5) / 1e3, hist_pct(&h, .95) / 1e3, hist_pct(&h, .99) / 1e3,
	    (double)h.max / 1e3);
	if (reset)
		base = ru;
	return n;
}

int main(int argc, char **argv)
{
	const char *cert = NULL, *key = NULL;
	struct rlimit rl;
	sigset_t ss;
	char buf[2048];
	int o, cfd;

	while ((o = getopt(argc, argv, "a:p:C:t:c:k:n:bRD:")) != -1) {
		switch (o) {
		case 'a':
			addr = optarg;
			break;
		case 'p':
			port = atoi(optarg);
			break;
		case 'C':
			ctlport = atoi(optarg);
			break;
		case 't':
			nthreads = atoi(optarg);
			break;
		case 'c':
			cert = optarg;
			break;
		case 'k':
			key = optarg;
			break;
		case 'n':
			tickets = atoi(optarg);
			break;
		case 'b':
			chunking = 1;
			break;
		case 'R':
			need_tls = 1;
			break;
		case 'D':
			delay_ms = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&ss);
	sigaddset(&ss, SIGTERM);
	sigaddset(&ss, SIGINT);
	if (cert) {
		ctx = SSL_CTX_new(TLS_server_method());
		if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
		    SSL_CTX_use_PrivateKey_file(ctx, key ? key : cert, SSL_FILETYPE_PEM) != 1) {
			ERR_print_errors_fp(stderr);
			return 1;
		}
		SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
		SSL_CTX_set_num_tickets(ctx, (size_t)tickets);
		SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"sink", 4);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
		SSL_CTX_set_read_ahead(ctx, 1);
		SSL_CTX_set_default_read_buffer_len(ctx, 65536 + 512);
		SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					     SSL_OP_IGNORE_UNEXPECTED_EOF);
		SSL_CTX_set_ciphersuites(ctx,
		    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
	}
	W = calloc((size_t)nthreads, sizeof *W);
	cfd = mklisten("127.0.0.1", ctlport, 0);
	pthread_sigmask(SIG_BLOCK, &ss, NULL);
	for (int i = 0; i < nthreads; i++) {
		pthread_mutex_init(&W[i].mu, NULL);
		W[i].lfd = mklisten(addr, port, 1);
		fcntl(W[i].lfd, F_SETFL, O_NONBLOCK);
	}
	for (int i = 0; i < nthreads; i++)
		pthread_create(&W[i].th, NULL, worker, &W[i]);
	fcntl(cfd, F_SETFL, O_NONBLOCK);
	for (;;) {
		struct timespec ts = {0, 20000000};
		int fd;

		if (sigtimedwait(&ss, NULL, &ts) > 0) {
			report(buf, sizeof buf, 0);
			fputs(buf, stdout);
			return 0;
		}
		while ((fd = accept4(cfd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			struct timeval to = {0, 500000};
			char c = 's';

			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &to, sizeof to);
			if (recv(fd, &c, 1, 0) == 1) {
				int n = report(buf, sizeof buf, c == 'r');

				(void)!write(fd, buf, (size_t)n);
			}
			close(fd);
		}
	}
}
