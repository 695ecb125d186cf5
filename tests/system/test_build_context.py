#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""berth build sends of a context what changed since it was sent last, and what is built is what there is. Needs no image.
BERTH_FILES: files of the large context (5000)."""
import hashlib
import io
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest
import urllib.parse

import hosted
from hosted import run
from test_archives import entry

FILES = int(os.environ.get("BERTH_FILES", 5000))
KEPT = pathlib.Path("/var/lib/berth/build/context")
DOCKERFILE = "FROM scratch\nCOPY . /c/\n"
# A file that was changed less than two seconds before is sent again.
SETTLE = 2.2


class Relay:
    """A socket that leads to the daemon's, and counts what clients send over it. BEFORE is called when a build is asked for."""

    def __init__(self):
        self.path = tempfile.mktemp(prefix="relay")
        self.sent, self.before, self.builds = 0, None, []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(near,), daemon=True).start()

    def serve(self, near):
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(hosted.BERTH)
            back = threading.Thread(target=self.pump, args=(far, near, False), daemon=True)
            back.start()
            self.pump(near, far, True)
            back.join()

    def pump(self, source, target, counted):
        try:
            while data := source.recv(1 << 20):
                if counted and data.startswith(b"POST /build?"):
                    self.builds.append(data.split(b"\r\n", 1)[0].decode())
                    if self.before:
                        self.before()
                self.sent += len(data) if counted else 0
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            target.close()

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def describe(archive):
    """{path: what is there} of an archive's directory c."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if not name.startswith("c/"):
                continue
            content = hashlib.sha256(tar.extractfile(member).read()).hexdigest() if member.isreg() else member.linkname
            found[name[2:]] = (member.type, oct(member.mode) if not member.issym() else "", int(member.mtime), content)
    return found


class Context(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(dir="/var/lib"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.cache = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.cache)
        self.relay = Relay()
        self.addCleanup(self.relay.close)
        self.addCleanup(hosted.wait_until, lambda: not os.listdir("/var/lib/berth/staging"), 60, "staging empty", 0.1)
        self.addCleanup(run, "docker", "builder", "prune", "-af")
        (self.directory / "Dockerfile").write_text(DOCKERFILE)

    def fill(self, count, size=20):
        for number in range(count):
            path = self.directory / f"d{number // 100}" / f"f{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{number}\n" * size)

    def build(self, *options, cache=None, status=0):
        """The image and the bytes that were sent for it."""
        before = self.relay.sent
        result = subprocess.run(["berth", "build", "-q", *options, str(self.directory)], capture_output=True, text=True, timeout=300, check=False,
                                env={**os.environ, "BERTH_HOST": f"unix://{self.relay.path}", "XDG_CACHE_HOME": cache or self.cache})
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result.stdout.strip(), self.relay.sent - before

    def whole(self):
        with tempfile.TemporaryDirectory() as cache:
            return self.build(cache=cache)[0]

    @staticmethod
    def content(image):
        container = run("docker", "create", image, "x").strip()
        archive = run("docker", "export", container, text=False)
        run("docker", "rm", container)
        return describe(archive)

    def check(self, image):
        """It is what a build of the whole context gives, and its files have their times."""
        self.assertEqual(self.whole(), image)
        found = self.content(image)
        for path, (kind, mode, mtime, _) in found.items():
            there = os.lstat(self.directory / path)
            if kind == tarfile.REGTYPE:
                self.assertEqual((path, mode, mtime), (path, oct(there.st_mode & 0o7777), int(there.st_mtime)))

    def test_one_file_of_many(self):
        self.fill(FILES)
        time.sleep(SETTLE)
        first, all_of_it = self.build()
        self.assertGreater(all_of_it, FILES * 1024)
        start = time.monotonic()
        same, nothing = self.build()
        took = time.monotonic() - start
        self.assertEqual(first, same)
        self.assertLess(nothing, 20000)
        (self.directory / "d3" / "f333").write_text("changed\n")
        changed, little = self.build()
        self.assertNotEqual(changed, first)
        self.assertLess(little, 20000)
        self.check(changed)
        print(f"{FILES} files: {all_of_it} bytes were sent at first, {nothing} of no change, in {took:.2f} s, {little} of one file")

    def test_any_change(self):
        """Files, directories and links come, go, and become each other; so do what is left out and the Dockerfile."""
        chance = random.Random(int(os.environ.get("BERTH_SEED", 1)))
        self.fill(600)
        names = ["a", "a-b", "a.b", "b", "c", "\N{SNOWMAN}", "x y", "\x01", "Dockerfile2", "dockerfile"]
        ignores = ["", "*\n!d1\n!Dockerfile\n", "d2\n", "**/a\n!d3/a\n", "d*/f*\n!d4/f4*\n", "Dockerfile*\n", ".dockerignore\nDockerfile2\n"]

        def any_path():
            path = self.directory
            for _ in range(chance.randint(1, 3)):
                path = path / chance.choice([*names, f"d{chance.randint(0, 6)}"])
                if not path.is_dir() or path.is_symlink():
                    break
            return path

        def remove(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif os.path.lexists(path):
                path.unlink()

        def change():
            path, what = any_path(), chance.randint(0, 7)
            if path.name == "Dockerfile2":
                path = self.directory / path.name
            if what == 0:
                (self.directory / ".dockerignore").write_text(chance.choice(ignores))
            elif what == 1 and os.path.lexists(path):
                path.rename(self.directory / f"moved{chance.randint(0, 9)}") if not (self.directory / "moved").exists() else None
            elif what == 2 and os.path.lexists(path) and not path.is_symlink():
                os.chmod(path, 0o755 if path.is_dir() else chance.choice([0o644, 0o600, 0o755, 0o4755]))
            elif what == 3 and os.path.lexists(path):
                stamp = chance.randint(1000, 2000000000)
                os.utime(path, (stamp, stamp), follow_symlinks=False)
            else:
                remove(path)
                if what == 4:
                    path.mkdir()
                    (path / chance.choice(names)).write_text("below")
                elif what == 5:
                    path.symlink_to(chance.choice(["d1", "../d2", "/", "a", "nowhere"]))
                elif what > 5:
                    path.write_text(f"{chance.random()}")
        changes_only = 0
        for _ in range(int(os.environ.get("BERTH_ROUNDS_OF_CONTEXTS", 40))):
            for _ in range(chance.randint(1, 12)):
                try:
                    change()
                except OSError:
                    pass
            (self.directory / "Dockerfile").write_text(DOCKERFILE + f"LABEL x={chance.random()}\n")
            shutil.copy(self.directory / "Dockerfile", self.directory / "Dockerfile3")
            remove(self.directory / "Dockerfile2")
            shutil.copy(self.directory / "Dockerfile", self.directory / "Dockerfile2")
            if chance.random() < 0.3:
                time.sleep(SETTLE)
            self.relay.builds.clear()
            image, _ = self.build("-f", str(self.directory / chance.choice(["Dockerfile", "Dockerfile", "Dockerfile2"])))
            changes_only += "Base" in self.relay.builds[-1]
            self.check(image)
            ignore = self.directory / ".dockerignore"
            if "!" not in (ignore.read_text() if ignore.exists() else ""):
                # Directories have their times, but for those that nothing of is sent but what is below.
                self.assertEqual(self.content(image), self.content(self.build("--no-cache")[0]))
        self.assertGreater(changes_only, 20)

    def test_directories_that_are_left_out(self):
        """One that is there for what is below goes with that, and has no mode of its own."""
        self.fill(600)
        ignore, below = self.directory / ".dockerignore", self.directory / "x" / "y" / "a"
        below.parent.mkdir(parents=True)
        (self.directory / "x").chmod(0o700)
        below.write_text("a")
        for text, there, mode in (("x\n!x/y/a\n", True, 0o755), ("x\n!x/y/a\n", False, None), ("x\n!x/y/a\n", True, 0o755), ("", True, 0o700),
                                  ("x\n!x/y/a\n", True, 0o755), ("x\n", True, None), ("", False, 0o700)):
            with self.subTest(text=text, there=there):
                ignore.write_text(text)
                below.unlink(missing_ok=True)
                if there:
                    below.write_text("a")
                (self.directory / "Dockerfile").write_text(DOCKERFILE.replace("COPY", f"LABEL at={time.monotonic()}\nCOPY"))
                image, _ = self.build()
                self.check(image)
                found = self.content(image)
                self.assertEqual(found["x"][1] if "x" in found else None, oct(mode) if mode else None)
                self.assertEqual("x/y/a" in found, there and text != "x\n")
        self.assertEqual(["Base" in line for line in self.relay.builds].count(True), 6)

    def test_what_is_kept_may_go(self):
        self.fill(600)
        time.sleep(SETTLE)
        image, all_of_it = self.build()
        for what, go in (("prune", lambda: run("docker", "builder", "prune", "-af")), ("removal", lambda: shutil.rmtree(KEPT)),
                         ("kill", lambda: run("systemctl", "kill", "-s", "KILL", "berth.service"))):
            with self.subTest(what=what):
                go()
                time.sleep(0.3)
                (self.directory / "d1" / "f111").write_text(what)
                built, sent = self.build()
                self.assertEqual(sent < 20000, what == "kill")
                self.check(built)
        shutil.rmtree(self.cache)
        self.assertGreater(self.build()[1], all_of_it * 0.9)
        self.check(self.build()[0])
        self.assertTrue(image)

    def test_it_goes_after_it_was_asked_for(self):
        """The daemon refuses changes to what it has no more, and gets all."""
        self.fill(600)
        time.sleep(SETTLE)
        self.build()
        (self.directory / "d1" / "f111").write_text("changed")
        self.relay.before = lambda: shutil.rmtree(KEPT, ignore_errors=True)
        self.relay.builds.clear()
        image, _ = self.build()
        self.relay.before = None
        self.assertEqual(["Base" in line for line in self.relay.builds], [True, False])
        self.check(image)
        self.assertLess(self.build()[1], 20000)

    def test_builds_at_once(self):
        self.fill(600)
        time.sleep(SETTLE)
        (self.directory / "Dockerfile").write_text(DOCKERFILE + "LABEL a=b\n")
        self.build()
        for number in range(3):
            (self.directory / "d1" / "f111").write_text(f"{number}")
            images = []
            threads = [threading.Thread(target=lambda: images.append(self.build()[0])) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(len(images), 4)
            for image in images:
                self.assertEqual(self.content(image)["d1/f111"][3], hashlib.sha256(str(number).encode()).hexdigest())
                self.assertEqual(len(self.content(image)), len(self.content(self.whole())))

    def test_a_build_that_fails_keeps_its_context(self):
        self.fill(600)
        time.sleep(SETTLE)
        (self.directory / "Dockerfile").write_text("FROM scratch\nCOPY nothing /\n")
        self.build(status=1)
        (self.directory / "Dockerfile").write_text(DOCKERFILE)
        image, sent = self.build()
        self.assertLess(sent, 20000)
        self.check(image)

    def test_a_sparse_file(self):
        """It takes no more room than it has content, also where it is sent as a change."""
        self.fill(600)
        (self.directory / "Dockerfile").write_text("FROM scratch\nCOPY d1 /d1\n")
        for text in ("one", "two"):
            with open(self.directory / "sparse", "wb") as file:
                file.seek(50 << 20)
                file.write(text.encode())
            self.build()
            [kept] = KEPT.glob("*/fs/sparse")
            self.assertEqual(kept.stat().st_size, (50 << 20) + 3)
            self.assertLess(kept.stat().st_blocks * 512, 1 << 20)
        self.assertIn("Base", self.relay.builds[-1])

    def test_small_ones_and_no_cache_send_all(self):
        self.fill(20)
        time.sleep(SETTLE)
        self.build()
        self.build()
        self.assertNotIn("Base", "".join(self.relay.builds))
        self.assertEqual(list(KEPT.glob("*")), [])
        self.fill(600)
        self.build()
        self.assertEqual(len(list(KEPT.glob("*"))), 1)
        self.relay.builds.clear()
        self.build("--no-cache")
        self.assertNotIn("keep", "".join(self.relay.builds))

    def test_accounting(self):
        def kept():
            return [item for item in hosted.call("GET", "/system/df").json()["BuildCache"] if item["Type"] == "source.local"]
        self.fill(600)
        time.sleep(SETTLE)
        self.build()
        size = sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())
        [item] = kept()
        self.assertEqual((item["Size"], item["Description"], item["UsageCount"], item["InUse"]), (size, str(self.directory), 1, False))
        (self.directory / "d1" / "f111").write_text("1" * 100000)
        self.build()
        size = sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())
        hosted.wait_until(lambda: kept()[0]["Size"] == size, 10, f"size {size}", 0.1)
        self.assertEqual(kept()[0]["UsageCount"], 2)
        answer = hosted.call("POST", "/build/prune?" + urllib.parse.urlencode({"filters": json.dumps({"type": ["source.local"]})})).json()
        self.assertEqual(answer["CachesDeleted"], [item["ID"]])
        self.assertEqual(answer["SpaceReclaimed"], size)
        self.assertEqual(kept(), [])

    def test_no_more_than_a_few_are_kept(self):
        self.fill(600)
        for number in range(12):
            with tempfile.TemporaryDirectory() as cache:
                self.build(cache=cache)
            self.assertLessEqual(len(list(KEPT.glob("*"))), 8, number)

    def test_hostile_requests(self):
        """Names that climb and links that lead out change nothing outside, and what is refused is not kept."""
        witness = pathlib.Path("/root/kept-witness/file")
        witness.parent.mkdir(exist_ok=True)
        witness.write_text("untouched")
        key, generations = "a" * 64, [f"{number:064x}" for number in range(9)]

        def ask(keep, *entries):
            data = io.BytesIO()
            with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for member, content in entries:
                    archive.addfile(member, io.BytesIO(content))
            answer = hosted.call("POST", "/build?" + urllib.parse.urlencode({"keep": json.dumps(keep), "q": 1}), data.getvalue(),
                                 ("Content-Type: application/x-tar",))
            return answer.status, answer.body.decode()

        def start():
            files = [entry(f"f{number}", b"x") for number in range(600)]
            links = [entry("out", kind=tarfile.SYMTYPE, link="/root/kept-witness"), entry("up", kind=tarfile.SYMTYPE, link="../../../../../../root/kept-witness"),
                     entry("in", kind=tarfile.SYMTYPE, link="d"), entry("d/file", b"x")]
            status, text = ask({"Key": key, "Next": generations[0]}, entry("Dockerfile", DOCKERFILE.encode()), *files, *links)
            self.assertEqual(status, 200, text)
            self.assertEqual(hosted.call("GET", f"/_berth/context/{key}").json(), {"Generation": generations[0]})
        removal = b"R"
        for name in ("../../../../../../../../root/kept-witness", "/root/kept-witness/file", "out/file", "up/file", "up/../file", "in/file", ".", "/", "f1/x"):
            with self.subTest(name=name):
                start()
                status, text = ask({"Key": key, "Base": generations[0], "Next": generations[1]}, entry(name, kind=removal),
                                   entry("Dockerfile", DOCKERFILE.encode()))
                self.assertEqual(witness.read_text(), "untouched")
                kept = hosted.call("GET", f"/_berth/context/{key}")
                if "error" in text or status != 200:
                    self.assertEqual(kept.status, 404)
                else:
                    self.assertEqual(kept.json(), {"Generation": generations[1]})
                    self.assertTrue((KEPT / key / "fs/d/file").exists())
        start()
        status, _ = ask({"Key": key, "Base": generations[0], "Next": generations[1]}, entry("out/evil", b"e"), entry("up/evil", b"e"))
        self.assertFalse((witness.parent / "evil").exists())
        for keep in ({"Key": "../../x", "Next": generations[0]}, {"Key": key}, {"Next": key}, {"Key": key, "Next": "/"}, {"Key": 1, "Next": 2}):
            self.assertEqual(ask(keep, entry("Dockerfile", DOCKERFILE.encode()))[0], 400, keep)
        self.assertEqual(ask({"Key": key, "Base": generations[5], "Next": generations[1]})[0], 409)
        self.assertEqual(hosted.call("GET", "/_berth/context/..").status, 404)

    def test_what_comes_in_pieces_is_not_kept(self):
        """A client that goes in the middle leaves no generation, neither the old one nor the new one."""
        self.fill(600)
        time.sleep(SETTLE)
        self.build()
        [kept] = KEPT.glob("*")
        base = json.loads((kept / "keep.json").read_text())["Generation"]
        keep = urllib.parse.quote(json.dumps({"Key": kept.name, "Base": base, "Next": "b" * 64}))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(hosted.BERTH)
            client.sendall(f"POST /build?keep={keep} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n".encode())
            hosted.wait_until(lambda: not kept.exists(), 10, "taken", 0.05)
        hosted.wait_until(lambda: not os.listdir("/var/lib/berth/staging"), 30, "staging empty", 0.1)
        self.assertFalse(kept.exists())
        image, sent = self.build()
        self.assertGreater(sent, 600 * 512)
        self.check(image)

    def test_removals_are_nothing_elsewhere(self):
        """An archive for a container removes nothing."""
        run("docker", "load", "-q", "-i", "/root/busybox.tar")
        container = run("docker", "create", "busybox").strip()
        self.addCleanup(run, "docker", "rm", "-f", container)
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            archive.addfile(entry("passwd", kind=b"R")[0])
        self.assertEqual(hosted.call("PUT", f"/containers/{container}/archive?path=/etc", data.getvalue()).status, 200)
        self.assertTrue(re.search(rb"root:", run("docker", "cp", f"{container}:/etc/passwd", "-", text=False)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
