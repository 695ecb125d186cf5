#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What runs beside the engine on a host and changes its network: ufw, whose chain FORWARD drops by its policy; firewalld;
systemd-networkd. Containers stay reachable, and reach what they did. Runs as root in a booted host."""
import json
import os
import signal
import subprocess
import time
import unittest

from hosted import load_images, remove_all, run, wait_until
from test_networks import BEYOND, addresses, ask, clean_up, inside, make_beyond, serve

CONFIG = "/etc/berth/daemon.json"
PORT = 8500
IN = [("tcp", "10.77.0.1", PORT), ("udp", "10.77.0.1", PORT), ("tcp", "fd77::1", PORT)]
HOST = [("tcp", "127.0.0.1", PORT), ("tcp", "::1", PORT), ("tcp", "10.77.0.1", PORT)]


# Asks again and again, and tells in the end for how long at most there was no answer.
PROBE = """
import socket, sys, time
gap, last = 0, time.monotonic()
try:
    while True:
        try:
            with socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.1) as connection:
                if connection.recv(100):
                    gap, last = max(gap, time.monotonic() - last), time.monotonic()
        except OSError:
            pass
        time.sleep(0.01)
except KeyboardInterrupt:
    print(max(gap, time.monotonic() - last))
"""


class Probe:
    """The server's published port, asked from beyond the host."""

    def __init__(self):
        self.process = subprocess.Popen([*inside(BEYOND), "python3", "-c", PROBE, "10.77.0.1", str(PORT)], stdout=subprocess.PIPE)
        time.sleep(0.5)

    def end(self):
        time.sleep(0.5)
        self.process.send_signal(signal.SIGINT)
        return float(self.process.communicate(timeout=10)[0])


def chain(program, name):
    return subprocess.run([program, "-S", name], capture_output=True, check=False).stdout.decode()


class Beside(unittest.TestCase):
    def setUp(self):
        load_images()
        remove_all()
        run("docker", "network", "prune", "-f")
        make_beyond()
        run("docker", "network", "create", "--ipv6", "--subnet", "fd00:5::/64", "kept")
        self.servers = [serve(BEYOND, 7000)]
        self.start()
        self.addCleanup(clean_up, self.servers)

    def start(self):
        run("docker", "run", "-d", "--name", "server", "--network", "kept", "-p", f"{PORT}:80", "-p", f"{PORT}:80/udp", "busybox",
            "sleep", "600")
        run("docker", "run", "-d", "--name", "other", "--network", "kept", "busybox", "sleep", "600")
        self.servers.append(serve("server", 80))

    def reached(self):
        """Who is seen by the server, and by the one beyond the host."""
        four, six, *_ = addresses("server", "kept")
        return (ask(BEYOND, IN), "" not in ask("host", HOST), ask("server", [("tcp", "10.77.0.2", 7000), ("tcp", "fd77::2", 7000)]),
                "" not in ask("other", [("tcp", four, 80), ("tcp", six, 80), ("tcp", "10.77.0.1", PORT)]))

    EXPECTED = (["10.77.0.2", "10.77.0.2", "fd77::2"], True, ["10.77.0.1", "fd77::1"], True)

    def check(self, *command):
        probe = Probe()
        run(*command)
        gap = probe.end()
        print(f"{' '.join(command)}: without an answer for {gap:.2f} s at most", flush=True)
        self.assertLess(gap, 3)
        wait_until(lambda: self.reached() == self.EXPECTED, 3, f"all reached after {command}")

    def test_ufw(self):
        self.assertEqual(self.reached(), self.EXPECTED)
        self.addCleanup(run, "ufw", "--force", "disable")
        self.check("ufw", "--force", "enable")
        self.check("ufw", "reload")
        self.check("iptables", "-D", "FORWARD", "-m", "comment", "--comment", "BERTH", "-j", "BERTH")
        run("docker", "rm", "-f", "server", "other")
        self.start()
        self.assertEqual(self.reached(), self.EXPECTED, "started beside it")
        bridge = "br-" + json.loads(run("docker", "network", "inspect", "kept"))[0]["Id"][:12]
        for program in ("iptables", "ip6tables"):
            self.assertEqual(chain(program, "FORWARD").splitlines()[1], "-A FORWARD -m comment --comment BERTH -j BERTH")
            self.assertEqual(chain(program, "FORWARD").count("BERTH -j"), 1)
            self.assertEqual(chain(program, "BERTH").count(f" {bridge} -m"), 2)
        # Nothing of it is left where its bridge has gone.
        run("docker", "rm", "-f", "server", "other")
        run("docker", "network", "rm", "kept")
        for program in ("iptables", "ip6tables"):
            self.assertNotIn(bridge, chain(program, "BERTH"))

    def test_ufw_with_strict_ports(self):
        kept = None
        if os.path.exists(CONFIG):
            with open(CONFIG, encoding="utf-8") as file:
                kept = file.read()

        def restore():
            run("ufw", "--force", "reset")
            os.unlink(CONFIG)
            if kept is not None:
                with open(CONFIG, "w", encoding="utf-8") as file:
                    file.write(kept)
            run("systemctl", "restart", "berth.service")
        self.addCleanup(restore)
        os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
        with open(CONFIG, "w", encoding="utf-8") as file:
            json.dump({"strict-ports": True}, file)
        run("docker", "rm", "-f", "server", "other")
        run("systemctl", "restart", "berth.service")
        run("ufw", "--force", "enable")
        self.start()
        self.assertEqual(self.reached(), ([""] * 3, *self.EXPECTED[1:3], False), "not from outside, nor by the host's address")
        run("ufw", "allow", f"{PORT}/tcp")
        self.assertNotIn("", ask(BEYOND, [IN[0], IN[2]]))
        self.assertEqual(ask(BEYOND, [IN[1]]), [""])

    def test_networkd(self):
        self.addCleanup(run, "systemctl", "stop", "systemd-networkd.service", "systemd-networkd.socket")
        self.check("systemctl", "start", "systemd-networkd.service")
        self.check("systemctl", "restart", "systemd-networkd.service")
        self.check("networkctl", "reload")

    def test_firewalld(self):
        self.addCleanup(run, "systemctl", "stop", "firewalld")
        for command in (("systemctl", "start", "firewalld"), ("firewall-cmd", "--reload"), ("firewall-cmd", "--complete-reload"),
                        ("systemctl", "restart", "firewalld")):
            self.check(*command)


if __name__ == "__main__":
    unittest.main()
