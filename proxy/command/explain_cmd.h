/*
 * explain_cmd.h - `danelaw explain`: the command.
 */
#ifndef PROXY_EXPLAIN_CMD_H
#define PROXY_EXPLAIN_CMD_H

#include "proxy/command_line.h"

command_fn explain_command;

#endif
