/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel remembers of connections (conntrack), forgotten for ports whose target changed: without that a client
 * that goes on sending datagrams would be led to where the port led when it began. */
#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

#include "berth/network.h"
#include "network-netlink.h"

typedef struct Search {
        const NetworkPort *ports;
        size_t n_ports;
        NetlinkRequest *found; /* requests to delete */
        size_t n_found;
} Search;

#define FOUND_MAX 256u

static bool is_published(const Search *search, uint16_t port)
{
        for (size_t i = 0; i < search->n_ports; i++)
                if (search->ports[i].protocol == IPPROTO_UDP && search->ports[i].outer == port)
                        return true;
        return false;
}

/* The destination port of the tuple where its protocol is UDP; 0 for any other. */
static uint16_t udp_port(const struct nlattr *tuple)
{
        const struct nlattr *part, *member;
        uint16_t port = 0;
        uint8_t protocol = 0;

        mnl_attr_for_each_nested(part, tuple)
        {
                if (mnl_attr_get_type(part) != CTA_TUPLE_PROTO)
                        continue;
                mnl_attr_for_each_nested(member, part)
                {
                        if (mnl_attr_get_type(member) == CTA_PROTO_NUM)
                                protocol = mnl_attr_get_u8(member);
                        else if (mnl_attr_get_type(member) == CTA_PROTO_DST_PORT)
                                port = ntohs(mnl_attr_get_u16(member));
                }
        }
        return protocol == IPPROTO_UDP ? port : 0;
}

static int on_connection(const struct nlmsghdr *header, void *userdata)
{
        Search *search = userdata;
        const struct nfgenmsg *general = mnl_nlmsg_get_payload(header);
        const struct nlattr *attribute;

        mnl_attr_for_each(attribute, header, sizeof(*general)) {
                uint16_t port = mnl_attr_get_type(attribute) == CTA_TUPLE_ORIG ? udp_port(attribute) : 0;

                if (port == 0 || !is_published(search, port) || search->n_found == FOUND_MAX)
                        continue;
                NetlinkRequest *request = &search->found[search->n_found++];
                struct nfgenmsg *own =
                        netlink_begin(request, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0, sizeof(*own));
                own->nfgen_family = general->nfgen_family;
                mnl_attr_put(&request->header, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(attribute),
                             mnl_attr_get_payload(attribute));
        }
        return MNL_CB_OK;
}

void network_forget_connections(const NetworkPort *ports, size_t n_ports)
{
        CLEANUP_NETLINK struct mnl_socket *socket = NULL;
        CLEANUP_FREE NetlinkRequest *found = NULL;
        Search search = { .ports = ports, .n_ports = n_ports };
        NetlinkRequest request;
        bool any = false;

        for (size_t i = 0; i < n_ports; i++)
                any = any || ports[i].protocol == IPPROTO_UDP;
        if (!any)
                return;
        socket = netlink_open_protocol(NETLINK_NETFILTER);
        search.found = found = calloc(FOUND_MAX, sizeof(*found));
        if (!socket || !found)
                return;
        netlink_begin(&request, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, 0, sizeof(struct nfgenmsg));
        if (netlink_dump(socket, &request, on_connection, &search) < 0)
                return;
        for (size_t i = 0; i < search.n_found; i++)
                netlink_call(socket, &found[i]);
}
