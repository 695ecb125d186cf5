#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks on a booted host, packet by packet: who reaches whom, as whom it is seen, what survives, and what is left behind.
Beyond the host is a network namespace of its own, "beyond", at 10.77.0.2 and fd77::2; the host has .1 and ::1 there."""
import json
import os
import random
import socket
import subprocess
import time
import unittest

import hosted
from hosted import call, load_images, remove_all, run, wait_until

ROUNDS = int(os.environ.get("BERTH_NETWORK_ROUNDS", "40"))
BEYOND = "beyond"

# Answers everybody with the address they come from: TCP, UDP, and SCTP where the kernel has it, both families.
SERVER = r"""
import socket, sys, threading
port = int(sys.argv[1])
def streams(listener):
    while True:
        connection, peer = listener.accept()
        connection.sendall(plain(peer).encode())
        connection.close()
def plain(address):
    return address[0][7:] if address[0].startswith("::ffff:") else address[0]
tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind(("::", port))
def datagrams():
    while True:
        _, peer = udp.recvfrom(100)
        udp.sendto(plain(peer).encode(), peer)
threading.Thread(target=datagrams, daemon=True).start()
try:
    sctp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    sctp.bind(("::", port))
    sctp.listen()
    threading.Thread(target=streams, args=(sctp,), daemon=True).start()
except OSError:
    pass
print("ready", flush=True)
streams(tcp)
"""

# Asks several servers at a time, and prints what each answered; "" for nobody.
CLIENT = r"""
import json, os, socket, sys, threading
SLOWNESS = int(os.environ.get("BERTH_SLOWNESS", "1"))
asks = json.loads(sys.argv[1])
answers = [""] * len(asks)
def ask(i, protocol, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM,
                       socket.IPPROTO_SCTP if protocol == "sctp" else 0) as s:
        s.settimeout(2 * SLOWNESS)
        try:
            s.connect((address, port))
            if protocol == "udp":
                s.send(b"?")
            answers[i] = s.recv(100).decode()
        except OSError:
            pass
threads = [threading.Thread(target=ask, args=(i, *a)) for i, a in enumerate(asks)]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps(answers))
"""


def has_sctp():
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP):
            return True
    except OSError:
        return False


PROTOCOLS = ("tcp", "udp", "sctp") if has_sctp() else ("tcp", "udp")


def inspect(name):
    return json.loads(run("docker", "inspect", name))[0]


def inside(place):
    """The command that goes to a place: a container's name, "host", or "beyond"."""
    if place == "host":
        return []
    if place == BEYOND:
        return ["ip", "netns", "exec", BEYOND]
    return ["nsenter", "-n", "-t", str(inspect(place)["State"]["Pid"])]


