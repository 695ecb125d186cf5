#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits of a container as systemd, the kernel and the program inside see them. Runs as root in a QEMU machine."""
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import unittest

MEBI = 1024 * 1024
SLICE = "/sys/fs/cgroup/berth.slice"
CLIENTS = ("docker", "berth")


def run(*command, status=0):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=100, check=False)
    if status is not None and result.returncode != status:
        raise AssertionError(f"{command}: exit {result.returncode}, {result.stdout!r} {result.stderr!r}")
    return result.stdout.decode()


def state(name):
    return json.loads(run("docker", "inspect", name))[0]["State"]


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.2)


def get(path):
    """The answer to a request of the API."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect("/run/berth.sock")
    connection.request("GET", path)
    with connection.getresponse() as answer:
        return json.loads(answer.read())


def read_keys(path):
    """A cgroup's file of keys and numbers."""
    with open(path, encoding="ascii") as file:
        return {key: int(value) for key, value in (line.split() for line in file)}


def read_number(path):
    with open(path, encoding="ascii") as file:
        return int(file.read())


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # A disk with quotas of projects.
        os.makedirs("/var/lib/berth", exist_ok=True)
        run("mount", "-o", "prjquota", "/dev/disk/by-id/virtio-data", "/var/lib/berth")
        run("systemd-sysusers")
        run("systemd-tmpfiles", "--create", "berth.conf")
        run("systemctl", "daemon-reload")
        run("systemctl", "enable", "--now", "berth.socket")
        run("docker", "load", "-i", "/var/lib/vm/busybox.tar")

    def tearDown(self):
        for name in run("docker", "ps", "-aq").split():
            run("docker", "rm", "-f", name)

    def start(self, *arguments):
        return self.start_by("docker", *arguments)

    def start_by(self, client, *arguments):
        """Runs a container in the background: its ID, its unit and its payload's cgroup."""
        identity = run(client, "run", "-d", *arguments).strip()
        return identity, f"berth-{identity}.scope", f"{SLICE}/berth-{identity}.scope/payload"

    def test_units(self):
        # No manual pages here: the trees of the tests leave them out.
        units = ["/usr/lib/systemd/system/berth." + kind for kind in ("socket", "service", "slice")]
        result = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, check=False)
        complaints = [line for line in result.stderr.decode().splitlines() if "berth" in line]
        self.assertEqual((result.returncode, complaints), (0, []), result.stderr.decode())

    def wait_for_spare(self):
        """The ID of the container that a scope was made ahead for."""
        found = []

        def there():
            units = run("systemctl", "list-units", "--plain", "--no-legend", "berth-*.scope").splitlines()
            found[:] = [line.split()[0] for line in units if line.endswith("Room for the next container")]
            if len(found) != 1 or not os.path.exists(f"{SLICE}/{found[0]}/payload/cgroup.controllers"):
                return False
            with open(f"{SLICE}/{found[0]}/payload/cgroup.controllers", encoding="ascii") as file:
                return "memory" in file.read().split()
        run("docker", "run", "--rm", "busybox", "true")
        wait_for("a scope that waits", there)
        time.sleep(1)  # its holder tells the daemon now
        return found[0][len("berth-"):-len(".scope")]

    def test_a_scope_made_ahead(self):
        waiting = self.wait_for_spare()
        identity, _, group = self.start("--name", "plain", "busybox", "sleep", "1000")
        self.assertEqual(identity, waiting)
        with open(f"{group}/cgroup.controllers", encoding="ascii") as file:
            self.assertLessEqual({"cpu", "memory", "pids"}, set(file.read().split()))
        run("docker", "update", "--memory", "96m", "--memory-swap", "96m", "plain")
        self.assertEqual(read_number(f"{group}/memory.max"), 96 * MEBI)

    def test_limits_have_a_scope_of_their_own(self):
        waiting = self.wait_for_spare()
        for options, file, value in ((("-m", "64m"), "memory.max", 64 * MEBI), (("--pids-limit", "50"), "pids.max", 50)):
            identity, _, group = self.start(*options, "busybox", "sleep", "1000")
            self.assertNotEqual(identity, waiting)
            self.assertEqual(read_number(f"{group}/{file}"), value)

    def test_limits_that_come_before_the_start(self):
        waiting = self.wait_for_spare()
        self.assertEqual(run("docker", "create", "--name", "updated", "busybox", "sleep", "1000").strip(), waiting)
        run("docker", "update", "--pids-limit", "50", "updated")
        run("docker", "start", "updated")
        self.assertEqual(read_number(f"{SLICE}/berth-{waiting}.scope/payload/pids.max"), 50)
        self.assertEqual(run("systemctl", "show", "-P", "TasksMax", f"berth-{waiting}.scope"), "58\n")

    def test_memory(self):
        for client, name in (("docker", "greedy"), ("berth", "hungry")):
            hog = ("busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1")
            run(client, "run", "-m", "64m", "--name", name, *hog, status=137)
            self.assertEqual((state(name)["OOMKilled"], state(name)["ExitCode"]), (True, 137))
        run("docker", "run", "-m", "64m", "--name", "modest", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=16M", "count=1")
        self.assertFalse(state("modest")["OOMKilled"])

    def test_memory_of_a_child(self):
        """The shell goes on and its own exit status counts, but a kill there was."""
        script = "dd if=/dev/zero of=/dev/null bs=128M count=1; exit 3"
        run("docker", "run", "-m", "64m", "--name", "parent", "busybox", "sh", "-c", script, status=3)
        self.assertTrue(state("parent")["OOMKilled"])

    def test_oom_is_an_event(self):
        since = f"{time.time():.6f}"
        run("docker", "run", "-m", "64m", "--name", "dying", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1", status=137)
        time.sleep(1)
        text = run("docker", "events", "--since", since, "--until", f"{time.time() + 1:.0f}", "--filter", "container=dying")
        actions = [line.split()[2] for line in text.splitlines() if line.split()[1] == "container"]
        self.assertEqual([action for action in actions if action in ("oom", "die")], ["oom", "die"])

    def test_storage_size(self):
        fill = "dd if=/dev/zero of=%s/big bs=1M count=40 2>/dev/null; ls -l %s/big | awk '{print $5}'"

        def filled(name, path=""):
            return int(run("docker", "exec", name, "sh", "-c", fill % (path, path)))
        run("docker", "volume", "create", "--opt", "size=10m", "small")
        self.addCleanup(run, "docker", "volume", "rm", "small")
        run("docker", "run", "-d", "--name", "limited", "--storage-opt", "size=20m", "-v", "small:/small", "busybox", "sleep", "1000")
        run("docker", "run", "-d", "--name", "other", "--storage-opt", "size=30M", "busybox", "sleep", "1000")
        run("docker", "run", "-d", "--name", "free", "busybox", "sleep", "1000")
        self.assertEqual(run("docker", "exec", "limited", "df", "-k", "/").split()[8], "20480")
        self.assertTrue(20 * MEBI < filled("other") <= 30 * MEBI)
        self.assertEqual(filled("free"), 40 * MEBI)
        for _ in range(2):
            self.assertLessEqual(filled("limited"), 20 * MEBI)
            self.assertGreater(filled("limited"), 15 * MEBI)
            run("docker", "restart", "-t", "0", "limited")
        self.assertTrue(5 * MEBI < filled("limited", "/small") <= 10 * MEBI)
        run("docker", "exec", "limited", "rm", "/big")
        self.assertEqual(run("docker", "exec", "limited", "sh", "-c", "echo all >>/etc/passwd; tail -n 1 /etc/passwd"), "all\n")

    def test_storage_size_of_one_that_is_removed_at_its_end(self):
        """Its work directory is a new one in each run, and a file of the image is still moved up."""
        run("docker", "run", "-d", "--rm", "--name", "fleeting", "--storage-opt", "size=20m", "busybox", "sleep", "1000")
        run("docker", "restart", "-t", "0", "fleeting")
        self.assertEqual(run("docker", "exec", "fleeting", "sh", "-c", "echo all >>/etc/passwd; tail -n 1 /etc/passwd"), "all\n")
        size = int(run("docker", "exec", "fleeting", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=40 2>/dev/null; stat -c %s /big"))
        self.assertTrue(15 * MEBI < size <= 20 * MEBI, size)

    def test_storage_size_refused(self):
        for value, text in (("size=much", "invalid size: 'much'"), ("odd=1", "Unknown option odd")):
            result = subprocess.run(["docker", "create", "--storage-opt", value, "busybox"], capture_output=True, check=False)
            self.assertIn(text, result.stderr.decode())

    def test_daemon_reload(self):
        """What systemd writes again on a reload is what was there."""
        limits = ("-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m", "--cpus", "0.5", "--pids-limit", "20", "--blkio-weight", "300",
                  "--cpuset-cpus", "0")
        identity, unit, group = self.start(*limits, "busybox", "sleep", "1000")
        run("docker", "update", "--pids-limit", "33", "-m", "80m", identity)
        scope = os.path.dirname(group)
        names = ("memory.max", "memory.high", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight", "cpuset.cpus", "pids.max", "io.max", "io.weight",
                 "io.bfq.weight", "cgroup.subtree_control", "cgroup.procs")

        def look():
            return {path: open(path, encoding="ascii").read() for folder in (scope, group, scope + "/monitor") for name in names
                    for path in [f"{folder}/{name}"] if os.path.exists(path)}

        before = look()
        self.assertGreater(len(before), 6)
        # The scope has room for the monitor.
        self.assertEqual([before[path] for path in (group + "/pids.max", scope + "/pids.max", scope + "/memory.max")], ["33\n", "41\n", "83886080\n"])
        # A reload takes seconds in here; test_many.py does a hundred.
        with open("/var/lib/vm/reloads", encoding="ascii") as file:
            reloads = int(file.read())
        subprocess.run(["sh", "-ec", f"for i in $(seq {reloads}); do systemctl daemon-reload; done"], check=True, timeout=40 * reloads)
        self.assertEqual(look(), before)
        self.assertIn("MemoryMax=83886080", run("systemctl", "show", unit, "-p", "MemoryMax"))

    def test_limits_are_visible(self):
        limits = ("-m", "64m", "--cpus", "0.5", "--pids-limit", "20")
        identity, unit, group = self.start(*limits, "--name", "limited", "busybox", "sleep", "1000")
        properties = "MemoryMax,MemorySwapMax,CPUQuotaPerSecUSec,TasksMax,Slice,Delegate,ActiveState"
        shown = dict(line.split("=", 1) for line in run("systemctl", "show", unit, "-p", properties).splitlines())
        with self.subTest("systemctl show"):
            self.assertEqual(shown, {
                "MemoryMax": str(64 * MEBI), "MemorySwapMax": str(64 * MEBI), "CPUQuotaPerSecUSec": "500ms",
                "TasksMax": shown["TasksMax"], "Slice": "berth.slice", "Delegate": "yes", "ActiveState": "active"})
            # Room for the monitor beside the container's own.
            self.assertIn(int(shown["TasksMax"]), range(20, 30))
        files = {"memory.max": str(64 * MEBI), "memory.swap.max": str(64 * MEBI), "cpu.max": "50000 100000", "pids.max": "20"}
        for name, wanted in files.items():
            with self.subTest("payload", file=name):
                with open(f"{group}/{name}", encoding="ascii") as file:
                    self.assertEqual(file.read().strip(), wanted)
            with self.subTest("in the container", file=name):
                inside = run("docker", "run", "--rm", *limits, "busybox", "cat", f"/sys/fs/cgroup/{name}")
                self.assertEqual(inside.strip(), wanted)
        host = json.loads(run("docker", "inspect", "limited"))[0]["HostConfig"]
        self.assertEqual((host["Memory"], host["NanoCpus"], host["PidsLimit"]), (64 * MEBI, 500000000, 20))

    def test_update(self):
        """Live, by both clients: the scope, the payload's files, the record; kept by a reload of systemd and the next start."""
        for client in CLIENTS:
            identity, unit, group = self.start_by(client, "-m", "64m", "--cpus", "0.5", "--pids-limit", "20", "busybox", "sleep", "1000")

            def files(**wanted):
                for name, value in wanted.items():
                    with open(f"{group}/{name.replace('_', '.')}", encoding="ascii") as file:
                        self.assertEqual((name, file.read().strip()), (name, value))

            changes = ("--memory", "96m", "--memory-swap", "128m", "--cpus", "1.5", "--pids-limit", "40", "--memory-reservation", "32m",
                       "--cpuset-cpus", "0", "--cpu-shares", "2048")
            self.assertEqual(run(client, "update", *changes, identity).strip(), identity)
            wanted = {"memory_max": str(96 * MEBI), "memory_swap_max": str(32 * MEBI), "cpu_max": "150000 100000", "pids_max": "40",
                      "memory_low": str(32 * MEBI), "cpuset_cpus": "0", "cpu_weight": "79"}
            files(**wanted)
            properties = "MemoryMax,MemorySwapMax,CPUQuotaPerSecUSec,MemoryLow"
            shown = dict(line.split("=", 1) for line in run("systemctl", "show", unit, "-p", properties).splitlines())
            self.assertEqual(shown, {"MemoryMax": str(96 * MEBI), "MemorySwapMax": str(32 * MEBI), "CPUQuotaPerSecUSec": "1.500000s",
                                     "MemoryLow": str(32 * MEBI)})
            run("systemctl", "daemon-reload")
            files(**wanted)
            host = json.loads(run("docker", "inspect", identity))[0]["HostConfig"]
            self.assertEqual((host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"], host["CpusetCpus"]),
                             (96 * MEBI, 128 * MEBI, 1500000000, 40, "0"))
            run(client, "update", "--memory-swap", "-1", "--pids-limit", "-1", identity)
            files(memory_swap_max="max", pids_max="max", memory_max=str(96 * MEBI))
            run(client, "restart", "-t", "0", identity)
            files(memory_swap_max="max", memory_max=str(96 * MEBI), cpu_max="150000 100000", cpuset_cpus="0")
            run(client, "rm", "-f", identity)

    def test_quota(self):
        """Quota, period and memory nodes, at the start and updated."""
        for client in CLIENTS:
            identity, _, group = self.start_by(client, "--cpu-period", "50000", "--cpu-quota", "20000", "--cpuset-mems", "0", "busybox",
                                               "sleep", "1000")

            def values(group=group):
                with open(f"{group}/cpu.max", encoding="ascii") as quota, open(f"{group}/cpuset.mems", encoding="ascii") as nodes:
                    return quota.read().strip(), nodes.read().strip()

            self.assertEqual(values(), ("20000 50000", "0"))
            run(client, "update", "--cpu-period", "40000", "--cpu-quota", "10000", "--cpuset-mems", "0", identity)
            self.assertEqual(values(), ("10000 40000", "0"))
            run(client, "rm", "-f", identity)

    def test_update_refused(self):
        """What one part refuses changes nothing: the record, the scope and the files stay as they were."""
        identity, unit, group = self.start("-m", "64m", "busybox", "sleep", "1000")
        before = run("systemctl", "show", unit, "-p", "MemoryMax,CPUQuotaPerSecUSec"), open(f"{group}/memory.max", encoding="ascii").read()
        for options in (("--memory", "1m"), ("--cpus", "99"), ("--memory", "256m"), ("--cpuset-cpus", "77")):
            result = subprocess.run(["docker", "update", *options, identity], capture_output=True, check=False)
            self.assertNotEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual((run("systemctl", "show", unit, "-p", "MemoryMax,CPUQuotaPerSecUSec"),
                          open(f"{group}/memory.max", encoding="ascii").read()), before)
        self.assertEqual(json.loads(run("docker", "inspect", identity))[0]["HostConfig"]["Memory"], 64 * MEBI)

    def test_block_devices(self):
        """Weights and rates, as systemd and the group have them. The disk is the only one there is."""
        limits = ("--device-read-bps", "/dev/vda:1mb", "--device-write-bps", "/dev/vda:2mb", "--device-read-iops", "/dev/vda:300",
                  "--device-write-iops", "/dev/vda:400", "--cpuset-cpus", "0", "--cpu-shares", "512", "--memory-reservation", "32m")
        _, unit, group = self.start_by("berth", *limits, "busybox", "sleep", "1000")
        node = os.stat("/dev/vda").st_rdev
        with open(f"{group}/io.max", encoding="ascii") as file:
            self.assertEqual(file.read().split(), [f"{os.major(node)}:{os.minor(node)}", "rbps=1048576", "wbps=2097152", "riops=300", "wiops=400"])
        for name, wanted in (("cpuset.cpus", "0"), ("memory.low", str(32 * MEBI)), ("cpu.weight", "20")):
            with open(f"{group}/{name}", encoding="ascii") as file:
                self.assertEqual(file.read().strip(), wanted)
        properties = "IOReadBandwidthMax,IOWriteBandwidthMax,IOReadIOPSMax,IOWriteIOPSMax,MemoryLow"
        shown = dict(line.split("=", 1) for line in run("systemctl", "show", unit, "-p", properties).splitlines())
        self.assertEqual(shown, {"IOReadBandwidthMax": "/dev/vda 1048576", "IOWriteBandwidthMax": "/dev/vda 2097152",
                                 "IOReadIOPSMax": "/dev/vda 300", "IOWriteIOPSMax": "/dev/vda 400", "MemoryLow": str(32 * MEBI)})

    def test_weights(self):
        """Of block devices: 10 to 1000 are 1 to 10000 of the kernel's. That of one device wants a controller that is switched on."""
        node = os.stat("/dev/vda").st_rdev
        device = f"{os.major(node)}:{os.minor(node)}"
        for switched in (False, True):
            if switched:
                with open("/sys/fs/cgroup/io.cost.qos", "w", encoding="ascii") as file:
                    file.write(f"{device} enable=1")
            for client in CLIENTS:
                identity, unit, group = self.start_by(client, "--blkio-weight", "300", "--blkio-weight-device", "/dev/vda:200", "busybox",
                                                      "sleep", "1000")

                def weights(group=group):
                    with open(f"{group}/io.weight", encoding="ascii") as file:
                        return dict(line.split() for line in file)

                self.assertEqual(weights(), {"default": "2930"} | ({device: "1920"} if switched else {}))
                shown = run("systemctl", "show", unit, "-p", "IOWeight,IODeviceWeight").splitlines()
                self.assertEqual(sorted(shown), ["IODeviceWeight=/dev/vda 1920", "IOWeight=2930"])
                run(client, "update", "--blkio-weight", "500", identity)
                self.assertEqual(weights()["default"], "4950")
                run("systemctl", "daemon-reload")
                self.assertEqual(weights()["default"], "4950")
                self.assertEqual(json.loads(run("docker", "inspect", identity))[0]["HostConfig"]["BlkioWeight"], 500)
                run(client, "rm", "-f", identity)

    def test_stats(self):
        """What the API says lies between what the files said before and after."""
        program = "dd if=/dev/zero of=/written bs=1M count=3 conv=fsync; dd if=/dev/zero bs=20M count=1 | sleep 1000"
        identity, _, group = self.start("-m", "64m", "--pids-limit", "20", "busybox", "sh", "-c", program)
        wait_for("20 MB", lambda: read_keys(f"{group}/memory.stat")["anon"] > 20 * MEBI)

        def look():
            with open(f"{group}/io.stat", encoding="ascii") as file:
                written = sum(int(word[7:]) for line in file for word in line.split() if word.startswith("wbytes="))
            return {"cpu": 1000 * read_keys(f"{group}/cpu.stat")["usage_usec"], "written": written, "pids": read_number(f"{group}/pids.current"),
                    "memory": read_number(f"{group}/memory.current"), "anon": read_keys(f"{group}/memory.stat")["anon"]}

        before = look()
        stats = get(f"/containers/{identity}/stats?stream=0&one-shot=1")
        after = look()
        said = {"cpu": stats["cpu_stats"]["cpu_usage"]["total_usage"], "pids": stats["pids_stats"]["current"],
                "written": sum(item["value"] for item in stats["blkio_stats"]["io_service_bytes_recursive"] if item["op"].lower() == "write"),
                "memory": stats["memory_stats"]["usage"], "anon": stats["memory_stats"]["stats"]["anon"]}
        for key, value in said.items():
            with self.subTest(key):
                slack = MEBI if key in ("memory", "anon") else 0
                self.assertGreaterEqual(value, min(before[key], after[key]) - slack)
                self.assertLessEqual(value, max(before[key], after[key]) + slack)
        self.assertGreaterEqual(said["written"], 3 * MEBI)
        self.assertGreater(said["cpu"], 0)
        self.assertEqual((stats["memory_stats"]["limit"], stats["pids_stats"]["limit"]), (64 * MEBI, 20))
        self.assertEqual(read_number(f"{group}/memory.max"), 64 * MEBI)

    def test_freezer(self):
        """A paused container uses no time, and goes on where it was."""
        for client in CLIENTS:
            identity, _, group = self.start_by(client, "busybox", "sh", "-c", "while :; do :; done")

            def used(group=group):
                return read_keys(f"{group}/cpu.stat")["usage_usec"]

            run(client, "pause", identity)
            self.assertEqual(read_keys(f"{group}/cgroup.events")["frozen"], 1)
            self.assertEqual((state(identity)["Status"], state(identity)["Paused"]), ("paused", True))
            before = used()
            time.sleep(1)
            self.assertEqual(used(), before)
            run(client, "exec", identity, "true", status=1)
            run(client, "unpause", identity)
            self.assertEqual(read_keys(f"{group}/cgroup.events")["frozen"], 0)
            wait_for("time used again", lambda used=used, before=before: used() > before)
            self.assertEqual(state(identity)["Status"], "running")
            run(client, "rm", "-f", identity)

    def test_refused_limits(self):
        for options, wanted in ((("--cpus", "99"), "Range of CPUs is from 0.01 to"), (("--blkio-weight", "5"), "Range of blkio weight is from 10 to 1000"),
                                (("--cpuset-cpus", "77"), "Requested CPUs are not available"), (("--cpuset-cpus", "x"), "Invalid value x for cpuset cpus"),
                                (("--cpu-quota", "10"), "CPU cfs quota can not be less than 1ms"), (("--cpu-period", "10"), "CPU cfs period can not be less than"),
                                (("-m", "64m", "--memory-swap", "32m"), "Minimum memoryswap limit should be larger than memory limit"),
                                (("-m", "64m", "--memory-reservation", "128m"), "Minimum memory limit can not be less than memory reservation limit")):
            result = subprocess.run(["docker", "create", *options, "busybox"], capture_output=True, check=False)
            self.assertIn(wanted, result.stderr.decode())

    def test_fork_bomb(self):
        # The shell that is refused a fork gives up; the first process, which forks no more, goes on.
        bomb = "(while :; do sleep 1000 & done) & exec sleep 1000"
        _, _, group = self.start("--pids-limit", "20", "--name", "bomb", "busybox", "sh", "-c", bomb)

        def refusals():
            with open(f"{group}/pids.events", encoding="ascii") as file:
                return int(file.read().split()[1])

        wait_for("a fork that was refused", lambda: refusals() > 0)
        with open(f"{group}/pids.current", encoding="ascii") as file:
            self.assertLessEqual(int(file.read()), 20)
        run("docker", "rm", "-f", "bomb")
        self.assertFalse(os.path.exists(group))

    def test_systemd_shows_the_processes(self):
        identity, unit, _ = self.start("--name", "shown", "busybox", "sleep", "4321")
        for command in (("systemctl", "status", "--no-pager", "-l", unit), ("systemd-cgls", "--no-pager", "-l", "-u", "berth.slice")):
            with self.subTest(command=command):
                shown = run(*command)
                for wanted in ("sleep 4321", "berth-monitor", "payload"):
                    self.assertIn(wanted, shown)
        self.assertIn("running", run("systemctl", "list-units", "--no-legend", "berth-*.scope"))
        mounts = run("findmnt", "-rn", "-t", "overlay", "-o", "TARGET,OPTIONS")
        line = [line for line in mounts.splitlines() if identity in line]
        self.assertEqual(len(line), 1, mounts)
        for wanted in ("lowerdir=", "upperdir=", "workdir="):
            self.assertIn(wanted, line[0])
        run("docker", "rm", "-f", "shown")
        self.assertNotIn(identity, run("findmnt", "-rn", "-o", "TARGET"))
        wait_for("the scope's end", lambda: run("systemctl", "list-units", "--no-legend", "--all", unit) == "")


if __name__ == "__main__":
    unittest.main(verbosity=2, testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
