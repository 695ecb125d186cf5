#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names in containers on a booted host: whose are known to whom, what is asked outside, and how much is borne. The server
"outside" is one of this test's, on the host's loopback, as systemd-resolved's is."""
import json
import os
import random
import socket
import struct
import threading
import unittest

from hosted import load_images, remove_all, run

A, AAAA, PTR, TXT = 1, 28, 12, 16
RESOLV_CONF = "/etc/resolv.conf"

# In the container's namespace: sends questions (hexadecimal, one a line) to 127.0.0.11 and prints the answers.
ASKER = r"""
import socket, struct, sys
how = sys.argv[1]
for line in sys.stdin:
    question = bytes.fromhex(line)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(12)
        if how == "unsummed":
            s.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
        s.connect(("127.0.0.11", 53))
        try:
            if how == "tcp":
                s.sendall(struct.pack(">H", len(question)) + question)
                size = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))[0]
                print(s.recv(size, socket.MSG_WAITALL).hex())
            else:
                s.send(question)
                print(s.recv(65535).hex())
        except OSError:
            print("")
"""

# So many questions, some at a time: prints how long it took, and how many were answered.
FLOOD = r"""
import socket, sys, time
n, window = int(sys.argv[1]), 64
question = bytes.fromhex(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect(("127.0.0.11", 53))
begin, sent, got = time.monotonic(), 0, 0
try:
    while got < n:
        while sent < n and sent - got < window:
            s.send(question)
            sent += 1
        s.recv(512)
        got += 1
except OSError:
    pass
print(time.monotonic() - begin, got)
"""


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def question(name, kind=A, identifier=7, extended=False):
    text = struct.pack(">HHHHHH", identifier, 0x0100, 1, 0, 0, int(extended)) + labels(name) + struct.pack(">HH", kind, 1)
    return text + (b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if extended else b"")


def skip_name(message, at):
    while message[at]:
        if message[at] >= 0xc0:
            return at + 2
        at += message[at] + 1
    return at + 1


def answers(message):
    """The code, and the values of the answer's records."""
    count, at, values = struct.unpack(">H", message[6:8])[0], skip_name(message, 12) + 4, []
    for _ in range(count):
        at = skip_name(message, at)
        kind, _, _, size = struct.unpack(">HHIH", message[at:at + 10])
        data = message[at + 10:at + 10 + size]
        at += 10 + size
        if kind == PTR:
            parts = []
            while data[0]:
                parts.append(data[1:1 + data[0]].decode())
                data = data[1 + data[0]:]
            values.append(".".join(parts))
        else:
            values.append(socket.inet_ntop(socket.AF_INET if kind == A else socket.AF_INET6, data))
    return message[3] & 15, values


