/*
 * source: an SMTP load generator; prints one JSON line.
 *
 *   source [-h host] [-p port] [-c conns] [-m msgs-per-conn] [-s size]
 *          [-D domains] [-O offset] [-R rcpts] [-F pattern] [-P] [-T] [-r]
 *          [-n count | -d seconds] [-w warmup-s] [-q rate] [-t threads] [-z srcips]
 *   source -I [-c conns] [-H hold-s] [-E] [-T]    idle mode
 *   source -L ms -B bytes ...                     slow mode: dribbles the message
 *
 *   -m 1    a new connection for each message; 0 = keep it for ever (default)
 *   -D/-O   recipients cycle over domains O..O+D-1 through -F (default d%d.bench)
 *   -P      pipeline MAIL, RCPT, DATA in one write
 *   -T      STARTTLS first (no certificate check); -r resumes sessions
 *   -q      open loop: rate messages/s, latency counted from the due time
 *   -z      spread connections over 127.0.1.1.. (more than 60k sessions)
 *   -I      open the connections, EHLO, print {"held":..}, hold for -H seconds
 *           or until stdin closes, print {"alive":..}
 *   -E      idle mode: also send MAIL FROM before holding
 */
#define _GNU_SOURCE
#include "common.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum st {
	C_NONE,
	C_CONN,
	C_BANNER,
	C_EHLO,
	C_STLS,
	C_HS,
	C_EHLO2,
	C_READY,
	C_ENV,
	C_BODY,
	C_FINAL,
	C_QUIT,
	C_HOLD,
	C_WAIT,
	C_DONE
};
#define REC  16384
#define IBUF 1024

struct conn {
	int fd, id;
	enum st st;
	SSL *ssl;
	unsigned step, outev, cap_pipe, sent_msgs;
	uint64_t t_conn, t_mail, t_retry, seq;
	char *obuf;
	size_t on, ooff;
	const char *body;
	size_t bleft;
	int in;
	int code;
	struct conn *rnext;
	char ibuf[IBUF];
};

struct thr {
	pthread_t th;
	int ep, id;
	struct conn *c;
	int nc, active, waiting, connecting, held, failed, dead;
	uint64_t msgs, errs, conns, hs_full, hs_res, cerrs;
	struct hist lat, sess, hs;
	struct conn *ready;
	SSL_CTX *ctx;
	SSL_SESSION *sess_tls;
	char err[160];
	char *cpy;
	double cpu_user, cpu_sys;
};

static const char *host = "127.0.0.1", *pat = "d%d.bench";
static int port = 25, nconn = 10, permsg, ndom = 1, doff, nrcpt = 1, pipeline, tls, resume,
	   nthr = 1, srcips;
static int idle, idle_mail, slow_ms, slow_b = 64;
static size_t size = 1024;
static uint64_t count, t_start, t_stop, t_meas;
static double dur = 5, warm, rate, hold = 60;
static atomic_ulong started, nseq;
static atomic_int stop_all;
static char *bodybuf;
static size_t bodycap;
static struct sockaddr_in sa;
static atomic_ullong q_next;

static void conn_start(struct thr *t, struct conn *c);
static void next_msg(struct thr *t, struct conn *c);

