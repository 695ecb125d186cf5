#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds with something from elsewhere: ADD of URLs."""
import hashlib
import http.server
import io
import os
import pathlib
import socketserver
import subprocess
import tarfile
import tempfile
import threading
import unittest

import hosted
from hosted import run

PORT = 5081
AT = f"http://127.0.0.1:{PORT}"
CLIENTS = ("docker", "berth")
MODIFIED = "Sat, 14 Mar 2015 09:26:53 GMT"


def tar_of(**files):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as archive:
        for name, text in files.items():
            header = tarfile.TarInfo(name.replace("_", "."))
            header.size = len(text)
            archive.addfile(header, io.BytesIO(text.encode()))
    return output.getvalue()


class Files(http.server.BaseHTTPRequestHandler):
    """What FILES has: path to (bytes, headers). /moved leads to /dir/file; /cut breaks off."""
    files = {}

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/dir/file")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, headers = self.files.get(path, (b"  nothing here\n", {}))
        self.send_response(200 if path in self.files else 404)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) + (1000 if path == "/cut" else 0)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def build(client, *arguments, stdin=None, status=0):
    result = subprocess.run((client, "build", *arguments), input=stdin, capture_output=True, timeout=300, check=False,
                            env={**os.environ, "DOCKER_BUILDKIT": "0"})
    text = (result.stdout + result.stderr).decode()
    assert result.returncode == status, (client, arguments, result.returncode, text[-2000:])
    return text


class Remote(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("docker", "load", "-q", "-i", "/root/busybox.tar")
        cls.server = Server(("127.0.0.1", PORT), Files)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.shutdown)

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.context = pathlib.Path(directory.name)
        Files.files = {"/dir/file": (b"the file\n", {"Last-Modified": MODIFIED}),
                       "/dir/": (b"by header\n", {"Content-Disposition": 'attachment; filename="../called me"'}),
                       "/": (b"no name\n", {}), "/cut": (b"half", {}), "/a%20b": (b"escaped\n", {}),
                       "/tree.tgz": (tar_of(inner="in the archive\n"), {})}
        self.addCleanup(run, "docker", "builder", "prune", "-af")
        self.addCleanup(hosted.wait_until, lambda: not os.listdir("/var/lib/berth/staging"), 30, "staging empty", 0.1)

    def write(self, dockerfile, **files):
        (self.context / "Dockerfile").write_text("FROM busybox\n" + dockerfile)
        for name, text in files.items():
            (self.context / name).write_text(text)

    def made(self, client, *arguments):
        build(client, "-t", "remote:made", *arguments, str(self.context))

    def look(self, command):
        return run("docker", "run", "--rm", "remote:made", "sh", "-c", command)

    def test_a_file_has_its_name_mode_and_time(self):
        for client in CLIENTS:
            self.write(f"ADD {AT}/dir/file?x=/y {AT}/a%20b {AT}/dir/ own /got/\nADD {AT}/ /other\nADD {AT}/moved /last", own="own\n")
            self.made(client)
            self.assertEqual(self.look("stat -c '%n %a %u:%g %Y' /got/file /got/own /other"),
                             "/got/file 600 0:0 1426325213\n/got/own 644 0:0 "
                             f"{int((self.context / 'own').stat().st_mtime)}\n/other 600 0:0 0\n")
            self.assertEqual(self.look("cd /got; cat file 'a b' 'called me' own /other /last"),
                             "the file\nescaped\nby header\nown\nno name\nthe file\n")
            run("docker", "builder", "prune", "-af")

    def test_flags(self):
        digest = hashlib.sha256(b"the file\n").hexdigest()
        self.write(f"ADD --chmod=640 --chown=3:4 --link --checksum=sha256:{digest} {AT}/dir/file /x\n"
                   f"ADD {AT}/tree.tgz /whole/\nADD --unpack {AT}/tree.tgz /unpacked/\n")
        self.made("berth")
        self.assertEqual(self.look("stat -c '%a %u:%g' /x; ls /whole /unpacked; cat /unpacked/inner"),
                         "640 3:4\n/unpacked:\ninner\n\n/whole:\ntree.tgz\nin the archive\n")

    def test_the_cache_goes_by_content(self):
        self.write(f"ADD {AT}/dir/file /x\nRUN cat /x")
        self.made("berth")
        self.assertEqual(build("berth", str(self.context)).count("Using cache"), 2)
        Files.files["/dir/file"] = (b"the file\n", {})
        self.assertEqual(build("berth", str(self.context)).count("Using cache"), 2)
        Files.files["/dir/file"] = (b"another\n", {})
        self.assertEqual(build("berth", str(self.context)).count("Using cache"), 0)

    def test_refusals(self):
        other = "0" * 64
        digest = hashlib.sha256(b"the file\n").hexdigest()
        for line, words in (
                (f"ADD {AT}/none /x", f"ADD failed: failed to GET {AT}/none with status 404 Not Found: nothing here"),
                (f"ADD {AT}/ /x/", f"cannot determine filename for source {AT}/"),
                (f"ADD {AT}/cut /x", "unexpected EOF"),
                (f"COPY {AT}/dir/file /x", "source can't be a URL for COPY"),
                (f"ADD --checksum=sha256:{other} {AT}/dir/file /x",
                 f"digest mismatch sha256:{digest}: sha256:{other}"),
                (f"ADD --checksum={other} {AT}/dir/file /x", "invalid checksum digest format"),
                (f"ADD --checksum=md5:{other} {AT}/dir/file /x", "unsupported digest algorithm"),
                (f"ADD --checksum=sha256:{other} {AT}/dir/file {AT}/a%20b /x/", "multiple sources"),
                (f"ADD --checksum=sha256:{other} own /x", "checksum can't be specified for non-HTTP(S) sources")):
            self.write(line, own="own")
            self.assertIn(words, build("berth", str(self.context), status=1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
