/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See network-expression.h. */
#include "network-expression.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

struct nlattr *nft_rule_begin(NetlinkRequest *message, uint16_t flags, uint8_t family, const char *table,
                              const char *chain)
{
        nft_message(message, NFT_MSG_NEWRULE, NLM_F_CREATE | flags, family);
        mnl_attr_put_strz(&message->header, NFTA_RULE_TABLE, table);
        mnl_attr_put_strz(&message->header, NFTA_RULE_CHAIN, chain);
        return mnl_attr_nest_start(&message->header, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(NetlinkRequest *message, struct nlattr *list)
{
        mnl_attr_nest_end(&message->header, list);
}

struct nlattr *nft_expression_begin(struct nlmsghdr *header, const char *name, struct nlattr **ret_data)
{
        struct nlattr *item = mnl_attr_nest_start(header, NFTA_LIST_ELEM);

        mnl_attr_put_strz(header, NFTA_EXPR_NAME, name);
        *ret_data = mnl_attr_nest_start(header, NFTA_EXPR_DATA);
        return item;
}

void nft_expression_end(struct nlmsghdr *header, struct nlattr *item, struct nlattr *data)
{
        mnl_attr_nest_end(header, data);
        mnl_attr_nest_end(header, item);
}

void nft_put_number(struct nlmsghdr *header, uint16_t type, uint32_t value)
{
        mnl_attr_put_u32(header, type, htonl(value));
}

void nft_put_data(struct nlmsghdr *header, uint16_t type, const void *bytes, size_t size)
{
        struct nlattr *nest = mnl_attr_nest_start(header, type);

        mnl_attr_put(header, NFTA_DATA_VALUE, size, bytes);
        mnl_attr_nest_end(header, nest);
}

void nft_load_meta(struct nlmsghdr *header, uint32_t key)
{
        struct nlattr *data, *item = nft_expression_begin(header, "meta", &data);

        nft_put_number(header, NFTA_META_DREG, NFT_REG_1);
        nft_put_number(header, NFTA_META_KEY, key);
        nft_expression_end(header, item, data);
}

void nft_compare(struct nlmsghdr *header, const void *bytes, size_t size)
{
        struct nlattr *data, *item = nft_expression_begin(header, "cmp", &data);

        nft_put_number(header, NFTA_CMP_SREG, NFT_REG_1);
        nft_put_number(header, NFTA_CMP_OP, NFT_CMP_EQ);
        nft_put_data(header, NFTA_CMP_DATA, bytes, size);
        nft_expression_end(header, item, data);
}

void nft_verdict(struct nlmsghdr *header, int verdict, const char *chain)
{
        struct nlattr *data, *item = nft_expression_begin(header, "immediate", &data);

        nft_put_number(header, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        struct nlattr *value = mnl_attr_nest_start(header, NFTA_IMMEDIATE_DATA);
        struct nlattr *code = mnl_attr_nest_start(header, NFTA_DATA_VERDICT);
        nft_put_number(header, NFTA_VERDICT_CODE, (uint32_t) verdict);
        if (chain)
                mnl_attr_put_strz(header, NFTA_VERDICT_CHAIN, chain);
        mnl_attr_nest_end(header, code);
        mnl_attr_nest_end(header, value);
        nft_expression_end(header, item, data);
}

void nft_count(struct nlmsghdr *header)
{
        struct nlattr *data, *item = nft_expression_begin(header, "counter", &data);

        nft_expression_end(header, item, data);
}