static void set_ev(struct thr *t, struct conn *c, unsigned out)
{
	struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};

	if (c->outev == out)
		return;
	c->outev = out;
	epoll_ctl(t->ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void conn_drop(struct conn *c)
{
	if (c->ssl) {
		/* without this OpenSSL marks the session as not resumable */
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(c->ssl);
		c->ssl = NULL;
	}
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->on = c->ooff = c->bleft = 0;
	c->in = 0;
}

/* bring the connection down and up again, after a pause when it failed */
static void conn_again(struct thr *t, struct conn *c, const char *why)
{
	if (c->st <= C_EHLO2 && c->st >= C_CONN)
		t->connecting--;
	if (why) {
		if (!atomic_load(&stop_all)) {
			t->errs++;
			if (!t->err[0])
				snprintf(t->err, sizeof t->err, "%s (state %d): %.100s", why, c->st,
				    c->ibuf);
		}
	}
	if (c->st == C_HOLD)
		t->dead++;
	conn_drop(c);
	if (atomic_load(&stop_all) || (idle && why)) {
		if (idle && c->st != C_HOLD)
			t->failed++;
		c->st = C_DONE;
		t->active--;
		return;
	}
	if (why) {
		c->st = C_WAIT;
		c->t_retry = now_ns() + 10000000u;
		t->waiting++;
		return;
	}
	conn_start(t, c);
}

static int pump(struct thr *t, struct conn *c)
{
	while (c->ooff < c->on || (c->bleft && !slow_ms)) {
		const char *p;
		size_t n;
		int k;

		if (c->ooff < c->on) {
			p = c->obuf + c->ooff;
			n = c->on - c->ooff;
		} else {
			p = c->body;
			n = c->bleft;
		}
		if (c->ssl) {
			k = SSL_write(c->ssl, p, n > 1u << 30 ? 1 << 30 : (int)n);
			if (k <= 0) {
				int e = SSL_get_error(c->ssl, k);

				if (e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ) {
					set_ev(t, c, 1);
					return 0;
				}
				ERR_clear_error();
				return -1;
			}
		} else {
			k = (int)send(c->fd, p, n, MSG_NOSIGNAL);
			if (k < 0) {
				if (errno == EAGAIN) {
					set_ev(t, c, 1);
					return 0;
				}
				return -1;
			}
		}
		if (c->ooff < c->on) {
			c->ooff += (size_t)k;
		} else {
			c->body += k;
			c->bleft -= (size_t)k;
		}
	}
	if (c->ooff == c->on)
		c->on = c->ooff = 0;
	set_ev(t, c, 0);
	if (c->st == C_BODY && !c->bleft)
		c->st = C_FINAL;
	return 0;
}

static void put(struct conn *c, const char *s)
{
	size_t n = strlen(s);

	memcpy(c->obuf + c->on, s, n);
	c->on += n;
}

static void put_rcpt(struct conn *c, unsigned i)
{
	char b[160], d[96];
	uint64_t k = c->seq * (uint64_t)nrcpt + i;

	snprintf(d, sizeof d, pat, doff + (int)(k % (uint64_t)ndom));
	snprintf(b, sizeof b, "RCPT TO:<u%u@%s>\r\n", i, d);
	put(c, b);
}

static void start_msg(struct thr *t, struct conn *c, uint64_t due)
{
	c->seq = atomic_fetch_add(&nseq, 1);
	c->t_mail = due ? due : now_ns();
	c->step = 0;
	c->st = C_ENV;
	put(c, "MAIL FROM:<bench@client.bench>\r\n");
	if (pipeline && c->cap_pipe) {
		for (int i = 0; i < nrcpt; i++)
			put_rcpt(c, (unsigned)i);
		put(c, "DATA\r\n");
	}
	if (pump(t, c))
		conn_again(t, c, "write");
}

static void next_msg(struct thr *t, struct conn *c)
{
	if (idle) {
		t->held++;
		c->st = C_HOLD;
		if (idle_mail) {
			put(c, "MAIL FROM:<bench@client.bench>\r\n");
			pump(t, c);
		}
		return;
	}
	if (count && atomic_fetch_add(&started, 1) >= count)
		atomic_store(&stop_all, 1);
	if (atomic_load(&stop_all) || (permsg && c->sent_msgs >= (unsigned)permsg)) {
		if (count && !atomic_load(&stop_all))
			atomic_fetch_sub(&started, 1);
		put(c, "QUIT\r\n");
		c->st = C_QUIT;
		if (pump(t, c))
			conn_again(t, c, NULL);
		return;
	}
	c->sent_msgs++;
	if (rate > 0) {
		c->st = C_READY;
		c->rnext = t->ready;
		t->ready = c;
		return;
	}
	start_msg(t, c, 0);
}

static void send_body(struct thr *t, struct conn *c)
{
	char h[512];
	int n = snprintf(h, sizeof h,
	    "From: <bench@client.bench>\r\nX-Bench: %020lu\r\nTo: <u0@d.bench>\r\nSubject: bench "
	    "message %lu\r\n"
	    "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <%lu.%d@client.bench>\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
	    c->t_mail, c->seq, c->seq, (int)getpid());
	size_t body = size > (size_t)n + 64 ? size - (size_t)n : 64, head = REC - (size_t)n;
	const char *b = bodybuf + bodycap - body;

	memcpy(c->obuf, h, (size_t)n);
	if (head > body)
		head = body;
	if (slow_ms)
		head = 0;
	memcpy(c->obuf + n, b, head);
	c->on = (size_t)n + head;
	c->ooff = 0;
	c->body = b + head;
	c->bleft = body - head;
	c->st = C_BODY;
	c->t_retry = now_ns() + (uint64_t)slow_ms * 1000000u;
	if (pump(t, c))
		conn_again(t, c, "write");
}

static int on_reply(struct thr *t, struct conn *c, int code)
{
	switch (c->st) {
	case C_BANNER:
		if (code != 220)
			return -1;
		put(c, "EHLO client.bench\r\n");
		c->st = C_EHLO;
		break;
	case C_EHLO:
		if (code != 250)
			return -1;
		if (tls) {
			put(c, "STARTTLS\r\n");
			c->st = C_STLS;
			break;
		}
		t->connecting--;
		next_msg(t, c);
		return 0;
	case C_EHLO2:
		if (code != 250)
			return -1;
		t->connecting--;
		next_msg(t, c);
		return 0;
	case C_STLS:
		if (code != 220)
			return -1;
		c->ssl = SSL_new(t->ctx);
		SSL_set_fd(c->ssl, c->fd);
		SSL_set_connect_state(c->ssl);
		if (resume && t->sess_tls) {
			SSL_SESSION *d = SSL_SESSION_dup(t->sess_tls);

			SSL_set_session(c->ssl, d);
			SSL_SESSION_free(d);
		}
		c->st = C_HS;
		return 1;
	case C_ENV:
		if (c->step == (unsigned)nrcpt + 1) {
			if (code != 354)
				return -1;
			send_body(t, c);
			return 0;
		}
		if (code / 100 != 2)
			return -1;
		c->step++;
		if (pipeline && c->cap_pipe)
			return 0;
		if (c->step <= (unsigned)nrcpt)
			put_rcpt(c, c->step - 1);
		else
			put(c, "DATA\r\n");
		break;
	case C_FINAL: {
		uint64_t n = now_ns();

		if (code != 250)
			return -1;
		if (n >= t_meas) {
			t->msgs++;
			hist_add(&t->lat, n - c->t_mail);
			if (c->sent_msgs == 1)
				hist_add(&t->sess, n - c->t_conn);
		}
		next_msg(t, c);
		return 0;
	}
	case C_QUIT:
		conn_again(t, c, NULL);
		return 0;
	case C_HOLD:
		return 0;
	default:
		return -1;
	}
	return pump(t, c);
}

static void feed(struct thr *t, struct conn *c, char *p, size_t n)
{
	int fd = c->fd;

	while (n && c->fd == fd && c->st != C_HS) {
		char *nl = memchr(p, '\n', n), *l;
		size_t k = nl ? (size_t)(nl - p) + 1 : n, ln;

		if ((size_t)c->in + k >= IBUF) {
			conn_again(t, c, "long line");
			return;
		}
		memcpy(c->ibuf + c->in, p, k);
		c->in += (int)k;
		c->ibuf[c->in] = 0;
		p += k;
		n -= k;
		if (!nl)
			return;
		l = c->ibuf;
		ln = (size_t)c->in;
		c->in = 0;
		if (ln >= 14 && (c->st == C_EHLO || c->st == C_EHLO2) &&
		    !strncasecmp(l + 4, "PIPELINING", 10))
			c->cap_pipe = 1;
		if (ln > 3 && l[3] == '-')
			continue;
		if (on_reply(t, c, atoi(l)) < 0) {
			conn_again(t, c, "reply");
			return;
		}
	}
}

static void handshake(struct thr *t, struct conn *c)
{
	int r = SSL_do_handshake(c->ssl);

	if (r == 1) {
		if (SSL_session_reused(c->ssl))
			t->hs_res++;
		else
			t->hs_full++;
		set_ev(t, c, 0);
		c->st = C_EHLO2;
		put(c, "EHLO client.bench\r\n");
		if (pump(t, c))
			conn_again(t, c, "write");
		return;
	}
	r = SSL_get_error(c->ssl, r);
	if (r == SSL_ERROR_WANT_READ)
		set_ev(t, c, 0);
	else if (r == SSL_ERROR_WANT_WRITE)
		set_ev(t, c, 1);
	else {
		ERR_clear_error();
		conn_again(t, c, "handshake");
	}
}

static void on_conn(struct thr *t, struct conn *c, uint32_t ev)
{
	char buf[REC + 256];
	int fd = c->fd;

	if (fd < 0)
		return;
	if (c->st == C_CONN) {
		if (ev & (EPOLLERR | EPOLLHUP)) {
			t->cerrs++;
			conn_again(t, c, "connect");
			return;
		}
		if (!(ev & EPOLLOUT))
			return;
		c->st = C_BANNER;
		set_ev(t, c, 0);
		if (!(ev & EPOLLIN))
			return;
	}
	if (c->st == C_HS) {
		handshake(t, c);
		return;
	}
	if ((ev & EPOLLOUT) && pump(t, c)) {
		conn_again(t, c, "write");
		return;
	}
	if (!(ev & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	for (;;) {
		int n;

		if (c->ssl) {
			n = SSL_read(c->ssl, buf, sizeof buf);
			if (n <= 0) {
				int e = SSL_get_error(c->ssl, n);

				if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
					return;
				ERR_clear_error();
				conn_again(t, c, c->st == C_QUIT ? NULL : "closed");
				return;
			}
		} else {
			n = (int)recv(c->fd, buf, sizeof buf, 0);
			if (n < 0 && errno == EAGAIN)
				return;
			if (n <= 0) {
				conn_again(t, c, c->st == C_QUIT ? NULL : "closed");
				return;
			}
		}
		feed(t, c, buf, (size_t)n);
		if (c->fd != fd)
			return;
		if (c->st == C_HS) {
			handshake(t, c);
			return;
		}
		if (!c->ssl)
			return; /* level-triggered: the rest comes back */
		if (!SSL_has_pending(c->ssl))
			return;
	}
}

static void conn_start(struct thr *t, struct conn *c)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		perror("socket");
		exit(1);
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (srcips) {
		struct sockaddr_in b = {.sin_family = AF_INET};

		b.sin_addr.s_addr = htonl(0x7f000101u + (unsigned)(c->id % srcips));
		setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
		if (bind(c->fd, (struct sockaddr *)&b, sizeof b)) {
			perror("bind");
			exit(1);
		}
	}
	c->st = C_CONN;
	c->outev = 1;
	c->cap_pipe = c->sent_msgs = 0;
	c->on = c->ooff = c->bleft = 0;
	c->t_conn = now_ns();
	t->connecting++;
	t->conns++;
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof sa) && errno != EINPROGRESS) {
		t->cerrs++;
		conn_again(t, c, "connect");
		return;
	}
	epoll_ctl(t->ep, EPOLL_CTL_ADD, c->fd, &e);
}

