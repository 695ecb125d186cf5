#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of containers: what is said of a path, what an archive calls it, and what is refused."""
import base64
import gzip
import io
import json
import tarfile

import engine
from engine import LABEL, Case, call, differs, succeed

DIRECTORY, LINK = 1 << 31, 1 << 27
REFUSED = differs(400, 500, "later versions of dockerd answer 400, as documented")


def entry(name, data=b"", kind=tarfile.REGTYPE, link="", mode=0o644, uid=0):
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.mode, header.size, header.uid = kind, link, mode, len(data), uid
    header.mtime = 1000000000
    return header, data


def tar(*entries):
    output = io.BytesIO()
    for header, data in entries:
        output.write(header.tobuf(tarfile.GNU_FORMAT) + data + b"\0" * (-len(data) % 512))
    return output.getvalue() + b"\0" * 1024


TREE = tar(entry("d/", kind=tarfile.DIRTYPE, mode=0o755), entry("d/e/", kind=tarfile.DIRTYPE, mode=0o700),
           entry("d/e/f", b"abc", mode=0o4640, uid=7), entry("s", kind=tarfile.SYMTYPE, link="d"),
           entry("l", kind=tarfile.SYMTYPE, link="d/../d/e/f"), entry("broken", kind=tarfile.SYMTYPE, link="/none/x"),
           entry("h", kind=tarfile.LNKTYPE, link="d/e/f", mode=0o4640, uid=7))


