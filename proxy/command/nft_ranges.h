/*
 * nft_ranges.h - sets of address ranges as nftables takes them: one family, none within another.
 */
#ifndef PROXY_NFT_RANGES_H
#define PROXY_NFT_RANGES_H

#include "conf/addr.h"

#include <stdio.h>

/* A family in nft's words, "ip" or "ip6", and in names, '4' or '6'. */
const char *nft_family(int family);
char nft_digit(int family);

bool nft_has_family(const struct cidr_list *list, int family);

/* Appends; the caller frees items. */
void nft_add_ranges(struct cidr_list *list, const struct cidr_list *more);
void nft_add_address(struct cidr_list *list, const struct addr *address);

/* The definition of set NAME4_n or NAME6_n. */
void nft_write_set(FILE *out, const char *name, size_t n, int family, const struct cidr_list *list);

#endif
