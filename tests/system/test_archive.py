#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker cp, by the stock client, by berth cp and by the API: both ways, of containers that run and that do not, of what
is mounted in them; and archives and containers that would lead it out of the container."""
import base64
import bz2
import glob
import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
import time
import unittest

import hosted
from hosted import run

IMAGE = "busybox"


def entry(name, data=b"", kind=tarfile.REGTYPE, link="", mode=0o644, uid=0):
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.mode, header.size, header.uid = kind, link, mode, len(data), uid
    return header, data


def tar(*entries):
    output = io.BytesIO()
    for header, data in entries:
        output.write(header.tobuf(tarfile.GNU_FORMAT) + data + b"\0" * (-len(data) % 512))
    return output.getvalue() + b"\0" * 1024


def archive(method, container, path, body=b"", **query):
    query = "".join(f"&{key}={value}" for key, value in query.items())
    return hosted.call(method, f"/containers/{container}/archive?path={path}{query}", body)


def names(data):
    return tarfile.open(fileobj=io.BytesIO(data)).getnames()


class ArchiveTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("docker", "load", "-i", glob.glob("/root/busybox*.tar")[0])

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.containers = []
        os.chdir(self.directory)

    def tearDown(self):
        for container in self.containers:
            run("docker", "rm", "-fv", container, status=None)
        os.chdir("/")
        shutil.rmtree(self.directory)

    def make(self, *options, verb="run", command=("sleep", "1000")):
        options = ("-d",) + options if verb == "run" else options
        container = run("docker", verb, *options, IMAGE, *command).strip()
        self.containers.append(container)
        return container

    def write(self, name, data="x"):
        os.makedirs(os.path.dirname(os.path.join(self.directory, name)), exist_ok=True)
        with open(name, "w", encoding="ascii") as file:
            file.write(data)

    def read(self, name):
        with open(name, encoding="ascii") as file:
            return file.read()

    def there_and_back(self, client, container):
        self.write("tree/a/file", "content")
        os.symlink("file", "tree/a/link")
        os.chmod("tree/a/file", 0o4751)
        os.utime("tree/a/file", (1000000000, 1000000000))
        run(client, "cp", "tree", f"{container}:/new")
        run(client, "cp", "tree/.", f"{container}:/new/merged")
        run(client, "cp", "tree/a/file", f"{container}:/etc/renamed")
        run(client, "cp", f"{container}:/new", "back")
        self.assertEqual(self.read("back/a/file"), "content")
        self.assertEqual(os.readlink("back/a/link"), "file")
        status = os.stat("back/a/file")
        self.assertEqual((status.st_mode & 0o7777, status.st_mtime), (0o4751, 1000000000))
        self.assertEqual(self.read("back/merged/a/file"), "content")
        run(client, "cp", f"{container}:/etc/renamed", ".")
        self.assertEqual(self.read("renamed"), "content")
        run(client, "cp", f"{container}:/new/a/.", "flat")
        self.assertEqual(sorted(os.listdir("flat")), ["file", "link"])

    def test_running(self):
        for client in ("docker", "berth"):
            with self.subTest(client):
                self.there_and_back(client, self.make())
                shutil.rmtree("back"), shutil.rmtree("tree"), shutil.rmtree("flat"), os.unlink("renamed")

    def test_stopped(self):
        for client in ("docker", "berth"):
            with self.subTest(client):
                container = self.make(verb="create", command=("cat", "/new/a/file"))
                self.there_and_back(client, container)
                self.assertEqual(run("docker", "start", "-a", container), "content")
                run(client, "cp", f"{container}:/new/a/file", "after")
                self.assertEqual(self.read("after"), "content")
                shutil.rmtree("back"), shutil.rmtree("tree"), shutil.rmtree("flat"), os.unlink("renamed")

    def test_standard_streams(self):
        container = self.make()
        for client in ("docker", "berth"):
            data = tar(entry(f"{client}-file", b"data", uid=7))
            run(client, "cp", "-", f"{container}:/tmp", data=data)
            self.assertEqual(run("docker", "exec", container, "stat", "-c", "%u", f"/tmp/{client}-file"), "7\n")
            data = run(client, "cp", f"{container}:/tmp/{client}-file", "-", text=False)
            self.assertEqual(names(data), [f"{client}-file"])

    def test_links(self):
        container = self.make()
        run("docker", "exec", container, "ln", "-s", "/tmp/real", "/link")
        for client in ("docker", "berth"):
            run("docker", "exec", container, "sh", "-c", "echo real >/tmp/real")
            run(client, "cp", f"{container}:/link", f"{client}-link")
            self.assertEqual(os.readlink(f"{client}-link"), "/tmp/real")
            run(client, "cp", "-L", f"{container}:/link", f"{client}-file")
            self.assertEqual(self.read(f"{client}-file"), "real\n")
            self.write("through", client)
            run(client, "cp", "through", f"{container}:/link")
            self.assertEqual(run("docker", "exec", container, "cat", "/tmp/real"), client)

    def test_mounts(self):
        os.mkdir("bound")
        volume = run("docker", "volume", "create").strip()
        options = ("-v", f"{self.directory}/bound:/bound", "-v", f"{volume}:/data", "-v", "/etc:/ro:ro", "--tmpfs", "/mem")
        self.write("file", "new")
        for verb in ("run", "create"):
            with self.subTest(verb):
                container = self.make(*options, verb=verb)
                run("docker", "cp", "file", f"{container}:/bound/{verb}")
                self.assertEqual(self.read(f"bound/{verb}"), "new")
                run("docker", "cp", "file", f"{container}:/data/{verb}")
                self.assertEqual(self.read(f"/var/lib/berth/volume/{volume}/_data/{verb}"), "new")
                run("docker", "cp", f"{container}:/data/{verb}", "back")
                answer = archive("PUT", container, "/ro", tar(entry("evil")))
                self.assertEqual((answer.status, answer.json()["message"]), (400, "mounted volume is marked read-only"))
        run("docker", "cp", "file", f"{self.containers[0]}:/mem/file")
        self.assertEqual(run("docker", "exec", self.containers[0], "cat", "/mem/file"), "new")
        for container in self.containers:
            run("docker", "rm", "-fv", container)
        run("docker", "volume", "rm", volume)

    def test_read_only(self):
        container = self.make("--read-only", "-v", "/data")
        answer = archive("PUT", container, "/tmp", tar(entry("x")))
        self.assertEqual((answer.status, answer.json()["message"]), (400, "container rootfs is marked read-only"))
        self.assertEqual(archive("PUT", container, "/data", tar(entry("x"))).status, 200)

    def test_stat(self):
        container = self.make()
        run("docker", "exec", container, "sh", "-c", "echo 12 >/f; chmod 4640 /f; touch -d '1970-01-01 00:00:01' /f; ln -s tmp/../f /l")
        def stat(path, method="HEAD"):
            return json.loads(base64.b64decode(archive(method, container, path).headers["x-docker-container-path-stat"]))
        self.assertEqual(stat("/f"), {"name": "f", "size": 3, "mode": 1 << 23 | 0o640, "mtime": "1970-01-01T00:00:01Z",
                                      "linkTarget": ""})
        self.assertEqual(stat("f"), stat("/f", "GET"))
        link = stat("/l")
        self.assertEqual((link["linkTarget"], link["mode"]), ("/f", 1 << 27 | 0o777))
        self.assertEqual([stat(path)["name"] for path in ("/", "/tmp/", "/tmp/.", "/tmp/../etc")], ["/", "tmp", ".", "etc"])
        self.assertEqual(stat("/tmp")["mode"], 1 << 31 | 1 << 20 | 0o777)

    def test_names(self):
        container = self.make()
        run("docker", "exec", container, "sh", "-c", "mkdir -p /d/e; touch /d/e/f; ln -s d /s")
        for path, expected in (("/d", ["d", "d/e", "d/e/f"]), ("/d/", ["d", "d/e", "d/e/f"]), ("/d/e/f", ["f"]),
                               ("/d/.", [".", "./e", "./e/f"]), ("/s", ["s"]), ("/s/", ["s", "s/e", "s/e/f"])):
            self.assertEqual(names(archive("GET", container, path).body), expected, path)

    def test_refusals(self):
        container = self.make()
        for method, path, status, message in (
                ("GET", "/none", 404, f"Could not find the file /none in container {container}"),
                ("PUT", "/none", 404, f"Could not find the file /none in container {container}"),
                ("PUT", "/etc/passwd", 400, "extraction point is not a directory"),
                ("GET", "", 400, "bad parameter: pathcannot be empty")):
            answer = archive(method, container, path, tar(entry("x")) if method == "PUT" else b"")
            self.assertEqual((answer.status, answer.json()["message"]), (status, message))
        self.assertEqual(archive("HEAD", container, "/none").status, 404)
        self.assertEqual(archive("GET", "no-such", "/").status, 404)
        answer = archive("PUT", container, "/", tar(entry("tmp", b"file")), noOverwriteDirNonDir="true")
        self.assertIn('cannot overwrite directory "/tmp" with non-directory "/"', answer.json()["message"])
        answer = archive("PUT", container, "/etc", tar(entry("passwd/", kind=tarfile.DIRTYPE)), noOverwriteDirNonDir="1")
        self.assertIn('cannot overwrite non-directory "/etc/passwd" with directory "/etc"', answer.json()["message"])
        self.assertGreaterEqual(archive("PUT", container, "/", b"no archive" * 100).status, 400)

    def test_compressed(self):
        container = self.make()
        for name, compress in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
            self.assertEqual(archive("PUT", container, "/tmp", compress(tar(entry(name, b"data")))).status, 200)
            self.assertEqual(run("docker", "exec", container, "cat", f"/tmp/{name}"), "data")

    def test_attacks(self):
        victim = os.path.join(self.directory, "victim")
        self.write("victim/kept", "kept")
        for verb in ("run", "create"):
            container = self.make(verb=verb)
            for number, data in enumerate((
                    tar(entry("out", kind=tarfile.SYMTYPE, link=victim), entry("out/kept", b"evil")),
                    tar(entry("up", kind=tarfile.SYMTYPE, link="../" * 20 + victim), entry("up/kept", b"evil")),
                    tar(entry("../" * 20 + victim + "/kept", b"evil")),
                    tar(entry("hard", kind=tarfile.LNKTYPE, link="../" * 20 + victim + "/kept"), entry("hard", b"evil")),
                    tar(entry("l", kind=tarfile.SYMTYPE, link=victim + "/kept"), entry("l", b"evil")))):
                archive("PUT", container, "/tmp", data)
                self.assertEqual((os.listdir(victim), self.read("victim/kept")), (["kept"], "kept"), number)
            archive("PUT", container, "/", tar(entry("host", kind=tarfile.SYMTYPE, link=victim)))
            self.assertNotIn(b"kept", archive("GET", container, "/host").body.replace(victim.encode(), b""))

    def test_race(self):
        self.write("victim/kept", "kept")
        container = self.make(command=("sh", "-c", f"mkdir /a; while :; do mv /a /b; ln -s {self.directory}/victim /a; "
                                       "rm /a; mv /b /a; done"))
        data, end = tar(entry("a/kept", b"evil"), entry("a/new", b"evil")), time.monotonic() + 4
        while time.monotonic() < end:
            archive("PUT", container, "/", data)
            body = archive("GET", container, "/a/").body
            self.assertNotIn(b"kept\0" + b"\0" * 507, body)
        self.assertEqual((os.listdir("victim"), self.read("victim/kept")), (["kept"], "kept"))

    def test_start_waits(self):
        """The tree of a container that does not run is mounted once at a time."""
        container = self.make(verb="create", command=("sh", "-c", "ls /big | wc -l"))
        data = tar(*[entry(f"big/{number}", b"x" * 4096) for number in range(3000)])
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(archive("PUT", container, "/", data).status))
                   for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        output = run("docker", "start", "-a", container)
        for thread in threads:
            thread.join()
        self.assertEqual(output.strip(), "3000", answers)

    def test_owner(self):
        container = self.make("-u", "5:6")
        archive("PUT", container, "/tmp", tar(entry("own", uid=9)), copyUIDGID="true")
        self.assertEqual(run("docker", "exec", container, "stat", "-c", "%u:%g", "/tmp/own"), "5:6\n")

    def test_events(self):
        container, since = self.make(), time.time()
        archive("GET", container, "/etc")
        archive("PUT", container, "/tmp", tar(entry("x")))
        time.sleep(0.5)
        events = run("docker", "events", "--since", f"{since:.6f}", "--until", f"{time.time():.6f}", "--format", "{{.Action}}")
        self.assertEqual(events.split(), ["archive-path", "extract-to-dir"])

    def test_big(self):
        with open("big", "wb") as file:
            for _ in range(200):
                file.write(os.urandom(1 << 20))
        container = self.make()
        start = time.monotonic()
        run("docker", "cp", "big", f"{container}:/tmp/big")
        middle = time.monotonic()
        run("docker", "cp", f"{container}:/tmp/big", "back")
        print(f"200 MB: in {middle - start:.2f} s, out {time.monotonic() - middle:.2f} s", flush=True)
        run("cmp", "big", "back")


if __name__ == "__main__":
    unittest.main()
