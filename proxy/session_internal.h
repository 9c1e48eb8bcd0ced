/*
 * session_internal.h - shared by session.c (the steps), session_reply.c (what the client hears),
 * session_idle.c (its time limits) and session_end.c.
 */
#ifndef PROXY_SESSION_INTERNAL_H
#define PROXY_SESSION_INTERNAL_H

#include "proxy/session.h"

/* ---- session_reply.c ---- */

/* False: the client does not read; it is answered when it does, and only then heard again. */
bool session_has_reply_room(const struct session *session);
/* The line of session_reply_with_next(), if one is held: no other reply will come with it. */
void session_say_held(struct session *session);
/* Recipients whose reply has not been given. */
bool session_owes_answers(const struct session *session);
/* Those that are known and in turn, as far as the client reads. */
void session_tell_answers(struct session *session);
/* One of the replies to the final dot, or to DATA; the transaction ends with the last. False: none
 * is known. */
bool session_tell_final(struct session *session);

/* ---- session_idle.c ---- */

void session_init_idle(struct session *session);
/* The client's turn: only then may it be too slow. */
bool session_is_waiting_for_client(const struct session *session);
/* Its patience begins anew. */
void session_restart_idle(struct session *session);
/* Starts or stops the clock by whose turn it is; one that runs, runs on. */
void session_set_idle(struct session *session);

/* ---- session_end.c ---- */

/* At once, without a word. */
void session_close(struct session *session, const char *why);
/* After a refusal that says so. */
void session_close_with(struct session *session, enum reason reason, const char *text);
/* A client that has closed its side may have left, or wait for our reply: its kernel tells. */
void session_settle_if_heard(struct session *session);

#endif
