/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bridge and endpoint in network namespaces of this test's own. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "berth/cleanup.h"
#include "berth/network.h"

static int container_namespace(void)
{
        CLEANUP_CLOSE int host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

        assert_int_equal(unshare(CLONE_NEWNET), 0);
        int made = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        assert_int_equal(setns(host, CLONE_NEWNET), 0);
        assert_true(made >= 0);
        return made;
}

static int setup(void **state)
{
        (void) state;
        return unshare(CLONE_NEWNET);
}

static void test_mac(void **state)
{
        struct in_addr address = { htonl(0xac110005) };
        uint8_t mac[6];
        (void) state;

        network_mac_of_address(address, mac);
        assert_memory_equal(mac, "\x02\x42\xac\x11\x00\x05", 6);
}

static void test_choice_avoids_what_is_there(void **state)
{
        NetworkBridge bridge = { .name = "taken0", .gateway = { htonl(0xac110001) }, .prefix = 16 };
        const NetworkPool pool = { { 0x0a630000, 16 }, 24 };
        const NetworkSubnet taken[] = { { 0x0a630000, 24 }, { 0x0a630100, 25 } };
        NetworkSubnet subnet;
        (void) state;

        assert_int_equal(network_choose_subnet(NULL, 0, NULL, 0, &subnet), 0);
        assert_int_equal(subnet.address, 0xac110000);
        assert_int_equal(subnet.prefix, 16);
        assert_int_equal(network_bridge_ensure(&bridge), 0);
        assert_int_equal(network_bridge_ensure(&bridge), 0);
        assert_true(network_bridge_exists(&bridge));
        assert_int_equal(network_choose_subnet(NULL, 0, NULL, 0, &subnet), 0);
        assert_int_equal(subnet.address, 0xac120000);
        assert_int_equal(network_choose_subnet(&pool, 1, taken, 2, &subnet), 0);
        assert_int_equal(subnet.address, 0x0a630200);
        assert_int_equal(subnet.prefix, 24);
        assert_int_equal(network_choose_subnet(&(NetworkPool) { taken[1], 25 }, 1, taken, 2, &subnet), -ENOSPC);
}

static void test_endpoint(void **state)
{
        NetworkBridge bridge = { .name = "taken0", .gateway = { htonl(0xac110001) }, .prefix = 16 };
        NetworkBridge missing = { .name = "nobridge", .gateway = { htonl(0x0a000001) }, .prefix = 24 };
        NetworkEndpoint endpoint = { .host_name = "vethtest", .name = "eth0", .address = { htonl(0xac110002) } };
        CLEANUP_CLOSE int inside = container_namespace();
        (void) state;

        network_mac_of_address(endpoint.address, endpoint.mac);
        assert_int_equal(network_endpoint_create(&missing, &endpoint, inside), -ENODEV);
        assert_int_equal(network_endpoint_create(&bridge, &endpoint, inside), 0);
        assert_true(if_nametoindex("vethtest") > 0);
        assert_int_equal(if_nametoindex("eth0"), 0); /* it is in the other namespace, and we are back in ours */
        assert_int_equal(network_endpoint_create(&bridge, &endpoint, inside), -EEXIST);
        assert_int_equal(network_endpoint_delete("vethtest"), 0);
        assert_int_equal(if_nametoindex("vethtest"), 0);
        assert_int_equal(network_endpoint_delete("vethtest"), 0);
}

static struct in6_addr mapped(uint32_t address)
{
        struct in6_addr result = { .s6_addr32 = { 0, 0, htonl(0xffff), htonl(address) } };

        return result;
}