class Archive(Case):
    def make(self, **host):
        body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "Labels": {LABEL: "1"},
                "HostConfig": {"NetworkMode": "none", **host}}
        identifier = succeed("POST", "/containers/create", body, 201)["Id"]
        self.addCleanup(call, "DELETE", f"/containers/{identifier}", force=1, v=1)
        return identifier

    def both(self, **host):
        """A container that does not run, and one that does."""
        running = self.make(**host)
        succeed("POST", f"/containers/{running}/start", status=204)
        return self.make(**host), running

    def put(self, identifier, path, data, **query):
        address = engine.target(f"/containers/{identifier}/archive", {"path": path, **query})
        return call("PUT", address, data, ["Content-Type: application/x-tar"])

    def get(self, identifier, path, method="GET"):
        return call(method, engine.target(f"/containers/{identifier}/archive", {"path": path}))

    def stat(self, identifier, path, method="HEAD"):
        answer = self.get(identifier, path, method)
        self.assertEqual(answer.status, 200, path)
        return json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))

    def files(self, identifier, path):
        answer = self.get(identifier, path)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/x-tar"))
        with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
            return {file.name: file for file in archive.getmembers()}

    def refused(self, answer, status, message):
        self.assertEqual((answer.status, answer.message()), (status, message))

    def test_stat(self):
        for identifier in self.both():
            self.assertEqual(self.put(identifier, "/", TREE).status, 200)
            stat = self.stat(identifier, "/d/e/f")
            self.assertEqual(set(stat), {"name", "size", "mode", "mtime", "linkTarget"})
            self.assertEqual((stat["name"], stat["size"], stat["mode"], stat["linkTarget"]), ("f", 3, 1 << 23 | 0o640, ""))
            self.assertRegex(stat["mtime"], r"^2001-09-09T")
            self.assertEqual(self.stat(identifier, "d/e/f", "GET"), stat)
            for path, name, mode, target in (("/l", "l", LINK | 0o777, "/d/e/f"), ("/s", "s", LINK | 0o777, "/d"),
                                             ("/broken", "broken", LINK | 0o777, "/none/x"),
                                             ("/s/", "s", DIRECTORY | 0o755, ""), ("/s/.", ".", DIRECTORY | 0o755, ""),
                                             ("/d/../d/e", "e", DIRECTORY | 0o700, ""), ("/", "/", DIRECTORY | 0o755, ""),
                                             ("/tmp", "tmp", DIRECTORY | 1 << 20 | 0o777, ""),
                                             (".", ".", DIRECTORY | 0o755, "")):
                stat = self.stat(identifier, path)
                self.assertEqual((stat["name"], stat["mode"], stat["linkTarget"]), (name, mode, target), path)

    def test_names(self):
        for identifier in self.both():
            self.put(identifier, "/", TREE)
            for path, expected in (("/d", ["d", "d/e", "d/e/f"]), ("/d/", ["d", "d/e", "d/e/f"]), ("/d/e/f", ["f"]),
                                   ("/d/.", [".", "./e", "./e/f"]), ("/s", ["s"]), ("/s/", ["s", "s/e", "s/e/f"]),
                                   ("/l", ["l"]), ("/d/e/../e", ["e", "e/f"])):
                self.assertEqual(list(self.files(identifier, path)), expected, path)
            file = self.files(identifier, "/d/e/f")["f"]
            self.assertEqual((file.size, file.mode, file.uid, file.mtime), (3, 0o4640, 7, 1000000000))
            self.assertEqual(self.files(identifier, "/s")["s"].linkname, "d")

    def test_refusals(self):
        for identifier in self.both():
            missing = f"Could not find the file /none/x in container {identifier}"
            self.refused(self.get(identifier, "/none/x"), 404, missing)
            self.refused(self.put(identifier, "/none/x", TREE), 404, missing)
            self.assertEqual(self.get(identifier, "/none/x", "HEAD").status, 404)
            self.refused(self.put(identifier, "/etc/passwd", TREE), REFUSED, "extraction point is not a directory")
            self.refused(self.get(identifier, None), 400, "bad parameter: pathcannot be empty")
            answer = self.get(identifier, "/etc/passwd/x")
            self.refused(answer, 500, "lstat /etc/passwd/x: not a directory")
            self.assertGreaterEqual(self.put(identifier, "/", b"this is no archive" * 100).status, 400)
        self.refused(self.get("no-such", "/"), 404, "No such container: no-such")

    def test_kinds(self):
        for identifier in self.both():
            self.put(identifier, "/", TREE)
            file, directory = tar(entry("d", b"new")), tar(entry("e/", kind=tarfile.DIRTYPE), entry("e/f/", kind=tarfile.DIRTYPE))
            self.refused(self.put(identifier, "/", file, noOverwriteDirNonDir="true"), 500,
                         'cannot overwrite directory "/d" with non-directory "/"')
            self.refused(self.put(identifier, "/d", directory, noOverwriteDirNonDir="1"), 500,
                         'cannot overwrite non-directory "/d/e/f" with directory "/d"')
            self.assertEqual(self.put(identifier, "/d", directory).status, 200)
            self.assertEqual(self.stat(identifier, "/d/e/f")["mode"], DIRECTORY | 0o644)
            self.assertEqual(self.put(identifier, "/", file).status, 200)
            self.assertEqual(self.stat(identifier, "/d")["size"], 3)

    def test_follows_links_to_the_directory(self):
        for identifier in self.both():
            self.put(identifier, "/", TREE)
            self.assertEqual(self.put(identifier, "/s", gzip.compress(tar(entry("new", b"x")))).status, 200)
            self.assertEqual(self.stat(identifier, "/d/new")["size"], 1)

    def test_read_only(self):
        for identifier in self.both(ReadonlyRootfs=True, Binds=["/etc:/ro:ro", "/data"]):
            for path in ("/", "/tmp"):
                self.refused(self.put(identifier, path, TREE), REFUSED, "container rootfs is marked read-only")
            self.refused(self.put(identifier, "/ro", TREE), REFUSED, "mounted volume is marked read-only")
            self.assertEqual(self.put(identifier, "/data", TREE).status, 200)
            self.assertEqual(self.stat(identifier, "/data/d/e/f")["size"], 3)


if __name__ == "__main__":
    engine.main()
