/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ufw, and dockerd, have iptables' chain FORWARD drop by its policy what they do not know, and no rule of another table
 * can undo that. What is forwarded from and to the engine's bridges, of which its own table decides, is therefore let
 * through there, by a chain of the engine's in the same table that FORWARD begins with: while it drops, and until the
 * last bridge goes. The rules are such as iptables understands, and have their bridge's name as their comment. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <string.h>

#include "berth/network.h"
#include "berth/string.h"
#include "network-expression.h"

#define TABLE "filter"
#define FORWARD "FORWARD"
#define CHAIN "BERTH"
#define COMMENT_SIZE (2 + IFNAMSIZ)

static const uint8_t families[] = { NFPROTO_IPV4, NFPROTO_IPV6 };

/* As nft and iptables write it: the type, the size, the text with its end. */
static size_t make_comment(const char *name, uint8_t comment[static COMMENT_SIZE])
{
        size_t size = strnlen(name, IFNAMSIZ - 1) + 1;

        memset(comment, 0, COMMENT_SIZE);
        comment[1] = (uint8_t) size;
        memcpy(comment + 2, name, size - 1);
        return 2 + size;
}

/* --- What is there ------------------------------------------------------------------------------------------------ */

typedef struct Chains {
        bool drops, own;
} Chains;

static bool attribute_is(const struct nlattr *attribute, const char *text)
{
        return mnl_attr_get_payload_len(attribute) == strlen(text) + 1 &&
               memcmp(mnl_attr_get_payload(attribute), text, strlen(text) + 1) == 0;
}

static int look_at_chain(const struct nlmsghdr *header, void *userdata)
{
        bool ours = false, forward = false, own = false, drops = false;
        const struct nlattr *attribute;
        Chains *chains = userdata;

        mnl_attr_for_each(attribute, header, sizeof(struct nfgenmsg)) {
                uint16_t type = mnl_attr_get_type(attribute);

                if (type == NFTA_CHAIN_TABLE)
                        ours = attribute_is(attribute, TABLE);
                else if (type == NFTA_CHAIN_NAME) {
                        forward = attribute_is(attribute, FORWARD);
                        own = attribute_is(attribute, CHAIN);
                } else if (type == NFTA_CHAIN_POLICY)
                        drops = ntohl(mnl_attr_get_u32(attribute)) == NF_DROP;
        }
        chains->drops = chains->drops || (ours && forward && drops);
        chains->own = chains->own || (ours && own);
        return MNL_CB_OK;
}

static Chains look(struct mnl_socket *socket, uint8_t family)
{
        NetlinkRequest request;
        Chains chains = { 0 };

        nft_message(&request, NFT_MSG_GETCHAIN, 0, family);
        if (netlink_dump(socket, &request, look_at_chain, &chains) < 0)
                return (Chains) { 0 };
        return chains;
}

/* Rules of a chain with a comment, and those without. */
typedef struct Search {
        const uint8_t *comment;
        size_t size, n_found, n_others;
        NftBatch *removal; /* of those found, where it is given */
        const char *chain;
        uint8_t family;
} Search;

static void remove_rule(const Search *search, const struct nlattr *handle)
{
        NetlinkRequest message;

        nft_message(&message, NFT_MSG_DELRULE, 0, search->family);
        mnl_attr_put_strz(&message.header, NFTA_RULE_TABLE, TABLE);
        mnl_attr_put_strz(&message.header, NFTA_RULE_CHAIN, search->chain);
        mnl_attr_put(&message.header, NFTA_RULE_HANDLE, mnl_attr_get_payload_len(handle), mnl_attr_get_payload(handle));
        nft_batch_add(search->removal, &message);
}

static int look_at_rule(const struct nlmsghdr *header, void *userdata)
{
        const struct nlattr *attribute, *handle = NULL;
        Search *search = userdata;
        bool table = false, chain = false, found = false;

        mnl_attr_for_each(attribute, header, sizeof(struct nfgenmsg)) {
                uint16_t type = mnl_attr_get_type(attribute);

                if (type == NFTA_RULE_TABLE)
                        table = attribute_is(attribute, TABLE);
                else if (type == NFTA_RULE_CHAIN)
                        chain = attribute_is(attribute, search->chain);
                else if (type == NFTA_RULE_HANDLE)
                        handle = attribute;
                else if (type == NFTA_RULE_USERDATA)
                        found = mnl_attr_get_payload_len(attribute) == search->size &&
                                memcmp(mnl_attr_get_payload(attribute), search->comment, search->size) == 0;
        }
        if (!table || !chain)
                return MNL_CB_OK;
        search->n_found += found;
        search->n_others += !found;
        if (found && handle && search->removal)
                remove_rule(search, handle);
        return MNL_CB_OK;
}

