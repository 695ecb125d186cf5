#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Published ports that obey the host's default-deny policy for its own input: the key strict-ports of daemon.json. Runs as
root in a booted host."""
import json
import os
import unittest

from hosted import load_images, remove_all, run
from test_networks import BEYOND, ask, make_beyond, serve

CONFIG = "/etc/berth/daemon.json"
POLICY = """table inet mine {
  chain input {
    type filter hook input priority filter; policy drop;
    iifname lo accept
    ct state established,related accept
    meta l4proto ipv6-icmp accept
  }
}
"""
ASKS = [(protocol, address, 8400) for protocol in ("tcp", "udp") for address in ("10.77.0.1", "fd77::1")]
LOCAL = [("tcp", "127.0.0.1", 8400), ("tcp", "10.77.0.1", 8400), ("udp", "127.0.0.1", 8400)]


class StrictPorts(unittest.TestCase):
    def configure(self, **keys):
        run("docker", "rm", "-f", "served", status=None)
        with open(CONFIG, "w", encoding="utf-8") as file:
            json.dump(keys, file)
        run("systemctl", "restart", "berth.service")
        run("docker", "run", "-d", "--name", "served", "-p", "8400:80", "-p", "8400:80/udp", "busybox", "sleep", "600")
        server = serve("served", 80)
        self.addCleanup(lambda: (server.kill(), server.wait(), server.stdout.close()))

    def setUp(self):
        load_images()
        remove_all()
        make_beyond()
        os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
        kept = "{}"
        if os.path.exists(CONFIG):
            with open(CONFIG, encoding="utf-8") as file:
                kept = file.read()
        run("nft", "-f", "-", data=POLICY.encode())

        def restore():
            run("nft", "delete", "table", "inet", "mine")
            remove_all()
            run("ip", "netns", "del", BEYOND)
            with open(CONFIG, "w", encoding="utf-8") as file:
                file.write(kept)
            run("systemctl", "restart", "berth.service")
            run("docker", "run", "--rm", "busybox", "true")  # the table as it was
        self.addCleanup(restore)

    def test_default_deny(self):
        self.configure()
        # By IPv6 it is the monitor that serves a container without, whatever the key says.
        self.assertNotIn("", ask(BEYOND, ASKS[::2]), "past the policy, as Docker's")
        self.configure(**{"strict-ports": True})
        self.assertEqual(ask(BEYOND, ASKS), [""] * 4, "not let through")
        self.assertNotIn("", ask("host", LOCAL))
        run("nft", "add", "rule", "inet", "mine", "input", "tcp", "dport", "8400", "accept")
        answers = ask(BEYOND, ASKS)
        self.assertNotIn("", answers[:2], "what the policy lets through")
        self.assertEqual(answers[2:], ["", ""], "and no more")
        run("nft", "add", "rule", "inet", "mine", "input", "udp", "dport", "8400", "accept")
        self.assertNotIn("", ask(BEYOND, ASKS))
        run("nft", "flush", "table", "inet", "berth")  # it comes back as strict as it was
        run("nft", "flush", "chain", "inet", "mine", "input")
        self.assertEqual(ask(BEYOND, ASKS), [""] * 4)
        self.configure()
        self.assertNotIn("", ask(BEYOND, ASKS[::2]))


if __name__ == "__main__":
    unittest.main()
