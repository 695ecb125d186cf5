#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images made of containers, saved, loaded, exported and pruned, on a booted host; with dockerd and skopeo beside Berth where
the host has them. Every test ends with a store that `berthd --check` finds nothing wrong with."""
import hashlib
import io
import json
import os
import random
import stat
import subprocess
import tarfile
import time
import unittest

from hosted import BERTH, REFERENCE, Terminal, call, daemon_pid, load_images, remove_all, run, start_reference, wait_until

STORE = "/var/lib/berth"
LAYERS = STORE + "/layer"
# What makes a tree of every kind of file, in a container.
ODD_TREE = r"""
mkdir /odd /odd/sub /odd/empty; chmod 2775 /odd/sub; chown 1234:5678 /odd/sub
echo one >/odd/first; ln /odd/first /odd/sub/second; ln -s ../../etc/passwd /odd/link; ln -s /nowhere/at/all /odd/broken
mkfifo /odd/fifo; mknod /odd/null c 1 3; mknod /odd/block b 7 200
dd if=/dev/urandom of=/odd/sparse bs=4096 count=1 seek=5000 2>/dev/null
cp /bin/busybox /odd/setuid; chmod 4755 /odd/setuid
long=$(printf '%0200d' 0); mkdir -p /odd/$long/$long; echo x >/odd/$long/$long/$long
printf y >"$(printf '/odd/not-\377-utf8')"; printf z >"/odd/new
line"; : >/odd/nothing
touch -d @-100 /odd/nothing; chown 3000000:4000000 /odd/first
rm /bin/ls; rm -rf /var/spool; mkdir /var/spool; echo s >/var/spool/s; echo more >>/etc/group
"""


def check():
    """The daemon rests, and nothing is wrong with what it keeps."""
    run("systemctl", "stop", "berth.service")
    wait_until(lambda: not any(name.startswith("trash-") for name in os.listdir(STORE + "/staging")), 20, "empty trash")
    return run("/usr/libexec/berth/berthd", "--check")


def describe(root):
    """All that can be known of the files of a tree, by path; hard links by who they are linked with."""
    seen, inodes = {}, {}
    for directory, names, files in os.walk(os.fsencode(root)):
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, os.fsencode(root))
            st = os.lstat(path)
            entry = {"mode": st.st_mode, "owner": (st.st_uid, st.st_gid), "device": st.st_rdev}
            entry["attributes"] = {key: os.getxattr(path, key, follow_symlinks=False)
                                   for key in sorted(os.listxattr(path, follow_symlinks=False))
                                   if not key.startswith("trusted.overlay.") or key == "trusted.overlay.opaque"}
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    entry["content"] = hashlib.sha256(file.read()).hexdigest()
                entry["size"] = st.st_size
                entry["sparse"] = st.st_blocks * 512 + 65536 < st.st_size
            if stat.S_ISLNK(st.st_mode):
                entry["target"] = os.readlink(path)
            if not (stat.S_ISCHR(st.st_mode) and st.st_rdev == 0):
                entry["time"] = st.st_mtime_ns
                if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode):
                    inodes.setdefault(st.st_ino, []).append(relative)
                    entry["links"] = inodes[st.st_ino]
            else:
                del entry["mode"], entry["owner"]
            seen[relative] = entry
    return seen


def inspect(name, socket=BERTH):
    return json.loads(run("docker", "-H", f"unix://{socket}", "image", "inspect", name))[0]


def layer_tree(name):
    return f"{LAYERS}/{inspect(name)['RootFS']['Layers'][-1][7:27]}/fs"


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()

    def tearDown(self):
        remove_all()
        for name in ("busybox:first", "busybox:second", "odd", "again", "imported", "kill"):
            run("berth", "rmi", "-f", name, status=None)
        run("docker", "image", "prune", "-f")
        self.assertIn(" 0 faults", check())

    def make_odd(self):
        run("docker", "run", "-d", "--name", "odd", "busybox", "sh", "-c", ODD_TREE + "touch /done; sleep 1000")
        upper = json.loads(run("docker", "inspect", "odd"))[0]["GraphDriver"]["Data"]["UpperDir"]
        wait_until(lambda: os.path.exists(upper + "/done"), 20, "the tree")
        os.setxattr(upper + "/odd/setuid", "user.note", b"\0binary\xff")
        os.setxattr(upper + "/odd/first", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
        os.setxattr(upper + "/odd/sub", "system.posix_acl_default",
                    bytes.fromhex("02000000 01000700ffffffff 02000500e8030000 04000500ffffffff 10000500ffffffff 20000500ffffffff"))
        os.utime(upper + "/odd/link", ns=(1, 1600000000123456789), follow_symlinks=False)
        return upper

    def test_commits_in_a_row(self):
        terminal = Terminal("docker", "run", "-it", "--name", "commit_test", "busybox", "sh")
        terminal.expect("# ")
        terminal.type("echo one >> /first; exit\r")
        self.assertEqual(terminal.status(), 0)
        run("docker", "commit", "-a", "somebody", "-m", "a first", "commit_test", "busybox:first")
        run("docker", "run", "--name", "second", "busybox:first", "sh", "-c", "echo two >> /first")
        run("docker", "commit", "second", "busybox:second")
        names = ["busybox:latest", "busybox:first", "busybox:second"]
        self.assertEqual([len(inspect(name)["RootFS"]["Layers"]) for name in names], [1, 2, 3])
        self.assertEqual((inspect(names[1])["Author"], inspect(names[1])["Comment"]), ("somebody", "a first"))
        self.assertEqual(run("docker", "run", "--rm", "busybox:second", "cat", "/first"), "one\ntwo\n")
        run("docker", "rm", "commit_test", "second")
        self.assertEqual(run("docker", "rmi", "busybox:first").splitlines(), ["Untagged: busybox:first"])
        self.assertEqual(run("docker", "run", "--rm", "busybox:second", "cat", "/first"), "one\ntwo\n")

    def test_nothing_changed(self):
        run("docker", "create", "--name", "odd", "busybox", "true")
        run("docker", "commit", "odd", "again")
        self.assertEqual(inspect("again")["RootFS"], inspect("busybox")["RootFS"])

    def test_commit_keeps_all(self):
        upper = self.make_odd()
        run("docker", "commit", "odd", "odd")
        want, found = describe(upper), describe(layer_tree("odd"))
        want.pop(b".dockerenv")
        for placeholder in (b"etc/hosts", b"etc/hostname", b"etc/resolv.conf"):
            want.pop(placeholder, None)
        self.assertEqual(found, want)
        self.assertTrue(found[b"odd/sparse"]["sparse"])

    def test_save_and_load(self):
        self.make_odd()
        run("docker", "commit", "odd", "odd")
        image, before = inspect("odd"), describe(layer_tree("odd"))
        run("docker", "save", "-o", "/tmp/odd.tar", "odd")
        with tarfile.open("/tmp/odd.tar") as archive:
            for diff_id in image["RootFS"]["Layers"]:
                data = archive.extractfile(f"blobs/sha256/{diff_id[7:]}").read()
                self.assertEqual("sha256:" + hashlib.sha256(data).hexdigest(), diff_id)
        run("docker", "rm", "-f", "odd")
        run("docker", "rmi", "odd")
        self.assertIn("Loaded image: odd:latest", run("docker", "load", "-i", "/tmp/odd.tar"))
        self.assertEqual(inspect("odd")["Id"], image["Id"])
        self.assertEqual(describe(layer_tree("odd")), before)

    def test_other_engines(self):
        if not start_reference():
            self.skipTest("no dockerd")
        self.make_odd()
        run("docker", "commit", "odd", "odd")
        run("docker", "save", "-o", "/tmp/odd.tar", "odd", "busybox")
        docker = ["docker", "-H", f"unix://{REFERENCE}"]
        run(*docker, "load", "-i", "/tmp/odd.tar")
        self.assertEqual(inspect("odd", REFERENCE)["Id"], inspect("odd")["Id"])
        script = "cat /odd/first /odd/sub/second /var/spool/s; test ! -e /bin/ls; stat -c '%n %a %u %g %s %F' /odd/* | sort"
        self.assertEqual(run("docker", "run", "--rm", "odd", "sh", "-c", script, text=False),
                         run(*docker, "run", "--rm", "odd", "sh", "-c", script, text=False))
        run(*docker, "save", "-o", "/tmp/theirs.tar", "odd")
        run("docker", "rm", "-f", "odd")
        run("docker", "rmi", "odd")
        run("docker", "load", "-i", "/tmp/theirs.tar")
        self.assertEqual(inspect("odd", REFERENCE)["RootFS"], inspect("odd")["RootFS"])
        if os.path.exists("/usr/bin/skopeo"):
            run("skopeo", "copy", "-q", "docker-archive:/tmp/odd.tar:odd:latest", "oci-archive:/tmp/oci.tar:odd:latest")
            run("docker", "load", "-i", "/tmp/oci.tar")

    def test_export_and_import(self):
        self.make_odd()
        data = run("docker", "export", "odd", text=False)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names = archive.getnames()
            self.assertEqual(archive.extractfile("odd/first").read(), b"one\n")
        self.assertNotIn("bin/ls", names)
        self.assertIn("bin/busybox", names)
        with open("/tmp/odd-export.tar", "wb") as file:
            file.write(data)
        run("docker", "import", "-c", 'CMD ["cat", "/odd/first"]', "-c", "ENV A=b", "/tmp/odd-export.tar", "imported")
        self.assertEqual(run("docker", "run", "--rm", "imported"), "one\n")
        self.assertEqual(inspect("imported")["Config"]["Env"], ["A=b"])

    def test_frozen_no_longer_than_needed(self):
        self.make_odd()
        group = subprocess.getoutput("ls -d /sys/fs/cgroup/berth.slice/berth-*.scope/payload")
        for pause in ("true", "false"):
            run("docker", "commit", f"--pause={pause}", "odd", "odd")
            with open(group + "/cgroup.freeze", encoding="ascii") as file:
                self.assertEqual(file.read().strip(), "0")
        self.assertEqual(os.listdir("/run/berth/frozen"), [])
        # As a killed daemon leaves it.
        with open("/run/berth/frozen/" + "0" * 64, "w", encoding="ascii") as file:
            file.write(group)
        with open(group + "/cgroup.freeze", "w", encoding="ascii") as file:
            file.write("1")
        run("systemctl", "stop", "berth.service")
        run("docker", "ps")
        with open(group + "/cgroup.freeze", encoding="ascii") as file:
            self.assertEqual(file.read().strip(), "0")

    def test_prune_and_usage(self):
        run("docker", "run", "--name", "odd", "busybox", "sh", "-c", "dd if=/dev/zero of=/zero bs=1024 count=1000 2>/dev/null")
        for _ in range(2):
            run("docker", "commit", "odd")
        answer = call("GET", "/v1.45/system/df").json()
        self.assertEqual([c["SizeRw"] for c in answer["Containers"]], [1024000])
        self.assertEqual(call("POST", "/v1.45/images/prune?filters=%7B%22label%22%3A%5B%22no%22%5D%7D").json(),
                         {"ImagesDeleted": None, "SpaceReclaimed": 0})
        answer = call("POST", "/v1.45/images/prune").json()
        self.assertGreaterEqual(len(answer["ImagesDeleted"]), 2)
        self.assertEqual(answer["SpaceReclaimed"], 1024000)
        self.assertEqual(call("POST", "/v1.45/images/prune?filters=%7B%22x%22%3A%5B%22no%22%5D%7D").message(), "invalid filter 'x'")

    def test_killed_at_any_moment(self):
        """A worker or the daemon is killed while images come and go; nothing is left over and nothing is missing."""
        dice = random.Random(int(os.environ.get("KILL_SEED", "1")))
        run("docker", "run", "--name", "odd", "busybox", "sh", "-c", "dd if=/dev/urandom of=/noise bs=1024 count=8000 2>/dev/null")
        jobs = (["docker", "commit", "odd", "kill"], ["berth", "load", "-q", "-i", "/root/debian.tar"],
                ["berth", "rmi", "-f", "kill", "debian:13"], ["docker", "image", "prune", "-f"])
        for _ in range(int(os.environ.get("KILL_ROUNDS", "24"))):
            with subprocess.Popen(dice.choice(jobs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
                time.sleep(dice.uniform(0, 0.4))
                pid = daemon_pid()
                children = subprocess.getoutput(f"cat /proc/{pid}/task/{pid}/children 2>/dev/null").split()
                victim = dice.choice(children) if children and dice.random() < 0.5 else pid
                if victim != "0":
                    run("kill", "-9", victim, status=None)
                job.wait(60)
            wait_until(lambda: call("GET", "/_ping").status == 200, 20, "an answer")
            self.assertIn(" 0 faults", check())
            run("systemctl", "reset-failed", "berth.service", status=None)


if __name__ == "__main__":
    unittest.main(verbosity=2)
