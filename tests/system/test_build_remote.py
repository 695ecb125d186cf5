#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds with something from elsewhere: ADD of URLs and Git repositories, and contexts that are one. What is about Git needs a
host with git (a tree with "--add git"); without, that its absence is said."""
import functools
import hashlib
import http.server
import io
import os
import pathlib
import shutil
import socketserver
import subprocess
import tarfile
import tempfile
import threading
import unittest

import builds
import hosted
from hosted import run

PORT = 5081
GIT_PORT = 5082
AT = f"http://127.0.0.1:{PORT}"
CLIENTS = ("docker", "berth")
build = functools.partial(builds.build, timeout=300)
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


class Hosted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("docker", "load", "-q", "-i", "/root/busybox.tar")
        cls.server = Server(("127.0.0.1", PORT), Files)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.server_close)
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


class Remote(Hosted):
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

    def test_contexts(self):
        text = b"FROM busybox\nRUN echo plain >/x\n"
        tar = tar_of(Dockerfile="FROM busybox\nCOPY own /x\n", own="in the tar\n", Other="FROM busybox\nRUN echo other >/x\n")
        Files.files |= {"/text": (text, {"Content-Type": "text/plain"}), "/x.tgz": (tar, {}), "/empty": (b"", {})}
        for client in CLIENTS:
            for arguments, words in (((f"{AT}/text",), "plain\n"), ((f"{AT}/x.tgz",), "in the tar\n"),
                                     (("-f", "Other", f"{AT}/x.tgz"), "other\n")):
                build(client, "-t", "remote:made", *arguments)
                self.assertEqual(self.look("cat /x"), words)
            self.assertIn("404 Not Found", build(client, f"{AT}/none", status=1))
            self.assertIn("cannot be empty", build(client, f"{AT}/empty", status=1))
        answer = hosted.call("POST", "/build?remote=ftp://x/y")
        self.assertEqual((answer.status, answer.json()["message"]),
                         (400, "remoteURL (ftp://x/y) could not be recognized as URL"))
        answer = hosted.call("POST", f"/build?remote={AT}/none")
        self.assertEqual((answer.status, answer.json()["message"]),
                         (404, f"error downloading remote context {AT}/none: failed to GET {AT}/none with status "
                               "404 Not Found: nothing here"))
        Files.files["/text"] = (b"FROM busybox\nCOPY . /all\nRUN ls -A /all | wc -l >/x\n", {})
        build("berth", "-t", "remote:made", f"{AT}/text")
        self.assertEqual(self.look("cat /x"), "0\n")


def git(directory, *arguments):
    return subprocess.run(("git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always", "-C",
                           directory, *arguments), check=True, capture_output=True, timeout=60).stdout.decode().strip()


class Git(Hosted):
    """Repositories by git's own server and as plain files of a web server."""
    def setUp(self):
        super().setUp()
        if not shutil.which("git"):
            return
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.base = pathlib.Path(directory.name)
        self.base.chmod(0o755)
        self.commit = self.make("lib", {"part": "of the library\n"})
        self.first = self.make("main", {"Dockerfile": "FROM busybox\nCOPY . /got\n", "file": "first\n"})
        work = self.base / "main"
        git(work, "tag", "v1")
        git(work, "checkout", "-q", "-b", "next")
        (work / "sub").mkdir()
        (work / "sub/Dockerfile").write_text("FROM busybox\nCOPY . /got\n")
        (work / "file").write_text("next\n")
        git(work, "submodule", "add", "-q", str(self.base / "lib.git"), "lib")
        git(work, "config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
        git(work, "add", ".")
        git(work, "commit", "-q", "-m", "next")
        self.next = git(work, "rev-parse", "HEAD")
        self.publish("main")
        for path in self.base.rglob("*"):
            if path.is_file() and ".git/" in str(path):
                Files.files[f"/{path.relative_to(self.base)}"] = (path.read_bytes(), {})
        daemon = subprocess.Popen(("git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1",
                                   f"--port={GIT_PORT}", f"--base-path={self.base}", self.base), start_new_session=True)
        self.addCleanup(daemon.wait, 30)
        self.addCleanup(os.killpg, daemon.pid, 15)
        hosted.wait_until(self.answers, 30, "git daemon", 0.1)

    def answers(self):
        return subprocess.run(("git", "ls-remote", f"git://127.0.0.1:{GIT_PORT}/main.git"), capture_output=True,
                              check=False).returncode == 0

    def make(self, name, files):
        work = self.base / name
        work.mkdir()
        git(work, "init", "-q", "-b", "trunk")
        for path, text in files.items():
            (work / path).write_text(text)
        git(work, "add", ".")
        git(work, "commit", "-q", "-m", name)
        self.publish(name)
        return git(work, "rev-parse", "HEAD")

    def publish(self, name):
        shutil.rmtree(self.base / f"{name}.git", ignore_errors=True)
        git(self.base, "clone", "-q", "--bare", name, f"{name}.git")
        git(self.base / f"{name}.git", "symbolic-ref", "HEAD", "refs/heads/trunk")
        git(self.base / f"{name}.git", "update-server-info")

    @unittest.skipIf(shutil.which("git"), "there is a git")
    def test_without_git_that_is_said(self):
        self.assertIn("executable file not found in $PATH: Git repositories need the program git on this host",
                      build("berth", f"{AT}/main.git", status=1))

    @unittest.skipUnless(shutil.which("git"), "needs git")
    def test_git_contexts(self):
        for at in (f"git://127.0.0.1:{GIT_PORT}/main.git", f"{AT}/main.git"):
            for client in CLIENTS:
                build(client, "-t", "remote:made", at) if client == "berth" else self.post(at)
                self.assertEqual(self.look("ls -A /got; cat /got/file"), "Dockerfile\nfile\nfirst\n")
            build("berth", "-t", "remote:made", f"{at}#next")
            self.assertEqual(self.look("cat /got/file /got/lib/part; stat -c %u:%g /got/file"),
                             "next\nof the library\n0:0\n")
            build("berth", "-t", "remote:made", f"{at}#v1")
            self.assertEqual(self.look("cat /got/file"), "first\n")
            build("berth", "-t", "remote:made", f"{at}#next:sub")
            self.assertEqual(self.look("ls -A /got"), "Dockerfile\n")
            self.assertIn("Using cache", build("berth", f"{at}#next:sub"))
            build("berth", "-t", "remote:made", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", at)
            self.assertIn(".git\n", self.look("ls -A /got"))

    def post(self, remote):
        answer = hosted.Answer(hosted.send_raw(hosted.BERTH, hosted.build(
            "POST", f"/v1.45/build?t=remote:made&remote={remote}"), 60))
        self.assertIn("Successfully built", answer.body.decode())

    @unittest.skipUnless(shutil.which("git"), "needs git")
    def test_adding_repositories(self):
        at = f"git://127.0.0.1:{GIT_PORT}/main.git"
        self.write(f"ADD --checksum={self.next[:12]} {at}#next /a\nADD --keep-git-dir {at}#v1 /b\n"
                   f"ADD {at}#next:lib own {AT}/dir/file /c/\n", own="own\n")
        self.made("berth")
        self.assertEqual(self.look("cat /a/file /a/lib/part /b/file /c/part /c/own /c/file; ls -d /a/.git /b/.git 2>&1; true"),
                         "next\nof the library\nfirst\nof the library\nown\nthe file\n"
                         "ls: /a/.git: No such file or directory\n/b/.git\n")

    @unittest.skipUnless(shutil.which("git"), "needs git")
    def test_what_git_refuses(self):
        at = f"git://127.0.0.1:{GIT_PORT}/main.git"
        for source, words in ((f"{at}#--upload-pack=x", "invalid refspec: --upload-pack=x"),
                              (f"{at}#none", "error fetching"), (f"{at}#v1:none", "not within git root"),
                              (f"{at}#v1:../../etc", "not within git root"), ("git://-x/y.git", "invalid URL"),
                              ("git@localhost:x.git", "without keys")):
            self.write(f"ADD {source} /x\n")
            self.assertIn(words, build("berth", str(self.context), status=1))
        self.write(f"ADD --checksum={self.commit} {at} /x\n")
        self.assertIn(f"expected checksum to match {self.commit}, got {self.first}",
                      build("berth", str(self.context), status=1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
