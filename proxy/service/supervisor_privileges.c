/*
 * supervisor_privileges.c - what a start takes while it still may: certificates and sockets, then
 * no more privileges than serving needs; and what it tells the operator of that.
 */
#include "proxy/service/supervisor_internal.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/admin.h"
#include "proxy/intercept/intercept.h"
#include "proxy/privileges.h"
#include "proxy/service/certificates.h"
#include "proxy/service/manager.h"
#include "proxy/shared/secret.h"
#include "proxy/shared/shared.h"
#include "tls/socket.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

/* Linux before 5.17 wants CAP_NET_ADMIN for SO_MARK, with which danelaw could change the network.
 * Better no start than one after which no mail can leave. */
bool supervisor_may_mark(const struct conf *conf, char **error)
{
	if (!intercept_marks(conf) || socket_may_mark(INTERCEPT_MARK))
		return true;
	*error =
	    mem_printf("intercept = tproxy must mark its connections to mail hosts (SO_MARK), "
		       "which needs Linux 5.17 or later, and CAP_NET_RAW from the start on: %s",
		strerror(errno));
	return false;
}

static void tell_capacity(const struct conf *conf, size_t fit)
{
	size_t wanted = 0;

	fit *= conf->server.workers;
	for (size_t i = 0; i < conf->listener_count; i++)
		wanted += conf->listeners[i].max_sessions;
	log_info("descriptors for %zu sessions", fit);
	if (fit < wanted)
		log_warning(
		    "max_sessions asks for %zu sessions, the limit of open files allows %zu",
		    wanted, fit);
}

static void tell_name(const struct conf *conf)
{
	log_info(
	    "recipients without a domain (<postmaster>) are refused: there are no mailboxes here");
	if (!conf->server.hostname[0])
		log_warning("this host has no full name: next hops are greeted with an address "
			    "literal, which some refuse "
			    "(set [server] hostname)");
}

static void take_socket(int fd, void *arg)
{
	struct supervisor *s = arg;

	if (!sockets_add(s->sockets, fd))
		log_error("the service manager gave descriptor %d, which is no TCP socket", fd);
}

/* A socket that nobody serves would keep clients waiting. */
static bool has_no_stray(const struct supervisor *s, const struct conf *conf, char **error)
{
	const struct addr *stray = sockets_stray(s->sockets, conf);
	char text[ADDR_TEXT];

	if (!stray)
		return true;
	*error = mem_printf("the service manager listens on %s, which no `listen` names",
	    addr_bracketed(stray, text));
	return false;
}

static int bind_all(struct supervisor *s, const struct conf *conf, char **error)
{
	manager_take_sockets(take_socket, s);
	s->admin = admin_bind(conf, s->sockets, error);
	if (!s->admin)
		return EX_UNAVAILABLE;
	if (!s->current && !has_no_stray(s, conf, error))
		return EX_CONFIG;
	return sockets_bind(s->sockets, conf, conf->server.workers, error) ? EX_OK : EX_UNAVAILABLE;
}

int supervisor_take_privileges(
    struct supervisor *s, struct conf *conf, struct certificates **certificates, char **error)
{
	size_t fit = privileges_raise_descriptors();
	int code;

	*certificates = certificates_load(conf, NULL, error);
	if (!*certificates)
		return EX_CONFIG;
	code = bind_all(s, conf, error);
	if (code != EX_OK)
		return code;
	if (!privileges_drop(conf, error))
		return EX_CONFIG;
	if (!supervisor_may_mark(conf, error))
		return EX_UNAVAILABLE;
	tell_name(conf);
	tell_capacity(conf, fit);
	return EX_OK;
}

void supervisor_keep_secret(const struct supervisor *s, const struct conf *conf)
{
	if (!conf->server.state_dir[0])
		return;
	if (!secret_keep(conf->server.state_dir, shared_secret(s->shared)))
		log_warning("[server] state_dir %s: %s; after a restart no message is known again "
			    "that was taken before",
		    conf->server.state_dir, strerror(errno));
}
