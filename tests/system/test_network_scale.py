#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many networks, many containers on one network, and many published ports: how long each takes, how much memory, and that
nothing is left of them. The sizes are BERTH_NETWORKS, BERTH_CONTAINERS and BERTH_PORTS. Runs as root in a booted host."""
import json
import os
import subprocess
import time
import unittest

import hosted
from hosted import CONTAINERS, call, daemon_pid, load_images, remove_all, run, wait_until
from test_networks import BEYOND, ask, inside, inspect, make_beyond, serve

NETWORKS = int(os.environ.get("BERTH_NETWORKS", "40"))
MEMBERS = int(os.environ.get("BERTH_CONTAINERS", "40"))
PORTS = int(os.environ.get("BERTH_PORTS", "1000"))
EACH = 10  # networks of a container
SLEEPER = {"Image": "busybox", "Cmd": ["sleep", "36000"], "StopSignal": "KILL", "HostConfig": {"LogConfig": {"Type": "none"}}}


def succeed(method, path, body=None, status=(200, 201, 204)):
    answer = call(method, path, b"" if body is None else body)
    assert answer.status in status, (method, path, answer.status, answer.body[-500:])
    return json.loads(answer.body) if answer.body else None


def kib(pid, field):
    with open(f"/proc/{pid}/{'status' if field.startswith('Vm') else 'smaps_rollup'}", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def monitors():
    return [int(pid) for pid in run("pgrep", "-x", "berth-monitor", status=None).split() if not hosted.holds_scope(pid)]


def table():
    """The number of elements in the table's sets and maps."""
    entries = json.loads(run("nft", "-j", "list", "table", "inet", "berth"))["nftables"]
    return sum(len(entry[kind].get("elem", [])) for entry in entries for kind in ("set", "map") if kind in entry)


def links():
    return [line.split(": ")[1].split("@")[0] for line in run("ip", "-o", "link").splitlines()]