static int new_session(SSL *s, SSL_SESSION *ss)
{
	struct thr *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(s));

	if (t->sess_tls)
		SSL_SESSION_free(t->sess_tls);
	t->sess_tls = ss;
	return 1;
}

static void *run(void *a)
{
	struct thr *t = a;
	struct epoll_event ev[256];
	int opened = 0;
	struct rusage ru;
	uint64_t give_up = 0;

	t->ep = epoll_create1(EPOLL_CLOEXEC);
	if (tls) {
		t->ctx = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_app_data(t->ctx, t);
		SSL_CTX_set_verify(t->ctx, SSL_VERIFY_NONE, NULL);
		SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					     SSL_MODE_RELEASE_BUFFERS);
		SSL_CTX_set_read_ahead(t->ctx, 1);
		if (resume) {
			SSL_CTX_set_session_cache_mode(
			    t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
			SSL_CTX_sess_set_new_cb(t->ctx, new_session);
		}
	}
	for (int i = 0; i < t->nc; i++) {
		t->c[i].fd = -1;
		t->c[i].id = t->id + i * nthr;
		t->c[i].obuf = idle ? malloc(256) : malloc(REC + 1024 + (size_t)nrcpt * 128);
	}
	t->active = t->nc;
	for (;;) {
		uint64_t n;
		int k, to = 100;

		while (opened < t->nc && t->connecting < (idle ? 64 : 1 << 20))
			conn_start(t, &t->c[opened++]);
		if (t->waiting || slow_ms)
			to = 5;
		if (t->ready)
			to = 0;
		k = epoll_wait(t->ep, ev, 256, to);
		for (int i = 0; i < k; i++)
			on_conn(t, ev[i].data.ptr, ev[i].events);
		n = now_ns();
		if (!count && !idle && n >= t_stop)
			atomic_store(&stop_all, 1);
		while (t->ready) {
			unsigned long long q = atomic_load(&q_next);
			struct conn *c = t->ready;

			if (!atomic_load(&stop_all)) {
				if (q > n) {
					if (q - n > 200000) {
						struct timespec ts = {0, 50000};

						nanosleep(&ts, NULL);
					}
					break;
				}
				if (!atomic_compare_exchange_strong(
					&q_next, &q, q + (unsigned long long)(1e9 / rate)))
					continue;
			} else
				q = 0;
			t->ready = c->rnext;
			start_msg(t, c, q);
		}
		if (t->waiting || slow_ms) {
			for (int i = 0; i < t->nc; i++) {
				struct conn *c = &t->c[i];

				if (c->st == C_WAIT &&
				    (n >= c->t_retry || atomic_load(&stop_all))) {
					t->waiting--;
					if (atomic_load(&stop_all)) {
						c->st = C_DONE;
						t->active--;
					} else
						conn_start(t, c);
				} else if (slow_ms && c->st == C_BODY && n >= c->t_retry &&
					   !c->on && c->bleft) {
					size_t b =
					    c->bleft < (size_t)slow_b ? c->bleft : (size_t)slow_b;

					memcpy(c->obuf, c->body, b);
					c->on = b;
					c->body += b;
					c->bleft -= b;
					c->t_retry = n + (uint64_t)slow_ms * 1000000u;
					if (pump(t, c))
						conn_again(t, c, "write");
				}
			}
		}
		if (idle) {
			if (t->held + t->failed >= t->nc && !give_up) {
				struct pollfd pf = {0, POLLIN, 0};
				uint64_t end = now_ns() + (uint64_t)(hold * 1e9);
				char ch;

				give_up = 1;
				printf(
				    "{\"held\":%d,\"failed\":%d,\"secs\":%.3f,\"err\":\"%.60s\"}\n",
				    t->held, t->failed, (double)(now_ns() - t_start) / 1e9,
				    t->err[0] ? "see alive line" : "");
				fflush(stdout);
				while (now_ns() < end) {
					if (poll(&pf, 1, 100) > 0 && read(0, &ch, 1) <= 0)
						break;
					k = epoll_wait(t->ep, ev, 256, 0);
					for (int i = 0; i < k; i++)
						on_conn(t, ev[i].data.ptr, ev[i].events);
				}
				break;
			}
			if (n > t_start + 120000000000u) { /* could not hold them all */
				t->failed = t->nc - t->held;
			}
			continue;
		}
		if (atomic_load(&stop_all)) {
			if (!give_up)
				give_up = n + 3000000000u;
			if (t->active <= 0 || n > give_up)
				break;
			for (int i = 0; i < t->nc && t->nc;
			     i++) /* connections that never got to work */
				if (t->c[i].st == C_DONE)
					continue;
		}
	}
	getrusage(RUSAGE_THREAD, &ru);
	t->cpu_user = (double)ru.ru_utime.tv_sec + (double)ru.ru_utime.tv_usec / 1e6;
	t->cpu_sys = (double)ru.ru_stime.tv_sec + (double)ru.ru_stime.tv_usec / 1e6;
	return NULL;
}

