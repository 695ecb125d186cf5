#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every Dockerfile of dockerfiles/ is built by Berth and by dockerd, and the images are compared: configuration, history, and
files with all their metadata but times. BuildKit builds them too where the client has buildx (the bench profile).

Lines that begin with "#: " say what is particular about a Dockerfile:
  args OPTION...         options of the build
  builders NAME...       those that can build it at all: classic, buildkit, none (both without such a line)
  fails TEXT             no builder builds it, and each says TEXT (or one of several, with | between)
  differs BUILDER PART: REASON   that part (config, files, history, layers) differs from the builder's; a difference that is
                         gone fails the test"""
import concurrent.futures
import gzip
import bz2
import hashlib
import http.server
import io
import json
import lzma
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest

import hosted
from hosted import run

HERE = pathlib.Path(__file__).resolve().parent / "dockerfiles"
ENGINES = {"berth": "/run/docker.sock", "classic": hosted.REFERENCE, "buildkit": hosted.REFERENCE}
PORT = 8099
# What a container's tree has of its engine.
OWN = re.compile(r"^(\.dockerenv|dev(/.*)?|proc(/.*)?|sys(/.*)?|etc/(hosts|hostname|resolv\.conf|mtab))$")
CONFIG = ("Env", "Cmd", "Entrypoint", "Labels", "ExposedPorts", "Volumes", "User", "WorkingDir", "OnBuild", "StopSignal", "Healthcheck", "Shell")


def make_tree():
    """An archive of every kind of file that may be in one."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        def add(name, kind=tarfile.REGTYPE, content=b"", mode=0o644, owner=(0, 0), link="", **more):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, (entry.uid, entry.gid), entry.linkname, entry.size = kind, mode, owner, link, len(content)
            entry.mtime = 1500000000
            for key, value in more.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
        add("sub", tarfile.DIRTYPE, mode=0o750, owner=(11, 12))
        add("file", content=b"file", owner=(3, 4))
        add("sub/deep/inner", content=b"inner", mode=0o4755)
        add("link", tarfile.SYMTYPE, link="file")
        add("hard", tarfile.LNKTYPE, link="file", owner=(3, 4))
        add("fifo", tarfile.FIFOTYPE, mode=0o600)
        add("n" * 120, content=b"long name")
        add("empty", tarfile.DIRTYPE, mode=0o1777)
    return data.getvalue()


def make_context(top):
    for name in ("dir/sub", "links", "kept"):
        (top / name).mkdir(parents=True)
    for name in ("a", "b", "c"):
        (top / f"{name}.txt").write_text(name)
    for name, text in (("with blank.txt", "blank"), ("dir/x.txt", "x"), ("dir/sub/y.txt", "y"), ("dir/.hidden", "h"), ("skipped.log", "log"),
                       ("kept/in.log", "kept"), ("kept/out.log", "out"), ("secret.txt", "hidden word"), ("private.txt", "private"),
                       ("script.sh", "#!/bin/sh\necho script\n"), (".dockerignore", "# a comment\n*.log\n**/out.log\nkept/*\n!kept/in.log\ndockerfiles\n")):
        (top / name).write_text(text)
        (top / name).chmod(0o644)
    (top / "script.sh").chmod(0o755)
    (top / "private.txt").chmod(0o600)
    (top / "dir/sub").chmod(0o700)
    os.symlink("../a.txt", top / "links/to-file")
    os.symlink("../dir", top / "links/to-dir")
    os.symlink("/nowhere", top / "links/broken")
    tree = make_tree()
    for name, data in (("tree.tar", tree), ("tree.tar.gz", gzip.compress(tree, mtime=0)), ("tree.tar.bz2", bz2.compress(tree)),
                       ("tree.tar.xz", lzma.compress(tree)), ("plain.gz", gzip.compress(b"no archive", mtime=0))):
        (top / name).write_bytes(data)


class Dockerfile:
    def __init__(self, path):
        self.path, self.name = path, path.name.removesuffix(".Dockerfile")
        self.builders, self.args, self.fails, self.differs = ["classic", "buildkit"], [], None, {}
        for line in re.findall(r"(?m)^#: (.*)$", path.read_text()):
            word, _, rest = line.partition(" ")
            if word == "args":
                self.args = shlex.split(rest)
            elif word == "builders":
                self.builders = rest.split()
            elif word == "fails":
                self.fails = rest.split("|")
            elif word == "differs":
                what, _, reason = rest.partition(": ")
                assert reason, line
                self.differs[tuple(what.split())] = reason
            else:
                raise ValueError(f"{path}: {line}")


def docker(builder, *arguments):
    return ("docker", "-H", f"unix://{ENGINES[builder]}", *arguments)


def history_of(builder, image):
    """As it is told of, less digests of what was copied, which no two engines make alike."""
    answer = hosted.call("GET", f"/images/{image}/history", server=ENGINES[builder]).json()
    return [re.sub(r"\b(file|dir|multi):[0-9a-f]{64}", r"\1:", entry["CreatedBy"]) for entry in answer[:-1]]