def serve(place, port):
    process = subprocess.Popen([*inside(place), "python3", "-c", SERVER, str(port)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def ask(place, asks):
    return json.loads(run(*inside(place), "python3", "-c", CLIENT, json.dumps(asks)))


def addresses(name, network):
    endpoint = inspect(name)["NetworkSettings"]["Networks"][network]
    return endpoint["IPAddress"], endpoint["GlobalIPv6Address"], endpoint["Gateway"], endpoint["IPv6Gateway"]


def make_beyond():
    subprocess.run(["ip", "netns", "del", BEYOND], capture_output=True)
    subprocess.run(["ip", "link", "del", "edge0"], capture_output=True)
    for command in (f"ip netns add {BEYOND}", f"ip link add edge0 type veth peer name edge1 netns {BEYOND}",
                    "ip addr add 10.77.0.1/24 dev edge0", "ip addr add fd77::1/64 dev edge0 nodad", "ip link set edge0 up",
                    f"ip -n {BEYOND} addr add 10.77.0.2/24 dev edge1", f"ip -n {BEYOND} addr add fd77::2/64 dev edge1 nodad",
                    f"ip -n {BEYOND} link set edge1 up", f"ip -n {BEYOND} link set lo up",
                    f"ip -n {BEYOND} route add default via 10.77.0.1", f"ip -n {BEYOND} -6 route add default via fd77::1"):
        run(*command.split())


def clean_up(servers):
    """Nothing is left of them, of containers and networks, and of the namespace beyond the host."""
    for server in servers:
        server.kill()
        server.wait()
        server.stdout.close()
    remove_all()
    run("docker", "network", "prune", "-f")
    run("ip", "netns", "del", BEYOND)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()
        remove_all()
        make_beyond()
        cls.servers = []

    @classmethod
    def tearDownClass(cls):
        clean_up(cls.servers)

    def start(self, name, *options, command=("sleep", "600")):
        return run("docker", "run", "-d", "--name", name, *options, "busybox", *command).strip()


class Matrix(Case):
    """{where from} x {IPv4, IPv6} x {tcp, udp, sctp} x {a plain network, an internal one, one whose containers are kept apart}."""

    KINDS = {"plain": (), "inner": ("--internal",), "apart": ("-o", "com.docker.network.bridge.enable_icc=false")}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for i, (kind, options) in enumerate(cls.KINDS.items()):
            run("docker", "network", "create", "--ipv6", "--subnet", f"fd00:{i + 1}::/64", *options, kind)
            published = [option for protocol in PROTOCOLS for option in ("-p", f"{8000 + i}:80/{protocol}")]
            cls.start(cls, f"{kind}-a", "--network", kind, *published)
            cls.start(cls, f"{kind}-b", "--network", kind)
            cls.servers.append(serve(f"{kind}-a", 80))
        run("docker", "network", "create", "--ipv6", "other")
        cls.start(cls, "other-c", "--network", "other")
        cls.servers += [serve("host", 7000), serve(BEYOND, 7000)]

    def expect(self, place, wanted):
        """WANTED: {label: (address, port, who is seen there)}, for every protocol."""
        labels = [(protocol, label) for protocol in PROTOCOLS for label in wanted]
        got = ask(place, [(protocol, *wanted[label][:2]) for protocol, label in labels])
        self.assertEqual({f"{protocol} {label}": answer for (protocol, label), answer in zip(labels, got)},
                         {f"{protocol} {label}": wanted[label][2] for protocol, label in labels}, f"from {place}")

    def test_between_containers(self):
        for kind in self.KINDS:
            a4, a6, *_ = addresses(f"{kind}-a", kind)
            b4, b6, *_ = addresses(f"{kind}-b", kind)
            together = kind != "apart"
            self.expect(f"{kind}-b", {"4": (a4, 80, b4 if together else ""), "6": (a6, 80, b6 if together else "")})
        self.expect("other-c", {f"{kind} {family}": (addresses(f"{kind}-a", kind)[family], 80, "")
                                for kind in self.KINDS for family in (0, 1)})

    def test_to_the_host_and_beyond(self):
        for kind in self.KINDS:
            a4, a6, gateway4, gateway6 = addresses(f"{kind}-a", kind)
            out = kind != "inner"
            self.expect(f"{kind}-a", {"host 4": (gateway4, 7000, a4), "host 6": (gateway6, 7000, a6),
                                      "beyond 4": ("10.77.0.2", 7000, "10.77.0.1" if out else ""),
                                      "beyond 6": ("fd77::2", 7000, "fd77::1" if out else "")})

    def test_published(self):
        for i, kind in enumerate(self.KINDS):
            port, out = 8000 + i, kind != "inner"  # an internal network publishes nothing, as with Docker
            a4, a6, gateway4, gateway6 = addresses(f"{kind}-a", kind)
            c4, c6, *_ = addresses("other-c", "other")
            self.expect(BEYOND, {"4": ("10.77.0.1", port, "10.77.0.2" if out else ""), "6": ("fd77::1", port, "fd77::2" if out else ""),
                                 "direct 4": (a4, 80, ""), "direct 6": (a6, 80, "")})
            # The kernel leads what the host sends to 127.0.0.1, as the gateway; the monitor what it sends to ::1.
            self.expect("host", {"4": ("127.0.0.1", port, gateway4 if out else ""), "6": ("::1", port, gateway6 if out else ""),
                                 "own 4": ("10.77.0.1", port, "10.77.0.1" if out else ""),
                                 "own 6": ("fd77::1", port, "fd77::1" if out else "")})
            # Better than Docker's: another network's container is let through, and is seen as itself.
            self.expect("other-c", {"4": ("10.77.0.1", port, c4 if out else ""), "6": ("fd77::1", port, c6 if out else "")})
            for place in (f"{kind}-b", f"{kind}-a"):
                self.expect(place, {"4": ("10.77.0.1", port, gateway4 if out else ""), "6": ("fd77::1", port, gateway6 if out else "")})

    def test_loopback_is_guarded(self):
        """What leads 127.0.0.1 to containers does not lead containers to the host's 127.0.0.1."""
        _, _, gateway, _ = addresses("plain-a", "plain")
        run(*inside("plain-a"), "ip", "route", "add", "127.0.0.9/32", "via", gateway)
        run(*inside("plain-a"), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet")
        run(*inside("plain-a"), "ip", "rule", "add", "pref", "0", "table", "100", "to", "127.0.0.9")
        run(*inside("plain-a"), "ip", "route", "add", "127.0.0.9/32", "via", gateway, "table", "100")
        self.assertEqual(ask("plain-a", [("tcp", "127.0.0.9", 7000), ("udp", "127.0.0.9", 7000)]), ["", ""])


class Life(Case):
    def test_connect_and_disconnect(self):
        for network in ("one", "two"):
            run("docker", "network", "create", network)
        self.start("mover", "--network", "one", "-p", "8100:80")
        server = serve("mover", 80)
        try:
            self.assertEqual(ask("host", [("tcp", "10.77.0.1", 8100)]), ["10.77.0.1"])
            self.assertIn("already exists in network one", call_error("POST", "/networks/one/connect", {"Container": "mover"}))
            run("docker", "network", "connect", "--alias", "other", "two", "mover")
            networks = inspect("mover")["NetworkSettings"]["Networks"]
            self.assertEqual(sorted(networks), ["one", "two"])
            self.assertIn("other", networks["two"]["DNSNames"])
            hosts = run("docker", "exec", "mover", "cat", "/etc/hosts")
            for network in networks.values():
                self.assertIn(network["IPAddress"], hosts)
            self.assertEqual(ask("host", [("tcp", "10.77.0.1", 8100)]), ["10.77.0.1"])
            run("docker", "network", "disconnect", "one", "mover")  # which was the gateway: ports and routes move on
            self.assertIn(networks["two"]["Gateway"], run(*inside("mover"), "ip", "route", "show", "default"))
            self.assertEqual(ask("host", [("tcp", "10.77.0.1", 8100)]), ["10.77.0.1"])
            self.assertIn("has active endpoints", run_error("docker", "network", "rm", "two"))
            run("docker", "stop", "-t", "0", "mover")
            run("docker", "network", "connect", "one", "mover")
            run("docker", "start", "mover")
            self.assertEqual(sorted(inspect("mover")["NetworkSettings"]["Networks"]), ["one", "two"])
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
            run("docker", "rm", "-f", "mover")
        run("docker", "network", "rm", "one", "two")

    def test_static_addresses(self):
        run("docker", "network", "create", "--subnet", "10.88.0.0/24", "--ip-range", "10.88.0.128/25", "--gateway", "10.88.0.9",
            "--aux-address", "x=10.88.0.129", "chosen")
        self.start("still", "--network", "chosen", "--ip", "10.88.0.7", "--mac-address", "02:42:00:00:00:77")
        self.start("ranged", "--network", "chosen")
        endpoint = inspect("still")["NetworkSettings"]["Networks"]["chosen"]
        self.assertEqual((endpoint["IPAddress"], endpoint["MacAddress"], endpoint["Gateway"]), ("10.88.0.7", "02:42:00:00:00:77", "10.88.0.9"))
        self.assertIn("02:42:00:00:00:77", run("docker", "exec", "still", "ip", "link"))
        self.assertEqual(inspect("ranged")["NetworkSettings"]["Networks"]["chosen"]["IPAddress"], "10.88.0.128")
        self.assertIn("Address already in use", run_error("docker", "run", "--rm", "--network", "chosen", "--ip", "10.88.0.7", "busybox", "true"))

    def test_bridges_come_back(self):
        """What a reboot takes, the next start makes again."""
        run("docker", "network", "create", "lost")
        self.start("user", "--network", "lost")
        bridge = "br-" + json.loads(run("docker", "network", "inspect", "lost"))[0]["Id"][:12]
        run("docker", "stop", "-t", "0", "user")
        run("ip", "link", "del", bridge)
        run("nft", "delete", "table", "inet", "berth")
        run("docker", "start", "user")
        gateway = addresses("user", "lost")[2]
        run("docker", "exec", "user", "ping", "-c", "1", "-W", "5", gateway)
        self.assertIn(bridge, run("nft", "list", "set", "inet", "berth", "bridges"))

    def test_macvlan_and_ipvlan(self):
        for driver in ("macvlan", "ipvlan"):
            if subprocess.run(["ip", "link", "add", "try0", "link", "edge0", "type", driver], capture_output=True).returncode != 0:
                continue  # this kernel has none
            run("ip", "link", "del", "try0")
            run("docker", "network", "create", "-d", driver, "--subnet", "10.77.0.0/24", "--ip-range", "10.77.0.64/26", "--gateway",
                "10.77.0.1", "-o", "parent=edge0", driver)
            self.start(f"on-{driver}", "--network", driver)
            run("docker", "exec", f"on-{driver}", "ping", "-c", "1", "-W", "5", "10.77.0.2")
            run("docker", "rm", "-f", f"on-{driver}")
            run("docker", "network", "rm", driver)


class Faults(Case):
    def seconds_until(self, place, asked, answer):
        begin = time.monotonic()
        wait_until(lambda: ask(place, [asked]) == [answer], 10, "answered again")
        return time.monotonic() - begin

    def test_links_go_where_the_namespace_stays(self):
        """Whatever keeps a container's network namespace, its link does not stay on the bridge with an address of others."""
        run("docker", "network", "create", "ends")
        self.start("end", "--network", "ends")
        before = run("ip", "-o", "link").count("veth")
        with open(f"/proc/{inspect('end')['State']['Pid']}/ns/net", "rb"):
            run("docker", "rm", "-f", "end")
            wait_until(lambda: run("ip", "-o", "link").count("veth") == before - 1, 20, "the link gone")
        run("docker", "network", "rm", "ends")

    def test_flush_and_death(self):
        run("docker", "network", "create", "kept")
        self.start("server", "--network", "kept", "-p", "8200:80")
        server = serve("server", 80)
        self.servers.append(server)
        beyond = ("tcp", "10.77.0.1", 8200)
        self.assertEqual(ask(BEYOND, [beyond]), ["10.77.0.2"])
        for blow in (("nft", "flush", "ruleset"), ("nft", "delete", "table", "inet", "berth"), ("nft", "flush", "table", "inet", "berth")):
            run(*blow)
            self.assertNotEqual(ask(BEYOND, [beyond]), [""], f"right after {blow}")
            # The address is kept as soon as the table is back.
            self.assertLess(self.seconds_until(BEYOND, beyond, "10.77.0.2"), 3, blow)
        run("systemctl", "kill", "-s", "KILL", "berth.service")
        run("systemctl", "stop", "berth.service", "berth.socket")
        try:
            self.assertEqual(ask(BEYOND, [beyond]), ["10.77.0.2"])
            name = run("nsenter", "-n", "-m", "-t", server_pid(), "nslookup", "server")
            self.assertIn("Name:\tserver", name)
        finally:
            run("systemctl", "start", "berth.socket")
        server.kill()  # its namespace goes with the last process in it
        run("docker", "rm", "-f", "server")
        self.assertEqual(ask(BEYOND, [beyond]), [""])

    def test_random_rounds(self):
        """Connect, disconnect, start, stop, kill: nothing is left of it."""
        seed = int(os.environ.get("BERTH_SEED", "1"))
        dice = random.Random(seed)
        networks = [f"r{i}" for i in range(3)]
        for network in networks:
            run("docker", "network", "create", network)
        names = [f"round{i}" for i in range(3)]
        for i, name in enumerate(names):
            run("docker", "create", "--name", name, "--network", networks[i], "-p", f"{8300 + i}:80", "busybox", "sleep", "600")
        for _ in range(ROUNDS):
            name, network = dice.choice(names), dice.choice(networks)
            what = dice.choice(("start", "start", "stop", "connect", "disconnect", "kill", "engine"))
            if what == "engine":
                run("systemctl", "kill", "-s", "KILL", "berth.service", status=None)
            elif what in ("connect", "disconnect"):
                run("docker", "network", what, network, name, status=None)
            else:
                run("docker", what, *(("-t", "0") if what == "stop" else ()), name, status=None)
        for name in names:
            run("docker", "rm", "-f", name)
        for network in networks:
            run("docker", "network", "rm", network)
        self.assertNotRegex(run("nft", "list", "map", "inet", "berth", "any4"), r"83\d\d")
        wait_until(lambda: "veth" not in run("ip", "-o", "link"), 5, "without links")
        for port in range(8300, 8303):
            self.assertEqual(run("ss", "-Hlnt", f"sport = :{port}"), "")
        self.assertEqual(json.loads(run("docker", "network", "inspect", "bridge"))[0]["Containers"], {})


def server_pid():
    """Without the engine: the first process of the only container."""
    group = hosted.scopes()[0]
    with open(f"/sys/fs/cgroup/berth.slice/{group}/payload/cgroup.procs", encoding="ascii") as processes:
        return processes.readline().strip()


def call_error(method, path, body):
    answer = call(method, path, body)
    assert answer.status >= 400, answer.body
    return answer.message()


def run_error(*command):
    result = subprocess.run(command, capture_output=True)
    assert result.returncode != 0, command
    return (result.stdout + result.stderr).decode()


if __name__ == "__main__":
    unittest.main()