static void test_firewall(void **state)
{
        char lock[] = "/tmp/firewall-XXXXXX";
        NetworkBridge bridges[] = {
                { .name = "one0",
                  .gateway = { htonl(0xac110001) },
                  .prefix = 16,
                  .masquerade = true,
                  .source = { htonl(0x0a000001) } },
                { .name = "two0", .gateway = { htonl(0xac120001) }, .prefix = 16, .internal = true },
                { .name = "six0", .gateway6 = { .s6_addr = { 0xfd, [15] = 1 } }, .prefix6 = 64, .masquerade = true },
        };
        NetworkPort ports[] = {
                { IPPROTO_TCP, mapped(0), mapped(0xac110002), 8080, 80, false },
                { IPPROTO_UDP, mapped(0x7f000001), mapped(0xac110002), 53, 53, false },
                { IPPROTO_TCP, in6addr_any, { .s6_addr = { 0xfd, [15] = 2 } }, 8080, 80, false },
                { IPPROTO_TCP, mapped(0), mapped(0xac110003), 0, 80, true },
        };
        NetworkFirewall content = { bridges, ARRAY_SIZE(bridges), ports, ARRAY_SIZE(ports), false };
        NetworkPort moved = ports[0];
        CLEANUP_CLOSE int fd = mkstemp(lock);
        (void) state;

        assert_true(fd >= 0);
        assert_false(network_firewall_is_whole(false));
        assert_int_equal(network_firewall_build(&content, lock, true), 0);
        assert_true(network_firewall_is_whole(false));
        assert_int_equal(network_firewall_build(&content, lock, true), 0);
        assert_int_equal(network_firewall_add(&content), 0);
        moved.target = mapped(0xac110009);
        assert_int_equal(network_firewall_add(&(NetworkFirewall) { .ports = &moved, .n_ports = 1 }), 0);
        assert_int_equal(system("nft list map inet berth any4 | grep -q 'tcp . 8080 : 172.17.0.9 . 80'"), 0);
        assert_int_equal(system("nft list map inet berth one4 | grep -q '127.0.0.1 . udp . 53 : 172.17.0.2 . 53'"), 0);
        assert_int_equal(system("nft list map inet berth any6 | grep -q 'tcp . 8080 : fd00::2 . 80'"), 0);
        assert_int_equal(system("nft list set inet berth direct4 | grep -q '172.17.0.3 . tcp . 80'"), 0);
        assert_int_equal(system("nft list map inet berth source4 | grep -q '172.17.0.0/16 : 10.0.0.1'"), 0);
        assert_int_equal(system("nft list set inet berth masquerade6 | grep -q 'fd00::/64'"), 0);
        assert_int_equal(system("nft list set inet berth same4 | grep -q '172.17.0.0/16 . 172.17.0.0/16'"), 0);
        assert_int_equal(network_firewall_remove(&content), 0);
        assert_int_equal(network_firewall_remove(&content), 0);
        assert_int_not_equal(system("nft list table inet berth | grep -q 'elements'"), 0);
        assert_int_equal(system("nft flush table inet berth"), 0);
        assert_false(network_firewall_is_whole(false));
        assert_int_equal(network_firewall_build(&content, lock, true), 0);
        assert_true(network_firewall_is_whole(false));
        unlink(lock);
}

static void test_many_ports(void **state)
{
        enum { N = 10000 };
        CLEANUP_FREE NetworkPort *ports = calloc(N, sizeof(*ports));
        NetworkFirewall content = { .ports = ports, .n_ports = N };
        (void) state;

        for (size_t i = 0; i < N; i++)
                ports[i] = (NetworkPort) {
                        IPPROTO_TCP, mapped(0), mapped(0xac110002), (uint16_t) (20000 + i), (uint16_t) (20000 + i),
                        false
                };
        assert_int_equal(network_firewall_add(&content), 0);
        assert_int_equal(system("test $(nft list map inet berth any4 | grep -o ' : ' | wc -l) -ge 10000"), 0);
        assert_int_equal(network_firewall_remove(&content), 0);
}

static void test_resolver(void **state)
{
        CLEANUP_CLOSE int inside = container_namespace();
        CLEANUP_CLOSE int udp = -EBADF, tcp = -EBADF, host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(53),
                                       .sin_addr = { htonl(0x7f00000b) } };
        struct sockaddr_in peer;
        socklen_t size = sizeof(peer);
        char text[16];
        (void) state;

        assert_int_equal(network_resolver_open(inside, &udp, &tcp), 0);
        assert_int_equal(setns(inside, CLONE_NEWNET), 0);
        CLEANUP_CLOSE int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(client, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(setns(host, CLONE_NEWNET), 0);
        assert_int_equal(send(client, "question", 8, 0), 8);
        assert_int_equal(recvfrom(udp, text, sizeof(text), 0, (struct sockaddr *) &peer, &size), 8);
        assert_int_equal(sendto(udp, "answer", 6, 0, (struct sockaddr *) &peer, size), 6);
        assert_int_equal(recv(client, text, sizeof(text), 0), 6);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_mac),        cmocka_unit_test(test_choice_avoids_what_is_there),
                cmocka_unit_test(test_endpoint),   cmocka_unit_test(test_firewall),
                cmocka_unit_test(test_many_ports), cmocka_unit_test(test_resolver),
        };

        return cmocka_run_group_tests_name("network-endpoint", tests, setup, NULL);
}
