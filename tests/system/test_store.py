#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What may happen to the store, on a booted host: damage, which `berthd --check` tells of; the daemon or a worker killed at
any moment of a pull, load, commit, removal or prune; a full disk. BERTH_KILLS is how many are killed (BERTH_SEED chooses
when)."""
import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
import unittest

import registry_servers as registries
from hosted import BERTH, call, daemon_pid, remove_all, run, store_rests, wait_until
from trees import LAYERS, STORE, check, inspect

KILLS = int(os.environ.get("BERTH_KILLS", "15"))
SEED = int(os.environ.get("BERTH_SEED", "1"))
REGISTRY = "127.0.0.1:5000"
BERTHD = "/usr/libexec/berth/berthd"
ASIDE = STORE + "/aside"


def faults():
    """What is wrong with the store, while the daemon rests."""
    return subprocess.run((BERTHD, "--check"), stdout=subprocess.PIPE, check=False).stdout.decode().splitlines()[:-1]


class Damage:
    """One change of a file, and how it is undone."""

    def __init__(self, what, path, change, undo=None):
        self.what, self.path, self.change, self.undo = what, path, change, undo

    def __enter__(self):
        self.parent = os.path.dirname(self.path)
        self.kept = {path: os.lstat(path) for path in (self.path, self.parent) if os.path.lexists(path)}
        self.change(self.path)

    def __exit__(self, *_):
        if self.undo:
            self.undo(self.path)
        for path, st in self.kept.items():
            now = os.lstat(path)
            # A chown takes capabilities away, too.
            if (now.st_uid, now.st_gid) != (st.st_uid, st.st_gid):
                os.chown(path, st.st_uid, st.st_gid)
            if now.st_mode != st.st_mode:
                os.chmod(path, st.st_mode & 0o7777)
            os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns), follow_symlinks=False)


def write(data):
    def change(path):
        with open(path, "w", encoding="ascii") as file:
            file.write(data)
    return change


def flip(path):
    with open(path, "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))


def aside(path):
    os.rename(path, ASIDE)


def back(path):
    os.rename(ASIDE, path)


class TestCheck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("berth", "load", "-q", "-i", "/root/layers.tar")
        cls.layers = [f"{LAYERS}/{diff_id[7:27]}" for diff_id in inspect("layers")["RootFS"]["Layers"]]
        check()

    @classmethod
    def tearDownClass(cls):
        run("berth", "rmi", "-f", "layers")

    def damages(self):
        one, three = self.layers[1], self.layers[3]
        image = inspect("layers")["Id"][7:]
        run("systemctl", "stop", "berth.service")
        return (
            Damage("fs/extra: belongs to nothing", one + "/fs/extra", write("x"), os.unlink),
            Damage("fs/data/extra: belongs to nothing", one + "/fs/data/extra", os.mkdir, os.rmdir),
            Damage("its tar cannot be written again", one + "/fs/data/kept", aside, back),
            Damage("fs/link: is missing", one + "/fs/link", aside, back),
            Damage("its tar has the digest", one + "/fs/data/kept", flip, flip),
            Damage("fs/data/kept: has another mode", one + "/fs/data/kept", lambda path: os.chmod(path, 0o4644)),
            Damage("fs/data: has another mode", one + "/fs/data", lambda path: os.chmod(path, 0o777)),
            Damage("fs: has another mode", one + "/fs", lambda path: os.chmod(path, 0o700)),
            Damage("fs/data/kept: has another owner", one + "/fs/data/kept", lambda path: os.chown(path, 7, 0)),
            Damage("fs/data/kept: has another time", one + "/fs/data/kept", lambda path: os.utime(path, (1, 1))),
            Damage("fs/data/hard-b: has other links", one + "/fs/data/hard-b",
                   lambda path: (aside(path), shutil.copy2(ASIDE, path)), lambda path: (os.unlink(path), back(path))),
            Damage("fs/link: leads elsewhere", one + "/fs/link", lambda path: (aside(path), os.symlink("/etc/passwd", path)),
                   lambda path: (os.unlink(path), back(path))),
            Damage("fs/link: is of another kind", one + "/fs/link", lambda path: (aside(path), os.mkfifo(path)),
                   lambda path: (os.unlink(path), back(path))),
            Damage("fs/null: is another device", three + "/fs/null",
                   lambda path: (aside(path), os.mknod(path, 0o20666, os.makedev(1, 5)), os.chmod(path, 0o666)),
                   lambda path: (os.unlink(path), back(path))),
            Damage("fs/attributes: has other attributes", three + "/fs/attributes",
                   lambda path: os.setxattr(path, "user.berth", b"other"), lambda path: os.setxattr(path, "user.berth", b"value")),
            Damage("fs/capable: has other attributes", three + "/fs/capable", lambda path: os.setxattr(path, "user.more", b"x"),
                   lambda path: os.removexattr(path, "user.more")),
            Damage("/odd: belongs to nothing", one + "/odd", write("x"), os.unlink),
            Damage("/layer.json: has the mode 644", one + "/layer.json", lambda path: os.chmod(path, 0o644)),
            Damage("/headers.zst: belongs to 7:0", one + "/headers.zst", lambda path: os.chown(path, 7, 0)),
            Damage("its tar cannot be written again", one + "/headers.zst", flip, flip),
            Damage(": has the mode 755", one, lambda path: os.chmod(path, 0o755)),
            Damage("holds the layer", LAYERS + "/" + "0" * 20, lambda path: run("cp", "-a", one, path), shutil.rmtree),
            Damage("its layer", one, aside, back),
            Damage("has the digest", f"{STORE}/image/blobs/sha256/{image}", flip, flip),
            Damage("is missing", f"{STORE}/image/blobs/sha256/{image}", aside, back),
            Damage("no image names it", f"{STORE}/image/blobs/sha256/{hashlib.sha256(b'x').hexdigest()}", write("x"), os.unlink),
            Damage(": has the mode 666", f"{STORE}/image/blobs/sha256/{image}", lambda path: os.chmod(path, 0o666)),
            Damage("has other links", f"{STORE}/image/blobs/sha256/{image}", lambda path: os.link(path, "/var/lib/berth/second"),
                   lambda path: os.unlink("/var/lib/berth/second")),
            Damage("there is no image", f"{STORE}/image/record/{image}.json", aside, back),
            Damage("image/record/.staged: belongs to nothing", f"{STORE}/image/record/.staged", write("x"), os.unlink),
            Damage("image/odd: belongs to nothing", STORE + "/image/odd", write("x"), os.unlink),
            Damage("image/blobs/md5: belongs to nothing", STORE + "/image/blobs/md5", os.mkdir, os.rmdir),
            Damage("image/references.json: has the mode", STORE + "/image/references.json", lambda path: os.chmod(path, 0o604)),
            Damage("staging/job-1: left over", STORE + "/staging/job-1", os.mkdir, os.rmdir),
        )

    def test_damage_is_told(self):
        for damage in self.damages():
            with self.subTest(f"{damage.what} {damage.path}"):
                with damage:
                    found = faults()
                self.assertTrue(any(damage.what in line for line in found), found)
                self.assertEqual(faults(), [])


class TestKills(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.registry = registries.Registry(5000)
        run("berth", "load", "-q", "-i", "/root/busybox.tar")
        layers = [registries.make_layer(seed, size) for seed, size in ((1, 3000000), (2, 100), (3, 6000000), (4, 50))]
        for count in (2, 4):
            registries.make_image(REGISTRY, "pulled", str(count), layers[:count])
        run("docker", "run", "--network", "none", "--name", "noise", "busybox", "sh", "-c",
            "dd if=/dev/urandom of=/noise bs=1024 count=8000 2>/dev/null; i=0; while [ $i -lt 300 ]; do echo $i > /$i; i=$((i+1)); done")

    @classmethod
    def tearDownClass(cls):
        cls.registry.stop()
        remove_all()
        for name in run("docker", "images", "-aq", "--no-trunc").split():
            run("docker", "rmi", "-f", name, status=None)
        check()

    def victims(self, dice):
        """The daemon, or one of what it forked, however deep."""
        pid = daemon_pid()
        with open("/sys/fs/cgroup/system.slice/berth.service/cgroup.procs", encoding="ascii") as file:
            workers = [line.strip() for line in file if line.strip() != pid]
        return dice.choice(workers) if workers and dice.random() < 0.5 else pid

    def one(self, dice, name, job):
        with subprocess.Popen(job, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
            time.sleep(dice.uniform(0, 0.3))
            try:
                victim = self.victims(dice)
            except FileNotFoundError:
                victim = "0"
            if victim != "0":
                try:
                    os.kill(int(victim), signal.SIGKILL)
                except ProcessLookupError:
                    victim = "0"
            client.wait(60)
        self.killed[name] = self.killed.get(name, 0) + (victim != "0")
        # A new start mends what is left, also of a worker that was killed while it emptied the trash.
        wait_until(lambda: call("GET", "/_ping").status == 200, 20, "an answer")
        run("systemctl", "stop", "berth.service")
        wait_until(lambda: call("GET", "/_ping").status == 200, 20, "an answer")
        self.assertIn(" 0 faults", check())
        run("systemctl", "reset-failed", "berth.service", status=None)

    def test_killed_at_any_moment(self):
        dice = random.Random(SEED)
        self.killed = {}
        jobs = {"pull": ["docker", "pull", "-q", "-a", f"{REGISTRY}/pulled"], "commit": ["docker", "commit", "noise", "kill"],
                "load": ["berth", "load", "-q", "-i", "/root/layers.tar"],
                "rmi": ["docker", "rmi", "-f", "kill", "layers", f"{REGISTRY}/pulled:2", f"{REGISTRY}/pulled:4"],
                "prune": ["docker", "image", "prune", "-af"]}
        while sum(self.killed.values()) < KILLS:
            name = dice.choice(list(jobs))
            with self.subTest(f"{name}, seed {SEED}, {self.killed}"):
                self.one(dice, name, jobs[name])
        print(f"killed: {self.killed}", flush=True)
        # What was there before all that is whole, and what is not there can be had.
        self.assertEqual(run("docker", "run", "--rm", "--network", "none", "busybox", "echo", "well"), "well\n")
        for job in jobs.values():
            run(*job, status=None if "rmi" in job else 0)


class TestRemovers(unittest.TestCase):
    """What removes large trees for the daemon is killed: another goes on, while the same daemon runs and nobody asks for more."""
    FILES = 30000
    KILLS = 3

    @classmethod
    def setUpClass(cls):
        run("berth", "load", "-q", "-i", "/root/busybox.tar")

    def caught(self):
        """A process that removes something, held. Its parent ended at once."""
        daemon = daemon_pid()
        with open("/sys/fs/cgroup/system.slice/berth.service/cgroup.procs", encoding="ascii") as file:
            others = [line.strip() for line in file if line.strip() != daemon]
        for pid in others:
            try:
                with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                    if "\nPPid:\t1\n" not in file.read():
                        continue
                os.kill(int(pid), signal.SIGSTOP)
                return int(pid)
            except (FileNotFoundError, ProcessLookupError):
                pass
        return None

    def kill_removers(self, left, remove):
        """LEFT tells whether there is something to remove yet."""
        killed = 0
        # Somebody stays connected, so that the daemon goes on; and nobody asks it for anything.
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(BERTH)
            remove()
            daemon, end = daemon_pid(), time.monotonic() + 60
            while killed < self.KILLS and left() and time.monotonic() < end:
                pid = self.caught()
                if pid is None:
                    continue
                killed += left()
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not left(), 30, "nothing left")
            self.assertEqual(daemon_pid(), daemon)
        self.assertGreater(killed, 0, "all was removed before anybody could be killed")

    def archive(self):
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode="w") as archive:
            for number in range(self.FILES):
                archive.addfile(tarfile.TarInfo(f"{number % 100}/{number}"))
        return output.getvalue()

    def test_image(self):
        run("docker", "import", "-", "many:1", data=self.archive())
        self.kill_removers(lambda: not store_rests(), lambda: run("docker", "rmi", "many:1"))
        self.assertIn(" 0 faults", check())

    def test_container_and_volume(self):
        run("docker", "volume", "create", "many")
        self.addCleanup(run, "docker", "volume", "rm", "-f", "many")
        script = f"for d in /many /volume; do i=0; while [ $i -lt {self.FILES // 3} ]; do : >$d/$i; i=$((i+1)); done; done"
        run("docker", "run", "--network", "none", "--name", "many", "-v", "many:/volume", "busybox", "sh", "-c", "mkdir /many; " + script,
            timeout=120)
        container = run("docker", "inspect", "-f", "{{.Id}}", "many").strip()
        self.kill_removers(lambda: os.path.exists(f"{STORE}/container/{container}"), lambda: run("docker", "rm", "many"))
        self.kill_removers(lambda: bool(os.listdir(STORE + "/volume/.trash")), lambda: run("docker", "volume", "rm", "many"))


class Second:
    """A daemon of its own on a small disk."""

    SOCKET = "/run/berth-full.sock"

    def __init__(self, size):
        self.root = tempfile.mkdtemp(prefix="full-", dir="/var/lib")
        run("mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", self.root)
        with open("/root/full.json", "w", encoding="ascii") as file:
            json.dump({"data-root": self.root, "exec-root": "/run/berth-full", "idle-timeout": -1}, file)
        self.start()

    def start(self):
        self.daemon = subprocess.Popen((BERTHD, "-c", "/root/full.json", "-l", f"unix://{self.SOCKET}"))
        wait_until(lambda: self.docker("version").returncode == 0, 10, "a second daemon")

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait(20)

    def close(self):
        self.daemon.kill()
        self.daemon.wait()
        run("umount", "-l", self.root, status=None)
        shutil.rmtree(self.root, ignore_errors=True)

    def docker(self, *arguments):
        return subprocess.run(("docker", "-H", f"unix://{self.SOCKET}", *arguments), capture_output=True, timeout=120, check=False)

    def used(self):
        wait_until(lambda: store_rests(self.root), 15, "a store at rest", 0.05)
        return shutil.disk_usage(self.root).used

    def check(self):
        self.stop()
        found = subprocess.run((BERTHD, "-c", "/root/full.json", "--check"), stdout=subprocess.PIPE, check=False).stdout.decode()
        self.start()
        return found


class TestFullDisk(unittest.TestCase):
    """A job whose disk is full says so, and keeps no byte of what it made; what was there stays."""

    def setUp(self):
        self.second = Second(6000)
        self.addCleanup(self.second.close)
        self.assertEqual(self.second.docker("load", "-q", "-i", "/root/busybox.tar").returncode, 0)

    def refused(self, *arguments):
        before = self.second.used()
        result = self.second.docker(*arguments)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        self.assertIn(b"o space left on device", result.stderr + result.stdout)
        self.assertLess(self.second.used() - before, 65536)
        self.assertIn(" 0 faults", self.second.check())
        self.assertEqual(self.second.docker("images", "--format", "{{.Repository}}").stdout, b"busybox\n")

    def test_load(self):
        self.refused("load", "-i", "/root/debian.tar")

    def test_pull(self):
        registry = registries.Registry(5000)
        self.addCleanup(registry.stop)
        registries.make_image(REGISTRY, "large", "1", [registries.make_layer(1, 1000000), registries.make_layer(2, 9000000)])
        self.refused("pull", f"{REGISTRY}/large:1")
        registries.make_image(REGISTRY, "small", "1", [registries.make_layer(3, 100000)])
        self.assertEqual(self.second.docker("pull", "-q", f"{REGISTRY}/small:1").returncode, 0)

    def test_commit(self):
        script = "dd if=/dev/urandom of=/noise bs=1024 count=2400 2>/dev/null"
        result = self.second.docker("run", "--network", "none", "--name", "noise", "busybox", "sh", "-c", script)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.refused("commit", "noise", "committed")
        self.second.docker("rm", "noise")
        result = self.second.docker("run", "--network", "none", "--name", "noise", "busybox", "sh", "-c", "echo x > /x")
        self.assertEqual(self.second.docker("commit", "noise", "committed").returncode, 0)
        self.assertIn(" 0 faults", self.second.check())


if __name__ == "__main__":
    unittest.main(verbosity=2)
