/*
 * tlsa_cmd.h - danelaw tlsa: the TLSA records of a certificate or key, to publish or to compare.
 */
#ifndef PROXY_TLSA_CMD_H
#define PROXY_TLSA_CMD_H

#include "proxy/command_line.h"

command_fn tlsa_command;

#endif
