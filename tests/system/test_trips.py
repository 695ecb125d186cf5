#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tree of every kind of file on its way through docker-registry, archives and dockerd and back: an image keeps its ID, and the
tree all that can be known of it. BERTH_LARGE=1 sends a file of 9 GiB along, which takes minutes and 10 GiB of disk."""
import json
import os
import subprocess
import time
import unittest

import registry_servers as registries
from hosted import BERTH, REFERENCE, remove_all, run, start_reference, wait_until
from trees import CHANGED_TREE, LAYERS, ODD_TREE, check, decorate, describe, inspect, layer_tree, without

REGISTRY = "127.0.0.1:5000"
PLACES = (b".dockerenv", b"dev", b"proc", b"sys", b"etc/hosts", b"etc/hostname", b"etc/resolv.conf")


def docker(*arguments, server=BERTH, **options):
    return run("docker", "-H", f"unix://{server}", *arguments, **options)


def extents(path):
    """Where a sparse file has other data than zeros, and what, block by block."""
    found = []
    with open(path, "rb") as file:
        end = at = 0
        size = os.fstat(file.fileno()).st_size
        while end < size:
            try:
                at = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            data = file.read(end - at)
            found += [(at + i, data[i:i + 4096]) for i in range(0, len(data), 4096) if any(data[i:i + 4096])]
    return size, found


def trees_of(name):
    return [describe(f"{LAYERS}/{diff_id[7:27]}/fs") for diff_id in inspect(name)["RootFS"]["Layers"]]


def reference_trees(name):
    """dockerd's directories of an image's layers, the lowest first."""
    data = inspect(name, REFERENCE)["GraphDriver"]["Data"]
    paths = [data["UpperDir"], *data.get("LowerDir", "").split(":")]
    return [describe(path) for path in reversed([path for path in paths if path])]


class Trips(unittest.TestCase):
    maxDiff = 3000

    @classmethod
    def setUpClass(cls):
        run("berth", "load", "-q", "-i", "/root/busybox.tar")
        cls.registry = registries.Registry(5000)
        cls.reference = start_reference()

    @classmethod
    def tearDownClass(cls):
        cls.registry.stop()

    def tearDown(self):
        remove_all()
        for name in docker("images", "-aq", "--no-trunc").split():
            docker("rmi", "-f", name, status=None)
        run("berth", "load", "-q", "-i", "/root/busybox.tar")
        self.assertIn(" 0 faults", check())

    def corpus(self, server, name):
        """Two commits, and the directories that they were made of, described."""
        trees, base = [], "busybox"
        for number, script in enumerate((ODD_TREE, CHANGED_TREE)):
            container, image = f"corpus{number}", f"{name}:{number}"
            docker("run", "-d", "--network", "none", "--name", container, base, "sh", "-c", script + "touch /done; sleep 1000",
                   server=server)
            data = json.loads(docker("inspect", container, server=server))[0]["GraphDriver"]["Data"]
            wait_until(lambda: os.path.exists(data["UpperDir"] + "/done"), 20, "the tree")
            if number == 0:
                decorate(data["UpperDir"])
            docker("commit", container, image, server=server)
            trees.append(describe(data["UpperDir"], PLACES))
            base = image
        return trees

    def test_corpus(self):
        upper = self.corpus(BERTH, "corpus")
        before = trees_of("corpus:1")
        # There for the engine's own files only, which are no change.
        upper[1].pop(b"etc")
        for i, was in enumerate(upper):
            layer = describe(layer_tree(f"corpus:{i}"), PLACES)
            self.assertEqual(without(layer, "sparse"), without(was, "sparse"))
            # Blocks of zeros may become holes, but no hole is written out.
            self.assertEqual([path for path, entry in was.items() if entry.get("sparse") and not layer[path]["sparse"]], [])
        image = inspect("corpus:1")
        docker("save", "-o", "/root/corpus.tar", "corpus:1")
        docker("tag", "corpus:1", f"{REGISTRY}/corpus:1")
        docker("push", "-q", f"{REGISTRY}/corpus:1")
        merged = json.loads(docker("inspect", "corpus1"))[0]["GraphDriver"]["Data"]["MergedDir"]
        whole = describe(merged, PLACES)
        docker("export", "-o", "/root/export.tar", "corpus1")
        remove_all()
        docker("import", "/root/export.tar", "flat:1")
        self.assertEqual(without(describe(layer_tree("flat:1"), PLACES), "sparse"), without(whole, "sparse"))
        for arrive, name in ((("load", "-q", "-i", "/root/corpus.tar"), "corpus:1"), (("pull", "-q", f"{REGISTRY}/corpus:1"),
                                                                                    f"{REGISTRY}/corpus:1")):
            with self.subTest(arrive[0]):
                docker("rmi", "-f", image["Id"])
                docker("rmi", "-f", "corpus:0", "corpus:1", f"{REGISTRY}/corpus:1", status=None)
                docker(*arrive)
                self.assertEqual(inspect(name)["Id"], image["Id"])
                self.assertEqual(trees_of(name), before)
        if not self.reference:
            return
        # The same bytes are the same files there, but that it writes zeros out, that its links lose capabilities, and that no
        # time is before 1970.
        docker("load", "-q", "-i", "/root/corpus.tar", server=REFERENCE)
        for its, mine in zip(reference_trees("corpus:1"), before):
            self.assertEqual(sorted(its), sorted(mine))
            for path, entry in without(mine, "sparse").items():
                found = without(its, "sparse")[path]
                if "links" in entry:
                    found.pop("attributes")
                    entry.pop("attributes")
                if "time" in entry:
                    entry["time"] = max(entry["time"], 0)
                self.assertEqual(found, entry, path)
        docker("rmi", "-f", "corpus:1", server=REFERENCE)

    @unittest.skipUnless(os.environ.get("BERTH_LARGE"), "without BERTH_LARGE")
    def test_large_file(self):
        """More than 8 GiB, nearly all of them holes: which tar's octal numbers cannot say, and nobody has to write out."""
        blocks = 9 * 1024 * 256
        docker("run", "--network", "none", "--name", "large", "busybox", "sh", "-c",
               f"for at in 0 70000 {blocks - 1}; do dd if=/dev/urandom of=/large bs=4096 count=1 seek=$at conv=notrunc 2>/dev/null; done")
        upper = json.loads(docker("inspect", "large"))[0]["GraphDriver"]["Data"]["UpperDir"]
        made = extents(upper + "/large")
        self.assertEqual((made[0], len(made[1])), (blocks * 4096, 3))
        name = f"{REGISTRY}/large:1"

        def timed(*command):
            before = time.monotonic()
            docker(*command, timeout=1800)
            print(f"{command[0]}: {time.monotonic() - before:.1f} s", flush=True)

        timed("commit", "large", name)
        image, archive = inspect(name)["Id"], "/var/lib/berth-large.tar"
        self.addCleanup(lambda: os.path.exists(archive) and os.unlink(archive))
        self.assertEqual(extents(layer_tree(name) + "/large"), made)
        timed("save", "-o", archive, name)
        self.assertGreater(os.path.getsize(archive), blocks * 4096)
        timed("push", "-q", name)
        for arrive in (("load", "-q", "-i", archive), ("pull", "-q", name)):
            with self.subTest(arrive[0]):
                timed("rmi", "-f", name)
                timed(*arrive)
                self.assertEqual(inspect(name)["Id"], image)
                large = layer_tree(name) + "/large"
                self.assertEqual(extents(large), made)
                self.assertLess(os.stat(large).st_blocks * 512, 1 << 20)

    def test_corpus_of_dockerd(self):
        """What dockerd commits, saves and loads is the same with Berth; and it commits what Berth commits."""
        if not self.reference:
            self.skipTest("no dockerd")
        self.corpus(REFERENCE, "theirs")
        try:
            docker("save", "-o", "/root/theirs.tar", "theirs:1", server=REFERENCE)
            docker("load", "-q", "-i", "/root/theirs.tar")
            self.assertEqual(inspect("theirs:1")["Id"], inspect("theirs:1", REFERENCE)["Id"])
            saved = trees_of("theirs:1")
            self.corpus(BERTH, "ours")
            ours = trees_of("ours:1")
            # It keeps capabilities of all attributes, and whole seconds; the noise is new each time.
            for mine, its in zip(ours[1:], saved[1:]):
                self.assertEqual(sorted(mine), sorted(its))
                mine, its = (without(tree, "sparse", "attributes", "time", "content") for tree in (mine, its))
                self.assertEqual(mine, its)
            for tree in (ours, saved):
                self.assertIn("security.capability", tree[1][b"odd/first"]["attributes"])
        finally:
            for container in docker("ps", "-aq", server=REFERENCE).split():
                docker("rm", "-f", container, server=REFERENCE)
            subprocess.run(("docker", "-H", f"unix://{REFERENCE}", "rmi", "-f", "theirs:1", "theirs:0"), capture_output=True, check=False)


if __name__ == "__main__":
    unittest.main(verbosity=2)
