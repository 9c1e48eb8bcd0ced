/*
 * dns_server.h - a forwarder on 127.0.0.1 in a child process, whose answers depend on the name's
 * first label.
 *
 *   - silent...  no answer
 *   - nx...      NXDOMAIN
 *   - big...     truncated over UDP, 100 TLSA over TCP
 *   - late...    after 100 ms
 *   - others     one A 192.0.2.1, or nothing for other types
 *
 * It lies: AD is set on everything, nothing is signed.
 */
#ifndef TESTS_DNS_SERVER_H
#define TESTS_DNS_SERVER_H

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct dns_server {
	pid_t pid;
	uint16_t port;
	struct dns_server_counts {
		unsigned udp, tcp, late;
	} * counts; /* shared with the child */
};

struct dns_server_question {
	size_t end; /* of the question section */
	const char *label;
	unsigned type;
};

static void server_put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static bool server_read(const uint8_t *packet, size_t len, struct dns_server_question *q)
{
	size_t at = 12;

	if (len < 17)
		return false;
	q->label = (const char *)packet + 13;
	while (at < len && packet[at])
		at += packet[at] + 1u;
	if (at + 5 > len)
		return false;
	q->type = (unsigned)(packet[at + 1] << 8 | packet[at + 2]);
	q->end = at + 5;
	return true;
}

static size_t server_add(uint8_t *at, unsigned type, const uint8_t *rdata, unsigned len)
{
	server_put16(at, 0xc00c);
	server_put16(at + 2, type);
	server_put16(at + 4, 1);
	memset(at + 6, 0, 4);
	at[9] = 200; /* TTL */
	server_put16(at + 10, len);
	memcpy(at + 12, rdata, len);
	return 12 + len;
}

/* Writes the answer over the query; its length, 0: none. */
static size_t server_answer(uint8_t *packet, const struct dns_server_question *q, bool tcp)
{
	bool big = q->type == 52 && strncmp(q->label, "big", 3) == 0;
	bool nx = strncmp(q->label, "nx", 2) == 0;
	unsigned count = nx ? 0 : big ? (tcp ? 100 : 0) : q->type == 1;
	size_t len = q->end;

	if (strncmp(q->label, "silent", 6) == 0)
		return 0;
	packet[2] = (uint8_t)(0x81 | (big && !tcp ? 2 : 0));
	packet[3] = (uint8_t)(0xa0 | (nx ? 3 : 0)); /* RA, and AD, which is a lie */
	server_put16(packet + 6, count);
	memset(packet + 8, 0, 4);
	for (unsigned i = 0; i < count; i++) {
		uint8_t tlsa[35] = {3, 1, 1, (uint8_t)i};

		len += big ? server_add(packet + len, 52, tlsa, sizeof tlsa)
			   : server_add(packet + len, 1, (uint8_t[]){192, 0, 2, 1}, 4);
	}
	return len;
}

static void server_udp(int fd, struct dns_server_counts *counts)
{
	uint8_t packet[8192];
	struct sockaddr_in from;
	socklen_t from_len = sizeof from;
	struct dns_server_question q;
	ssize_t got = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&from, &from_len);

	if (got < 0 || !server_read(packet, (size_t)got, &q))
		return;
	counts->udp++;
	if (strncmp(q.label, "late", 4) == 0) {
		counts->late++;
		usleep(100000);
	}
	size_t len = server_answer(packet, &q, false);

	if (len)
		sendto(fd, packet, len, 0, (struct sockaddr *)&from, from_len);
}

static void server_tcp(int listener, struct dns_server_counts *counts)
{
	uint8_t packet[8192];
	struct dns_server_question q;
	int fd = accept(listener, NULL, NULL);
	ssize_t got = fd < 0 ? -1 : recv(fd, packet, 514, 0);

	if (got > 2 && server_read(packet + 2, (size_t)got - 2, &q)) {
		counts->tcp++;
		size_t len = server_answer(packet + 2, &q, true);

		server_put16(packet, (unsigned)len);
		if (len)
			send(fd, packet, len + 2, MSG_NOSIGNAL);
		recv(fd, packet, 1, 0); /* until the client closes */
	}
	close(fd);
}

static _Noreturn void server_run(int udp, int tcp, struct dns_server_counts *counts)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		struct pollfd fds[] = {
		    {.fd = udp, .events = POLLIN}, {.fd = tcp, .events = POLLIN}};

		poll(fds, 2, -1);
		if (fds[0].revents)
			server_udp(udp, counts);
		if (fds[1].revents)
			server_tcp(tcp, counts);
	}
}

/* false: another program has the port of that number for UDP. */
static bool server_bind(int *udp, int *tcp, uint16_t *port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof sa;

	*udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	*tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(*tcp, (struct sockaddr *)&sa, len) < 0 || listen(*tcp, 8) < 0 ||
	    getsockname(*tcp, (struct sockaddr *)&sa, &len) < 0)
		abort();
	*port = ntohs(sa.sin_port);
	return bind(*udp, (struct sockaddr *)&sa, len) == 0;
}

static void dns_server_start(struct dns_server *server)
{
	int room = 8 << 20, udp = -1, tcp = -1;

	for (int i = 0; i < 100 && !server_bind(&udp, &tcp, &server->port); i++) {
		close(udp);
		close(tcp);
	}
	setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	server->counts = mmap(NULL, sizeof *server->counts, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	server->pid = fork();
	if (server->pid < 0)
		abort();
	if (server->pid == 0)
		server_run(udp, tcp, server->counts);
	close(udp);
	close(tcp);
}

static void dns_server_stop(struct dns_server *server)
{
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	munmap(server->counts, sizeof *server->counts);
}

#endif
