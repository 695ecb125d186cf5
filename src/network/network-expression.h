/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rules of nf_tables, written expression by expression where running nft would cost too much. */
#pragma once

#include "network-netlink.h"

/* Begins a rule of TABLE's CHAIN, and the list its expressions are put into, which nft_rule_end() ends. FLAGS:
 * NLM_F_APPEND, or 0 for one at the chain's beginning. */
struct nlattr *nft_rule_begin(NetlinkRequest *message, uint16_t flags, uint8_t family, const char *table,
                              const char *chain);
void nft_rule_end(NetlinkRequest *message, struct nlattr *list);

struct nlattr *nft_expression_begin(struct nlmsghdr *header, const char *name, struct nlattr **ret_data);
void nft_expression_end(struct nlmsghdr *header, struct nlattr *item, struct nlattr *data);
void nft_put_number(struct nlmsghdr *header, uint16_t type, uint32_t value);
void nft_put_data(struct nlmsghdr *header, uint16_t type, const void *bytes, size_t size);

/* Both work on the first register: KEY is one of NFT_META_*. */
void nft_load_meta(struct nlmsghdr *header, uint32_t key);
void nft_compare(struct nlmsghdr *header, const void *bytes, size_t size);
/* VERDICT: NF_ACCEPT, or NFT_JUMP to CHAIN. */
void nft_verdict(struct nlmsghdr *header, int verdict, const char *chain);
void nft_count(struct nlmsghdr *header);
