/*
 * queue.h - `danelaw queue`: what the spool holds, and an operator's orders about it.
 *
 * Works on the index itself (spool_index.h), so that it makes no difference whether danelaw runs.
 */
#ifndef PROXY_QUEUE_H
#define PROXY_QUEUE_H

#include "proxy/command_line.h"

command_fn queue_command;

#endif