static void json_str(const char *s)
{
	for (; *s; s++)
		if (*s >= ' ' && *s != '"' && *s != '\\')
			putchar(*s);
}

int main(int argc, char **argv)
{
	static const char b64[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct rlimit rl;
	static struct hist lat, sess;
	struct thr *T;
	uint64_t x = 88172645463325252ull, msgs = 0, errs = 0, conns = 0, hf = 0, hr = 0, cerrs = 0,
		 t_end;
	double secs, cu = 0, cs = 0;
	const char *err = "";
	int o;

	while ((o = getopt(argc, argv, "h:p:c:m:s:D:O:R:F:PTrn:d:w:q:t:z:IH:EL:B:")) != -1) {
		switch (o) {
		case 'h':
			host = optarg;
			break;
		case 'p':
			port = atoi(optarg);
			break;
		case 'c':
			nconn = atoi(optarg);
			break;
		case 'm':
			permsg = atoi(optarg);
			break;
		case 's':
			size = strtoull(optarg, NULL, 10);
			break;
		case 'D':
			ndom = atoi(optarg);
			break;
		case 'O':
			doff = atoi(optarg);
			break;
		case 'R':
			nrcpt = atoi(optarg);
			break;
		case 'F':
			pat = optarg;
			break;
		case 'P':
			pipeline = 1;
			break;
		case 'T':
			tls = 1;
			break;
		case 'r':
			resume = 1;
			break;
		case 'n':
			count = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			dur = atof(optarg);
			break;
		case 'w':
			warm = atof(optarg);
			break;
		case 'q':
			rate = atof(optarg);
			break;
		case 't':
			nthr = atoi(optarg);
			break;
		case 'z':
			srcips = atoi(optarg);
			break;
		case 'I':
			idle = 1;
			break;
		case 'H':
			hold = atof(optarg);
			break;
		case 'E':
			idle_mail = 1;
			break;
		case 'L':
			slow_ms = atoi(optarg);
			break;
		case 'B':
			slow_b = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	if (idle)
		nthr = 1;
	if (slow_b > 4096)
		slow_b = 4096;
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	signal(SIGPIPE, SIG_IGN);
	sa.sin_family = AF_INET;
	sa.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1)
		return 2;
	/* body text: 76-column base64 lines, the end mark last */
	bodycap = size + 4096;
	bodybuf = malloc(bodycap);
	for (size_t i = 0; i < bodycap; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bodybuf[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : b64[x & 63];
	}
	if (bodybuf[bodycap - 6] == '\r')
		bodybuf[bodycap - 6] = 'x';
	memcpy(bodybuf + bodycap - 5, "\r\n.\r\n", 5);
	T = calloc((size_t)nthr, sizeof *T);
	t_start = now_ns();
	t_meas = t_start + (uint64_t)(warm * 1e9);
	t_stop = t_start + (uint64_t)((warm + dur) * 1e9);
	atomic_store(&q_next, t_start);
	for (int i = 0; i < nthr; i++) {
		T[i].id = i;
		T[i].nc = nconn / nthr + (i < nconn % nthr);
		T[i].c = calloc((size_t)T[i].nc, sizeof *T[i].c);
		pthread_create(&T[i].th, NULL, run, &T[i]);
	}
	for (int i = 0; i < nthr; i++) {
		struct thr *t = &T[i];

		pthread_join(t->th, NULL);
		msgs += t->msgs;
		errs += t->errs;
		cerrs += t->cerrs;
		conns += t->conns;
		hf += t->hs_full;
		hr += t->hs_res;
		cu += t->cpu_user;
		cs += t->cpu_sys;
		hist_merge(&lat, &t->lat);
		hist_merge(&sess, &t->sess);
		if (!err[0])
			err = t->err;
	}
	t_end = now_ns();
	if (idle) {
		printf("{\"alive\":%d,\"died\":%d,\"failed\":%d,\"conns\":%lu,\"err\":\"",
		    T[0].held - T[0].dead, T[0].dead, T[0].failed, conns);
		json_str(err);
		printf("\"}\n");
		return 0;
	}
	if (!count && t_end > t_stop)
		t_end = t_stop;
	secs = (double)(t_end - t_meas) / 1e9;
	printf("{\"msgs\":%lu,\"errors\":%lu,\"conn_errors\":%lu,\"conns\":%lu,\"hs_full\":%lu,"
	       "\"hs_resumed\":%lu,"
	       "\"secs\":%.4f,\"rate\":%.1f,\"mbps\":%.2f,\"t_start\":%lu,\"t_end\":%lu,"
	       "\"p50_us\":%.1f,\"p95_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"mean_us\":%.1f,"
	       "\"sess_p50_us\":%.1f,\"sess_p95_us\":%.1f,\"sess_p99_us\":%.1f,"
	       "\"cpu_user\":%.4f,\"cpu_sys\":%.4f,\"err\":\"",
	    msgs, errs, cerrs, conns, hf, hr, secs, (double)msgs / secs,
	    (double)msgs * (double)size / secs / 1e6, t_start, t_end, hist_pct(&lat, .5) / 1e3,
	    hist_pct(&lat, .95) / 1e3, hist_pct(&lat, .99) / 1e3, (double)lat.max / 1e3,
	    lat.n ? (double)lat.sum / (double)lat.n / 1e3 : 0.0, hist_pct(&sess, .5) / 1e3,
	    hist_pct(&sess, .95) / 1e3, hist_pct(&sess, .99) / 1e3, cu, cs);
	json_str(err);
	printf("\"}\n");
	return errs && !msgs;
}