def files_of(builder, image):
    """All files but times; those that are one file by the first of their names."""
    name = f"corpus-{image.replace(':', '-')}"
    run(*docker(builder, "create", "--name", name, image, "x"))
    try:
        data = run(*docker(builder, "export", name), text=False)
    finally:
        run(*docker(builder, "rm", name))
    seen, links = {}, {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            path = member.name.rstrip("/")
            if OWN.match(path):
                continue
            if member.islnk():
                links.setdefault(member.linkname, []).append(path)
                continue
            content = hashlib.sha256(archive.extractfile(member).read()).hexdigest() if member.isreg() else ""
            attributes = {key: value for key, value in member.pax_headers.items() if "xattr" in key.lower()}
            seen[path] = [member.type.decode(), oct(member.mode), member.uid, member.gid, member.size, content, member.linkname,
                          (member.devmajor, member.devminor) if member.isdev() and not member.isfifo() else None, attributes]
    if seen.get("etc", [])[:4] == ["5", "0o755", 0, 0] and not any(path.startswith("etc/") for path in seen):
        del seen["etc"] # the engine's own
    for first, others in links.items():
        group = sorted([first, *others])
        for path in group:
            seen[path] = [*seen[first][:9], group]
    return seen


def describe(builder, image):
    inspected = json.loads(run(*docker(builder, "image", "inspect", image)))[0]
    config = {key: inspected["Config"].get(key) or None for key in CONFIG}
    config.update({key: inspected.get(key) or None for key in ("Architecture", "Os", "Variant", "Author")})
    return {"config": config, "files": files_of(builder, image), "history": history_of(builder, image), "layers": len(inspected["RootFS"]["Layers"])}


def build(builder, dockerfile, context):
    """The image's name, or what was said."""
    image = f"{builder}-{dockerfile.name}:1"
    program = ("berth", "build", "--progress=plain") if builder == "berth" else docker(builder, "build")
    result = subprocess.run((*program, "-t", image, "--no-cache", "-f", f"dockerfiles/{dockerfile.path.name}", *dockerfile.args, str(context)), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=120, check=False, cwd=context,
                            env={**os.environ, "DOCKER_BUILDKIT": "1" if builder == "buildkit" else "0"})
    text = result.stdout.decode(errors="replace")
    return (image, text) if result.returncode == 0 else (None, text)


def differences(own, other):
    """Those members that are not the same, and how."""
    if isinstance(own, dict) and isinstance(other, dict):
        return {key: (own.get(key), other.get(key)) for key in sorted({*own, *other}) if own.get(key) != other.get(key)}
    return None if own == other else (own, other)


class Corpus(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        run("docker", "load", "-q", "-i", "/root/busybox.tar")
        cls.reference = hosted.start_reference()
        cls.builders = (["classic"] if cls.reference else []) + (
            ["buildkit"] if cls.reference and os.path.exists("/usr/libexec/docker/cli-plugins/docker-buildx") else [])
        cls.builders = [name for name in cls.builders if name in os.environ.get("BERTH_BUILDERS", "classic buildkit").split()]
        cls.top = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.top)
        make_context(cls.top)
        shutil.copytree(HERE, cls.top / "dockerfiles")

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(cls.top))

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.corpus = [Dockerfile(path) for path in sorted(HERE.glob(os.environ.get("BERTH_DOCKERFILES", "*") + ".Dockerfile"))]
        assert len(cls.corpus) >= (60 if "BERTH_DOCKERFILES" not in os.environ else 1)

    @classmethod
    def tearDownClass(cls):
        hosted.call("POST", "/build/prune?all=1")
        run("docker", "image", "prune", "-af")
        hosted.wait_until(lambda: not os.listdir("/var/lib/berth/staging"), 120, "staging empty", 0.5)

    def check_failure(self, dockerfile, builder, image, text):
        self.assertIsNone(image, f"{builder} builds what is wrong")
        self.assertTrue(any(part in text for part in dockerfile.fails), f"{builder}: none of {dockerfile.fails} in {text[-1500:]}")

    def check_same(self, dockerfile, builder, own, other):
        parts = ("config", "files", "history", "layers") if builder == "classic" else ("config", "files")
        for part in parts: # BuildKit's history is in another form, and it makes a layer where nothing changes
            found, reason = differences(own[part], other[part]), dockerfile.differs.get((builder, part))
            if reason and not found:
                yield f"{builder}'s {part} no longer differs ({reason})"
            elif found and not reason:
                yield f"{part}, Berth's beside {builder}'s: {found}"

    def check(self, dockerfile):
        builders = ["berth", *(name for name in self.builders if name in dockerfile.builders)]
        described = {}
        for builder in builders:
            image, text = build(builder, dockerfile, self.top)
            if dockerfile.fails:
                self.check_failure(dockerfile, builder, image, text)
                continue
            self.assertIsNotNone(image, f"{builder}: {text[-2500:]}")
            if len(builders) > 1:
                described[builder] = describe(builder, image)
        if not dockerfile.fails:
            found = [text for name in builders[1:] for text in self.check_same(dockerfile, name, described["berth"], described[name])]
            self.assertFalse(found, "\n".join(found))

    def test_corpus(self):
        def attempt(dockerfile):
            try:
                self.check(dockerfile)
            except (AssertionError, subprocess.TimeoutExpired, KeyError, ValueError, json.JSONDecodeError) as problem:
                return dockerfile.name, problem
            return None
        with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
            problems = [problem for problem in pool.map(attempt, self.corpus) if problem]
        for name, problem in problems:
            print(f"== {name}: {str(problem)[-1500:]}", file=sys.stderr)
        self.assertEqual([name for name, _ in problems], [])


if __name__ == "__main__":
    unittest.main()
