#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Applications of several containers, by the packaged docker compose, unchanged. Runs as root in a booted host."""
import os
import re
import subprocess
import tempfile
import unittest
import urllib.request

from hosted import remove_all, run, wait_until

APPLICATION = """
services:
  web:
    image: busybox
    command: ["httpd", "-f", "-p", "80", "-h", "/site"]
    environment: {VERSION: "VERSION_HERE"}
    ports: ["8088:80", "127.0.0.1:8100-8101:90-91/udp"]
    networks: [front, back]
    volumes: ["site:/site"]
    depends_on: [db]
  db:
    image: busybox
    command: ["sh", "-c", "mkdir -p /www; echo rows > /www/table; exec httpd -f -p 5432 -h /www"]
    networks: {back: {aliases: [database]}}
  worker:
    image: busybox
    command: ["sh", "-c", "while :; do wget -T 2 -qO- http://database:5432/table > /site/result; sleep 0.2; done"]
    networks: [back]
    volumes: ["site:/site"]
  once:
    image: busybox
    command: ["echo", "done"]
    profiles: [jobs]
    networks: [front]
networks:
  front: {}
  back: {internal: true}
volumes:
  site: {}
"""


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["systemctl", "stop", "firewalld"], capture_output=True)
        run("docker", "load", "-i", "/root/busybox.tar")
        remove_all()

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="shop")
        self.write("1")

    def write(self, version):
        with open(os.path.join(self.directory, "compose.yaml"), "w", encoding="utf-8") as file:
            file.write(APPLICATION.replace("VERSION_HERE", version))

    def compose(self, *arguments, status=0):
        return run("docker", "compose", "-p", "shop", "--project-directory", self.directory, "-f",
                   os.path.join(self.directory, "compose.yaml"), *arguments, status=status, timeout=120)

    def get(self):
        try:
            with urllib.request.urlopen("http://127.0.0.1:8088/result", timeout=3) as answer:
                return answer.read()
        except OSError:
            return b""

    def test_life_of_an_application(self):
        self.compose("up", "-d")
        wait_until(lambda: self.get() == b"rows\n", 20, "served over volume, names and port")
        self.assertEqual(sorted(self.compose("ps", "--services").split()), ["db", "web", "worker"])
        self.assertEqual(self.compose("port", "web", "80").strip(), "0.0.0.0:8088")
        self.assertEqual(self.compose("port", "--protocol", "udp", "web", "91").strip(), "127.0.0.1:8101")
        self.assertEqual(self.compose("exec", "-T", "web", "wget", "-qO-", "http://db:5432/table"), "rows\n")
        self.assertIn("shop", self.compose("ls"))

        self.compose("up", "-d", "--scale", "worker=3")
        self.assertEqual(len(self.compose("ps", "-q", "worker").split()), 3)
        answer = self.compose("run", "--rm", "-T", "worker", "nslookup", "worker")
        self.assertGreaterEqual(len(set(re.findall(r"^Address: (\S+)", answer, re.M))), 3)
        self.assertIn("done", self.compose("run", "--rm", "-T", "once"))

        before = self.compose("ps", "-q", "web")
        self.compose("restart", "web")
        self.assertEqual(self.compose("ps", "-q", "web"), before)
        wait_until(lambda: self.get() == b"rows\n", 20, "served after the restart")

        self.write("2")
        self.compose("up", "-d")
        self.assertNotEqual(self.compose("ps", "-q", "web"), before)
        self.assertEqual(self.compose("exec", "-T", "web", "sh", "-c", "echo $VERSION"), "2\n")
        wait_until(lambda: self.get() == b"rows\n", 20, "served by the new one")

        self.compose("stop")
        self.assertEqual(self.get(), b"")
        self.compose("start")
        wait_until(lambda: self.get() == b"rows\n", 20, "served after the start")

        self.compose("down", "-v", "-t", "1")
        self.assertEqual(run("docker", "ps", "-aq"), "")
        self.assertNotIn("shop", run("docker", "network", "ls"))
        self.assertNotIn("shop", run("docker", "volume", "ls"))
        self.assertNotIn("8088", run("nft", "list", "table", "inet", "berth"))

    def test_with_firewalld(self):
        """It rejects what links it does not know forward, and forgets what it was told when it reloads."""
        if subprocess.run(["systemctl", "start", "firewalld"], capture_output=True).returncode != 0:
            self.skipTest("no firewalld")
        try:
            self.compose("up", "-d")
            wait_until(lambda: self.get() == b"rows\n", 20, "served")
            run("firewall-cmd", "--reload")
            wait_until(lambda: run("firewall-cmd", "--zone=trusted", "--list-interfaces").count("br-") == 2, 10, "told again")
            self.assertEqual(self.compose("exec", "-T", "web", "wget", "-T", "3", "-qO-", "http://db:5432/table"), "rows\n")
            # It lists a link a moment before its rules know it.
            wait_until(lambda: self.get() == b"rows\n", 10, "served after the reload")
        finally:
            self.compose("down", "-v", "-t", "1")
            run("systemctl", "stop", "firewalld")


if __name__ == "__main__":
    unittest.main()
