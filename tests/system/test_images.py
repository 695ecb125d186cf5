#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images made of containers, saved, loaded, exported and pruned, on a booted host; with dockerd and skopeo beside Berth where
the host has them. Every test ends with a store that `berthd --check` finds nothing wrong with."""
import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
import unittest

import hosted
from hosted import REFERENCE, Terminal, call, remove_all, run, start_reference, wait_until
from trees import ODD_TREE, check, decorate, describe, inspect, layer_tree


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("berth", "load", "-i", "/root/busybox.tar")

    def tearDown(self):
        remove_all()
        for name in ("commit_test:first", "commit_test:second", "odd", "again", "imported"):
            run("berth", "rmi", "-f", name, status=None)
        run("docker", "image", "prune", "-f")
        self.assertIn(" 0 faults", check())

    def make_odd(self):
        run("docker", "run", "-d", "--name", "odd", "busybox", "sh", "-c", ODD_TREE + "touch /done; sleep 1000")
        upper = json.loads(run("docker", "inspect", "odd"))[0]["GraphDriver"]["Data"]["UpperDir"]
        wait_until(lambda: os.path.exists(upper + "/done"), 20, "the tree")
        decorate(upper)
        return upper

    def sequence(self, client):
        """Two containers on a terminal, two commits; what the client lists of the three images."""
        for source, container, target, line in (("debian:13", "commit_test", "commit_test:first", "test_first!! >> first"),
                                                ("commit_test:first", "commit_test2", "commit_test:second",
                                                 "test_second!! >> second")):
            terminal = Terminal(client, "run", "-it", "--name", container, source)
            terminal.expect("# ")
            terminal.type("set +H\r")
            terminal.expect("# ")
            terminal.type(f"echo {line}; echo $?-done\r")
            terminal.expect("0-done")
            terminal.type("exit\r")
            self.assertEqual(terminal.status(), 0)
            image = run(client, "commit", "-a", "author", "-m", "commit_message", container, target).strip()
            self.assertRegex(image, "^sha256:[0-9a-f]{64}$")
            self.assertEqual(run(client, "image", "inspect", "-f", "{{.Id}}", target).strip(), image)
        return self.listed(client)

    def listed(self, client):
        names = ("debian:13", "commit_test:first", "commit_test:second")
        return [json.loads(run(client, "inspect", "-f", "{{json .RootFS.Layers}}", name)) for name in names]

    def test_commits_in_a_row(self):
        """The sequence that both clients are to do alike."""
        run("berth", "load", "-q", "-i", "/root/debian.tar")
        self.addCleanup(run, "berth", "rmi", "-f", "debian:13", "debian:trixie")
        self.before = self.listed_images()
        for client in ("docker", "berth"):
            with self.subTest(client):
                layers = self.sequence(client)
                self.assertEqual([len(found) for found in layers], [1, 2, 3])
                self.assertEqual((layers[1][:1], layers[2][:2]), (layers[0], layers[1]))
                self.assertEqual(self.listed("docker"), self.listed("berth"))
                found = inspect("commit_test:first")
                self.assertEqual((found["Author"], found["Comment"]), ("author", "commit_message"))
                for name in ("first", "second"):
                    steps = [run(c, "history", "--no-trunc", "--format", "{{.ID}} {{.Size}} {{.Comment}}", f"commit_test:{name}")
                             for c in ("docker", "berth")]
                    self.assertEqual(*steps)
                    self.assertIn("commit_message", steps[0])
                # Nothing but what changed: the new file, and what bash left.
                self.assertIn("first", os.listdir(layer_tree("commit_test:first")))
                self.assertLessEqual(set(os.listdir(layer_tree("commit_test:second"))), {"second", "root"})
                run(client, "rm", "commit_test", "commit_test2")
                self.assertEqual(run(client, "rmi", "commit_test:first").splitlines(), ["Untagged: commit_test:first"])
                self.assertEqual(run(client, "run", "--rm", "commit_test:second", "cat", "/first", "/second"),
                                 "test_first!!\ntest_second!!\n")
                lines = run(client, "rmi", "commit_test:second").splitlines()
                self.assertEqual((lines[0], len(lines)), ("Untagged: commit_test:second", 5), lines)
                self.assertEqual(self.listed_images(), sorted(self.before))

    def listed_images(self):
        return sorted(run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").split())

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

    def test_image_removed_under_its_container(self):
        """What it is made of stays for the container, over restarts of the daemon, and goes with it."""
        self.make_odd()
        run("docker", "commit", "odd", "odd")
        tree, image = layer_tree("odd"), inspect("odd")["Id"]
        run("docker", "rm", "-f", "odd")
        for again in (False, True):
            if again:
                run("docker", "load", "-q", "-i", "/tmp/gone.tar")
            else:
                run("docker", "save", "-o", "/tmp/gone.tar", "odd")
            run("docker", "create", "--name", "user", "odd", "cat", "/odd/first")
            run("docker", "rmi", "-f", "odd")
            self.assertEqual(run("docker", "images", "-aq", "--no-trunc", "--filter", "reference=odd"), "")
            self.assertNotIn(image, run("docker", "images", "-aq", "--no-trunc"))
            self.assertIn(" 0 faults", check())
            self.assertEqual(run("docker", "start", "-a", "user"), "one\n")
            run("docker", "commit", "user", "again")
            run("docker", "rmi", "again")
            self.assertTrue(os.path.exists(tree))
            self.assertNotIn("odd", run("docker", "image", "prune", "-af"))
            self.assertEqual(run("docker", "start", "-a", "user"), "one\n")
            run("docker", "rm", "user")
            wait_until(lambda: not os.path.exists(tree), 10, "the layer to go")
            self.assertIn(" 0 faults", check())
            self.assertEqual([name for name in os.listdir("/var/lib/berth/image/record") if name.endswith(".removed")], [])
            run("berth", "load", "-q", "-i", "/root/busybox.tar")

    def test_tree(self):
        """Each image below what it is stacked upon, whether it was made here or comes from elsewhere."""
        for number, (source, name) in enumerate((("busybox", "tree:one"), ("tree:one", "tree:two"), ("busybox", "tree:side"))):
            run("docker", "run", "--name", f"tree{number}", "--network", "none", source, "sh", "-c",
                f"head -c {1000 * (number + 1)} /dev/zero > /{number}")
            run("docker", "commit", f"tree{number}", name)
            self.addCleanup(run, "docker", "rmi", "-f", name, status=None)
            time.sleep(1)  # the newest is the first, by the second
        run("docker", "tag", "tree:one", "tree:alias")
        self.addCleanup(run, "docker", "rmi", "-f", "tree:alias", status=None)
        # Saved and loaded again they are nobody's children, but for their layers.
        run("docker", "save", "-o", "/tmp/tree.tar", "tree:one", "tree:alias", "tree:two", "tree:side")
        wanted = [("├─ tree:side", "3kB"), ("└─ tree:alias", "1kB"), ("   │  tree:one", None), ("   └─ tree:two", "2kB")]
        for again in (False, True):
            lines = run("berth", "images", "--tree").splitlines()
            self.assertEqual(lines[0].split(), ["IMAGE", "IMAGE", "ID", "SIZE", "ADDED", "SHARED", "UNIQUE"])
            base = next(i for i, line in enumerate(lines) if line.startswith("busybox:latest"))
            for (name, added), line in zip(wanted, lines[base + 1:base + 5]):
                self.assertTrue(line.startswith(name + " "), lines)
                self.assertEqual(line[len(name):].split()[2:3], [added] if added else [], lines)
            size = f"{inspect('busybox')['Size'] / 1e6:.3g}MB"
            self.assertEqual(lines[base].split()[2:], [size, size, size, "0B"])
            self.assertEqual(lines[base + 4].split()[-1], "2kB")
            if not again:
                run("docker", "rm", "tree0", "tree1", "tree2")
                run("docker", "rmi", "-f", "tree:alias", "tree:side", "tree:two", "tree:one")
                run("docker", "load", "-i", "/tmp/tree.tar")
        os.unlink("/tmp/tree.tar")
        result = subprocess.run(("berth", "images", "--tree", "-q"), capture_output=True, check=False)
        self.assertEqual((result.returncode, result.stderr), (1, b"--quiet cannot be combined with --tree\n"))

    def test_frozen_no_longer_than_needed(self):
        self.make_odd()
        group = f"{hosted.SLICE}/{hosted.scopes()[0]}/payload"
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
