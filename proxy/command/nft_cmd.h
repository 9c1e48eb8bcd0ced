/*
 * nft_cmd.h - danelaw nft: rules of the network that fit the configuration. Changes nothing itself.
 */
#ifndef PROXY_NFT_CMD_H
#define PROXY_NFT_CMD_H

#include "proxy/command_line.h"

int nft_command(struct command_line *line);

#endif
