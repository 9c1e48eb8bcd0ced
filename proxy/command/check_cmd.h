/*
 * check_cmd.h - `danelaw check`: the command.
 */
#ifndef PROXY_CHECK_CMD_H
#define PROXY_CHECK_CMD_H

#include "proxy/command_line.h"

command_fn check_command;

#endif
