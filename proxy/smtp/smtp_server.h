/*
 * smtp_server.h - our side of the conversation with a client: a table of commands (RFC 5321 section
 * 4).
 */
#ifndef PROXY_SMTP_SERVER_H
#define PROXY_SMTP_SERVER_H

#include "proxy/session.h"
#include "proxy/smtp/smtp_parse.h"

void smtp_server_greet(struct session *session);

/* One command line that was parsed; error as smtp_parse_command() gave it. Replies, or starts what
 * will. */
void smtp_server_command(
    struct session *session, const struct smtp_command *command, const struct smtp_error *error);

/* What a recipient came to. */
void smtp_server_recipient(struct session *session, const struct outcome *outcome);

/* A reply to the final dot, or to a DATA that was refused. */
void smtp_server_final(struct session *session, const struct outcome *outcome);

#endif
