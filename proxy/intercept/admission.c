/*
 * admission.c - see admission.h. Called by listener.c for each accepted connection.
 */
#include "proxy/intercept/admission.h"

#include "conf/clock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/quota.h"
#include "proxy/intercept/introduction.h"
#include "proxy/intercept/loop_test.h"
#include "proxy/metrics.h"
#include "proxy/outcome.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

/* A balancer's connection that has not said yet whose it is. */
struct guest {
	struct admission *admission;
	struct introduction *introduction;
	struct guest *prev, *next;
};

struct admission {
	struct proxy *proxy;
	const struct conf_listener *conf;
	admission_fn *admit;
	void *arg;
	size_t guest_count;
	struct guest *guests;
	struct quota lines; /* about clients that were refused */
};

/* The socket buffer of a new connection takes it without waiting. */
void admission_turn_away(int fd, enum reason reason, const char *words)
{
	struct outcome outcome;
	char line[640];
	size_t len;

	metrics_count_refusal(reason);
	outcome_refuse_text(&outcome, reason, "%s", words);
	len = smtp_reply_format(line, sizeof line, outcome.code, NULL, outcome.text, false);
	if (send(fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("turning a client away: %s", strerror(errno));
	shutdown(fd, SHUT_WR);
	close(fd);
}

static void log_refused(
    struct admission *a, const struct addr *client, const char *because, const char *why)
{
	char text[ADDR_TEXT];

	if (!quota_take(&a->lines, clock_steady()))
		return;
	if (a->lines.withheld)
		log_warning("listener %s refused %lu more clients, each for such a reason",
		    a->conf->name, a->lines.withheld);
	a->lines.withheld = 0;
	log_warning("client=%s refused by listener %s%s: %s", addr_ip(client, text), a->conf->name,
	    because, why);
}

void admission_refuse(struct admission *a, int fd, const struct addr *client, enum reason reason,
    const char *why, const char *words)
{
	log_refused(a, client, "", why);
	admission_turn_away(fd, reason, words);
}

static bool is_allowed(struct admission *a, int fd, const struct addr *client)
{
	if (cidr_list_contains(&a->conf->clients, client))
		return true;
	admission_refuse(a, fd, client, REASON_NOT_ALLOWED, "not in [listener] clients",
	    "this relay does not serve your address ([listener] clients)");
	return false;
}

static void admit(struct admission *a, int fd, const struct addr *client)
{
	static const struct interception none;

	if (is_allowed(a, fd, client))
		a->admit(fd, client, &none, a->arg);
}

/* ---- connections that were meant for others ---- */

/*
 * Our own connection has come back: the rules of this network intercept it. Both ends count, since
 * a client may by chance have the address and port that one of ours has. Closed without a word,
 * which ends its other end, too, before any mail was sent.
 */
static bool is_own(const struct admission *a, const struct addr *peer, const struct addr *original)
{
	char text[ADDR_TEXT];

	if (!loop_test_hears(a->proxy->loop_test, peer, original) &&
	    !pool_is_own(a->proxy->pool, peer, original))
		return false;
	log_error("our own connection from %s to a next hop was handed back to listener %s: the "
		  "network's rules must except danelaw's traffic (danelaw nft prints such rules)",
	    addr_bracketed(peer, text), a->conf->name);
	return true;
}

static void refuse_direct(struct admission *a, int fd, const struct addr *client, const char *why)
{
	admission_refuse(a, fd, client, REASON_NOT_ALLOWED, why,
	    "this port takes intercepted connections alone; connect to the mail host itself");
}

static void admit_intercepted(struct admission *a, int fd, const struct addr *client)
{
	struct interception interception;
	struct addr original;

	if (!intercept_find(a->conf, fd, client, &original)) {
		refuse_direct(a, fd, client, "no redirection of it is known (conntrack)");
	} else if (is_own(a, client, &original)) {
		close(fd);
	} else if (!is_allowed(a, fd, client)) {
		return;
	} else if (intercept_is_direct(a->conf, fd, &original)) {
		refuse_direct(a, fd, client, "it connected to this host itself");
	} else {
		intercept_describe(a->conf, client, &original, &interception);
		a->admit(fd, client, &interception, a->arg);
	}
}

/* ---- load balancers ---- */

static void remove_guest(struct guest *guest)
{
	struct admission *a = guest->admission;

	DL_DELETE(a->guests, guest);
	a->guest_count--;
	free(guest);
}

static void on_introduced(struct introduction *introduction, int fd, const struct addr *client,
    const char *why, void *arg)
{
	struct guest *guest = arg;
	struct admission *a = guest->admission;

	remove_guest(guest);
	if (client) {
		admit(a, fd, client);
	} else {
		log_refused(
		    a, introduction_balancer(introduction), ", whose proxy_protocol names it", why);
		close(fd);
	}
}

static void await_introduction(struct admission *a, int fd, const struct addr *balancer)
{
	struct guest *guest;

	if (a->guest_count >= a->conf->max_sessions) {
		admission_refuse(a, fd, balancer, REASON_OVERLOAD, "max_sessions reached",
		    "too many sessions; try again soon");
		return;
	}
	guest = mem_zero(1, sizeof *guest);
	guest->admission = a;
	DL_APPEND(a->guests, guest);
	a->guest_count++;
	guest->introduction =
	    introduction_start(a->proxy->loop, fd, balancer, on_introduced, guest);
}

void admission_accept(struct admission *a, int fd, const struct addr *peer)
{
	if (a->conf->intercept != INTERCEPT_OFF)
		admit_intercepted(a, fd, peer);
	else if (cidr_list_contains(&a->conf->proxy_protocol, peer))
		await_introduction(a, fd, peer);
	else
		admit(a, fd, peer);
}

/* ---- birth and end ---- */

struct admission *admission_new(
    struct proxy *proxy, const struct conf_listener *conf, admission_fn *admit_client, void *arg)
{
	struct admission *a = mem_zero(1, sizeof *a);

	a->proxy = proxy;
	a->conf = conf;
	a->admit = admit_client;
	a->arg = arg;
	return a;
}

void admission_free(struct admission **admission)
{
	struct admission *a = *admission;
	struct guest *guest, *next;

	*admission = NULL;
	if (!a)
		return;
	DL_FOREACH_SAFE(a->guests, guest, next)
	{
		introduction_cancel(&guest->introduction);
		remove_guest(guest);
	}
	free(a);
}
