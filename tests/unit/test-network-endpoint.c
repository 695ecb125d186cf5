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
        struct in_addr subnet;
        uint8_t prefix;
        (void) state;

        assert_int_equal(network_choose_subnet(&subnet, &prefix), 0);
        assert_int_equal(ntohl(subnet.s_addr), 0xac110000);
        assert_int_equal(prefix, 16);
        assert_int_equal(network_bridge_ensure(&bridge), 0);
        assert_int_equal(network_bridge_ensure(&bridge), 0);
        assert_true(network_bridge_exists(&bridge));
        assert_int_equal(network_choose_subnet(&subnet, &prefix), 0);
        assert_int_equal(ntohl(subnet.s_addr), 0xac120000);
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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_mac),
                cmocka_unit_test(test_choice_avoids_what_is_there),
                cmocka_unit_test(test_endpoint),
        };

        return cmocka_run_group_tests_name("network-endpoint", tests, setup, NULL);
}
