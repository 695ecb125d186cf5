#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers as systemd's tools see them, and systemd in a container. Runs as root in the host."""
import json
import os
import subprocess
import time
import unittest

from hosted import load_images, remove_all, run, wait_until

LEFT_OUT = ("./proc", "./sys", "./dev", "./run", "./tmp", "./root", "./var/lib/berth", "./var/lib/docker", "./var/lib/containers",
            "./var/lib/containerd", "./var/log/journal", "./usr/bin/podman", "./usr/bin/docker*", "./usr/sbin/dockerd", "./usr/bin/containerd*",
            "./usr/libexec", "./usr/share/doc", "./usr/lib/python3*", "./usr/bin/skopeo", "./usr/share/locale", "./usr/lib/gcc",
            "./etc/systemd/system/multi-user.target.wants", "./etc/systemd/system/sockets.target.wants")
RELOADS = int(os.environ.get("BERTH_RELOADS", "10"))


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()

    def tearDown(self):
        remove_all()

    def test_unit(self):
        identifier = run("docker", "run", "-d", "--name", "web", "busybox", "sleep", "60").strip()
        unit = f"berth-{identifier}.scope"
        self.assertEqual(run("berth", "unit", "web").strip(), unit)
        self.assertEqual(run("berth", "container", "unit", "web", identifier[:12]), f"{unit}\n{unit}\n")
        run("berth", "unit", "nosuch", status=1)
        shown = dict(line.split("=", 1) for line in
                     run("systemctl", "show", unit, "-p", "Description,Documentation,Slice,Delegate,KillSignal,ActiveState").splitlines())
        self.assertEqual(shown, {"Description": "Container web (busybox)", "Documentation": '"man:berthd(8)"', "Slice": "berth.slice",
                                 "Delegate": "yes", "KillSignal": "18", "ActiveState": "active"})

    def test_stop_by_systemd(self):
        """As at shutdown: the container's own signal, the whole of its stop time, and nobody takes it for a stop by hand."""
        script = "trap 'sleep 2; exit 5' USR1; while :; do sleep 0.1; done"
        run("docker", "run", "-d", "--name", "own", "--stop-signal", "USR1", "--stop-timeout", "20", "busybox", "sh", "-c", script)
        run("docker", "run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        run("docker", "run", "-d", "--name", "always", "--restart", "always", "busybox", "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done")
        run("docker", "run", "-d", "--name", "paused", "busybox", "sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.1; done")
        run("docker", "run", "-d", "--name", "killed", "--stop-signal", "KILL", "busybox", "sleep", "1000")
        # The signal is for the first process alone.
        run("docker", "run", "-d", "--name", "parent", "-v", "/srv:/srv", "busybox", "sh", "-c",
            "(trap 'touch /srv/told' TERM; while :; do sleep 0.1; done) & trap 'sleep 1; exit 7' TERM; while :; do sleep 0.1; done")
        time.sleep(0.5)
        run("docker", "pause", "paused")
        for name, code in (("own", 5), ("deaf", 137), ("always", 4), ("paused", 6), ("killed", 137), ("parent", 7)):
            begin = time.monotonic()
            run("systemctl", "stop", run("berth", "unit", name).strip())
            self.assertLess(time.monotonic() - begin, 10, name)
            wait_until(lambda: json.loads(run("docker", "inspect", name))[0]["State"]["Status"] == "exited")
            self.assertEqual(json.loads(run("docker", "inspect", name))[0]["State"]["ExitCode"], code, name)
        self.assertFalse(os.path.exists("/srv/told"))
        time.sleep(1)
        self.assertEqual(run("docker", "inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "always"), "exited 0\n")
        run("docker", "start", "always")
        run("docker", "exec", "always", "kill", "-TERM", "1")
        wait_until(lambda: run("docker", "inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "always") == "running 1\n")

    def test_stop_by_systemd_without_the_daemon(self):
        """As at shutdown, where nobody may be there to see it."""
        run("docker", "run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        unit = run("berth", "unit", "deaf").strip()
        run("systemctl", "stop", "berth.socket", "berth.service", status=None)
        run("systemctl", "stop", unit)
        run("systemctl", "start", "berth.socket")
        self.assertEqual(run("docker", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "deaf"), "exited 137\n")

    def test_the_sockets_stay(self):
        """However often the daemon goes and comes in a moment."""
        for number in range(60):
            run("berth", "-H", f"unix:///run/{('berth', 'docker')[number % 2]}.sock", "version")
            run("systemctl", "stop", "berth.service")
        self.assertEqual(run("systemctl", "is-active", "berth.socket").strip(), "active")

    def test_daemon_reload(self):
        names = [f"kept{i}" for i in range(5)]
        for name in names:
            run("docker", "run", "-d", "--name", name, "--pids-limit", "50", "--stop-timeout", "33", "busybox", "sleep", "600")
        units = [run("berth", "unit", name).strip() for name in names]

        def look():
            properties = "TasksMax,MemoryMax,CPUQuotaPerSecUSec,TimeoutStopUSec,Delegate,ControlGroup,ActiveState,Description"
            files = {}
            for unit in units:
                for folder, _, entries in os.walk(f"/sys/fs/cgroup/berth.slice/{unit}"):
                    for name in entries:
                        if name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.controllers", "pids.max", "memory.max", "cpu.max"):
                            with open(f"{folder}/{name}", encoding="ascii") as file:
                                files[f"{folder}/{name}"] = file.read()
            return run("systemctl", "show", "-p", properties, *units), files

        before = look()
        for _ in range(RELOADS):
            run("systemctl", "daemon-reload")
        self.assertEqual(look(), before)
        self.assertEqual(len(run("docker", "ps", "-q").split()), 5)

    def test_machined(self):
        os.makedirs("/etc/berth", exist_ok=True)
        with open("/etc/berth/daemon.json", "w", encoding="ascii") as file:
            file.write('{"register-machines": true}')
        self.addCleanup(run, "systemctl", "restart", "berth.service")
        self.addCleanup(os.unlink, "/etc/berth/daemon.json")
        run("systemctl", "restart", "berth.service")
        run("docker", "run", "-d", "--name", "my_machine.1", "busybox", "sleep", "60")
        wait_until(lambda: "my-machine.1" in run("machinectl", "list"))
        shown = run("machinectl", "show", "my-machine.1")
        self.assertIn("Unit=" + run("berth", "unit", "my_machine.1").strip(), shown)
        self.assertIn("Class=container", shown)
        self.assertRegex(run("machinectl", "status", "my-machine.1"), r"(?s)Leader: \d+ \(sleep\).*Service: berth; class container.*Unit: berth-")
        run("docker", "rm", "-f", "my_machine.1")
        wait_until(lambda: "my-machine.1" not in run("machinectl", "list"))

    def test_systemd_without_privileges(self):
        """This host's own tree, as an image."""
        tar = subprocess.Popen(["tar", "-C", "/", "--one-file-system", *(f"--exclude={path}" for path in LEFT_OUT), "-c", "."],
                               stdout=subprocess.PIPE)
        subprocess.run(["docker", "import", "-", "systemd:test"], stdin=tar.stdout, check=True, capture_output=True, timeout=120)
        tar.wait()
        self.addCleanup(run, "docker", "rmi", "-f", "systemd:test")
        run("docker", "run", "-d", "--name", "booted", "systemd:test", "/usr/lib/systemd/systemd")
        wait_until(lambda: run("docker", "exec", "booted", "systemctl", "is-system-running", status=None).strip() in ("running", "degraded"),
                   seconds=30, what="booted")
        self.assertEqual(run("docker", "exec", "booted", "systemctl", "list-units", "--failed", "--no-legend"), "")
        self.assertEqual(run("docker", "exec", "booted", "systemctl", "is-active", "systemd-journald.service").strip(), "active")
        run("docker", "exec", "booted", "systemd-run", "--wait", "-q", "true")
        with open("/proc/self/status", encoding="ascii") as file:
            own = [line for line in file if line.startswith("CapEff")]
        self.assertNotIn(own[0], run("docker", "exec", "booted", "cat", "/proc/1/status"))
        self.assertEqual(json.loads(run("docker", "inspect", "booted"))[0]["Config"]["StopSignal"], "SIGRTMIN+3")
        run("docker", "stop", "-t", "30", "booted")
        self.assertEqual(json.loads(run("docker", "inspect", "booted"))[0]["State"]["ExitCode"], 0)

    def test_systemd_by_label(self):
        output = run("docker", "run", "--rm", "--label", "berth.systemd=true", "busybox", "sh", "-c", "mkdir /sys/fs/cgroup/sub && echo $container; "
                     "grep -c ' /run tmpfs' /proc/mounts")
        self.assertEqual(output.split(), ["oci", "1"])
        run("docker", "run", "--rm", "busybox", "mkdir", "/sys/fs/cgroup/sub", status=1)


unittest.main(verbosity=1)
