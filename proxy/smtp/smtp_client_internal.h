/*
 * smtp_client_internal.h - shared by smtp_client.c (the engine) and smtp_script.c (the
 * conversation).
 */
#ifndef PROXY_SMTP_CLIENT_INTERNAL_H
#define PROXY_SMTP_CLIENT_INTERNAL_H

#include "conf/conf.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "proxy/smtp/smtp_client.h"
#include "tls/stream.h"

#include <ev.h>

enum state {
	CONNECT,
	GREETING,
	EHLO,
	HELO,
	STARTTLS,
	HANDSHAKE,
	EHLO_TLS,
	/* behind the gate */
	READY,
	RESET,
	ENVELOPE,
	DATA,
	NOBODY,
	LONE_DOT,
	BODY,
	FINAL,
	LATE,
	CLOSED,
};

/* A RCPT that waits to be sent because the next hop does not pipeline. */
struct waiting {
	struct waiting *next;
	char line[];
};

struct smtp_client {
	struct proxy *proxy;
	smtp_client_fn *callback;
	void *arg;

	enum state state;
	ev_timer timer;
	double timer_more; /* seconds to wait for after it has run off */
	bool is_timed;     /* else nobody waits for it any more */
	struct stream *stream;
	enum tls_need need;
	struct tls_rule *rule; /* until it is met: NULL from READY on */
	bool in_clear;
	bool keeps_session;
	struct addr address;
	struct pool_hop hop; /* under what it is counted */
	struct addr near;    /* our end, where the kernel gave us one at once */
	bool is_bound;
	bool has_source; /* preserve_source */
	struct addr source;
	char *ehlo; /* NULL: [server] hostname */
	char *name;
	double tls_started; /* times of the steady clock */
	double tls_seconds;

	bool met_ourselves; /* greeted with our own greeting_name */
	struct smtp_offer offer;
	struct smtp_client_failure *failure; /* NULL: none yet */

	bool mail_outstanding;
	bool mail_refused;
	unsigned rcpt_outstanding;
	bool rcpt_accepted; /* any of this envelope's */
	bool foresees_data; /* DATA may leave with the RCPTs ... */
	bool data_asked;    /* ... or has left */
	struct waiting *waiting, **waiting_end;
	unsigned messages;
	uint64_t written, sent_at_check; /* BODY and FINAL: is it moving? */
	double moved;                    /* when it last did */
	double final_deadline;           /* FINAL */
	bool timed_out;
	bool is_leaving; /* said 421 or 221: not to be kept */
	bool said_421;
	bool doomed;                     /* spoke out of turn; the failure is on its way */
	enum state ended_in;             /* what we waited for when it failed */
	char *session;                   /* LATE: whose message it was */
	struct smtp_client *prev, *next; /* LATE: among proxy->late */
};

enum timer {
	T_NONE,
	T_CONNECT,
	T_GREETING,
	T_HANDSHAKE,
	T_COMMAND,
	T_DATA_START,
	T_DATA_BLOCK,
	T_DATA_END
};

typedef void ask_fn(struct smtp_client *c);
typedef void hear_fn(struct smtp_client *c, const struct smtp_reply *reply);

struct script_row {
	const char *name;
	ask_fn *ask;   /* on entering; NULL: the owner asks, or nobody */
	hear_fn *hear; /* a reply; NULL: none may come */
	enum timer timer;
};
extern const struct script_row smtp_script[];

/* ---- the engine, for the conversation ---- */

/* The only writer of the state, and the gate before everything that can send MAIL. */
void client_enter(struct smtp_client *c, enum state next);
void client_say(struct smtp_client *c, const char *line);
void client_tell(
    struct smtp_client *c, enum smtp_client_event event, const struct smtp_reply *reply);
/*
 * Seconds from now; 0: no limit. Set for each step of each message and hardly ever met: while the
 * timer runs that was set before, only what it is to wait further is noted.
 */
void client_set_timer(struct smtp_client *c, double after);
/* BODY and FINAL, once something was written or has left: is it moving? */
void client_watch_message(struct smtp_client *c);

/* Each ends the conversation with CLIENT_FAILED; the stage is that of the state, or TLS. */
void client_fail(struct smtp_client *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void client_fail_tls(struct smtp_client *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void client_fail_reply(struct smtp_client *c, const struct smtp_reply *reply);
void client_release_rule(struct smtp_client *c);
bool client_has_input(const struct smtp_client *c);
void client_doom(struct smtp_client *c); /* it answered before it was asked */

/* ---- the conversation, for the engine ---- */

void script_on_secured(struct smtp_client *c);
void script_send_waiting(struct smtp_client *c);
bool script_is_envelope_answered(const struct smtp_client *c); /* MAIL and every RCPT */

#endif
