#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the processes may that read what strangers wrote: layers, archives, contexts of builds, and what registries send. Each is
looked at in the middle of its work. Who unpacks sees no file but those of its staging directory and no network; who speaks to
a registry is nobody."""
import os
import socket
import subprocess
import unittest

import hosted
import registry_servers as registries
from hosted import BERTH, run, wait_until

PLAIN = "127.0.0.1:5000"
STAGING = "/var/lib/berth/staging"
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN, MKNOD, SETFCAP: what files with all their attributes take.
FILES_ONLY = sum(1 << number for number in (0, 1, 3, 4, 21, 27, 31))


class Process:
    def __init__(self, pid):
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.pid, self.parent = pid, int(status["PPid"])
        self.users = set(status["Uid"].split())
        self.capabilities = int(status["CapEff"], 16)
        self.bounding = int(status["CapBnd"], 16)
        self.no_new_privileges, self.seccomp = status["NoNewPrivs"], status["Seccomp"]
        self.root = os.readlink(f"/proc/{pid}/root")
        self.network = os.readlink(f"/proc/{pid}/ns/net")
        self.descriptors = []
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                self.descriptors.append(os.readlink(f"/proc/{pid}/fd/{name}"))
            except FileNotFoundError:
                pass


def helpers():
    """What runs below the daemon."""
    daemon = int(hosted.daemon_pid())
    with open("/sys/fs/cgroup/system.slice/berth.service/cgroup.procs", encoding="ascii") as file:
        found = [int(line) for line in file]
    processes = []
    for pid in found:
        try:
            if pid != daemon:
                processes.append(Process(pid))
        except FileNotFoundError:
            pass
    return processes


def jobs():
    return [name for name in os.listdir(STAGING) if name.startswith("job-")]


class Confinement(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("berth", "load", "-q", "-i", "/root/busybox.tar")

    def tearDown(self):
        wait_until(lambda: os.listdir(STAGING) == [], 15, "an empty staging directory")

    def check_confined(self, process):
        own = os.readlink("/proc/self/ns/net")
        self.assertRegex(process.root, f"^{STAGING}/job-[^/]+$")
        self.assertNotEqual(process.network, own)
        self.assertEqual((process.no_new_privileges, process.seccomp), ("1", "2"))
        self.assertEqual(process.capabilities & ~FILES_ONLY, 0, hex(process.capabilities))
        self.assertEqual(process.bounding & ~FILES_ONLY, 0, hex(process.bounding))
        for name in process.descriptors:
            self.assertTrue(name.startswith((STAGING, "socket:", "pipe:", "anon_inode:", "/dev/null", "/memfd:")), process.descriptors)

    def begin(self, path, data):
        """A request whose body stops in the middle."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(BERTH)
        head = hosted.build("POST", path, b"", (f"Content-Length: {len(data) * 2}", "Content-Type: application/x-tar"))
        connection.sendall(head + data)
        return connection

    def confined(self):
        return [process for process in helpers() if process.seccomp == "2" and process.root != "/"]

    def test_bodies(self):
        with open("/root/busybox.tar", "rb") as file:
            data = file.read()[:600000]
        for path in ("/images/load", "/images/create?fromSrc=-&repo=x", "/build?dockerfile=Dockerfile"):
            with self.subTest(path):
                with self.begin(path, data):
                    wait_until(lambda: jobs() and self.confined(), 30, "a worker at its work")
                    for process in self.confined():
                        self.check_confined(process)
                    # A build's coordinator reads nothing itself.
                    self.assertEqual(len(helpers()) - len(self.confined()), int(path.startswith("/build")))
                wait_until(lambda: not helpers(), 30, "the worker gone")

    def test_pull(self):
        registry = registries.Registry(5000)
        self.addCleanup(registry.stop)
        registries.make_image(PLAIN, "slow", "1", [registries.make_layer(1, 3000000)])
        slow = registries.front(5070, PLAIN, rate=200000)
        self.addCleanup(registries.stop, slow)
        with subprocess.Popen(("docker", "pull", "-q", "127.0.0.1:5070/slow:1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
            try:
                wait_until(lambda: [name for _, _, files in os.walk(STAGING) for name in files if name == "noise-1"], 20, "a layer in staging")
                processes = helpers()
            finally:
                client.kill()
        unpacking = [process for process in processes if process.root != "/"]
        speaking = [process for process in processes if process.users == {"65534"}]
        self.assertTrue(unpacking)
        self.assertGreaterEqual(len(speaking), 2, "one for documents, one for each layer under way")
        for process in unpacking:
            self.assertRegex(process.root, f"^{STAGING}/job-[^/]+$")
            self.assertNotEqual(process.network, os.readlink("/proc/self/ns/net"))
            self.assertEqual((process.no_new_privileges, process.seccomp, process.capabilities & ~FILES_ONLY), ("1", "2", 0))
        for process in speaking:
            self.assertEqual((process.no_new_privileges, process.capabilities), ("1", 0))
            self.assertEqual([name for name in process.descriptors if name.startswith("/var/lib")], [])
        # What is left is the job itself, which reads neither.
        self.assertEqual(len(processes) - len(unpacking) - len(speaking), 1, [vars(process) for process in processes])
        wait_until(lambda: not helpers(), 15, "all of them gone")


if __name__ == "__main__":
    unittest.main(verbosity=2)