static int find_rules(struct mnl_socket *socket, uint8_t family, const char *chain, const char *name, NftBatch *removal,
                      Search *ret)
{
        uint8_t comment[COMMENT_SIZE];
        NetlinkRequest request;

        *ret = (Search) { .comment = comment, .removal = removal, .chain = chain, .family = family };
        ret->size = make_comment(name, comment);
        nft_message(&request, NFT_MSG_GETRULE, 0, family);
        mnl_attr_put_strz(&request.header, NFTA_RULE_TABLE, TABLE);
        mnl_attr_put_strz(&request.header, NFTA_RULE_CHAIN, chain);
        int r = netlink_dump(socket, &request, look_at_rule, ret);
        ret->comment = NULL;
        return r;
}

bool network_forward_drops(void)
{
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open_protocol(NETLINK_NETFILTER);

        for (size_t i = 0; socket && i < ARRAY_SIZE(families); i++)
                if (look(socket, families[i]).drops)
                        return true;
        return false;
}

/* --- Changing it -------------------------------------------------------------------------------------------------- */

static void change_chain(NftBatch *batch, uint8_t family, bool removal)
{
        NetlinkRequest message;

        nft_message(&message, removal ? NFT_MSG_DELCHAIN : NFT_MSG_NEWCHAIN, removal ? 0 : NLM_F_CREATE, family);
        mnl_attr_put_strz(&message.header, NFTA_CHAIN_TABLE, TABLE);
        mnl_attr_put_strz(&message.header, NFTA_CHAIN_NAME, CHAIN);
        nft_batch_add(batch, &message);
}

static void add_comment(NetlinkRequest *message, const char *name)
{
        uint8_t comment[COMMENT_SIZE];
        size_t size = make_comment(name, comment);

        mnl_attr_put(&message->header, NFTA_RULE_USERDATA, size, comment);
}

static void add_jump(NftBatch *batch, uint8_t family)
{
        NetlinkRequest message;
        struct nlattr *list = nft_rule_begin(&message, 0, family, TABLE, FORWARD);

        nft_count(&message.header);
        nft_verdict(&message.header, NFT_JUMP, CHAIN);
        nft_rule_end(&message, list);
        add_comment(&message, CHAIN);
        nft_batch_add(batch, &message);
}

static void add_bridge(NftBatch *batch, uint8_t family, const char *name)
{
        static const uint32_t keys[] = { NFT_META_IIFNAME, NFT_META_OIFNAME };

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                NetlinkRequest message;
                struct nlattr *list = nft_rule_begin(&message, NLM_F_APPEND, family, TABLE, CHAIN);

                nft_load_meta(&message.header, keys[i]);
                nft_compare(&message.header, name, strnlen(name, IFNAMSIZ - 1) + 1);
                nft_count(&message.header);
                nft_verdict(&message.header, NF_ACCEPT, NULL);
                nft_rule_end(&message, list);
                add_comment(&message, name);
                nft_batch_add(batch, &message);
        }
}

static int allow(struct mnl_socket *socket, uint8_t family, const char *name)
{
        CLEANUP(nft_batch_clear) NftBatch batch = { 0 };
        Chains chains = look(socket, family);
        Search jump = { 0 }, rules = { 0 };

        if (!chains.drops)
                return 0;
        int r = find_rules(socket, family, FORWARD, CHAIN, NULL, &jump);
        if (r >= 0 && chains.own)
                r = find_rules(socket, family, CHAIN, name, NULL, &rules);
        if (r < 0 || (jump.n_found > 0 && rules.n_found > 0))
                return r;
        nft_batch_begin(&batch);
        if (!chains.own)
                change_chain(&batch, family, false);
        if (jump.n_found == 0)
                add_jump(&batch, family);
        if (rules.n_found == 0)
                add_bridge(&batch, family, name);
        return nft_batch_commit(&batch);
}

int network_forward_allow(const char *name)
{
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open_protocol(NETLINK_NETFILTER);
        int result = 0;

        if (!socket)
                return -errno;
        for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
                int r = allow(socket, families[i], name);
                if (r < 0 && result == 0)
                        result = r;
        }
        return result;
}

static int forget(struct mnl_socket *socket, uint8_t family, const char *name)
{
        CLEANUP(nft_batch_clear) NftBatch batch = { 0 };
        Search rules, jump;

        if (!look(socket, family).own)
                return 0;
        nft_batch_begin(&batch);
        int r = find_rules(socket, family, CHAIN, name, &batch, &rules);
        if (r >= 0 && rules.n_others == 0) {
                r = find_rules(socket, family, FORWARD, CHAIN, &batch, &jump);
                change_chain(&batch, family, true);
        }
        return r < 0 ? r : nft_batch_commit(&batch);
}

void network_forward_forget(const char *name)
{
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open_protocol(NETLINK_NETFILTER);

        for (size_t i = 0; socket && i < ARRAY_SIZE(families); i++)
                (void) forget(socket, families[i], name);
}
