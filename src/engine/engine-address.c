/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses of a network: the first free one of its range, or one that was asked for. Those that are taken are what the
 * network's endpoints have. */
#include <arpa/inet.h>

#include "berth/json.h"
#include "engine-private.h"

static bool is_auxiliary(const Network *network, const char *text)
{
        json_t *entry, *value;
        const char *name;
        size_t i;

        json_array_foreach(json_object_get(json_object_get(network->record, "IPAM"), "Config"), i, entry)
                json_object_foreach(json_object_get(entry, "AuxiliaryAddresses"), name, value)
                        if (str_equal(json_string_value(value), text))
                                return true;
        return false;
}

static bool address_taken(const Network *network, in_addr_t address)
{
        const Endpoint *endpoint;
        char text[INET_ADDRSTRLEN];

        LIST_FOREACH(endpoint, &network->endpoints, network_link)
                if (endpoint->side.address.s_addr == address)
                        return true;
        return address == network->bridge.gateway.s_addr ||
               is_auxiliary(network, inet_ntop(AF_INET, &address, text, sizeof(text)));
}

static bool address6_taken(const Network *network, const struct in6_addr *address)
{
        const Endpoint *endpoint;
        char text[INET6_ADDRSTRLEN];

        LIST_FOREACH(endpoint, &network->endpoints, network_link)
                if (IN6_ARE_ADDR_EQUAL(&endpoint->side.address6, address))
                        return true;
        return IN6_ARE_ADDR_EQUAL(&network->bridge.gateway6, address) ||
               is_auxiliary(network, inet_ntop(AF_INET6, address, text, sizeof(text)));
}

static int no_address(const Network *network, const char *family, Error *error)
{
        return error_set(error, OUTCOME_FAILED, "no available %s addresses on this network's address pools: %s (%s)",
                         family, network->name, network->id);
}

int network_allocate4(const Network *network, const char *wanted, struct in_addr *ret_address, Error *error)
{
        NetworkSubnet range = network->range;
        uint32_t hosts = range.prefix == 0 ? UINT32_MAX : (UINT32_C(1) << (32 - range.prefix)) - 1;
        uint32_t all = UINT32_MAX >> network->bridge.prefix;
        struct in_addr address;

        if (network->bridge.prefix == 0)
                return 0;
        if (!str_empty(wanted)) {
                if (inet_pton(AF_INET, wanted, &address) != 1 || address_taken(network, address.s_addr))
                        return error_set(error, OUTCOME_FORBIDDEN, "Address already in use");
                *ret_address = address;
                return 0;
        }
        /* Which addresses of the range are taken, at one look at each endpoint. */
        CLEANUP_FREE uint8_t *taken = calloc(1, (size_t) MIN(hosts, 1u << 20) / 8 + 1);
        const Endpoint *endpoint;
        if (!taken)
                return -ENOMEM;
        LIST_FOREACH(endpoint, &network->endpoints, network_link) {
                uint32_t offset = ntohl(endpoint->side.address.s_addr) - range.address;
                if (offset < MIN(hosts, 1u << 20))
                        taken[offset / 8] |= (uint8_t) (1 << offset % 8);
        }
        for (uint32_t i = 0; i <= hosts && i < 1u << 20; i++) {
                uint32_t host = (range.address + i) & all;
                if (taken[i / 8] & 1 << i % 8 || (network->bridge.prefix < 31 && (host == 0 || host == all)))
                        continue;
                address.s_addr = htonl(range.address + i);
                if (address_taken(network, address.s_addr))
                        continue;
                *ret_address = address;
                return 0;
        }
        return no_address(network, "IPv4", error);
}

int network_allocate6(const Network *network, const char *wanted, struct in6_addr *ret_address, Error *error)
{
        const NetworkBridge *bridge = &network->bridge;
        struct in6_addr address;

        if (bridge->prefix6 == 0)
                return 0;
        if (!str_empty(wanted)) {
                if (inet_pton(AF_INET6, wanted, &address) != 1 || address6_taken(network, &address))
                        return error_set(error, OUTCOME_FORBIDDEN, "Address already in use");
                *ret_address = address;
                return 0;
        }
        uint32_t hosts = bridge->prefix6 >= 128 ? 0
                         : bridge->prefix6 > 97 ? UINT32_MAX >> (bridge->prefix6 - 96)
                                                : 1u << 24;
        for (uint32_t i = 1; i <= hosts; i++) {
                address = bridge->gateway6;
                address.s6_addr32[3] =
                        bridge->prefix6 > 96 ? (bridge->gateway6.s6_addr32[3] & ~htonl(hosts)) | htonl(i) : htonl(i);
                for (unsigned bit = bridge->prefix6; bit < 96; bit++)
                        address.s6_addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
                if (address6_taken(network, &address))
                        continue;
                *ret_address = address;
                return 0;
        }
        return no_address(network, "IPv6", error);
}
