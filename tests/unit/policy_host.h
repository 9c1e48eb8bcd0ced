/*
 * policy_host.h - a scripted HTTPS server in a child process, for the tests of policy/fetch.h. It
 * serves one connection after the other in the same way until it is stopped.
 */
#ifndef TESTS_POLICY_HOST_H
#define TESTS_POLICY_HOST_H

#include "conf/addr.h"
#include "tls_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* What is written once the request was read; false of put() says that the client has gone. */
typedef void reply_script(SSL *ssl, const void *arg);

struct policy_host {
	struct server tls;
	const char *name; /* SNI and Host that are expected */
	reply_script *script;
	const void *arg;
};

static inline bool put(SSL *ssl, const char *text, size_t len)
{
	return len == 0 || SSL_write(ssl, text, (int)len) == (int)len;
}

static inline bool puts_text(SSL *ssl, const char *text) { return put(ssl, text, strlen(text)); }

static inline int listen_at(const char *ip, uint16_t port)
{
	struct addr address;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(addr_parse_ip(&address, ip, port));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	assert(bind(fd, &address.sa, addr_len(&address)) == 0 && listen(fd, 200) == 0);
	return fd;
}

static inline uint16_t port_of(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof in;

	assert(getsockname(fd, (struct sockaddr *)&in, &len) == 0);
	return ntohs(in.sin_port);
}

static inline bool read_request(SSL *ssl, char *request, size_t size)
{
	size_t len = 0;

	request[0] = '\0';
	while (!strstr(request, "\r\n\r\n") && len < size - 1) {
		int got = SSL_read(ssl, request + len, (int)(size - 1 - len));

		if (got <= 0)
			return false;
		len += (size_t)got;
		request[len] = '\0';
	}
	return true;
}

/* R-STS-07, -08, -11: what is asked, and by which names; nothing else goes along. */
static inline bool is_as_expected(const struct policy_host *host, SSL *ssl, const char *request)
{
	static const char *const unwanted[] = {
	    "Authorization", "Cookie", "Accept-Encoding", "Upgrade", "If-"};
	static const char line[] = "GET /.well-known/mta-sts.txt HTTP/1.1\r\n";
	const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	char header[300];

	snprintf(header, sizeof header, "\r\nHost: %s:", host->name);
	for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++)
		if (strstr(request, unwanted[i]))
			return false;
	return sni && strcmp(sni, host->name) == 0 && strstr(request, header) &&
	       strncmp(request, line, strlen(line)) == 0;
}

static inline void serve(const struct policy_host *host, SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);
	char request[4096];

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1 && read_request(ssl, request, sizeof request)) {
		if (is_as_expected(host, ssl, request))
			host->script(ssl, host->arg);
		else
			puts_text(ssl, "HTTP/1.1 400 unexpected request\r\n\r\n");
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	close(fd);
}

/* The child has a minute: a test that hangs fails. */
static inline pid_t start_host(const struct policy_host *host, int listener)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert(pid >= 0);
	if (pid > 0)
		return pid;
	SSL_CTX *ctx = server_context(&host->tls);

	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	for (;;)
		serve(host, ctx, accept(listener, NULL, NULL));
}

static inline void stop_host(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#endif
