/*
 * serve.h - danelaw [serve]: the service, and (-t) the test of its configuration.
 */
#ifndef PROXY_SERVE_H
#define PROXY_SERVE_H

#include "proxy/command_line.h"

command_fn serve_command;

#endif
