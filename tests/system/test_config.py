#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What daemon.json changes, seen from outside: every key that has an effect has it, every other one is named in a warning."""
import json
import os
import shutil
import subprocess
import unittest

import hosted
from hosted import run

DIRECTORY = "/etc/berth"
NO_EFFECT = {"live-restore": True, "storage-driver": "overlay2", "iptables": False, "userland-proxy": False,
             "exec-opts": ["native.cgroupdriver=systemd"], "features": {"buildkit": True},
             "shutdown-timeout": 5}


def shown():
    return hosted.call("GET", "/info").json()


class Config(unittest.TestCase):
    def setUp(self):
        hosted.load_images()
        os.makedirs(DIRECTORY, exist_ok=True)
        self.addCleanup(self.restart)
        self.addCleanup(shutil.rmtree, DIRECTORY)

    def restart(self):
        # A socket is not started while its service is active.
        run("systemctl", "stop", "berth.socket", "berth.service")
        # Both count how often they were started within ten seconds.
        run("systemctl", "reset-failed", "berth.socket", "berth.service", status=None)
        run("systemctl", "start", "berth.socket")

    def write(self, **keys):
        with open(f"{DIRECTORY}/daemon.json", "w", encoding="ascii") as file:
            json.dump({name.replace("_", "-"): value for name, value in keys.items()}, file)

    def configure(self, **keys):
        self.write(**keys)
        self.restart()

    def output(self, *command):
        return run("docker", "run", "--rm", "--network", "none", "busybox", *command)

    def test_info(self):
        self.configure(labels=["rack=3", "disk=ssd"], debug=True, log_driver="none")
        info = shown()
        self.assertEqual((info["Labels"], info["Debug"], info["LoggingDriver"]), (["rack=3", "disk=ssd"], True, "none"))
        name = run("docker", "create", "busybox").strip()
        self.assertEqual(json.loads(run("docker", "inspect", name))[0]["HostConfig"]["LogConfig"]["Type"], "none")
        run("docker", "rm", name)

    def test_experimental(self):
        """The docker client squashes then, which it refuses to otherwise."""
        command = ("env", "DOCKER_BUILDKIT=0", "docker", "build", "--squash", "-q", "-")
        dockerfile = b"FROM busybox\nRUN echo a >/a\nRUN echo b >/b\n"
        self.assertFalse(shown()["ExperimentalBuild"])
        run(*command, data=dockerfile, status=1)
        self.configure(experimental=True)
        self.assertTrue(shown()["ExperimentalBuild"])
        self.assertTrue(hosted.call("GET", "/version").json()["Experimental"])
        image = run(*command, data=dockerfile).strip().split()[-1]
        layers = [json.loads(run("docker", "image", "inspect", name))[0]["RootFS"]["Layers"] for name in ("busybox", image)]
        self.assertEqual(len(layers[1]), len(layers[0]) + 1)
        self.addCleanup(hosted.call, "POST", "/build/prune?all=1")

    def test_init(self):
        self.configure(init=True)
        self.assertIn("/sbin/docker-init -- ps", self.output("ps"))
        self.assertNotIn("docker-init", run("docker", "run", "--rm", "--init=false", "busybox", "ps"))
        shutil.copy("/usr/libexec/berth/berth-init", "/srv/other-init")
        self.configure(init=True, init_path="/srv/other-init")
        self.assertIn("/srv/other-init", self.output("cat", "/proc/self/mountinfo"))

    def test_reload(self):
        self.configure(labels=["a=1"], idle_timeout=60)
        self.assertEqual(shown()["Labels"], ["a=1"])
        self.write(labels=["a=2"], debug=True, idle_timeout=60)
        run("systemctl", "reload", "berth.service")
        hosted.wait_until(lambda: (shown()["Labels"], shown()["Debug"]) == (["a=2"], True))

    def test_containers(self):
        self.configure(dns=["192.0.2.53"], dns_search=["a.example"], dns_opts=["ndots:3"], default_shm_size="3m",
                       cgroup_parent="other.slice")
        text = self.output("sh", "-c", "cat /etc/resolv.conf; df -k /dev/shm")
        for wanted in ("nameserver 192.0.2.53", "search a.example", "options ndots:3", " 3072 "):
            self.assertIn(wanted, text)
        name = run("docker", "run", "-d", "--network", "none", "busybox", "sleep", "60").strip()
        self.assertEqual(run("systemctl", "show", "-P", "Slice", f"berth-{name}.scope").strip(), "other.slice")
        run("docker", "rm", "-f", name)

    def test_sockets(self):
        self.configure(hosts=["fd://", "unix:///run/other.sock"], group="nogroup")
        self.assertEqual(hosted.call("GET", "/_ping").status, 200)
        self.assertEqual(hosted.call("GET", "/_ping", server="/run/other.sock").status, 200)
        self.assertEqual(os.stat("/run/other.sock").st_mode & 0o777, 0o660)

    def test_directories(self):
        self.configure(data_root="/var/lib/berth/other", exec_root="/run/other-berth")
        self.assertEqual(shown()["DockerRootDir"], "/var/lib/berth/other")
        self.assertEqual(shown()["Images"], 0)
        self.assertTrue(os.path.isdir("/var/lib/berth/other") and os.path.isdir("/run/other-berth"))

    def test_no_effect(self):
        self.configure(**{name.replace("-", "_"): value for name, value in NO_EFFECT.items()})
        self.assertEqual(hosted.call("GET", "/_ping").status, 200)
        invocation = run("systemctl", "show", "-P", "InvocationID", "berth.service").strip()
        journal = run("journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", "-o", "cat")
        for name in NO_EFFECT:
            self.assertIn(f'daemon.json: key "{name}" has no effect', journal)

    def test_refused(self):
        for keys, message in (({"nosuch": 1}, 'unknown key "nosuch"'), ({"log_level": "loud"}, 'key "log-level" must be one of'),
                              ({"labels": "a=b"}, 'key "labels" must be an array of strings'),
                              ({"hosts": ["tcp://127.0.0.1:1"]}, "only unix:// addresses are supported")):
            self.write(**keys)
            result = subprocess.run(("/usr/libexec/berth/berthd", "--config-file", f"{DIRECTORY}/daemon.json", "--listen",
                                     "unix:///run/refused.sock"), capture_output=True, text=True, timeout=20)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