class Upstream:
    """Answers every name with 192.0.2.7, over UDP and TCP, and remembers what it was asked."""

    def __init__(self, address="127.0.0.53"):
        self.asked, self.hostile = [], False
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53))
        for work in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def answer(self, message):
        end = skip_name(message, 12) + 4
        self.asked.append(message[12:end - 4])
        return (message[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + message[12:end] + b"\xc0\x0c" +
                struct.pack(">HHIH", A, 1, 5, 4) + bytes([192, 0, 2, 7]))

    def serve_udp(self):
        while True:
            message, peer = self.udp.recvfrom(65535)
            good = self.answer(message)
            if self.hostile:  # another's question, another's identifier, no answer at all, rubbish
                for bad in (good[:12] + labels("evil.example") + good[12:], b"\0\1" + good[2:], good[:5], os.urandom(200), message):
                    self.udp.sendto(bad, peer)
            self.udp.sendto(good, peer)

    def serve_tcp(self):
        while True:
            connection, _ = self.tcp.accept()
            size = struct.unpack(">H", connection.recv(2, socket.MSG_WAITALL))[0]
            good = self.answer(connection.recv(size, socket.MSG_WAITALL))
            connection.sendall(struct.pack(">H", len(good)) + good)
            connection.close()


class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()
        remove_all()
        cls.kept = open(RESOLV_CONF, encoding="utf-8").read() if os.path.exists(RESOLV_CONF) else None
        with open(RESOLV_CONF, "w", encoding="utf-8") as file:
            file.write("nameserver 127.0.0.53\nsearch corp.example\noptions timeout:1\n")
        cls.upstream = Upstream()
        run("docker", "network", "create", "--ipv6", "shop")
        run("docker", "network", "create", "--internal", "vault")
        for name, options in (("web", ("--network-alias", "front")), ("web2", ("--network-alias", "front")),
                              ("db", ("--hostname", "database"))):
            run("docker", "run", "-d", "--name", name, "--network", "shop", *options, "busybox", "sleep", "600")
        run("docker", "run", "-d", "--name", "safe", "--network", "vault", "busybox", "sleep", "600")

    @classmethod
    def tearDownClass(cls):
        remove_all()
        run("docker", "network", "prune", "-f")
        if cls.kept is None:
            os.unlink(RESOLV_CONF)
        else:
            with open(RESOLV_CONF, "w", encoding="utf-8") as file:
                file.write(cls.kept)

    def endpoint(self, name, network="shop"):
        return json.loads(run("docker", "inspect", name))[0]["NetworkSettings"]["Networks"][network]

    def inside(self, name):
        return ["nsenter", "-n", "-t", str(json.loads(run("docker", "inspect", name))[0]["State"]["Pid"])]

    def ask(self, place, *questions, how="udp"):
        text = "".join(q.hex() + "\n" for q in questions)
        lines = run(*self.inside(place), "python3", "-c", ASKER, how, data=text.encode()).splitlines()
        return [answers(bytes.fromhex(line)) if line else None for line in lines]

    def test_names_of_the_network(self):
        web, web2, db = (self.endpoint(name) for name in ("web", "web2", "db"))
        short = run("docker", "inspect", "-f", "{{.Id}}", "db").strip()[:12]
        for how in ("udp", "tcp"):
            got = self.ask("web", question("db"), question("DB.Shop"), question("database"), question(short), question("db", AAAA),
                           question("db", TXT), question("web2", extended=True), how=how)
            self.assertEqual(got, [(0, [db["IPAddress"]])] * 4 + [(0, [db["GlobalIPv6Address"]]), (0, []), (0, [web2["IPAddress"]])], how)
        both = sorted((web["IPAddress"], web2["IPAddress"]))
        turns = [values for _, values in self.ask("db", *[question("front")] * 6)]
        self.assertEqual([sorted(turn) for turn in turns], [both] * 6)
        self.assertEqual(len({turn[0] for turn in turns}), 2, "in turn")
        reverse = ".".join(reversed(db["IPAddress"].split("."))) + ".in-addr.arpa"
        self.assertEqual(self.ask("web", question(reverse, PTR)), [(0, ["db.shop"])])
        self.assertEqual(self.ask("safe", question("db"), question("safe")), [(3, []), (0, [self.endpoint("safe", "vault")["IPAddress"]])])

    def test_datagrams_without_a_sum(self):
        self.assertEqual(self.ask("web", question("db"), how="unsummed"), [(0, [self.endpoint("db")["IPAddress"]])])

    def test_nothing_is_tracked(self):
        """In the container's namespace: it would cost each of its packets. With rules of its own it goes on."""
        count = [*self.inside("web2"), "cat", "/proc/sys/net/netfilter/nf_conntrack_count"]
        expected = [(0, [self.endpoint("db")["IPAddress"]])]
        for own_rules in ("", "table ip own { chain out { type filter hook output priority 0; ct state new,established counter; }; }"):
            if own_rules:
                run(*self.inside("web2"), "nft", "-f", "-", data=own_rules.encode())
            for how in ("udp", "tcp"):
                self.assertEqual(self.ask("web2", question("db"), how=how), expected, (how, own_rules))
            self.assertEqual(int(run(*count)) > 0, bool(own_rules))
        run(*self.inside("web2"), "nft", "delete", "table", "ip", "own")

    def test_changes_are_seen(self):
        run("docker", "run", "-d", "--name", "late", "--network", "shop", "busybox", "sleep", "600")
        address = self.endpoint("late")["IPAddress"]
        self.assertEqual(self.ask("web", question("late")), [(0, [address])])
        run("docker", "rm", "-f", "late")
        self.assertEqual(self.ask("web", question("late")), [(3, [])])

    def test_links(self):
        run("docker", "run", "-d", "--name", "linked", "--network", "shop", "--link", "db:store", "busybox", "sleep", "600")
        self.assertEqual(self.ask("linked", question("store")), [(0, [self.endpoint("db")["IPAddress"]])])
        self.assertEqual(self.ask("web", question("store")), [(3, [])])
        run("docker", "rm", "-f", "linked")

    def test_links_on_the_default_bridge(self):
        """They tell by variables, too."""
        run("docker", "run", "-d", "--name", "store", "--expose", "80", "--expose", "90-92", "--expose", "53/udp", "-e", "KEY=value",
            "-e", "HOME=/h", "busybox", "sleep", "600")
        address = json.loads(run("docker", "inspect", "store"))[0]["NetworkSettings"]["IPAddress"]
        run("docker", "run", "-d", "--name", "asker", "--link", "store:my-db", "-e", "MY_DB_ENV_KEY=own", "busybox", "sleep", "600")

        def port(number, protocol):
            key = f"MY_DB_PORT_{number}_{protocol.upper()}"
            return {key: f"{protocol}://{address}:{number}", f"{key}_ADDR": address, f"{key}_PORT": str(number), f"{key}_PROTO": protocol}
        expected = {"MY_DB_PORT": f"udp://{address}:53", "MY_DB_NAME": "/asker/my-db", "MY_DB_ENV_KEY": "own",
                    "MY_DB_PORT_90_TCP_START": f"tcp://{address}:90", "MY_DB_PORT_90_TCP_PORT_START": "90",
                    "MY_DB_PORT_90_TCP_END": f"tcp://{address}:92", "MY_DB_PORT_90_TCP_PORT_END": "92", **port(53, "udp"),
                    **port(80, "tcp"), **port(90, "tcp"), **port(91, "tcp"), **port(92, "tcp")}
        for command in (("env",), ("sh", "-c", "tr '\\0' '\\n' </proc/1/environ")):
            lines = run("docker", "exec", "asker", *command).splitlines()
            self.assertEqual({k: v for k, v in (line.split("=", 1) for line in lines if line.startswith("MY_DB"))}, expected)
        hosts = run("docker", "exec", "asker", "cat", "/etc/hosts")
        self.assertRegex(hosts, f"(?m)^{address}\tmy-db [0-9a-f]{{12}} store$")
        run("docker", "rm", "-f", "asker", "store")

    def test_outside(self):
        self.upstream.asked.clear()
        for how in ("udp", "tcp"):
            self.assertEqual(self.ask("web", question("www.example.com"), how=how), [(0, ["192.0.2.7"])], how)
        self.assertEqual(self.ask("web", question("nobody"), question("localdomain", AAAA)), [(3, []), (3, [])])
        self.assertEqual(self.upstream.asked, [labels("www.example.com")] * 2, "no name of a single label goes outside")
        self.assertEqual(self.ask("safe", question("www.example.com")), [(2, [])], "nothing of an internal network does")
        self.assertEqual(len(self.upstream.asked), 2)
        text = run("docker", "exec", "web", "cat", "/etc/resolv.conf")
        self.assertEqual(text, "nameserver 127.0.0.11\nsearch corp.example\noptions timeout:1 ndots:0\n")

    def test_default_bridge(self):
        """The host's server is on its loopback: containers reach it all the same, and with it whatever it knows."""
        run("docker", "run", "-d", "--name", "plain", "busybox", "sleep", "600")
        self.assertEqual(self.ask("plain", question("www.example.com"), question("web")), [(0, ["192.0.2.7"]), (3, [])])
        self.assertIn("nameserver 127.0.0.11\n", run("docker", "exec", "plain", "cat", "/etc/resolv.conf"))
        run("docker", "rm", "-f", "plain")
        self.assertEqual(run("docker", "run", "--rm", "--dns", "192.0.2.1", "busybox", "grep", "nameserver", "/etc/resolv.conf"),
                         "nameserver 192.0.2.1\n")

    def test_hostile_upstream(self):
        self.upstream.hostile = True
        try:
            self.assertEqual(self.ask("web", *[question("www.example.com", identifier=i) for i in range(20)]), [(0, ["192.0.2.7"])] * 20)
        finally:
            self.upstream.hostile = False

    def test_hostile_questions(self):
        dice = random.Random(1)
        script = ("import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect(('127.0.0.11', 53))\n"
                  "for line in sys.stdin: s.send(bytes.fromhex(line))\n")
        rubbish = [dice.randbytes(dice.randrange(1, 400)) for _ in range(300)]
        rubbish += [q[:dice.randrange(len(q))] for q in [question("web", AAAA, extended=True)] * 100]
        rubbish += [question("web")[:12] + b"\xc0\x0c" * 20 + b"\0\1\0\1"]
        run(*self.inside("web"), "python3", "-c", script, data="".join(q.hex() + "\n" for q in rubbish).encode())
        self.assertEqual(self.ask("web", question("db")), [(0, [self.endpoint("db")["IPAddress"]])])

    def test_port_53_is_the_containers(self):
        script = ("import socket\nfor kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):\n s = socket.socket(socket.AF_INET, kind)\n"
                  " s.bind(('0.0.0.0', 53))\n")
        run(*self.inside("web"), "python3", "-c", script)

    def test_flood(self):
        seconds, got = run(*self.inside("web"), "python3", "-c", FLOOD, "20000", question("db").hex()).split()
        print(f"{20000 / float(seconds):.0f} questions a second", end=" ", flush=True)
        self.assertEqual(got, "20000")

    def test_without_the_engine(self):
        inside = self.inside("web")
        address = self.endpoint("db")["IPAddress"]
        run("systemctl", "stop", "berth.service", "berth.socket")
        try:
            lines = run(*inside, "python3", "-c", ASKER, "udp", data=(question("db").hex() + "\n").encode()).split()
            self.assertEqual(answers(bytes.fromhex(lines[0])), (0, [address]))
        finally:
            run("systemctl", "start", "berth.socket")


if __name__ == "__main__":
    unittest.main()
