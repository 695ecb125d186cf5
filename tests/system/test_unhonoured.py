#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Berth knows of and doesn't do is warned of or refused, never passed over."""
import json
import os
import unittest

from hosted import call, load_images, remove_all, run

APPARMOR = "/sys/module/apparmor/parameters/enabled"

# HostConfig, and what its warning has.
HOST_CONFIG = [
    ({"CpuCount": 1}, "CPU count"),
    ({"KernelMemory": 1 << 26}, "kernel memory limit"),
    ({"KernelMemoryTCP": 1 << 26}, "kernel memory TCP limit"),
    ({"Cgroup": "container:other"}, "Cgroup container:other discarded"),
    ({"SecurityOpt": ["label=type:svirt_t"]}, "Label type:svirt_t discarded"),
    ({"SecurityOpt": ["label:level:s0:c1"]}, "Label level:s0:c1 discarded"),
]
SILENT = [{}, {"SecurityOpt": ["label=disable", "apparmor=unconfined", "seccomp=unconfined"]}, {"CpuCount": 0, "Cgroup": ""}]

# Settings of an endpoint, and what the warning and the refusal have.
ENDPOINT = [
    ({"IPAMConfig": {"LinkLocalIPs": ["169.254.34.68"]}}, "ink-local addresses are not supported"),
    ({"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}},
     "ndpoint option com.docker.network.endpoint.sysctls is not supported"),
]

# Networks, and what their warning has.
NETWORKS = [
    ({"Options": {"com.docker.network.bridge.trusted_host_interfaces": "eth0"}}, "trusted_host_interfaces is not supported"),
    ({"Options": {"com.docker.network.bridge.inhibit_ipv4": "true"}}, "inhibit_ipv4 is not supported"),
    ({"Driver": "ipvlan", "Options": {"ipvlan_flag": "private"}}, "ipvlan_flag is not supported"),
    ({"IPAM": {"Driver": "other"}}, "IPAM driver other is not supported"),
    ({"IPAM": {"Options": {"a": "b"}}}, "Options of the IPAM driver are not supported"),
]
SILENT_NETWORKS = [
    {}, {"Driver": "macvlan", "Options": {"macvlan_mode": "bridge"}},
    {"Options": {"com.docker.network.bridge.enable_icc": "false", "com.docker.network.driver.mtu": "1400", "other": "own"}},
]


class Unhonoured(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()

    def tearDown(self):
        remove_all()
        run("docker", "network", "prune", "-f")

    def create(self, host, networking=None):
        answer = call("POST", "/containers/create", {"Image": "busybox", "HostConfig": host, "NetworkingConfig": networking or {}})
        self.assertEqual(answer.status, 201, answer.body)
        return json.loads(answer.body)["Warnings"] or []

    def test_containers(self):
        for host, wanted in HOST_CONFIG:
            with self.subTest(host=host):
                warnings = self.create(host)
                self.assertEqual(len([warning for warning in warnings if wanted in warning]), 1, warnings)
        for host in SILENT:
            with self.subTest(host=host):
                self.assertEqual(self.create(host), [])

    def test_apparmor(self):
        enabled = os.path.exists(APPARMOR) and run("cat", APPARMOR).startswith("Y")
        warnings = self.create({"SecurityOpt": ["apparmor=own"]})
        self.assertEqual(["Profile own discarded" in warning for warning in warnings], [] if enabled else [True])

    def test_endpoints(self):
        run("docker", "network", "create", "joined")
        run("docker", "create", "--name", "idle", "busybox")
        for settings, wanted in ENDPOINT:
            with self.subTest(settings=settings):
                warnings = self.create({"NetworkMode": "joined"}, {"EndpointsConfig": {"joined": settings}})
                self.assertEqual(len([warning for warning in warnings if wanted in warning]), 1, warnings)
                answer = call("POST", "/networks/joined/connect", {"Container": "idle", "EndpointConfig": settings})
                self.assertEqual(answer.status, 400)
                self.assertIn(wanted, json.loads(answer.body)["message"])

    def test_networks(self):
        for number, (body, wanted) in enumerate(NETWORKS):
            with self.subTest(body=body):
                answer = call("POST", "/networks/create", {"Name": f"warned{number}", **body})
                self.assertEqual(answer.status, 201, answer.body)
                self.assertIn(wanted, json.loads(answer.body)["Warning"])
        for number, body in enumerate(SILENT_NETWORKS):
            with self.subTest(body=body):
                answer = call("POST", "/networks/create", {"Name": f"silent{number}", **body})
                self.assertEqual((answer.status, json.loads(answer.body)["Warning"]), (201, ""))


if __name__ == "__main__":
    unittest.main()