class Scale(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()
        remove_all()
        make_beyond()
        # The table and the default bridge are there from the first container on.
        run("docker", "run", "--rm", "busybox", "true")
        cls.links, cls.elements = links(), table()

    @classmethod
    def tearDownClass(cls):
        remove_all()
        run("ip", "netns", "del", BEYOND)

    def setUp(self):
        self.ids = []

    def create(self, **more):
        body = {**SLEEPER, **more}
        self.ids.append(succeed("POST", "/containers/create", body)["Id"])
        return self.ids[-1]

    def timed(self, what, n, function):
        begin = time.monotonic()
        result = function()
        seconds = time.monotonic() - begin
        print(f"\n{what}: {seconds:.2f} s, {seconds / n * 1000:.2f} ms each", end="", flush=True)
        return result

    def report(self):
        running = monitors()
        shown = sum(kib(pid, "Pss") for pid in running[:50]) / max(1, len(running[:50]))
        print(f"\nberthd {kib(daemon_pid(), 'VmRSS') / 1024:.1f} MiB, a monitor {shown:.0f} KiB of PSS, "
              f"{table()} elements, {len(run('nft', 'list', 'table', 'inet', 'berth')) // 1024} KiB listed", end="", flush=True)

    def remove(self):
        def every():
            for identifier in self.ids:
                succeed("DELETE", f"/containers/{identifier}?force=1")
        self.timed(f"{len(self.ids)} containers removed", len(self.ids), every)

    def check_nothing_left(self):
        wait_until(lambda: links() == self.links, 20, "only the links of before")
        self.assertEqual(table(), self.elements)
        self.assertEqual([i for i in self.ids if os.path.exists(f"{CONTAINERS}/{i}")], [])
        self.assertEqual(monitors(), [])

    def test_networks(self):
        """So many networks, each with a container; and one container on all of a hundred."""
        names = [f"n{i}" for i in range(NETWORKS)]

        def subnet(i):
            return {"Name": names[i], "EnableIPv6": True, "IPAM": {"Config": [
                {"Subnet": f"10.{100 + i // 250}.{i % 250}.0/24"}, {"Subnet": f"fd10:{i:x}::/64"}]}}
        self.timed(f"{NETWORKS} networks made", NETWORKS, lambda: [succeed("POST", "/networks/create", subnet(i)) for i in range(NETWORKS)])

        def start(names_of_one):
            identifier = self.create(NetworkingConfig={"EndpointsConfig": {name: {} for name in names_of_one}},
                                     HostConfig={**SLEEPER["HostConfig"], "NetworkMode": names_of_one[0]})
            succeed("POST", f"/containers/{identifier}/start")
        groups = [names[i:i + EACH] for i in range(0, NETWORKS, EACH)]
        self.timed(f"{len(groups)} containers of {EACH} networks started", NETWORKS, lambda: [start(group) for group in groups])
        everywhere = names[:100]
        self.timed(f"1 container of {len(everywhere)} networks started", len(everywhere), lambda: start(everywhere))
        self.report()
        networks = inspect(self.ids[-1])["NetworkSettings"]["Networks"]
        self.assertEqual(sorted(networks), sorted(everywhere))
        last = networks[everywhere[-1]]
        for gateway in (last["Gateway"], last["IPv6Gateway"]):
            run(*inside(self.ids[-1]), "ping", "-c", "1", "-W", "5", gateway)
        bridges = run("nft", "list", "set", "inet", "berth", "bridges")
        self.assertEqual(bridges.count("br-"), NETWORKS)
        self.timed("networks listed", 1, lambda: succeed("GET", "/networks"))
        self.timed("the table made again after a flush", 1, self.flush)
        self.remove()
        self.timed(f"{NETWORKS} networks removed", NETWORKS, lambda: [succeed("DELETE", f"/networks/{name}") for name in names])
        self.check_nothing_left()

    def flush(self):
        before = table()
        run("nft", "flush", "ruleset")
        wait_until(lambda: subprocess.run(["nft", "list", "table", "inet", "berth"], capture_output=True, check=False).returncode == 0 and
                   table() == before, 10, "the table again", 0.02)

    def test_containers_on_one_network(self):
        succeed("POST", "/networks/create", {"Name": "big", "EnableIPv6": True, "IPAM": {"Config": [
            {"Subnet": "10.120.0.0/16"}, {"Subnet": "fd20::/64"}]}})

        def start(i):
            identifier = self.create(NetworkingConfig={"EndpointsConfig": {"big": {"Aliases": [f"member{i}", "all"]}}},
                                     HostConfig={**SLEEPER["HostConfig"], "NetworkMode": "big"})
            succeed("POST", f"/containers/{identifier}/start")
        self.timed(f"{MEMBERS} containers started on one network", MEMBERS, lambda: [start(i) for i in range(MEMBERS)])
        self.report()
        members = succeed("GET", "/networks/big")["Containers"]
        self.assertEqual(len(members), MEMBERS)
        for key in ("IPv4Address", "IPv6Address"):
            self.assertEqual(len({member[key] for member in members.values()}), MEMBERS, "every address once")
        first, last = self.ids[0], self.ids[-1]
        answer = run("docker", "exec", first, "nslookup", f"member{MEMBERS - 1}")
        self.assertIn(members[last]["IPv4Address"].split("/")[0], answer)
        self.assertIn(members[last]["IPv6Address"].split("/")[0], answer)
        run("docker", "exec", first, "ping", "-c", "1", "-W", "5", f"member{MEMBERS - 1}")
        self.timed("a name of all of them asked for", 1, lambda: run("docker", "exec", first, "nslookup", "all", status=None))
        self.timed("the list of containers", 1, lambda: self.assertEqual(len(succeed("GET", "/containers/json")), MEMBERS))
        run("systemctl", "kill", "-s", "KILL", "berth.service")
        self.timed("the first answer of an engine killed", 1, lambda: self.assertEqual(len(succeed("GET", "/containers/json")), MEMBERS))
        self.remove()
        succeed("DELETE", "/networks/big")
        self.check_nothing_left()

    def test_ports(self):
        first = 20000
        exposed = {f"{first + i}/tcp": {} for i in range(PORTS)}
        bindings = {port: [{"HostIp": "", "HostPort": port.split("/")[0]}] for port in exposed}
        identifier = self.create(ExposedPorts=exposed, HostConfig={**SLEEPER["HostConfig"], "PortBindings": bindings})
        with open("/proc/meminfo", encoding="ascii") as file:
            before = {line.split(":")[0]: int(line.split()[1]) for line in file}
        self.timed(f"{PORTS} ports published", PORTS, lambda: succeed("POST", f"/containers/{identifier}/start"))
        with open("/proc/meminfo", encoding="ascii") as file:
            after = {line.split(":")[0]: int(line.split()[1]) for line in file}
        self.report()
        print(f", {(after['Slab'] - before['Slab']) / 1024:.0f} MiB of slab", end="", flush=True)
        servers = [serve(identifier, first + i) for i in (0, PORTS // 2, PORTS - 1)]
        try:
            for i in (0, PORTS // 2, PORTS - 1):
                asks = [("tcp", "10.77.0.1", first + i), ("tcp", "127.0.0.1", first + i), ("tcp", "::1", first + i)]
                self.assertEqual(ask(BEYOND, asks[:1]), ["10.77.0.2"])
                self.assertNotIn("", ask("host", asks))
            self.assertEqual(len(inspect(identifier)["NetworkSettings"]["Ports"]), PORTS)
            self.timed("the table made again after a flush", 1, self.flush)
            self.assertEqual(ask(BEYOND, [("tcp", "10.77.0.1", first + PORTS - 1)]), ["10.77.0.2"])
            run("systemctl", "kill", "-s", "KILL", "berth.service")
            self.assertEqual(len(inspect(identifier)["NetworkSettings"]["Ports"]), PORTS)
        finally:
            for server in servers:
                server.kill()
                server.wait()
                server.stdout.close()
        self.remove()
        self.check_nothing_left()
        self.assertEqual(run("ss", "-Hlnt", f"sport >= :{first} and sport < :{first + PORTS}"), "")


if __name__ == "__main__":
    unittest.main()
