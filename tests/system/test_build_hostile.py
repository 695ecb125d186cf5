#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Contexts that mean harm: each build succeeds or is refused, the host and the files of other images stay as they are, and no
name hides anything. BERTH_LARGE=1 makes it a million files and a sparse file of 5 GB."""
import io
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import time
import unittest
import urllib.parse

import hosted
import trees
from hosted import run
from test_archives import entry

LARGE = bool(os.environ.get("BERTH_LARGE"))
WITNESS = "/root/witness"


def context(*entries, dockerfile="FROM busybox\nCOPY . /c/\n"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in (*entries, entry("Dockerfile", dockerfile.encode())):
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def build(data, **query):
    """What went wrong, or None; and the text of the steps."""
    answer = hosted.call("POST", "/build?" + urllib.parse.urlencode({"t": "hostile:1", "rm": 1, **query}), data, ("Content-Type: application/x-tar",))
    if answer.status != 200:
        return answer.json()["message"], ""
    lines = [json.loads(line) for line in answer.body.decode().splitlines() if line.strip()]
    errors = [line["error"] for line in lines if "error" in line]
    return errors[0] if errors else None, "".join(line.get("stream", "") for line in lines)


def largest_process():
    """The most memory of its own, in KiB, that a process of the daemon's has."""
    largest = 0
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (path / "comm").read_text().strip() == "berthd":
                fields = dict(line.split(":", 1) for line in (path / "status").read_text().splitlines())
                largest = max(largest, int(fields["RssAnon"].split()[0]))
        except (OSError, KeyError):
            pass
    return largest


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("docker", "load", "-q", "-i", "/root/busybox.tar")
        cls.base = trees.describe(trees.layer_tree("busybox"))
        cls.addClassCleanup(hosted.wait_until, lambda: not os.listdir("/var/lib/berth/staging"), 900, "staging empty", 0.5)

    def setUp(self):
        pathlib.Path(WITNESS).write_text("untouched")
        self.addCleanup(self.check_host)

    def check_host(self):
        self.assertEqual(pathlib.Path(WITNESS).read_text(), "untouched")
        self.assertEqual(trees.describe(trees.layer_tree("busybox")), self.base)
        self.assertFalse([name for name in ("/evil", "/root/evil", "/tmp/evil", "/var/lib/berth/evil") if os.path.lexists(name)])
        hosted.call("POST", "/build/prune?all=1")
        hosted.wait_until(lambda: all(name.startswith("trash-") for name in os.listdir("/var/lib/berth/staging")), 60, "staging empty", 0.2)

    def listed(self):
        return run("docker", "run", "--rm", "hostile:1", "sh", "-c", "cd /c && find . ! -name . | sort").split("\n")[:-1]

    def test_names_that_climb(self):
        for name in ("../evil", "../../../../../../../../evil", "a/../../../../../../../tmp/evil", "/tmp/evil", "./../evil", "a/b/../../../evil"):
            with self.subTest(name=name):
                error, _ = build(context(entry(name, b"evil")))
                self.check_host()
                if error is None:
                    self.assertNotIn("..", " ".join(self.listed()))

    def test_links_that_lead_out(self):
        for target in ("/", "/root", "../../../../../../../../../../root", "/proc/1/root/root", "/proc/self/cwd"):
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                with self.subTest(target=target, kind=kind):
                    build(context(entry("way", kind=kind, link=target), entry("way/evil", b"evil"), entry("way/witness", b"evil")))
                    self.check_host()

    def test_a_dockerfile_that_is_a_link(self):
        for target in ("/etc/shadow", "../../../../../../../../etc/shadow", "/proc/self/environ", "Dockerfile2"):
            data = io.BytesIO()
            with tarfile.open(fileobj=data, mode="w") as archive:
                archive.addfile(*(lambda m, c: (m, io.BytesIO(c)))(*entry("Dockerfile", kind=tarfile.SYMTYPE, link=target)))
            error, text = build(data.getvalue())
            self.assertIsNotNone(error)
            self.assertNotIn("root:", error + text)

    def test_a_source_that_is_a_link(self):
        """Links are followed inside the context, or copied as links; nothing of the host comes along."""
        for target in ("/root/witness", "../../../../../../../root/witness", "/proc/self/environ", "/dev/null"):
            for source in ("link", ".", "l*"):
                with self.subTest(target=target, source=source):
                    error, _ = build(context(entry("link", kind=tarfile.SYMTYPE, link=target), dockerfile=f"FROM busybox\nCOPY {source} /c/\n"))
                    if error is None:
                        self.assertNotIn("untouched", run("docker", "run", "--rm", "hostile:1", "sh", "-c", "cat /c/* 2>&1; true"))

    def test_devices(self):
        """Devices and pipes are no reason to hang, and what a step does with a device it may not."""
        node = (entry("d/zero", kind=tarfile.CHRTYPE, devmajor=1, devminor=5), entry("d/disk", kind=tarfile.BLKTYPE, devmajor=8, devminor=0),
                entry("d/kmsg", kind=tarfile.CHRTYPE, devmajor=1, devminor=11), entry("d/pipe", kind=tarfile.FIFOTYPE), entry("d/f", b"file"))
        for dockerfile in ("FROM busybox\nCOPY d /c/\nRUN cat /c/f; ! head -c 1 /c/disk; ! head -c 1 /c/kmsg\n", "FROM busybox\nCOPY d/zero /c/\n",
                           "FROM busybox\nADD d/pipe /c/\n", "FROM busybox\nRUN --mount=type=bind,source=d,target=/d ! head -c 1 /d/disk\n"):
            with self.subTest(dockerfile=dockerfile):
                start = time.monotonic()
                error, text = build(context(*node, dockerfile=dockerfile))
                self.assertLess(time.monotonic() - start, 30)
                if "RUN" in dockerfile:
                    self.assertIsNone(error, text)

    def test_names_of_whiteouts(self):
        """They hide nothing: neither in the context, nor in the image, nor where it is loaded again."""
        names = ("a", ".wh.a", "bin/.wh.sh", "bin/.wh..wh..opq", ".wh..wh..opq", ".wh..wh.aufs", ".wh.", "bin/x")
        inner = context(*(entry(name, b"y") for name in names))
        error, text = build(context(*(entry(name, b"x") for name in names), entry("x.tar", inner), dockerfile=(
            "FROM busybox\nRUN --mount=type=bind,target=/m ls -A /m /m/bin\nCOPY . /\nADD x.tar /\nRUN ls /bin/sh /bin/x /a\n")))
        self.assertIsNone(error, text)
        for name in (".wh.a", ".wh.sh", ".wh..wh..opq"):
            self.assertIn(name + "\n", text)
        run("docker", "save", "-o", "/tmp/hostile.tar", "hostile:1")
        run("docker", "rmi", "hostile:1")
        hosted.call("POST", "/build/prune?all=1")
        run("docker", "load", "-i", "/tmp/hostile.tar")
        run("docker", "run", "--rm", "hostile:1", "ls", "/bin/sh", "/bin/x", "/a")

    def test_archives_in_the_context(self):
        """ADD unpacks inside the image."""
        inner = context(entry("../evil", b"e"), entry("way", kind=tarfile.SYMTYPE, link="/root"), entry("way/evil", b"e"), entry("/tmp/evil", b"e"))
        for target in ("/", "/c/", "/link/"):
            with self.subTest(target=target):
                build(context(entry("x.tar", inner), dockerfile=f"FROM busybox\nRUN ln -s / /link\nADD x.tar {target}\n"))
                self.check_host()

    def test_names_that_are_options_or_odd(self):
        names = ["-rf", "--help", "new\nline", "\x01\x1b[31m", "ü", "a" * 255, "/".join(["d" * 100] * 20), "*", "[x]", "\\", " ", "a b", "#x", "!y"]
        error, _ = build(context(*(entry(name, b"x") for name in names), entry(".dockerignore", b"#x\n")))
        self.assertIsNone(error)
        self.assertEqual(run("docker", "run", "--rm", "hostile:1", "sh", "-c", "find /c -type f -print0 | tr -cd '\\0' | wc -c").strip(),
                         str(len(names) + 2))

    def test_broken_archives(self):
        whole = context(entry("f", b"x" * 5000))
        for data in (b"", b"\0" * 10240, whole[:700], whole[:3000], b"\x1f\x8b" + b"junk" * 50, whole[:512] + b"\xff" * 512, os.urandom(4096)):
            error, _ = build(data)
            self.assertIsNotNone(error)

    def test_deep_and_many(self):
        error, _ = build(context(entry("/".join(["d"] * 1500) + "/f", b"deep")))
        self.assertIsNone(error)
        count = 1000000 if LARGE else 20000
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "many.tar"
            with tarfile.open(path, "w") as archive:
                for number in range(count):
                    member, content = entry(f"m/{number // 1000}/{number}", b"%d" % number)
                    archive.addfile(member, io.BytesIO(content))
                member, content = entry("Dockerfile", b"FROM busybox\nCOPY m /m\nRUN find /m -type f | wc -l >/count\n")
                archive.addfile(member, io.BytesIO(content))
            start, peak = time.monotonic(), 0
            with open(path, "rb") as file, subprocess.Popen(("docker", "build", "-q", "-t", "hostile:1", "-"), stdin=file, stdout=subprocess.DEVNULL,
                                                            env={**os.environ, "DOCKER_BUILDKIT": "0"}) as client:
                while client.poll() is None and time.monotonic() - start < 900:
                    peak = max(peak, largest_process())
                    time.sleep(0.2)
            self.assertEqual(client.returncode, 0)
            print(f"{count} files: {time.monotonic() - start:.1f} s, a process had up to {peak // 1024} MiB")
            self.assertLess(peak, 65536 + count // 10)
        self.assertEqual(run("docker", "run", "--rm", "hostile:1", "cat", "/count").strip(), str(count))

    def test_a_sparse_file(self):
        """Neither the context nor the image has more on the disk than was written."""
        size = (5 << 30) if LARGE else (256 << 20)
        with tempfile.TemporaryDirectory(dir="/var/lib/berth") as directory:
            top = pathlib.Path(directory)
            with open(top / "sparse", "wb") as file:
                file.seek(size - 1)
                file.write(b"x")
            (top / "Dockerfile").write_text("FROM busybox\nCOPY sparse /sparse\n")
            start, peak = time.monotonic(), 0
            with subprocess.Popen(("berth", "build", "-q", "-t", "hostile:1", str(top)), stdout=subprocess.DEVNULL) as client:
                while client.poll() is None and time.monotonic() - start < 600:
                    peak = max(peak, int(run("du", "-s", "-B1", "--exclude=trash-*", "/var/lib/berth/staging", status=None).split()[0]))
                    time.sleep(0.1)
            self.assertEqual(client.returncode, 0)
            print(f"sparse file of {size >> 20} MiB: {time.monotonic() - start:.1f} s")
        layer = pathlib.Path(trees.layer_tree("hostile:1")) / "sparse"
        self.assertEqual(layer.stat().st_size, size)
        self.assertLess(layer.stat().st_blocks * 512, 1 << 20)
        self.assertLess(peak, size // 8)


if __name__ == "__main__":
    unittest.main()
