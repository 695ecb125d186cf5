#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job on a booted host, by the stock docker client and by berth. Runs as root in the host."""
import json
import os
import time
import unittest

import hosted
from hosted import Terminal, daemon_pid, run, wait_until

CLIENTS = ("docker", "berth")


class Containers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        assert daemon_pid() == "0", "no engine process before the first connection"
        cls.loaded = [run("docker", "load", "-i", "/root/busybox.tar"), run("berth", "load", "-i", "/root/debian.tar")]

    def tearDown(self):
        for name in run("docker", "ps", "-aq").split():
            run("docker", "rm", "-f", name)
        self.assertEqual(run("sh", "-c", "findmnt -n -o TARGET | grep -c /run/berth/container || true").strip(), "0")

    def test_load(self):
        self.assertIn("Loaded image: busybox:latest", self.loaded[0])
        self.assertIn("debian", self.loaded[1])
        self.assertIn("busybox", run("berth", "images"))

    def test_exit_codes(self):
        for client in CLIENTS:
            for command, status in (
                (("true",), 0), (("sh", "-c", "exit 7"), 7), (("nosuch",), 127),
                (("/etc",), 126),
            ):
                with self.subTest(client=client, command=command):
                    run(client, "run", "--rm", "busybox", *command, status=status)

    def test_input_and_output(self):
        for client in CLIENTS:
            self.assertEqual(run(client, "run", "-i", "--rm", "busybox", "cat", data=b"typed\n"), "typed\n")

    def test_networks(self):
        self.assertIn("172.", run("docker", "run", "--rm", "busybox", "ip", "-4", "addr", "show", "eth0"))
        self.assertNotIn("eth0", run("docker", "run", "--rm", "--network", "none", "busybox", "ip", "addr"))
        run("docker", "run", "-d", "--name", "first", "busybox", "sleep", "60")
        address = json.loads(run("docker", "inspect", "first"))[0]["NetworkSettings"]["IPAddress"]
        run("docker", "run", "--rm", "busybox", "ping", "-c", "1", "-W", "5", address)
        self.assertIn(address, run("berth", "run", "--rm", "--network", "container:first", "busybox", "ip", "addr"))

    def test_logs(self):
        talker = f"talker{os.getpid()}"  # the journal keeps what an earlier run of this test wrote
        run("berth", "run", "--name", talker, "busybox", "sh", "-c", "seq 1 20000")
        wanted = "".join(f"{i}\n" for i in range(1, 20001))
        self.assertEqual(run("docker", "logs", talker), wanted)
        self.assertEqual(run("berth", "logs", "--tail", "2", talker), "19999\n20000\n")
        self.assertEqual(run("journalctl", f"CONTAINER_NAME={talker}", "-o", "cat"), wanted)

    def test_life(self):
        for client in CLIENTS:
            run(client, "run", "-d", "--name", "web", "busybox", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done")
            state = json.loads(run(client, "inspect", "web"))[0]["State"]
            self.assertEqual((state["Status"], state["Running"]), ("running", True))
            self.assertIn("Up ", run(client, "ps"))
            run(client, "rm", "web", status=1)
            run(client, "stop", "web")
            self.assertEqual(json.loads(run(client, "inspect", "web"))[0]["State"]["ExitCode"], 5)
            run(client, "rename", "web", "old")
            run(client, "start", "old")
            run(client, "kill", "old")
            self.assertEqual(run(client, "wait", "old").strip(), "137")
            run(client, "rm", "old")

    def test_terminal_detach_and_attach(self):
        for client in CLIENTS:
            terminal = Terminal(client, "run", "-it", "--name", "commit_test", "debian:13", "bash")
            terminal.expect("# ")
            terminal.type("echo $((40 + 2))\r")
            terminal.expect("42")
            terminal.resize(33, 91)
            terminal.type("sleep 0.5; stty size\r")
            terminal.expect("33 91")
            terminal.type("\x10\x11")
            self.assertEqual(terminal.status(), 0)
            terminal = Terminal(client, "attach", "commit_test")
            time.sleep(0.5)
            terminal.type("exit 3\r")
            self.assertEqual(terminal.status(), 3)
            run(client, "rm", "commit_test")

    def test_session_survives_the_daemon(self):
        for blow in (("systemctl", "restart", "berth.service"), ("systemctl", "kill", "-s", "KILL", "berth.service")):
            terminal = Terminal("docker", "run", "-it", "--name", "session", "busybox", "sh")
            terminal.expect("# ")
            run(*blow)
            time.sleep(1)
            terminal.type("echo still $((1 + 1))\r")
            terminal.expect("still 2")
            terminal.type("exit 9\r")
            self.assertEqual(terminal.status(), 9)
            run("docker", "rm", "session")

    def test_monitor_and_process_killed(self):
        for target in ("monitor", "payload"):
            name = run("docker", "run", "-d", "busybox", "sleep", "60").strip()
            group = f"/sys/fs/cgroup/berth.slice/berth-{name}.scope/{target}/cgroup.procs"
            with open(group, encoding="ascii") as processes:
                os.kill(int(processes.readline()), 9)
            time.sleep(1)
            state = json.loads(run("docker", "inspect", name))[0]["State"]
            self.assertEqual((state["Running"], state["ExitCode"]), (False, 137))
            run("docker", "rm", name)

    def test_idle_exit(self):
        run("docker", "run", "-d", "--name", "sleeper", "busybox", "sleep", "14")
        end = time.monotonic() + 13
        while daemon_pid() != "0" and time.monotonic() < end:
            time.sleep(0.5)
        self.assertEqual(daemon_pid(), "0")
        wait_until(lambda: hosted.spare_scopes() == [], 5, "no scope that waits for a container")
        self.assertIn("Up ", run("docker", "ps"))
        self.assertEqual(run("docker", "wait", "sleeper").strip(), "0")

    def test_bad_requests(self):
        for arguments, status in (
            (("-X", "POST", "-H", "Content-Type: application/json", "-d", "{", "http://d/containers/create"), "400"),
            (("http://d/containers/nosuch/json",), "404"),
            (("http://d/v1.99/containers/json",), "400"),
            (("http://d/nosuch",), "404"),
            (("http://d/networks",), "200"),
            (("http://d/networks/nosuch",), "404"),
        ):
            request = arguments[-1]
            code = http_status(arguments)
            self.assertEqual(code, status, request)


def http_status(arguments):
    """The status of one request, written here byte by byte, since the host has no curl."""
    import socket

    path = arguments[-1].split("http://d", 1)[1]
    body = arguments[arguments.index("-d") + 1] if "-d" in arguments else ""
    method = "POST" if body else "GET"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/berth.sock")
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        return connection.recv(65536).split()[1].decode()


if __name__ == "__main__":
    unittest.main()
